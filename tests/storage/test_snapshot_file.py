"""The snapshot file: what was saved is loaded, or nothing is."""

from __future__ import annotations

import errno
import os
import stat
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._model.experiment import Experiment, TeamState
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.policy import Policy, WatchPolicy
from victor_autotune_plugin._model.score import Gate
from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage import default_url, snapshot_file
from victor_autotune_plugin.storage.snapshot_file import FILE_NAME, SavedSnapshot, SnapshotFile, folder_of
from victor_autotune_testing.stored import observation

SPEC = TeamSpec("release — été", "review", "sequential", [MemberSpec("lead", "a secret role")])
PLAN = TeamPlan("parallel", ("critic", "lead"), 12, {"lead": 8, "critic": 4}, 0.1 + 0.2)
GATES = (Gate("rubric", 0.1 + 0.2, "d1"), Gate("tests"))
TEAM = TeamState("release — été", "review", 3, PLAN, "f" * 16, None, "e1", True, 1.5e9, "e0", 41, gates=GATES)
EXPERIMENT = Experiment(
    id="e1",
    workflow="release — été",
    team_id="review",
    fingerprint="f" * 16,
    strategy="formation",
    description="run side by side",
    control=TeamPlan(),
    treatment=PLAN,
    seed="seed",
    assignment_version="v2",
    policy=Policy(),
    watch_policy=WatchPolicy(),
    status="canary",
    promotion="probation",
    control_id="e0",
    created_at=1_700_000_000.123456,
    verdict={"p": float("inf"), "why": "not yet"},
    task_effects={"task-1": 0.1 + 0.2},
    gates=GATES,
    decided_order=7,
)
SAVED = SavedSnapshot("s" * 32, 42, 1_700_000_001.5, (TEAM, TeamState("w", "t")), (EXPERIMENT,))


def save(file: SnapshotFile, saved: SavedSnapshot = SAVED) -> None:
    file.save(saved.store_id, saved.revision, saved.taken_at, saved.teams, saved.experiments)


@pytest.fixture
def file(tmp_path: Path) -> SnapshotFile:
    return SnapshotFile(tmp_path / ".victor")


def test_what_was_saved_is_loaded(file: SnapshotFile) -> None:
    save(file)
    assert file.load() == SAVED
    save(file, evolve(SAVED, revision=43, teams=(), experiments=()))
    assert file.load() == SavedSnapshot("s" * 32, 43, 1_700_000_001.5, (), ())


def test_what_has_not_changed_is_not_encoded_again(file: SnapshotFile, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, encoded = snapshot_file._encode, []
    monkeypatch.setattr(snapshot_file, "_encode", lambda value: encoded.append(value) or encode(value))
    save(file)
    assert len(encoded) == 4  # two teams, an experiment, and the head
    encoded.clear()
    later = evolve(SAVED, revision=43, teams=(evolve(TEAM, version=4), *SAVED.teams[1:]))
    save(file, later)
    assert len(encoded) == 2
    assert file.load() == later
    save(file, evolve(later, experiments=()))
    assert file.load() == evolve(later, experiments=())
    save(file, later)
    assert file.load() == later


def test_the_spec_of_a_team_is_left_out(file: SnapshotFile) -> None:
    save(file, evolve(SAVED, teams=(evolve(TEAM, spec=SPEC),)))
    assert b"secret" not in file.path.read_bytes()
    loaded = file.load()
    assert loaded is not None
    assert loaded.teams == (TEAM,)


def test_the_runs_that_a_live_plan_is_compared_with_are_left_out(file: SnapshotFile) -> None:
    live = evolve(EXPERIMENT, status="proven", reference=(observation("a run"),))
    save(file, evolve(SAVED, experiments=(live,)))
    assert b"a run" not in file.path.read_bytes()
    loaded = file.load()
    assert loaded is not None
    assert loaded.experiments == (evolve(live, reference=()),)


@settings(max_examples=50)
@given(st.text(), st.integers(0, 2**62), st.floats(0, 1e12), st.lists(st.tuples(st.text(), st.text())))
def test_any_snapshot_survives(
    tmp_path_factory: pytest.TempPathFactory, store_id: str, revision: int, at: float, keys: list[tuple[str, str]]
) -> None:
    file = SnapshotFile(tmp_path_factory.mktemp("snapshot"))
    saved = SavedSnapshot(store_id, revision, at, tuple(TeamState(*key) for key in keys), (EXPERIMENT,))
    save(file, saved)
    assert file.load() == saved


def test_the_folder_is_that_of_the_projects_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", ".other", "../up"):
        monkeypatch.setenv("VICTOR_DIR_NAME", name)
        assert default_url(tmp_path) == f"sqlite:///{folder_of(tmp_path).as_posix()}/autotune.db"


# --- what is not a snapshot


def test_without_a_file_there_is_no_snapshot(file: SnapshotFile) -> None:
    assert file.load() is None
    assert not file.path.parent.exists()


def test_a_torn_file_is_no_snapshot(file: SnapshotFile) -> None:
    save(file)
    whole = file.path.read_bytes()
    for length in range(len(whole)):
        os.truncate(file.path, 0)
        file.path.write_bytes(whole[:length])
        assert file.load() is None


def test_a_changed_byte_is_noticed(file: SnapshotFile) -> None:
    save(file)
    whole = file.path.read_bytes()
    for at in range(len(whole)):
        file.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert file.load() is None


def with_body(file: SnapshotFile, body: bytes) -> None:
    save(file)
    file.path.write_bytes(snapshot_file._HEAD % zlib.crc32(body) + body + snapshot_file._TAIL)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"store_id":1,"revision":1,"taken_at":1,"teams":[],"experiments":[]}',
        b'{"store_id":"s","revision":' + b"9" * 6000 + b',"taken_at":1,"teams":[],"experiments":[]}',
        b'{"store_id":"s","revision":1,"taken_at":1,"teams":[{"workflow":"w"}],"experiments":[]}',
        b"\xff",
    ],
)
def test_other_data_with_a_right_checksum_is_no_snapshot(file: SnapshotFile, body: bytes) -> None:
    with_body(file, body)
    assert file.load() is None


