"""Reading a journal: bit by bit, whatever a killed process or a full disk left in it, and once its owner is gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from .._model.process import ProcessId
from .journal_entries import LONGEST_LINE, Entry, JournalError, NewerEntryError, checked, decode
from .private_files import NotPrivateError, is_at, lock, open_existing, release, why

SUFFIX: Final = ".journal"
"""Of the name of a journal."""

UNFINISHED: Final = ".new"
"""Of the name of a file that becomes a journal."""

_CHUNK: Final = 2**18


class JournalReading(Iterator[tuple[int, Entry]]):
    """The entries of a journal, read in chunks: `(line number, entry)`, numbers growing.

    It ends at the first line that only a newer version understands, so that nothing after it is drained before it.

    Attributes:
        process: Whose journal it is, or None when its first line is damaged.
        damaged: Lines that were passed over: torn, garbage, too long, or of impossible values.
        is_newer: Whether it holds something that only a newer version understands.
        has_ended: Whether everything was read.
        size: Bytes read so far.
    """

    def __init__(self, path: Path, after_line: int = 0) -> None:
        self.process: ProcessId | None = None
        self.damaged = 0
        self.is_newer = False
        self.has_ended = False
        self.size = 0
        self._path = path
        self._after_line = after_line
        self._last = 0
        self._entries = self._read()

    def __next__(self) -> tuple[int, Entry]:
        return next(self._entries)

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left in it that could be read, so it may be removed when its entries are stored."""
        is_journal = self.process is not None or self._last > 0 or self.damaged == 0
        return self.has_ended and not self.is_newer and is_journal

    def close(self) -> None:
        """Close the file before the end."""
        self._entries.close()

    def _read(self) -> Generator[tuple[int, Entry]]:
        try:
            descriptor = open_existing(self._path)
        except FileNotFoundError:
            self.has_ended = True
            return
        except OSError as error:
            raise JournalError(f"the journal can't be read: {why(error)}", where=str(self._path)) from error
        try:
            for line in self._lines(descriptor):
                found = self._entry(line)
                if self.is_newer:
                    return
                if found is not None:
                    yield found
            self.has_ended = True
        except OSError as error:
            raise JournalError(f"the journal can't be read: {why(error)}", where=str(self._path)) from error
        finally:
            os.close(descriptor)

    def _lines(self, descriptor: int) -> Iterator[bytes | None]:
        """Yield what is between newlines, None for what is too long to be a line."""
        held = bytearray()
        is_too_long = False
        while chunk := os.pread(descriptor, _CHUNK, self.size):
            self.size += len(chunk)
            pieces = chunk.split(b"\n")
            for piece in pieces[:-1]:
                held += piece
                yield None if is_too_long else bytes(held)
                held.clear()
                is_too_long = False
            held += pieces[-1]
            if len(held) > LONGEST_LINE + _CHUNK:
                is_too_long = True
                held.clear()
        if held or is_too_long:
            yield None if is_too_long else bytes(held)

    def _entry(self, line: bytes | None) -> tuple[int, Entry] | None:
        if line == b"":
            return None
        number, text = checked(line)
        if number < 0 or (self.process is not None and number <= self._last):
            self.damaged += 1
            return None
        if self.process is not None and number <= self._after_line:
            self._last = number
            return None
        try:
            said = decode(text)
        except NewerEntryError:
            self.is_newer = True
            return None
        except ValueError:
            self.damaged += 1
            said = None
        if isinstance(said, ProcessId):
            self.process = said
            return None
        self._last = number
        return (number, said) if said is not None and number > self._after_line else None


def read(path: Path, after_line: int = 0) -> JournalReading:
    """Read a journal, also while its owner appends to it: a line that is half there comes with the next reading.

    Args:
        path: The file; without one there are no entries.
        after_line: Number of the last line that is known.

    Raises:
        JournalError: It can't be read, or is not a file that this user wrote. Raised by the iteration.
    """
    return JournalReading(path, after_line)


class OrphanJournal:
    """A journal whose owner is gone. It belongs to this process until it is closed; a context manager.

    Attributes:
        process: Id of the process that wrote it.
        path: The file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.process = path.name.removesuffix(SUFFIX)
        self.path = path
        self._descriptor: int | None = descriptor
        self._pid = os.getpid()
        self._reading: JournalReading | None = None

    def __enter__(self) -> OrphanJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self, after_line: int = 0) -> JournalReading:
        """Read its entries; they may be read bit by bit, while the journal stays open.

        Args:
            after_line: Number of the last line that is in the store.
        """
        self._reading = JournalReading(self.path, after_line)
        return self._reading

    def remove(self) -> bool:
        """Remove the file when its entries were read to the end.

        Returns:
            Whether it was. It is kept when a newer version has to read it, when it is not a journal at all, or when it
            grew meanwhile, as it may where two hosts share a folder but not its locks.

        Raises:
            JournalError: It can't be removed.
        """
        if self._descriptor is None or self._reading is None or not self._reading.is_drained:
            return False
        try:
            if os.fstat(self._descriptor).st_size != self._reading.size:
                return False
            if is_at(self._descriptor, self.path):
                self.path.unlink()
        except OSError as error:
            raise JournalError(f"the journal can't be removed: {why(error)}", where=str(self.path)) from error
        self.close()
        return True

    def close(self) -> None:
        """Give it up, so that another process may drain it; a forked child closes its copy alone."""
        descriptor, self._descriptor = self._descriptor, None
        if self._reading is not None:
            self._reading.close()
        if descriptor is not None:
            release(descriptor, self._pid)


def orphans(folder: Path, report: Callable[[str], None]) -> Iterator[OrphanJournal]:
    """Take the journals whose owners are gone, one after another. Close each, or use it as a context manager.

    Args:
        folder: Folder of the journals.
        report: Told of what is in the folder and is not used: links, FIFOs, folders, files of other users.
    """
    try:
        if folder.is_symlink():
            raise NotPrivateError("is a symbolic link")
        names = sorted(os.listdir(folder))  # noqa: PTH208  # names are enough
    except FileNotFoundError:
        return
    except OSError as error:
        report(f"{folder} {why(error)}")
        return
    for name in names:
        path = folder / name
        if path.suffix not in (SUFFIX, UNFINISHED):
            continue
        try:
            descriptor = _taken(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            report(f"{path} {why(error)}")
            continue
        if descriptor is None:
            continue
        if path.suffix == UNFINISHED:  # killed before it had its name; if it lives after all, it tries again
            with suppress(OSError):
                path.unlink()
            os.close(descriptor)
        else:
            yield OrphanJournal(path, descriptor)


def _taken(path: Path) -> int | None:
    descriptor = open_existing(path)
    try:
        # A file that was removed between opening and locking was drained by the process that removed it.
        if lock(descriptor) and is_at(descriptor, path):
            return descriptor
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
