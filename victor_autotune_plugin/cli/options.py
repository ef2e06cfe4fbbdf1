"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import AutotuneError

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


def chosen(name: str | None, option: str | None) -> str | None:
    """Return the team that is meant, whether it was given as argument or as option.

    Raises:
        AutotuneError: If both are given and differ.
    """
    if name is not None and option is not None and name != option:
        raise AutotuneError(f"names {option!r}, but TEAM is {name!r}", where="--team", mend="Give only one of them.")
    return option if name is None else name
