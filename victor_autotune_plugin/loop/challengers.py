"""The challenger of a team's next test: strategies suggest, the tuner weighs their plans and its own.

The tuner (`tuner/`) is a model of one team. It is made from the team's recorded runs when it is first needed, and then
follows the runs one by one; nothing of it is stored, so there is no state that could be damaged or out of date.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from .. import faults
from ..model.optimization import OptimizationSuggestion, OptimizationType
from ..model.plan import TeamPlan, TeamSpec

if TYPE_CHECKING:
    from ..model.run import TeamRun
    from ..model.state import Experiment, TeamState
    from ..settings import Settings
    from ..tuner import Proposal, RunFacts, TeamBelief, TestOutlook, Tuner

MOST_TEAMS: Final = 200
"""Teams whose tuner is kept in a process; the one not asked for longest goes first."""

_KNOBS: Final[Mapping[str, tuple[str, ...]]] = {
    "formation": (OptimizationType.FORMATION_SELECTION,),
    "members": (OptimizationType.TEAM_SIZING, OptimizationType.MEMBER_SELECTION),
    "tool_budget": (OptimizationType.TOOL_BUDGET,),
    "member_budgets": (OptimizationType.MEMBER_SELECTION, OptimizationType.TOOL_BUDGET),
    "timeout_seconds": (OptimizationType.TIMEOUT_TUNING,),
    "sub_teams": (OptimizationType.PARALLELIZATION,),
}
"""The strategies that may change a knob; where none of them is in the settings, the tuner leaves it alone, too."""

LEARN_RUNS: Final = 500
"""How many of a team's last runs a tuner is made from."""

NEW_RUNS: Final = 50
"""How many are looked through for runs of other processes, once it is there."""

_LEFT_TO_STRATEGIES: Final[Mapping[str, frozenset[str]]] = {
    "low": frozenset({"members", "member_budgets", "tool_budget", "timeout_seconds"}),
    "medium": frozenset({"members", "member_budgets"}),
    "high": frozenset(),
}
"""Knobs that the tuner changes only where a strategy suggests it, by risk.

A strategy has evidence for it: what successful runs needed, and what a member adds. The share of members that
succeeded, which is all that is measured without a score of the user's, can't tell what a missing member would have
added.
"""

ReadRuns = Callable[[int], Sequence["TeamRun"]]
"""Reads so many of a team's finished runs from the store, newest first."""


@frozen
class Challenge:
    """What to test next, or why nothing.

    Attributes:
        suggestion: The change, or None.
        treatment: The plan with the change, or None.
        proposal: What the tuner says about it and about the others; None where the tuner is off or failed.
    """

    suggestion: OptimizationSuggestion | None = None
    treatment: TeamPlan | None = None
    proposal: Proposal | None = None


@define
class _Known:
    """A tuner, what it was made for, and what it was told: ids of runs, and of experiments with the event."""

    made_for: tuple[Any, ...]
    tuner: Tuner
    told: set[str] = field(factory=set)

    @property
    def is_new(self) -> bool:
        return not self.told

    def tell(self, runs: Iterable[TeamRun], experiments: Iterable[Experiment], metric: str) -> None:
        """Tell the tuner what it does not know yet, in the order in which it happened."""
        from ..tuner import RunFacts

        events: list[tuple[float, str, Callable[[], None]]] = [
            (run.started_at, run.run_id, partial(self._observe, RunFacts, run)) for run in runs if not run.cancelled
        ]
        for one in experiments:
            events += _events(self.tuner, one, metric)
        for _, name, tell in sorted(events, key=itemgetter(0)):
            if name not in self.told:
                self.told.add(name)
                tell()

    def _observe(self, facts: type[RunFacts], run: TeamRun) -> None:
        self.tuner.observe(facts.of(run))


def _events(tuner: Tuner, one: Experiment, metric: str) -> Iterator[tuple[float, str, Callable[[], None]]]:
    """Give what happened in an experiment: when, a name for it, and what to tell the tuner."""
    if one.status == "draft":
        return
    yield one.created_at, f"{one.id} started", partial(tuner.started, one.treatment)
    ended = one.decided_at or one.ended_at
    if ended is None:
        return
    if one.decided_at is None:
        yield ended, f"{one.id} aborted", partial(tuner.aborted, one.treatment)
        return
    promoted = one.promoted_at is not None
    effect = (one.verdict or {}).get("effect") if one.policy["metric"] == metric != "score" else None
    gain = None if effect is None else -effect
    yield ended, f"{one.id} decided", partial(tuner.ended, one.treatment, promoted=promoted, effect=gain)
    if one.status == "rolled_back" and one.ended_at is not None:
        yield one.ended_at, f"{one.id} rolled back", partial(tuner.rolled_back, one.control, one.treatment)


