"""A database URL, understood."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..errors import StoreUnavailableError
from .location import file_of, without_secrets

_EXAMPLES: Final = "Write sqlite:////path/to/autotune.db or postgresql+psycopg://user@host/database."
_POSTGRES_NAMES: Final = ("postgres", "postgresql", "postgresql+psycopg")
_CONNECT_TIMEOUT_SECONDS: Final = 3
_STATEMENT_TIMEOUT_SECONDS: Final = 30


@frozen
class Target:
    """The database behind a URL.

    Attributes:
        url: The URL for SQLAlchemy, with its driver.
        backend: `sqlite` or `postgresql`.
        shown: The URL for people, without secrets.
        file: The database file, or None when it is not a plain file.
        connect_args: Arguments of the driver.
        first_statements: What a new connection is told first.
    """

    url: URL
    backend: str
    shown: str
    file: Path | None = None
    connect_args: Mapping[str, Any] = field(factory=dict)
    first_statements: tuple[str, ...] = ()


def target_of(url: str, patience: float) -> Target:
    """Read a database URL.

    Args:
        url: `sqlite:///…` or `postgresql+psycopg://…`.
        patience: How long a statement waits for a lock, in seconds.

    Raises:
        StoreUnavailableError: It is no URL, of no database that the store knows, or its driver is missing.
    """
    shown = without_secrets(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StoreUnavailableError("this is not a database URL", where=shown, hint=_EXAMPLES) from error
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite(parsed, shown)
    if parsed.drivername in _POSTGRES_NAMES:
        return _postgres(parsed.set(drivername="postgresql+psycopg"), shown, patience)
    raise StoreUnavailableError(f"the store does not know {parsed.drivername!r}", where=shown, hint=_EXAMPLES)


def _sqlite(url: URL, shown: str) -> Target:
    database = url.database or ""
    if not database or ":memory:" in database or url.query.get("mode") == "memory":
        raise StoreUnavailableError(
            "a store in memory can't be shared by threads and processes", where=shown, hint="Name a file: " + _EXAMPLES
        )
    file = file_of(database)
    if file is not None:
        url = url.set(database=str(file))
    # The store waits for locks itself, and closes a thread's connection from another thread.
    return Target(url, "sqlite", shown, file, {"timeout": 0, "check_same_thread": False})


def _postgres(url: URL, shown: str, patience: float) -> Target:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StoreUnavailableError(
            "the driver of PostgreSQL is missing", where=shown, hint="pip install 'victor-autotune-plugin[postgres]'"
        ) from error
    arguments = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_TIMEOUT_SECONDS}
    first = (
        f"SET lock_timeout = {max(1, round(patience * 1000))}",
        f"SET statement_timeout = {_STATEMENT_TIMEOUT_SECONDS * 1000}",
        "SET application_name = 'victor-autotune'",
    )
    return Target(url, "postgresql", shown, None, arguments, first)
