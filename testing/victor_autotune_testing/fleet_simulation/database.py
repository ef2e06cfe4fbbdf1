"""The one database of a fleet: the store's own tables and statements on SQLite in memory, begun from an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Select, select

from victor_autotune_plugin.storage.in_memory import MemoryConnections
from victor_autotune_plugin.storage.session import Statement
from victor_autotune_plugin.storage.tables import store_row

STORE_ID = "5" * 32
"""Id of the store of every fleet, so that the ids of its experiments are the same each time."""


_IDENTITY: Final = select(store_row)
# By which a host looks for what has changed.


def _is_whole_store_row(statement: Any) -> bool:
    columns = statement._raw_columns  # to have them resolved takes longer than the query
    return len(columns) == 1 and columns[0] is store_row and statement.whereclause is None


class Database:
    """A database that can be set to an image of one in next to no time.

    Attributes:
        clock: What it takes for the time, Unix seconds.
        connections: The connection that all hosts share.
        driver: The same, as the driver has it, for looking.
    """

    def __init__(self) -> None:
        self.clock: Callable[[], float] = lambda: 0.0
        self.connections = MemoryConnections(lambda: self.clock(), STORE_ID)
        session = self.connections.session()
        driver: Any = session.connection.connection.dbapi_connection
        self.driver = driver
        self._empty: bytes = driver.serialize()
        self._identity = Statement(_IDENTITY, session.connection.dialect)

    def set_to(self, image: bytes | None, clock: Callable[[], float]) -> None:
        """Begin again from an image; None for a store without a run."""
        self.clock = clock
        self.driver.deserialize(self._empty if image is None else image)

    def image(self) -> bytes:
        """Return what it holds."""
        image: bytes = self.driver.serialize()
        return image

    def found(self, statement: Any) -> list[Any]:
        """Return what a statement of the store finds; what each host asks every second is compiled once."""
        if isinstance(statement, Select) and _is_whole_store_row(statement):
            return self.connections.session().query(self._identity, {})
        return self.connections.execute(statement)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds; no network is between."""
        found: list[tuple[Any, ...]] = self.driver.execute(query, values).fetchall()
        return found

    @property
    def written(self) -> int:
        """How many rows were ever written: another number says that something may have changed."""
        count: int = self.driver.total_changes
        return count
