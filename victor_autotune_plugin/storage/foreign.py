"""Files of other programs: an SQLite file that holds other tables and no store is refused, and left as it is.

SQLite itself is asked. Reading the file by other means would drop the locks that this process holds on it: POSIX locks
of a file end as soon as any descriptor of it is closed, and only SQLite knows which it must keep open.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..errors import StoreUnavailableError
from .tables import VERSION_TABLE

_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table'"
_PAUSE_SECONDS: Final = 0.005
_PATIENCE_SECONDS: Final = 0.1


def refuse_foreign_file(file: Path, url: str) -> bool:
    """Look into a file without a trace: no byte of it changes, and no `-wal` or `-shm` appears beside it.

    Where that can't tell, nothing is refused: `refuse_foreign_tables` looks again.

    Args:
        file: The file.
        url: The store's URL without secrets, for the error.

    Returns:
        Whether it is a store, so that it need not be looked at again.

    Raises:
        StoreUnavailableError: It has tables, and not that of the plugin's version.
    """
    if file.stat().st_size == 0:
        return False
    ends = time.monotonic() + _PATIENCE_SECONDS
    while _is_foreign(tables := _tables(file)):
        # A process that creates the store may be in the middle of moving it from its log into the file.
        if time.monotonic() >= ends:
            raise _foreign(url)
        time.sleep(_PAUSE_SECONDS)
    return VERSION_TABLE in tables


def refuse_foreign_tables(connection: Any, url: str) -> None:
    """Look into a database that is open.

    Args:
        connection: The driver's connection.
        url: The store's URL without secrets, for the error.

    Raises:
        StoreUnavailableError: It has tables, and not that of the plugin's version.
    """
    if _is_foreign([row[0] for row in connection.execute(_TABLES)]):
        raise _foreign(url)


def _tables(file: Path) -> list[Any]:
    # Without a log the file alone is the database; with one both are read, by the index that is there.
    how = "mode=ro&readonly_shm=1" if Path(f"{file}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?{how}", uri=True, timeout=0)) as connection:
            return [row[0] for row in connection.execute(_TABLES)]
    except sqlite3.Error:
        return []


def _is_foreign(tables: list[Any]) -> bool:
    return VERSION_TABLE not in tables and any(not name.startswith("sqlite_") for name in tables)


def _foreign(url: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        "the file is a database of another program, and was left as it is",
        where=url,
        hint="Set another store: database_url in the settings, such as sqlite:////path/to/autotune.db.",
    )
