"""`status`, and what is known of a team, which `run`, `explain` and `report` show, too."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, takewhile
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Final
from zlib import crc32

import typer
from attrs import evolve, field, frozen

from .._model.quantities import DEFAULT_ENVIRONMENT
from .._model.run import TeamRun
from . import rendering as show
from .awaiting import Waiting, standing_data, waiting
from .modes import Modes, TeamMode
from .open_teams import LATEST_RUNS, MOST_RUNS, looked_at
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen, same_place
from .owned import owned_knobs
from .price_source import price_source
from .project import opened
from .quality_facts import QualityFacts, cost_of_week, quality_of

if TYPE_CHECKING:
    from .._dataflow.flow_facts import FlowFacts
    from .._model.experiment import Experiment, TeamState
    from .._model.plan import TeamPlan
    from .._page.outcome import PlanOutcome
    from .._settings import Settings
    from .._tuning.present_state import Detail
    from .._tuning.standing import Standing
    from ..experiment.fixed_sample import SampleComparison
    from ..storage import Store
    from ..storage.run_listing import ListedRun
    from .project import OpenProject

FEWEST_FAILED: Final = 3
"""After so many failed runs in a row a person is told."""

MOST_LISTED: Final = 50
"""Teams that the table has; more are there with --all."""

DORMANT_DAYS: Final = 90
"""After so many days without a run a team that was never changed is not listed."""


@frozen
class RunFigures:
    """Figures of a team's last finished runs, at most `MOST_RUNS`; cancelled ones don't count.

    Attributes:
        runs: Number of runs.
        succeeded: How many succeeded.
        durations: Seconds, ascending.
    """

    runs: int = 0
    succeeded: int = 0
    durations: list[float] = field(factory=list)

    @classmethod
    def of(cls, runs: Sequence[TeamRun | ListedRun]) -> RunFigures:
        """Return the figures of some runs."""
        counted = [run for run in runs if not run.cancelled]
        return cls(len(counted), sum(map(_succeeded, counted)), sorted(map(_seconds, counted)))

    @property
    def success_rate(self) -> float | None:
        """Share of runs that succeeded, or None without runs."""
        return self.succeeded / self.runs if self.runs else None

    @property
    def median_seconds(self) -> float | None:
        """Median duration in seconds, or None without runs."""
        return median(self.durations) if self.durations else None

    @property
    def p95_seconds(self) -> float | None:
        """95th percentile of the duration in seconds by the nearest-rank rule, or None without runs."""
        from ..experiment.twosample import percentile

        return percentile(self.durations, 0.95) if self.durations else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "runs": self.runs,
            "succeeded": self.succeeded,
            "success_rate": self.success_rate,
            "median_seconds": self.median_seconds,
            "p95_seconds": self.p95_seconds,
        }


@frozen
class TeamFacts:
    """What is known of a team.

    Attributes:
        state: Its state.
        modes: The mode that is set, that of the last run, and why they differ.
        plan: The plan of its next run outside a test: its live plan, or the one that the settings fix.
        fixed: Whether the settings fix the plan.
        figures: Its runs.
        standings: Where its open experiments stand: what awaits a person first, then a test, then the live plan.
        experiment: The first of them, else the last experiment, or None.
        verdict: The test's verdict of that experiment as plain data; of an open one as of now.
        watch: The watch's verdict of that experiment, likewise, or None where its plan is not verified.
        decided: The last experiment that was proven or ended, or None.
        trouble: What a person should look at, where the last runs all failed, in a sentence; else None.
        owners: Who sets which knob: `(knob, who, in how many of the last runs)`; the plugin sets the others. Empty
            where it was not asked for.
        flow: Its data flow, in a line of many only what is known of it; None where no definition of the team is known.
        quality: How its work is scored.
        outcomes: What the plans of its open experiments brought so far, by the experiment's id.
        waiting: How long what awaits a person has waited, and what that costs, by the experiment's id.
    """

    state: TeamState
    modes: TeamMode
    plan: TeamPlan
    fixed: bool
    figures: RunFigures
    standings: tuple[Standing, ...]
    experiment: Experiment | None
    verdict: Mapping[str, Any] | None
    watch: Mapping[str, Any] | None
    decided: Experiment | None
    trouble: str | None
    owners: list[tuple[str, str, int]]
    flow: FlowFacts | None
    quality: QualityFacts = field(factory=QualityFacts)
    outcomes: Mapping[str, PlanOutcome] = field(factory=dict)
    waiting: Mapping[str, Waiting] = field(factory=dict)

    @property
    def mode(self) -> str:
        """Mode that its next run has, as far as that is known."""
        return self.modes.next

    @property
    def outcome(self) -> PlanOutcome | None:
        """What the live plan brought, or so far what the plan of the open test would; None without either."""
        known = list(self.outcomes.values())
        return next((one for one in known if one.is_live), known[0] if known else None)

    def verdict_text(self) -> str | None:
        """Return the last verdict in a word, or None without one."""
        from .._tuning.standing import is_unproven

        if self.decided is None:
            return None
        untested = self.decided.is_verified and is_unproven(self.decided)
        return "not tested" if untested else show.state_text(self.decided.status)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        experiment, decided = self.experiment, self.decided
        opened = None
        if experiment is not None and self.standings:
            opened = {
                "id": experiment.id,
                "status": experiment.status,
                "strategy": experiment.strategy,
                "description": experiment.description,
                "control": experiment.control.to_dict(),
                "treatment": experiment.treatment.to_dict(),
                "verdict": self.verdict,
                "watch_verdict": self.watch,
            }
        last = None
        if decided is not None:
            said = decided.watch_verdict or decided.verdict or {}
            last = {
                "experiment_id": decided.id,
                "verdict": (decided.verdict or {}).get("status"),
                "status": decided.status,
                "at": decided.ended_at or decided.decided_at,
                "reason": said.get("reason"),
            }
        return {
            "workflow": self.state.workflow,
            "team_id": self.state.team_id,
            "mode": self.mode,
            "modes": self.modes.to_dict(),
            "paused": self.state.paused,
            "environment": self.state.environment,
            "plan": self.plan.to_dict(),
            "plan_fixed": self.fixed,
            "trouble": self.trouble,
            "outcome": None if self.outcome is None else self.outcome.to_dict(),
            "standing": standing_data(self),
            "experiment": opened,
            "last_verdict": last,
            "data_flow": None if self.flow is None else self.flow.to_dict(),
            **self.figures.to_dict(),
            **self.quality.to_dict(),
        }


def team_facts(
    session: OpenProject,
    state: TeamState,
    runs: Sequence[TeamRun] | None = None,
    settings: Settings | None = None,
    modes: Modes | None = None,
    own: tuple[Any, str | None] = (None, None),
    *,
    in_full: bool = True,
    most: int = MOST_RUNS,
    detail: Detail = "full",
) -> TeamFacts:
    """Gather what is known of a team.

    Args:
        session: Its project; it has a store, since it knows the team.
        runs: Runs to take the figures of, newest first; None for the last `most`.
        settings: Its settings; None for those without its workflow's own metadata.
        modes: What finds its mode; None to make it.
        own: Its workflow's own metadata and their place, where they are in the settings.
        in_full: Whether it is looked for who sets its knobs, and in a line what follows from its data flow.
        most: How many of its last runs its figures are made from.
        detail: How much the watch over its live plan tells.
    """
    from .._page.outcome import outcomes
    from .._tuning.present_state import standings, verdicts

    store = session.store
    assert store is not None
    ended: Sequence[TeamRun | ListedRun] = store.last_runs(*state.key, most) if runs is None else runs
    latest: Iterable[TeamRun] = store.finished_runs(*state.key, limit=LATEST_RUNS) if runs is None else runs
    if in_full:
        latest = list(islice(latest, LATEST_RUNS))
    if settings is None:
        settings = session.runtime.resolver.for_team(*state.key)
    found_mode = (modes or Modes(session.runtime.resolver, session.runtime.project)).of(
        state.key, ended[0] if ended else None, *own
    )
    mode = found_mode.next
    fixed = None if mode in ("off", "observe") else settings.plan
    settings = evolve(settings, mode=mode)
    stands = standings(store, state, settings, latest, options=same_place(), detail=detail)
    experiments = store.experiments(*state.key)
    decided = max((one for one in experiments if one.has_ended or one.is_verified), key=_decided_at, default=None)
    experiment = stands[0].experiment if stands else decided
    verdict, watch = stands[0].told if stands else (None, None) if experiment is None else verdicts(store, experiment)
    plan = state.plan if fixed is None else fixed
    live = next((one for one in experiments if one.id == state.live_id), None)
    replaced = None if live is None else live.control
    told = {one.experiment.id: one.told[0] for one in stands}
    brought = outcomes(store, [one.experiment for one in stands if one.experiment.takes_runs], told)
    started = [run.started_at for run in ended]
    waits = {one.experiment.id: waiting(one, started, brought.get(one.experiment.id)) for one in stands}
    return TeamFacts(
        state=state,
        modes=found_mode,
        plan=plan,
        fixed=fixed is not None,
        figures=RunFigures.of(ended),
        standings=stands,
        experiment=experiment,
        verdict=verdict,
        watch=watch,
        decided=decided,
        trouble=_trouble(ended, most),
        owners=owned_knobs(latest) if in_full else [],
        flow=_flow(session, state, settings, in_brief=detail == "line" and not in_full),
        quality=quality_of(store, state, settings, ended, plan, replaced),
        outcomes=brought,
        waiting={name: one for name, one in waits.items() if one is not None},
    )


def _succeeded(run: TeamRun | ListedRun) -> bool:
    return bool(run.success if isinstance(run, TeamRun) else run.succeeded)


def _seconds(run: TeamRun | ListedRun) -> float:
    return run.duration_seconds if isinstance(run, TeamRun) else run.seconds or 0.0


def _trouble(runs: Sequence[TeamRun | ListedRun], most: int) -> str | None:
    """Say that the last runs all failed, newest first, and how to see one; None where they did not."""
    failed = list(takewhile(lambda run: not _succeeded(run), (run for run in runs if not run.cancelled)))
    if len(failed) < FEWEST_FAILED:
        return None
    kind = f" ({failed[0].error_class})" if failed[0].error_class else ""
    many = f"{len(failed)} runs" if len(failed) < most else f"{most:,} runs or more"
    shown = f"victor autotune runs show {failed[0].run_id[:8]}{same_place()}"
    return show.clean(f"The last {many} all failed{kind}. The latest: {shown}")


def _decided_at(experiment: Experiment) -> float:
    return experiment.ended_at or experiment.promoted_at or experiment.created_at


def _flow(session: OpenProject, state: TeamState, settings: Settings, *, in_brief: bool) -> FlowFacts | None:
    """Return what is known of a team's data flow and, unless it is in brief, what follows from it for plans."""
    from .._dataflow.flow_facts import FlowFacts, facts_of
    from .._dataflow.verdict import knowledge_of

    if session.store is None or state.spec is None:
        return None
    flow, has_scorer = session.store.data_flow(*state.key), bool(state.gates)
    if in_brief:
        return FlowFacts(knowledge_of(flow, state.spec, settings))
    return facts_of(flow, state.spec, settings, state.plan, has_scorer=has_scorer)


