"""`explain`: which plan a team runs with, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen


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
    as_json: Json = False,
) -> None:
    """Explain a team's plan: where it came from, what its test shows, what comes next, and every setting."""
    from . import rendering as show
    from .explanation import explanation
    from .session import opened

    with opened(project) as session:
        found = explanation(session, session.team(chosen(name, team), workflow), file)
    if as_json:
        show.write_json(found.to_dict())
    else:
        from .explain_screen import print_explanation

        print_explanation(found)
