"""The rules of a test and of the watch after a promotion, as values that are stored with the experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from attrs import Attribute, asdict, field, fields, frozen

from .boundaries import E_RULES, RULES

METRICS: Final = ("duration", "cost", "tool_calls", "score")
"""Metrics a test can decide on. More is better for `score`, less for the others."""

ALL_RULES: Final = (*RULES, *E_RULES)
"""Names of the rules."""

PASS_SHARE: Final = 0.90
"""Share of alpha for passing without an improvement; the rest is for failing without a harm."""

FAIL_SHARES: Final[dict[str, float]] = {
    "primary": 0.30,
    "success": 0.25,
    "score": 0.10,
    "p95": 0.10,
    "mean": 0.10,
    "cost": 0.10,
    "tool_calls": 0.05,
}
"""How the budget of failing is shared by the primary metric and the guardrails; adds up to 1."""

HARM_SHARES: Final[dict[str, float]] = {
    "below_baseline": 0.30,
    "lost_gain": 0.15,
    "success": 0.25,
    "score": 0.10,
    "p95": 0.20,
}
"""How the watch's alpha is shared by the harms it looks for; adds up to 1."""

MAX_RUNS: Final = 2000
"""Longest test and watch, in runs per arm and in runs: as far as the boundaries were checked."""

P = TypeVar("P")


def _within(low: float, high: float) -> Any:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{attribute.name} must be a number from {low:g} to {high:g}, not {value!r}")

    return check


def _integer(low: int, high: int) -> Any:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{attribute.name} must be an integer from {low} to {high}, not {value!r}")

    return check


def _one_of(names: tuple[str, ...]) -> Any:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if value not in names:
            raise ValueError(f"{attribute.name} must be one of {', '.join(names)}, not {value!r}")

    return check


def _flag(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be True or False, not {value!r}")


def _read(cls: type[P], data: Mapping[str, Any]) -> P:
    names = {attribute.name for attribute in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - names)
    if unknown:
        raise ValueError(f"{unknown[0]} is no field of {cls.__name__}; it has {', '.join(sorted(names))}")
    return cls(**data)


@frozen
class Policy:
    """How a test decides.

    Attributes:
        alpha: Probability, in all, that a test of two equal plans passes (0.9 of it) or fails (0.1),
            although it is looked at after every run. From 0.005 to 0.15.
        minimum_improvement: Least improvement of the estimate that passes, relative to the control (0.05 is 5 %).
        min_runs_per_arm: Runs in each arm before a test may pass. Harm is looked for from half of it.
        max_runs_per_arm: Runs in each arm after which a test ends without proof.
        metric: Primary metric, one of `METRICS`.
        rule: What proves an improvement: the shape of a boundary, one of `boundaries.RULES`, or an e-process, one of
            `boundaries.E_RULES`.
        success_margin: Drop of the success share and of the mean score that is tolerated, absolute (0.10 is 10 points).
        success_confidence: One-sided confidence that the drop is within `success_margin`, without which nothing passes.
        p95_margin: Relative rise of the P95 of the duration that is tolerated.
        mean_margin: Relative rise of the mean duration that is tolerated where another metric is the primary one. Where
            duration itself is, no rise is: the mean tells of rare extreme runs that ranks miss.
        cost_margin: Relative rise of the mean cost that is tolerated.
        tool_calls_margin: Relative rise of the mean number of tool calls that is tolerated.
        futility: Whether a test that will hardly pass any more ends early.
    """

    alpha: float = field(default=0.05, validator=_within(0.005, 0.15))
    minimum_improvement: float = field(default=0.05, validator=_within(0, 1))
    min_runs_per_arm: int = field(default=10, validator=_integer(4, MAX_RUNS))
    max_runs_per_arm: int = field(default=200, validator=_integer(4, MAX_RUNS))
    metric: str = field(default="duration", validator=_one_of(METRICS))
    rule: str = field(default="balanced", validator=_one_of(ALL_RULES))
    success_margin: float = field(default=0.10, validator=_within(0, 1))
    success_confidence: float = field(default=0.80, validator=_within(0.5, 0.999))
    p95_margin: float = field(default=0.50, validator=_within(0, 100))
    mean_margin: float = field(default=0.10, validator=_within(0, 100))
    cost_margin: float = field(default=0.25, validator=_within(0, 100))
    tool_calls_margin: float = field(default=0.50, validator=_within(0, 100))
    futility: bool = field(default=True, validator=_flag)

    def __attrs_post_init__(self) -> None:
        if self.max_runs_per_arm < self.min_runs_per_arm:
            raise ValueError(
                f"max_runs_per_arm ({self.max_runs_per_arm}) must not be below "
                f"min_runs_per_arm ({self.min_runs_per_arm})"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Policy:
        """Read what `to_dict` wrote; fields that are absent have their defaults.

        Raises:
            ValueError: For a field that isn't one.
        """
        return _read(cls, data)


@frozen
class WatchPolicy:
    """How a promotion is watched.

    Attributes:
        alpha: Upper bound of the probability of a false rollback when the promoted plan is no worse, over the whole
            watch, without drift. The harms of `HARM_SHARES` share it. From 0.005 to 0.15.
        metric: Primary metric of the test, one of `METRICS`; success, score and P95 are watched in any case.
        holdback: Share of the runs that keep the replaced plan.
        max_runs: Runs, both arms together, after which the watch ends as settled.
        success_drop: Drop of the success share or mean score below which nothing is rolled back, absolute.
        p95_rise: Relative rise of the P95 of the duration below which it alone is no reason.
        confirm_level: One-sided level at which runs of the replaced plan from the same time must confirm a harm of
            the metric or the P95, so that a drift of both arms is none.
        confirm_success_level: The same for success and score.
        max_probes: Runs of the replaced plan that the watch may ask for to tell a harm from a drift.
    """

    alpha: float = field(default=0.05, validator=_within(0.005, 0.15))
    metric: str = field(default="duration", validator=_one_of(METRICS))
    holdback: float = field(default=0.10, validator=_within(0, 0.5))
    max_runs: int = field(default=200, validator=_integer(10, MAX_RUNS))
    success_drop: float = field(default=0.10, validator=_within(0, 1))
    p95_rise: float = field(default=0.50, validator=_within(0, 100))
    confirm_level: float = field(default=0.0125, validator=_within(0.0001, 0.5))
    confirm_success_level: float = field(default=0.03, validator=_within(0.0001, 0.5))
    max_probes: int = field(default=20, validator=_integer(0, MAX_RUNS))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WatchPolicy:
        """Read what `to_dict` wrote; fields that are absent have their defaults.

        Raises:
            ValueError: For a field that isn't one.
        """
        return _read(cls, data)
