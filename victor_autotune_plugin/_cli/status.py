"""`status`, and what is known of a team, which `run`, `explain` and `report` show, too."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Final
from zlib import crc32

import typer
from attrs import evolve, field, frozen

from .._model.quantities import DEFAULT_ENVIRONMENT
from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen, same_place
from .owned import owned_knobs
from .price_source import price_source, price_source_text
from .project import opened
from .quality_facts import QualityFacts, cost_of_week, quality_of

if TYPE_CHECKING:
    from rich.text import Text

    from .._dataflow.flow_facts import FlowFacts
    from .._model.experiment import Experiment, TeamState
    from .._model.plan import TeamPlan
    from .._model.run import TeamRun
    from .._settings import Settings
    from .._tuning.standing import Standing
    from ..experiment.fixed_sample import SampleComparison
    from ..storage import Store
    from .project import OpenProject

MOST_RUNS: Final = 1_000
"""How many of a team's last runs its figures are made from."""

OWNERS_RUNS: Final = 50
"""In how many of a team's last runs other owners of knobs are looked for."""

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
    def of(cls, runs: Sequence[TeamRun]) -> RunFigures:
        """Return the figures of some runs."""
        counted = [run for run in runs if not run.cancelled]
        return cls(len(counted), sum(run.success for run in counted), sorted(run.duration_seconds for run in counted))

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
        mode: Mode of its last run, since the workflow's own metadata count; that of the settings without a run.
        plan: The plan of its next run outside a test: its live plan, or the one that the settings fix.
        fixed: Whether the settings fix the plan.
        figures: Its runs.
        standings: Where its open experiments stand: what awaits a person first, then a test, then the live plan.
        experiment: The first of them, else the last experiment, or None.
        verdict: The test's verdict of that experiment as plain data; of an open one as of now.
        watch: The watch's verdict of that experiment, likewise, or None where its plan is not verified.
        decided: The last experiment that was proven or ended, or None.
        owners: Who sets which knob: `(knob, who, in how many of the last runs)`; the plugin sets the others.
        flow: Its data flow; None where no definition of the team is known.
        quality: How its work is scored.
    """

    state: TeamState
    mode: str
    plan: TeamPlan
    fixed: bool
    figures: RunFigures
    standings: tuple[Standing, ...]
    experiment: Experiment | None
    verdict: Mapping[str, Any] | None
    watch: Mapping[str, Any] | None
    decided: Experiment | None
    owners: list[tuple[str, str, int]]
    flow: FlowFacts | None
    quality: QualityFacts = field(factory=QualityFacts)

    def experiment_cell(self) -> Text:
        """Return where the open experiments stand, and what the last verdict was, in a few words."""
        cells: list[object] = []
        for one in self.standings:
            runs = one.runs_by_arm
            counted = f" {runs.get('control', 0)} + {runs.get('treatment', 0)}" if one.experiment.takes_runs else ""
            told = [show.text(f"{one.title}{counted}"), one.brief, one.p95]
            cells += [part for part in told if part is not None]
        open_now = [one.experiment for one in self.standings]
        replaced = (
            self.decided is not None
            and self.decided.status == "superseded"
            and any(one.is_verified for one in open_now)
        )
        last = None if self.decided in open_now or replaced else self.verdict_text()
        cells += [] if last is None else [f"last: {last}"]
        return show.lines(*cells) if self.standings else show.lines("none open", *cells)

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
            "paused": self.state.paused,
            "environment": self.state.environment,
            "plan": self.plan.to_dict(),
            "plan_fixed": self.fixed,
            "standing": [one.to_dict() for one in self.standings],
            "experiment": opened,
            "last_verdict": last,
            "data_flow": None if self.flow is None else self.flow.to_dict(),
            **self.figures.to_dict(),
            **self.quality.to_dict(),
        }


def team_facts(
    session: OpenProject, state: TeamState, runs: Sequence[TeamRun] | None = None, settings: Settings | None = None
) -> TeamFacts:
    """Gather what is known of a team.

    Args:
        session: Its project; it has a store, since it knows the team.
        runs: Runs to take the figures of, newest first; None for the last `MOST_RUNS`.
        settings: Its settings; None for those without its workflow's own metadata.
    """
    from .._tuning.present_state import standings, verdicts

    store = session.store
    assert store is not None
    if runs is None:
        runs = list(store.finished_runs(*state.key, limit=MOST_RUNS))
    if settings is None:
        settings = session.runtime.resolver.for_team(*state.key)
    mode = runs[0].mode if runs else settings.mode
    fixed = None if mode in ("off", "observe") else settings.plan
    settings = evolve(settings, mode=mode)
    stands = standings(store, state, settings, runs, options=same_place())
    experiments = store.experiments(*state.key)
    decided = max((one for one in experiments if one.has_ended or one.is_verified), key=_decided_at, default=None)
    experiment = stands[0].experiment if stands else decided
    verdict, watch = stands[0].told if stands else (None, None) if experiment is None else verdicts(store, experiment)
    plan = state.plan if fixed is None else fixed
    live = next((one for one in experiments if one.id == state.live_id), None)
    replaced = None if live is None else live.control
    return TeamFacts(
        state=state,
        mode=mode,
        plan=plan,
        fixed=fixed is not None,
        figures=RunFigures.of(runs),
        standings=stands,
        experiment=experiment,
        verdict=verdict,
        watch=watch,
        decided=decided,
        owners=owned_knobs(runs[:OWNERS_RUNS]),
        flow=_flow(session, state, settings),
        quality=quality_of(store, state, settings, runs, plan, replaced),
    )


def _decided_at(experiment: Experiment) -> float:
    return experiment.ended_at or experiment.promoted_at or experiment.created_at


def _flow(session: OpenProject, state: TeamState, settings: Settings) -> FlowFacts | None:
    from .._dataflow.flow_facts import facts_of

    if session.store is None or state.spec is None:
        return None
    flow, has_scorer = session.store.data_flow(*state.key), bool(state.gates)
    return facts_of(flow, state.spec, settings, state.plan, has_scorer=has_scorer)


def statistics(store: Store, experiment: Experiment) -> list[SampleComparison]:
    """Return the fixed-sample statistics of the runs that an experiment's test was decided on, or has so far."""
    from .._tuning.judges import feed, new_judge
    from ..experiment import summarise

    judge = new_judge(experiment)
    feed(judge, store.observations(experiment.id, "test"))
    return summarise(experiment.policy.metric, judge.counted, seed=crc32(experiment.seed.encode()))