@pytest.mark.parametrize("other", [b'"format":1', b'"format":3'], ids=["earlier", "later"])
def test_another_format_is_no_snapshot(file: SnapshotFile, other: bytes) -> None:
    save(file)
    file.path.write_bytes(file.path.read_bytes().replace(b'"format":2', other, 1))
    assert file.load() is None


def test_one_with_a_state_that_nobody_knows_is_no_snapshot(file: SnapshotFile) -> None:
    save(file, evolve(SAVED, experiments=(evolve(EXPERIMENT, status="watched"),)))
    assert file.path.exists()
    assert file.load() is None


def test_what_a_newer_version_adds_is_passed_over(file: SnapshotFile) -> None:
    with_body(file, b'{"store_id":"s","revision":1,"taken_at":1,"teams":[],"experiments":[],"mood":"fine"}')
    assert file.load() == SavedSnapshot("s", 1, 1.0, (), ())


def test_a_huge_file_is_not_read(file: SnapshotFile, monkeypatch: pytest.MonkeyPatch) -> None:
    save(file)
    os.truncate(file.path, 300 * 2**20)
    reads: list[int] = []
    monkeypatch.setattr(os, "read", lambda _, size: reads.append(size) or b"")
    assert file.load() is None
    assert reads == []


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o602, 0o666])
def test_a_file_that_others_may_use_is_no_snapshot(file: SnapshotFile, mode: int) -> None:
    save(file)
    file.path.chmod(mode)
    assert file.load() is None
    save(file)
    assert file.load() == SAVED


def test_a_file_of_another_user_is_no_snapshot(file: SnapshotFile, monkeypatch: pytest.MonkeyPatch) -> None:
    save(file)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert file.load() is None


def plant(kind: str, path: Path, elsewhere: Path) -> None:
    path.parent.mkdir()
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_planted_there_is_neither_followed_nor_waited_for(
    file: SnapshotFile, tmp_path: Path, kind: str
) -> None:
    other = SnapshotFile(tmp_path / "elsewhere")
    save(other)
    before = other.path.read_bytes()
    plant(kind, file.path, other.path)
    assert file.load() is None
    if kind == "folder":
        with pytest.raises(StoreUnavailableError, match="can't be saved"):
            save(file)
    else:
        save(file, evolve(SAVED, revision=99))
        assert file.load() == evolve(SAVED, revision=99)
    assert other.path.read_bytes() == before
    assert [path.name for path in file.path.parent.iterdir()] == [FILE_NAME]


# --- saving


@pytest.mark.parametrize("call", ["write", "rename"])
def test_a_failed_save_leaves_the_old_one(file: SnapshotFile, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    save(file)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "write", full) if call == "write" else (Path, "rename", full)))
        with pytest.raises(StoreUnavailableError, match=os.strerror(errno.ENOSPC)) as caught:
            save(file, evolve(SAVED, revision=43))
    assert caught.value.hint
    assert file.load() == SAVED
    assert [path.name for path in file.path.parent.iterdir()] == [FILE_NAME]


def test_a_snapshot_that_could_not_be_loaded_is_not_saved(file: SnapshotFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "_MOST_BYTES", 1000)
    with pytest.raises(StoreUnavailableError, match="more than 1000"):
        save(file)


def test_only_this_user_may_use_it(file: SnapshotFile) -> None:
    before = os.umask(0)
    try:
        save(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_what_a_killed_process_left_is_removed_and_what_another_is_writing_is_not(file: SnapshotFile) -> None:
    save(file)
    old, new = (file.path.with_name(f"{FILE_NAME}.{name}.new") for name in ("old", "new"))
    old.touch()
    new.touch()
    at = new.stat().st_mtime - 3600
    os.utime(old, (at, at))
    save(file)
    assert sorted(path.name for path in file.path.parent.iterdir()) == [FILE_NAME, new.name]


def test_others_may_run_between_two_teams(file: SnapshotFile) -> None:
    pauses: list[None] = []
    file.save("s", 1, 2.0, [TEAM] * 5, [EXPERIMENT] * 3, pause=lambda: pauses.append(None))
    assert len(pauses) == 8


def test_a_reader_sees_a_whole_snapshot_while_several_write(file: SnapshotFile) -> None:
    save(file)
    teams = [[TeamState("w", f"{writer}-{number}") for number in range(50 * writer)] for writer in (1, 2)]
    has_ended = threading.Event()

    def write(own: list[TeamState]) -> None:
        while not has_ended.is_set():
            file.save("s", len(own), 2.0, own, [])

    writers = [threading.Thread(target=write, args=(own,)) for own in teams]
    for writer in writers:
        writer.start()
    try:
        for _ in range(100):
            loaded = file.load()
            assert loaded is not None
            assert loaded == SAVED or loaded.revision == len(loaded.teams)
    finally:
        has_ended.set()
        for writer in writers:
            writer.join()
