"""Every kind of file that the plugin reads: as pipe or device, endless, huge, too deep, with numbers of 6,000 digits.

Each is a clear error that names the file, without a traceback (which `call` refuses) and without waiting: a reader that
waits for another process never comes back, so the test would.
"""

from __future__ import annotations

import json
import os
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from victor_autotune_plugin._metricfiles import read_history, read_runs
from victor_autotune_plugin._values import reading
from victor_autotune_plugin._values.files import read_text
from victor_autotune_plugin._values.nodes import WrongValueError
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_testing.realvictor import workflow_yaml

from .conftest import Said

Call = Callable[..., Said]
DIGITS: Final = "9" * 6_000
DEEP: Final = 100_000
HUGE: Final = 300_000_000
MOST_MEMORY: Final = 250_000_000
"""Bytes that a reader may hold. Among them are a line of 16 million characters, its copies, and its cells."""

FILES: Final = {
    "settings": (".victor/autotune.yaml", ("status",)),
    "workflow": ("flow.yaml", ("run", "flow.yaml")),
    "compared workflow": ("flow.yaml", ("benchmark", "--before", "flow.yaml", "--after", "flow.yaml")),
    "workflow to trust": ("flow.yaml", ("trust", "flow.yaml")),
    "team": ("team.json", ("suggest", "--metrics", "sound.json", "--config", "team.json")),
    "JSON": ("runs.json", ("analyze", "--metrics", "runs.json")),
    "JSON Lines": ("runs.jsonl", ("analyze", "--metrics", "runs.jsonl")),
    "CSV": ("runs.csv", ("analyze", "--metrics", "runs.csv")),
    "OTLP": ("traces.json", ("analyze", "--metrics", "traces.json")),
    "archive": ("history.jsonl", ("import", "history.jsonl")),
    "context": ("context.json", ("run", "sound.yaml", "--context", "context.json")),
}
ROW: Final = {
    "team_id": "review",
    "formation": "sequential",
    "member_count": 2,
    "success": True,
    "duration_seconds": 10,
    "total_tool_calls": 3,
    "timestamp": 1_760_000_000,
}
OTLP: Final = (
    '{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": 1, "attributes": ['
    '{"key": "victor.autotune.run.id", "value": {"stringValue": "r"}}, %s]}]}]}]}\n'
)
HEADER: Final = '{"victor_autotune": "history", "version": 2}\n'

kinds = pytest.mark.parametrize("kind", FILES)


@pytest.fixture
def tell(call: Call, tmp_path: Path) -> Callable[[str], str]:
    """Call the command that reads a file of a kind, and return its error."""
    (tmp_path / "sound.json").write_text(json.dumps([ROW] * 20))
    (tmp_path / "sound.yaml").write_text(workflow_yaml("researcher", "planner"))

    def tell(kind: str) -> str:
        name, command = FILES[kind]
        said = call(*command)
        assert said.code == 2, said.out
        assert name in said.err
        assert len(said.err) < 1_000
        return said.err

    return tell


