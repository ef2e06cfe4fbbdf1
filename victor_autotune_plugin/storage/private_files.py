"""Files of one user: created with mode 0600, and opened so that nothing planted there is followed or waited for.

A clone of a hostile project may bring files along where the plugin keeps its own. What version control or an archive
unpacks is readable by others, as a rule, so a file with any right for others is not taken as one that the plugin wrote.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from .location import create_folder

try:
    import fcntl
except ImportError:  # Windows, where the plugin observes and keeps no such files
    fcntl = None  # type: ignore[assignment]

_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))


class NotPrivateError(OSError):
    """What is there is not a file that only this user may use; its text says what it is."""


def wrong_with(status: os.stat_result) -> str | None:
    """Return why a file can't be one that the plugin wrote for this user, or None when it can."""
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if stat.S_ISDIR(status.st_mode):
        return "is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}, so others may use it"
    return None


def make_folder(folder: Path) -> None:
    """Create a folder with mode 0700 where it is missing, and what is missing above it.

    Raises:
        NotPrivateError: It is a symbolic link, which may lead anywhere.
        OSError: It can't be created.
    """
    create_folder(folder)
    if folder.is_symlink():
        raise NotPrivateError("the folder is a symbolic link")


def open_existing(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a private file; a FIFO or device in its place is not opened, since that alone may wait or act.

    Raises:
        FileNotFoundError: Nothing is there.
        NotPrivateError: Something else is there.
        OSError: It can't be opened.
    """
    _accept(path.lstat())
    descriptor = os.open(path, flags | _FLAGS)
    try:
        _accept(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def create(path: Path, flags: int = os.O_WRONLY) -> int:
    """Create a private file where nothing is yet.

    Raises:
        FileExistsError: Something is there.
        NotPrivateError: The file system does not keep its mode.
        OSError: It can't be created.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        _accept(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def lock(descriptor: int) -> bool:
    """Take a file's `flock` without waiting; return whether it was free.

    The lock belongs to the open file, so it is held until the last copy of the descriptor is closed, a forked child's
    included, and the kernel releases it when its holders die, in whatever PID namespace they ran.

    Raises:
        OSError: The file system has no such locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Release a file's lock, also where a child that was forked meanwhile has a copy of the descriptor.

    Not for the child itself: it would release its parent's.
    """
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def release(descriptor: int, owner: int) -> None:
    """Close a locked file; unlock it only in the process that locked it, whose pid is `owner`."""
    if os.getpid() == owner:
        unlock(descriptor)
    os.close(descriptor)


def why(error: OSError) -> str:
    """Return what went wrong, for people."""
    return error.strerror or str(error)


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes in as few calls as the system takes.

    Raises:
        OSError: They were not written, or only a part of them was.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _accept(status: os.stat_result) -> None:
    wrong = wrong_with(status)
    if wrong is not None:
        raise NotPrivateError(wrong)
