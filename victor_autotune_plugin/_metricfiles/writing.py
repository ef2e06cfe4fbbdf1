"""Writing runs to a metrics file that reads back the same."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TextIO

from .._analysis.facts import RunFacts
from .._values.files import written
from ..errors import MetricsError
from .fields import FIELDS, MEMBERS, row_of
from .reading import CSV, JSON_LINES, JSON_LIST
from .table import decoded_cells

_BY_SUFFIX: Final = {".json": JSON_LIST, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".csv": CSV}
_COLUMNS: Final = tuple(one.keys[0] for one in FIELDS)


def write_runs(path: str | Path, runs: Iterable[RunFacts], form: str | None = None) -> int:
    """Write runs to a file, which is there as a whole or not at all and readable by its owner alone.

    Args:
        path: The file; one that exists is replaced.
        runs: The runs. For a CSV they are gone through before the first is written, since its header names all columns.
        form: `JSON_LIST`, `JSON_LINES` or `CSV`; None for what the ending says (`.json`, `.jsonl`, `.ndjson`, `.csv`).

    Returns:
        How many there were.

    Raises:
        MetricsError: The ending says no form, or the file can't be written.
    """
    target = Path(path)
    chosen = form or _BY_SUFFIX.get(target.suffix.lower())
    if chosen not in (JSON_LIST, JSON_LINES, CSV):
        raise MetricsError(
            f"{chosen or target.suffix or 'no ending'!r} is no form to write",
            where=str(target),
            hint="Name a file that ends in .json, .jsonl or .csv.",
        )
    rows = (row_of(run) for run in runs)
    with written(target, error=MetricsError) as file:
        if chosen == CSV:
            return _write_csv(file, list(rows))
        return _write_json(file, rows, as_list=chosen == JSON_LIST)


def _write_json(file: TextIO, rows: Iterable[dict[str, Any]], *, as_list: bool) -> int:
    count = 0
    for count, row in enumerate(rows, start=1):
        if as_list:
            file.write("[\n" if count == 1 else ",\n")
        file.write(json.dumps(row, ensure_ascii=True, allow_nan=False))
        if not as_list:
            file.write("\n")
    if as_list:
        file.write("\n]\n" if count else "[]\n")
    return count


def _write_csv(file: TextIO, rows: list[dict[str, Any]]) -> int:
    present = {key for row in rows for key in row}
    further = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in (*_COLUMNS, MEMBERS)]
    required = [one.keys[0] for one in FIELDS if one.required]
    columns = [key for key in _COLUMNS if key in present or key in required] + further
    if MEMBERS in present:
        columns.append(MEMBERS)
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(key, row.get(key)) for key in columns])
    return len(rows)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key in _COLUMNS:
        return str(value).lower() if isinstance(value, bool) else str(value)
    # A text that would read back as something else is written as JSON.
    if isinstance(value, str) and value and decoded_cells({key: value}, frozenset())[key] == value:
        return value
    return json.dumps(value, ensure_ascii=True)
