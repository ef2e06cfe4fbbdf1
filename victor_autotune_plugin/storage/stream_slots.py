"""Streams of arms that processes take before they reach the store: slots in a file beside the snapshot.

A process takes the lowest free slot and gives it back with the place that it came to, so a hundred processes of one run
each fill the same blocks as one process of a hundred runs.

Places are reserved before they are used: up to the end of a block when the slot is taken, and more with `reserve`. A
slot whose owner died goes on after what was reserved. So no place is used twice, whatever an owner did in its last
moments, and even where a living one is taken for dead.

Whether an owner lives says the `flock` of a small file that it holds. The kernel releases it when the process dies,
also by `kill -9` and a reboot, and it is the same in every PID namespace that has the folder mounted. A PID and a start
time are neither: in a container every process may have PID 1, and another container's processes are not seen.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .._model.assignment import stream_of
from .._model.converter import from_plain
from .._model.process import ProcessId
from .private_files import NotPrivateError, create, is_at, lock, make_folder, open_existing, unlock, write_all

FILE_NAME: Final = "autotune-streams.json"
"""Name of the file in Victor's folder of a project."""

OWNERS_NAME: Final = "autotune-streams"
"""Name of the folder beside it that has a file for each process that holds slots."""

_HEAD: Final = b"autotune-streams 1 %08x %08x\n"  # checksum and length: what a longer text left after it is ignored
_HEAD_LENGTH: Final = len(_HEAD % (0, 0))
_MOST_BYTES: Final = 4 * 2**20
_MOST_SLOTS: Final = 1000
_MOST_ASKED: Final = 16
_LARGEST_INDEX: Final = 2**30
_WAITS: Final = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.016)
"""Seconds between two tries to lock the file: 47.5 ms in all."""


@frozen
class FileSlot:
    """A stream that this process owns until it gives it back.

    Attributes:
        name: Full name of the stream: its stage, if any, then `f` and random hex digits, unique among hosts.
        next_index: The first place that is free.
        end: Places from here on must be reserved before they are used.
    """

    name: str
    next_index: int
    end: int


class _Kept:
    """A slot in the file; `next_index` is after what its owner may have used."""

    __slots__ = ("name", "next_index", "owner")

    def __init__(self, name: str, next_index: int = 0, owner: str | None = None) -> None:
        self.name = name
        self.next_index = next_index
        self.owner = owner


_Slots = dict[str, dict[str, list[_Kept]]]
"""By experiment and phase."""


