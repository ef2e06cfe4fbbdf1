"""From a file to its rows, each with the line it begins in, without ever holding the whole file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from attrs import frozen

from ..errors import MetricsError

_CHUNK: Final = 1 << 20
"""Characters that are read at a time."""

BATCH: Final = 8192

_GUESSES: Final = 2

LONGEST_ROW: Final = 16 << 20
"""Characters that one row may have; a row that is broken is given up after as many."""

# What `raw_decode` calls, without its copying of errors: half the time for a small row.
_scan: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SEPARATOR: Final = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")


@frozen
class Batch:
    """Some rows of a file.

    Attributes:
        rows: Their values; a `BrokenRow` where the text can't be decoded.
        line: Gives the line, from 1, in which the row of an index begins. It is asked for only where a row is wrong.
    """

    rows: list[Any]
    line: Callable[[int], int]


class BrokenRow:
    """Stands for a row that can't be decoded.

    Args:
        message: What is wrong with it.
    """

    def __init__(self, message: str) -> None:
        self.message = message


def json_list(file: TextIO, name: str) -> Iterator[Batch]:
    """Give the elements of a JSON list.

    Args:
        file: A text file at its beginning.
        name: Its name for errors.

    Raises:
        MetricsError: It is no JSON from some line on; what came before was given.
    """
    buffer, line = file.read(_CHUNK), 1
    place = _after_space(buffer, _after_space(buffer, 0) + 1)  # the bracket
    if buffer.startswith("]", place):
        _nothing_after(file, buffer[place + 1 :], name, line + buffer.count("\n", 0, place))
        return
    while True:
        many = _many(buffer, place)
        if many is not None:
            rows, end = many
            yield Batch(rows, _lines_of(buffer, place, line))
            line += buffer.count("\n", 0, end)
            buffer, place = buffer[end:] + file.read(_CHUNK), 0
            continue
        rows, _, end, error = _elements(buffer, place)
        if rows:
            yield Batch(rows, _lines_of(buffer, place, line))
        line += buffer.count("\n", 0, end)
        if error is None:
            _nothing_after(file, buffer[end + 1 :], name, line)
            return
        more = file.read(_CHUNK) if len(buffer) - end < LONGEST_ROW else ""
        if not more:
            raise MetricsError(
                f"is no JSON list from here on: {_message(error)}",
                where=f"{name}:{line}",
                hint="Write runs with commas between them and a bracket at the end; the file may be cut off.",
            )
        buffer = buffer[end:] + more
        place = _after_space(buffer, 0)


def _many(buffer: str, place: int) -> tuple[list[Any], int] | None:
    """Decode as many elements as the text holds whole with one call of the decoder, which is faster than one by one.

    Where the last whole element ends is guessed from what stands between the first two. A wrong guess, such as one
    inside a text or a nested list, does not decode.

    Args:
        buffer: Text.
        place: Where an element begins.

    Returns:
        The elements, and where the next one begins; None where the guess fails or there is none.
    """
    try:
        _, end = _scan(buffer, place)
    except (StopIteration, json.JSONDecodeError, RecursionError):
        return None
    match = _SEPARATOR.match(buffer, end)
    if match is None or buffer[end - 1] != "}" or not buffer.startswith("{", match.end()):
        return None
    between = "}" + match.group() + "{"
    last = len(buffer)
    for _ in range(_GUESSES):
        last = buffer.rfind(between, place, last)
        if last < 0:
            return None
        try:
            rows, _ = _scan(f"[{buffer[place : last + 1]}]", 0)
        except (StopIteration, json.JSONDecodeError, RecursionError):
            continue
        return rows, last + len(between) - 1
    return None


def _elements(buffer: str, place: int) -> tuple[list[Any], list[int], int, Exception | None]:
    """Decode the elements of a list as far as the text goes.

    Args:
        buffer: Text.
        place: Where an element begins.

    Returns:
        The elements; where each begins; where the closing bracket is or else the first element that is not complete;
        and what is wrong there, None at the closing bracket.
    """
    rows: list[Any] = []
    starts: list[int] = []
    separator = ", "
    try:
        while True:
            # Space before an element is only here where two separators differ.
            value, end = _scan(buffer, place)
            if buffer.startswith(separator, end) and buffer[end + len(separator) : end + len(separator) + 1].strip():
                rows.append(value)
                starts.append(place)
                place = end + len(separator)
                continue
            match = _SEPARATOR.match(buffer, end)
            closing = _after_space(buffer, end)
            if match is None and not buffer.startswith("]", closing):
                # Either the text ends here, or a comma is missing.
                ended = closing == len(buffer)
                return rows, starts, place, ValueError("the end is missing" if ended else "a comma is missing")
            rows.append(value)
            starts.append(place)
            if match is None:
                return rows, starts, closing, None
            separator, place = match.group(), match.end()
    except (StopIteration, json.JSONDecodeError, RecursionError) as error:
        return rows, starts, place, error


def _lines_of(text: str, place: int, line: int) -> Callable[[int], int]:
    return lambda index: line + text.count("\n", 0, _elements(text, place)[1][index])


def json_lines(file: TextIO) -> Iterator[Batch]:
    """Give the values of JSON Lines; empty lines are passed over.

    Args:
        file: A text file at its beginning.
    """
    rows: list[Any] = []
    lines: list[int] = []
    number = 0
    while text := file.readline(LONGEST_ROW):
        number += 1
        start = 0 if text[0] == "{" else _after_space(text, 0)
        if start == len(text):
            continue
        try:
            value, end = _scan(text, start)
            if text[end:] != "\n" and text[end:].strip():
                value = BrokenRow(f"goes on after its end: {text[end : end + 20]!r}")
        except (StopIteration, json.JSONDecodeError, RecursionError) as error:
            value = BrokenRow(_message(error))
        rows.append(value)
        lines.append(number)
        if len(rows) == BATCH:
            yield Batch(rows, lines.__getitem__)
            rows, lines = [], []
    if rows:
        yield Batch(rows, lines.__getitem__)


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
                hint="Write all runs in one list, or one run a line (JSON Lines).",
            )
        line += rest.count("\n")
        rest = file.read(_CHUNK)


def _message(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, ValueError):
        return str(error)
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a value is missing or not complete"
