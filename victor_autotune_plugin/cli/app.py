"""`app`, which Victor adds as `victor autotune`, and `main`, the console script `victor-autotune`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from .change import pause, resume, rollback
from .command import Command
from .doctor import doctor
from .explain import explain
from .history import history
from .replay import replay
from .run import run
from .status import status

app = typer.Typer(
    name="autotune",
    help="Tune the agent teams in Victor workflows by A/B tests on their real runs.",
    no_args_is_help=True,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"victor-autotune-plugin {version('victor-autotune-plugin')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Tune the agent teams in Victor workflows by A/B tests on their real runs."""


def _add(command: Callable[..., None], *examples: str) -> None:
    app.command(cls=Command, epilog="\n".join(examples))(command)


_add(
    run,
    "{prog} review.yaml --runs 20 --mode auto --provider openai --model gpt-4o-mini",
    "{prog} review.yaml --set path=src --json > runs.json",
)
_add(status, "{prog}", "{prog} --workflow review --json")
_add(explain, "{prog} reviewers", "{prog} reviewers --workflow review --file review.yaml")
_add(history, "{prog} reviewers", "{prog} --runs --limit 50")
_add(replay, "{prog}", "{prog} reviewers --json")
_add(rollback, '{prog} reviewers --reason "answers got shorter"')
_add(pause, "{prog} reviewers")
_add(resume, "{prog} reviewers")
_add(doctor, "{prog}", "{prog} --project ~/projects/shop --json")


def main() -> None:
    """Run the console script `victor-autotune`."""
    app(prog_name="victor-autotune")
