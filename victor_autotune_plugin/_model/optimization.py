"""What the analysis finds (`PerformanceInsight`) and what a strategy suggests (`OptimizationSuggestion`)."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final

from attrs import asdict, field, fields, frozen

from .plan import TeamPlan, TeamSpec

_KNOBS: Final = frozenset(attribute.name for attribute in fields(TeamPlan))


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


class OptimizationType(StrEnum):
    """The six built-in kinds of change; the values are the strategies' names in the settings."""

    TEAM_SIZING = "team_sizing"
    FORMATION_SELECTION = "formation_selection"
    TOOL_BUDGET = "tool_budget"
    TIMEOUT_TUNING = "timeout_tuning"
    MEMBER_SELECTION = "member_selection"
    PARALLELIZATION = "parallelization"


class Bottleneck(StrEnum):
    """What the analysis can find, by the name in `PerformanceInsight.bottleneck`."""

    SLOW_EXECUTION = "slow_execution"
    HIGH_LATENCY_OUTLIERS = "high_latency_outliers"
    LOW_SUCCESS_RATE = "low_success_rate"
    EXCESSIVE_TOOL_USAGE = "excessive_tool_usage"
    SUBOPTIMAL_FORMATION = "suboptimal_formation_"
    """A prefix; the formation in use follows."""
    OVERSIZED_TEAM = "oversized_team"
    UNDERSIZED_BUDGET = "undersized_budget"
    UNDERPERFORMING_MEMBER = "underperforming_member"
    SERIAL_INDEPENDENT_WORK = "serial_independent_work"
    TIMEOUTS_TOO_TIGHT = "timeouts_too_tight"


class OptimizationPriority(StrEnum):
    """How urgent a suggestion is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


def _kind(name: str) -> str:
    return next((kind for kind in OptimizationType if kind == name), str(name))


@frozen(eq=False)
class Evidence(Mapping[str, Any]):
    """Numbers behind an insight or a suggestion: attributes for this process, and the mapping that they are in JSON.

    A subclass is an attrs class; a field of it with metadata (`left_out`) is not in the mapping while it is None.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        from .converter import to_plain

        shown = (one for one in fields(type(self)) if not (one.metadata and getattr(self, one.name) is None))
        return {one.name: to_plain(getattr(self, one.name)) for one in shown}

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    def items(self) -> ItemsView[str, Any]:
        """Return the mapping's items, made once for all of them."""
        return self.to_dict().items()


