"""The rows of a CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from ..errors import MetricsError
from .scanning import BATCH, LONGEST_ROW, Batch, BrokenRow


def csv_rows(file: TextIO, name: str) -> Iterator[Batch]:
    """Give the rows of a CSV with a header, as mappings; an empty cell is absent.

    Args:
        file: A text file at its beginning, opened with `newline=""`.
        name: Its name for errors.

    Raises:
        MetricsError: The header names a column twice, or the text is no CSV.
    """
    csv.field_size_limit(LONGEST_ROW)
    reader = csv.reader(file, strict=True)
    rows: list[Any] = []
    lines: list[int] = []
    line = 1
    try:
        columns = [column.strip() for column in next(reader, [])]
        twice = [column for column in columns if columns.count(column) > 1]
        if twice:
            raise MetricsError(
                f"the column {twice[0]!r} is there twice", where=f"{name}:1", hint="Give every column its own name."
            )
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(columns):
                rows.append({column: cell for column, cell in zip(columns, cells, strict=True) if cell != ""})
                lines.append(line)
            elif cells:
                rows.append(BrokenRow(f"has {len(cells)} cells, and the header has {len(columns)}"))
                lines.append(line)
            line = reader.line_num + 1
            if len(rows) >= BATCH:
                yield Batch(rows, lines.__getitem__)
                rows, lines = [], []
    except csv.Error as error:
        raise MetricsError(f"is no CSV: {error}", where=f"{name}:{line}", hint="Quote cells with quotes.") from None
    if rows:
        yield Batch(rows, lines.__getitem__)


def decoded_cells(row: Mapping[str, str], plain: frozenset[str]) -> dict[str, Any]:
    """Return a CSV row with the cells that hold JSON decoded.

    Args:
        row: Text by column.
        plain: Columns that are left as text.
    """
    return {column: cell if column in plain else _decoded(cell) for column, cell in row.items()}


def _decoded(cell: str) -> Any:
    try:
        return json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return cell


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
