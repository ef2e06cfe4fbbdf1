"""The commands, each with its examples. Loaded when one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable

import typer

from .change import pause, resume, rollback
from .command import Command
from .doctor import doctor
from .explain import explain
from .history import history
from .init import init
from .replay import replay
from .run import run
from .schema import schema
from .status import status

app = typer.Typer(add_completion=False)


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
_add(init, "{prog}", "{prog} --dry-run", "{prog} --force --project ~/projects/shop")
_add(schema, "{prog}", "{prog} --output .victor/autotune.schema.json")
