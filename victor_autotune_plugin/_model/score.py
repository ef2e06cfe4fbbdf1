"""What a run was worth: the scores that it got, and which of them decide."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

from attrs import field, frozen

from .quantities import Arm, Dollars, Name, Seconds, Share, UnixTime

ScoreSource = Literal["command", "check", "model", "hook", "person", "import"]
"""Where a score comes from: a command's verdict, a check of the text, a model as judge, a third party's code, a person,
or another tool's export."""

SOURCES: Final[tuple[str, ...]] = get_args(ScoreSource)

LABELS: Final = ("person", "command")
"""Sources that a model as judge is compared with."""


LONGEST_SCORE_NAME: Final = 200

_NOT_IN_NAMES: Final = ("Cc", "Cs", "Zl", "Zp")
# Control characters, halves of a character, line breaks: a store may refuse them, and with them the score.


def is_score_name(name: object) -> bool:
    """Return whether a score, or a scorer, may be called so: a line of text that every store takes."""
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_SCORE_NAME:
        return False
    return all(unicodedata.category(char) not in _NOT_IN_NAMES for char in name)


@frozen
class Gate:
    """A scorer that decides, as a test or a run rests on it.

    Attributes:
        name: Name of the scorer.
        weight: Its weight in the run's score.
        judge: Digest of rubric, model and version of a model as judge; empty for any other scorer.
        is_external: Whether its scores come from outside of the run's process, as a person's do.
        is_hook: Whether it is a third party's, so that no setting names it.
        definition: Digest of what the settings have it do; empty where they don't say.
    """

    name: Name
    weight: float = 1.0
    judge: str = ""
    is_external: bool = False
    is_hook: bool = False
    definition: str = field(default="", eq=False)

    @property
    def identity(self) -> tuple[str, str, bool, bool, str]:
        """What tells it from another scorer; one whose weight was changed is the same."""
        return self.name, self.judge, self.is_external, self.is_hook, self.definition


def gates_from(values: Iterable[Gate]) -> tuple[Gate, ...]:
    """Return gates as a tuple, in the order of their names."""
    return tuple(sorted(values, key=lambda gate: gate.name))


@frozen
class Score:
    """One score of a run. Neither prompt nor output is in it.

    Attributes:
        run_id: The run.
        name: Who gave it: a scorer, a hook package, or what a person calls it.
        value: From 0 to 1; None for no opinion.
        source: Where it comes from, one of `ScoreSource`.
        at: Unix time, seconds.
        judge: As in `Gate`.
        cost_usd: What it cost in US dollars; None where no price is known.
        seconds: How long it took.
        why: Why there is no opinion, in a word or two; empty where there is one.
        details: Numbers that tell of a judge's bias: `length` of the output in characters, and `answers`, for each
            sample the pairs `[check, yes]` in the order in which it asked. Of a third party's scorer its `weight`, and
            whether it `gates`, where they are not 1 and true.
    """

    run_id: Name
    name: Name
    value: Share | None
    source: ScoreSource
    at: UnixTime
    judge: str = ""
    cost_usd: Dollars | None = None
    seconds: Seconds = 0.0
    why: str = ""
    details: Mapping[str, Any] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        from .converter import to_plain

        plain: dict[str, Any] = to_plain(self)
        return plain


class JudgedRun(NamedTuple):
    """A run that a model as judge scored.

    Attributes:
        run_id: The run.
        arm: Its arm, or None outside of an experiment.
        score: What the judge made of it; its value is None where it had no opinion.
        labels: Scores of the same run that a person or a command gave, by name; none without an opinion.
    """

    run_id: str
    arm: Arm | None
    score: Score
    labels: tuple[Score, ...]


def composite(gates: Iterable[Gate], scores: Mapping[str, float | None]) -> float | None:
    """Return the score of a run: the weighted mean of what its gates gave.

    Args:
        gates: The scorers that decide.
        scores: Value by name; one that is missing, or None, is no opinion.

    Returns:
        None where there is no gate, or one of them has no opinion: a mean of the others would compare other things.
    """
    weights, values = [], []
    for gate in gates:
        value = scores.get(gate.name)
        if value is None:
            return None
        weights.append(gate.weight)
        values.append(value)
    total = math.fsum(weights)
    if not total > 0:
        return None
    if len(values) == 1:
        return values[0]  # a weight would only round it
    return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
