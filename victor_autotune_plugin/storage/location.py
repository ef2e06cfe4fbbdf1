"""Where a store is and how it may be opened: its default place, its file, its URL, and the database behind that."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from attrs import evolve, field, frozen

from .._values.links import SIDE_FILES, followed
from ..errors import StoreUnavailableError

if TYPE_CHECKING:
    from sqlalchemy import URL

FILE_NAME: Final = "autotune.db"
"""Name of the database file in Victor's folder of a project."""

_SECRET: Final = re.compile(r"(?i)([?&](?:password|sslpassword|passfile)=)[^&]*")


_EXAMPLES: Final = "Write sqlite:////path/to/autotune.db or postgresql+psycopg://user@host/database."
_POSTGRES_NAMES: Final = ("postgres", "postgresql", "postgresql+psycopg")
_ESCAPING: Final = "Write @ as %40 in it, and / as %2F, # as %23, : as %3A, ? as %3F, % as %25."


def victor_folder(project_dir: Path) -> Path:
    """Return the folder that Victor keeps in a project: `.victor`, or what `VICTOR_DIR_NAME` names.

    Like Victor, a name that leads out of the project is ignored.

    Args:
        project_dir: The project's folder.

    Raises:
        StoreUnavailableError: It is a link that leads out of the project.
    """
    name = os.environ.get("VICTOR_DIR_NAME", "").strip()
    if not name or ".." in name or "/" in name or "\\" in name:
        name = ".victor"
    folder = Path(project_dir).absolute() / name
    _check_link(folder, project_dir, folder)
    return folder


def default_url(project_dir: Path) -> str:
    """Return the URL of a project's own store: a file in the folder that Victor keeps in the project.

    Args:
        project_dir: The project's folder.

    Raises:
        StoreUnavailableError: A link of the project leads the file out of it.
    """
    path = victor_folder(project_dir) / FILE_NAME
    for suffix in ("", *SIDE_FILES):
        _check_link(path.with_name(path.name + suffix), project_dir, path)
    return f"sqlite:///{quote(path.as_posix(), safe='/: +')}"


def _check_link(path: Path, project: Path, shown: Path) -> None:
    """Check that no link of the project leads a file of the plugin's out of it."""
    try:
        followed(path, project)
    except OSError as error:
        raise StoreUnavailableError(
            str(error.strerror),
            where=str(shown),
            hint="Remove the link, or set database_url in your own settings, ~/.victor/autotune.yaml.",
        ) from error


def without_secrets(url: str) -> str:
    """Return a database URL for people to see: whatever may be a password is replaced by `***`.

    Args:
        url: The URL; it need not be a valid one.
    """
    before, at, after = _SECRET.sub(r"\1***", url).rpartition("@")
    scheme, slashes, login = before.partition("//") if "//" in before else ("", "", before)
    user, colon, _ = login.partition(":")
    return f"{scheme}{slashes}{user}{':***' if colon else ''}{at}{after}" if at else after


def file_of(database: str | None) -> Path | None:
    """Return the file of an SQLite URL, or None when SQLite itself opens it by a `file:` URI.

    Args:
        database: What the URL says after `sqlite:///`.
    """
    if not database or database.startswith("file:"):
        return None
    return Path(database).absolute()


def file_of_url(url: str) -> Path | None:
    """Return the file of an SQLite URL without reading the rest of it, or None for another database."""
    scheme, _, database = url.partition("://")
    return file_of(unquote(database.partition("?")[0])[1:]) if scheme.startswith("sqlite") else None


def prepare_file(path: Path, url: str) -> None:
    """Make sure that a database file can be opened: create it with mode 0600, and its folder with mode 0700.

    SQLite gives its `-wal` and `-shm` files the mode of the database file.

    Args:
        path: The file.
        url: The store's URL without secrets, for the error.

    Raises:
        StoreUnavailableError: It can't be created, or something else is in its place.
    """
    if os.path.lexists(path):
        _check_place(path, url)
        return
    try:
        create_folder(path.parent)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return
    except OSError as error:
        raise StoreUnavailableError(
            f"the store's file {path} can't be created: {error.strerror}",
            where=url,
            hint=f"Make {path.parent} a folder that you may write to and that has space left, or set another store.",
        ) from error
    _check_place(path, url)


def _check_place(path: Path, url: str) -> None:
    """Check that what is in the place of the file, or beside it, can be opened without waiting for anybody."""
    mode = path.stat().st_mode if path.exists() else 0
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a file"
        raise _in_the_way(path, kind, url)
    real = os.path.realpath(path) if path.is_symlink() else str(path)
    for beside in (real + suffix for suffix in SIDE_FILES):
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(beside).st_mode):
                raise _in_the_way(Path(beside), "not a file", url)


def _in_the_way(path: Path, kind: str, url: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{path} is {kind}, where the store's file should be",
        where=url,
        hint=f"Move it away (mv {path} {path}.old), or set another store.",
    )


