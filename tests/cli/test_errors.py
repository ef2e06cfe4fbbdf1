"""Bad input: each is told with its place and its hint, exit code 2, and nothing is written."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_plugin.storage.tables import VERSION_TABLE
from victor_autotune_testing.made_runs import HOSTILE_NAMES
from victor_autotune_testing.realvictor import workflow_yaml

from .conftest import Said

LIMITS = "limits:\n  min_members: 4\n  max_members: 2\n"
NOWHERE = "postgresql+psycopg://me:secret@127.0.0.1:1/runs"


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[str], None]:
    def write(text: str) -> None:
        (tmp_path / ".victor").mkdir(mode=0o700)
        (tmp_path / ".victor" / "autotune.yaml").write_text(text)

    return write


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", [("status",), ("explain", "team"), ("run", "flow.yaml"), ("pause", "team")])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mode: atuo\n", (".victor/autotune.yaml:1: mode: 'atuo' is not a known mode", "Did you mean `auto`?")),
        ("\nstrategies: [team_size]\n", (".victor/autotune.yaml:2: strategies: 'team_size'", "`team_sizing`?")),
        ("mode: auto\nmodes: x\n", (".victor/autotune.yaml:2: modes: this key is not known", "`mode`?")),
        (LIMITS, (".victor/autotune.yaml:2: limits.min_members is 4", "limits.max_members, which is 2")),
        ("mode: [\n", (".victor/autotune.yaml:", "this is not YAML")),
        ("database_url: nonsense\n", (".victor/autotune.yaml:1: database_url", "sqlite:///runs.db")),
    ],
)
def test_wrong_settings(
    call: Callable[..., Said],
    settings: Callable[[str], None],
    tmp_path: Path,
    command: tuple[str, ...],
    text: str,
    told: tuple[str, ...],
) -> None:
    settings(text)
    (tmp_path / "flow.yaml").write_text(workflow_yaml("researcher"))
    before = written(tmp_path)
    said = call(*command)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    for part in told:
        assert part in said.err
    assert written(tmp_path) == before


def test_an_error_is_json_where_json_was_asked_for(call: Callable[..., Said], settings: Callable[[str], None]) -> None:
    settings("mode: atuo\n")
    said = call("status", "--json")
    assert said.code == 2
    assert said.err == ""
    assert said.data["error"]["where"] == ".victor/autotune.yaml:1"
    assert "auto" in said.data["error"]["hint"]


def test_a_wrong_variable_is_named(call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_AUTOTUNE_MODE", "fast")
    said = call("status")
    assert said.code == 2
    assert "env VICTOR_AUTOTUNE_MODE: mode: 'fast' is not a known mode" in said.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (workflow_yaml("researcher", metadata={"autotune": {"mode": "atuo"}}), ("flow.yaml:7", "'atuo'", "`auto`?")),
        (
            "workflows:\n  a:\n    nodes:\n      - {id: x, type: agent, role: executor, goal: g}\n",
            ("no workflow with",),
        ),
        ("a: [1\nb: 2\n", ("flow.yaml:2", "is not YAML")),
        ("just text\n", ("flow.yaml:1", "must be a mapping")),
        (None, ("flow.yaml", "No such file")),
        (workflow_yaml("researcher", formation="sequentially"), ("flow.yaml:", "'sequentially'", "`sequential`?")),
    ],
)
def test_wrong_workflow_files(
    call: Callable[..., Said], tmp_path: Path, text: str | None, told: tuple[str, ...]
) -> None:
    if text is not None:
        (tmp_path / "flow.yaml").write_text(text)
    before = written(tmp_path)
    said = call("run", "flow.yaml")
    assert said.code == 2
    assert said.out == ""
    for part in told:
        assert part in said.err
    assert written(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--workflow", "nope"], ("flow.yaml", "no workflow 'nope'", "Known: workflow")),
        (["--runs", "0"], ("--runs", "x>=1")),
        (["--concurrency", "-3"], ("--concurrency", "x>=1")),
        (["--mode", "fast"], ("option --mode", "'fast' is not a known mode", "observe")),
        (["--set", "path"], ("--set", "'path' is not KEY=VALUE", "--set path=src")),
        (["--set", "=src"], ("--set", "KEY=VALUE")),
        (["--context", "list.json"], ("list.json:1", "not a JSON object", "Write an object")),
        (["--context", "broken.json"], ("broken.json:2", "not JSON", "Write an object")),
        (["--context", "nope.json"], ("--context nope.json", "No such file")),
        (["--project", "nope"], ("--project", "does not exist")),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_options_of_run(
    call: Callable[..., Said], tmp_path: Path, options: list[str], told: tuple[str, ...], as_json: bool
) -> None:
    (tmp_path / "flow.yaml").write_text(workflow_yaml("researcher"))
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "broken.json").write_text('{"a":\n}')
    before = written(tmp_path)
    said = call("run", "flow.yaml", *options, *(["--json"] if as_json else []))
    assert said.code == 2
    if as_json:
        error = said.data["error"]
        said_text = f"{error['where']}: {error['message']} {error['hint']}"
    else:
        assert said.out == ""
        said_text = said.err
    for part in told:
        assert part in said_text
    assert written(tmp_path) == before


@pytest.mark.parametrize("command", [("status",), ("history", "--runs"), ("run", "flow.yaml"), ("rollback", "team")])
def test_a_database_that_cannot_be_reached(
    call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("VICTOR_AUTOTUNE_DATABASE_URL", NOWHERE)
    (tmp_path / "flow.yaml").write_text(workflow_yaml("researcher"))
    before = written(tmp_path)
    said = call(*command)
    assert said.code == 2
    assert "postgresql+psycopg://me:***@127.0.0.1:1/runs" in said.err
    assert "can't be reached" in said.err
    assert "Start the server" in said.err
    assert "secret" not in said.err
    assert written(tmp_path) == before


@pytest.mark.parametrize("command", [("status",), ("explain", "team"), ("run", "flow.yaml"), ("resume", "team")])
def test_a_store_of_a_newer_version(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path, command: tuple[str, ...]
) -> None:
    project("testing")
    (tmp_path / "flow.yaml").write_text(workflow_yaml("researcher"))
    file = tmp_path / ".victor" / "autotune.db"
    with sqlite3.connect(file) as database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    database.close()
    said = call(*command)
    assert said.code == 2
    assert "schema 9999" in said.err
    assert "pip install -U victor-autotune-plugin" in said.err
    with sqlite3.connect(file) as database:
        assert database.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == ("9999",)
    database.close()


@pytest.mark.parametrize("command", ["explain", "history", "rollback", "pause", "resume"])
def test_an_unknown_team(call: Callable[..., Said], project: Callable[[str], None], command: str) -> None:
    project("testing")
    said = call(command, "taem")
    assert said.code == 2
    assert said.out == ""
    assert "no team 'taem' was recorded" in said.err
    assert "Did you mean `team`?" in said.err
    assert "victor autotune status" in said.err


@pytest.mark.parametrize("command", [("status",), ("history",), ("explain", "team"), ("pause", "team")])
def test_an_unknown_workflow(
    call: Callable[..., Said], project: Callable[[str], None], command: tuple[str, ...]
) -> None:
    project("testing")
    said = call(*command, "--workflow", "flwo", "--json")
    assert said.code == 2
    assert said.data["error"]["where"] == "--workflow"
    assert said.data["error"]["message"] == "no workflow 'flwo' was recorded"
    assert said.data["error"]["hint"].startswith("Did you mean `flow`?")


@pytest.mark.parametrize("command", ["explain", "rollback", "pause", "resume"])
def test_a_team_before_anything_was_recorded(call: Callable[..., Said], tmp_path: Path, command: str) -> None:
    said = call(command, "team")
    assert said.code == 2
    assert "nothing was recorded in" in said.err
    assert "victor autotune run" in said.err
    assert written(tmp_path) == set()


def test_an_ambiguous_team(call: Callable[..., Said], simulate: Callable[..., object]) -> None:
    for workflow in ("one", "other flow"):
        simulation = simulate("team", workflow)
        simulation.run()  # type: ignore[attr-defined]
    said = call("explain", "team")
    assert said.code == 2
    assert "several workflows have a team 'team'" in said.err
    assert "--workflow one or --workflow 'other flow'" in said.err
    assert call("explain", "team", "--workflow", "one").code == 0


def test_team_and_option_that_differ(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("testing")
    assert call("explain", "team", "--team-id", "team").code == 0
    said = call("explain", "team", "--team", "other")
    assert said.code == 2
    assert "Give only one of them." in said.err


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_shown_harmlessly(
    call: Callable[..., Said], simulate: Callable[..., object], tmp_path: Path, name: str
) -> None:
    simulation = simulate(name, f"flow {name}", mode="observe")
    simulation.run()  # type: ignore[attr-defined]
    for command in (("status",), ("history", "--runs"), ("explain", name), ("pause", name), ("history", name)):
        said = call(*command)
        assert said.code == 0, said.err
        assert not set(said.out + said.err) & {"\x1b", "\u202e", "\r", "\x07"}
    data = json.loads(call("status", "--json").out)
    assert data["teams"][0]["team_id"] == name
    said = call("explain", f"{name}?")
    assert said.code == 2
    assert "\x1b" not in said.err
    assert {path.name for path in tmp_path.iterdir()} == {".victor"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
@pytest.mark.parametrize("command", [("export",), ("status",), ("prune", "--dry-run", "--json")])
def test_output_that_finds_no_room_is_told_in_a_sentence(
    project: Callable[[str], None], tmp_path: Path, command: tuple[str, ...]
) -> None:
    project("rolled_back")
    called = "from victor_autotune_plugin._cli.app import main; main()"
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", called, *command], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines()[0].startswith("error: standard output: can't be written: No space left")
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr
