"""`explain`: which plan a team runs with, why, and what would change it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import asdict, frozen

from .._model.experiment import STATES
from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen, same_place
from .project import opened
from .quality_facts import cost_of_week
from .status import TeamFacts, statistics, team_facts

if TYPE_CHECKING:
    from .._model.experiment import Change, TeamState
    from .._model.optimization import OptimizationSuggestion
    from .._settings import Settings
    from .._tuning.next_test import Advice
    from .._tuning.standing import Standing
    from ..experiment.fixed_sample import SampleComparison
    from ..storage import Store
    from .project import OpenProject


def explain(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="WORKFLOW.yaml",
            help="Workflow file, to include its own metadata.autotune in the settings.",
        ),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Also the test, its statistics, the data flow and the tuner's view.")
    ] = False,
    settings: Annotated[bool, typer.Option("--settings", help="Also every setting, and where it is set.")] = False,
    as_json: Json = False,
) -> None:
    """Explain a team's plan in a few lines: what runs, since when, what it brought, how sure, and what comes next."""
    with opened(project) as session:
        state = session.team(chosen(name, team), workflow)
        found = _explanation(session, state, file, in_full=details or as_json)
    if as_json:
        show.write_json(found.to_dict())
        return
    from .explain_screen import print_details, print_settings, print_summary

    print_summary(found, is_all=details and settings)
    if details:
        print_details(found)
    if settings:
        print_settings(found)


@frozen
class Explanation:
    """Which plan a team runs with, and why.

    Attributes:
        facts: What is known of the team.
        source: The change that gave it its live plan, or None when none did.
        ending: The change that ended the last experiment, or None while one is open.
        statistics: The runs of the experiment's test by fixed-sample methods, as if they were looked at once;
            empty where they were not asked for.
        tests: How many tests the team had, and how many of them would have passed by now if no change had made a
            difference.
        outlook: What would change the decision, sentence by sentence.
        advice: What the tuner says, and the runs that it and the strategies go by.
        suggestions: What the strategies suggest, best first, each with the status of the experiment that tried it
            before, or None, and why it is not tested now, or None.
        settings: `(key, value, source)` of every setting.
        scoring_cost: What scoring has cost in the last 7 days, US dollars, all teams.
    """

    facts: TeamFacts
    source: Change | None
    ending: Change | None
    statistics: list[SampleComparison]
    tests: tuple[int, float]
    outlook: list[str]
    advice: Advice
    suggestions: list[tuple[OptimizationSuggestion, str | None, str | None]]
    settings: tuple[tuple[str, object, str], ...]
    scoring_cost: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        experiment = self.facts.experiment
        return {
            "team": self.facts.to_dict() | {"experiment": None if experiment is None else experiment.to_dict()},
            "configured": None if self.facts.state.spec is None else self.facts.state.spec.to_dict(),
            "plan_from": None if self.source is None else self.source.to_dict(),
            "ended_by": None if self.ending is None else self.ending.to_dict(),
            "verdict": self.facts.verdict,
            "watch_verdict": self.facts.watch,
            "statistics": [one.to_dict() for one in self.statistics],
            "tests": {"number": self.tests[0], "null_passes": self.tests[1]},
            "outlook": self.outlook,
            "scoring_cost_usd_last_7_days": self.scoring_cost,
            "owners": [{"knob": knob, "owner": who, "runs": times} for knob, who, times in self.facts.owners],
            "tuner": self.advice.to_dict(),
            "suggestions": [
                one.to_dict() | {"tested_before": tested, "waits_because": waits}
                for one, tested, waits in self.suggestions
            ],
            "settings": [
                {"key": key, "value": _plain(value), "source": source} for key, value, source in self.settings
            ],
        }


