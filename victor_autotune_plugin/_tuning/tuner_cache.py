"""The tuners of a process's teams, each up to date with what its team's runs and tests say.

The tuner (`_tuner/`) is a model of one team. It is made from the team's recorded runs when it is first needed, and then
follows the runs one by one; nothing of it is stored, so no state can be damaged or out of date.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from .. import failsafe
from .._model.optimization import OptimizationType
from .._model.plan import EMPTY_PLAN, TeamPlan, TeamSpec
from .._model.policy import MORE_IS_BETTER
from ..storage.former_states import REASON
from .new_experiment import decided_by

if TYPE_CHECKING:
    from .._dataflow.verdict import Rules
    from .._model.experiment import Change, Experiment, TeamState
    from .._model.run import TeamRun
    from .._settings import Settings
    from .._tuner import PlanSpace, Tuner
    from .._tuner.space import Shape

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
"""The strategies that may change a knob; where the settings name none of them, the tuner leaves it alone, too."""

_LEFT_TO_STRATEGIES: Final[Mapping[str, frozenset[str]]] = {
    "low": frozenset({"members", "member_budgets", "tool_budget", "timeout_seconds"}),
    "medium": frozenset({"members", "member_budgets"}),
    "high": frozenset(),
}
"""Knobs that the tuner of a team without a scorer changes only where a strategy suggests it, by risk.

A strategy has evidence for it: what successful runs needed, and what a member adds. The share of members that
succeeded, which is all that is measured without a score of the user's, can't tell what a missing member would have
added.
"""

LEARN_RUNS: Final = 500
"""How many of a team's last runs a tuner is made from."""

NEW_RUNS: Final = 50
"""How many are looked through for runs of other processes, and for those whose scores came, once it is there."""

LATE_SCORES: Final = 10
"""Runs among them that got their score after the tuner was told, from which on it is made again."""

ReadRuns = Callable[[int], Sequence["TeamRun"]]
"""Reads so many of a team's finished runs from the store, newest first."""

MakeTuner = Callable[["TeamRecord"], "Tuner"]


@frozen
class TeamRecord:
    """What the settings and the store say of a team.

    Attributes:
        state: Its state.
        spec: The team as configured.
        settings: Its settings.
        experiments: Its experiments, oldest first.
        read_runs: Reads its runs.
        rules: Which plans may be chosen for it.
        drifts: Unix times at which its live plan had to be verified again, since something had changed.
        upgraded: Ids of its tests that an upgrade of the plugin ended.
    """

    state: TeamState
    spec: TeamSpec
    settings: Settings
    experiments: Sequence[Experiment]
    read_runs: ReadRuns
    rules: Rules
    drifts: Sequence[float] = ()
    upgraded: Collection[str] = ()


def drifts_of(changes: Iterable[Change]) -> tuple[float, ...]:
    """Return when, by a team's history, its live plan had to be verified again; Unix times."""
    return tuple(change.at for change in changes if change.action == "reverifying")


def upgraded_of(changes: Iterable[Change]) -> frozenset[str]:
    """Return the ids of the tests that, by a team's history, an upgrade of the plugin ended."""
    return frozenset(change.experiment_id or "" for change in changes if change.reason == REASON)


class TunerCache:
    """Keeps the tuners of a process's teams.

    Args:
        make: Makes a new tuner from what is known of a team.
    """

    def __init__(self, make: MakeTuner | None = None) -> None:
        self._make = make or new_tuner
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, team: TeamRecord) -> Tuner:
        """Return the tuner of a team, up to date.

        A new one is made for another definition, other settings, and another live plan, which its own plans start from.
        """
        state, settings = team.state, team.settings
        made_for = _what_for(team)
        with self._lock:
            known = self._known.pop(state.key, None)
            if known is None or known.made_for != made_for:
                known = _Known(made_for, self._make(team))
            runs = [] if known.is_new else team.read_runs(NEW_RUNS)
            if state.gates and known.misses_scores(runs):
                known, runs = _Known(made_for, self._make(team)), []
            known.tuner.rules = team.rules
            if not any(run.run_id in known.told for run in runs):
                runs = team.read_runs(LEARN_RUNS)
            known.tell(
                (run for run in runs if run.spec.fingerprint() == state.fingerprint),
                (one for one in team.experiments if one.fingerprint == state.fingerprint),
                decided_by(settings.experiment.metric, is_scored=bool(state.gates)),
                team.drifts,
            )
            known.tuner.runs_now(state.plan)  # a person may have changed it without an experiment
            self._known[state.key] = known
            if len(self._known) > MOST_TEAMS:
                self._known.popitem(last=False)
            return known.tuner


