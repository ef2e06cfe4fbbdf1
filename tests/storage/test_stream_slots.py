"""Slots of streams in a file: processes of one run each fill the same blocks, and no place is used twice."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin.storage import stream_slots
from victor_autotune_plugin.storage.stream_slots import FILE_NAME, FileSlot, StreamSlots

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PROCESS = ProcessId("a" * 32, "host", 1, 1.5)
BLOCK = 10


def identity(number: int) -> ProcessId:
    return evolve(PROCESS, id=f"{number:032x}")


def patient(seconds: float) -> None:
    """Wait long: a machine under load may stop the holder of the lock, which is not what these tests are about."""
    time.sleep(seconds * 100)


def forked(work: Callable[[], Any]) -> int:
    """Start a child that does the work and ends at once; return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def taken(slots: StreamSlots, number: int = 0, experiment: str = "e1", phase: str = "test") -> FileSlot:
    slot = slots.take_slot(experiment, phase, BLOCK, identity(number))
    assert slot is not None
    return slot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".victor"


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[[], StreamSlots]]:
    made: list[StreamSlots] = []

    def one() -> StreamSlots:
        made.append(StreamSlots(folder, patient))
        return made[-1]

    yield one
    for slots in made:
        slots.close()


def test_a_slot_that_was_given_back_goes_on_where_it_ended(make: Callable[[], StreamSlots]) -> None:
    first = taken(make_first := make(), 1)
    assert first.name.startswith("f")
    assert (first.next_index, first.end) == (0, BLOCK)
    assert make_first.give_back("e1", "test", first.name, 3)
    assert taken(make(), 2) == FileSlot(first.name, 3, BLOCK)


def test_the_lowest_free_slot_is_taken(make: Callable[[], StreamSlots]) -> None:
    owners = [make() for _ in range(4)]
    names = [taken(slots, number).name for number, slots in enumerate(owners)]
    assert len(set(names)) == 4
    for number in (2, 1):
        assert owners[number].give_back("e1", "test", names[number], 5)
    assert [taken(make(), number).name for number in (5, 6)] == names[1:3]
    assert taken(make(), 7).name not in names


def test_experiments_and_phases_have_their_own(make: Callable[[], StreamSlots]) -> None:
    slots = make()
    keys = [("e1", "test"), ("e1", "watch"), ("e2", "test")]
    names = [taken(slots, 1, *key).name for key in keys]
    assert len(set(names)) == 3
    for (experiment, phase), name in zip(keys, names, strict=True):
        assert slots.give_back(experiment, phase, name, 1)
        assert taken(make(), 2, experiment, phase).name == name


def test_stages_have_their_own_with_blocks_of_their_own(make: Callable[[], StreamSlots], folder: Path) -> None:
    slots = make()
    stages = {"": 2, "canary": 4, "reverify-1": 2, "reverify-2": 2}
    found = {}
    for stage, block in stages.items():
        slot = slots.take_slot("e1", "test", block, identity(1), stage)
        assert slot is not None
        found[stage] = slot
        assert (slot.next_index, slot.end) == (0, block)
        assert slot.name.rpartition(":")[0] == stage
        assert slots.reserve("e1", "test", slot.name, 2 * block)
        assert slots.give_back("e1", "test", slot.name, block + 1)
    for number, (stage, block) in enumerate(stages.items(), 2):
        again = make().take_slot("e1", "test", block, identity(number), stage)
        assert again == FileSlot(found[stage].name, block + 1, 2 * block)
    assert len({slot.name for slot in found.values()}) == len(stages)


def test_one_process_may_hold_several(make: Callable[[], StreamSlots]) -> None:
    slots = make()
    names = {taken(slots, 1).name for _ in range(3)}
    assert len(names) == 3
    assert slots.give_back("e1", "test", min(names), 1)
    assert taken(make(), 2).name == min(names)
    assert taken(make(), 3).name not in names


def test_it_is_given_back_once_and_by_its_owner(make: Callable[[], StreamSlots]) -> None:
    first, second = make(), make()
    slot = taken(first, 1)
    assert not second.give_back("e1", "test", slot.name, 1)
    assert first.give_back("e1", "test", slot.name, 1)
    assert taken(second, 2).name == slot.name
    assert not first.give_back("e1", "test", slot.name, 2)
    assert taken(make(), 3).name != slot.name


def test_an_owner_that_gave_everything_back_leaves_no_file(make: Callable[[], StreamSlots], folder: Path) -> None:
    slots = make()
    one, other = taken(slots, 1), taken(slots, 1)
    assert len(list((folder / "autotune-streams").iterdir())) == 1
    slots.give_back("e1", "test", one.name, 1)
    assert len(list((folder / "autotune-streams").iterdir())) == 1
    slots.give_back("e1", "test", other.name, 1)
    assert list((folder / "autotune-streams").iterdir()) == []


# --- dead owners


def killed(work: Callable[[], Any]) -> None:
    def child() -> None:
        work()
        os.kill(os.getpid(), signal.SIGKILL)

    assert status_of(forked(child)) == -signal.SIGKILL


