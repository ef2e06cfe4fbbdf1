"""Metrics files on the command line: columns that are named, runs that are left out, and files without runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_testing.made_runs import metric_rows

from .conftest import Said

COMMANDS = [("analyze",), ("suggest",), ("apply", "--dry-run")]


@pytest.mark.parametrize("command", COMMANDS)
def test_columns_are_named_by_options_or_a_file(call: Callable[..., Said], tmp_path: Path, command: list[str]) -> None:
    lines = ["who;took;state;members;calls;at"]
    lines += [f"review;{75_000 + n},5;{'done' if n % 4 else 'failed'};5;30;2026-01-31 12:{n:02}:00" for n in range(20)]
    (tmp_path / "other.csv").write_text("\n".join(lines))
    (tmp_path / "map.yaml").write_text("team_id: who\nduration_seconds: took:ms\nsuccess: state:done\n")
    options = ["--map", "map.yaml", "--map", "member_count=members", "--map", "total_tool_calls=calls"]
    options += ["--map", "timestamp=at", "--map", "formation==sequential"]
    said = call(*command, "--metrics", "other.csv", *options)
    assert said.code == 0, said.err
    assert "20 runs" in said.out
    said = call(*command, "--metrics", "other.csv")
    assert said.code == 2
    assert "other.csv:2: team_id: is missing; the columns are who, took, state, members, calls, at" in said.err
    said = call(*command, "--metrics", "other.csv", "--map", "duration=took:ms", *(["--json"] if command else []))
    assert said.code == 2
    assert "'duration' is not a field of a run" in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_runs_that_come_again_are_told(call: Callable[..., Said], tmp_path: Path, command: list[str]) -> None:
    rows = [{**row, "run_id": f"run-{n % 12}"} for n, row in enumerate(metric_rows("review", [75.0] * 20))]
    (tmp_path / "twice.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = call(*command, "--metrics", "twice.jsonl")
    assert said.code == 0, said.err
    assert "12 runs" in said.out
    assert "note: 8 rows left out, whose run_id came before." in said.err
    if command[0] != "apply":
        data = call(*command, "--metrics", "twice.jsonl", "--json").data
        assert data["left_out"] == {"bad": 0, "repeated": 8}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no runs"),
        ("[]", "holds no runs"),
        ('{"resourceSpans": []}', "holds no runs"),
        ("team_id,formation,member_count,success,duration_seconds,tool_calls,timestamp\n", "holds no runs"),
        ('[{"team_id": "a", "cancelled": true}]', "formation: is missing; the columns are team_id, cancelled"),
        ("a,team_id\n1,x\n2,y\n", "2 rows left out, the first since formation: is missing"),
    ],
)
def test_a_file_without_runs_is_an_error(
    call: Callable[..., Said], tmp_path: Path, command: list[str], text: str, told: str
) -> None:
    (tmp_path / "runs").write_text(text)
    for options in ([], ["--skip-bad"]):
        said = call(*command, "--metrics", "runs", *options)
        assert (said.code, said.out) == (2, "")
        if options or "2 rows" not in told:
            assert told in said.err
    said = call(*command, "--metrics", "runs", "--skip-bad", "--json")
    assert said.code == 2
    assert said.data["error"]["hint"]


def test_a_wrong_option_is_told_in_a_line_where_there_is_no_terminal(
    call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = call("analyze", "--metrix", "runs.csv")
    assert said.code == 2
    assert said.err.startswith("error: No such option")
    assert "\x1b" not in said.err