@define
class _Known:
    """A tuner, what it was made for, and what it was told: ids of runs, and of experiments with the event.

    `bare` are the runs among them that had no score yet.
    """

    made_for: tuple[Any, ...]
    tuner: Tuner
    told: set[str] = field(factory=set)
    bare: set[str] = field(factory=set)

    @property
    def is_new(self) -> bool:
        return not self.told

    def misses_scores(self, runs: Iterable[TeamRun]) -> bool:
        """Return whether so many runs got their score after they were told that it is worth telling all again."""
        return sum(run.score is not None and run.run_id in self.bare for run in runs) >= LATE_SCORES

    def tell(
        self, runs: Iterable[TeamRun], experiments: Iterable[Experiment], metric: str, drifts: Iterable[float]
    ) -> None:
        """Tell the tuner what it does not know yet, in the order in which it happened."""
        known = [run for run in runs if not run.cancelled]
        self.bare.update(run.run_id for run in known if run.score is None and run.run_id not in self.told)
        events: list[tuple[float, str, Callable[[], None]]] = [
            (run.started_at, run.run_id, partial(self.tuner.observe, run)) for run in known
        ]
        events += [(at, f"drift {at!r}", self.tuner.drifted) for at in drifts]
        for one in experiments:
            events += _events(self.tuner, one, metric)
        for _, name, tell in sorted(events, key=itemgetter(0)):
            if name not in self.told:
                self.told.add(name)
                with failsafe.guard("learning from a run"):  # one with impossible figures must not hold up the others
                    tell()


def can_be_weighed(live: TeamPlan, spec: TeamSpec) -> bool:
    """Return whether the tuner has a model of a team: it has members, and it is known how they work together."""
    from .._tuner.space import is_modelled, shape_of

    return bool(spec.members) and is_modelled(shape_of(spec, live).formation)


def _what_for(team: TeamRecord) -> tuple[Any, ...]:
    gates = tuple(gate.identity for gate in team.state.gates)
    return team.state.fingerprint, team.settings, team.state.plan, team.rules.knowledge.binding, gates


def _events(tuner: Tuner, one: Experiment, metric: str) -> Iterator[tuple[float, str, Callable[[], None]]]:
    """Give what happened in an experiment: when, a name for it, and what to tell the tuner."""

    def against_control(tell: Callable[[], None]) -> None:
        tuner.runs_now(one.control)  # what was live then; by now it may be another plan
        tell()

    if one.status in ("draft", "awaits_approval") or one.is_untested:
        return
    yield one.created_at, f"{one.id} started", partial(against_control, partial(tuner.started, one.treatment))
    ended = one.decided_at or one.ended_at
    if ended is None:
        return
    if one.decided_at is None:
        yield ended, f"{one.id} aborted", partial(against_control, partial(tuner.aborted, one.treatment))
        return
    promoted = one.promoted_at is not None and one.status not in ("failed", "inconclusive")
    effect = (one.verdict or {}).get("effect") if one.policy.metric == metric not in MORE_IS_BETTER else None
    slower = effect is not None and effect > 0
    worse = one.status in ("failed", "rolled_back") or (one.status == "inconclusive" and slower)
    end = partial(tuner.ended, one.treatment, promoted=promoted, worse=worse)
    yield ended, f"{one.id} decided", partial(against_control, end)
    if one.status == "rolled_back" and one.ended_at is not None:
        yield one.ended_at, f"{one.id} rolled back", partial(tuner.rolled_back, one.control, one.treatment)


def new_tuner(team: TeamRecord) -> Tuner:
    """Return the tuner of a team that has learnt nothing yet."""
    from .._tuner import Objective, Tuner

    settings, live, is_scored = team.settings, team.state.plan, bool(team.state.gates)
    objective = Objective(
        settings.tuner.weights or decided_by(settings.experiment.metric, is_scored=is_scored),
        tested_margin=settings.experiment.success_margin,
        minimum_improvement=settings.experiment.minimum_improvement,
        max_cost_usd=settings.limits.max_cost_usd_per_run,
        max_p95_seconds=settings.tuner.max_p95_seconds,
    )
    return Tuner(_own_plans(team), objective, risk=settings.tuner.risk, live=live, is_scored=is_scored)


def _own_plans(team: TeamRecord) -> PlanSpace:
    """Return the plans that the tuner may think of by itself.

    They start from the live plan: its budgets and its timeout hold where they say nothing else. A knob whose strategies
    are not in the settings, or that is left to them at this risk, stays as it is. Where that is so of the members,
    a reflection leaves none of them idle, either. Sub-teams are formed along the data flow, too.
    """
    from .._tuner import PlanSpace, plan_space
    from .._tuner.space import shape_of

    spec, settings, live = team.spec, team.settings, team.state.plan
    limits = settings.limits
    fixed = {knob for knob, owners in _KNOBS.items() if not set(owners) & set(settings.strategies)}
    left = _LEFT_TO_STRATEGIES[settings.tuner.risk]
    fixed |= left - {"members"} if team.state.gates else left  # a score tells what a member adds
    now = shape_of(spec, live)
    plans = {shape_of(spec, EMPTY_PLAN): EMPTY_PLAN}
    for plan in (*plan_space(spec).plans, *_along_the_flow(team)):
        own = _from_live(plan, live, now, spec)
        shape = shape_of(spec, own)
        if not _moved(now, shape, spec.formation) & fixed and not limits.crossed_by(own):
            plans.setdefault(shape, own)
    return PlanSpace(spec, plans.values(), limits.crossed_by)


def _along_the_flow(team: TeamRecord) -> Iterator[TeamPlan]:
    """Give the sub-teams of the members that use each other's work, if some do and others don't."""
    edges = team.rules.knowledge.binding
    if not edges:
        return
    from .._dataflow.graph import components

    groups = components(team.spec.member_ids, edges)
    if len(groups) > 1:
        yield TeamPlan(sub_teams=groups)


def _from_live(plan: TeamPlan, live: TeamPlan, now: Shape, spec: TeamSpec) -> TeamPlan:
    """Return a plan with what the live one says of budgets, timeout and order where it says nothing of them."""
    taking_part = set(plan.members or spec.member_ids)
    same = taking_part == set(now.members)
    budgets = {name: calls for name, calls in (live.member_budgets or {}).items() if name in taking_part}
    return evolve(
        plan,
        members=live.members if same and not plan.sub_teams else plan.members,
        tool_budget=live.tool_budget if plan.tool_budget is None else plan.tool_budget,
        timeout_seconds=live.timeout_seconds if plan.timeout_seconds is None else plan.timeout_seconds,
        member_budgets=budgets or None,
    )


def _moved(now: Shape, then: Shape, configured: str) -> set[str]:
    """Return the knobs that differ. To go from sub-teams back to the formation as configured moves only these."""
    before = configured if now.groups else now.formation
    moved = {
        "formation": not then.groups and then.formation != before,
        "sub_teams": then.groups != now.groups,
        "members": set(then.members) != set(now.members) or (then.formation == "reflection" != now.formation),
        "tool_budget": then.tool_budget != now.tool_budget,
        "member_budgets": then.member_budgets != now.member_budgets,
        "timeout_seconds": then.timeout_seconds != now.timeout_seconds,
    }
    return {knob for knob, is_moved in moved.items() if is_moved}