def test_a_killed_owners_slot_goes_on_at_its_next_block(make: Callable[[], StreamSlots], folder: Path) -> None:
    killed(lambda: taken(make(), 1))
    slots = make()
    slot = taken(slots, 2)
    assert (slot.next_index, slot.end) == (BLOCK, 2 * BLOCK)
    assert [path.stem for path in (folder / "autotune-streams").iterdir()] == [identity(2).id]
    slots.give_back("e1", "test", slot.name, 13)
    killed(lambda: taken(make(), 3))
    assert taken(make(), 4) == FileSlot(slot.name, 2 * BLOCK, 3 * BLOCK)


def test_what_was_reserved_is_never_given_again(make: Callable[[], StreamSlots]) -> None:
    def use_much() -> None:
        slots = make()
        slot = taken(slots, 1)
        assert slots.reserve("e1", "test", slot.name, 7 * BLOCK)

    killed(use_much)
    assert taken(make(), 2).next_index == 7 * BLOCK


def test_a_living_owners_slot_is_not_taken(make: Callable[[], StreamSlots]) -> None:
    name = taken(make(), 1).name
    others: list[int] = []
    assert status_of(forked(lambda: others.append(1) if taken(make(), 2).name != name else os._exit(3))) == 0


def test_a_free_slot_is_taken_before_a_dead_ones(make: Callable[[], StreamSlots]) -> None:
    killed(lambda: taken(make(), 1))
    slots = make()
    first, second = taken(slots, 2), taken(slots, 2)
    assert first.next_index == BLOCK
    killed(lambda: taken(make(), 3))
    slots.give_back("e1", "test", second.name, 4)
    assert taken(make(), 4).next_index == 4


def test_without_the_file_of_a_living_owner_no_place_is_used_twice(
    make: Callable[[], StreamSlots], folder: Path
) -> None:
    slots = make()
    slot = taken(slots, 1)
    for path in (folder / "autotune-streams").iterdir():
        path.unlink()
    other = taken(make(), 2)
    assert other.name == slot.name
    assert other.next_index >= slot.end
    assert not slots.reserve("e1", "test", slot.name, 90)
    assert not slots.give_back("e1", "test", slot.name, 3)


def test_a_forked_child_does_not_keep_its_parents_slot(make: Callable[[], StreamSlots]) -> None:
    def parent() -> None:
        slots = make()
        slot = taken(slots, 1)
        read_end, write_end = os.pipe()

        def child() -> None:
            os.close(go_write)  # so that it ends with the test's process, too
            slots.forget_after_fork()
            assert not slots.give_back("e1", "test", slot.name, 1)
            own = slots.take_slot("e1", "test", BLOCK, identity(2))
            assert own is not None
            assert own.name != slot.name  # the parent lives
            assert not slots.give_back("e1", "test", slot.name, 1)
            os.write(write_end, b"x")
            os.read(go_read, 1)

        forked(child)
        assert os.read(read_end, 1) == b"x"

    go_read, go_write = os.pipe()
    killed(parent)
    assert taken(make(), 3).next_index == BLOCK
    os.write(go_write, b"x")
    os.close(go_read)
    os.close(go_write)


def test_a_child_forked_while_the_file_is_locked_does_not_lock_it_for_ever(folder: Path) -> None:
    go_read, go_write = os.pipe()
    pids: list[int] = []
    slots = StreamSlots(folder, patient)
    live = slots._live

    def fork_now(process: ProcessId) -> None:
        live(process)
        pids.append(forked(lambda: (os.close(go_write), os.read(go_read, 1))))

    slots._live = fork_now  # type: ignore[method-assign]
    slot = taken(slots, 1)
    assert slots.give_back("e1", "test", slot.name, 1)
    os.write(go_write, b"x")
    assert status_of(pids[0]) == 0
    os.close(go_read)
    os.close(go_write)


# --- many processes


def run_once(folder: Path, number: int, answers: int) -> None:
    slots = StreamSlots(folder, patient)
    slot = taken(slots, number)
    os.write(answers, f"{slot.name} {slot.next_index}\n".encode())
    assert slots.give_back("e1", "test", slot.name, slot.next_index + 1)