def place(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / FILES[kind][0]
    path.parent.mkdir(exist_ok=True)
    return path


# --- what is no file


@kinds
def test_a_pipe(tell: Callable[[str], str], tmp_path: Path, kind: str) -> None:
    os.mkfifo(place(tmp_path, kind))
    assert "this is a pipe, not a file" in tell(kind)


@kinds
def test_a_socket(tell: Callable[[str], str], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place(tmp_path, kind)
    monkeypatch.chdir(path.parent)  # the address of a socket may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
        monkeypatch.chdir(tmp_path)
        assert "this is a socket, not a file" in tell(kind)


@kinds
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty"])
def test_a_device(tell: Callable[[str], str], tmp_path: Path, kind: str, device: str) -> None:
    place(tmp_path, kind).symlink_to(device)
    assert "this is a device, not a file" in tell(kind)


@kinds
def test_a_folder(tell: Callable[[str], str], tmp_path: Path, kind: str) -> None:
    place(tmp_path, kind).mkdir()
    assert "this is a folder" in tell(kind)


@kinds
def test_a_link_to_itself(tell: Callable[[str], str], tmp_path: Path, kind: str) -> None:
    place(tmp_path, kind).symlink_to(place(tmp_path, kind).name)
    assert "can't be read" in tell(kind)


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("x")
    found = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda self, **_: found)
    with pytest.raises(WrongValueError, match="this is a pipe"):
        reading.open_file(path)


def test_the_search_for_workflows_passes_over_what_is_no_file(call: Call, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").symlink_to("/dev/zero")
    (tmp_path / "c.yaml").mkdir()
    with (tmp_path / "d.yaml").open("wb") as file:
        file.truncate(HUGE)
    (tmp_path / "e.yaml").write_text(workflow_yaml("researcher"))
    for command in ("init", "trust", "doctor"):
        assert call(command, "--json").code == 0


# --- what is endless or huge


def holding(path: Path, begin: bytes, byte: bytes = b"1") -> None:
    """Write a file of one line of 300 MB."""
    block = byte * (1_000_000 // len(byte))
    with path.open("wb") as file:
        file.write(begin)
        for _ in range(HUGE // len(block)):
            file.write(block)


BEGINNINGS: Final = {
    "settings": b"mode: ",
    "workflow": b"workflows: ",
    "compared workflow": b"workflows: ",
    "workflow to trust": b"workflows: ",
    "team": b'{"formation": "',
    "JSON": b'[{"team_id": "review", "duration_seconds": ',
    "JSON Lines": b'{"team_id": "review", "duration_seconds": ',
    "CSV": ",".join(ROW).encode() + b"\nreview,sequential,2,true,",
    "OTLP": b'{"resourceSpans": [{"scopeSpans": ',
    "archive": HEADER.encode() + b'{"run": {"id": ',
    "context": b'{"a": ',
}


@pytest.fixture
def memory() -> Iterator[None]:
    """Fail when more than `MOST_MEMORY` was held at any time."""
    tracemalloc.start(1)
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_MEMORY, f"{peak:,}"


@pytest.mark.slow
@kinds
def test_a_line_of_300_megabytes(tell: Callable[[str], str], memory: None, tmp_path: Path, kind: str) -> None:
    path = place(tmp_path, kind)
    holding(path, BEGINNINGS[kind])
    try:
        assert tell(kind)
    finally:
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["lines", "cells", "lines of cells", "spaces"])
def test_a_csv_row_that_does_not_end(call: Call, memory: None, tmp_path: Path, form: str) -> None:
    path = tmp_path / "runs.csv"
    begin, then = {
        "lines": (b'"', b"1" * 99 + b"\n"),
        "cells": (b"", b","),
        "lines of cells": (b'"', b'one","two","three","four","' + b"\n"),
        "spaces": (b"", b" "),
    }[form]
    holding(path, ",".join(ROW).encode() + b"\n" + begin, then)
    said = call("analyze", "--metrics", "runs.csv")
    assert said.code == 2
    assert "runs.csv:2" in said.err
    path.unlink()


@pytest.mark.slow
def test_bad_rows_that_are_long_are_skipped(memory: None, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    holding(path, json.dumps(ROW).encode() + b"\n")
    with path.open("ab") as file:
        file.write(b"\n" + json.dumps(ROW).encode())
    found = read_history(path, skip_bad=True)
    assert len(found.history) == 2
    assert found.skipped > 0
    path.unlink()


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="only Linux has such a file")
def test_a_file_that_holds_more_than_its_size_says() -> None:
    path = Path("/proc/self/pagemap")
    assert path.stat().st_size == 0
    with pytest.raises(WrongValueError, match="the file has 1,000,001 bytes"):
        reading.read_bytes(path)


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text("a: 1\n")
    opened = reading.open_file

    def grows(*args: object) -> object:
        file = opened(*args)  # type: ignore[arg-type]
        path.write_text("a" * 2_000_000)
        return file

    monkeypatch.setattr(reading, "open_file", grows)
    with pytest.raises(WrongValueError, match="the file has 2,000,000 bytes"):
        read_text(path)


@pytest.mark.parametrize("name", ["runs.json", "runs.jsonl", "runs.csv"])
def test_a_metrics_file_that_is_cut_off_while_it_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [json.dumps(ROW)] * 40_000
    lines = [",".join(map(str, ROW.values())).replace("True", "true")] * 60_000
    path.write_text(
        {
            "runs.json": f"[{', '.join(rows)}]",
            "runs.jsonl": "\n".join(rows),
            "runs.csv": "\n".join([",".join(ROW), *lines]),
        }[name]
    )
    runs = read_runs(path)
    next(runs)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 15)
    with pytest.raises(AutotuneError, match=name):
        list(runs)


# --- what is too deep


def nested(kind: str) -> str:
    deep = "[" * DEEP
    return {
        "JSON": f'[{{"team_id": {deep}',
        "JSON Lines": f'{{"team_id": {deep}',
        "CSV": ",".join(ROW) + f'\nreview,sequential,2,true,"{deep}",3,1760000000\n',
        "OTLP": f'{{"resourceSpans": {deep}',
        "archive": HEADER + f'{{"run": {deep}\n',
        "context": f'{{"a": {deep}',
        "team": f'{{"members": {deep}',
    }.get(kind, f"a: {deep}")


@kinds
def test_100_000_levels(tell: Callable[[str], str], tmp_path: Path, kind: str) -> None:
    place(tmp_path, kind).write_text(nested(kind))
    said = tell(kind)
    assert "nested too deeply" in said or (kind == "CSV" and "runs.csv:2: duration_seconds" in said)


@pytest.mark.parametrize("levels", [100, 300, 500, 700, 900])
@pytest.mark.parametrize("kind", ["JSON", "JSON Lines", "CSV", "archive", "context"])
def test_levels_that_python_just_reads(call: Call, tmp_path: Path, kind: str, levels: int) -> None:
    deep = "[" * levels + "]" * levels
    row = json.dumps({**ROW, "duration_seconds": 0}).replace(": 0,", f": {deep},")
    text = {
        "JSON": f"[{row}]",
        "JSON Lines": row,
        "CSV": ",".join(ROW) + f'\nreview,sequential,2,true,"{deep}",3,1760000000\n',
        "archive": HEADER + f'{{"run": {{"run_id": {deep}}}}}\n',
        "context": f'{{"a": {deep}}}',
    }[kind]
    place(tmp_path, kind).write_text(text)
    (tmp_path / "sound.yaml").write_text(workflow_yaml("researcher", "planner"))
    said = call(*FILES[kind][1])
    assert said.code == 2
    assert FILES[kind][0] in said.err


@pytest.mark.parametrize("kind", ["workflow", "compared workflow", "workflow to trust", "team"])
@pytest.mark.parametrize("levels", [101, 200, 330, 450])
def test_levels_that_yaml_just_reads(tell: Callable[[str], str], tmp_path: Path, kind: str, levels: int) -> None:
    deep = "[" * levels + "]" * levels
    text = workflow_yaml("researcher", metadata={"x": "deep"}).replace('"deep"', deep)
    place(tmp_path, kind).write_text(text if kind != "team" else f'{{"formation": "parallel",\n"members": {deep}}}')
    assert "nested too deeply" in tell(kind)


# --- numbers


def numbered(kind: str) -> str:
    row = json.dumps({**ROW, "duration_seconds": 0}).replace(": 0,", f": {DIGITS},")
    return {
        "settings": f"\nlimits: {{max_members: {DIGITS}}}\n",
        "team": f'{{"formation": "parallel", "members": ["a"],\n"tool_budget": {DIGITS}}}',
        "JSON": f"[{json.dumps(ROW)},\n{row}]",
        "JSON Lines": f"{json.dumps(ROW)}\n{row}\n",
        "CSV": ",".join(ROW) + f"\nreview,sequential,2,true,{DIGITS},3,1760000000\n",
        "OTLP": OTLP % f'{{"key": "a", "value": {{"doubleValue": {DIGITS}}}}}' + "x",
        "archive": HEADER + f'{{"run": {DIGITS}}}\n',
    }.get(kind, workflow_yaml("researcher", total_tool_budget=7).replace(": 7", f": {DIGITS}"))


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "context"])
def test_a_number_of_6_000_digits(tell: Callable[[str], str], tmp_path: Path, kind: str) -> None:
    place(tmp_path, kind).write_text(numbered(kind))
    said = tell(kind)
    assert f"{FILES[kind][0]}:" in said
    assert "sys.set_int_max_str_digits" not in said
    if kind in ("JSON", "JSON Lines", "CSV"):
        assert f"{FILES[kind][0]}:2: duration_seconds: " in said


