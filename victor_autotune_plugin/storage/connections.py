"""One session a thread, across forks, lost servers, and files that were deleted."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import Executable

from ..errors import StoreUnavailableError
from .location import prepare_file
from .opening import identity, open_session
from .session import Session
from .statements import statements
from .target import Target

_POLL_SECONDS: Final = 0.001


class Connections:
    """Gives every thread its own persistent session.

    Safe with several threads and event loops. Before a fork the connections to an SQLite file are closed and both
    processes open their own again: SQLite's locks belong to a process, and a child that inherits a connection believes
    that it holds its parent's. A session is renewed when another file took the place of its own.

    Args:
        target: The database.
        patience: How long to wait for a lock, in seconds.
        on_open: Called with this object in the thread of a new session, before it is used.
    """

    def __init__(self, target: Target, patience: float, on_open: Callable[[Connections], None]) -> None:
        self.target = target
        self.statements = statements(target.backend)
        self._patience = patience
        self._on_open = on_open
        self._engine: Engine = create_engine(
            target.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=target.connect_args
        )
        self._local = threading.local()
        self._sessions: dict[int, weakref.ref[Session]] = {}
        # Connections of a parent process: to close them would end its session, so they are kept until the exit.
        self._inherited: list[Any] = []
        _known.add(self)

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
            and (session.busy or session.identity == identity(self.target.file))
        ):
            return session
        self._drop()
        session = self._open()
        try:
            self._on_open(self)
        except BaseException:
            self._drop()
            raise
        return session

    def execute(self, statement: Executable) -> list[Any]:
        """Return the rows that a statement finds in this thread's session, in a new one if the server was lost.

        Args:
            statement: What to run.

        Raises:
            StoreUnavailableError: The database can't be used.
            StoreError: The database refuses the data.
        """
        session = self.session()
        try:
            return session.execute(statement)
        except StoreUnavailableError:
            if session.busy or not session.is_lost():
                raise
        self._drop()
        return self.session().execute(statement)

    def begin(self, patience: float | None = None) -> Session:
        """Open a transaction in this thread's session and return the session.

        Args:
            patience: How long to wait for the lock, in seconds; None for the usual time.

        Raises:
            RuntimeError: One is open.
            StoreUnavailableError: The database can't be used.
        """
        session = self.session()
        try:
            session.begin(patience)
        except StoreUnavailableError:
            if not session.is_lost():
                raise
            self._drop()
            session = self.session()
            session.begin(patience)
        return session

    def rollback(self, session: Session) -> None:
        """End the transaction of a session without a trace, and the session too if it can't be used again."""
        if not session.is_inherited and not session.rollback():
            self._drop()

    def close(self) -> None:
        """Close the sessions of all threads that have no transaction open. Their threads open new ones when needed."""
        for session in self._all():
            if not session.is_inherited and not session.busy:
                session.close()

    def close_before_fork(self) -> None:
        """Close the sessions of a file; wait a moment for the transactions of other threads."""
        if self.target.backend != "sqlite":
            return
        own = getattr(self._local, "session", None)
        deadline = time.monotonic() + self._patience
        while any(session.busy for session in self._all() if session is not own) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self.close()

    def _all(self) -> list[Session]:
        found = (reference() for reference in list(self._sessions.values()))
        return [session for session in found if session is not None]

    def _drop(self) -> None:
        self._local.__dict__.pop("session", None)

    def _open(self) -> Session:
        inherited = self._inherited or any(session.is_inherited for session in self._all())
        if inherited and self.target.backend == "sqlite":
            raise StoreUnavailableError(
                "this process was forked in the middle of a transaction, so it can't use the store",
                where=self.target.shown,
                hint="Start processes by 'spawn', or fork before a team runs.",
            )
        if self.target.file is not None:
            prepare_file(self.target.file, self.target.shown)
        session = open_session(self._engine, self.target, self._patience)
        self._local.session = session
        self._sessions[id(session)] = weakref.ref(session)
        weakref.finalize(session, self._sessions.pop, id(session), None)
        weakref.finalize(session, _close_late, session.connection, session.pid, self._inherited)
        return session


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
