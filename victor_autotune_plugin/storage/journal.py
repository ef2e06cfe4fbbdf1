"""Where runs wait for the store: an append-only file of each process, drained by it or by a later one.

A line begins with a newline, so what a killed process or a full disk left of a line ends where the next one begins. The
first line says the format and whose journal it is.

The file's `flock` says that its owner lives. The file must be on a local disk: a network file system may have no such
lock, or lose it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .._model.process import ProcessId
from .journal_entries import (
    EndEntry,
    Entry,
    FlowEntry,
    JournalError,
    JournalFullError,
    PriceEntry,
    ScoreEntry,
    StartEntry,
    encode,
    first_text,
    line_of,
)
from .journal_reading import SUFFIX, UNFINISHED, JournalReading, OrphanJournal, orphans, read
from .private_files import create, is_at, lock, make_folder, release, why, write_all

__all__ = [
    "FOLDER_NAME",
    "MOST_BYTES",
    "EndEntry",
    "Entry",
    "FlowEntry",
    "Journal",
    "JournalError",
    "JournalFullError",
    "JournalReading",
    "OrphanJournal",
    "PriceEntry",
    "ScoreEntry",
    "StartEntry",
    "encode",
    "orphans",
    "read",
]

FOLDER_NAME: Final = "autotune-journal"
"""Name of the journals' folder in Victor's folder of a project."""

MOST_BYTES: Final = 64 * 2**20
"""Bound of a process's journal unless a setting says otherwise."""

_NEARLY_FULL: Final = 0.8
_TRIES: Final = 3


class Journal:
    """The journal of this process. Use it from one thread; others may read the file meanwhile.

    The file is made by the first `append`, so a process whose store answers leaves none.

    Attributes:
        path: The file.
        last_line: Number of the last line that an `append` returned.

    Args:
        folder: Folder of the journals, on a local disk; created with mode 0700. A symbolic link is refused.
        process: This process; a forked child needs an identity and a journal of its own.
        most_bytes: Bound of the file.
        fsync: Whether an append waits until the disk has it, so that it survives a power failure.
    """

    def __init__(self, folder: Path, process: ProcessId, *, most_bytes: int = MOST_BYTES, fsync: bool = False) -> None:
        self.path = folder / f"{process.id}{SUFFIX}"
        self.last_line = 0
        self._number = 0
        self._process = process
        self._most_bytes = most_bytes
        self._fsync = fsync
        self._descriptor: int | None = None
        self._pid = os.getpid()
        self._warned = False

    @property
    def size(self) -> int:
        """Bytes in the file now; 0 before it is made."""
        return 0 if self._descriptor is None else os.fstat(self._descriptor).st_size

    def append(self, records: Sequence[Entry | bytes]) -> int:
        """Append entries, all or none, in one write.

        Args:
            records: Entries, or what `encode` made of them.

        Returns:
            Number of the last line. Numbers grow for the life of the process, also over files, and may have gaps.

        Raises:
            JournalFullError: The file would cross its bound. Nothing was written.
            JournalError: They could not be written; readers pass over what is there of them.
            StoreError: An entry has a value that could not be read again.
        """
        texts = [record if isinstance(record, bytes) else encode(record) for record in records]
        if not texts:
            return self.last_line
        if self._pid != os.getpid():
            raise JournalError("the journal belongs to the process that this one was forked from", where=str(self.path))
        try:
            descriptor = self._opened()
            size = os.fstat(descriptor).st_size
        except OSError as error:
            raise self._error(error) from error
        lines = b"".join(line_of(number, text) for number, text in enumerate(texts, self._number + 1))
        if size + len(lines) > self._most_bytes:
            raise JournalFullError(
                f"the journal is full: {size} of {self._most_bytes} bytes",
                where=str(self.path),
                hint="Make the store answer again, or raise the bound.",
            )
        self._number += len(texts)  # also when writing fails: some of the lines may be there under these numbers
        try:
            write_all(descriptor, lines)
            if self._fsync:
                _to_disk(descriptor)
        except OSError as error:
            raise self._error(error) from error  # what is there stays: readers rely on a file that only grows
        self.last_line = self._number
        return self.last_line

    def warns_of_bound(self) -> bool:
        """Return True once for each file: when 80 % of its bound are used."""
        if self._warned or self.size < _NEARLY_FULL * self._most_bytes:
            return False
        self._warned = True
        return True

    def remove(self, drained: int) -> bool:
        """Remove the file when everything in it is in the store; the next append makes a new one.

        Args:
            drained: Number of the last line that is in the store.

        Returns:
            Whether the file is gone.

        Raises:
            JournalError: It can't be removed.
        """
        if self._descriptor is None:
            return True
        if drained < self.last_line:
            return False
        try:
            if is_at(self._descriptor, self.path):
                self.path.unlink()
        except OSError as error:
            raise self._error(error) from error
        self.close()
        return True

    def close(self) -> None:
        """Close the file, so that another process may drain it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            release(descriptor, self._pid)
        self._warned = False

    def forget_after_fork(self) -> None:
        """Close a forked child's copy of the descriptor, which would keep the lock when the parent dies.

        The parent keeps its lock: closing a copy releases nothing while another one is open.
        """
        self.close()

    def _opened(self) -> int:
        if self._descriptor is not None:
            if is_at(self._descriptor, self.path):
                return self._descriptor
            self.close()  # the folder was emptied; what is appended to a file without a name is lost
        folder = self.path.parent
        make_folder(folder)
        for tries_left in reversed(range(_TRIES)):
            try:
                self._descriptor = self._made(folder)
                return self._descriptor
            except FileNotFoundError:  # another process took it for a dead one's, before it was locked
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def _made(self, folder: Path) -> int:
        # Locked and begun under another name: a file that has its name is never without owner or first line.
        unfinished = folder / f"{self._process.id}-{os.urandom(4).hex()}{UNFINISHED}"
        descriptor = create(unfinished, os.O_RDWR | os.O_APPEND)
        try:
            if not lock(descriptor):
                raise FileNotFoundError("another process removed it")
            write_all(descriptor, line_of(self._number, first_text(self._process)))
            unfinished.rename(self.path)
            if self._fsync:
                _folder_to_disk(folder)
        except OSError:
            os.close(descriptor)
            unfinished.unlink(missing_ok=True)
            raise
        return descriptor

    def _error(self, error: OSError) -> JournalError:
        hint = "Make the folder one on a local disk that you may write to and that has space left."
        return JournalError(f"the journal can't be written: {why(error)}", where=str(self.path), hint=hint)


def _to_disk(descriptor: int) -> None:
    import fcntl

    full = getattr(fcntl, "F_FULLFSYNC", None)  # on macOS, fsync leaves it in the disk's own memory
    if full is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, full)


def _folder_to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
