"""One database connection a thread, and every statement of the store on its way.

The driver is in autocommit mode and transactions are opened by statement, because SQLite must take its write lock
at the beginning (`BEGIN IMMEDIATE`): a transaction that reads first and asks for the lock later is refused as soon
as another process wrote in between.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import Executable

from .failures import explain, is_busy
from .location import prepare_file
from .target import Target

_CHECKPOINT_PAGES: Final = 4000
# A checkpoint costs some milliseconds, and about 15 pages are written a run: with SQLite's own 1000 pages more than
# one run in a hundred would pay for one.

_WAIT_SECONDS: Final = (0.0002, 0.002)
# Between two tries for a lock. SQLite's own waiting grows to 100 ms a try, which starves a waiter among many writers.

_BEGIN: Final = {"sqlite": text("BEGIN IMMEDIATE"), "postgresql": text("BEGIN")}
_COMMIT: Final = text("COMMIT")
_ROLLBACK: Final = text("ROLLBACK")

_abandoned: list[Connection] = []
# Connections of a parent process. Closing them here would end the parent's session, so they are kept until the exit.


class _Slot:
    """A thread's connection."""

    __slots__ = ("__weakref__", "busy", "connection", "identity", "pid")

    def __init__(self, connection: Connection, identity: tuple[int, int] | None) -> None:
        self.connection = connection
        self.identity = identity
        self.pid = os.getpid()
        self.busy = False


def _close(connection: Connection, pid: int) -> None:
    if os.getpid() != pid:
        _abandoned.append(connection)
        return
    with suppress(Exception):  # the connection is broken, or the interpreter goes down: nothing is left to close
        connection.close()


class Connections:
    """Gives every thread its own persistent connection, and waits for locks.

    Safe with several threads and event loops; a child process after a fork opens its own.

    Args:
        target: The database.
        patience: How long to wait for a lock, in seconds.
        on_open: Called with this object in the thread of a new connection, before it is used.
    """

    def __init__(self, target: Target, patience: float, on_open: Callable[[Connections], None]) -> None:
        self.target = target
        self._patience = patience
        self._on_open = on_open
        self._engine: Engine = create_engine(
            target.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args=target.connect_args,
        )
        self._local = threading.local()
        self._slots: dict[int, weakref.ref[_Slot]] = {}
        self._random = random.Random()

    def open(self) -> None:
        """Open this thread's connection now, rather than at the first statement.

        Raises:
            StoreError: As `execute`, or what `on_open` raises.
        """
        self._slot()

    @property
    def raw(self) -> Connection:
        """This thread's connection, for migrations."""
        return self._slot().connection

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None, *, patience: float | None = None
    ) -> CursorResult[Any]:
        """Run a statement in this thread's connection.

        A locked database is tried again until the patience is over, and a connection that was lost while no
        transaction was open is opened again.

        Args:
            statement: What to run.
            parameters: Its values by name.
            patience: How long to wait for a lock, in seconds; None for the usual time.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: The database refuses the data.
        """
        slot = self._slot()
        wait = self._patience if patience is None else patience
        deadline = time.monotonic() + wait
        reconnected = False
        while True:
            try:
                return slot.connection.execute(statement, parameters)
            except DBAPIError as error:
                if is_busy(error) and time.monotonic() < deadline:
                    time.sleep(self._random.uniform(*_WAIT_SECONDS))
                    continue
                if error.connection_invalidated:
                    was_busy = slot.busy
                    self._drop()
                    if not was_busy and not reconnected:
                        slot, reconnected = self._slot(), True
                        continue
                raise self._explain(error, wait) from error

    def begin(self, *, patience: float | None = None) -> None:
        """Open a transaction in this thread; on SQLite it holds the write lock from here on.

        Raises:
            RuntimeError: One is open already, which also happens when a transaction is kept across an `await`.
            StoreUnavailableError: The database can't be used.
        """
        if self._slot().busy:
            raise RuntimeError(
                "a transaction is open in this thread already; end it before the next, and never await in it"
            )
        self.execute(_BEGIN[self.target.backend], patience=patience)
        self._slot().busy = True

    def commit(self) -> None:
        """Make the transaction of this thread durable and end it."""
        self.execute(_COMMIT)
        self._slot().busy = False

    def rollback(self) -> None:
        """End the transaction of this thread without a trace. Never raises a database error."""
        slot: _Slot | None = getattr(self._local, "slot", None)
        if slot is None or slot.pid != os.getpid():
            return
        try:
            slot.connection.execute(_ROLLBACK)
            slot.busy = False
        except DBAPIError:  # it is rolled back already, or the connection is lost: a new one is clean in both cases
            self._drop()

    def close(self) -> None:
        """Close the connections of all threads that have no transaction open."""
        for reference in list(self._slots.values()):
            slot = reference()
            if slot is not None and not slot.busy:
                _close(slot.connection, slot.pid)
                slot.pid = -1  # so that its thread opens a new one when it comes back
        self._local.__dict__.pop("slot", None)

    def _explain(self, error: DBAPIError, wait: float) -> Exception:
        return explain(error, self.target.shown, self.target.file, wait)

    def _slot(self) -> _Slot:
        slot: _Slot | None = getattr(self._local, "slot", None)
        if slot is not None and slot.pid == os.getpid() and (slot.busy or slot.identity == _identity(self.target.file)):
            return slot
        self._drop()
        slot = self._open()
        self._local.slot = slot
        self._slots[id(slot)] = weakref.ref(slot)
        weakref.finalize(slot, self._slots.pop, id(slot), None)
        weakref.finalize(slot, _close, slot.connection, slot.pid)
        try:
            self._on_open(self)
        except BaseException:
            self._drop()
            raise
        return slot

    def _drop(self) -> None:
        self._local.__dict__.pop("slot", None)

    def _open(self) -> _Slot:
        if self.target.file is not None:
            prepare_file(self.target.file, self.target.shown)
        deadline = time.monotonic() + max(self._patience, 1.0)
        while True:
            connection: Connection | None = None
            try:
                connection = self._engine.connect()
                connection.detach()  # the pool would roll back and close it behind our back, also in a forked child
                for line in self.target.first_statements:
                    connection.exec_driver_sql(line)
                if self.target.backend == "sqlite":
                    _use_wal(connection)
                return _Slot(connection, _identity(self.target.file))
            except DBAPIError as error:
                if connection is not None:
                    connection.close()
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise self._explain(error, self._patience) from error
                time.sleep(self._random.uniform(*_WAIT_SECONDS))


def _use_wal(connection: Connection) -> None:
    try:
        mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
    except DBAPIError as error:
        if is_busy(error):
            raise
        return  # opened read-only: reading works, and writing says what is wrong
    if mode == "wal":  # without it (some network file systems) SQLite's safer defaults stay
        for pragma in ("synchronous=NORMAL", f"wal_autocheckpoint={_CHECKPOINT_PAGES}", "journal_size_limit=16777216"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")


def _identity(file: Path | None) -> tuple[int, int] | None:
    """What tells a database file from another one that took its place, or None without one."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
