"""What the plugin keeps: a SQLite file by default, PostgreSQL where several machines share it.

`Store` brings SQLAlchemy along, so it is loaded on first use; `default_url` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .location import default_url

if TYPE_CHECKING:
    from .migrate import SchemaChange, create_schema
    from .store import Store
    from .transaction import Transaction

__all__ = ["SchemaChange", "Store", "Transaction", "create_schema", "default_url"]


def __getattr__(name: str) -> Any:
    if name == "Store":
        from .store import Store

        return Store
    if name == "Transaction":
        from .transaction import Transaction

        return Transaction
    if name in ("SchemaChange", "create_schema"):
        from . import migrate

        return getattr(migrate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
