"""The commands, in the order of the help: where each lives, since when it is there, and examples.

A module is imported when its command, or the list of all, is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import typer
from attrs import frozen

from .command import Command

if TYPE_CHECKING:
    import click


@frozen
class CommandEntry:
    """A command.

    Attributes:
        module: Its module in this package.
        examples: Ways to call it, in which `{prog}` stands for the command.
        since: Version of the plugin that brought it.
    """

    module: str
    examples: tuple[str, ...]
    since: str = "0.1"

    def load(self, name: str) -> click.Command:
        """Import the module and return the command."""
        called = "import_" if name == "import" else name.replace("-", "_")
        function = getattr(import_module(f".{self.module}", __package__), called)
        app = typer.Typer(add_completion=False)
        app.command(name, cls=Command, epilog="\n".join((*self.examples, f"Added in {self.since}.")))(function)
        return typer.main.get_command(app)


def _in(module: str, *examples: str) -> CommandEntry:
    return CommandEntry(module, examples)


def _since_0_2(module: str, *examples: str) -> CommandEntry:
    return CommandEntry(module, examples, since="0.2")


COMMANDS: Final = {
    "run": _in(
        "run_workflow",
        "{prog} review.yaml --runs 20 --mode auto --provider openai --model gpt-4o-mini",
        "{prog} review.yaml --set path=src --json > runs.json",
    ),
    "status": _in("status", "{prog}", "{prog} --workflow review --json"),
    "explain": _in("explain", "{prog} reviewers", "{prog} reviewers --workflow review --file review.yaml"),
    "savings": _since_0_2("savings", "{prog}", "{prog} reviewers --json"),
    "potential": _since_0_2("show_potential", "{prog}", "{prog} reviewers --json"),
    "analyze": _in(
        "analyze", "{prog} reviewers", "{prog} --metrics metrics.json --team-id reviewers --output analysis.json"
    ),
    "suggest": _in(
        "suggest",
        "{prog} reviewers --max-risk 0.3",
        "{prog} --metrics metrics.json --config review.yaml --strategies tool_budget,team_sizing",
    ),
    "apply": _in(
        "apply",
        "{prog} reviewers --interactive",
        "{prog} reviewers --auto --ab-test",
        "{prog} reviewers --config review.yaml --dry-run",
    ),
    "approve": _since_0_2("approval", "{prog} reviewers", "{prog} reviewers --id 5f0c2a91d3e4 --as ada"),
    "reject": _since_0_2("approval", '{prog} reviewers --reason "not before the release"'),
    "history": _in("show_history", "{prog} reviewers", "{prog} --runs --limit 50"),
    "runs": _since_0_2("show_runs", "{prog}", "{prog} show 5f0c2a91"),
    "replay": _in("show_history", "{prog}", "{prog} reviewers --json", "{prog} proposal/evidence.jsonl"),
    "propose": _since_0_2("propose", "{prog} reviewers --file review.yaml --output proposal"),
    "rollback": _in(
        "steering",
        '{prog} reviewers --reason "answers got shorter"',
        "{prog} reviewers --list",
        "{prog} reviewers --all",
    ),
    "pause": _in("steering", "{prog} reviewers"),
    "resume": _in("steering", "{prog} reviewers"),
    "benchmark": _in(
        "benchmark",
        "{prog} --before old.yaml --after new.yaml",
        "{prog} --before old.yaml --after new.yaml --runs 50 --metric cost --json",
    ),
    "validate": _in("benchmark", "{prog} review.yaml --runs 40", "{prog} review.yaml --team-id reviewers --suggested"),
    "score": _since_0_2(
        "score_command",
        "{prog} 5f0c2a91 --value .8",
        "{prog} --file ratings.jsonl --scale 1:5 --skip-bad",
    ),
    "rate": _since_0_2("rate", "{prog} --team-id reviewers", "{prog} --last 20 --name review"),
    "judge-check": _since_0_2("judge_check", "{prog}", "{prog} --team-id reviewers --json"),
    "dashboard": _since_0_2(
        "dashboard", "{prog}", "{prog} --open --allow-actions", "{prog} --port 8800 --project ~/projects/shop"
    ),
    "watch": _since_0_2("watch_command", "{prog}", "{prog} reviewers", "{prog} --once --json"),
    "notify": _since_0_2("notify", "{prog}", "{prog} --test", "{prog} --send --json"),
    "report": _in("exchange", "{prog}", "{prog} reviewers --output reviewers.html"),
    "export": _in(
        "exchange",
        "{prog} --output history.jsonl",
        "{prog} reviewers | gzip > reviewers.jsonl.gz",
        "{prog} --format parquet --output runs.parquet",
    ),
    "import": _in("exchange", "{prog} history.jsonl", "{prog} history.jsonl --skip-bad --json"),
    "prune": _since_0_2("prune", "{prog} --dry-run", "{prog}", "{prog} reviewers --json --yes"),
    "doctor": _in("doctor", "{prog}", "{prog} --project ~/projects/shop --json"),
    "init": _in("init", "{prog}", "{prog} --dry-run", "{prog} --force --project ~/projects/shop", "{prog} --database"),
    "trust": _since_0_2("trust_command", "{prog}", "{prog} --yes", "{prog} --list", "{prog} --revoke"),
    "schema": _in("init", "{prog}", "{prog} --output .victor/autotune.schema.json"),
}
