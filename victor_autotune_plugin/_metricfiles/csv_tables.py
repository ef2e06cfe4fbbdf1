"""Tables as spreadsheet programs write them: the delimiter and the decimal sign are told from the table itself."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, TextIO

from attrs import frozen

from .._model.text import clean
from .._values.nodes import WrongValueError
from .._values.reading import integer
from ..errors import MetricsError
from .column_names import Columns, ColumnsOfRow
from .row_scanning import LONGEST_ROW, Batch, broken_row

_BATCH: Final = 8192
"""Rows that are given at a time."""

_SAMPLED_ROWS: Final = 1_000
_DELIMITERS: Final = ",;\t|"
_SEP_LINE: Final = re.compile(r'"?sep=([^\r\n])"?[ \t,;]*(?:\r\n|\r|\n)', re.IGNORECASE)
"""What Excel reads and writes before the header to name the delimiter."""

_GROUPED: Final = re.compile(r"^([+-]?\d{1,3})((?:[ \u00a0\u202f'’]\d{3})+)(?=[.,]|$)")
"""Groups of thousands with a space or an apostrophe between them, which means nothing else."""

_BY_POINT: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
_BY_COMMA: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_NOT_KNOWN: Final = frozenset(("null", "none", "n/a", "na", "nan", "\\n", "#n/a", "-", "–"))
"""What stands for no number in tables of databases and spreadsheets."""

_WITHOUT_GROUPS: Final = "Write numbers without a separator of thousands."


@frozen
class Dialect:
    """How a table is written.

    Attributes:
        delimiter: What stands between cells.
        skip: Lines before the header.
        decimal: The decimal sign, a comma or a point, or None where the table does not show which.
    """

    delimiter: str
    skip: int = 0
    decimal: str | None = None


def dialect_of(sample: str, columns: Columns) -> Dialect | None:
    """Return how a table is written, or None if a text is not one with a column of a field.

    Args:
        sample: How it begins.
        columns: Finds the fields.
    """
    said = _SEP_LINE.match(sample)
    text = sample[said.end() :] if said else sample
    best: tuple[int, int] = (0, 0)
    found: str | None = None
    for delimiter in said.group(1) if said else _DELIMITERS:
        header = _header(next(_rows(text, delimiter), []))
        score = (columns.known(header), len(header))
        if len(header) > 1 and score > best:
            best, found = score, delimiter
    if found is None:
        return None
    return Dialect(found, 1 if said else 0, _decimal_sign(text, found, columns))


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error:
        return


def _header(cells: list[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _decimal_sign(text: str, delimiter: str, columns: Columns) -> str | None:
    rows = _rows(text, delimiter)
    header = _header(next(rows, []))
    numbers = columns.of(header).numbers
    places = [place for place, name in enumerate(header) if name in numbers]
    signs: set[str | None] = set()
    for cells in islice(rows, _SAMPLED_ROWS):
        signs |= {_sign(cells[place].strip()) for place in places if place < len(cells)}
    signs.discard(None)
    if len(signs) == 1:
        return signs.pop()
    # A semicolon stands between cells where the comma is the decimal sign.
    return "," if delimiter == ";" and not signs else None


def _sign(cell: str) -> str | None:
    """Return the decimal sign that a number can't be read without, or None if it may have either or none."""
    cell = _GROUPED.sub(lambda found: found.group(1) + re.sub(r"\D", "", found.group(2)), cell)
    if not re.fullmatch(r"[+-]?[\d.,]+", cell):
        return None
    if _BY_POINT.fullmatch(cell) or _BY_COMMA.fullmatch(cell):
        return "," if cell.count(".") > 1 else "." if cell.count(",") > 1 else None
    return next((cell[place] for place in range(len(cell) - 1, -1, -1) if cell[place] in ".,"), None)