def statistics(store: Store, experiment: Experiment) -> list[SampleComparison]:
    """Return the fixed-sample statistics of the runs that an experiment's test was decided on, or has so far."""
    from .._tuning.judges import feed, new_judge
    from ..experiment import summarise

    judge = new_judge(experiment)
    feed(judge, store.observations(experiment.id, "test"))
    return summarise(experiment.policy.metric, judge.counted, seed=crc32(experiment.seed.encode()))


def potential_pointer(facts: TeamFacts) -> str | None:
    """Return where to read what would open more; None where the data flow is known or a scorer decides."""
    if facts.flow is None or facts.flow.knowledge.verdict != "unknown" or facts.state.gates:
        return None
    return "Data flow unknown, no scorer: `victor autotune potential` tells what helps"


def status(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every team, also those without a run for 90 days.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show every team that was recorded, or one: its plan, its test, and how it does.

    Figures are of each team's last 1,000 runs; where more than 20 teams are
    listed, of the last 20,000 of all together, and of 50 each at least.
    """
    team_id = chosen(name, team)
    from ..storage.team_records import TeamRecords

    with opened(project) as session:
        if team_id is None and session.store is not None:
            session = evolve(session, store=TeamRecords(session.store))
        seen = {} if session.store is None else session.store.last_seen()
        states = session.named_teams(workflow, team_id, seen)
        shown = states if everything or team_id is not None else _in_use(session, states, seen)
        in_use = len(shown)
        tuned = sum(map(_is_tuned, shown))
        if not (everything or as_json) and in_use > MOST_LISTED:
            shown = _foremost(session, shown, seen)
        tuned -= sum(map(_is_tuned, shown))
        modes = Modes(session.runtime.resolver, session.runtime.project)
        most = looked_at(len(shown))
        if team_id is None and session.store is not None:  # all that the teams need of these, at once
            wanted = (one for state in shown for one in (state.experiment_id, state.live_id) if one is not None)
            session.store.arm_runs(wanted, with_tokens=as_json)  # the table has none
        is_one = team_id is not None
        detail: Detail = "line" if not as_json else "full" if is_one else "list"
        facts = [
            team_facts(session, session.in_full(one), modes=modes, in_full=is_one, most=most, detail=detail)
            for one in shown
        ]
        where = session.runtime.environment
        others = {} if session.store is None else session.store.of(None).environments()
        resolver = session.runtime.resolver
        paused = session.store is not None and session.store.identity().paused
        cost = 0.0 if session.store is None else cost_of_week(session.store)
    others.pop(where, None)
    left_out = len(states) - in_use
    if as_json:
        data = {"environment": where, "other_environments": others, "all_paused": paused, "not_shown": left_out}
        data["figures_of_last_runs"] = most
        data["scoring_cost_usd_last_7_days"] = cost
        ignored = resolver.ignored
        data["ignored_until_trusted"] = [] if ignored is None else [one.path for one in ignored.settings]
        prices = {"prices": price_source(resolver)} if facts else {}
        show.write_json({**data, "teams": [one.to_dict() for one in facts], **prices})
        return
    if not facts and not left_out and not others:
        show.say(show.NOTHING_YET)
        show.say("A program without an agent of Victor's switches the plugin on: victor_autotune_plugin.install()")
        return
    from .status_screen import print_status

    print_status(facts, resolver, all_paused=paused, scoring_cost=cost)
    if any(one.figures.runs == most for one in facts):
        show.say(f"Figures of a team: its last {most:,} runs", "dim")
    if where != DEFAULT_ENVIRONMENT or others:
        listed = ", ".join(f"{show.clean(one)} ({show.count(teams, 'team')})" for one, teams in others.items())
        elsewhere = f" Elsewhere: {listed}; see them with --environment NAME." if others else ""
        show.say(f"Environment {show.clean(where)}: {show.count(len(states), 'team')}.{elsewhere}", "dim")
    if in_use > len(facts):
        more = show.count(in_use - len(facts), "more team")
        rest = f"{tuned} of them with a test or a live plan" if tuned else "with nothing open and no run since these"
        show.say(f"{more}, {rest}: victor autotune status --all", "dim")
    if left_out:
        show.say(f"{show.count(left_out, 'team')} not seen for {DORMANT_DAYS} days: status --all", "dim")


def _is_tuned(state: TeamState) -> bool:
    return state.experiment_id is not None or state.live_id is not None


def _foremost(
    session: OpenProject, states: Sequence[TeamState], seen: Mapping[tuple[str, str], float]
) -> list[TeamState]:
    """Return the teams that a screen has room for: those with something open first, then those that ran last."""
    assert session.store is not None
    waiting = {(one.workflow, one.team_id) for one in session.store.experiments_that_await()}

    def rank(one: TeamState) -> tuple[bool, bool, bool, float]:
        return one.key not in waiting, one.experiment_id is None, one.live_id is None, -seen.get(one.key, 0.0)

    return sorted(sorted(states, key=rank)[:MOST_LISTED], key=lambda one: one.key)


def _in_use(
    session: OpenProject, states: Sequence[TeamState], seen: Mapping[tuple[str, str], float]
) -> list[TeamState]:
    """Return the teams that ran lately, whose tuning ever changed anything, or that have an open experiment."""
    store = session.store
    if store is None:
        return list(states)
    changed = {(one.workflow, one.team_id) for one in store.changes()}
    since = time.time() - DORMANT_DAYS * 86_400
    changed |= {(one.workflow, one.team_id) for one in store.experiments_that_await()}
    changed |= {one.key for one in states if one.experiment_id or one.live_id}
    return [one for one in states if one.key in changed or seen.get(one.key, one.updated_at) >= since]
