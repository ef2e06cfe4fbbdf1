"""What all benchmarks share: percentiles, a table, and JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

WIDTH: Final = 80
_MOST_WRAPPED: Final = 24
"""A first column that is longer wraps."""
_BORDER: Final = 3
"""Columns that a border and the space on both sides of a value take."""


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
    sums: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Print rows as a table of at most 80 columns, and as JSON.

    Nothing is cut: the first column wraps, and columns that find no room follow in a further table.

    Args:
        title: Title of the table.
        rows: One mapping a row; the first one's keys are the columns, and its first key says what a row is about.
        json_file: Where to write the JSON, too, or None.
        note: A line under the table.
        only_json: Columns that the table leaves out.
        sums: Rows of a further table, over all rows.
    """
    console = Console(width=WIDTH)
    console.print(Text(title, style="bold"))
    _print_tables(console, rows, [column for column in rows[0] if column not in only_json])
    if sums:
        _print_tables(console, sums, list(sums[0]))
    console.print(Text(note))
    figures = {"title": title, "python": platform.python_version(), "rows": [dict(row) for row in rows]}
    text = json.dumps(figures | ({"sums": [dict(row) for row in sums]} if sums else {}))
    print(text)
    if json_file is not None:
        json_file.write_text(text + "\n", encoding="utf-8")


def _print_tables(console: Console, rows: Sequence[Mapping[str, Any]], chosen: Sequence[str]) -> None:
    for columns in _blocks(rows, chosen):
        table = Table()
        for place, column in enumerate(columns):
            table.add_column(
                column,
                justify="left" if place == 0 else "right",
                width=_width(column, rows, wraps=place == 0),
            )
        for row in rows:
            table.add_row(*(escape(str(row[column])) for column in columns))
        console.print(table)


def _width(column: str, rows: Sequence[Mapping[str, Any]], *, wraps: bool) -> int:
    """Return the columns that a column of the table needs: its longest word, and its values uncut unless they wrap."""
    cells = [str(row[column]) for row in rows]
    longest = max(len(word) for text in [column, *(cells if wraps else ())] for word in text.split() or [""])
    values = max(map(len, cells))
    return max(longest, min(values, _MOST_WRAPPED) if wraps else values)


def _blocks(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[list[str]]:
    """Return the columns of each table, the first one in all of them."""
    first, *others = columns
    start = 1 + _width(first, rows, wraps=True) + _BORDER
    blocks, used = [[first]], start
    for column in others:
        width = _width(column, rows, wraps=False) + _BORDER
        if used + width > WIDTH and len(blocks[-1]) > 1:
            blocks.append([first])
            used = start
        blocks[-1].append(column)
        used += width
    return blocks
