"""`replay`: decide again from the record, and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen

if TYPE_CHECKING:
    from rich.table import Table

    from .._tuning.replay import Replay


def replay(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    as_json: Json = False,
) -> None:
    """Decide every experiment again from its stored record: seed, observations and policy.

    Exit code 1 if an arm or a verdict comes out otherwise than it is stored.
    """
    from .._tuning.replay import replay_all
    from . import rendering as show
    from .session import opened

    team_id = chosen(name, team)
    with opened(project) as session:
        session.teams(workflow, team_id)
        store = session.store
        found = [] if store is None else replay_all(store, store.experiments(workflow, team_id))
    if as_json:
        show.write_json({"replays": [one.to_dict() for one in found]})
    elif not found:
        show.say("No experiments yet.")
    else:
        show.out().print(_table(found))
    if not all(one.same for one in found):
        raise typer.Exit(1)


def _table(found: list[Replay]) -> Table:
    from . import rendering as show

    table = show.table("Experiment", "Team", "Status", "Observations", "Replay", right=("Observations",))
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
