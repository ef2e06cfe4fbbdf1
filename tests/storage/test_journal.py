"""The journal: what was appended is readable, whatever happened to its process; nothing else is read as an entry."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._model.converter import to_plain
from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin._model.plan import FORMATIONS, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin._model.run import MemberOutcome, PlannedRun, RunStart, TeamRun, TokenUse
from victor_autotune_plugin._model.score import SOURCES, Gate, Score
from victor_autotune_plugin.errors import StoreError, StoreUnavailableError
from victor_autotune_plugin.storage import journal_entries, journal_reading
from victor_autotune_plugin.storage.journal import (
    EndEntry,
    Entry,
    Journal,
    JournalError,
    JournalFullError,
    OrphanJournal,
    PriceEntry,
    ScoreEntry,
    StartEntry,
    encode,
    orphans,
    read,
)
from victor_autotune_testing.stored import score

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PROCESS = ProcessId("a" * 32, "host", 4321, 1_700_000_000.5)
OTHER = ProcessId("b" * 32, "host", 4322, 1_700_000_001.5)

SPEC = TeamSpec(
    "release — été",
    "review",
    "sequential",
    [MemberSpec("lead", "planner", 7, True, None, "big"), MemberSpec("critic", formation_role="critic")],
    20,
    90.5,
    3,
)
PLAN = TeamPlan("parallel", ("critic", "lead"), 12, {"lead": 8, "critic": 4}, 0.1 + 0.2)
START = RunStart(
    "r1", SPEC, 1_700_000_000.123456, "step", "outer", "task-1", environment="staging", owners={"formation": "hint"}
)
PLANNED = PlannedRun(PLAN, "auto", Assignment("e1", "test", "treatment", "f12", 4), "experiment")
RUN = TeamRun(
    run_id="r1",
    spec=SPEC,
    started_at=1_700_000_000.123456,
    duration_seconds=12.700000000000001,
    success=True,
    member_success_share=2 / 3,
    entry="step",
    parent_id="outer",
    task_key="task-1",
    mode="auto",
    plan_asked=PLAN,
    plan_used=PLAN,
    experiment_id="e1",
    arm="treatment",
    phase="test",
    stream="f12",
    index=4,
    timed_out=True,
    error_class="TimeoutError",
    cost_usd=0.00123,
    members=[MemberOutcome("critic", "", True, True, 3.25, 4, 1, 5, 1000, 200, ("big", "small"), None, 2.5, 0.5, 1.75)],
    tokens=[TokenUse("big", 900, 150)],
)
GATES = (Gate("rubric", 0.1 + 0.2, "d1"), Gate("review", is_external=True))
ENTRIES: list[Entry] = [
    StartEntry(START, PLANNED, PROCESS.id),
    EndEntry(RUN, 5.0, GATES, 86_400.0),
    PriceEntry("r1", 1e-9),
    ScoreEntry(score("r1", "rubric", judge="d1", source="model", details={"answers": [[["clear", True]]]})),
    ScoreEntry(score("r1", "tests", None, why="failed: ValueError", cost_usd=None)),
]


def prices(first: int, number: int) -> list[Entry]:
    return [PriceEntry(f"r{index}", 0.5) for index in range(first, first + number)]


def ids(path: Path, after_line: int = 0) -> list[str]:
    return [entry.run_id for _, entry in read(path, after_line) if isinstance(entry, PriceEntry)]


def fail(message: str) -> None:
    raise AssertionError(message)


def taken(folder: Path) -> list[OrphanJournal]:
    return list(orphans(folder, fail))


def written(folder: Path, entries: list[Entry], process: ProcessId = PROCESS) -> Path:
    journal = Journal(folder, process)
    journal.append(entries)
    journal.close()
    return journal.path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".victor" / "autotune-journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    journal = Journal(folder, PROCESS)
    yield journal
    journal.close()


# --- what is appended is read again


def test_entries_are_read_as_they_were_appended(journal: Journal) -> None:
    assert journal.append(ENTRIES) == len(ENTRIES)
    reading = read(journal.path)
    assert list(reading) == list(enumerate(ENTRIES, 1))
    assert (reading.process, reading.damaged, reading.is_newer, reading.is_drained) == (PROCESS, 0, False, True)


def test_text_that_was_encoded_before_is_appended_too(journal: Journal) -> None:
    journal.append([encode(entry) for entry in ENTRIES])
    assert [entry for _, entry in read(journal.path)] == ENTRIES


def test_reading_goes_on_after_a_line(journal: Journal) -> None:
    journal.append(prices(1, 3))
    journal.append(prices(4, 2))
    assert list(read(journal.path, 3)) == [(4, PriceEntry("r4", 0.5)), (5, PriceEntry("r5", 0.5))]
    assert list(read(journal.path, 5)) == []


def test_without_entries_there_is_no_file(journal: Journal, folder: Path) -> None:
    assert journal.append([]) == 0
    assert not folder.exists()
    assert list(read(journal.path)) == []
    assert taken(folder) == []


numbers = st.floats(0, 1e12)
names = st.text(min_size=1)
counts = st.integers(0, 2**31 - 1)
maybe_text = st.none() | st.text()
plans = st.builds(
    TeamPlan,
    formation=st.none() | st.sampled_from(FORMATIONS),
    members=st.none() | st.lists(names, min_size=1),
    tool_budget=st.none() | counts,
    member_budgets=st.none() | st.dictionaries(names, counts),
    timeout_seconds=st.none() | numbers,
    sub_teams=st.none() | st.lists(st.lists(names, min_size=1), min_size=1),
)
specs = st.builds(
    TeamSpec,
    workflow=st.text(),
    team_id=st.text(),
    formation=st.sampled_from(FORMATIONS),
    members=st.lists(st.builds(MemberSpec, id=names, role=st.text(), tool_budget=st.none() | counts)),
)
runs = st.builds(
    TeamRun,
    run_id=names,
    spec=specs,
    started_at=numbers,
    duration_seconds=numbers,
    success=st.booleans(),
    member_success_share=st.floats(0, 1),
    score=st.none() | st.floats(0, 1),
    trace_id=st.text(),
    parent_id=maybe_text,
    task_key=maybe_text,
    plan_asked=plans,
    plan_used=plans,
    experiment_id=maybe_text,
    arm=st.sampled_from(["control", "treatment", None]),
    phase=st.sampled_from(["test", "watch", None]),
    stream=maybe_text,
    index=st.none() | counts,
    cancelled=st.booleans(),
    error_class=maybe_text,
    cost_usd=st.none() | numbers,
    members=st.lists(st.builds(MemberOutcome, id=names, duration_seconds=numbers, models=st.lists(st.text()))),
    tokens=st.lists(st.builds(TokenUse, model=st.text(), input_tokens=counts)),
)
assignments = st.builds(
    Assignment,
    experiment_id=names,
    phase=st.sampled_from(["test", "watch"]),
    arm=st.sampled_from(["control", "treatment"]),
    stream=st.text(),
    index=counts,
)
starts = st.builds(
    StartEntry,
    start=st.builds(
        RunStart,
        run_id=names,
        spec=specs,
        started_at=numbers,
        entry=st.text(),
        parent_id=maybe_text,
        task_key=maybe_text,
        metadata=st.none(),
        settings=st.none(),
    ),
    planned=st.builds(PlannedRun, plan=plans, mode=st.text(), assignment=st.none() | assignments, source=st.text()),
    process=names,
)
gates = st.lists(st.builds(Gate, names, numbers, st.text(), st.booleans()), max_size=3).map(tuple)
sources = st.sampled_from(SOURCES)
scores = st.builds(Score, names, names, st.none() | st.floats(0, 1), sources, numbers, st.text(), why=st.text())
entries = (
    starts
    | st.builds(EndEntry, run=runs, grade_seconds=st.none() | numbers, gates=gates, score_seconds=st.none() | numbers)
    | st.builds(ScoreEntry, scores)
    | st.builds(PriceEntry, run_id=names, cost_usd=st.none() | numbers)
)


@settings(max_examples=60)
@given(st.lists(entries, min_size=1, max_size=4))
def test_any_entries_survive(tmp_path_factory: pytest.TempPathFactory, some: list[Entry]) -> None:
    path = written(tmp_path_factory.mktemp("journal"), some)
    assert [entry for _, entry in read(path)] == some


def test_what_an_earlier_version_wrote_is_read(folder: Path) -> None:
    """It knew neither data flow, owners nor scores, and counted fewer kinds of tokens."""
    journal = Journal(folder, PROCESS)
    journal.append([StartEntry(START, PLANNED, PROCESS.id), EndEntry(RUN)])
    journal.close()
    start, end = (json.loads(encode(entry)) for _, entry in read(journal.path))
    end["run"]["score"] = end["run"].pop("member_success_share")  # what it called so
    for name in ("gates", "score_seconds"):
        del end[name]
    for name in ("environment", "owners", "flow", "trace_id"):
        end["run"].pop(name)
        start["planned"].pop(name, None)
    del end["grade_seconds"]
    for use in end["run"]["tokens"]:
        del use["provider"]
    texts = [json.dumps(one).encode() for one in (start, end)]
    assert [journal_entries.decode(text) for text in texts] == [StartEntry(START, PLANNED, PROCESS.id), EndEntry(RUN)]


def test_half_a_character_survives(journal: Journal) -> None:
    entry = PriceEntry("\ud800", 0.5)
    journal.append([entry])
    assert list(read(journal.path)) == [(1, entry)]


@pytest.mark.parametrize("entry", ENTRIES[:2], ids=["start", "end"])
def test_what_is_encoded_quickly_says_what_the_long_way_says(entry: Any) -> None:
    quick = journal_entries._quickly(entry)
    assert quick is not None
    assert json.loads(quick) == json.loads(journal_entries._slowly(entry))


@pytest.mark.parametrize("changed", [{"error_class": "\ud800"}, {"duration_seconds": float("inf")}])
def test_what_can_t_be_encoded_quickly_takes_the_long_way(changed: dict[str, Any]) -> None:
    entry = EndEntry(evolve(RUN, **changed))
    assert journal_entries._quickly(entry) is None
    assert journal_entries.decode(journal_entries.encode(entry)) == entry


def test_a_value_that_could_not_be_read_again_is_refused_before_anything_is_written(journal: Journal) -> None:
    with pytest.raises(StoreError, match="can't be journaled"):
        journal.append([*prices(1, 1), EndEntry(evolve(RUN, status="unheard of"))])  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="bytes, more than"):
        journal.append([PriceEntry("r" * 5_000_000, 0.5)])
    journal.append(prices(7, 1))
    assert ids(journal.path) == ["r7"]


def test_neither_metadata_nor_settings_are_in_the_file(journal: Journal) -> None:
    settings: Any = {"api_key": "secret-1"}
    start = evolve(START, metadata={"prompt": "secret-2"}, settings=settings)
    journal.append([StartEntry(start, PLANNED, PROCESS.id)])
    assert b"secret" not in journal.path.read_bytes()
    assert list(read(journal.path)) == [(1, StartEntry(START, PLANNED, PROCESS.id))]


# --- damage


def test_a_line_torn_at_any_byte_hides_no_other(folder: Path) -> None:
    path = written(folder, prices(1, 2))
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(journal_entries.line_of(3, encode(PriceEntry("r3", 0.5))))
    whole = path.read_bytes()
    following = journal_entries.line_of(4, encode(PriceEntry("r4", 0.5)))
    for length in range(len(before), len(whole)):
        path.write_bytes(whole[:length] + following)
        reading = read(path)
        assert [number for number, _ in reading] == [1, 2, 4]
        assert reading.damaged == (1 if length > len(before) + 1 else 0)  # a newline alone is not a line
        path.write_bytes(whole[:length])
        assert ids(path) == ["r1", "r2"]


def test_any_changed_byte_of_a_line_is_noticed(folder: Path) -> None:
    path = written(folder, prices(1, 3))
    whole = path.read_bytes()
    begin = whole.index(b"\n", whole.index(b"r1")) + 1
    end = whole.index(b"\n", begin)
    for at in range(begin, end):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = ids(path)
        assert found in (["r1", "r3"], ["r1"])  # a newline in the place of a byte makes two of one
        assert "r3" in found


def test_entries_are_read_without_the_first_line(folder: Path) -> None:
    path = written(folder, prices(1, 2))
    path.write_bytes(path.read_bytes().replace(b"journal", b"jurnal!"))
    reading = read(path)
    assert [number for number, _ in reading] == [1, 2]
    assert (reading.process, reading.damaged, reading.is_drained) == (None, 1, True)


@pytest.mark.parametrize("garbage", [b"x" * 40_000_000, b"\n" * 3_000_000, os.urandom(2_000_000), b"[" * 9_000_000])
def test_garbage_is_passed_over_in_bounded_memory(folder: Path, garbage: bytes) -> None:
    import tracemalloc

    path = written(folder, prices(1, 1))
    with path.open("ab") as file:
        file.write(b"\n" + garbage + journal_entries.line_of(2, encode(PriceEntry("r2", 0.5))))
    del garbage
    tracemalloc.start()
    assert ids(path) == ["r1", "r2"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_value_from_deep_nesting_is_damage(folder: Path) -> None:
    path = written(folder, prices(1, 1))
    with path.open("ab") as file:
        file.write(
            journal_entries.line_of(2, b'{"kind":"price","run_id":' + b"[" * 200_000)
            + journal_entries.line_of(3, b"[]")
        )
        file.write(journal_entries.line_of(4, b'{"kind":"price","run_id":"r4","cost_usd":' + b"9" * 6000 + b"}"))
        file.write(journal_entries.line_of(5, encode(PriceEntry("r5", 0.5))))
    reading = read(path)
    assert [number for number, _ in reading] == [1, 5]
    assert reading.damaged == 3


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("start", {"start": {"run_id": "r1"}}),
        ("start", {"start": None}),
        ("start", {"planned": {"plan": {"tool_budget": "many"}}}),
        ("start", {"process": 7}),
        ("end", {"run": {"run_id": "r1"}}),
        ("end", {"run": []}),
        ("end", {"run": "r1"}),
        ("end", {"grade_seconds": "soon"}),
        ("end", {"gates": [{"weight": 1.0}]}),
        ("price", {"run_id": None}),
        ("price", {"cost_usd": "high"}),
        ("score", {"score": {"run_id": "r1"}}),
        ("score", {"score": None}),
    ],
)
def test_a_line_of_impossible_values_is_damage(folder: Path, kind: str, changes: dict[str, Any]) -> None:
    path = written(folder, prices(1, 1))
    data = next(found for entry in ENTRIES if (found := journal_entries._plain(entry))["kind"] == kind)
    with path.open("ab") as file:
        file.write(journal_entries.line_of(2, journal_entries._encode(data | changes).encode()))
        file.write(journal_entries.line_of(3, encode(PriceEntry("r3", 0.5))))
    reading = read(path)
    assert [number for number, _ in reading] == [1, 3]
    assert (reading.damaged, reading.is_newer) == (1, False)


def test_what_is_wrong_of_a_score_is_told_without_what_may_be_an_output(journal: Journal) -> None:
    with pytest.raises(StoreError, match="a score can't be journaled") as caught:
        journal.append([ScoreEntry(score(value="the secret output"))])  # type: ignore[arg-type]
    assert "secret" not in repr([caught.value, caught.value.__cause__])
    assert ids(journal.path) == []


def test_a_file_that_is_not_a_journal_is_kept(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / "notes.journal"
    path.write_text("not a journal")
    path.chmod(0o600)
    (orphan,) = taken(folder)
    with orphan:
        reading = orphan.entries()
        assert list(reading) == []
        assert reading.damaged == 1
        assert not orphan.remove()
    assert path.exists()


@pytest.mark.parametrize(
    "line", [b'{"kind":"journal","version":2}', b'{"kind":"mood"}'], ids=["another format", "another kind of entry"]
)
def test_what_a_newer_version_wrote_is_left_for_it(folder: Path, line: bytes) -> None:
    path = written(folder, prices(1, 1))
    with path.open("ab") as file:
        file.write(journal_entries.line_of(2, line) + journal_entries.line_of(3, encode(PriceEntry("r3", 0.5))))
    (orphan,) = taken(folder)
    with orphan:
        reading = orphan.entries()
        assert [number for number, _ in reading] == [1]
        assert reading.is_newer
        assert not orphan.remove()
    assert path.exists()


# --- bound, full disk, locks


def test_it_warns_once_and_is_full_before_anything_is_dropped(folder: Path) -> None:
    journal = Journal(folder, PROCESS, most_bytes=2000)
    warned: list[bool] = []

    def fill() -> None:
        for number in range(1, 100):
            journal.append(prices(number, 1))
            warned.append(journal.warns_of_bound())

    with pytest.raises(JournalFullError, match="the journal is full") as caught:
        fill()
    assert caught.value.hint
    assert warned.count(True) == 1
    assert warned.index(True) < len(warned) - 1
    assert journal.size <= 2000
    assert ids(journal.path) == [f"r{number}" for number in range(1, len(warned) + 1)]
    assert journal.remove(journal.last_line)
    journal.append(prices(200, 1))  # an empty one has room again
    assert ids(journal.path) == ["r200"]
    journal.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_failed_write_is_an_error_and_leaves_the_rest_readable(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    journal.append(prices(1, 1))
    real = os.write

    def half(descriptor: int, data: Any) -> int:
        if len(data) < 60:
            raise OSError(number, os.strerror(number))
        return real(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(JournalError, match=os.strerror(number)) as caught:
            journal.append(prices(2, 1))
    assert isinstance(caught.value, StoreUnavailableError)
    assert journal.last_line == 1
    journal.append(prices(3, 1))
    reading = read(journal.path)
    assert list(reading) == [(1, PriceEntry("r1", 0.5)), (3, PriceEntry("r3", 0.5))]
    assert reading.damaged == 1


def test_short_writes_are_continued(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    journal.append(ENTRIES)
    assert [entry for _, entry in read(journal.path)] == ENTRIES


def test_an_append_is_one_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append(prices(1, 1))
    real, calls = os.write, []
    monkeypatch.setattr(os, "write", lambda descriptor, data: calls.append(len(data)) or real(descriptor, data))
    journal.append(prices(2, 400))
    assert len(calls) == 1


def test_a_real_limit_of_a_file_is_an_error(folder: Path) -> None:
    script = f"""