def facts_of_open(session: OpenProject, workflow: str | None = None, team_id: str | None = None) -> list[TeamFacts]:
    """Return what is known of the teams that have an open experiment; arguments are those of `OpenProject.teams`."""
    if session.store is None:
        return []
    waiting = {(one.workflow, one.team_id) for one in session.store.experiments_that_await(workflow)}
    found = session.teams(workflow, team_id)
    return [team_facts(session, one) for one in found if one.experiment_id or one.live_id or one.key in waiting]


def potential_pointer(facts: TeamFacts) -> str | None:
    """Return where to read what would open more; None where the data flow is known or a scorer decides."""
    if facts.flow is None or facts.flow.knowledge.verdict != "unknown" or facts.state.gates:
        return None
    return "Data flow unknown, no scorer: `victor autotune potential` tells what helps"


def print_decisions(facts: Iterable[TeamFacts]) -> bool:
    """Print what awaits a person, with the commands that answer: it stands first on every screen.

    Returns:
        Whether anything does.
    """
    asked = False
    for team in facts:
        for one in team.standings:
            if one.decision is not None:
                asked = True
                show.say(f"{show.clean(team.state.team_id)} asks you: {one.decision.question}", "bold yellow")
                show.say(one.experiment.description, indent=2)
                for command in (one.decision.approve, one.decision.reject):
                    if command is not None:
                        show.say(command, indent=2)
    return asked


