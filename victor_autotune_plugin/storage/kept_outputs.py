"""Outputs of runs that are kept for a person to rate: files that only their owner can read, each until it expires.

A file's time of modification is when it expires, so every process can remove what is out of date, by whatever settings
it was written.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from .private_files import NotPrivateError, create, make_folder, open_existing, write_all
from .snapshot_file import folder_of

FOLDER_NAME: Final = "autotune-outputs"
"""Name of their folder in Victor's folder of a project."""

_SUFFIX: Final = ".txt"
_UNFINISHED: Final = ".new"
_UNFINISHED_SECONDS: Final = 60.0
_RUN_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")  # one that comes from elsewhere must not lead out of the folder


class KeptOutputs:
    """The outputs that are kept in one project.

    Args:
        folder: Their folder; created with mode 0700 when the first one is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, project: Path) -> KeptOutputs:
        """Return those of a project."""
        return cls(folder_of(project) / FOLDER_NAME)

    def keep(self, run_id: str, text: str, until: float) -> None:
        """Write the output of a run.

        Args:
            run_id: The run.
            text: What it delivered.
            until: Unix time from which it is to go, seconds.

        Raises:
            OSError: It can't be written, or the folder is not this user's own; nothing is left of it then.
        """
        path = self._path(run_id)
        if path is None:
            raise NotPrivateError("the id of the run can't be a file's name")
        make_folder(self.folder)
        self._check_folder()
        # It gets its name once it is whole: whoever reads it sees all of it, and one that is killed leaves no half.
        unfinished = self.folder / f"{run_id}-{os.urandom(4).hex()}{_UNFINISHED}"
        descriptor = create(unfinished)
        try:
            try:
                write_all(descriptor, text.encode("utf-8", "replace"))
                os.utime(descriptor, (until, until))
            finally:
                os.close(descriptor)
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def read(self, run_id: str, now: float) -> str | None:
        """Return the output of a run; None where none is kept, or it has expired.

        Args:
            run_id: The run.
            now: Unix time, seconds.

        Raises:
            OSError: What is there can't be read, or is not a file that the plugin wrote for this user.
        """
        path = self._path(run_id)
        if path is None:
            return None
        try:
            self._check_folder()
            descriptor = open_existing(path)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, encoding="utf-8", errors="replace", newline="") as file:
            return None if os.fstat(descriptor).st_mtime <= now else file.read()

    def remove(self, run_id: str) -> bool:
        """Remove the output of a run, as when it was rated; return whether one was kept.

        Raises:
            OSError: It can't be removed.
        """
        path = self._path(run_id)
        if path is None:
            return False
        try:
            self._check_folder()
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def remove_expired(self, now: float) -> int:
        """Remove what has expired, and what killed processes left half-written; return how many went.

        Args:
            now: Unix time, seconds.

        Raises:
            OSError: The folder is not this user's own, or a file can't be removed.
        """
        gone = 0
        for path, status in self._files():
            half = path.name.endswith(_UNFINISHED)
            written = status.st_ctime if half else status.st_mtime
            if written + (_UNFINISHED_SECONDS if half else 0.0) <= now:
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def count(self) -> int:
        """Return how many outputs are kept now.

        Raises:
            OSError: The folder can't be read, or is not this user's own.
        """
        return sum(path.name.endswith(_SUFFIX) for path, _ in self._files())

    def _path(self, run_id: str) -> Path | None:
        return self.folder / f"{run_id}{_SUFFIX}" if _RUN_ID.fullmatch(run_id) else None

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            self._check_folder()
        except FileNotFoundError:
            return
        for path in tuple(self.folder.iterdir()):
            if not path.name.endswith((_SUFFIX, _UNFINISHED)):
                continue
            with suppress(FileNotFoundError):  # another process removed it
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status

    def _check_folder(self) -> None:
        """Make sure that nothing planted is followed or deleted from: what is there must be the user's own folder.

        Raises:
            FileNotFoundError: Nothing is there.
            NotPrivateError: Something else is there.
        """
        status = self.folder.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise NotPrivateError("the folder is a symbolic link")
        if not stat.S_ISDIR(status.st_mode):
            raise NotPrivateError("it is not a folder")
        if status.st_uid != os.geteuid():
            raise NotPrivateError("the folder belongs to another user")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise NotPrivateError("others may use the folder")
