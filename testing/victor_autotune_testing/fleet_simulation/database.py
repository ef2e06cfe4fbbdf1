"""The one database of a fleet: the store's own tables and statements on SQLite in memory, begun from an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from victor_autotune_plugin.storage.in_memory import MemoryConnections

STORE_ID = "5" * 32
"""Id of the store of every fleet, so that the ids of its experiments are the same each time."""


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

    def set_to(self, image: bytes | None, clock: Callable[[], float]) -> None:
        """Begin again from an image; None for a store without a run."""
        self.clock = clock
        self.driver.deserialize(self._empty if image is None else image)

    def image(self) -> bytes:
        """Return what it holds."""
        image: bytes = self.driver.serialize()
        return image

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds; no network is between."""
        found: list[tuple[Any, ...]] = self.driver.execute(query, values).fetchall()
        return found

    @property
    def written(self) -> int:
        """How many rows were ever written: another number says that something may have changed."""
        count: int = self.driver.total_changes
        return count
