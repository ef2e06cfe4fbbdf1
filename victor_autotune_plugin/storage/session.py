"""One connection to the database: statements, transactions, and waiting for locks.

The driver is in autocommit mode and transactions are opened by command, because SQLite must take its write lock at
the beginning (`BEGIN IMMEDIATE`): a transaction that reads first and asks for the lock later is refused as soon as
another process wrote in between.
"""

from __future__ import annotations

import os
import random
import select
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Dialect, SelectBase
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement, Executable

from ..errors import StoreError
from .failures import explain, is_busy, is_late, is_schema
from .location import DatabaseTarget

_T = TypeVar("_T")

_LONGEST_WAIT_SECONDS: Final = 0.002
_SHORTEST_WAIT_SECONDS: Final = 0.0005
_GROWN_IMPATIENT_SECONDS: Final = 0.02

_SERVER_SHARE: Final = 0.9
# Of the deadline the server gets so much for a statement: one that still answers then says so, and is kept.

_random: Final = random.Random()  # the user's own sequence of random numbers is not disturbed


def waits(patience: float) -> Iterator[bool]:
    """Sleep before every further try for a lock and yield True; end when the patience is over.

    Who waits longer tries more often, which makes a queue of many writers fair. SQLite's own waiting does the
    opposite (it grows to 100 ms a try), so newcomers starve the old.

    Args:
        patience: Seconds.
    """
    started = time.monotonic()
    while (waited := time.monotonic() - started) < patience:
        pause = _LONGEST_WAIT_SECONDS / (1.0 + waited / _GROWN_IMPATIENT_SECONDS)
        time.sleep(max(_SHORTEST_WAIT_SECONDS, pause) * _random.uniform(0.5, 1.0))
        yield True


COMPLETE_FILE: Final = "PRAGMA wal_checkpoint(TRUNCATE)"
"""Puts what was committed into SQLite's file and empties the log beside it; it says where others prevent that."""


class Statement:
    """A statement that is compiled once, at its first use or before.

    Args:
        statement: The statement.
        dialect: The database's dialect.
        columns: The columns that an insert or update sets.

    Attributes:
        sql: Its text for the driver.
    """

    sql: str
    _names: list[str] | None
    _fixed: dict[str, Any]
    _row: Any

    def __init__(self, statement: ClauseElement, dialect: Dialect, columns: Iterable[str] | None = None) -> None:
        self._source = statement, dialect, None if columns is None else list(columns)

    def __getattr__(self, name: str) -> Any:
        """Compile it when something asks for what that gives."""
        if name not in type(self).__annotations__:
            raise AttributeError(name)
        self.compile()
        return getattr(self, name)

    def compile(self) -> None:
        """Compile it now, since that takes longer than a transaction."""
        statement, dialect, columns = self._source
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        self._names = compiled.positiontup
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self._row = None
        if isinstance(statement, SelectBase):
            make: Any = namedtuple
            self._row = make("Row", [column.name for column in statement.selected_columns])._make
        self.sql = compiled.string

    def bind(self, values: Mapping[str, Any]) -> Any:
        """Return the values as the driver takes them: in the order of the text, or by name."""
        if self._fixed:
            values = {**self._fixed, **values}
        return values if self._names is None else [values[name] for name in self._names]

    def rows(self, found: Iterable[Any]) -> list[Any]:
        """Return what a query found as named tuples."""
        return [self._row(row) for row in found]


