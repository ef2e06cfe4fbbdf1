"""The log of what a scripted model was asked, and what it answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

GONE: Final = 499
"""Status of a call whose client left before the answer, or that was cut off when the model was closed."""


@frozen
class Call:
    """One call of the model. It holds no text of the conversation unless the model was told to keep bodies.

    Attributes:
        started: Monotonic seconds when the request had arrived.
        ended: Monotonic seconds when the answer was sent, or the client left.
        role: Role of the sub-agent, or empty.
        rule: Name of the rule that answered.
        turn: Number of the call in its conversation, from 1.
        model: Name of the model that was asked for.
        prompt_tokens: Reported prompt tokens; 0 when the call failed.
        completion_tokens: Reported completion tokens; 0 when the call failed.
        tool_calls: Tool calls that the answer asks for.
        tool_results: Tool results that came with the request and were new.
        tool_results_refused: Those among them that say that the tool budget is exhausted.
        status: HTTP status, or `GONE`.
        in_flight: Calls in flight when this one arrived, this one included.
        body: The request, when the model keeps bodies.
    """

    started: float
    ended: float
    role: str
    rule: str
    turn: int
    model: str
    prompt_tokens: int
    completion_tokens: int
    tool_calls: int
    tool_results: int
    tool_results_refused: int
    status: int
    in_flight: int
    body: Mapping[str, Any] | None = field(default=None, repr=False, eq=False)

    @property
    def seconds(self) -> float:
        """Time from the request to the answer, in seconds."""
        return self.ended - self.started


def overlaps(one: Call, other: Call) -> bool:
    """Return whether two calls were in flight at the same time."""
    return one.started < other.ended and other.started < one.ended


def max_in_flight(calls: Iterable[Call]) -> int:
    """Return the largest number of these calls that were in flight at the same time, 0 without calls."""
    changes = [change for call in calls for change in ((call.started, 1), (call.ended, -1))]
    now = most = 0
    # At equal times the ends come first: a call that starts when another ends does not overlap it.
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
