"""Options that several commands share, and reading what they hold."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

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
        help="Runs as JSON, JSON Lines, CSV or OpenTelemetry traces.",
        show_default="the project's store",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN[:UNIT]",
        help="Column of a field in --metrics; or a YAML file of FIELD: COLUMN[:UNIT].",
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
RISKS: Final[Mapping[str, float]] = {"very low": 0.15, "low": 0.3, "medium": 0.5, "high": 1.0}
"""Names of risks, each with the highest one that it names."""


def read_risk(text: str | float) -> float:
    """Return a risk that was written as a number from 0 to 1, or by its name.

    Raises:
        typer.BadParameter: It is neither.
    """
    name = " ".join(str(text).lower().replace("-", " ").replace("_", " ").split())
    if name in RISKS:
        return RISKS[name]
    try:
        value = float(name)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        names = ", ".join(f"{one!r} (up to {most:g})" for one, most in RISKS.items())
        raise typer.BadParameter(f"{text!r} is not a risk: write a number from 0 to 1, or {names}")
    return value


MaxRisk = Annotated[
    float | None,
    typer.Option(
        "--max-risk",
        metavar="RISK",
        parser=read_risk,
        help="Highest risk of a suggestion: very low, low, medium, high, or 0 to 1.",
    ),
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

_MOST_LEVELS: Final = 100
_COMMAND: Final = re.compile(r"\bvictor autotune [a-z]+\b")
_FLATTER: Final = "Take some levels out."

HERE = Path()
"""Default of `Project`."""


def environment() -> str | None:
    """Return what `--environment` of the current command names, or None."""
    import click

    from .command import ENVIRONMENT

    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(ENVIRONMENT)


def same_place() -> str:
    """Return the options that name the project and environment of the current command, with a space in front.

    Empty where these are the current folder, and the environment of the settings.
    """
    import click

    context = click.get_current_context(silent=True)
    project = Path((None if context is None else context.params.get("project")) or HERE)
    named = [] if project == HERE else ["--project", str(project.absolute())]
    named += [] if environment() is None else ["--environment", str(environment())]
    return f" {shlex.join(named)}" if named else ""


def placed(hint: str | None) -> str | None:
    """Return a hint whose commands name the project and environment of the current one, as `same_place` does."""
    place = same_place()
    if hint is None or not place or "--project" in hint or "--environment" in hint:
        return hint
    return _COMMAND.sub(lambda found: found[0] + place, hint)


def chosen(name: str | None, option: str | None) -> str | None:
    """Return the team that is meant, whether it was given as argument or as option.

    Raises:
        AutotuneError: If both are given and differ.
    """
    if name is not None and option is not None and name != option:
        raise AutotuneError(f"names {option!r}, but TEAM is {name!r}", where="--team", hint="Give only one of them.")
    return option if name is None else name


def initial_context(file: Path | None, values: Sequence[str]) -> dict[str, Any]:
    """Read the initial context of a workflow's runs.

    Args:
        file: A JSON object, or None.
        values: `KEY=VALUE` texts that set one key each; the value is JSON, or else text.

    Raises:
        AutotuneError: If the file or a value can't be used.
    """
    context = {} if file is None else _context_file(file)
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise AutotuneError(f"{value!r} is not KEY=VALUE", where="--set", hint="Write it like: --set path=src")
        try:
            context[key.strip()] = json.loads(text)
        except (ValueError, RecursionError):
            context[key.strip()] = text
    return context


def _levels(data: object) -> int:
    """Return how many mappings and lists are in one another."""
    levels, found = 0, [data]
    while found:
        found = [one for item in found for one in _inside(item)]
        levels += 1
    return levels


def _inside(item: object) -> Iterable[object]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _context_file(file: Path) -> dict[str, Any]:
    from .._values.files import read_text
    from .._values.nodes import WrongValueError

    hint = 'Write an object into it, such as {"path": "src"}.'
    try:
        data = json.loads(read_text(file, f"--context {file}", "Name a JSON file.").text)
    except WrongValueError as wrong:
        raise wrong.told(AutotuneError) from wrong
    except json.JSONDecodeError as error:
        raise AutotuneError(f"is not JSON: {error.msg}", where=f"{file}:{error.lineno}", hint=hint) from error
    except ValueError as error:
        raise AutotuneError("holds a number of too many digits", where=f"--context {file}", hint=hint) from error
    except RecursionError as error:
        raise AutotuneError("is nested too deeply", where=f"--context {file}", hint=_FLATTER) from error
    if _levels(data) > _MOST_LEVELS:
        raise AutotuneError("is nested too deeply", where=f"--context {file}", hint=_FLATTER)
    if not isinstance(data, dict):
        raise AutotuneError("is not a JSON object", where=f"{file}:1", hint=hint)
    return data
