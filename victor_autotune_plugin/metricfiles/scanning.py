"""From a file to its rows, each with the line it begins in, without ever holding the whole file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TextIO, TypeAlias

from ..errors import MetricsError

_CHUNK: Final = 1 << 20
"""Characters that are read at a time."""

LONGEST_ROW: Final = 16 << 20
"""Characters that one row may have; a row that is broken is given up after as many."""

# What `raw_decode` calls, without its copying of errors: half the time for a small row.
_scan: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SEPARATOR: Final = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")

Row: TypeAlias = tuple[int, Any]
"""Line in which a row begins, from 1, and its value; a `BrokenRow` where the text is no JSON."""


class BrokenRow:
    """Stands for a row that can't be decoded.

    Args:
        message: What is wrong with it.
    """

    def __init__(self, message: str) -> None:
        self.message = message


def json_list(file: TextIO, name: str) -> Iterator[Row]:
    """Give the elements of a JSON list.

    Args:
        file: A text file at its beginning.
        name: Its name for errors.

    Raises:
        MetricsError: It is no JSON from some line on; what came before was given.
    """
    buffer, place, line, counted = file.read(_CHUNK), 0, 1, 0
    place = _after_space(buffer, 0) + 1  # the bracket
    first = True
    while True:
        start = place
        try:
            match = (_SPACE if first else _SEPARATOR).match(buffer, place)
            place = match.end() if match is not None else _after_space(buffer, place)
            ending = match is None or first
            if ending and buffer.startswith("]", place):
                _nothing_after(file, buffer[place + 1 :], name, line + buffer.count("\n", counted, place))
                return
            if match is None:
                raise StopIteration(place)
            value, end = _scan(buffer, place)
            if end == len(buffer):  # a number may go on in the next chunk
                raise StopIteration(end)
        except (StopIteration, json.JSONDecodeError, RecursionError) as error:
            more = file.read(_CHUNK) if len(buffer) - start < LONGEST_ROW else ""
            if not more:
                line += buffer.count("\n", counted, place)
                raise _no_json(name, line, error) from None
            line += buffer.count("\n", counted, start)
            buffer, place, counted = buffer[start:] + more, 0, 0
            continue
        line += buffer.count("\n", counted, place)
        counted = place
        place, first = end, False
        yield line, value


def json_lines(file: TextIO) -> Iterator[Row]:
    """Give the values of JSON Lines; empty lines are passed over.

    Args:
        file: A text file at its beginning.
    """
    line = 0
    while text := file.readline(LONGEST_ROW):
        line += 1
        start = _after_space(text, 0)
        if start == len(text):
            continue
        try:
            value, end = _scan(text, start)
            rest = _after_space(text, end)
            broken = None if rest == len(text) else f"goes on after its end: {text[rest : rest + 20]!r}"
        except (StopIteration, json.JSONDecodeError, RecursionError) as error:
            broken = _message(error)
        yield line, value if broken is None else BrokenRow(broken)


def csv_rows(file: TextIO, name: str) -> Iterator[Row]:
    """Give the rows of a CSV with a header, as mappings; an empty cell is absent.

    Cells of columns that are no field of a run, and `members`, hold JSON where they can be read as such.

    Args:
        file: A text file at its beginning, opened with `newline=""`.
        name: Its name for errors.

    Raises:
        MetricsError: The header names a column twice, or the text is no CSV.
    """
    csv.field_size_limit(LONGEST_ROW)
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        header = next(reader, None)
        if header is None:
            return
        columns = [column.strip() for column in header]
        twice = [column for column in columns if columns.count(column) > 1]
        if twice:
            raise MetricsError(
                f"the column {twice[0]!r} is there twice",
                where=f"{name}:1",
                mend="Give every column a name of its own.",
            )
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(columns):
                yield line, {column: cell for column, cell in zip(columns, cells, strict=True) if cell != ""}
            elif cells:
                yield line, BrokenRow(f"has {len(cells)} cells, and the header has {len(columns)}")
            line = reader.line_num + 1
    except csv.Error as error:
        raise MetricsError(
            f"is no CSV: {error}", where=f"{name}:{line}", mend="Quote cells that hold quotes."
        ) from None


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


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return place if match is None else match.end()


def _nothing_after(file: TextIO, rest: str, name: str, line: int) -> None:
    while rest:
        place = _after_space(rest, 0)
        if place < len(rest):
            raise MetricsError(
                f"there is {rest[place : place + 20]!r} after the end of the list",
                where=f"{name}:{line + rest.count(chr(10), 0, place)}",
                mend="Write all runs in one list, or one run a line (JSON Lines).",
            )
        line += rest.count("\n")
        rest = file.read(_CHUNK)


def _no_json(name: str, line: int, error: Exception) -> MetricsError:
    return MetricsError(
        f"is no JSON list from here on: {_message(error)}",
        where=f"{name}:{line}",
        mend="Write runs as mappings, with commas between them and a bracket at the end; the file may be cut off.",
    )


def _message(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a value is missing or not complete"