def existing_file(path: Path, url: str) -> None:
    """Check that a database file is there and can be opened.

    Args:
        path: The file.
        url: The store's URL without secrets, for the error.

    Raises:
        StoreUnavailableError: It is missing, or something else is in its place.
    """
    if not os.path.lexists(path):
        raise StoreUnavailableError(
            "there is no store yet", where=url, hint="Run a team, or create it: victor autotune init --database"
        )
    _check_place(path, url)


def create_folder(folder: Path) -> None:
    """Create a folder with mode 0700, and what is missing above it."""
    if not folder.is_dir():
        create_folder(folder.parent)
        with suppress(FileExistsError):  # another process was quicker; if it is a file, creating in it will say so
            folder.mkdir(mode=0o700)


@frozen
class DatabaseTarget:
    """The database behind a URL.

    Attributes:
        url: The URL for SQLAlchemy, with its driver.
        backend: `sqlite` or `postgresql`.
        shown: The URL for people, without secrets.
        file: The database file, or None when it is not a plain file.
        connect_args: Arguments of the driver.
    """

    url: URL
    backend: str
    shown: str
    file: Path | None = None
    connect_args: Mapping[str, Any] = field(factory=dict)


def target_of(url: str) -> DatabaseTarget:
    """Read a database URL.

    Args:
        url: `sqlite:///…` or `postgresql+psycopg://…`.

    Raises:
        StoreUnavailableError: It is no URL, of no database that the store knows, or its driver is missing.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    shown = without_secrets(url)
    if _has_bare_at(url):
        raise StoreUnavailableError(
            "the password in this database URL holds an unescaped @", where=shown, hint=_ESCAPING
        )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Its text may hold a part of the password.
        raise StoreUnavailableError("this is not a database URL", where=shown, hint=_EXAMPLES) from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite(parsed, shown)
    if parsed.drivername in _POSTGRES_NAMES:
        return _postgres(parsed.set(drivername="postgresql+psycopg"), shown)
    raise StoreUnavailableError(f"the store does not know {parsed.drivername!r}", where=shown, hint=_EXAMPLES)


def _has_bare_at(url: str) -> bool:
    """Return whether the login of a server's URL holds an @ that does not end it.

    A part of the password would be taken for the host, and go into logs and to name servers.
    """
    scheme, slashes, rest = url.partition("://")
    if not slashes or scheme.startswith("sqlite"):
        return False
    login, _, query = rest.partition("?")
    names = [part.partition("=")[0] for part in query.split("&")]
    return login.count("@") > 1 or any("@" in name for name in names)


def _sqlite(url: URL, shown: str) -> DatabaseTarget:
    database = url.database or ""
    if not database or ":memory:" in database or url.query.get("mode") == "memory":
        raise StoreUnavailableError(
            "a store in memory can't be shared by threads and processes", where=shown, hint="Name a file: " + _EXAMPLES
        )
    file = file_of(database)
    if file is not None:
        url = url.set(database=str(file))
    # The store waits for locks itself, and closes a thread's connection from another thread.
    return DatabaseTarget(url, "sqlite", shown, file, {"timeout": 0, "check_same_thread": False})


def _postgres(url: URL, shown: str) -> DatabaseTarget:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StoreUnavailableError(
            "the driver of PostgreSQL is missing", where=shown, hint="pip install 'victor-autotune-plugin[postgres]'"
        ) from error
    return DatabaseTarget(url, "postgresql", shown, None, {"fallback_application_name": "victor-autotune"})


def may_be_written(target: DatabaseTarget) -> bool:
    """Return whether SQLite may write to a database: to the file, and to its folder, where it keeps a log."""
    file = target.file
    if file is None or not file.exists():
        return True
    return os.access(file, os.W_OK) and os.access(_log_of(file).parent, os.W_OK)


def version_of(target: DatabaseTarget) -> tuple[int, ...] | None:
    """Return what changes when another user, who may, writes to a file, so that it must be opened again."""
    if target.file is None:
        return None
    try:
        status = target.file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, int(_has_log(target.file))


def as_read_only(target: DatabaseTarget) -> DatabaseTarget:
    """Return a database that may not be written to, opened by a way that needs no right to.

    Without a log the file alone is the database, and SQLite is told that it does not change: it would else want to make
    a log. With one both are read, by the index of the log that its writer keeps beside it.

    Args:
        target: An SQLite file.

    Raises:
        StoreUnavailableError: It has a log without an index, as where both were copied.
    """
    file = target.file
    if file is None:
        return target
    query = {"mode": "ro", "uri": "true"}
    if _has_log(file):
        _check_log(file, target.shown)
    else:
        query["immutable"] = "1"
    return evolve(target, url=target.url.set(database=f"file:{quote(str(file))}", query=query))


def _log_of(file: Path) -> Path:
    return Path(f"{os.path.realpath(file)}-wal")


def _has_log(file: Path) -> bool:
    log = _log_of(file)
    return log.exists() and log.stat().st_size > 0


def _check_log(file: Path, shown: str) -> None:
    import sqlite3

    log = _log_of(file)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=0)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise StoreUnavailableError(
            f"the log {log.name} beside it holds what is not in the file yet, and takes the right to write to be read",
            where=shown,
            hint=f"Copy both to a folder that you may write to (cp {file} {log} FOLDER), and read the copy.",
        ) from error
