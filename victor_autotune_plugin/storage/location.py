"""Where a store is: its default place, its file, and its URL without secrets."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..errors import StoreUnavailableError

FILE_NAME: Final = "autotune.db"
"""Name of the database file in Victor's folder of a project."""

_SECRET: Final = re.compile(r"(?i)([?&](?:password|sslpassword|passfile)=)[^&]*")


def default_url(project_dir: Path) -> str:
    """Return the URL of a project's own store: a file in the folder that Victor keeps in the project.

    Args:
        project_dir: The project's folder. Victor's folder in it is `.victor`, or what `VICTOR_DIR_NAME` names; like
            Victor, a name that leads out of the project is ignored.
    """
    name = os.environ.get("VICTOR_DIR_NAME", "").strip()
    if not name or ".." in name or "/" in name or "\\" in name:
        name = ".victor"
    path = Path(project_dir).absolute() / name / FILE_NAME
    return f"sqlite:///{quote(path.as_posix(), safe='/: +')}"


def without_secrets(url: str) -> str:
    """Return a database URL for people to see: whatever may be a password is replaced by `***`.

    Args:
        url: The URL; it need not be a valid one.
    """
    before, at, after = url.rpartition("@")
    if at:
        scheme, slashes, login = before.rpartition("//")
        user, colon, _ = login.partition(":")
        url = f"{scheme}{slashes}{user}{':***' if colon else ''}@{after}"
    return _SECRET.sub(r"\1***", url)


def file_of(database: str | None) -> Path | None:
    """Return the file of an SQLite URL, or None when SQLite itself opens it by a `file:` URI.

    Args:
        database: What the URL says after `sqlite:///`.
    """
    if not database or database.startswith("file:"):
        return None
    return Path(database).absolute()


def prepare_file(path: Path, url: str) -> None:
    """Make sure that a database file can be opened: create it with mode 0600, and its folder with mode 0700.

    SQLite gives its `-wal` and `-shm` files the mode of the database file.

    Args:
        path: The file.
        url: The store's URL without secrets, for the error.

    Raises:
        StoreUnavailableError: It can't be created, or something else is in its place.
    """
    try:
        _create_folder(path.parent)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return
    except OSError as error:
        raise StoreUnavailableError(
            f"the store's file {path} can't be created: {error.strerror}",
            where=url,
            hint=f"Make {path.parent} a folder that you may write to and that has space left, or set another store.",
        ) from error
    mode = path.stat().st_mode if path.exists() else 0
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a file"
        raise StoreUnavailableError(
            f"{path} is {kind}, where the store's file should be",
            where=url,
            hint=f"Move it away (mv {path} {path}.old), or set another store.",
        )


def _create_folder(folder: Path) -> None:
    if not folder.is_dir():
        _create_folder(folder.parent)
        with suppress(FileExistsError):  # another process was quicker; if it is a file, creating in it will say so
            folder.mkdir(mode=0o700)
