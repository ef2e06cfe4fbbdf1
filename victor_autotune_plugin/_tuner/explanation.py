"""What the tuner says and why, as values that turn into plain JSON-able data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, frozen

from .._model.plan import TeamPlan


@frozen
class Candidate:
    """A plan from somewhere else, such as a strategy, with the improvement that is expected of it there.

    Attributes:
        plan: The plan, merged with the live one.
        low: Lower end of the 90 % interval of the relative improvement of the objective; 0.2 is 20 % better.
        high: Upper end.
        source: Who says so, such as the strategy's name.
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
        source: Who suggested it: `tuner`, or a candidate's source.
    """

    plan: TeamPlan
    knobs: int
    improvement: float
    interval: tuple[float, float]
    improvements: Mapping[str, float]
    success_change: float
    success_interval: tuple[float, float]
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data = asdict(self, recurse=False)
        data["plan"] = self.plan.to_dict()
        data["describe"] = self.plan.describe()
        data["improvements"] = dict(self.improvements)
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
        stop: Whether it should be stopped as hopeless. A test is never passed by this.
        veto: Whether a promotion should be held back although the test passed: success is too likely lost.
        reason: Why, in one sentence.
        outlook: What is believed of the challenger now.
    """

    __test__ = False  # pytest takes classes with this name for tests

    stop: bool
    veto: bool
    reason: str
    outlook: Outlook

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {"stop": self.stop, "veto": self.veto, "reason": self.reason, "outlook": self.outlook.to_dict()}