import resource, signal
from pathlib import Path
from tests_journal import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
journal = Journal(Path({str(folder)!r}), PROCESS)
done = 0
try:
    while True:
        journal.append(prices(done + 1, 3))
        done += 3
except JournalError as error:
    assert "File too large" in str(error), error
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(prices(1000, 1))
print(done)
"""
    done = int(run_script(script))
    assert done > 3
    (orphan,) = taken(folder)
    with orphan:
        found = [entry.run_id for _, entry in orphan.entries() if isinstance(entry, PriceEntry)]
    assert found[:done] == [f"r{number}" for number in range(1, done + 1)]
    assert found[-1] == "r1000"
    assert {*found[done:-1]} < {f"r{done + 1}", f"r{done + 2}", f"r{done + 3}"}  # whole lines of the append that failed


def test_a_file_system_without_locks_is_an_error(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.raises(JournalError, match=os.strerror(errno.ENOLCK)) as caught:
        journal.append(prices(1, 1))
    assert "local disk" in str(caught.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("fsync", [True, False])
def test_it_waits_for_the_disk_when_asked(folder: Path, monkeypatch: pytest.MonkeyPatch, fsync: bool) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    monkeypatch.setattr("fcntl.F_FULLFSYNC", None, raising=False)
    journal = Journal(folder, PROCESS, fsync=fsync)
    journal.append(prices(1, 1))
    assert bool(calls) == fsync
    journal.close()


def test_a_folder_that_can_not_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError):
        Journal(tmp_path / "file" / "journal", PROCESS).append(prices(1, 1))
    with pytest.raises(JournalError):
        Journal(tmp_path / "file", PROCESS).append(prices(1, 1))


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "journal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="symbolic link"):
        Journal(tmp_path / "journal", PROCESS).append(prices(1, 1))
    told: list[str] = []
    assert list(orphans(tmp_path / "journal", told.append)) == []
    assert len(told) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_in_place_of_the_file_is_not_followed(journal: Journal, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    folder.mkdir(parents=True)
    journal.path.symlink_to(tmp_path / "precious")
    with pytest.raises(JournalError, match="symbolic link"):
        list(read(journal.path))
    journal.append(prices(1, 1))
    assert (tmp_path / "precious").read_text() == "precious"
    assert ids(journal.path) == ["r1"]


def test_only_this_user_may_use_folder_and_file(folder: Path) -> None:
    before = os.umask(0)
    try:
        path = written(folder, prices(1, 1))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (path, folder, folder.parent)]
    assert modes == [0o600, 0o700, 0o700]


# --- drained


def test_it_is_removed_when_all_of_it_is_drained_and_numbers_go_on(journal: Journal) -> None:
    journal.append(prices(1, 3))
    assert not journal.remove(2)
    assert journal.remove(3)
    assert not journal.path.exists()
    assert journal.remove(3)
    assert journal.append(prices(4, 1)) == 4
    assert list(read(journal.path, 3)) == [(4, PriceEntry("r4", 0.5))]


def test_a_failed_append_does_not_keep_the_file(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append(prices(1, 1))

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken)
        with pytest.raises(JournalError):
            journal.append(prices(2, 1))
    assert journal.remove(1)
    assert not journal.path.exists()


def test_it_is_not_an_orphan_while_its_owner_lives(journal: Journal, folder: Path) -> None:
    journal.append(prices(1, 1))
    assert taken(folder) == []
    journal.close()
    (orphan,) = taken(folder)
    assert taken(folder) == []  # the other taker has it
    orphan.close()
    with taken(folder)[0] as orphan:
        assert orphan.process == PROCESS.id


def test_a_file_that_was_deleted_is_made_again(journal: Journal) -> None:
    journal.append(prices(1, 1))
    journal.path.unlink()
    assert journal.append(prices(2, 1)) == 2
    assert ids(journal.path) == ["r2"]


def test_an_orphan_is_removed_only_after_it_was_read(folder: Path) -> None:
    path = written(folder, prices(1, 3))
    (orphan,) = taken(folder)
    with orphan:
        assert not orphan.remove()
        reading = orphan.entries(1)
        assert next(reading)[0] == 2
        assert not orphan.remove()
        assert [number for number, _ in reading] == [3]
        assert orphan.remove()
    assert not path.exists()
    assert taken(folder) == []


def test_an_orphan_that_grows_is_kept(folder: Path) -> None:
    path = written(folder, prices(1, 1))
    (orphan,) = taken(folder)
    with orphan:
        list(orphan.entries())
        with path.open("ab") as file:
            file.write(journal_entries.line_of(2, encode(PriceEntry("r2", 0.5))))
        assert not orphan.remove()
        assert [number for number, _ in orphan.entries(1)] == [2]
        assert orphan.remove()


def test_what_is_not_a_journal_of_this_user_is_reported_and_left(folder: Path, tmp_path: Path) -> None:
    path = written(folder, prices(1, 1))
    (tmp_path / "elsewhere.journal").write_bytes(path.read_bytes())
    (folder / "link.journal").symlink_to(tmp_path / "elsewhere.journal")
    (folder / "folder.journal").mkdir()
    os.mkfifo(folder / "fifo.journal", 0o600)
    (folder / "open.journal").write_bytes(path.read_bytes())
    (folder / "open.journal").chmod(0o644)
    (folder / "other.txt").write_text("")
    told: list[str] = []
    found = list(orphans(folder, told.append))
    assert [orphan.path.name for orphan in found] == [path.name]
    assert sorted(Path(line.split()[0]).stem for line in told) == ["fifo", "folder", "link", "open"]
    found[0].close()


def test_a_file_of_another_user_is_reported_and_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, prices(1, 1))
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    told: list[str] = []
    assert list(orphans(folder, told.append)) == []
    assert len(told) == 1
    assert "another user" in told[0]


def test_an_unreadable_file_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, prices(1, 1))

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("os.open", denied)
    told: list[str] = []
    assert list(orphans(folder, told.append)) == []
    assert os.strerror(errno.EACCES) in told[0]


def test_what_a_process_left_that_died_while_making_its_file_is_removed(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "a-1.new").touch(0o600)
    assert taken(folder) == []
    assert list(folder.iterdir()) == []


# --- processes


def run_script(script: str) -> str:
    here = Path(__file__)
    load = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("tests_journal", {str(here)!r})
sys.modules["tests_journal"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
    done = subprocess.run([sys.executable, "-c", load + script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_child(work: Callable[[], None]) -> int:
    """Fork, do the work in the child, and return its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_leaves_its_parent_the_journal_and_makes_its_own(journal: Journal, folder: Path) -> None:
    journal.append(prices(1, 1))

    def child() -> None:
        with pytest.raises(JournalError, match="forked"):
            journal.append(prices(2, 1))
        journal.forget_after_fork()
        assert taken(folder) == []  # the parent's lock is still there
        own = Journal(folder, OTHER)
        own.append(prices(10, 1))

    assert in_child(child) == 0
    journal.append(prices(2, 1))
    assert ids(journal.path) == ["r1", "r2"]
    (orphan,) = taken(folder)
    with orphan:
        assert orphan.process == OTHER.id
        assert [number for number, _ in orphan.entries()] == [1]