def plain_number(cell: str, decimal: str | None) -> str:
    """Return a number of a table as Python writes it, and anything else as it is.

    Args:
        cell: The number, without space around it.
        decimal: As in `Dialect`.

    Raises:
        WrongValueError: Its comma may be a decimal sign, and may separate thousands.
    """
    cell = _GROUPED.sub(lambda found: found.group(1) + re.sub(r"\D", "", found.group(2)), cell)
    if "," not in cell and "." not in cell:
        return cell
    whole, comma, fraction = cell.rpartition(",")
    if _BY_COMMA.fullmatch(cell.partition(".")[0]) and ("." in cell or cell.count(",") > 1 or decimal == "."):
        return cell.replace(",", "")
    if _BY_POINT.fullmatch(whole if comma else cell) and (comma or cell.count(".") > 1 or decimal == ","):
        return f"{whole.replace('.', '')}.{fraction}" if comma else cell.replace(".", "")
    if _BY_COMMA.fullmatch(cell) and decimal is None:
        either = f"{cell.replace(',', '.')} or {cell.replace(',', '')}"
        raise WrongValueError(f"'{clean(cell)}' may be {either}", _WITHOUT_GROUPS)
    return f"{whole}.{fraction}" if comma and re.fullmatch(r"[+-]?\d*", whole) else cell


def csv_rows(file: TextIO, name: str, columns: Columns, dialect: Dialect) -> Iterator[Batch]:
    """Give the rows of a table with a header, as mappings; an empty cell is absent, and one that holds JSON is decoded.

    Raises:
        MetricsError: The header names a column twice, or the text is not a CSV.
    """
    csv.field_size_limit(LONGEST_ROW)
    source = _CsvLines(file, dialect.skip)
    reader = csv.reader(source, strict=True, delimiter=dialect.delimiter)
    rows: list[Any] = []
    lines: list[int] = []
    line = dialect.skip + 1
    try:
        header = _header(next(reader, []))
        twice = [column for column in header if column and header.count(column) > 1]
        if twice:
            hint = "Give every column its own name."
            raise MetricsError(f"the column {twice[0]!r} is there twice", where=f"{name}:{line}", hint=hint)
        table = _Table(header, columns.of([column for column in header if column]), dialect.decimal)
        line = dialect.skip + reader.line_num + 1
        for cells in reader:
            if any(cell and not cell.isspace() for cell in cells):
                rows.append(table.row(cells))
                lines.append(line)
            line = dialect.skip + reader.line_num + 1
            source.taken = 0
            if len(rows) >= _BATCH:
                yield Batch(rows, lines.__getitem__)
                rows, lines = [], []
    except csv.Error as error:
        hint = "Quote cells with quotes."
        raise MetricsError(f"is not a CSV: {error}", where=f"{name}:{line}", hint=hint) from None
    if rows:
        yield Batch(rows, lines.__getitem__)


class _Table:
    """Makes mappings of the rows of a table."""

    def __init__(self, header: list[str], found: ColumnsOfRow, decimal: str | None) -> None:
        self._header = header
        self._numbers = found.numbers - found.structured
        self._texts = found.used - found.structured
        self._decimal = decimal
        # Spreadsheet programs leave out empty cells at the end of a row.
        self._least = max((place + 1 for place, name in enumerate(header) if name in found.required), default=0)

    def row(self, cells: list[str]) -> Any:
        """Return a row as a mapping, or what is wrong with it."""
        size = len(self._header)
        if len(cells) < self._least or any(cells[size:]):
            return broken_row(f"has {len(cells)} cells, and the header has {size}")
        try:
            return {
                column: self._value(column, cell)
                for column, cell in zip(self._header, cells, strict=False)
                if column and cell != "" and not self._is_unknown(column, cell)
            }
        except WrongValueError as wrong:
            return wrong

    def _is_unknown(self, column: str, cell: str) -> bool:
        return column in self._numbers and cell.strip().lower() in _NOT_KNOWN

    def _value(self, column: str, cell: str) -> Any:
        if column in self._numbers:
            try:
                return plain_number(cell.strip(), self._decimal)
            except WrongValueError as wrong:
                raise WrongValueError(f"{clean(column)}: {wrong.message}", wrong.hint) from None
        return cell if column in self._texts else _decoded(cell)


class _CsvLines:
    """The lines of a file, of which the cells of one row may take up only so much.

    Attributes:
        taken: Characters of the row so far.
    """

    def __init__(self, file: TextIO, skip: int) -> None:
        self._file = file
        self.taken = 0
        for _ in range(skip):
            file.readline(LONGEST_ROW)

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LONGEST_ROW):
            self.taken += len(line)
            if self.taken >= LONGEST_ROW:
                raise csv.Error(f"a row has more than {LONGEST_ROW:,} characters")
            yield line


def _decoded(cell: str) -> Any:
    try:
        return json.loads(cell, parse_constant=_refuse, parse_int=integer)
    except (ValueError, RecursionError):
        return cell


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
