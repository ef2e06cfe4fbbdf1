"""Text files read whole, and every file that the plugin writes for people: whole or not at all, with a backup."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from attrs import frozen

from ..errors import AutotuneError, WorkflowError
from .links import LinkOutError, followed
from .nodes import WrongValueError
from .reading import read_bytes

_BOM: Final = b"\xef\xbb\xbf"
_BACKUP: Final = re.compile(r"\.bak(-\d+)?$")

MOST_BACKUPS: Final = 20
"""Backups of a file that are kept; older ones go, and a change that needs one says so when it is rolled back."""


@frozen
class TextFile:
    """A file as it was read.

    Attributes:
        path: The file, or a link to it, as it was named.
        data: Its bytes, by which a later writer sees whether another program changed it meanwhile.
        text: Its text with its own line ends, without a byte order mark.
    """

    path: Path
    data: bytes
    text: str

    def replace(self, text: str, *, backup: bool, project: Path | None = None) -> Path | None:
        """Put another text in its place, all of it or nothing.

        A link stays a link, and mode and owner of the file stay.

        Args:
            text: The new text; a byte order mark is kept.
            backup: Whether to keep the old file beside it.
            project: As in `write_atomically`.

        Returns:
            The backup, or None without one.

        Raises:
            WorkflowError: It was changed since it was read, or can't be written; it is as it was then.
        """
        mark = _BOM if self.data.startswith(_BOM) else b""
        try:
            if read_bytes(self.path) != self.data:
                raise WorkflowError("was changed meanwhile", where=str(self.path), hint="Read it again, and repeat.")
            return write_atomically(self.path, mark + text.encode(), backup=backup, project=project)
        except WrongValueError as wrong:
            raise wrong.told(WorkflowError) from wrong
        except OSError as error:
            raise unwritten(error, str(self.path), error_class=WorkflowError) from error


def read_text(path: Path, shown: str | None = None, instead: str = "Name a YAML or JSON file.") -> TextFile:
    """Read a text file.

    Args:
        shown: What errors call it; None for its path.
        instead: What to do when it is not a file.

    Raises:
        WrongValueError: It can't be read, is not a regular file, too long, or not UTF-8 text.
    """
    shown = shown or str(path)
    try:
        data = read_bytes(path, shown, instead=instead)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        hint = instead if missing else f"Make it a file that you may read: ls -l {path}"
        raise WrongValueError(f"the file can't be read: {error.strerror}", hint, shown) from error
    try:
        return TextFile(path, data, data.removeprefix(_BOM).decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WrongValueError("this is not UTF-8 text", "Save the file as UTF-8.", f"{shown}:{line}") from error


def unwritten(
    error: OSError, where: str, hint: str | None = None, *, error_class: type[AutotuneError] = AutotuneError
) -> AutotuneError:
    """Return the error for people that a file can't be written.

    Args:
        error: Why not.
        where: What people call the file.
        hint: What to do, if it is not a link that leads out of the project.
    """
    if isinstance(error, LinkOutError):
        hint = f"If you trust it, write to where it leads; else remove it: rm {error.filename}"
    return error_class(f"can't be written: {error.strerror}", where=where, hint=hint)


def write_atomically(path: Path, data: bytes, *, backup: bool = False, project: Path | None = None) -> Path | None:
    """Give a file new contents: a reader, also after a crash, finds the old ones or the new ones whole.

    Args:
        path: The file, which keeps its mode and owner; or a link, whose target is written. A new file may be read
            and written by its owner alone.
        backup: Whether to keep a file that is there beside it, with `.bak` after its name, or `.bak-2` and so on.
        project: The project's folder, whose links must not lead out of it; the current folder is one, too.

    Returns:
        The backup, or None without one.

    Raises:
        OSError: It can't be written, or would change its owner, or a link of the project leads out of it
            (`LinkOutError`); everything is as it was.
    """
    target = _target(path, project)
    kept = _keep(path) if backup and path.exists() else None
    try:
        with _replacement(target, private=False) as file:
            file.write(data)
    except BaseException:
        if kept is not None:
            kept.unlink(missing_ok=True)
        raise
    return kept


@contextlib.contextmanager
def written(path: Path, *, where: str | None = None, project: Path | None = None) -> Iterator[TextIO]:
    """Open a file for results as `written_data` does.

    Yields:
        The open file, UTF-8, whose line ends stay as they are written.
    """
    with written_data(path, where=where, project=project) as data:
        text = io.TextIOWrapper(data, encoding="utf-8", newline="")
        yield text
        text.flush()


@contextlib.contextmanager
def written_data(path: Path, *, where: str | None = None, project: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for results for the time of a block; it takes its place when the block ends without an error.

    Args:
        path: The file; one that exists is replaced. Either way its owner alone may read it then.
        where: What errors call the file, such as `--output runs.json`.
        project: As in `write_atomically`.

    Yields:
        The open file, for bytes.

    Raises:
        AutotuneError: It can't be written. Nothing has changed then.
    """
    where = where or str(path)
    if path.is_dir():
        raise AutotuneError("is a folder", where=where, hint="Name a file in it.")
    try:
        with _replacement(_target(path, project), private=True) as data:
            yield data
    except OSError as problem:
        hint = "Make room, or name a file in a folder that you may write to."
        raise unwritten(problem, where, hint) from problem


