"""`pause`, `resume`: whether a team is tuned."""

from __future__ import annotations

from pathlib import Path

from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen


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
        after = session.runtime.manual.set_paused(*before.key, paused)
    if as_json:
        show.write_json({"changed": before.paused != paused, "team": after.to_dict()})
        return
    word = "paused" if paused else "resumed"
    if before.paused == paused:
        word = "paused already" if paused else "not paused, so nothing changed"
    show.say(f"{after.team_id} ({after.workflow}): {word}. The plan is: {show.plan_text(after.plan)}.")
