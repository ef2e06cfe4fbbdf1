"""Where runs wait for the store: an append-only file of each process, drained by it or by a later one.

A line is a newline, a CRC32 of the rest, a number, and an entry as JSON. The newline comes first, so what a killed
process or a full disk left of a line ends where the next one begins. The first line says the format and whose journal
it is. Entries hold what the store keeps of a run: neither prompt nor output, nor settings.

The file's `flock` says that its owner lives. The file must be on a local disk: a network file system may have no such
lock, or lose it.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypedDict

from attrs import frozen

from .._model.converter import PlainDataError, from_plain, to_plain
from .._model.plan import TeamSpec
from .._model.process import ProcessId
from .._model.run import PlannedRun, RunStart, TeamRun
from ..errors import StoreError, StoreUnavailableError
from .private_files import NotPrivateError, create, is_at, lock, make_folder, open_existing, unlock, write_all

FOLDER_NAME: Final = "autotune-journal"
"""Name of the journals' folder in Victor's folder of a project."""

MOST_BYTES: Final = 64 * 2**20
"""Bound of a process's journal unless a setting says otherwise."""

_VERSION: Final = 1
_SUFFIX: Final = ".journal"
_UNFINISHED: Final = ".new"
_NEARLY_FULL: Final = 0.8
_LONGEST_LINE: Final = 4 * 2**20  # an entry of a team of 10,000 members; bounds what reading garbage takes
_CHUNK: Final = 2**18
_MOST_DIGITS: Final = 18
_TRIES: Final = 3

_encode: Final = json.JSONEncoder(separators=(",", ":"), default=to_plain).encode  # ASCII: any text survives


class JournalError(StoreUnavailableError):
    """The journal can't be used: the disk is full or read-only, or the file system has no locks."""


class JournalFullError(JournalError):
    """The journal has reached its bound; what was to be appended is not in it."""


@frozen
class StartEntry:
    """A run started.

    Attributes:
        start: The run, without metadata and settings.
        planned: Its plan and place in an experiment.
        process: Id of the process that runs it.
    """

    start: RunStart
    planned: PlannedRun
    process: str


@frozen
class EndEntry:
    """A run ended.

    Attributes:
        run: The run.
        grade_seconds: How long to wait for its grade, or None when it has one.
    """

    run: TeamRun
    grade_seconds: float | None = None


@frozen
class GradeEntry:
    """A run that had ended got its grade.

    Attributes:
        run_id: The run.
        score: Graded outcome in [0, 1].
        cost_usd: Cost in US dollars, or None when no price is known.
    """

    run_id: str
    score: float
    cost_usd: float | None = None


Entry = StartEntry | EndEntry | GradeEntry
"""What a line of a journal says."""


def _plain(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, StartEntry):
        start = {name: to_plain(getattr(entry.start, name)) for name in _Start.__annotations__}
        return {"kind": "start", "start": start, "planned": to_plain(entry.planned), "process": entry.process}
    if isinstance(entry, EndEntry):
        run = to_plain(entry.run)
        del run["number"]  # the store gives it
        return {"kind": "end", "run": run, "grade_seconds": entry.grade_seconds}
    return {"kind": "grade", "run_id": entry.run_id, "score": entry.score, "cost_usd": entry.cost_usd}


class _Start(TypedDict):  # an attrs class takes a millisecond of a cold start to make
    run_id: str
    spec: TeamSpec
    started_at: float
    entry: str
    parent_id: str | None
    task_key: str | None


class _StartLine(TypedDict):
    start: _Start
    planned: PlannedRun
    process: str


def _start(data: Any) -> StartEntry:
    line = from_plain(_StartLine, data)
    return StartEntry(RunStart(**line["start"]), line["planned"], line["process"])


_READERS: Final[dict[str, Callable[[Any], Entry]]] = {
    "start": _start,
    "end": lambda data: from_plain(EndEntry, data),
    "grade": lambda data: from_plain(GradeEntry, data),
}


def encode(entry: Entry) -> bytes:
    """Return an entry as the text of a line.

    Raises:
        StoreError: It has a value that could not be read again.
    """
    try:
        data = _plain(entry)
        _READERS[data["kind"]](data)
        text = _encode(data)
    except (PlainDataError, TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"a run can't be journaled: {error}") from error
    if len(text) >= _LONGEST_LINE:
        raise StoreError(f"a run can't be journaled: it takes {len(text)} bytes, more than {_LONGEST_LINE}")
    return text.encode()


