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

WorkflowFile = Annotated[Path, typer.Argument(metavar="WORKFLOW.yaml", help="Workflow file with a team step.")]
WhichWorkflow = Annotated[
    str | None, typer.Option("--workflow", metavar="NAME", help="Which workflow, if the file holds several.")
]
Provider = Annotated[
    str | None, typer.Option("--provider", help="Victor's name of the provider.", show_default="Victor's profile")
]
Model = Annotated[str | None, typer.Option("--model", help="Model name.", show_default="Victor's profile")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", metavar="URL", help="Endpoint of the provider.")]
Values = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Initial context; the value is JSON, or else text."),
]
Context = Annotated[Path | None, typer.Option("--context", metavar="FILE.json", help="Initial context from a file.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what Victor logs, on stderr.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the result to this file, as JSON, too.")
]
Metrics = Annotated[
    Path | None,
    typer.Option(
        "--metrics",
        metavar="FILE",
        help="Runs as JSON, JSON Lines, CSV or OTLP JSON.",
        show_default="the project's store",
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that can't be used, and count them.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Workflow or team configuration, YAML or JSON.",
        show_default="the team as it was last seen",
    ),
]
MaxRisk = Annotated[
    float | None,
    typer.Option("--max-risk", metavar="RISK", min=0, max=1, help="Highest risk of a suggestion, 0 to 1."),
]
Strategies = Annotated[
    str | None,
    typer.Option(
        "--strategies", metavar="NAMES", help="Who may suggest, separated by commas.", show_default="the settings'"
    ),
]
MostRuns = Annotated[
    int, typer.Option("--runs", "-n", metavar="N", min=1, help="Most runs of each version; it ends earlier when sure.")
]
Metric = Annotated[
    str | None,
    typer.Option("--metric", help="duration, cost, tool_calls or score decides.", show_default="the settings'"),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="PERCENT",
        min=0,
        max=100,
        help="Least improvement that passes.",
        show_default="the settings'",
    ),
]

HERE = Path()
"""Default of `Project`."""


def chosen(name: str | None, option: str | None) -> str | None:
    """Return the team that is meant, whether it was given as argument or as option.

    Raises:
        AutotuneError: If both are given and differ.
    """
    if name is not None and option is not None and name != option:
        raise AutotuneError(f"names {option!r}, but TEAM is {name!r}", where="--team", hint="Give only one of them.")
    return option if name is None else name
