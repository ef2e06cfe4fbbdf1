"""What a driver's error means to a person: the message, and how to fix it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..errors import StoreBusyError, StoreError, StoreFullError, StoreUnavailableError

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}

_CONTENDED = {"40001", "40P01", "55P03"}
_NO_SUCH_TABLE_OR_COLUMN = {"42P01", "42703"}

# What PostgreSQL says by its SQLSTATE, and what a person does about it.
_POSTGRES = {
    "25006": ("the database is read-only", "Point the store at the primary server, not at a standby."),
    "28000": ("the server refuses the user", "Check the user and the password in the URL."),
    "28P01": ("the server refuses the password", "Check the user and the password in the URL."),
    "3D000": ("the database does not exist", "Create it (createdb), or correct its name in the URL."),
    "40001": ("another transaction was in the way", "Try again."),
    "40P01": ("another transaction was in the way (deadlock)", "Try again."),
    "42501": ("the user may not do that", "Grant the user the right to create and to write tables in its schema."),
    "53100": ("the server's disk is full", "Free space on the server."),
    "53300": ("the server has no connection left", "Raise max_connections, or close other clients."),
    "55P03": ("the team is locked by another client", "Try again; a lock that stays is shown by pg_stat_activity."),
    "57014": ("the server took too long", "Try again; a query that stays is shown by pg_stat_activity."),
}


def sqlite_code(error: BaseException | None) -> int | None:
    """Return SQLite's primary result code of an error, or None when it is not SQLite's."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_busy(error: BaseException | None) -> bool:
    """Return whether SQLite refused a statement because another connection holds the lock."""
    return sqlite_code(error) in _BUSY


def is_late(error: BaseException | None) -> bool:
    """Return whether the client gave up waiting for the server."""
    return type(error).__name__ == "DeadlineError"  # the driver of PostgreSQL need not be there


def is_schema(error: BaseException | None) -> bool:
    """Return whether tables or columns are missing, as when another version of the plugin migrated the database."""
    if isinstance(error, sqlite3.OperationalError):
        return sqlite_code(error) == sqlite3.SQLITE_ERROR
    return getattr(error, "sqlstate", None) in _NO_SUCH_TABLE_OR_COLUMN


def explain(error: BaseException | None, url: str, file: Path | None, patience: float) -> StoreError:
    """Return the error to raise for a driver's error.

    Args:
        error: The driver's error.
        url: The store's URL without secrets.
        file: The database file, or None when the store is not a plain file.
        patience: How long a lock was waited for, in seconds.

    Returns:
        A `StoreUnavailableError` when the store is at fault, else a `StoreError`: the data was.
    """
    if type(error).__name__ == "DataError":
        return _refused(error, url)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, url, str(file or url), patience)
    state = getattr(error, "sqlstate", None)
    if state in _POSTGRES:
        message, hint = _POSTGRES[state]
        kind = StoreBusyError if state in _CONTENDED else StoreUnavailableError
        return kind(message, where=url, hint=hint)
    reason = _first_line(error)
    if state is None or state.startswith(("08", "57P")):
        return StoreUnavailableError(
            f"the server can't be reached: {reason}",
            where=url,
            hint="Start the server, and check host, port, user and database in the URL.",
        )
    if state.startswith(("22", "23")):
        return StoreError(f"the store refuses the data: {reason}", where=url)
    return StoreUnavailableError(f"the server failed: {reason}", where=url, hint="See the server's log.")


def _of_sqlite(error: sqlite3.Error, url: str, place: str, patience: float) -> StoreError:
    code = sqlite_code(error)
    if code in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG):
        return _refused(error, url)
    if code is None and isinstance(error, sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return _refused(error, url)
    if code in _BUSY:
        message = f"the store stayed locked by another process for {patience:g} s"
        hint = f"Close the program that holds it (see `fuser {place}`), and try again."
        return StoreBusyError(message, where=url, hint=hint)
    if code == sqlite3.SQLITE_FULL:
        hint = f"Free space where {place} is, or set another store."
        return StoreFullError("the disk is full", where=url, hint=hint)
    if code == sqlite3.SQLITE_READONLY:
        message = "the store is read-only"
        hint = f"Give yourself the right to write to {place} and to its folder, or set another store."
    elif code in _BROKEN:
        message = f"the store's file is not a whole database: {_first_line(error)}"
        hint = f"Move it away (mv {place} {place}.broken); a new one is made at the next start."
    elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        message = "the store's file can't be opened"
        hint = f"Make {place} a file that you may write to, in a folder that you may write to, or set another store."
    elif code == sqlite3.SQLITE_IOERR:
        message = f"the store's file can't be read or written: {_first_line(error)}"
        hint = f"Check the disk that {place} is on, or set another store."
    else:
        message = f"the store failed: {_first_line(error)}"
        hint = f"If it stays, move the store away (mv {place} {place}.broken); a new one is made at the next start."
    return StoreUnavailableError(message, where=url, hint=hint)


def _refused(error: BaseException | None, url: str) -> StoreError:
    return StoreError(f"the store refuses the data: {_first_line(error)}", where=url)


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__qualname__])[0]