class Challengers:
    """Keeps the tuners of a process's teams, and chooses challengers with them."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def choose(
        self,
        state: TeamState,
        spec: TeamSpec,
        settings: Settings,
        suggested: Sequence[OptimizationSuggestion],
        experiments: Sequence[Experiment],
        tried: Iterable[str],
        read_runs: ReadRuns,
    ) -> Challenge:
        """Choose what to test next.

        Suggestions about the metric that the team is tuned for compete in the tuner with its own plans. What improves
        another metric, and what a third party's strategy suggests, is tested when nothing of those is worth it, in the
        order given. With the tuner off, the first suggestion that was not tried is chosen.

        Args:
            state: The team's state.
            spec: The team as configured.
            settings: Its settings.
            suggested: What the strategies suggest, best first.
            experiments: All its experiments, oldest first.
            tried: Ids of treatments that are not to be tested again.
            read_runs: Reads its runs, enough to learn from.
        """
        gone = set(tried)
        plans: dict[TeamPlan, OptimizationSuggestion] = {}
        for suggestion in suggested:
            treatment = state.plan.merged(suggestion.plan)
            if treatment.id not in gone and treatment != state.plan and not settings.limits.crossed_by(treatment):
                plans.setdefault(treatment, suggestion)
        if settings.tuner.risk != "off":
            with faults.guard("choice of a challenger"):
                return self._weighed(state, spec, settings, plans, experiments, gone, read_runs)
        return _first(plans)

    def _weighed(
        self,
        state: TeamState,
        spec: TeamSpec,
        settings: Settings,
        plans: Mapping[TeamPlan, OptimizationSuggestion],
        experiments: Sequence[Experiment],
        tried: set[str],
        read_runs: ReadRuns,
    ) -> Challenge:
        from ..tuner import candidate_of, suggestion_of

        tuner = self.tuner(state, spec, settings, experiments, read_runs)
        rivals = {
            plan: rival for plan, one in plans.items() if (rival := candidate_of(one, state.plan, tuner.objective))
        }
        seed = int(hashlib.sha256(f"{state.fingerprint}\n{len(experiments)}".encode()).hexdigest()[:8], 16)
        proposal = tuner.propose(seed, rivals.values())
        suggestion = suggestion_of(proposal, spec, state.plan)
        treatment = None if suggestion is None else state.plan.merged(suggestion.plan)
        if suggestion is None or treatment is None or treatment.id in tried:
            built_in = tuple(OptimizationType)
            others = {plan: one for plan, one in plans.items() if plan not in rivals or one.type not in built_in}
            return evolve(_first(others), proposal=proposal)
        return Challenge(plans.get(treatment, suggestion), treatment, proposal)

    def outlook(
        self,
        state: TeamState,
        spec: TeamSpec,
        settings: Settings,
        experiments: Sequence[Experiment],
        test: Experiment,
        read_runs: ReadRuns,
    ) -> TestOutlook | None:
        """Return what the tuner says of a running test or a watched promotion; None when it is off or failed.

        Args:
            state: As for `choose`.
            spec: As for `choose`.
            settings: As for `choose`.
            experiments: As for `choose`.
            test: The experiment.
            read_runs: As for `choose`.
        """
        if settings.tuner.risk == "off" or test.policy["metric"] != settings.experiment.metric:
            return None
        with faults.guard("outlook of a test"):
            tuner = self.tuner(state, spec, settings, experiments, read_runs)
            return tuner.watched(test.control) if test.status == "watched" else tuner.outlook(test.treatment)
        return None

    def tuner(
        self,
        state: TeamState,
        spec: TeamSpec,
        settings: Settings,
        experiments: Sequence[Experiment],
        read_runs: ReadRuns,
    ) -> Tuner:
        """Return the tuner of a team, up to date with its runs and experiments.

        Args:
            state: As for `choose`.
            spec: As for `choose`.
            settings: As for `choose`.
            experiments: As for `choose`.
            read_runs: As for `choose`.
        """
        made_for = (state.fingerprint, settings)
        known = self._known.pop(state.key, None)
        if known is None or known.made_for != made_for:
            known = _Known(made_for, _new_tuner(spec, settings, self._learnt()))
        runs = read_runs(LEARN_RUNS if known.is_new else NEW_RUNS)
        known.tell(
            (run for run in runs if run.spec.fingerprint() == state.fingerprint),
            (one for one in experiments if one.fingerprint == state.fingerprint),
            settings.experiment.metric,
        )
        known.tuner.runs_now(state.plan)  # a person may have changed it without an experiment
        self._known[state.key] = known
        if len(self._known) > MOST_TEAMS:
            self._known.popitem(last=False)
        return known.tuner

    def _learnt(self) -> list[TeamBelief]:
        """Return what was learnt of the teams of this process, for the prior of another one."""
        return [known.tuner.shared() for known in self._known.values()]


def _new_tuner(spec: TeamSpec, settings: Settings, others: Sequence[TeamBelief]) -> Tuner:
    from ..tuner import Objective, Tuner, fleet_prior, plan_space

    forbidden = {knob for knob, owners in _KNOBS.items() if not set(owners) & set(settings.strategies)}
    forbidden |= _LEFT_TO_STRATEGIES[settings.tuner.risk]

    def crossed_by(plan: TeamPlan) -> Sequence[Any]:
        touched = [knob for knob in forbidden if getattr(plan, knob) is not None]
        fewer = ["members"] if "members" in forbidden and plan.formation == "reflection" else []
        return [*settings.limits.crossed_by(plan), *touched, *fewer]

    own = plan_space(spec, crossed_by)
    space = evolve(own, crossed_by=settings.limits.crossed_by)  # suggestions may be of any strategy
    objective = Objective(
        settings.tuner.weights or settings.experiment.metric,
        minimum_improvement=settings.experiment.minimum_improvement,
        max_cost_usd=settings.limits.max_cost_usd_per_run,
        max_p95_seconds=settings.tuner.max_p95_seconds,
    )
    return Tuner(space, objective, fleet_prior(others), risk=settings.tuner.risk)


def _first(plans: Mapping[TeamPlan, OptimizationSuggestion]) -> Challenge:
    for plan, suggestion in plans.items():
        return Challenge(suggestion, plan)
    return Challenge()
