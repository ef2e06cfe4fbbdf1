"""Bring a database to the schema of this version. Alembic is imported only when there is something to migrate."""

from __future__ import annotations

import logging
import threading
import uuid
from pathlib import Path
from typing import Final

from attrs import frozen
from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, text

from ..errors import StoreUnavailableError, StoreVersionError
from .connections import Connections
from .location import target_of
from .tables import HEAD, VERSION_TABLE, for_postgresql, metadata, store_row

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Alembic's script location."""

COMMAND: Final = "victor autotune init --database"
"""What gives a shared database the plugin's tables."""

_PATIENCE_SECONDS: Final = 30.0
_DEADLINE_SECONDS: Final = 300.0
# A statement of a migration may rewrite all runs.
_LOCK_KEY: Final = 4_802_019_511
# PostgreSQL's advisory lock that migrations take: any number, always the same.

_HAS_VERSION: Final = {
    "sqlite": f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{VERSION_TABLE}'",
    "postgresql": f"SELECT 1 WHERE to_regclass('{VERSION_TABLE}') IS NOT NULL",
}
_READ_VERSION: Final = f"SELECT version_num FROM {VERSION_TABLE}"
_alembic_in_use = threading.Lock()


@frozen
class SchemaChange:
    """What was done to a database's schema.

    Attributes:
        before: The schema that was there, or None where there was none.
        after: The schema that is there now.
    """

    before: str | None
    after: str


def create_schema(url: str) -> SchemaChange:
    """Give a database the plugin's tables, or bring them to this version's schema: what a person asks for once.

    A shared database gets them by no other way; a file also gets them when a team runs.

    Args:
        url: As for `Store`.

    Raises:
        StoreUnavailableError: It can't be reached, created, read or written.
        StoreVersionError: A newer version of the plugin wrote it.
    """
    found: list[str | None] = []

    def ensure(connections: Connections) -> None:
        found.append(_version(connections))
        ensure_schema(connections)

    connections = Connections(target_of(url), _PATIENCE_SECONDS, ensure, may_create=True)
    try:
        connections.session()
    finally:
        connections.close()
    return SchemaChange(found[0], HEAD)


def ensure_schema(connections: Connections) -> None:
    """Migrate the database to `HEAD` when it is older.

    Several processes and threads may do so at once: one migrates and the others wait for it.

    Raises:
        StoreVersionError: A newer version of the plugin wrote it, or an older one and it must be left as it is.
        StoreUnavailableError: It can't be used, or is a shared one without the plugin's tables.
    """
    version = _version(connections)
    if _is_current(version, connections):
        return
    shared = connections.target.backend == "postgresql"
    if version is None and (connections.look_only or (shared and not connections.may_create)):
        raise StoreUnavailableError(
            "the database has no tables of the plugin",
            where=connections.target.shown,
            hint=f"Create them once: {COMMAND}" + ("" if shared else ", or run a team"),
        )
    if connections.look_only:
        raise StoreVersionError(
            f"the store has schema {version}, and this version of the plugin works with {HEAD}",
            where=connections.target.shown,
            hint=f"Copy it to a folder that you may write to, and migrate the copy: {COMMAND}"
            if connections.is_read_only
            else f"Migrate it: {COMMAND}, or run a team",
        )
    # Alembic keeps its context in module globals, so one migration a process.
    if not _alembic_in_use.acquire(timeout=_PATIENCE_SECONDS):
        raise StoreUnavailableError(
            f"another migration did not end within {_PATIENCE_SECONDS:g} s",
            where=connections.target.shown,
            hint="Stop the program that migrates, and try again.",
        )
    try:
        session = connections.begin(_PATIENCE_SECONDS, _DEADLINE_SECONDS)
        try:
            if shared:
                session.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
            found = _version(connections)
            if not _is_current(found, connections):
                session.apply(create if found is None else upgrade)
            session.commit()
        except BaseException:
            connections.rollback(session)
            raise
    finally:
        _alembic_in_use.release()


def create(connection: Connection) -> None:
    """Make the tables in a database that has none, as the migrations leave them; to run those takes ten times as long.

    Args:
        connection: A connection with an open transaction.
    """
    versions = Table(
        VERSION_TABLE,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),  # as Alembic has it
    )
    if connection.dialect.name == "postgresql":
        for_postgresql()
    metadata.create_all(connection, checkfirst=False)
    versions.create(connection)
    connection.execute(insert(versions).values(version_num=HEAD))
    connection.execute(insert(store_row).values(id=uuid.uuid4().hex, revision=0, may_prune=True))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to a revision, inside the transaction that the connection has open.

    Args:
        connection: A connection with an open transaction.
        revision: Where to stop.
    """
    from alembic import command
    from alembic.config import Config

    steps = logging.getLogger("alembic")
    if steps.level == logging.NOTSET:  # what it says of each step is no news for who runs teams
        steps.setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _version(connections: Connections) -> str | None:
    session = connections.session()
    if not session.read(_HAS_VERSION[connections.target.backend]):
        return None
    found = session.read(_READ_VERSION)
    return found[0][0] if found else None


def _is_current(version: str | None, connections: Connections) -> bool:
    if version == HEAD:
        return True
    if version is None:
        return False
    if version.isdecimal() and int(version) < int(HEAD):
        return False
    raise StoreVersionError(
        f"the store has schema {version}, and this version of the plugin knows schemas up to {HEAD}",
        where=connections.target.shown,
        hint="pip install -U victor-autotune-plugin",
    )