def test_a_number_of_6_000_digits_in_the_context(call: Call, tmp_path: Path) -> None:
    (tmp_path / "sound.yaml").write_text(workflow_yaml("researcher"))
    (tmp_path / "context.json").write_text(f'{{"a": {DIGITS}}}')
    said = call("run", "sound.yaml", "--context", "context.json")
    assert said.code == 2
    assert "context.json: holds a number of too many digits" in said.err


@pytest.mark.parametrize("form", ["runs.json", "runs.jsonl"])
def test_the_other_rows_are_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / form
    path.write_text(numbered("JSON" if form.endswith("json") else "JSON Lines"))
    for read in (read_history, read_runs):
        found = read(path, skip_bad=True)
        assert (len(found.history) if read is read_history else len(list(found))) == 1
        assert found.skipped == 1
        assert found.problems[0].where == f"{path}:2"


# --- YAML that grows


BOMBS: Final = {
    "lists": "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 40)),
    "merged lists": "t: &t {k: 1}\na0: &a0 [*t]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 40))
    + "x: {<<: *a39}\n",
    "merged often": f"t: &t {{{', '.join(f'k{n}: 1' for n in range(5_000))}}}\nx: {{<<: [{'*t, ' * 5_000}*t]}}\n",
    "merged in a chain": "a0: &a0 {k0: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}\n" for n in range(1, 2_500)),
}


@pytest.mark.parametrize("kind", ["settings", "workflow", "team"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_aliases_that_grow(tell: Callable[[str], str], memory: None, tmp_path: Path, kind: str, bomb: str) -> None:
    place(tmp_path, kind).write_text(BOMBS[bomb])
    said = tell(kind)
    assert "more than 200,000 values" in said or "merges mappings only" in said