def _explanation(session: OpenProject, state: TeamState, file: Path | None, *, in_full: bool) -> Explanation:
    """Gather what explains a team's plan.

    Args:
        file: Its workflow's file, for the settings in it, or None.
        in_full: Whether the statistics are asked for, and all that the watch over a live plan says: the one takes its
            time to load, the other to replay.

    Raises:
        WorkflowError: If the file can't be used.
        SettingsError: If the settings in it are wrong.
    """
    from .._tuning.next_test import advice
    from .._tuning.standing import null_passes

    store, runtime = session.store, session.runtime
    assert store is not None
    metadata, source = (None, None) if file is None else _metadata(file, state.workflow)
    settings = runtime.resolver.for_team(*state.key, metadata, source)
    facts = team_facts(session, state, settings=settings, own=(metadata, source), detail="full" if in_full else "line")
    changes, experiments = store.changes(*state.key), store.experiments(*state.key)
    refused = {one.experiment_id for one in changes if one.action == "rejected"}
    refused -= {one.experiment_id for one in changes if one.action == "started"}
    advised = advice(store, state, settings, runtime.hooks)
    tried = {
        experiment.treatment.id: experiment.status
        for experiment in reversed(experiments)
        if experiment.fingerprint == state.fingerprint
    }
    ended = facts.experiment.id if facts.experiment is not None and facts.experiment.has_ended else None
    return Explanation(
        facts=facts,
        source=_source(changes),
        ending=next((change for change in reversed(changes) if change.experiment_id == ended), None) if ended else None,
        statistics=statistics(store, facts.experiment) if in_full and facts.experiment is not None else [],
        tests=null_passes(one for one in experiments if one.id not in refused),
        outlook=_outlook(facts, settings, _held_back(store, facts, settings, changes), has_scorer=bool(state.gates)),
        advice=advised,
        suggestions=[
            (one, tried.get(state.plan.merged(one.plan).id), advised.challenge.waits_because(one))
            for one in advised.challenge.suggested
        ],
        settings=runtime.resolver.explain(*state.key, metadata, source),
        scoring_cost=cost_of_week(store),
    )


def _source(changes: Sequence[Change]) -> Change | None:
    """Return the change behind the live plan, the proof of one that went live on probation; None without one."""
    made = next((one for one in reversed(changes) if one.plan_before != one.plan_after), None)
    if made is None or made.action != "probation":
        return made
    proofs = (one for one in changes if one.action == "promoted" and one.experiment_id == made.experiment_id)
    return next(proofs, made)


def _metadata(file: Path, workflow: str) -> tuple[Any, str | None]:
    from .._host.workflows import read_workflows

    read = read_workflows(file)
    metadata = (read.workflow(workflow).metadata or {}).get("autotune")
    return metadata, f"{file}:{read.lines[workflow]}" if workflow in read.lines else None


def _plain(value: object) -> object:
    from .._settings import Price

    return asdict(value, filter=lambda _, rate: rate not in (None, ())) if isinstance(value, Price) else value


def _held_back(store: Store, facts: TeamFacts, settings: Settings, changes: Sequence[Change]) -> Iterator[str]:
    """Say what keeps a test from starting for a while: a limit of the week, or that the last one was aborted lately."""
    from .._tuning.exposure import RATE_RUNS, WEEK_SECONDS, exposure_of_week
    from .._tuning.next_test import HISTORY_RUNS
    from .._tuning.suggestions import comparable
    from .._tuning.tuner_cache import upgraded_of

    state, last = facts.state, facts.experiment
    with store.reading() as reading:
        week = reading.test_runs_since(*state.key, time.time() - WEEK_SECONDS)
    latest = list(store.finished_runs(*state.key, limit=RATE_RUNS))
    reached = exposure_of_week(week, latest, store.experiments(*state.key), state).exceeds(settings.limits)
    if reached is not None:
        yield f"Nothing is tested until fewer of these runs lie within the last 7 days. {reached[0]}"
    if (
        last is not None
        and last.status == "aborted"
        and last.ended_at is not None
        and last.id not in upgraded_of(changes)
    ):
        runs = comparable(list(store.finished_runs(*state.key, limit=HISTORY_RUNS)), state)
        left = HISTORY_RUNS - sum(run.started_at > last.ended_at for run in runs)
        if left > 0 and last.fingerprint == state.fingerprint:
            yield f"The change of the aborted test may be tested again after {show.count(left, 'more run')}."


