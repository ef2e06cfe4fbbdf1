"""What all benchmarks share: percentiles, a table, and JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return made


def with_compiled_modules(folder: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a process that finds its modules compiled, as those of an installed package are.

    Args:
        folder: Where the first process that is started with it leaves what it compiles.
        environment: What to add to; None for this process's.
    """
    around = os.environ if environment is None else environment
    kept = {name: value for name, value in around.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value with at least `share` of the values at or below it."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def show(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    json_file: Path | None,
    note: str = "",
    only_json: Sequence[str] = (),
) -> None:
    """Print rows as a table and as JSON.

    Args:
        title: Title of the table.
        rows: One mapping a row; the first one's keys are the columns.
        json_file: Where to write the JSON, too, or None.
        note: A line under the table.
        only_json: Columns that the table has no room for.
    """
    table = Table(title=title, caption=note or None)
    columns = [column for column in rows[0] if column not in only_json]
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)
    figures = {"title": title, "python": platform.python_version(), "rows": [dict(row) for row in rows]}
    text = json.dumps(figures)
    print(text)
    if json_file is not None:
        json_file.write_text(text + "\n", encoding="utf-8")