def test_a_child_that_forgot_does_not_keep_a_dead_parents_lock(folder: Path) -> None:
    go_read, go_write = os.pipe()

    def parent() -> None:
        journal = Journal(folder, PROCESS)
        journal.append(prices(1, 1))
        if os.fork() == 0:  # it lives until this test closes the pipe
            os.close(go_write)
            journal.forget_after_fork()
            os.write(ready_write, b"x")
            os.read(go_read, 1)
            os._exit(0)
        os.read(ready_read, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    ready_read, ready_write = os.pipe()
    assert in_child(parent) == -signal.SIGKILL
    (orphan,) = taken(folder)
    orphan.close()
    for descriptor in (go_read, go_write, ready_read, ready_write):
        os.close(descriptor)


def test_a_child_forked_meanwhile_keeps_no_lock_of_what_its_parent_closes(journal: Journal, folder: Path) -> None:
    journal.append(prices(1, 1))
    written(folder, prices(1, 1), OTHER)
    (orphan,) = taken(folder)
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)  # so that it ends with this process, too
        os.read(go_read, 1)  # with copies of both descriptors
        os._exit(0)
    journal.close()
    orphan.close()
    both = taken(folder)
    assert len(both) == 2

    def child() -> None:  # closes its copies, and unlocks nothing
        for one in both:
            one.close()
        assert taken(folder) == []

    assert in_child(child) == 0
    for one in both:
        one.close()
    os.write(go_write, b"x")
    os.waitpid(pid, 0)
    os.close(go_read)
    os.close(go_write)