def write_text(path: Path, text: str, option: str = "--output", *, project: Path | None = None) -> None:
    """Write a file of results whole.

    Args:
        path: As in `written`.
        text: What it holds.
        option: The option that named it, for the error.
        project: As in `write_atomically`.

    Raises:
        AutotuneError: As in `written`.
    """
    with written(path, where=f"{option} {path}", project=project) as file:
        file.write(text)


def _target(path: Path, project: Path | None) -> Path:
    """Return the regular file, or none yet, that a path leads to.

    Raises:
        OSError: It is something else, or a link of the project leads out of it.
    """
    target = followed(path, Path(), *([] if project is None else [project]))
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return target


@contextlib.contextmanager
def _replacement(target: Path, *, private: bool) -> Iterator[BinaryIO]:
    """Open new contents of a file, which replace it when the block ends without an error.

    Args:
        private: Whether its owner alone may read it then; else a file that is there keeps its mode and owner.
    """
    if target.exists() and not os.access(target, os.W_OK):  # a replacement would not ask
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if not private and target.exists():
                old, new = target.stat(), os.fstat(handle)
                if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                    os.fchown(handle, old.st_uid, old.st_gid)
                Path(name).chmod(stat.S_IMODE(old.st_mode))
            file.flush()
            os.fsync(handle)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # the file is replaced; some file systems can't sync a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _keep(path: Path) -> Path:
    """Keep a file as a backup, an earlier one that is equal where there is one; the oldest of many go."""
    number = 1
    while True:
        copy = path.with_name(f"{path.name}.bak" + (f"-{number}" if number > 1 else ""))
        try:
            handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if _is_same(copy, path):
                return copy
            number += 1
            continue
        try:
            with os.fdopen(handle, "wb") as file, path.open("rb") as old:
                copy.chmod(stat.S_IMODE(os.fstat(old.fileno()).st_mode))
                shutil.copyfileobj(old, file)
                file.flush()
                os.fsync(handle)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        _drop_oldest(path, copy)
        return copy


def _is_same(copy: Path, path: Path) -> bool:
    """Whether a backup is a file of its own that holds what another one does."""
    try:
        if not stat.S_ISREG(copy.lstat().st_mode) or copy.read_bytes() != path.read_bytes():
            return False
        os.utime(copy)  # it counts as new, so that it is not the first to go
        return True
    except OSError:
        return False


def _drop_oldest(path: Path, newest: Path) -> None:
    """Remove the oldest backups of a file beyond `MOST_BACKUPS`; what can't be removed stays."""
    found = []
    for one in path.parent.glob(f"{glob.escape(path.name)}.bak*"):
        with contextlib.suppress(OSError):
            status = one.lstat()
            if _BACKUP.search(one.name) and _BACKUP.sub("", one.name) == path.name and stat.S_ISREG(status.st_mode):
                found.append((one != newest, -status.st_mtime_ns, one))
    for _, _, one in sorted(found)[MOST_BACKUPS:]:
        with contextlib.suppress(OSError):
            one.unlink()


def restore(backup: Path, *, project: Path | None = None) -> Path:
    """Put a backup back in the place of the file that it was made of. The backup stays.

    Args:
        backup: What `TeamConfigFile.write` returned.
        project: The project's folder, whose links must not lead out of it; the current folder is one, too.

    Returns:
        The file.

    Raises:
        WorkflowError: It is no backup, or the file can't be written.
    """
    if not _BACKUP.search(backup.name):
        raise WorkflowError("is not a backup", where=str(backup), hint="The name of a backup ends with .bak or .bak-N.")
    path = backup.with_name(_BACKUP.sub("", backup.name))
    try:
        write_atomically(path, read_bytes(backup), project=project)
    except WrongValueError as wrong:
        raise wrong.told(WorkflowError) from wrong
    except OSError as error:
        raise unwritten(error, str(path), error_class=WorkflowError) from error
    return path