def test_processes_of_one_run_each_fill_the_same_blocks(folder: Path) -> None:
    at_once, all_of_them = 8, 200
    read_end, write_end = os.pipe()
    running = [forked(lambda number=number: run_once(folder, number, write_end)) for number in range(at_once)]
    for number in range(at_once, all_of_them):
        assert status_of(running.pop(0)) == 0
        running.append(forked(lambda number=number: run_once(folder, number, write_end)))
    assert [status_of(pid) for pid in running] == [0] * at_once
    os.close(write_end)
    with os.fdopen(read_end) as answers:
        places = [(name, int(index)) for name, index in map(str.split, answers)]
    assert len(places) == len(set(places)) == all_of_them
    pairs = Counter((name, index // 2) for name, index in places)
    assert sum(number == 2 for number in pairs.values()) >= (all_of_them - at_once) // 2


def test_no_place_is_used_twice_whatever_kills_the_owners(folder: Path) -> None:
    read_end, write_end = os.pipe()

    def live(number: int) -> None:
        slots = StreamSlots(folder, patient)
        slot = taken(slots, number)
        for index in range(slot.next_index, slot.next_index + number % 4):
            if index == slot.end:
                assert slots.reserve("e1", "test", slot.name, slot.end + BLOCK)
            os.write(write_end, f"{slot.name} {index}\n".encode())
        if number % 3:
            os.kill(os.getpid(), signal.SIGKILL)
        assert slots.give_back("e1", "test", slot.name, slot.next_index + number % 4)

    for first in range(0, 60, 6):
        for pid in [forked(lambda number=number: live(number)) for number in range(first, first + 6)]:
            assert status_of(pid) in (0, -signal.SIGKILL)
    os.close(write_end)
    with os.fdopen(read_end) as answers:
        places = answers.read().splitlines()
    assert len(places) == len(set(places)) == sum(number % 4 for number in range(60))


# --- the file


def test_it_gives_up_soon_when_the_file_stays_locked(make: Callable[[], StreamSlots], folder: Path) -> None:
    waits: list[float] = []
    slots = StreamSlots(folder, waits.append)
    slot = taken(slots, 1)
    descriptor = os.open(folder / FILE_NAME, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert slots.take_slot("e1", "test", BLOCK, identity(1)) is None
    assert sum(waits) <= 0.05
    assert not slots.reserve("e1", "test", slot.name, 100)
    assert not slots.give_back("e1", "test", slot.name, 1)
    assert not slots.keep_only(frozenset())
    os.close(descriptor)
    assert slots.give_back("e1", "test", slot.name, 1)


def test_it_goes_on_when_the_file_is_free_again(folder: Path) -> None:
    descriptor: list[int] = []
    slots = StreamSlots(folder, lambda _: os.close(descriptor.pop()))
    slot = taken(slots, 1)
    descriptor.append(os.open(folder / FILE_NAME, os.O_RDWR))
    fcntl.flock(descriptor[0], fcntl.LOCK_EX)
    assert slots.give_back("e1", "test", slot.name, 1)


def test_a_damaged_file_is_started_again_with_other_names(make: Callable[[], StreamSlots], folder: Path) -> None:
    slots = make()
    slot = taken(slots, 1)
    path = folder / FILE_NAME
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [b"{}", os.urandom(1000), stream_slots._HEAD % (0, 0)]
    for data in damaged:
        path.write_bytes(data)
        assert taken(make(), 2).name != slot.name
        path.write_bytes(data)
        assert not slots.give_back("e1", "test", slot.name, 1)
        slots._held.add(("e1", "test", slot.name))


def test_what_a_longer_text_left_behind_is_ignored(make: Callable[[], StreamSlots], folder: Path) -> None:
    slots = make()
    slot = taken(slots, 1)
    with (folder / FILE_NAME).open("ab") as file:
        file.write(b"rest of a longer text")
    assert slots.give_back("e1", "test", slot.name, 1)
    assert taken(make(), 2) == FileSlot(slot.name, 1, BLOCK)


def test_slots_of_experiments_that_ended_are_dropped(make: Callable[[], StreamSlots], folder: Path) -> None:
    slots = make()
    ended, still_open = taken(slots, 1, "e1"), taken(slots, 1, "e2")
    killed(lambda: taken(make(), 2, "e1"))
    assert slots.keep_only(frozenset({"e2"}))
    assert b'"e1"' not in (folder / FILE_NAME).read_bytes()
    assert [path.stem for path in (folder / "autotune-streams").iterdir()] == [identity(1).id]
    assert not slots.give_back("e1", "test", ended.name, 1)
    assert slots.give_back("e2", "test", still_open.name, 1)


def test_a_folder_that_can_not_be_written_to_has_no_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    slots = StreamSlots(tmp_path / "file")
    assert slots.take_slot("e1", "test", BLOCK, PROCESS) is None
    assert not slots.keep_only(frozenset())

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    assert StreamSlots(tmp_path).take_slot("e1", "test", BLOCK, PROCESS) is None


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "open"])
def test_what_is_planted_there_is_neither_followed_nor_waited_for(folder: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "precious").write_text("precious")
    folder.mkdir()
    path = folder / FILE_NAME
    if kind == "link":
        path.symlink_to(tmp_path / "precious")
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text("open to others")
        path.chmod(0o666)
    slots = StreamSlots(folder)
    slot = slots.take_slot("e1", "test", BLOCK, PROCESS)
    assert (slot is None) == (kind == "folder")
    if kind != "folder":
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert (tmp_path / "precious").read_text() == "precious"
    slots.close()


def test_a_link_in_place_of_the_owners_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    (folder / "autotune-streams").symlink_to(tmp_path / "elsewhere")
    assert StreamSlots(folder).take_slot("e1", "test", BLOCK, PROCESS) is None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_only_this_user_may_use_the_files(folder: Path) -> None:
    before = os.umask(0)
    try:
        slots = StreamSlots(folder)
        taken(slots, 1)
    finally:
        os.umask(before)
    files = [folder / FILE_NAME, *(folder / "autotune-streams").iterdir()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 2
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "autotune-streams")] == [0o700] * 2
    slots.close()
