"""The settings of one team as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import Factory, field, frozen

from .._model.optimization import OptimizationType
from .._model.plan import FORMATIONS, TeamPlan

MODES: Final = ("off", "observe", "suggest", "approve", "auto")
"""From least to most that the plugin does by itself."""

METRICS: Final = ("duration", "score", "cost", "tool_calls")
"""What an experiment may be decided on."""

RULES: Final = ("balanced", "pocock", "obrien_fleming", "e_logs", "e_ranks")
"""What may prove an improvement; the experiment engine's own names, without importing it."""

RISKS: Final = ("off", "low", "medium", "high")
"""How bold the tuner is; `off` leaves the choice to the strategies alone."""

STRATEGIES: Final = tuple(kind.value for kind in OptimizationType)
"""Names of the built-in strategies."""


@frozen
class Limits:
    """What no plan of the plugin's ever crosses, in any mode. None means no limit.

    Attributes:
        formations: Formations that may be used.
        min_members: Fewest members that take part.
        max_members: Most members that take part.
        protected_members: Ids of members that always take part.
        min_tool_budget: Smallest tool budget of a team, calls.
        max_tool_budget: Largest tool budget of a team, calls.
        min_timeout_seconds: Shortest deadline of a team.
        max_timeout_seconds: Longest deadline of a team.
        max_cost_usd_per_run: Most that a run may cost, US dollars.
    """

    formations: tuple[str, ...] = FORMATIONS
    min_members: int = 1
    max_members: int | None = None
    protected_members: tuple[str, ...] = ()
    min_tool_budget: int | None = None
    max_tool_budget: int | None = None
    min_timeout_seconds: float | None = None
    max_timeout_seconds: float | None = None
    max_cost_usd_per_run: float | None = None

    def crossed_by(self, plan: TeamPlan) -> tuple[tuple[str, str, str], ...]:
        """Return which limits a plan crosses; empty when none.

        A knob that the plan leaves as configured crosses nothing, and the cost of a run shows only afterwards.

        Args:
            plan: The plan to check.

        Returns:
            `(knob, limit, what is wrong)` for each, such as `tool_budget`, `max_tool_budget` and
            `tool_budget is 90, more than max_tool_budget, which is 40`.
        """
        crossed: list[tuple[str, str, str]] = []
        if plan.formation is not None and plan.formation not in self.formations:
            text = f"formation is {plan.formation}, which is not one of formations: {', '.join(self.formations)}"
            crossed.append(("formation", "formations", text))
        if plan.sub_teams is not None and "parallel" not in self.formations:
            text = f"sub_teams run in parallel, which is not one of formations: {', '.join(self.formations)}"
            crossed.append(("sub_teams", "formations", text))
        crossed += self._crossed_by_members("members", plan.members)
        if plan.members is None and plan.sub_teams is not None:
            crossed += self._crossed_by_members("sub_teams", [name for group in plan.sub_teams for name in group])
        budgets = [("tool_budget", plan.tool_budget, self.min_tool_budget)]
        budgets += [("member_budgets", budget, None) for _, budget in plan.member_budgets or ()]
        for knob, budget, least in budgets:
            crossed += _outside(knob, budget, "tool_budget", least, self.max_tool_budget)
        low, high = self.min_timeout_seconds, self.max_timeout_seconds
        crossed += _outside("timeout_seconds", plan.timeout_seconds, "timeout_seconds", low, high)
        return tuple(crossed)

    def _crossed_by_members(self, knob: str, members: Sequence[str] | None) -> list[tuple[str, str, str]]:
        if members is None:
            return []
        crossed = _outside(knob, len(set(members)), "members", self.min_members, self.max_members)
        for member in self.protected_members:
            if member not in members:
                text = f"{knob} leaves out {member}, who is one of protected_members"
                crossed.append((knob, "protected_members", text))
        return crossed


def _outside(
    knob: str, value: float | None, limit: str, low: float | None, high: float | None
) -> list[tuple[str, str, str]]:
    if value is not None and low is not None and value < low:
        return [(knob, f"min_{limit}", f"{knob} is {value:g}, less than min_{limit}, which is {low:g}")]
    if value is not None and high is not None and value > high:
        return [(knob, f"max_{limit}", f"{knob} is {value:g}, more than max_{limit}, which is {high:g}")]
    return []


@frozen
class ExperimentSettings:
    """How an A/B test decides.

    Attributes:
        metric: Primary metric, one of `METRICS`.
        rule: What proves an improvement, one of `RULES`.
        alpha: Most false positives, as a share of tests of changes that do nothing.
        minimum_improvement: Relative improvement that a change must prove, 0.05 is 5 %.
        min_runs_per_arm: Fewest runs in each arm before a verdict.
        max_runs_per_arm: Runs in each arm after which a test ends without proof.
        success_margin: Most that the success rate may fall, 0.10 is 10 percentage points.
        p95_margin: Most that the 95th percentile of the duration may rise, relative.
        cost_margin: Most that the mean cost may rise, relative.
        min_history: Runs recorded before the first test.
    """

    metric: str = "duration"
    rule: str = "balanced"
    alpha: float = 0.05
    minimum_improvement: float = 0.05
    min_runs_per_arm: int = 10
    max_runs_per_arm: int = 200
    success_margin: float = 0.10
    p95_margin: float = 0.50
    cost_margin: float = 0.25
    min_history: int = 5


@frozen
class WatchSettings:
    """How a promoted change is watched.

    Attributes:
        enabled: Whether a change is taken back automatically.
        holdback: Share of runs that keep the replaced plan, to compare with.
        alpha: Most false rollbacks, as a share of changes that do no harm.
        max_runs: Runs after which the watch ends and the change is settled.
    """

    enabled: bool = True
    holdback: float = 0.10
    alpha: float = 0.05
    max_runs: int = 200


@frozen
class TunerSettings:
    """How the next test is chosen.

    Attributes:
        risk: One of `RISKS`.
        weights: Weight of each metric that the team is tuned for, by name; None for the experiment's metric alone.
        max_p95_seconds: Most that the 95th percentile of the duration may be, or None.
    """

    risk: str = "low"
    weights: Mapping[str, float] | None = None
    max_p95_seconds: float | None = None


@frozen
class Settings:
    """Everything that is set for one team.

    Attributes:
        mode: What the plugin may do: nothing (off), record runs (observe), suggest changes (suggest), test and promote
            what a person approves (approve), or do so by itself (auto).
        strategies: Names of the strategies that may suggest changes.
        limits: What no plan ever crosses, in any mode.
        experiment: How an A/B test decides.
        watch: How a promoted change is watched.
        tuner: How the next test is chosen.
        task_key: Name of a key in the workflow's state or shared context whose value identifies the task, or None.
        plan: The plan that a person fixed, or None. It applies in every mode but `off` and `observe`, and then nothing
            is tuned.
    """

    mode: str = "observe"
    strategies: tuple[str, ...] = STRATEGIES
    limits: Limits = field(default=Factory(Limits))
    experiment: ExperimentSettings = field(default=Factory(ExperimentSettings))
    watch: WatchSettings = field(default=Factory(WatchSettings))
    tuner: TunerSettings = field(default=Factory(TunerSettings))
    task_key: str | None = None
    plan: TeamPlan | None = None
