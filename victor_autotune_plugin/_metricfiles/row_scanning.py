"""From a file to its rows, each with the line it begins in, without ever holding the whole file.

JSON is read in blocks of whole rows. A `Decode` is tried on each block first, which is the fast way; a block that it
does not take is decoded row by row, with the line of whatever is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from attrs import frozen

from .._values.nodes import WrongValueError
from .._values.reading import LONGEST_LINE, integer
from ..errors import MetricsError
from .otlp import is_text_of_telemetry

_CHUNK: Final = 1 << 20
"""Characters that are read at a time."""

_GUESSES: Final = 2

LONGEST_ROW: Final = LONGEST_LINE
"""Characters that one row may have; a row that is broken is given up after as many."""

_LONGEST_REQUEST: Final = 64 << 20
"""Characters of a request of telemetry, which is held whole."""

# What `raw_decode` calls, without its copying of errors: half the time for a small row.
_scan: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

_scan_slowly: Final[Callable[[str, int], tuple[Any, int]]] = json.JSONDecoder(parse_int=integer).scan_once  # type: ignore[attr-defined]

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_BEGIN: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\[[ \t\r\n]*(?=\{)")
_BETWEEN: Final = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_LINES: Final = re.compile(r"[^\r\n]+(?:\r\n|\r|\n)?|\r\n|\r|\n")
_SEPARATOR: Final = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
BROKEN: Final = (StopIteration, ValueError, RecursionError)
"""What a decoder raises at a text that is not JSON, or cut off."""

Decode = Callable[[str, bool], bool]
"""Takes in the text of whole rows, a JSON list or, if the flag is set, JSON Lines; returns False if it can't."""


@frozen
class Batch:
    """Some rows of a file."""

    rows: list[Any]  # a `WrongValueError` in place of a row that can't be decoded
    # gives the line, from 1, in which the row of an index begins; asked for only where a row is wrong
    line: Callable[[int], int]


def _takes_nothing(_text: str, _is_lines: bool) -> bool:
    return False


def take_blocks(file: Any, decode: Callable[[memoryview], bool]) -> tuple[int, int]:
    """Offer the blocks of a JSON list as bytes, none of them copied, until one is not taken or the list nearly ends.

    Blocks are divided where the first two rows seem to be: a wrong guess is not taken.

    Returns:
        Where the first row begins that was not taken, in bytes, and its line; 0 and 1 if none was.
    """
    buffer = bytearray(2 * _CHUNK)
    view = memoryview(buffer)
    filled = file.readinto(view)
    begin, guess = _BEGIN.match(buffer), _BETWEEN.search(buffer, 0, filled)
    if begin is None or guess is None:
        return 0, 1
    between = bytes(guess.group())  # the match looks into the buffer, which changes
    place, offset, line = begin.end(), 0, 1
    while (last := buffer.rfind(between, place, filled)) >= 0:
        end = last + len(between) - 1
        lines = buffer.count(b"\n", 0, end)
        buffer[place - 1], buffer[last + 1] = b"[]"
        if not decode(view[place - 1 : last + 2]):
            break
        offset, line = offset + end, line + lines
        # The byte before the next row stays, for its bracket.
        kept = filled - end
        view[1 : kept + 1] = view[end:filled]
        place, offset = 1, offset - 1
        filled = kept + 1 + file.readinto(view[kept + 1 :])
    return offset + (place if offset else 0), line


def json_list(
    file: TextIO, name: str, decode: Decode = _takes_nothing, *, line: int = 1, is_inside: bool = False
) -> Iterator[Batch]:
    """Give the elements of a JSON list that `decode` does not take.

    Raises:
        MetricsError: It is not JSON from some line on; what came before was given.
    """
    buffer = ("[" if is_inside else "") + file.read(_CHUNK)
    place = after_space(buffer, after_space(buffer, 0) + 1)  # the bracket
    if buffer.startswith("]", place):
        _nothing_after(file, buffer[place + 1 :], name, line + buffer.count("\n", 0, place))
        return
    while True:
        many = _many(buffer, place, decode)
        if many is not None:
            rows, end = many
            if rows:
                yield Batch(rows, _lines_of(buffer, place, line))
            line += buffer.count("\n", 0, end)
            buffer, place = buffer[end:] + file.read(_CHUNK), 0
            continue
        rows, _, end, error = _elements(buffer, place)
        if rows and not (error is None and decode(f"[{buffer[place:end]}]", False)):
            yield Batch(rows, _lines_of(buffer, place, line))
        line += buffer.count("\n", 0, end)
        if error is None:
            _nothing_after(file, buffer[end + 1 :], name, line)
            return
        # As much again as is held, so that a long element is not scanned once for each chunk of it.
        held = len(buffer) - end
        more = file.read(max(_CHUNK, held)) if held < longest_value(buffer, end) else ""
        if not more:
            raise MetricsError(
                f"is not a JSON list from here on: {message_of(error)}",
                where=f"{name}:{line}",
                hint="Write runs with commas between them and a bracket at the end; the file may be cut off.",
            )
        buffer = buffer[end:] + more
        place = after_space(buffer, 0)


