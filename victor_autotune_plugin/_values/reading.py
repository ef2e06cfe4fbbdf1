"""Opens the files that people and tools write, so that none of them hangs the reader or fills its memory.

Only regular files are read: a pipe may never end, and opening a device may do something. How much is read is bounded
where it is read, since a file may grow meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from .nodes import WrongValueError, bounded

# Windows knows the first alone.
_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"))
MOST_BYTES: Final = 1_000_000
"""Bytes of a file that is read whole: settings, workflows, configs."""

LONGEST_LINE: Final = 16 << 20
"""Bytes or characters of a line of a file that is read line by line."""

_MOST_DIGITS: Final = 1_000


def open_file(path: Path, shown: str | None = None, instead: str = "Name a regular file.") -> BinaryIO:
    """Open a file for reading; it never waits for another process.

    Args:
        shown: What errors call it; None for its path.
        instead: What to do when it is not a regular file.

    Raises:
        WrongValueError: It is a folder, pipe, socket or device.
        OSError: It can't be opened.
    """
    _check_regular(path.stat().st_mode, shown or str(path), instead)
    # Without waiting, since the file may have become a pipe by now.
    handle = os.open(path, _FLAGS)
    try:
        _check_regular(os.fstat(handle).st_mode, shown or str(path), instead)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(
    path: Path, shown: str | None = None, *, most: int = MOST_BYTES, instead: str = "Name a regular file."
) -> bytes:
    """Return what a file holds.

    Args:
        shown: What errors call it; None for its path.
        most: Bytes that it may have.
        instead: What to do when it is not a regular file.

    Raises:
        WrongValueError: It is not a regular file, or too long.
        OSError: It can't be read.
    """
    with open_file(path, shown, instead) as file:
        data = file.read(most + 1)
        if len(data) > most:
            size = max(os.fstat(file.fileno()).st_size, len(data))
            hint = f"At most {most:,} are read; is it the right file?"
            raise WrongValueError(f"the file has {size:,} bytes", hint, shown or str(path))
    return data


def lines_of(file: BinaryIO, shown: str, most: int = LONGEST_LINE) -> Iterator[bytes]:
    """Give the lines of a file.

    Args:
        file: The file, open.
        shown: Name of the file, for errors.
        most: Bytes that a line may have.

    Raises:
        WrongValueError: A line is longer.
    """
    number = 0
    while line := file.readline(most + 1):
        number += 1
        if len(line) > most:
            hint = f"A line may have {most:,}; is it the right file?"
            raise WrongValueError(f"the line has more than {most:,} bytes", hint, f"{shown}:{number}")
        yield line


def integer(digits: str) -> int:
    """Return an integer of JSON; one beyond all use, which Python may refuse to read, becomes a smaller one.

    Pass it to `json.loads` as `parse_int`, so that a check of the field finds it out of range, and names the field.
    """
    return bounded(int(digits[:_MOST_DIGITS]))


def _check_regular(mode: int, shown: str, instead: str) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe, not a file",
        stat.S_IFSOCK: "a socket, not a file",
        stat.S_IFCHR: "a device, not a file",
        stat.S_IFBLK: "a device, not a file",
    }
    raise WrongValueError(f"this is {kinds.get(stat.S_IFMT(mode), 'not a file')}", instead, shown)
