"""What the tuner is told about one finished run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from attrs import Attribute, field, frozen

from .._model.plan import TeamPlan
from .._model.run import TeamRun


@frozen
class MemberFacts:
    """What one member did in a run.

    Attributes:
        id: Member id.
        seconds: Seconds spent in its executions.
        tool_calls: Tool calls that ran or were refused: what it wanted.
        finished: Whether it came to an end by itself; the seconds of one that did not tell only a lower bound.
    """

    id: str
    seconds: float
    tool_calls: int = 0
    finished: bool = True


def _members(values: Iterable[MemberFacts]) -> tuple[MemberFacts, ...]:
    return tuple(values)


def _finite(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
        raise ValueError(f"{attribute.name} must be a finite number from 0, not {value!r}")


def _share(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not (isinstance(value, int | float) and 0 <= value <= 1):
        raise ValueError(f"{attribute.name} must be a number from 0 to 1, not {value!r}")


@frozen
class RunFacts:
    """One finished run. Impossible values raise `ValueError` naming the field.

    Attributes:
        plan: The plan that was asked for.
        duration_seconds: Wall-clock seconds.
        success: Whether the run succeeded.
        score: Graded outcome in [0, 1].
        timed_out: Whether a deadline ended it: the duration is then a lower bound.
        tool_calls: Tool calls that ran.
        cost_usd: Cost in US dollars, or None when no price is known.
        task_key: Equal for the same task, or None.
        members: What each member did; may be empty.
        setting: Name of everything besides the plan that results depend on, such as the models' names and the
            fingerprint of the workflow. When it changes, older runs count less.
    """

    plan: TeamPlan
    duration_seconds: float = field(validator=_finite)
    success: bool
    score: float = field(validator=_share)
    timed_out: bool = False
    tool_calls: int = field(default=0, validator=_finite)
    cost_usd: float | None = field(default=None, validator=_finite)
    task_key: str | None = None
    members: tuple[MemberFacts, ...] = field(default=(), converter=_members)
    setting: str = ""

    @classmethod
    def of(cls, run: TeamRun) -> RunFacts:
        """Return the facts of a recorded run. A cancelled run tells nothing and should be left out by the caller.

        Args:
            run: A finished run.
        """
        models = sorted({model for member in run.members for model in member.models})
        return cls(
            plan=run.plan_asked,
            duration_seconds=run.duration_seconds,
            success=run.success,
            score=run.score,
            timed_out=run.timed_out,
            tool_calls=run.tool_calls,
            cost_usd=run.cost_usd,
            task_key=run.task_key,
            members=[
                MemberFacts(m.id, m.duration_seconds, m.tool_calls + m.tool_calls_refused, m.finished)
                for m in run.members
            ],
            setting=" ".join([run.spec.fingerprint(), *models]),
        )
