"""JSON values that stand one after another in a file, each in one line or several, maybe with other text between.

It is how telemetry is printed, and what programs append to a file that write indented JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, TextIO

from .row_scanning import (
    BROKEN,
    LONGEST_ROW,
    Batch,
    after_space,
    broken_row,
    longest_value,
    message_of,
    scan_value,
)

_CHUNK: Final = 1 << 20
"""Characters that are read at a time, at least."""

_LONGEST_TOKEN: Final = 10
"""Characters of what JSON has that can't be cut in two: `false`, an escape."""

_LINE_OF_VALUE: Final = re.compile(r"\n(?=[{\[])")


def goes_on(line: str) -> bool:
    """Return whether the first line of a file holds something else than one value: a part of one, or several."""
    try:
        _, end = scan_value(line, after_space(line, 0))
    except BROKEN as error:
        return len(line) < LONGEST_ROW and _is_cut(line, error)
    return line.startswith("{", after_space(line, end))


def json_values(file: TextIO, *, among_text: bool = False) -> Iterator[Batch]:
    """Give the values of a file that holds one after another, each in one line or several.

    Args:
        among_text: Whether other text may stand between them, as on a terminal.
    """
    window = _Window(file)
    rows: list[Any] = []
    lines: list[int] = []
    while True:
        window.go_to(after_space(window.text, window.place))
        is_at_end = window.place == len(window.text)
        if among_text and not is_at_end and window.text[window.place] != "{":
            window.go_to_next_value()
            continue
        try:
            value, end = scan_value(window.text, window.place)
        except BROKEN as broken:
            error: Exception = broken
        else:
            found = value if isinstance(value, list) else [value]
            rows += found
            lines += [window.line] * len(found)
            window.go_to(end)
            continue
        if is_at_end or (window.held < longest_value(window.text, window.place) and _is_cut(window.text, error)):
            if rows:
                yield Batch(rows, lines.__getitem__)
                rows, lines = [], []
            if window.grow():
                continue
            if is_at_end:
                return
        rows.append(broken_row(f"is not JSON: {message_of(error)}"))
        lines.append(window.line)
        window.go_to_next_value()


class _Window:
    """The part of a file that is looked at.

    Attributes:
        text: The part.
        place: Where in it the next value begins.
        line: The line of that place, from 1.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.text = file.read(_CHUNK)
        self.place = 0
        self.line = 1

    @property
    def held(self) -> int:
        """Characters from the place on."""
        return len(self.text) - self.place

    def go_to(self, place: int) -> None:
        """Go on to another place."""
        self.line += self.text.count("\n", self.place, place)
        self.place = place

    def grow(self) -> bool:
        """Let go of what is before the place, and take in as much again as is held; return False at the file's end."""
        more = self._file.read(max(_CHUNK, self.held))
        self.text, self.place = self.text[self.place :] + more, 0
        return bool(more)

    def go_to_next_value(self) -> None:
        """Go on to the next line that begins like a value, or to the end."""
        while (found := _LINE_OF_VALUE.search(self.text, self.place)) is None:
            self.go_to(max(self.place, len(self.text) - 1))  # the last character may end the line before
            if not self.grow():
                self.go_to(len(self.text))
                return
        self.go_to(found.end())


def _is_cut(text: str, error: Exception) -> bool:
    """Return whether a text can't be decoded for the reason that it ends too early."""
    if isinstance(error, RecursionError):
        return False
    if isinstance(error, StopIteration):
        reached = error.value if isinstance(error.value, int) else len(text)
    else:
        reached = getattr(error, "pos", 0)
    unended = isinstance(error, json.JSONDecodeError) and error.msg.startswith("Unterminated string")
    return unended or after_space(text, reached) > len(text) - _LONGEST_TOKEN
