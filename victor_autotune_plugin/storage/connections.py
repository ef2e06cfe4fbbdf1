"""Sessions: one a thread, across forks, lost servers, and deleted files."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, ResourceClosedError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import Executable

from ..errors import StoreError, StoreUnavailableError
from .failures import explain, is_busy
from .foreign import refuse_foreign_file, refuse_foreign_tables
from .location import DatabaseTarget, as_read_only, existing_file, may_be_written, prepare_file, version_of
from .session import Session, Statement, waits
from .statements import Statements, statements

_FORK_SECONDS: Final = 0.02
# A fork waits so long for sessions of other threads to become idle.

_CHECKPOINT_PAGES: Final = 4000
# A checkpoint costs some milliseconds, and about 15 pages are written a run: with SQLite's own 1000 pages more than
# one run in a hundred would pay for one.


class Connections:
    """Gives every thread its own persistent session.

    Safe with several threads and event loops. Before a fork idle connections to an SQLite file are closed and both
    processes open their own again: SQLite's locks belong to a process, and a child that inherits a connection believes
    that it holds its parent's. A session is renewed when another file took the place of its own.

    Args:
        target: The database.
        patience: How long to wait for a lock, in seconds.
        on_open: Called with this object in the thread of a new session, before it is used.
        deadline: How long a server may take for an answer, in seconds.
        look_only: Whether an existing database is opened to read: nothing is created or migrated.

    Attributes:
        look_only: As given.
        may_create: Whether a shared database may get the plugin's tables.
        is_read_only: Whether the database is opened so that nothing can be written, since nothing may.
    """

    def __init__(
        self,
        target: DatabaseTarget,
        patience: float,
        on_open: Callable[[Connections], None],
        *,
        deadline: float = 5.0,
        look_only: bool = False,
        may_create: bool = False,
    ) -> None:
        self.target = target
        self.look_only = look_only
        self.may_create = may_create
        self._patience = patience
        self._deadline = deadline
        self._on_open = on_open
        self.is_read_only = False
        self._engine = _engine(target, deadline)
        self._own_file: tuple[int, int] | None = None
        self._local = threading.local()
        self._sessions: dict[int, weakref.ref[Session]] = {}
        # Connections of a parent process: to close them would end its session, so they are kept until the exit.
        self._inherited: list[Any] = []
        _known.add(self)
        if not look_only:
            self.statements.compile()  # before anything waits for them

    @cached_property
    def statements(self) -> Statements:
        """The statements of transactions; for a command that only looks each is compiled when it needs it."""
        return statements(self.target.backend)

    def session(self) -> Session:
        """Return this thread's session, opened where there is none.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: What `on_open` raises.
        """
        session: Session | None = getattr(self._local, "session", None)
        if (
            session is not None
            and session.pid == os.getpid()
            and not session.is_closed
            and (session.busy or not session.is_outdated)
            and (session.busy or session.identity == self._identity())
        ):
            return session
        try:
            return self._new_session()
        except (StoreError, ResourceClosedError):
            if not self._was_lost():  # a fork in another thread may have closed it before it was ready
                raise
        return self._new_session()

    def _was_lost(self) -> bool:
        session: Session | None = getattr(self._local, "session", None)
        return session is not None and not session.busy and session.is_lost()

    def _new_session(self) -> Session:
        self._drop()
        session = self._open()
        try:
            self._on_open(self)
        except BaseException:
            if not self._was_lost():
                session.close()
                self._drop()
            raise
        found: Session = self._local.session  # another one, if it was lost meanwhile
        return found

    def execute(self, statement: Executable, *, plain: bool = False) -> list[Any]:
        """Return the rows that a statement finds in this thread's session, in a new one if the server was lost.

        Args:
            statement: What to run.
            plain: As for `Session.execute`.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: The database refuses the data.
        """
        return self._again(lambda session: session.execute(statement, plain=plain))

    def query(self, statement: Statement, values: Mapping[str, Any], *, plain: bool = False) -> list[Any]:
        """Return the rows that a compiled query finds, as `execute` does; of many small ones it saves three quarters.

        Args:
            statement: The query.
            values: Its values by name.
            plain: Whether as tuples without names.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: The database refuses the data.
        """
        return self._again(lambda session: session.query(statement, values, plain=plain))

    def _again(self, read: Callable[[Session], list[Any]]) -> list[Any]:
        """Read in this thread's session, in a new one if the server was lost."""
        session = self.session()
        try:
            return read(session)
        except (StoreError, ResourceClosedError):
            # A fork in another thread may have closed it just now.
            if session.busy or not session.is_lost():
                raise
        self._drop()
        return read(self.session())

    def run_alone(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """Run a compiled statement as a transaction of its own and return what it gives, again if the server was lost.

        What it writes must be right when it is written twice: a server that was lost may have kept it.

        Args:
            statement: The statement, which gives rows.
            values: Its values by name.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: The database refuses the data.
        """
        values = {**values, "lock_timeout": f"{max(1, round(self._patience * 1000))}ms"}
        session = self.session()
        try:
            return session.query(statement, values)
        except StoreError:
            if session.busy or not session.is_lost():
                raise
        self._drop()
        return self.session().query(statement, values)

    def begin(self, patience: float | None = None, deadline: float | None = None, *, reads: bool = False) -> Session:
        """Open a transaction in this thread's session and return the session.

        Args:
            patience: How long to wait for the lock, in seconds; None for the usual time.
            deadline: How long a server may take for a statement of it, in seconds; None for the usual time.
            reads: Whether it only reads, and so takes no lock.

        Raises:
            RuntimeError: One is open.
            StoreUnavailableError: The database can't be used.
        """
        session = self.session()
        if reads and session.is_hung_up:  # such a transaction would notice at its first statement only
            session.close()
            self._drop()
            session = self.session()
        try:
            session.begin(patience, deadline, reads=reads)
        except (StoreError, ResourceClosedError):
            if not session.is_lost():
                raise
            self._drop()
            session = self.session()
            session.begin(patience, deadline, reads=reads)
        return session

    def rollback(self, session: Session) -> None:
        """End the transaction of a session without a trace, and the session too if it can't be used again."""
        if not session.is_inherited and not session.rollback():
            self._drop()

    def close(self) -> None:
        """Close the sessions of all threads that are idle. Their threads open new ones when needed.

        What was committed is in an SQLite file itself then, unless another process is at work on it.
        """
        completes_file = self.target.file is not None and not self.look_only
        for session in self._all():
            if not session.is_inherited:
                session.close_idle(0.0, completes_file=completes_file)

    def close_before_fork(self) -> None:
        """Close the sessions of a file that are idle, or become so in a moment."""
        if self.target.backend != "sqlite":
            return
        own = getattr(self._local, "session", None)
        ends = time.monotonic() + _FORK_SECONDS
        for session in self._all():
            if not session.is_inherited:
                session.close_idle(0.0 if session is own else max(0.0, ends - time.monotonic()))

    def _all(self) -> list[Session]:
        found = (reference() for reference in list(self._sessions.values()))
        return [session for session in found if session is not None]

    def _identity(self) -> tuple[int, ...] | None:
        """Return what tells the file from another; and one that SQLite takes for fixed, from itself once it changed."""
        return version_of(self.target) if self.is_read_only else identity(self.target.file)

    def _drop(self) -> None:
        self._local.__dict__.pop("session", None)

    def _prepare(self, file: Path) -> None:
        if self.look_only:
            existing_file(file, self.target.shown)
        else:
            prepare_file(file, self.target.shown)
        found = identity(file)
        if found != self._own_file:
            self._own_file = found if refuse_foreign_file(file, self.target.shown) else None

    def _open(self) -> Session:
        inherited = self._inherited or any(session.is_inherited for session in self._all())
        if inherited and self.target.backend == "sqlite":
            raise StoreUnavailableError(
                "this process was forked in the middle of a transaction, so it can't use the store",
                where=self.target.shown,
                hint="Start processes by 'spawn', or fork before a team runs.",
            )
        if self.target.file is not None:
            self._prepare(self.target.file)
        self.is_read_only = self.look_only and not may_be_written(self.target)
        known = self._identity()
        session = open_session(
            _engine(as_read_only(self.target), self._deadline) if self.is_read_only else self._engine,
            self.target,
            self._patience,
            self._deadline,
            look_only=self.look_only,
            is_own=self._own_file is not None,
        )
        if self.is_read_only:
            session.identity = known
        self._local.session = session
        self._sessions[id(session)] = weakref.ref(session)
        weakref.finalize(session, self._sessions.pop, id(session), None)
        late = weakref.finalize(session, _close_late, session.connection, session.pid, self._inherited)
        late.atexit = False  # else a process that ends takes it away from a thread that still writes
        return session


def _engine(target: DatabaseTarget, deadline: float) -> Engine:
    if target.backend == "sqlite":
        return create_engine(
            target.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=target.connect_args
        )
    from .deadline import connect

    def create() -> Any:
        return connect(parameters, deadline)

    engine = create_engine(target.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", creator=create)
    parameters = {**target.connect_args, **engine.dialect.create_connect_args(target.url)[1]}
    return engine


def _close_late(connection: Any, pid: int, inherited: list[Any]) -> None:
    """Close the connection of a thread that ended; one that a fork brought along is kept."""
    if connection.closed:
        return
    if pid != os.getpid():
        inherited.append(connection)
        return
    with suppress(Exception):  # it is broken, or the interpreter goes down: nothing is left to close
        connection.close()


_known: Final[weakref.WeakSet[Connections]] = weakref.WeakSet()


def _before_fork() -> None:
    for connections in list(_known):
        connections.close_before_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


def open_session(
    engine: Engine,
    target: DatabaseTarget,
    patience: float,
    deadline: float = 5.0,
    *,
    look_only: bool = False,
    is_own: bool = False,
) -> Session:
    """Open a connection and set it up.

    Args:
        engine: What connects.
        target: The database.
        patience: How long to wait for a lock, in seconds.
        deadline: How long a server may take for an answer, in seconds.
        look_only: Whether the file is left in the mode it is in.
        is_own: Whether it is known to be a store, and no database of another program.

    Raises:
        StoreUnavailableError: The database can't be used.
    """
    tries = waits(max(patience, 1.0))
    while True:
        connection: Connection | None = None
        try:
            connection = engine.connect()
            connection.detach()  # the pool would roll back and close it behind our back, also in a forked child
            if target.backend == "sqlite":
                driver: Any = connection.connection.dbapi_connection
                if not is_own:
                    refuse_foreign_tables(driver, target.shown)
                if not look_only:
                    _use_wal(driver)
            return Session(connection, target, patience, identity(target.file), deadline)
        except StoreUnavailableError:
            if connection is not None:
                connection.close()
            raise
        except (DBAPIError, sqlite3.Error) as error:
            if connection is not None:
                connection.close()
            original = error.orig if isinstance(error, DBAPIError) else error
            if not (is_busy(original) and next(tries, False)):
                raise explain(original, target.shown, target.file, patience) from error


def identity(file: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from another one that takes its place, or None without a file."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _use_wal(driver: sqlite3.Connection) -> None:
    try:
        mode = driver.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    except sqlite3.Error as error:
        if is_busy(error):
            raise
        return  # opened read-only: reading works, and writing says what is wrong
    if mode == "wal":  # without it (some network file systems) SQLite's safer defaults stay
        for pragma in ("synchronous=NORMAL", f"wal_autocheckpoint={_CHECKPOINT_PAGES}", "journal_size_limit=16777216"):
            driver.execute(f"PRAGMA {pragma}")