class Session:
    """A connection that one thread uses.

    Args:
        connection: The connection, detached from its pool.
        target: The database it leads to.
        patience: How long to wait for a lock, in seconds.
        identity: What tells its database file from another one that takes its place, or None without a file.
        deadline: How long the server may take for a statement, in seconds. It counts on PostgreSQL only.

    Attributes:
        pid: The process that opened it.
        busy: Whether a transaction is open.
        is_outdated: Whether the tables are no longer those that this version knows, so that it must look again.
    """

    def __init__(
        self,
        connection: Connection,
        target: DatabaseTarget,
        patience: float,
        identity: tuple[int, ...] | None,
        deadline: float = 5.0,
    ) -> None:
        self.connection = connection
        self.pid = os.getpid()
        self.identity = identity
        self.busy = False
        self.is_outdated = False
        # Held during a statement or transaction: a fork in another thread must not close the connection then.
        self._in_use = threading.Lock()
        self._is_held = False
        self._was_late = False
        self._driver: Any = connection.connection.dbapi_connection
        driver: Any = self._driver
        self._execute: Callable[..., Any] = driver.execute
        if target.backend == "postgresql":
            from psycopg import RawCursor

            self._execute = lambda sql, values: RawCursor(driver).execute(sql, values or None)
        self._deadline = deadline
        self._target = target
        self._patience = patience
        self._failed = False
        # PostgreSQL shows each statement what is committed when it begins, so a transaction that only reads would add
        # nothing but two more trips to the server.
        self._is_bare = False

    def execute(self, statement: Executable, *, plain: bool = False) -> list[Any]:
        """Run a statement that need not be fast, and return the rows it finds.

        Args:
            statement: What to run.
            plain: Whether as the driver's tuples, in two thirds of the time, for many rows; their values are the
                driver's, too: SQLite's truth values are numbers.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: A statement of the transaction failed before.
        """

        def run() -> list[Any]:
            result = self.connection.execute(statement)
            if plain and result.cursor is not None:
                with result:
                    return list(result.cursor.fetchall())
            return list(result.fetchall()) if result.returns_rows else []

        try:
            return self._patiently(run)
        except DBAPIError as error:
            raise self._explained(error.orig) from error

    def read(self, sql: str) -> list[Any]:
        """Return the rows that a query in the driver's words finds, as plain tuples.

        Args:
            sql: The query, without values.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: A statement of the transaction failed before.
        """
        found: list[Any] = self._perform(lambda cursor: cursor.fetchall(), sql)
        return found

    def apply(self, change: Callable[[Connection], None]) -> None:
        """Let something work with the connection, and say its failures as all others are said.

        Args:
            change: What works.

        Raises:
            StoreUnavailableError: The database can't be used.
        """
        try:
            if not self.connection.in_transaction():
                self.connection.begin()  # else what works with it would begin, and commit ours at its end
            change(self.connection)
        except DBAPIError as error:
            raise self._explained(error.orig) from error

    def query(self, statement: Statement, values: Mapping[str, Any], *, plain: bool = False) -> list[Any]:
        """Return the rows that a compiled query finds, as named tuples.

        Args:
            statement: The query.
            values: Its values by name.
            plain: Whether as tuples without names, in less time.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: A statement of the transaction failed before.
        """
        found: list[Any] = self._perform(lambda cursor: cursor.fetchall(), statement.sql, statement.bind(values))
        return found if plain else statement.rows(found)

    def write(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Run a compiled statement that writes, and return how many rows it wrote.

        Args:
            statement: The statement.
            values: Its values by name.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: The database refuses the data, or a statement of the transaction failed before.
        """
        return int(self._perform(lambda cursor: cursor.rowcount, statement.sql, statement.bind(values)))

    def maintain(self, sql: str, seconds: float) -> None:
        """Run a command of the database that may take long and stands outside transactions.

        Args:
            sql: The command.
            seconds: How long a server may take for it.

        Raises:
            StoreUnavailableError: The database can't be used, or is in use.
        """
        if self._target.backend == "postgresql":
            self._driver.seconds = seconds
        try:
            self._perform(_nothing, sql)
        finally:
            if self._target.backend == "postgresql":
                self._driver.seconds = self._deadline

    def begin(self, patience: float | None = None, deadline: float | None = None, *, reads: bool = False) -> None:
        """Open a transaction; on SQLite it holds the write lock from here on, unless it only reads.

        Args:
            patience: How long to wait for the lock, in seconds; None for the usual time.
            deadline: How long the server may take for a statement of it, in seconds; None for the usual time.
            reads: Whether it only reads.

        Raises:
            RuntimeError: One is open, which also happens when a transaction is kept across an `await`.
            StoreUnavailableError: The database can't be used.
        """
        if self.busy:
            raise RuntimeError("a transaction is open in this thread; end it before the next, and never await in it")
        self._in_use.acquire()
        self._is_held = True
        is_sqlite = self._target.backend == "sqlite"
        self._is_bare = reads and not is_sqlite
        if not self._is_bare:
            try:
                begin = "BEGIN" if reads and is_sqlite else self._begin(patience, deadline)
                self._perform(_nothing, begin, patience=patience)
            except BaseException:
                self._ended()
                raise
        self.busy = True

    def commit(self) -> None:
        """Make the transaction durable and end it.

        Raises:
            StoreUnavailableError: The database can't be used; the transaction is still to be rolled back.
            StoreError: A statement of it failed before, so there is nothing to keep.
        """
        if not self._is_bare:
            self._perform(_nothing, "COMMIT")
        elif self._failed:
            self._patiently(lambda: None)  # says so
        self._ended()

    def rollback(self) -> bool:
        """End the transaction without a trace.

        Returns:
            Whether the session can be used again.
        """
        try:
            if not self._is_bare:
                self._driver.execute("ROLLBACK")
        except self._error_class:  # SQLite rolled it back already, or the connection is lost
            return False
        finally:
            self._failed = False
            self._ended()
        return not self.is_closed

    @property
    def is_closed(self) -> bool:
        """Whether its connection was closed."""
        return self.connection.closed or self._is_broken()

    @property
    def is_inherited(self) -> bool:
        """Whether a parent process opened it, and a fork brought it here."""
        return self.pid != os.getpid() and not self.is_closed

    @property
    def is_hung_up(self) -> bool:
        """Whether the server has closed the connection while nothing was asked: a look at the socket, no round trip."""
        if self._target.backend == "sqlite" or self.busy or self.is_closed:
            return False
        poll = select.poll()
        poll.register(self._driver.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def is_lost(self) -> bool:
        """Return whether the connection broke, or a fork closed it, so that a new one may help.

        Of a server that did not answer in time a new one has to wait as long again.
        """
        return self.is_closed and not self._was_late

    def close(self) -> None:
        """Close the connection. Never raises: what is broken needs no closing."""
        with suppress(Exception):
            self.connection.close()

    def close_idle(self, seconds: float, *, completes_file: bool = False) -> bool:
        """Close the connection if its thread leaves it alone within a time; return whether it did.

        Args:
            seconds: The time.
            completes_file: Whether all that was committed is put into the SQLite file itself before, so that a copy of
                the file has it. Where another connection is at work that is left to it, and nothing waits.
        """
        if not self._in_use.acquire(timeout=seconds):
            return False
        try:
            if completes_file:
                with suppress(Exception):
                    self._driver.execute(COMPLETE_FILE).fetchall()
            self.close()
        finally:
            self._in_use.release()
        return True

    def _begin(self, patience: float | None, deadline: float | None) -> str:
        """Return the command that opens a transaction: what is set counts inside it only, as a pooler wants it."""
        if self._target.backend == "sqlite":
            return "BEGIN IMMEDIATE"
        lock = self._patience if patience is None else patience
        seconds = max(self._deadline if deadline is None else deadline, 2.0 * lock)
        self._driver.seconds = seconds
        settings = {"lock_timeout": lock, "statement_timeout": seconds * _SERVER_SHARE}
        return "BEGIN" + "".join(f"; SET LOCAL {name} = {max(1, round(s * 1000))}" for name, s in settings.items())

    def _ended(self) -> None:
        if self._target.backend == "postgresql":
            self._driver.seconds = self._deadline
        self.busy = False
        if self._is_held:
            self._is_held = False
            self._in_use.release()

    def _is_broken(self) -> bool:
        return self._target.backend == "postgresql" and bool(self._driver.closed)

    @property
    def _error_class(self) -> type[Exception]:
        found: type[Exception] = self.connection.dialect.loaded_dbapi.Error
        return found

    def _perform(self, take: Callable[[Any], Any], sql: str, values: Any = (), patience: float | None = None) -> Any:
        try:
            return self._patiently(lambda: take(self._execute(sql, values)), patience)
        except self._error_class as error:
            raise self._explained(error, patience) from error
        except (OverflowError, UnicodeError) as error:
            raise StoreError(f"the store refuses the data: {error}", where=self._target.shown) from error

    def _patiently(self, run: Callable[[], _T], patience: float | None = None) -> _T:
        """Run something again while the database is locked; after any other failure the transaction is over."""
        if self._failed:
            raise StoreError(
                "the transaction failed before and is not kept",
                where=self._target.shown,
                hint="Leave a transaction when one of its statements fails.",
            )
        if self._is_held:
            return self._repeatedly(run, patience)
        with self._in_use:
            return self._repeatedly(run, patience)

    def _repeatedly(self, run: Callable[[], _T], patience: float | None) -> _T:
        tries: Iterator[bool] | None = None
        while True:
            try:
                return run()
            except Exception as error:
                tries = tries or waits(self._patience if patience is None else patience)
                if not (is_busy(getattr(error, "orig", error)) and next(tries, False)):
                    self._failed = self.busy
                    raise

    def _explained(self, error: BaseException | None, patience: float | None = None) -> StoreError:
        waited = self._patience if patience is None else patience
        self._was_late = self._was_late or is_late(error)
        self.is_outdated = self.is_outdated or is_schema(error)
        return explain(error, self._target.shown, self._target.file, waited)


def _nothing(cursor: Any) -> None:
    """Take nothing from the cursor of a command."""
