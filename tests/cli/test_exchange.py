"""`export` and `import`: the same history elsewhere, nothing twice, and every bad line named."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin.storage import Store, default_url

from .conftest import Said


@pytest.fixture
def exported(call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path) -> Path:
    project("rolled_back")
    assert call("export", "--output", "history.jsonl").code == 0
    return tmp_path / "history.jsonl"


def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_a_history_is_the_same_elsewhere(call: Callable[..., Said], exported: Path, tmp_path: Path) -> None:
    folder = elsewhere(tmp_path)
    said = call("import", str(exported), "--project", str(folder))
    assert said.code == 0, said.err
    with Store.open(default_url(tmp_path)) as here, Store.open(default_url(folder)) as there:
        assert list(there.finished_runs()) == list(here.finished_runs())
        assert [change.to_dict() | {"id": 0} for change in there.changes()] == [
            change.to_dict() | {"id": 0} for change in here.changes()
        ]
        assert there.teams() == []
    assert said.out == f"Imported {len(exported.read_text().splitlines()) - 1 - 3} runs and 3 changes.\n"
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600


def test_importing_twice_changes_nothing(call: Callable[..., Said], exported: Path, tmp_path: Path) -> None:
    folder = elsewhere(tmp_path)
    first = call("import", str(exported), "--project", str(folder), "--json").data
    second = call("import", str(exported), "--project", str(folder), "--json").data
    assert (second["runs"], second["changes"]) == (0, 0)
    assert (second["duplicate_runs"], second["duplicate_changes"]) == (first["runs"], first["changes"])
    with Store.open(default_url(folder)) as store:
        assert store.counts()["runs_finished"] == first["runs"]


def test_imported_changes_are_not_in_effect(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("watched")
    call("export", "--output", "history.jsonl")
    folder = elsewhere(tmp_path)
    call("import", "history.jsonl", "--project", str(folder))
    assert "nothing to take back" in call("rollback", "team", "--list", "--project", str(folder)).out
    assert call("rollback", "team", "--project", str(folder)).code == 2


def test_standard_input_and_output(
    call: Callable[..., Said], exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = call("export", "team").out
    assert out == exported.read_text()
    assert json.loads(out.splitlines()[0])["version"] == 1
    monkeypatch.setattr(
        "victor_autotune_plugin.cli.exchange._stdin", lambda: io.BytesIO(out.encode("ascii")), raising=True
    )
    assert call("import", "-", "--project", str(elsewhere(tmp_path))).code == 0


def test_export_as_one_object(call: Callable[..., Said], exported: Path) -> None:
    data = call("export", "--json").data
    assert data["header"]["victor_autotune"] == "history"
    assert (len(data["changes"]), len(data["runs"])) == (3, len(exported.read_text().splitlines()) - 4)


def test_nothing_recorded_is_an_empty_history(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("export")
    assert (said.code, len(said.out.splitlines())) == (0, 1)
    assert list(tmp_path.iterdir()) == []


def change_line(path: Path, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    lines = path.read_text().splitlines()
    data = json.loads(lines[number - 1])
    change(data)
    lines[number - 1] = json.dumps(data)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["run"].pop("success"), ":6:success: is missing"),
        (lambda d: d["run"].update(duration_seconds=-1), ":6:duration_seconds: must be at least 0"),
        (lambda d: d["run"].update(score="good"), ":6:score: must be a finite number, not 'good'"),
        (lambda d: d["run"]["members"][1].update(tool_calls=1.5), ":6:members[1].tool_calls: must be"),
        (lambda d: d["run"]["spec"].update(formation="ring"), ":6:spec.formation: must be one of"),
        (lambda d: d["run"]["plan_asked"].update(speed=2), ":6:plan_asked.speed: is not known"),
        (lambda d: d.update(run=[]), ":6:run: must be an object"),
        (lambda d: d.update(more=1), ":6: must hold"),
        (lambda d: d["run"].update(started_at=1e20), ":6:started_at: must be from 0 to"),
        (lambda d: d["run"].update(cost_usd=10**400), ":6:cost_usd: must be a finite number, not a huge number"),
        (lambda d: d["run"].update(cost_usd=float("nan")), ":6:cost_usd: must be a finite number, not nan"),
        (lambda d: d["run"].update(index=10**400), ":6:index: must be a whole number from 0 to 2147483647, not a huge"),
        (lambda d: d["run"].update(mode="\ud800"), ":6: is not UTF-8 text"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    call: Callable[..., Said], exported: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    change_line(exported, 6, change)
    folder = elsewhere(tmp_path)
    said = call("import", "history.jsonl", "--project", str(folder))
    assert said.code == 2
    assert told in said.err
    assert list(folder.iterdir()) == []
    said = call("import", "history.jsonl", "--project", str(folder), "--skip-bad")
    assert said.code == 0
    assert told in said.err
    assert "1 line left out" in said.out
    with Store.open(default_url(folder)) as store:
        assert store.counts()["runs_finished"] == len(exported.read_text().splitlines()) - 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "x.jsonl: is empty"),
        (b"[1, 2]\n", "x.jsonl:1: is no header of a history"),
        (b'\n{"victor_autotune": "history", "version": 9}\n', "x.jsonl:2:version: is a history of version 9"),
        (b'{"victor_autotune": "history", "version": 1}\n{"run"\n', "x.jsonl:2: is not JSON"),
        (b'{"victor_autotune": "history", "version": 1}\n\xff\xfe\n', "x.jsonl:2: is not"),
        (b'{"victor_autotune": "history", "version": 1}\n' + b"[" * 100_000 + b"\n", "x.jsonl:2: is"),
    ],
)
def test_what_is_no_history(call: Callable[..., Said], tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(text)
    said = call("import", "x.jsonl")
    assert said.code == 2
    assert told in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_a_file_that_can_t_be_read_or_written(call: Callable[..., Said], exported: Path) -> None:
    assert "No such file" in call("import", "nope.jsonl").err
    said = call("export", "--output", "no/such/folder.jsonl", "--json")
    assert said.code == 2
    assert said.data["error"]["where"] == "--output no/such/folder.jsonl"


def test_a_rollback_still_names_the_change_it_took_back(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("watched")
    call("rollback", "team")
    call("export", "--output", "history.jsonl")
    folder = elsewhere(tmp_path)
    with Store.open(default_url(tmp_path)) as here, Store.open(default_url(folder)) as there:
        earlier = evolve(here.changes()[0], team_id="other")
        with there.transaction() as transaction:  # so that numbers differ
            transaction.add_change(earlier)
    call("import", "history.jsonl", "--project", str(folder))
    with Store.open(default_url(folder)) as store:
        changes = store.changes()
    promoted = next(change for change in changes if change.action == "promoted")
    assert promoted.id == 3
    assert changes[-1].evidence["takes_back"] == [promoted.id]