@frozen(eq=False)
class SuggestionMetadata(Evidence):
    """What a strategy says of its suggestion. What is None it did not say.

    Attributes:
        metric: What the change is expected to improve; a test decides by it.
        interval_percent: 95 % interval of the expected improvement.
        needs_person: Whether it loosens a limit, which only a person may allow.
        changes_nothing: Whether no run so far would have been different.
        further: Everything else, by name.
    """

    metric: str | None = None
    interval_percent: tuple[float, float] | None = None
    needs_person: bool | None = None
    changes_nothing: bool | None = None
    further: Mapping[str, Any] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data, with what is `further` beside the rest."""
        from .converter import to_plain

        known = {name: getattr(self, name) for name in _SAID if getattr(self, name) is not None}
        data: dict[str, Any] = to_plain({**known, **self.further})
        return data


_SAID: Final = ("metric", "interval_percent", "needs_person", "changes_nothing")


def _metadata(given: Mapping[str, Any]) -> SuggestionMetadata:
    """Read what a strategy, perhaps of a third party, says; what is not as it should be stays in `further`."""
    if isinstance(given, SuggestionMetadata):
        return given
    known: dict[str, Any] = {name: given[name] for name in _SAID[2:] if isinstance(given.get(name), bool)}
    if isinstance(given.get("metric"), str):
        known["metric"] = given["metric"]
    interval = given.get("interval_percent")
    if isinstance(interval, list | tuple) and len(interval) == 2:
        with suppress(TypeError, ValueError):
            known["interval_percent"] = (float(interval[0]), float(interval[1]))
    return SuggestionMetadata(**known, further={name: given[name] for name in given if name not in known})


@frozen
class PerformanceInsight:
    """Something that the runs of a team show.

    Attributes:
        bottleneck: What it is, such as `slow_execution` or `suboptimal_formation_sequential`.
        severity: How bad, 0 to 1.
        current_value: The measured value, in the unit of the bottleneck (seconds for durations).
        baseline_value: What it is compared with, in the same unit.
        impact_magnitude: How much of the team's performance it concerns, 0 to 1.
        recommendation: What to do, in one sentence.
        affected_components: Members or knobs concerned.
        evidence: Numbers behind it, JSON-able.
    """

    bottleneck: str
    severity: float
    current_value: float
    baseline_value: float
    impact_magnitude: float
    recommendation: str
    affected_components: tuple[str, ...] = field(default=(), converter=_names)
    evidence: Mapping[str, Any] = field(factory=dict)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from .notebook_html import insight_html

        return insight_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        from .converter import to_plain

        data: dict[str, Any] = to_plain(self)
        return data


@frozen
class OptimizationSuggestion:
    """A change that a strategy proposes to test.

    Attributes:
        type: The strategy: an `OptimizationType`, which is its name, or the name of a third party's own.
        priority: How urgent.
        description: The change in one sentence.
        current_config: The knobs as they are, as `TeamPlan.to_dict` writes them.
        suggested_config: The knobs to change, in the same form; only those that differ. `member_count` stands for a
            size where the members have no names.
        expected_improvement: Expected gain in percent of the metric.
        confidence: 0 to 1.
        risk_level: 0 to 1.
        metadata: Numbers behind it, JSON-able; any mapping may be given.
    """

    type: str = field(converter=_kind)
    priority: OptimizationPriority
    description: str
    current_config: Mapping[str, Any]
    suggested_config: Mapping[str, Any]
    expected_improvement: float
    confidence: float
    risk_level: float
    metadata: SuggestionMetadata = field(factory=SuggestionMetadata, converter=_metadata)

    @property
    def plan(self) -> TeamPlan:
        """The suggested knobs as a plan; what is not a knob of a plan, such as `member_count`, is not in it."""
        return TeamPlan.from_dict({name: self.suggested_config[name] for name in _KNOBS & self.suggested_config.keys()})

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from .notebook_html import suggestion_html

        return suggestion_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        from .converter import to_plain

        data: dict[str, Any] = to_plain(self)
        return data


@frozen
class OptimizationResult:
    """What came of applying a suggestion.

    Attributes:
        success: Whether what was asked for was done: the change is in place, its test has started, or the dry run found
            nothing against it. False when its test did not pass, or something went wrong.
        team_id: The team.
        optimization: The suggestion, or None when there was none to apply.
        before_metrics: Means of the control's runs by metric, empty without any.
        after_metrics: Means of the treatment's runs by metric, empty without any.
        improvement_percentage: Measured improvement of the primary metric in percent; 0.0 where nothing was measured.
        validation_status: `passed`, `failed`, `inconclusive`, `skipped`, `dry_run` or `running`.
        rollback_config: What exactly restores the state before.
        error: What went wrong, or None.
        applied_config: The config with the change; empty when something went wrong.
        message: What was done, and what a person should know about it.
    """

    success: bool
    team_id: str
    optimization: OptimizationSuggestion | None
    before_metrics: Mapping[str, float] = field(factory=dict)
    after_metrics: Mapping[str, float] = field(factory=dict)
    improvement_percentage: float = 0.0
    validation_status: str = "skipped"
    rollback_config: Mapping[str, Any] = field(factory=dict)
    error: str | None = None
    applied_config: Mapping[str, Any] = field(factory=dict)
    message: str = ""

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from .notebook_html import result_html

        return result_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        from .converter import to_plain

        data: dict[str, Any] = to_plain(self)
        return data


def current_config(spec: TeamSpec, plan: TeamPlan) -> dict[str, Any]:
    """Return the knobs of a team as they are under a plan, in the form of `TeamPlan.to_dict`.

    Beside the knobs, `member_specs` tells of every configured member what its workflow declares: id, role, tool
    budget, and what it may be in a formation.
    """
    return {
        "formation": spec.formation,
        "members": list(spec.member_ids),
        "tool_budget": spec.tool_budget,
        "timeout_seconds": spec.timeout_seconds,
        **plan.to_dict(),
        "member_specs": [asdict(member) for member in spec.members],
    }
