"""What the statements of the store are put together from."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import Dialect, Double, Table, Text, and_, bindparam, func, literal_column, select

from .tables import process

# Spelt out, so that partial indexes on them are used.
FINISHED: Final[Any] = literal_column("'finished'")
RUNNING: Final[Any] = literal_column("'running'")
LOST: Final[Any] = literal_column("'lost'")
LATE: Final[Any] = literal_column("'late'")
TRUE: Final[Any] = literal_column("true")
NULL: Final[Any] = literal_column("NULL")


@cache
def dialect_of(backend: str) -> Dialect:
    """Return what statements for `sqlite` or `postgresql` are compiled with."""
    if backend == "sqlite":
        from sqlalchemy.dialects.sqlite import pysqlite

        return pysqlite.dialect()
    from sqlalchemy.dialects.postgresql import psycopg

    dialect: Any = psycopg.dialect
    # As the server itself has them: the driver would else look for placeholders in every statement, every time.
    found: Dialect = dialect(paramstyle="numeric_dollar")
    return found


def names_of(table: Table) -> list[str]:
    """Return the names of a table's columns."""
    return [column.name for column in table.columns]


def given(table: Any, *names: str) -> Any:
    """Return that columns are as given: each by its name with `of_` before it."""
    return and_(*(table.c[name] == bindparam(f"of_{name}") for name in names))


def given_or_any(table: Any, *names: str) -> Any:
    """Return that columns are as given, where they are given."""
    return and_(*(table.c[name] == func.coalesce(bindparam(f"of_{name}", type_=Text), table.c[name]) for name in names))


def lives(now: Any, owner: Any) -> Any:
    """Return whether the process of an id gave a sign of life not `silent_seconds` ago and has not ended."""
    silent = bindparam("silent_seconds", type_=Double)
    # A sign of life from the future was written before the clock was set back.
    beats = process.c.beat_at.between(now - silent, now + silent)
    return select(process.c.id).where(process.c.id == owner, process.c.ended.is_not(TRUE), beats).exists()