def status(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also teams without a run for 90 days that were never changed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show every team that was recorded, or one: its plan, its test, and how it does."""
    team_id = chosen(name, team)
    with opened(project) as session:
        states = session.teams(workflow, team_id)
        shown = states if everything or team_id is not None else _in_use(session, states)
        facts = [team_facts(session, state) for state in shown]
        where = session.runtime.environment
        others = {} if session.store is None else session.store.of(None).environments()
        resolver = session.runtime.resolver
        paused = session.store is not None and session.store.identity().paused
        cost = 0.0 if session.store is None else cost_of_week(session.store)
    others.pop(where, None)
    left_out = len(states) - len(shown)
    if as_json:
        data = {"environment": where, "other_environments": others, "all_paused": paused, "not_shown": left_out}
        data["scoring_cost_usd_last_7_days"] = cost
        prices = {"prices": price_source(resolver)} if facts else {}
        show.write_json({**data, "teams": [one.to_dict() for one in facts], **prices})
        return
    if paused:
        show.say("All tuning is paused: victor autotune resume --all", "yellow")
    if not facts and not left_out and not others:
        show.say(show.NOTHING_YET)
        show.say("A program without an agent of Victor's switches the plugin on: victor_autotune_plugin.install()")
        return
    print_decisions(facts)
    if facts:
        _print_table(facts)
        for one in facts:
            said = one.quality.summary()
            if said is not None:
                show.say(f"{show.clean(one.state.team_id)}: {show.clean(said)}", "dim")
        pointer = next(filter(None, map(potential_pointer, facts)), None)
        if pointer is not None:
            show.say(pointer, "dim")
        spent = f"; scoring cost {show.usd(cost)} in 7 days" if cost else ""
        show.say(f"prices: {price_source_text(resolver)}{spent}", "dim")
    if where != DEFAULT_ENVIRONMENT or others:
        listed = ", ".join(f"{show.clean(one)} ({show.count(teams, 'team')})" for one, teams in others.items())
        elsewhere = f" Elsewhere: {listed}; see them with --environment NAME." if others else ""
        show.say(f"Environment {show.clean(where)}: {show.count(len(states), 'team')}.{elsewhere}", "dim")
    if left_out:
        show.say(f"{show.count(left_out, 'team')} not seen for {DORMANT_DAYS} days: status --all", "dim")


def _in_use(session: OpenProject, states: Sequence[TeamState]) -> list[TeamState]:
    """Return the teams that ran lately, whose tuning ever changed anything, or that have an open experiment."""
    store = session.store
    if store is None:
        return list(states)
    seen, changed = store.last_seen(), {(one.workflow, one.team_id) for one in store.changes()}
    since = time.time() - DORMANT_DAYS * 86_400
    changed |= {(one.workflow, one.team_id) for one in store.experiments_that_await()}
    changed |= {one.key for one in states if one.experiment_id or one.live_id}
    return [one for one in states if one.key in changed or seen.get(one.key, one.updated_at) >= since]


def _print_table(facts: Sequence[TeamFacts]) -> None:
    table = show.table("Team", "Mode", "Live plan, data flow", "Experiment", ">Runs", ">Success", ">Median")
    for one in facts:
        table.add_row(
            show.lines(show.name(one.state.team_id), show.name(one.state.workflow)),
            show.lines(one.mode, "paused" if one.state.paused else None),
            show.lines(show.plan_text(one.plan), None if one.flow is None else one.flow.knowledge.verdict),
            one.experiment_cell(),
            str(one.figures.runs),
            show.percent(one.figures.success_rate),
            show.seconds(one.figures.median_seconds),
        )
    show.out().print(table)
    show.say("Numbers are runs of control + treatment; details: explain TEAM", "dim")
