"""`rollback`, `pause`, `resume`: what a person changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen


def rollback(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")
    ] = "Taken back by hand.",
    as_json: Json = False,
) -> None:
    """Take back a team's last change: its running test, or the plan that was promoted last."""
    from . import rendering as show
    from .session import opened

    with opened(project) as session:
        state = session.team(chosen(name, team), workflow)
        change = session.runtime.loop.roll_back(*state.key, reason)
    if as_json:
        show.write_json({"change": change.to_dict()})
        return
    what = "The running test is aborted" if change.action == "aborted" else "The last promotion is taken back"
    plan = show.plan_text(change.plan_after)
    show.say(f"{state.team_id} ({state.workflow}): {what}. The plan is now: {plan}.")


def pause(
    name: TeamName = None, project: Project = HERE, workflow: Workflow = None, team: Team = None, as_json: Json = False
) -> None:
    """Pause the tuning of a team: it keeps its plan, and its runs take part in no test until it is resumed."""
    _set_paused(chosen(name, team), project, workflow, paused=True, as_json=as_json)


def resume(
    name: TeamName = None, project: Project = HERE, workflow: Workflow = None, team: Team = None, as_json: Json = False
) -> None:
    """Resume the tuning of a team that was paused; an open test goes on where it was."""
    _set_paused(chosen(name, team), project, workflow, paused=False, as_json=as_json)


def _set_paused(team_id: str | None, project: Path, workflow: str | None, *, paused: bool, as_json: bool) -> None:
    from . import rendering as show
    from .session import opened

    with opened(project) as session:
        before = session.team(team_id, workflow)
        after = session.runtime.loop.set_paused(*before.key, paused)
    if as_json:
        show.write_json({"changed": before.paused != paused, "team": after.to_dict()})
        return
    word = "paused" if paused else "resumed"
    if before.paused == paused:
        word = "paused already" if paused else "not paused, so nothing changed"
    show.say(f"{after.team_id} ({after.workflow}): {word}. The plan is: {show.plan_text(after.plan)}.")
