"""Opening a connection to the database and setting it up."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from .failures import explain, is_busy
from .session import Session, waits
from .target import Target

_CHECKPOINT_PAGES: Final = 4000
# A checkpoint costs some milliseconds, and about 15 pages are written a run: with SQLite's own 1000 pages more than
# one run in a hundred would pay for one.


def open_session(engine: Engine, target: Target, patience: float) -> Session:
    """Open a connection and set it up.

    Raises:
        StoreUnavailableError: The database can't be used.
    """
    tries = waits(max(patience, 1.0))
    while True:
        connection: Connection | None = None
        try:
            connection = engine.connect()
            connection.detach()  # the pool would roll back and close it behind our back, also in a forked child
            for statement in target.first_statements:
                connection.exec_driver_sql(statement)
            if target.backend == "sqlite":
                _use_wal(connection)
            return Session(connection, target, patience, identity(target.file))
        except DBAPIError as error:
            if connection is not None:
                connection.close()
            if not (is_busy(error.orig) and next(tries, False)):
                raise explain(error.orig, target.shown, target.file, patience) from error


def identity(file: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from another one that takes its place, or None without a file."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _use_wal(connection: Connection) -> None:
    try:
        mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
    except DBAPIError as error:
        if is_busy(error.orig):
            raise
        return  # opened read-only: reading works, and writing says what is wrong
    if mode == "wal":  # without it (some network file systems) SQLite's safer defaults stay
        for pragma in ("synchronous=NORMAL", f"wal_autocheckpoint={_CHECKPOINT_PAGES}", "journal_size_limit=16777216"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
