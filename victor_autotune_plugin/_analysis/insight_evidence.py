"""What stands behind each kind of insight: what the detectors find and the strategies reckon with, without numpy.

In an insight it is the mapping that people and programs read. `evidence_in` gives it back as a value, also that of an
insight that was made by hand: what its evidence does not tell is not known, no run stands behind it, and so what such
a change usually brings is all that can be expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import isclass
from statistics import fmean
from types import UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from attrs import field, frozen

from .._model.optimization import Bottleneck, Evidence, PerformanceInsight
from ..errors import MetricsError
from .quantiles import Z_975, t_975


@frozen(eq=False)
class Estimate(Evidence):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float
    runs: int

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of the normal distribution that has this interval."""
        return (self.high - self.low) / (2 * Z_975)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data = super().to_dict()
        data["interval"] = [data.pop("low"), data.pop("high")]
        return data


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of at least two values with Student's interval."""
    count, mean = len(values), fmean(values)
    # `statistics.stdev` reckons with exact fractions, which takes twenty times as long
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = t_975(count - 1) * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half, count)


Found = TypeVar("Found", bound=Evidence)


_hints = cache(get_type_hints)


def _made(kind: Any, value: Any) -> Any:
    """Return a value of a type that evidence has, also from data that were made by hand."""
    inner = get_args(kind)
    if value is None or isinstance(value, Evidence):
        return value
    if get_origin(kind) is UnionType:
        return _made(inner[0], value)
    if get_origin(kind) is tuple and inner[-1] is Ellipsis:
        return tuple(_made(inner[0], item) for item in value)
    if get_origin(kind) is Mapping:
        return {name: _made(inner[1], item) for name, item in value.items()}
    if not isclass(kind) or not issubclass(kind, Evidence) or kind is Evidence:
        return value
    given, hints = dict(value), _hints(kind)
    if "low" in hints:
        low, high = given.pop("interval", (given["value"], given["value"]))
        given = {"runs": 0, **given, "low": low, "high": high}
    return kind(**{name: _made(hints[name], item) for name, item in given.items() if name in hints})


_NOTHING: Final = Estimate(0.0, 0.0, 0.0, 0)


@frozen(eq=False, kw_only=True)
class CappedGain(Estimate):
    """What a limit would save, in percent: `cap` in seconds or calls."""

    cap: float


@frozen(eq=False, kw_only=True)
class FormationGain(Estimate):
    """A formation that may be faster, and by how much, in percent."""

    formation: str
    source: str  # where the gain is from, such as `own runs`


@frozen(eq=False, kw_only=True)
class SizeEffect(Evidence):
    """How much higher the log of the duration is with fewer members."""

    log_difference: float
    interval: tuple[float, float]
    runs: int


@frozen(eq=False, kw_only=True)
class MemberFigures(Evidence):
    """The figures of a member.

    Attributes:
        mean_tokens: Both ways.
        needed_tool_calls: Most tool calls in a run that it and the team succeeded in, or None without one.
        refused_share: Share of runs with refused calls.
        token_share: Its share of the team's tokens; `tool_call_share` likewise.
        contribution: How much more often the team succeeds when the member does, within tasks where possible; None
            where it can't be told.
    """

    role: str = ""
    runs: int = 0
    success_rate: Estimate = _NOTHING
    mean_seconds: float = 0.0
    mean_tool_calls: float = 0.0
    mean_tokens: float = 0.0
    most_tool_calls: float = 0.0
    needed_tool_calls: float | None = None
    refused_share: float = 0.0
    token_share: float = 0.0
    tool_call_share: float = 0.0
    contribution: float | None = None


MemberSeconds = Mapping[str, list[float | None]]
"""Seconds by member, one for each run, None where it took no part."""


@frozen(eq=False, kw_only=True)
class SuccessEvidence(Evidence):
    """Behind `low_success_rate`."""

    success_rate: Estimate = _NOTHING
    timed_out_share: Estimate = _NOTHING
    tasks: int = 0
    formation: str = "parallel"
    runs: int = 0
    baseline: Evidence | None = None


@frozen(eq=False, kw_only=True)
class TimingEvidence(Evidence):
    """What a deadline is chosen from: P95 of the successful runs, the deadline in force, what others would save."""

    runs: int = 0
    timeout_seconds: float | None = None
    timed_out_share: Estimate = _NOTHING
    p95_success_seconds: Estimate | None = field(default=None, metadata={"left_out": True})
    saved_by_timeout: tuple[CappedGain, ...] = ()


@frozen(eq=False, kw_only=True)
class SlowEvidence(TimingEvidence):
    """Behind `slow_execution`."""

    mean_seconds: Estimate = _NOTHING
    tasks: int = 0
    baseline: Evidence | None = None