class StreamSlots:
    """The slots of a folder. Use it from one thread.

    No method raises: where the file can't be used or stays locked, the answer is None or False, and the caller takes
    a fresh stream.

    Args:
        folder: Victor's folder of the project.
        wait: Waits so many seconds between two tries to lock the file.
        random_bytes: Returns so many random bytes.
    """

    def __init__(
        self,
        folder: Path,
        wait: Callable[[float], None] = time.sleep,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.path = folder / FILE_NAME
        self._owners = folder / OWNERS_NAME
        self._wait = wait
        self._random_bytes = random_bytes
        self._process = ""
        self._pid = os.getpid()
        self._held: set[tuple[str, str, str]] = set()
        self._descriptor: int | None = None

    def take_slot(
        self, experiment_id: str, phase: str, block: int, process: ProcessId, stage: str = ""
    ) -> FileSlot | None:
        """Take the lowest free slot, else one whose owner died, else a new one.

        Args:
            experiment_id: An open experiment.
            phase: Its phase.
            block: Length of a block of arms.
            process: This process, always the same until `forget_after_fork`.
            stage: The stage whose slots they are; empty for the main one.

        Returns:
            The slot, with places reserved up to the end of a block; None when it has to be done without.
        """
        with suppress(OSError), self._locked() as file:
            if file is None:
                return None
            slots = file.slots.setdefault(experiment_id, {}).setdefault(phase, [])
            of_stage = [kept for kept in slots if kept.name.rpartition(":")[0] == stage]
            kept = self._free(of_stage)
            if kept is None:
                if len(of_stage) >= _MOST_SLOTS:
                    return None
                kept = _Kept(stream_of(stage, f"f{self._random_bytes(8).hex()}"))
                slots.append(kept)
            self._live(process)
            first = kept.next_index
            kept.owner, kept.next_index = process.id, (first // block + 1) * block
            file.write()
            self._held.add((experiment_id, phase, kept.name))
            return FileSlot(kept.name, first, kept.next_index)
        return None

    def reserve(self, experiment_id: str, phase: str, name: str, end: int) -> bool:
        """Reserve more places of a slot that this process holds, up to `end`; return whether they may be used."""
        return self._change(experiment_id, phase, name, end, self._process)

    def give_back(self, experiment_id: str, phase: str, name: str, next_index: int) -> bool:
        """Give a slot back.

        Args:
            experiment_id: Its experiment.
            phase: Its phase.
            name: Its name.
            next_index: The first place that this process did not use.

        Returns:
            Whether it is free at that place now. Otherwise it goes on at a later block when this process has ended.
        """
        changed = self._change(experiment_id, phase, name, next_index, None)
        if changed:
            self._held.discard((experiment_id, phase, name))
        return changed

    def keep_only(self, experiment_ids: frozenset[str]) -> bool:
        """Drop the slots of all other experiments, which are not open any more; return whether that was possible."""
        with suppress(OSError), self._locked() as file:
            if file is None:
                return False
            kept = {key: phases for key, phases in file.slots.items() if key in experiment_ids}
            if len(kept) < len(file.slots):
                file.slots = kept
                file.write()
                self._held = {key for key in self._held if key[0] in experiment_ids}
                self._remove_dead()
            return True
        return False

    def close(self) -> None:
        """Stop holding slots. What was not given back goes on at its next block."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                if self._pid == os.getpid() and is_at(descriptor, self._own_path()):
                    self._own_path().unlink()
            os.close(descriptor)
        self._held.clear()

    def forget_after_fork(self) -> None:
        """Close a forked child's copy of the descriptor, which would keep its parent alive for others."""
        self.close()
        self._pid = os.getpid()

    def _change(self, experiment_id: str, phase: str, name: str, next_index: int, owner: str | None) -> bool:
        if (experiment_id, phase, name) not in self._held:
            return False
        with suppress(OSError), self._locked() as file:
            if file is None:
                return False
            for kept in file.slots.get(experiment_id, {}).get(phase, ()):
                if kept.name == name and kept.owner == self._process:
                    kept.next_index, kept.owner = next_index, owner
                    file.write()
                    if owner is None and self._held == {(experiment_id, phase, name)}:
                        self.close()
                    return True
        return False

    def _free(self, slots: list[_Kept]) -> _Kept | None:
        usable = [kept for kept in slots if kept.next_index < _LARGEST_INDEX]
        free = next((kept for kept in usable if kept.owner is None), None)
        if free is not None:
            return free
        # Asking takes microseconds each, so not everyone is asked; those that are differ by chance.
        others = [kept for kept in usable if kept.owner != self._process]
        first = int.from_bytes(self._random_bytes(2)) % max(1, len(others))
        asked = (others[first:] + others[:first])[:_MOST_ASKED]
        return next((kept for kept in asked if self._is_dead(str(kept.owner))), None)

    def _own_path(self) -> Path:
        return self._owners / f"{self._process}.lock"

    def _live(self, process: ProcessId) -> None:
        """Show that this process lives. Called with the slots locked, as `_is_dead` is, so they never meet."""
        self._process = process.id
        if self._descriptor is not None:
            if is_at(self._descriptor, self._own_path()):
                return
            os.close(self._descriptor)
            self._descriptor = None
        with suppress(FileNotFoundError):
            self._own_path().unlink()  # of an earlier object of this process
        descriptor = create(self._own_path(), os.O_RDWR)
        try:
            if not lock(descriptor):
                raise BlockingIOError("the new file of this process is locked")
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _is_dead(self, owner: str) -> bool:
        path = self._owners / f"{owner}.lock"
        if path.parent != self._owners:
            return False
        try:
            descriptor = open_existing(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            if not lock(descriptor):
                return False
            path.unlink()
        finally:
            os.close(descriptor)
        return True

    def _remove_dead(self) -> None:
        for path in self._owners.glob("*.lock"):
            if path.stem != self._process:
                with suppress(OSError):
                    self._is_dead(path.stem)

    @contextmanager
    def _locked(self) -> Iterator[_File | None]:
        make_folder(self._owners)  # and the one above it
        try:
            descriptor = open_existing(self.path, os.O_RDWR)
        except FileNotFoundError:
            descriptor = self._created()
        except NotPrivateError:
            self.path.unlink()
            descriptor = self._created()
        is_locked = False
        try:
            is_locked = self._lock(descriptor)
            yield _File(descriptor) if is_locked else None
        finally:
            if is_locked:
                unlock(descriptor)  # another thread may have forked a child, which has a copy for as long as it lives
            os.close(descriptor)

    def _created(self) -> int:
        try:
            return create(self.path, os.O_RDWR)
        except FileExistsError:  # another process was quicker
            return open_existing(self.path, os.O_RDWR)

    def _lock(self, descriptor: int) -> bool:
        for seconds in _WAITS:
            if lock(descriptor):
                return True
            self._wait(seconds)
        return lock(descriptor)


class _File:
    """The file, locked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.slots = _slots(os.pread(descriptor, _MOST_BYTES, 0))

    def write(self) -> None:
        body = json.dumps(_compact(self.slots), separators=(",", ":")).encode()
        data = _HEAD % (zlib.crc32(body), len(body)) + body
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        write_all(self._descriptor, data)
        os.ftruncate(self._descriptor, len(data))


def _compact(slots: _Slots) -> Mapping[str, Any]:
    return {
        experiment_id: {
            phase: [[kept.name, kept.next_index, kept.owner] for kept in of_phase] for phase, of_phase in phases.items()
        }
        for experiment_id, phases in slots.items()
    }


def _slots(data: bytes) -> _Slots:
    """Read the slots; a damaged file holds none. Their owners go on with what they took: names never come again."""
    body = data[_HEAD_LENGTH:]
    try:
        length = int(data[_HEAD_LENGTH - 9 : _HEAD_LENGTH - 1], 16)
        body = body[:length]
        if len(body) != length or data[:_HEAD_LENGTH] != _HEAD % (zlib.crc32(body), length):
            return {}
        read = from_plain(dict[str, dict[str, list[tuple[str, int, str | None]]]], json.loads(body))
    except (ValueError, RecursionError):
        return {}
    return {
        experiment_id: {phase: [_Kept(*kept) for kept in of_phase] for phase, of_phase in phases.items()}
        for experiment_id, phases in read.items()
    }
