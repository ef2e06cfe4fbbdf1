"""Gives the room back that rows leave when they go: a database keeps it for new ones."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from sqlalchemy import text

from ..errors import StoreBusyError
from .connections import Connections
from .session import COMPLETE_FILE, Session, waits
from .tables import metadata

_VACUUM_SECONDS: Final = 600.0
_COMPLETE_SECONDS: Final = 10.0
_EMPTIED: Final = ("autotune_run", "autotune_score")


@frozen
class Compaction:
    """What a compaction did.

    Attributes:
        before: Bytes that the store took before.
        after: Bytes that it takes now.
    """

    before: int
    after: int


def compact(connections: Connections) -> Compaction:
    """Give room back: SQLite's file shrinks, and PostgreSQL uses the room of its tables again.

    While it goes on, which takes some seconds a gigabyte, no other process can write to an SQLite file, which needs as
    much free room on the disk again. What runs record meanwhile waits in journals.

    Raises:
        StoreBusyError: Another process writes.
        StoreUnavailableError: The disk is full, or the user of the server may not.
    """
    before = stored_bytes(connections)
    session = connections.session()
    if connections.target.backend == "sqlite":
        session.maintain("VACUUM", _VACUUM_SECONDS)
        _complete_file(session, connections.target.shown)
    else:
        session.maintain(f"VACUUM {', '.join(_EMPTIED)}", _VACUUM_SECONDS)
    return Compaction(before, stored_bytes(connections))


def _complete_file(session: Session, shown: str) -> None:
    """Put the new file in the place of the old one, in a moment in which no other process is at work on it.

    Raises:
        StoreBusyError: There was none.
    """
    if session.read(COMPLETE_FILE)[0][0] and all(session.read(COMPLETE_FILE)[0][0] for _ in waits(_COMPLETE_SECONDS)):
        raise StoreBusyError("others are at work on the store all the time", where=shown)


def stored_bytes(connections: Connections) -> int:
    """Return how many bytes a store takes: the file, or the tables with their indexes."""
    file = connections.target.file
    if file is not None:
        log = file.with_name(f"{file.name}-wal")
        return sum(one.stat().st_size for one in (file, log) if one.exists())
    names = ", ".join(f"('{name}')" for name in metadata.tables)
    size = f"SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0) FROM (VALUES {names}) AS tables(name)"
    return int(connections.execute(text(size))[0][0])
