"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Project = Annotated[
    Path,
    typer.Option(
        "--project",
        metavar="DIR",
        help="Folder whose settings and store are used.",
        exists=True,
        file_okay=False,
        show_default="the current folder",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Workflow = Annotated[str | None, typer.Option("--workflow", metavar="NAME", help="Only this workflow.")]
Team = Annotated[str | None, typer.Option("--team", "--team-id", metavar="TEAM", help="Only the team with this id.")]
TeamName = Annotated[str | None, typer.Argument(metavar="TEAM", help="Id of the team, as in status.")]

HERE = Path()
"""Default of `Project`."""