def _outlook(facts: TeamFacts, settings: Settings, held_back: Iterable[str], *, has_scorer: bool) -> list[str]:
    """Say in sentences, at least one, what would change the decision about a team."""
    team = facts.state.team_id
    if facts.state.paused:
        return [
            f"The tuning is paused: nothing is tested or judged until `victor autotune resume {team}{same_place()}`."
        ]
    if settings.plan is not None:
        return ["The settings fix the plan, so nothing is tuned. Take `plan` out of them to have it tuned."]
    if facts.mode not in ("approve", "auto"):
        stays = " What is open waits." if facts.standings else ""
        said = f"In mode {facts.mode} nothing is tested.{stays}"
        if facts.modes.because is not None and facts.modes.configured in ("approve", "auto"):
            return [f"{said} Mode {(facts.modes.sentence or '').removeprefix('mode ')}."]
        unscored = [] if has_scorer else ["Without a scorer, mode auto tests only changes that keep the work."]
        return [f"{said} Set `mode: auto` (or `approve`) to test changes.", *unscored]
    told = [sentence for one in facts.standings for sentence in (*one.next, *_decided_by(one, facts.verdict))]
    if not any(one.experiment.is_tested or STATES[one.state].awaits_person for one in facts.standings):
        told += [*held_back, *_closed(facts, settings, has_scorer=has_scorer)]
    return told


def _decided_by(one: Standing, verdict: Mapping[str, Any] | None) -> Iterator[str]:
    """Say what decides a test, or about a live plan."""
    from .._model.text import evidence

    experiment, policy = one.experiment, one.experiment.policy
    if experiment.is_tested and verdict is not None:
        if verdict["boundary"] is not None:
            now = evidence(policy.rule, verdict["statistic"], verdict["boundary"])
            yield (
                f"It passes when the evidence reaches its boundary (now {now}), with an estimated improvement of at "
                f"least {show.percent(policy.minimum_improvement)} and every guardrail clear."
            )
        yield "It fails as soon as harm is proven, in the metric or in a guardrail."
    elif experiment.is_verified:
        watch = experiment.watch_policy
        yield (
            "Worse is: slower than the plan before, success down by more than "
            f"{show.points(watch.success_drop).lstrip('+')}, or P95 up by more than {show.percent(watch.p95_rise)}."
        )


def _closed(facts: TeamFacts, settings: Settings, *, has_scorer: bool) -> Iterator[str]:
    verdict = facts.verdict or {}
    if facts.experiment is not None and facts.experiment.status == "inconclusive":
        detectable, needed = verdict.get("minimum_detectable_effect"), verdict.get("runs_needed")
        if detectable is not None:
            yield f"The last test would have found an improvement of {show.percent(detectable)} with probability 0.8."
        if needed is not None:
            more = show.count(needed, "more run")
            yield f"If its estimate is true, a proof takes about {more} in each arm (see `max_runs_per_arm`)."
    least = settings.experiment.min_history
    if facts.figures.runs < least:
        yield f"A first test may start after {show.count(least, 'run')}; there are {facts.figures.runs}."
    is_unknown = facts.flow is not None and facts.flow.knowledge.verdict == "unknown"
    if facts.flow is not None and is_unknown and any(facts.flow.opened_by.values()):
        yield "Its data flow is unknown and no scorer decides, so no change is tested that may alter the work."
    elif facts.flow is not None and settings.mode == "auto" and not (has_scorer or facts.flow.kept):
        yield "No scorer decides, so only a change that keeps the work is tested; no other formation does."
    yield "A test starts when a strategy suggests a change that was not tested before."
