"""Help, names, and what an import costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_testing.imports import HEAVY, loaded_by, packages

from .conftest import Said

COMMANDS = (
    "run",
    "status",
    "explain",
    "savings",
    "potential",
    "analyze",
    "suggest",
    "apply",
    "history",
    "runs",
    "replay",
    "rollback",
    "pause",
    "resume",
    "benchmark",
    "validate",
    "score",
    "rate",
    "judge-check",
    "dashboard",
    "watch",
    "report",
    "export",
    "import",
    "init",
    "schema",
    "doctor",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("prog", ["victor autotune", "victor-autotune"])
def test_every_command_shows_an_example_under_the_name_it_was_called_by(
    call: Callable[..., Said], command: str, prog: str
) -> None:
    said = call(command, "--help", prog=prog)
    assert said.code == 0
    words = " ".join(said.out.split())
    assert f"Usage: {prog} {command}" in words
    assert f"{prog} {command}" in words.partition("Example")[2]
    assert "--json" in words
    assert ("--project" in words) == (command != "schema")


def test_the_list_of_commands_is_whole(call: Callable[..., Said]) -> None:
    said = call("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert f"│ {command} " in said.out


def test_no_command_is_wrong_usage(call: Callable[..., Said]) -> None:
    assert call().code == 2
    said = call("stauts")
    assert said.code == 2
    assert "status" in said.err


def test_version(call: Callable[..., Said]) -> None:
    said = call("--version")
    assert said.code == 0
    assert said.out.startswith("victor-autotune-plugin ")


def test_importing_the_app_imports_nothing_heavy() -> None:
    # Victor imports it at every start; typer is loaded by then.
    new = loaded_by("import victor_autotune_plugin._cli.app", after="import typer.core")
    assert "victor_autotune_plugin._cli.app" in new
    assert not packages(new) & HEAVY


@pytest.mark.parametrize("arguments", [["history", "team"], ["runs", "--team-id", "team"]])
def test_a_command_that_lists_loads_neither_the_loop_nor_numpy(
    project: Callable[[str], None], tmp_path: Path, arguments: list[str]
) -> None:
    project("proven")  # a plan is live, so `history` tells how its watch stands
    code = (
        "import contextlib, os; from typer.testing import CliRunner; from victor_autotune_plugin._cli.app import app\n"
        f"os.chdir(sys.argv[1]); assert CliRunner().invoke(app, {arguments}).exit_code == 0"
    )
    new = loaded_by(code, tmp_path)
    assert "victor_autotune_plugin.storage.store" in new
    assert not packages(new) & {"numpy", "scipy", "opentelemetry", "victor"}
    assert not new & {f"victor_autotune_plugin._tuning.{name}" for name in ("loop", "judge_work", "manual")}


def test_a_mistyped_command_is_told_the_near_one_once(call: Callable[..., Said]) -> None:
    said = call("statsu")
    assert said.code == 2
    assert said.err.count("Did you mean") == 1


def test_the_shell_completes_commands_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from victor_autotune_plugin._cli.app import app

    def completed(*words: str) -> list[str]:
        environment = {
            "_VICTOR_AUTOTUNE_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        return CliRunner().invoke(app, [], prog_name="victor-autotune", env=environment).stdout.split()

    assert completed("victor-autotune", "re") == ["reject", "replay", "resume", "report"]
    assert completed("victor-autotune", "export", "--fo") == ["--format"]
    assert completed("victor-autotune", "export", "--format", "") == ["jsonl", "parquet"]
