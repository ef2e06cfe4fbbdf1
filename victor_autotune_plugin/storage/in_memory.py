"""A store in memory, with a clock that is handed in: the real store for a simulation in one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy import insert, make_url

from .connections import Connections
from .location import DatabaseTarget
from .session import Session
from .tables import metadata, store_row

_JULIAN_DAY_OF_1970 = 2440587.5


class MemoryConnections(Connections):
    """The one connection to a database in memory, which ends with it.

    Args:
        clock: What the database takes for the time, Unix seconds.
        store_id: Its id.
    """

    def __init__(self, clock: Callable[[], float], store_id: str) -> None:
        target = DatabaseTarget(
            make_url("sqlite://"), "sqlite", "memory", None, {"timeout": 0, "check_same_thread": True}
        )
        super().__init__(target, 0.0, partial(_create, store_id))
        self._clock = clock
        self._only: Session | None = None

    def session(self) -> Session:
        """Return the session.

        Raises:
            RuntimeError: Another thread asks for it, or it was closed.
        """
        if self._only is None:
            self._only = super().session()
            driver = self._only.connection.connection.dbapi_connection
            assert driver is not None
            driver.create_function("julianday", 1, lambda _: self._clock() / 86400.0 + _JULIAN_DAY_OF_1970)
        return self._only

    def close_before_fork(self) -> None:
        """Keep the connection: a child gets a copy of the database with it."""


def _create(store_id: str, connections: Connections) -> None:
    """Make the tables as the migrations leave them; to run those costs a hundred times as much."""
    session = connections.session()
    session.apply(metadata.create_all)
    session.execute(insert(store_row).values(id=store_id, revision=0, may_prune=True))
