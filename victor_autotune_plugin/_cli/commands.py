"""The commands, each with its examples. Loaded when one of them is asked for."""

from __future__ import annotations

from collections.abc import Callable

import typer

from .analyze import analyze
from .apply import apply
from .benchmark import benchmark
from .change import pause, resume
from .command import Command
from .doctor import doctor
from .exchange import export, import_
from .explain import explain
from .history import history
from .init import init
from .replay import replay
from .report import report
from .rollback import rollback
from .run import run
from .schema import schema
from .status import status
from .suggest import suggest
from .validate import validate

app = typer.Typer(add_completion=False)


def _add(command: Callable[..., None], *examples: str, name: str | None = None) -> None:
    app.command(name, cls=Command, epilog="\n".join(examples))(command)


_add(
    run,
    "{prog} review.yaml --runs 20 --mode auto --provider openai --model gpt-4o-mini",
    "{prog} review.yaml --set path=src --json > runs.json",
)
_add(status, "{prog}", "{prog} --workflow review --json")
_add(explain, "{prog} reviewers", "{prog} reviewers --workflow review --file review.yaml")
_add(
    analyze,
    "{prog} reviewers",
    "{prog} --metrics metrics.json --team-id reviewers --output analysis.json",
)
_add(
    suggest,
    "{prog} reviewers --max-risk 0.3",
    "{prog} --metrics metrics.json --config review.yaml --strategies tool_budget,team_sizing",
)
_add(
    apply,
    "{prog} reviewers --interactive",
    "{prog} reviewers --auto --ab-test",
    "{prog} reviewers --config review.yaml --dry-run",
)
_add(history, "{prog} reviewers", "{prog} --runs --limit 50")
_add(replay, "{prog}", "{prog} reviewers --json")
_add(
    rollback,
    '{prog} reviewers --reason "answers got shorter"',
    "{prog} reviewers --list",
    "{prog} reviewers --all",
)
_add(pause, "{prog} reviewers")
_add(resume, "{prog} reviewers")
_add(
    benchmark,
    "{prog} --before old.yaml --after new.yaml",
    "{prog} --before old.yaml --after new.yaml --runs 50 --metric cost --json",
)
_add(validate, "{prog} review.yaml --runs 40", "{prog} review.yaml --team-id reviewers --suggested")
_add(report, "{prog}", "{prog} reviewers --output reviewers.html")
_add(export, "{prog} --output history.jsonl", "{prog} reviewers | gzip > reviewers.jsonl.gz")
_add(import_, "{prog} history.jsonl", "{prog} history.jsonl --skip-bad --json", name="import")
_add(doctor, "{prog}", "{prog} --project ~/projects/shop --json")
_add(init, "{prog}", "{prog} --dry-run", "{prog} --force --project ~/projects/shop")
_add(schema, "{prog}", "{prog} --output .victor/autotune.schema.json")
