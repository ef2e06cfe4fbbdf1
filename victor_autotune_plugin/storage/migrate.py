"""Bring a database to the schema of this version. Alembic is imported only when there is something to do."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from ..errors import StoreUnavailableError, StoreVersionError
from .connections import Connections
from .tables import HEAD, VERSION_TABLE

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Alembic's script location."""

_PATIENCE_SECONDS: Final = 30.0
_LOCK_KEY: Final = 4_802_019_511
# PostgreSQL's advisory lock that migrations take: any number, always the same.

_HAS_VERSION: Final = {
    "sqlite": text(f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{VERSION_TABLE}'"),
    "postgresql": text(f"SELECT 1 WHERE to_regclass('{VERSION_TABLE}') IS NOT NULL"),
}
_READ_VERSION: Final = text(f"SELECT version_num FROM {VERSION_TABLE}")
_alembic_in_use = threading.Lock()


def ensure_schema(connections: Connections) -> None:
    """Migrate the database to `HEAD` when it is older.

    Several processes and threads may do so at once: one migrates and the others wait for it.

    Raises:
        StoreVersionError: A newer version of the plugin wrote it.
        StoreUnavailableError: It can't be used.
    """
    if _is_current(connections):
        return
    # Alembic keeps its context in module globals, so one migration a process.
    if not _alembic_in_use.acquire(timeout=_PATIENCE_SECONDS):
        raise StoreUnavailableError(
            f"another migration did not end within {_PATIENCE_SECONDS:g} s",
            where=connections.target.shown,
            hint="Stop the program that migrates, and try again.",
        )
    try:
        session = connections.begin(_PATIENCE_SECONDS)
        try:
            if connections.target.backend == "postgresql":
                session.execute(text(f"SET LOCAL lock_timeout = {int(_PATIENCE_SECONDS * 1000)}"))
                session.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
            if not _is_current(connections):
                session.apply(upgrade)
            session.commit()
        except BaseException:
            connections.rollback(session)
            raise
    finally:
        _alembic_in_use.release()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to a revision, inside the transaction that the connection has open.

    Args:
        connection: A connection with an open transaction.
        revision: Where to stop.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _is_current(connections: Connections) -> bool:
    if not connections.execute(_HAS_VERSION[connections.target.backend]):
        return False
    found = connections.execute(_READ_VERSION)
    if not found:
        return False
    version: str = found[0].version_num
    if version == HEAD:
        return True
    if version.isdecimal() and int(version) < int(HEAD):
        return False
    raise StoreVersionError(
        f"the store has schema {version}, and this version of the plugin knows schemas up to {HEAD}",
        where=connections.target.shown,
        hint="pip install -U victor-autotune-plugin",
    )
