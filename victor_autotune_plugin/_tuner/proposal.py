"""What the tuner hears from strategies, and what it says and why, as values that turn into plain JSON-able data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from attrs import asdict, field, frozen

from .._model.optimization import OptimizationPriority, OptimizationSuggestion, current_config
from .._model.plan import TeamPlan, TeamSpec
from .._model.text import interval, percent, plan_text
from .space import changes
from .weighing import Objective

_NARROWER: Final = 1.6449 / 1.96
"""From a 95 % interval to one of 90 %."""


@frozen
class Rival:
    """A plan that a strategy suggests, with the improvement that it expects; it competes with the tuner's own plans.

    Attributes:
        plan: The plan, merged with the live one.
        low: Lower end of the 90 % interval of the relative improvement of the objective; 0.2 is 20 % better.
        high: Upper end.
        source: The strategy's name.
    """

    plan: TeamPlan
    low: float
    high: float
    source: str

    def __attrs_post_init__(self) -> None:
        if not -10 <= self.low <= self.high < 1:
            raise ValueError(
                f"low and high must be relative improvements below 1 in order, not {self.low}, {self.high}"
            )


@frozen
class Outlook:
    """What is believed of one plan against the live one. Improvements are relative: 0.2 is 20 % better.

    Attributes:
        plan: The plan.
        knobs: How many knobs it changes.
        improvement: Expected improvement of the objective (median).
        interval: Its 90 % interval.
        improvements: Expected improvement by metric; of the score the change of its log odds.
        success_change: Expected change of the success share, absolute.
        success_interval: Its 90 % interval.
        p_gain: Probability that the objective is better, success left aside.
        p_better: Probability that the objective is better and success is kept within the margin.
        p_success_kept: Probability that success is kept within the margin.
        p_harm: Probability that the objective is worse, or success is not kept.
        p_pass: Probability that a test leads to a promotion within the risk's horizon.
        runs_behind: Runs of this plan so far.
        runs_of_live: Runs of the live plan so far.
        runs_needed: Runs in each arm until a test is expected to prove the expected improvement, or None when none is
            expected.
        prior_improvement: What was expected before the first run of the team.
        prior_interval: Its 90 % interval.
        source: Who suggested it: `tuner`, or a rival's source.
        by_metric: Of duration, and of cost where runs have a price: expected improvement and the ends of its 90 %
            interval.
    """

    plan: TeamPlan
    knobs: int
    improvement: float
    interval: tuple[float, float]
    improvements: Mapping[str, float]
    success_change: float
    success_interval: tuple[float, float]
    p_gain: float
    p_better: float
    p_success_kept: float
    p_harm: float
    p_pass: float
    runs_behind: int
    runs_of_live: int
    runs_needed: int | None
    prior_improvement: float
    prior_interval: tuple[float, float]
    source: str = "tuner"
    by_metric: Mapping[str, tuple[float, float, float]] = field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data = asdict(self, recurse=False)
        data["plan"] = self.plan.to_dict()
        data["describe"] = self.plan.describe()
        data["improvements"] = dict(self.improvements)
        data["by_metric"] = {name: list(figures) for name, figures in self.by_metric.items()}
        for name in ("interval", "success_interval", "prior_interval"):
            data[name] = list(data[name])
        return data


@frozen
class NotChosen:
    """A plan that was not chosen.

    Attributes:
        plan: The plan.
        reason: Why not, in one sentence.
        improvement: Expected improvement, relative; None when it was not weighed.
        source: Who suggested it.
    """

    plan: TeamPlan
    reason: str
    improvement: float | None = None
    source: str = "tuner"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "plan": self.plan.to_dict(),
            "describe": self.plan.describe(),
            "reason": self.reason,
            "improvement": self.improvement,
            "source": self.source,
        }


@frozen
class Sensitivity:
    """How much one knob matters, by what changing it alone is expected to do.

    Attributes:
        knob: `formation`, `members`, `tool_budget` or `timeout_seconds`.
        best: Expected improvement of the best setting of it, relative.
        worst: Expected improvement of the worst, negative when worse.
        settings: How many settings of it there are besides today's.
        best_plan: The best setting.
    """

    knob: str
    best: float
    worst: float
    settings: int
    best_plan: TeamPlan

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {**asdict(self, recurse=False), "best_plan": self.best_plan.to_dict()}


@frozen
class Proposal:
    """What to test next, or why nothing.

    Attributes:
        chosen: What is believed of the proposed plan, or None.
        nothing_because: Why nothing is proposed, in one sentence; None when something is.
        not_chosen: The best of the other plans, and why not they.
        reasons: How many plans were ruled out, by reason.
        sensitivity: How much each knob matters.
    """

    chosen: Outlook | None
    nothing_because: str | None
    not_chosen: tuple[NotChosen, ...] = ()
    reasons: Mapping[str, int] = field(factory=dict)
    sensitivity: tuple[Sensitivity, ...] = ()

    @property
    def plan(self) -> TeamPlan | None:
        """The plan to test, or None."""
        return None if self.chosen is None else self.chosen.plan

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "plan": None if self.chosen is None else self.chosen.plan.to_dict(),
            "chosen": None if self.chosen is None else self.chosen.to_dict(),
            "nothing_because": self.nothing_because,
            "not_chosen": [other.to_dict() for other in self.not_chosen],
            "reasons": dict(self.reasons),
            "sensitivity": [knob.to_dict() for knob in self.sensitivity],
        }


@frozen
class TestOutlook:
    """Whether a running test is worth going on with.

    Attributes:
        stop: Whether it gives way to the next one, as hopeless. A test is never passed or failed by this.
        reason: Why, in one sentence.
        outlook: What is believed of the challenger now.
    """

    __test__ = False  # pytest takes classes with this name for tests

    stop: bool
    reason: str
    outlook: Outlook

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {"stop": self.stop, "reason": self.reason, "outlook": self.outlook.to_dict()}


def rival_of(suggestion: OptimizationSuggestion, live: TeamPlan, objective: Objective) -> Rival | None:
    """Return a suggestion as a rival of the tuner's own plans, or None when it says nothing of what is wanted.

    A gain in one metric counts with its share of the objective.

    Args:
        suggestion: A strategy's suggestion with `metric` and `interval_percent` (95 %) in its metadata.
    """
    share = objective.shares.get(suggestion.metadata.metric or "duration", 0.0)
    expected = suggestion.metadata.interval_percent
    if not share or not expected:
        return None
    low, high = (min(max(float(end) / 100, -5.0), 0.95) for end in expected)
    middle, half = (low + high) / 2, abs(high - low) / 2 * _NARROWER
    ends = [-math.expm1(share * math.log1p(-min(end, 0.95))) for end in (middle - half, middle + half)]
    return Rival(live.merged(suggestion.plan), ends[0], ends[1], str(suggestion.type))


def suggestion_of(proposal: Proposal, spec: TeamSpec, live: TeamPlan) -> OptimizationSuggestion | None:
    """Return a proposal as a suggestion, with its explanation in the metadata; None when nothing is proposed."""
    chosen = proposal.chosen
    if chosen is None:
        return None
    gain = 100 * chosen.improvement
    change = changes(spec, live, chosen.plan)
    wanted = f"{percent(chosen.improvement)} better expected (90 % interval {interval(*chosen.interval)})"
    return OptimizationSuggestion(
        type=chosen.source,
        priority=OptimizationPriority.HIGH if gain >= 20 else OptimizationPriority.MEDIUM,
        description=f"Run the team with {plan_text(change)}: {wanted}.",
        current_config=current_config(spec, live),
        suggested_config=change.to_dict(),
        expected_improvement=gain,
        confidence=chosen.p_better,
        risk_level=chosen.p_harm,
        metadata={"proposal": proposal.to_dict()},
    )
