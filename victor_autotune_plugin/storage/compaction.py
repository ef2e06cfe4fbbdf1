"""Gives the room back that rows leave when they go: a database keeps it for new ones."""

from __future__ import annotations

import shutil
from typing import Final

from attrs import frozen
from sqlalchemy import text

from ..errors import StoreBusyError, StoreFullError
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
        StoreFullError: The disk has too little room for that, or got full.
        StoreUnavailableError: The user of the server may not.
    """
    before = stored_bytes(connections)
    session = connections.session()
    if connections.target.backend == "sqlite":
        _check_room(connections)
        session.maintain("VACUUM", _VACUUM_SECONDS)
        _complete_file(session, connections.target.shown)
    else:
        session.maintain(f"VACUUM {', '.join(_EMPTIED)}", _VACUUM_SECONDS)
    return Compaction(before, stored_bytes(connections))


def spare_bytes(connections: Connections) -> int:
    """Return how many bytes of an SQLite file hold nothing; 0 for a server, which uses them itself."""
    if connections.target.backend != "sqlite":
        return 0
    session = connections.session()
    return int(session.read("PRAGMA freelist_count")[0][0]) * int(session.read("PRAGMA page_size")[0][0])


def write_back(connections: Connections) -> None:
    """Put what was committed into an SQLite file and empty the log beside it, as far as others' work allows."""
    if connections.target.backend == "sqlite":
        connections.session().read(COMPLETE_FILE)


def _check_room(connections: Connections) -> None:
    """Make sure that the disk has room for what the file holds, once more.

    Raises:
        StoreFullError: Others who write to the store would meet a full disk meanwhile.
    """
    file = connections.target.file
    if file is None:
        return
    session = connections.session()
    pages, size = session.read("PRAGMA page_count")[0][0], session.read("PRAGMA page_size")[0][0]
    needed, free = pages * size - spare_bytes(connections), shutil.disk_usage(file.parent).free
    if needed > free:
        raise StoreFullError(
            f"that takes {needed / 1e6:,.1f} MB of free disk for a moment, and {free / 1e6:,.1f} MB are free",
            where=connections.target.shown,
            hint="Free more, then run victor autotune prune again.",
        )


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