@frozen(eq=False, kw_only=True)
class TailEvidence(TimingEvidence):
    """Behind `high_latency_outliers`."""

    p95_seconds: Estimate = _NOTHING
    baseline: Evidence | None = None


@frozen(eq=False, kw_only=True)
class TimeoutEvidence(TimingEvidence):
    """Behind `timeouts_too_tight`."""

    needed_seconds: float | None = None


@frozen(eq=False, kw_only=True)
class BudgetEvidence(Evidence):
    """What a tool budget is chosen from: the most calls that a successful run needed, the budget in force, savings."""

    runs: int = 0
    tool_budget: float | None = None
    needed_tool_calls: float | None = None
    mean_tool_calls: Estimate = _NOTHING
    most_tool_calls: float = 0.0
    cost_is_known: bool = False
    saved_by_budget: tuple[CappedGain, ...] = ()


@frozen(eq=False, kw_only=True)
class ToolUseEvidence(BudgetEvidence):
    """Behind `excessive_tool_usage`."""

    tasks: int = 0
    baseline: Evidence | None = None


@frozen(eq=False, kw_only=True)
class SpentBudgetEvidence(BudgetEvidence):
    """Behind `undersized_budget`; `difference` is how much more often runs fail that spend their budget."""

    spent_share: Estimate = _NOTHING
    failing_share: Estimate = _NOTHING
    refused_calls_per_run: float = 0.0
    within_tasks: bool = False
    difference: Estimate | None = None


@frozen(eq=False, kw_only=True)
class FormationEvidence(Evidence):
    """Behind `suboptimal_formation_…`: the better formations, best first."""

    formation: str = "parallel"
    gain_percent: float = 0.0
    gain_interval_percent: tuple[float, float] = (0.0, 0.0)
    runs: int = 0
    source: str = "prior"
    candidates: tuple[FormationGain, ...] = ()
    member_durations: MemberSeconds = field(factory=dict)


@frozen(eq=False, kw_only=True)
class SizeEvidence(Evidence):
    """Behind `oversized_team`."""

    size: int = 0
    seconds_per_member: float = 0.0
    runs: int = 0
    formation: str = "parallel"
    members: Mapping[str, MemberFigures] = field(factory=dict)
    member_durations: MemberSeconds = field(factory=dict)
    smaller_sizes: SizeEffect | None = None


@frozen(eq=False, kw_only=True)
class SerialEvidence(Evidence):
    """Behind `serial_independent_work`."""

    formation: str = "sequential"
    runs: int = 0
    overlap: float = 0.0
    side_by_side_percent: Estimate = _NOTHING
    members: Mapping[str, Mapping[str, str]] = field(factory=dict)
    member_durations: MemberSeconds = field(factory=dict)


@frozen(eq=False, kw_only=True)
class MemberEvidence(Evidence):
    """Behind `underperforming_member`: who stands out, and everyone's figures."""

    weak: list[str] = field(factory=list)
    useless: list[str] = field(factory=list)
    idle: list[str] = field(factory=list)
    strong: list[str] = field(factory=list)
    members: Mapping[str, MemberFigures] = field(factory=dict)
    runs: int = 0
    formation: str = "parallel"
    cost_is_known: bool = False
    member_durations: MemberSeconds = field(factory=dict)


_BY_HAND: Final[Mapping[str, Callable[[PerformanceInsight], dict[str, Any]]]] = {
    Bottleneck.OVERSIZED_TEAM: lambda insight: {"size": int(insight.current_value)},
    Bottleneck.EXCESSIVE_TOOL_USAGE: lambda insight: {"most_tool_calls": insight.current_value},
    Bottleneck.HIGH_LATENCY_OUTLIERS: lambda insight: {"p95_seconds": {"value": insight.current_value}},
}


def evidence_in(insight: PerformanceInsight, kind: type[Found]) -> Found:
    """Return an insight's evidence, or what a mapping and the figures of an insight made by hand tell of it.

    Raises:
        MetricsError: The mapping can't be used.
    """
    given = insight.evidence
    if isinstance(given, kind):
        return given
    known: dict[str, Any] = {}
    if insight.bottleneck.startswith(Bottleneck.SUBOPTIMAL_FORMATION):
        now = insight.current_value
        gain = 100 * (1 - insight.baseline_value / now) if now > 0 else 0.0
        known["candidates"] = [
            {"formation": name, "source": "prior", "value": gain} for name in ("parallel", "pipeline")
        ]
    elif insight.bottleneck in _BY_HAND:
        known = _BY_HAND[insight.bottleneck](insight)
    try:
        found: Found = _made(kind, {**known, **given})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        hint = "Leave out what is not known."
        raise MetricsError(f"evidence: {error}", where=f"insight {insight.bottleneck!r}", hint=hint) from None
    return found