def _many(buffer: str, place: int, decode: Decode) -> tuple[list[Any], int] | None:
    """Decode as many elements as the text holds whole with one call of a decoder, which is faster than one by one.

    Where the last whole element ends is guessed from what stands between the first two. A wrong guess, such as one
    inside a text or a nested list, does not decode.

    Returns:
        The elements, none where `decode` took them, and where the next one begins; None where the guess fails or there
        is missing.
    """
    try:
        _, end = _scan(buffer, place)
    except BROKEN:
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
        text = f"[{buffer[place : last + 1]}]"
        if decode(text, False):
            return [], last + len(between) - 1
        try:
            rows, _ = _scan(text, 0)
        except BROKEN:
            continue
        return rows, last + len(between) - 1
    return None


def _elements(buffer: str, place: int) -> tuple[list[Any], list[int], int, Exception | None]:
    """Decode the elements of a list as far as the text goes.

    Returns:
        The elements; where each begins; where the closing bracket is or else the first element that is not complete;
        and what is wrong there, None at the closing bracket.
    """
    rows: list[Any] = []
    starts: list[int] = []
    try:
        while True:
            value, end = scan_value(buffer, place)
            match = _SEPARATOR.match(buffer, end)
            closing = after_space(buffer, end)
            if match is None and not buffer.startswith("]", closing):
                # Either the text ends here, or a comma is missing.
                ended = closing == len(buffer)
                return rows, starts, place, ValueError("the end is missing" if ended else "a comma is missing")
            rows.append(value)
            starts.append(place)
            if match is None:
                return rows, starts, closing, None
            place = match.end()
    except BROKEN as error:
        return rows, starts, place, error


def longest_value(text: str, place: int) -> int:
    """Return how many characters the value that begins at a place may have."""
    if len(text) - place < LONGEST_ROW or not is_text_of_telemetry(text):
        return LONGEST_ROW
    return _LONGEST_REQUEST


def scan_value(text: str, place: int) -> tuple[Any, int]:
    """Decode a value whose numbers may have more digits than Python reads."""
    try:
        return _scan(text, place)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _scan_slowly(text, place)


def _lines_of(text: str, place: int, line: int) -> Callable[[int], int]:
    return lambda index: line + text.count("\n", 0, _elements(text, place)[1][index])


def json_lines(file: TextIO, decode: Decode = _takes_nothing) -> Iterator[Batch]:
    """Give the values of JSON Lines that `decode` does not take; empty lines are passed over."""
    before = 0
    while block := file.read(_CHUNK) + file.readline(LONGEST_ROW):
        if len(block) > LONGEST_ROW and not block.endswith("\n") and is_text_of_telemetry(block):
            block += file.readline(_LONGEST_REQUEST - len(block))
        if len(block) > LONGEST_ROW + _CHUNK or not decode(block, True):
            rows: list[Any] = []
            lines: list[int] = []
            for number, found in enumerate(_LINES.finditer(block), start=before + 1):
                text = found.group()
                start = after_space(text, 0)
                if start < len(text):
                    rows.append(_line(text, start))
                    lines.append(number)
            if rows:
                yield Batch(rows, lines.__getitem__)
        before += block.count("\n") + block.count("\r") - block.count("\r\n")


def _line(text: str, start: int) -> Any:
    longest = longest_value(text, start)
    if len(text) >= longest:
        return broken_row(f"has more than {longest:,} characters")
    try:
        value, end = scan_value(text, start)
    except BROKEN as error:
        return broken_row(message_of(error))
    return broken_row(f"goes on after its end: {text[end : end + 20]!r}") if text[end:].strip() else value


def broken_row(message: str) -> WrongValueError:
    """Return what stands in place of a row that can't be decoded."""
    return WrongValueError(message, "Correct the line, or skip bad rows with --skip-bad.")


def after_space(text: str, place: int) -> int:
    """Return the first place from this one on that holds no space."""
    match = _SPACE.match(text, place)
    return place if match is None else match.end()


def _nothing_after(file: TextIO, rest: str, name: str, line: int) -> None:
    while rest:
        place = after_space(rest, 0)
        if place < len(rest):
            raise MetricsError(
                f"there is {rest[place : place + 20]!r} after the end of the list",
                where=f"{name}:{line + rest.count(chr(10), 0, place)}",
                hint="Write all runs in one list, or one run a line (JSON Lines).",
            )
        line += rest.count("\n")
        rest = file.read(_CHUNK)


def message_of(error: Exception) -> str:
    """Return what is wrong with a text that could not be decoded, in words."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, ValueError):
        return str(error)
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a value is missing or not complete"