def take_all(folder: Path, barrier: Any, answer: Any) -> None:
    barrier.wait(60)
    found = list(orphans(folder, fail))
    answer.put([orphan.process for orphan in found])
    barrier.wait(60)  # all hold theirs until all have tried


def test_exactly_one_of_several_processes_gets_an_orphan(folder: Path) -> None:
    names = [f"{number:032x}" for number in range(30)]
    for name in names:
        written(folder, prices(1, 1), evolve(PROCESS, id=name))
    context = multiprocessing.get_context("fork")
    barrier, answer = context.Barrier(3), context.Queue()
    takers = [context.Process(target=take_all, args=(folder, barrier, answer)) for _ in range(3)]
    for taker in takers:
        taker.start()
    found = [answer.get(timeout=60) for _ in takers]
    for taker in takers:
        taker.join()
    assert sorted(name for some in found for name in some) == names


def test_a_file_that_another_process_removed_meanwhile_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(folder, prices(1, 1))
    real = journal_reading.lock

    def drained_meanwhile(descriptor: int) -> bool:
        path.unlink()
        return real(descriptor)

    monkeypatch.setattr(journal_reading, "lock", drained_meanwhile)
    assert taken(folder) == []


def append_for_ever(folder: Path, process: ProcessId, acknowledged: int) -> None:
    journal = Journal(folder, process)
    for number in range(1, 10**9):
        journal.append([*ENTRIES, PriceEntry(f"r{number}", 0.5)])
        os.write(acknowledged, b"%d\n" % number)


