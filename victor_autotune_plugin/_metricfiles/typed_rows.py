"""The fast way from the text of a metrics file to a `RunHistory`: msgspec decodes whole blocks, numpy checks columns.

A block in which anything is out of the ordinary (a missing field, text for a number, members, a value out of range) is
not taken and goes the way of single rows, so that both ways take and refuse the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import compress, repeat
from json import JSONDecoder
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from .._values.fields import Choice, Flag, Number
from .column_names import names_field
from .row_fields import FIELDS, LAST_SECOND, LONGEST_NAME, Moment, Name, RowField

if TYPE_CHECKING:
    import msgspec

    from .._analysis.run_history import RunHistory
    from .._analysis.run_table import Floats
    from .row_reading import LeftOut

_MOST_KEYS: Final = 200
_ESCAPED: Final = frozenset('"\\')
"""Characters that keys have escaped in JSON."""

_BESIDE: Final = ("spec",)
"""Rows with these, or with members, have more in them than single values."""


class TypedRows:
    """Takes in blocks of rows whose fields have single values of the usual types."""

    def __init__(self, history: RunHistory, left_out: LeftOut) -> None:
        self._history = history
        self._left_out = left_out
        self._keys: set[str] = set()
        self._decoders: tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[list[Any]]] | None = None
        self._fields: list[RowField] = []
        self._is_usable = True
        self._keeps_raw = False

    def decode(self, text: str | memoryview, is_lines: bool = False) -> bool:
        """Take in the rows of a JSON list or of JSON Lines, or return False."""
        from msgspec import MsgspecError

        if not self._is_usable:
            return False
        try:
            if self._decoders is None:
                first = text if isinstance(text, str) else str(text, "utf-8")
                self.learn([JSONDecoder().raw_decode(first, 0 if is_lines else 1)[0]])
            if self._keeps_raw and not isinstance(text, str):
                str(text, "utf-8")  # what is kept as it is has not been checked by the decoder
        except (ValueError, RecursionError):
            return False
        if self._decoders is None:
            return False
        of_one, of_list = self._decoders
        try:
            rows = of_one.decode_lines(text) if is_lines else of_list.decode(text)
        except (MsgspecError, RecursionError, UnicodeError):
            return False
        return self._take(rows)

    def learn(self, rows: Collection[object]) -> None:
        """Expect the keys of these rows; a row with another key is not taken, so that none is overlooked."""
        from msgspec import Raw, defstruct, json

        found = {str(key) for row in rows if isinstance(row, dict) for key in row}
        if self._decoders is not None and found <= self._keys:
            return
        self._keys |= found
        if len(self._keys) > _MOST_KEYS or any(set(key) & _ESCAPED or not key.isprintable() for key in self._keys):
            self._is_usable = False
            return
        self._fields = []
        members: list[Any] = []
        names = {}
        rest = set(self._keys)
        for one in FIELDS:
            spelling = next((key for key in one.keys if key in self._keys), one.keys[0] if one.required else None)
            if spelling is not None:
                rest.discard(spelling)
                self._fields.append(one)
                names[one.name] = spelling
                members.append((one.name, _type_of(one)) if one.required else (one.name, _type_of(one) | None, None))
        for place, key in enumerate(sorted(rest)):
            name = f"further_{place}"
            self._keeps_raw = True
            names[name] = key
            # What a field is called besides, and what is more than a single value, may only be null.
            members.append((name, None if key in _BESIDE or names_field(key) else Raw, None))
        members.sort(key=len)  # those without a default come first
        row = defstruct("Row", members, rename=names, gc=False, forbid_unknown_fields=True)
        self._decoders = json.Decoder(row), json.Decoder(list[row])  # type: ignore[valid-type]

    def _take(self, rows: Sequence[Any]) -> bool:
        if not rows:
            return True
        numbers: dict[str, Floats] = {}
        texts: dict[str, list[Any]] = {}
        for one in self._fields:
            values = map(attrgetter(one.name), rows)
            if isinstance(one.kind, Number | Moment | Flag):
                # None becomes NaN, which no JSON has that msgspec takes.
                if not one.required:
                    column = np.array(list(values), np.float64)
                else:
                    column = np.fromiter(values, np.bool_ if isinstance(one.kind, Flag) else np.float64, len(rows))
                if not _in_range(one, column):
                    return False
                numbers[one.name] = column
                continue
            texts[one.name] = list(values)
            if isinstance(one.kind, Name) and not all(
                name is None or (name.strip() and len(name) <= LONGEST_NAME) for name in set(texts[one.name])
            ):
                return False
        if np.any(numbers.pop("cancelled", np.zeros(1)) == 1):
            return False
        if "run_id" in texts:
            self._leave_out_repeated(texts, numbers)
        self._history.add_columns(
            texts["team_id"],
            texts["formation"],
            workflows=texts.get("workflow"),
            tasks=texts.get("task_key"),
            **numbers,
        )
        return True

    def _leave_out_repeated(self, texts: dict[str, list[Any]], numbers: dict[str, Floats]) -> None:
        workflows = texts.get("workflow") or repeat(None)
        new = list(map(self._left_out.is_new, workflows, texts["team_id"], texts["run_id"]))
        if all(new):
            return
        for name, column in texts.items():
            texts[name] = list(compress(column, new))
        for name, numbers_of in numbers.items():
            numbers[name] = numbers_of[np.array(new)]


def _type_of(one: RowField) -> Any:
    if isinstance(one.kind, Choice):
        return Literal[one.kind.options]
    if isinstance(one.kind, Flag):
        return bool
    return float if isinstance(one.kind, Number | Moment) else str


def _in_range(one: RowField, column: Floats) -> bool:
    kind = one.kind
    if isinstance(kind, Flag):
        return True
    low, high = (kind.low, kind.high) if isinstance(kind, Number) else (0, LAST_SECOND)
    if np.fmin.reduce(column) < low or np.fmax.reduce(column) > high:
        return False
    return not (isinstance(kind, Number) and kind.whole and np.fmax.reduce(column - np.floor(column)) > 0)
