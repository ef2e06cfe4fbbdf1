"""`history`: what was changed, or what was run; `replay`: decide again from the record, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import evolve
from rich.table import Table

from ..errors import AutotuneError
from . import rendering as show
from .awaiting import print_decisions
from .command import ExitCode
from .earlier import EarlierOfTeam, earlier_of
from .open_teams import open_teams
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened
from .show_runs import last_runs, run_table

if TYPE_CHECKING:
    from .._model.experiment import Change
    from .._model.run import TeamRun
    from .._tuning.replay import Replay


def history(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    runs: Annotated[bool, typer.Option("--runs", help="List runs instead of changes.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List the changes to the teams' plans, newest first: what, who, why, and the plan before and after."""
    team_id = chosen(name, team)
    with opened(project) as session:
        named, store = session.named_teams(workflow, team_id), session.store
        if team_id is None and store is not None:
            from ..storage.team_records import TeamRecords

            store = TeamRecords(store)
            session = evolve(session, store=store)
        keys = session.keys(workflow, team_id, named)
        waiting = [] if as_json else open_teams(session, named)
        found_runs: list[TeamRun] = []
        changes: list[Change] = []
        earlier: list[EarlierOfTeam] = []
        if store is not None and runs:
            found_runs = last_runs(store, keys, limit)
        elif store is not None:
            earlier = [] if team_id is None else earlier_of(store, named)
            changes = sorted(
                (change for key in keys for change in store.changes(*key)), key=lambda one: (one.at, one.id or 0)
            )
    latest = list(islice(reversed(changes), limit))
    if as_json and runs:
        show.write_json({"runs": [{**run.to_dict(), "status": run.status} for run in found_runs]})
        return
    if as_json:
        before = {} if team_id is None else {"earlier_runs": [one.to_dict() for one in earlier]}
        show.write_json({"changes": [change.to_dict() for change in latest], **before})
        return
    print_decisions(waiting)
    for one in waiting:
        for standing in one.standings:
            show.say(f"{show.clean(one.state.team_id)}: {standing.line}", "dim")
    for kept in earlier:
        kept.say()
    if not (found_runs or latest):
        show.say(f"No {'runs' if runs else 'changes'} yet.")
    else:
        show.out().print(run_table(found_runs) if runs else _changes(latest, {one.id: one for one in changes}))


def _changes(changes: Sequence[Change], known: Mapping[int | None, Change]) -> Table:
    """Return the table of some changes; `known` holds them and those before them, by id."""
    table = show.table("When", "Team", "What", "Why, and the plan")
    for change in changes:
        improvement, unproven = change.improvement_percent, " so far" if change.action == "probation" else ""
        plans = None
        if change.plan_before != change.plan_after:
            plans = f"{show.plan_text(change.plan_before)} → {show.plan_text(change.plan_after)}"
        taken = [known[one].reason for one in change.takes_back if plans is None and one in known]
        table.add_row(
            show.text(show.when(change.at)),
            show.lines(show.name(change.team_id), show.name(change.workflow)),
            show.lines(
                show.word(show.action_text(change), change.action),
                show.who(change),
                None if improvement is None else f"{show.percent(improvement / 100)} better{unproven}",
            ),
            show.lines(change.reason, plans, *(f"undoes: {reason}" for reason in taken)),
        )
    return table


def replay(
    name: Annotated[
        str | None, typer.Argument(metavar="TEAM | FILE", help="Id of the team, or evidence that propose wrote.")
    ] = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    as_json: Json = False,
) -> None:
    """Decide every experiment again from its stored record: seed, observations and policy.

    Given a file, such as the evidence that propose writes, it decides what is
    in that, and needs no store.

    Exit code 1 if an arm or a verdict differs from what is stored.
    """
    from .._tuning.replay import replay_all

    bundle = None if name is None else Path(name)
    if bundle is not None and (bundle.is_file() or bundle.suffix == ".jsonl"):
        found = _replayed(bundle)
    else:
        team_id = chosen(name, team)
        with opened(project) as session:
            keys, store = session.keys(workflow, team_id), session.store
            found = [] if store is None else replay_all(store, [one for key in keys for one in store.experiments(*key)])
    if as_json:
        show.write_json({"replays": [one.to_dict() for one in found]})
    elif not found:
        show.say("No experiments yet.")
    else:
        show.out().print(_replays(found))
        differ = sum(not one.same for one in found)
        experiments = show.count(len(found), "experiment")
        show.say(
            f"{differ} of {experiments} differ from what is stored." if differ else f"{experiments} decided as stored."
        )
    if not all(one.same for one in found):
        raise typer.Exit(ExitCode.BAD)


def _replayed(bundle: Path) -> list[Replay]:
    """Decide again what an archive holds."""
    from .._tuning.replay import replay as again
    from ..storage.archive import ExperimentRecord, read

    try:
        with bundle.open("rb") as lines:
            records = [one for one in read(lines, str(bundle)) if isinstance(one, ExperimentRecord)]
    except OSError as error:
        hint = "Name the evidence that victor autotune propose wrote, or a team."
        raise AutotuneError(f"can't be read: {error.strerror}", where=str(bundle), hint=hint) from error
    return [again(one.experiment, one.observations["test"], one.observations["watch"]) for one in records]


def _replays(found: Sequence[Replay]) -> Table:
    table = show.table("Experiment", "Team", "Status", ">Observations", "Replay")
    for one in found:
        experiment = one.experiment
        outcome = (
            show.word("same")
            if one.same
            else show.lines(show.word("differs", "failed"), *(show.name(what) for what in one.differences))
        )
        table.add_row(
            show.name(experiment.id),
            show.lines(show.name(experiment.team_id), show.name(experiment.workflow)),
            show.word(experiment.status),
            str(one.observations),
            outcome,
        )
    return table