def test_every_append_that_returned_survives_kill_9(folder: Path) -> None:
    chance = random.Random(10)
    for trial in range(25):
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            append_for_ever(folder, evolve(PROCESS, id=f"{trial:032x}"), write_end)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as answers:
            lines = [answers.readline() for _ in range(chance.randrange(1, 40))]
            os.kill(pid, signal.SIGKILL)
            lines += answers.read().splitlines(keepends=True)
        os.waitpid(pid, 0)
        (orphan,) = taken(folder)
        with orphan:
            found = [entry.run_id for _, entry in orphan.entries() if isinstance(entry, PriceEntry)][1::2]
            assert found == [f"r{number}" for number in range(1, len(found) + 1)]
            assert len(found) >= max(int(line) for line in lines if line.endswith(b"\n"))
            assert orphan.remove()


def test_another_thread_reads_while_the_owner_appends(journal: Journal) -> None:
    seen: list[int] = []
    has_ended = threading.Event()

    def follow() -> None:
        while True:
            last_round = has_ended.is_set()
            for number, _ in read(journal.path, seen[-1] if seen else 0):
                seen.append(number)
            if last_round:
                return

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(300):
        journal.append(prices(number, 3))
    has_ended.set()
    thread.join()
    assert seen == list(range(1, 901))


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, victor_autotune_plugin.storage.journal, victor_autotune_plugin.storage.snapshot_file,"
        " victor_autotune_plugin.storage.stream_slots\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "alembic", "numpy", "scipy", "sqlite3", "psycopg", "victor"} & set(done.stdout.split())


def test_the_line_of_an_end_says_what_the_model_does_and_takes_numbers_of_libraries() -> None:
    run = evolve(RUN, plan_asked=TeamPlan(formation="parallel"), flow=RunFlow(), duration_seconds=2.0)
    line = json.loads(encode(EndEntry(run)))["run"]
    assert line | {"number": None} == json.loads(json.dumps(to_plain(evolve(run, number=None))))
    library = EndEntry(evolve(run, duration_seconds=np.float64(2.0)))
    assert json.loads(encode(library))["run"] == line