def _line(number: int, text: bytes) -> bytes:
    rest = b"%d %b" % (number, text)
    return b"\n%08x %b" % (zlib.crc32(rest), rest)


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
        self.path = folder / f"{process.id}{_SUFFIX}"
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
        lines = b"".join(_line(number, text) for number, text in enumerate(texts, self._number + 1))
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
            _close(descriptor, self._pid)
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
        unfinished = folder / f"{self._process.id}-{os.urandom(4).hex()}{_UNFINISHED}"
        descriptor = create(unfinished, os.O_RDWR | os.O_APPEND)
        try:
            if not lock(descriptor):
                raise FileNotFoundError("another process removed it")
            first = {"kind": "journal", "version": _VERSION, "process": to_plain(self._process)}
            write_all(descriptor, _line(self._number, _encode(first).encode()))
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
        return JournalError(f"the journal can't be written: {_why(error)}", where=str(self.path), hint=hint)


class Reading(Iterator[tuple[int, Entry]]):
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
            raise JournalError(f"the journal can't be read: {_why(error)}", where=str(self._path)) from error
        try:
            for line in self._lines(descriptor):
                found = self._entry(line)
                if self.is_newer:
                    return
                if found is not None:
                    yield found
            self.has_ended = True
        except OSError as error:
            raise JournalError(f"the journal can't be read: {_why(error)}", where=str(self._path)) from error
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
            if len(held) > _LONGEST_LINE + _CHUNK:
                is_too_long = True
                held.clear()
        if held or is_too_long:
            yield None if is_too_long else bytes(held)

    def _entry(self, line: bytes | None) -> tuple[int, Entry] | None:
        if line == b"":
            return None
        number, text = _checked(line)
        if number < 0 or (self.process is not None and number <= self._last):
            self.damaged += 1
            return None
        if self.process is not None and number <= self._after_line:
            self._last = number
            return None
        try:
            data = json.loads(text)
            kind = data["kind"]
            if kind == "journal":
                self.is_newer = data["version"] != _VERSION
                if not self.is_newer:
                    self.process = from_plain(ProcessId, data["process"])
                return None
            self.is_newer = kind not in _READERS
            if self.is_newer:
                return None
            self._last = number
            return (number, _READERS[kind](data)) if number > self._after_line else None
        except (PlainDataError, KeyError, TypeError, ValueError, RecursionError):
            self.damaged += 1
            return None


def read(path: Path, after_line: int = 0) -> Reading:
    """Read a journal, also while its owner appends to it: a line that is half there comes with the next reading.

    Args:
        path: The file; without one there are no entries.
        after_line: Number of the last line that is known.

    Raises:
        JournalError: It can't be read, or is not a file that this user wrote. Raised by the iteration.
    """
    return Reading(path, after_line)


class OrphanJournal:
    """A journal whose owner is gone. It belongs to this process until it is closed; a context manager.

    Attributes:
        process: Id of the process that wrote it.
        path: The file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.process = path.name.removesuffix(_SUFFIX)
        self.path = path
        self._descriptor: int | None = descriptor
        self._pid = os.getpid()
        self._reading: Reading | None = None

    def __enter__(self) -> OrphanJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self, after_line: int = 0) -> Reading:
        """Read its entries; they may be read bit by bit, while the journal stays open.

        Args:
            after_line: Number of the last line that is in the store.
        """
        self._reading = Reading(self.path, after_line)
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
            raise JournalError(f"the journal can't be removed: {_why(error)}", where=str(self.path)) from error
        self.close()
        return True

    def close(self) -> None:
        """Give it up, so that another process may drain it; a forked child closes its copy alone."""
        descriptor, self._descriptor = self._descriptor, None
        if self._reading is not None:
            self._reading.close()
        if descriptor is not None:
            _close(descriptor, self._pid)


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
        report(f"{folder} {_why(error)}")
        return
    for name in names:
        path = folder / name
        if path.suffix not in (_SUFFIX, _UNFINISHED):
            continue
        try:
            descriptor = _taken(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            report(f"{path} {_why(error)}")
            continue
        if descriptor is None:
            continue
        if path.suffix == _UNFINISHED:  # killed before it had its name; if it lives after all, it tries again
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


def _checked(line: bytes | None) -> tuple[int, bytes]:
    """Return number and text of a line; -1 when it is damaged."""
    checksum, _, rest = (line or b"").partition(b" ")
    number, _, text = rest.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(rest) or not number.isdigit() or len(number) > _MOST_DIGITS:
        return -1, b""
    return int(number), text


def _close(descriptor: int, owner: int) -> None:
    if os.getpid() == owner:
        unlock(descriptor)
    os.close(descriptor)


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _to_disk(descriptor: int) -> None:
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
