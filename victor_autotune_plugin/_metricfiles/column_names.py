"""Which column of a file holds which field of a run: by its name, by the unit in its name, or by what the user says.

A rule of the user is a text: `latency_ms:ms`, a column and its unit; `status:success|ok`, a column and the words that
mean true; `calls:count`, how many a list holds; `end_time - start_time`, two times; `=parallel`, one value for every
run. A column `a.b` is `b` in `a`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .._model.text import clean
from .._values.fields import Flag, Number
from .._values.names import did_you_mean
from .._values.nodes import Scalar, Table, WrongValueError, show
from ..errors import MetricsError
from .row_fields import CALLS, FIELDS, MEMBERS, SECONDS, VICTORS_MEMBERS, Moment, RowField, read_field

_UNITS: Final[Mapping[str, tuple[int, int]]] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), (1, 1)),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), (1, 1_000)),
    **dict.fromkeys(("us", "µs", "usec", "micros", "microsecond", "microseconds"), (1, 1_000_000)),
    **dict.fromkeys(("ns", "nsec", "nano", "nanos", "nanosecond", "nanoseconds"), (1, 1_000_000_000)),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), (60, 1)),
    **dict.fromkeys(("h", "hour", "hours"), (3_600, 1)),
}
"""Seconds of a unit, as a product and a quotient, so that 56160 ms are 56.16 s to the last bit."""

_NOT_IN_NAMES: Final = ("min", "mins", "h")
"""Units that a name may mean otherwise: `duration_min` is a least duration."""

_STEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "duration_seconds": ("duration", "latency", "elapsed", "elapsed_time", "run_time", "total_duration"),
    "timeout_seconds": ("timeout",),
    "timestamp": ("timestamp", "started_at", "start_time", "start"),
}
"""Names that say a field once a unit is added: `latency_ms`. Without one they would have to be guessed."""

_BY_NAME: Final[Mapping[str, tuple[RowField, str | None]]] = {
    **{
        f"{stem}_{unit}": (one, unit)
        for one in FIELDS
        for stem in _STEMS.get(one.name, ())
        for unit in _UNITS
        if unit not in _NOT_IN_NAMES
    },
    **{f"{stem}_unix_nano": (one, "ns") for one in FIELDS if one.name == "timestamp" for stem in _STEMS[one.name]},
    **{key: (one, None) for one in FIELDS for key in one.keys},
}
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER: Final = re.compile(r"[^0-9a-zµ]+")
_DIFFERENCE: Final = " - "


@frozen
class Source:
    """Where a field's value comes from.

    Attributes:
        column: The column.
        unit: Unit of its numbers, or None for the field's own.
        true_words: Words that mean true, for a flag; None for the usual ones.
        minus: Column of the time that is taken away from this one.
        counts: Whether a list stands for how many it holds.
        constant: The value of every run, in place of a column.
    """

    column: str
    unit: str | None = None
    true_words: frozenset[str] | None = None
    minus: str | None = None
    counts: bool = False
    constant: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at: `a.b` is one of its own, or in `a`."""
        return tuple(dict.fromkeys(part for name in self._names for part in (name, name.split(".", 1)[0])))

    @property
    def structured(self) -> tuple[str, ...]:
        """Those that hold a mapping or a list, which is JSON in a table."""
        return self._names if self.counts else tuple(name.split(".", 1)[0] for name in self._names if "." in name)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.column, self.minus) if name)

    def of(self, one: RowField, row: Mapping[str, Any]) -> Any:
        """Return the field's value in a row, read, or None where it has none.

        Raises:
            WrongValueError: It is wrong.
        """
        if self.constant is not None:
            return read_field(one.kind, one.name, self.constant)
        value = _value(row, self.column)
        if self.true_words is not None:
            return str("" if value is None else value).strip().lower() in self.true_words
        if value is None:
            return None
        if self.counts and isinstance(value, list):
            return len(value)
        if self.minus is not None:
            begun = _value(row, self.minus)
            if begun is None:
                return None
            taken = read_field(_MOMENT, self.column, value) - read_field(_MOMENT, self.minus, begun)
            return read_field(one.kind, f"{self.column} - {self.minus}", taken)
        return read_field(one.kind, self.column, value, None if self.unit is None else _UNITS[self.unit])


class Columns:
    """Finds the columns of fields in rows.

    Args:
        rules: What the user says, by field; the other fields are found by name.
        are_named: Whether a person or program named them, so that an error lists them.

    Raises:
        MetricsError: A rule is not for a field, or has an unknown unit.
    """

    def __init__(self, rules: Mapping[str, str] | None = None, *, are_named: bool = True) -> None:
        self._are_named = are_named
        self._rules = {_field(name).name: _rule(name, text) for name, text in (rules or {}).items()}
        self._by_keys: dict[tuple[str, ...], ColumnsOfRow] = {}

    @property
    def are_told(self) -> bool:
        """Whether the user says any."""
        return bool(self._rules)

    def of(self, keys: Iterable[str]) -> ColumnsOfRow:
        """Return the columns of a row with these keys."""
        names = tuple(keys)
        found = self._by_keys.get(names)
        if found is None:
            if len(self._by_keys) > _MOST_SHAPES:
                self._by_keys.clear()
            found = self._by_keys[names] = self._find(names)
        return found

    def known(self, keys: Collection[str]) -> int:
        """Return how many of these keys hold a field."""
        used = self.of(keys).used
        return sum(key in used for key in keys)

    def _find(self, names: tuple[str, ...]) -> ColumnsOfRow:
        sources: dict[str, list[tuple[int, Source]]] = {one.name: [] for one in FIELDS}
        told = {column for rule in self._rules.values() for column in rule.columns}
        for name in names:
            field, unit = _field_of(name)
            if field is not None and field.name not in self._rules and name not in told:
                # The field's own names come before those with a unit.
                rank = len(field.keys) if name not in field.keys else field.keys.index(name)
                sources[field.name].append((rank, Source(name, unit)))
        fields = tuple(
            (
                one,
                (self._rules[one.name],) if one.name in self._rules else tuple(s for _, s in sorted(found, key=_rank)),
            )
            for one, found in zip(FIELDS, sources.values(), strict=True)
        )
        used = frozenset(column for _, found in fields for source in found for column in source.columns)
        return ColumnsOfRow(fields, used, names if self._are_named else ())


@frozen
class ColumnsOfRow:
    """The columns of fields in rows with the same keys.

    Attributes:
        fields: Each field with where its value may come from; the first that has one counts.
        used: The columns that are looked at.
        found: All keys, if an error lists them.
    """

    fields: tuple[tuple[RowField, tuple[Source, ...]], ...]
    used: frozenset[str]
    found: tuple[str, ...]

    @property
    def numbers(self) -> frozenset[str]:
        """Columns of numbers and times."""
        return frozenset(
            column
            for one, sources in self.fields
            for source in sources
            if isinstance(one.kind, Number | Moment) and not source.counts
            for column in source.columns
        )

    @property
    def structured(self) -> frozenset[str]:
        """Columns that hold mappings or lists."""
        return frozenset(column for _, found in self.fields for source in found for column in source.structured)

    @property
    def required(self) -> frozenset[str]:
        """Columns of fields that every run has."""
        return frozenset(c for one, found in self.fields if one.required for source in found for c in source.columns)

    def values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a row, read, by their names.

        Raises:
            WrongValueError: One is missing or wrong.
        """
        values: dict[str, Any] = {}
        for one, sources in self.fields:
            for source in sources:
                value = source.of(one, row)
                if value is not None:
                    values[one.name] = value
                    break
            else:
                if one.required:
                    raise self._missing(one)
        return values

    def _missing(self, one: RowField) -> WrongValueError:
        found = ", ".join(clean(str(name))[:60] for name in self.found[:_MOST_LISTED])
        found += f" and {len(self.found) - _MOST_LISTED} more" if len(self.found) > _MOST_LISTED else ""
        near = next((name for name in self.found if normal(name) in _STEMS.get(one.name, ())), None)
        unit = ":ms" if near is not None and one.kind is SECONDS else ""
        example = f"--map {one.keys[0]}={clean(near) if near is not None else 'COLUMN'}{unit}"
        say = "say its unit" if unit else "name the column that holds it"
        message, hint = f"{one.keys[0]}: is missing", f"Every run needs it. {one.hint}"
        if not self.found:
            return WrongValueError(message, hint)
        message = f"{message}; the columns are {found}"
        return WrongValueError(message, f"{hint} In a file with other names, {say}: {example}")


def normal(name: object) -> str:
    """Return a column's name in the way that fields are named: `Duration (ms)` and `durationMs` as `duration_ms`."""
    return _OTHER.sub("_", _CAMEL.sub("_", str(name)).lower()).strip("_")


def names_field(name: str) -> bool:
    """Return whether a column holds a field, or the members, by its name."""
    return _field_of(name)[0] is not None or name in (MEMBERS, VICTORS_MEMBERS)


def rules_of(entries: Iterable[str]) -> dict[str, str]:
    """Return the rules of `--map`: each `FIELD=RULE`, or the name of a YAML or JSON file of `FIELD: RULE`.

    Raises:
        MetricsError: One is neither, a field is named twice, or the file can't be used.
    """
    rules: dict[str, str] = {}
    for entry in entries:
        name, equals, text = entry.partition("=")
        for field, rule, where in [(name, text, "--map")] if equals else _rules_of_file(Path(entry)):
            if rules.setdefault(field.strip(), rule) is not rule:
                raise MetricsError(f"{field.strip()} is given twice", where=where, hint="Leave one of them out.")
            _rule(field.strip(), rule, where)
    return rules


def _rules_of_file(path: Path) -> list[tuple[str, str, str]]:
    from .._values.files import read_text
    from .._values.yaml_tree import parse

    hint = "Write FIELD=COLUMN, such as duration_seconds=latency_ms:ms, or name a YAML file of FIELD: COLUMN."
    try:
        tree = parse(read_text(path, f"--map {path}", hint).text, str(path))
    except WrongValueError as wrong:
        raise wrong.told(MetricsError) from wrong
    if not isinstance(tree, Table):
        raise MetricsError("is not a mapping of fields to columns", where=f"--map {path}", hint=hint)
    for key, value in tree.pairs:
        if not isinstance(value, Scalar) or not isinstance(value.value, str):
            raise MetricsError(f"{key.value}: {show(value)} is not a column", where=value.where, hint=hint)
    return [(str(key.value), str(value.plain()), key.where) for key, value in tree.pairs]


def _field(name: str, where: str = "--map") -> RowField:
    one = next((field for field in FIELDS if name in (field.name, *field.keys)), None)
    if one is None:
        hint = did_you_mean(name, [field.keys[0] for field in FIELDS])
        raise MetricsError(f"{clean(name)!r} is not a field of a run", where=where, hint=hint)
    return one


def _rule(name: str, text: str, where: str = "--map") -> Source:
    one = _field(name, where)
    if text.startswith("="):
        constant = text[1:].strip()
        try:
            read_field(one.kind, one.name, constant)
        except WrongValueError as wrong:
            raise wrong.told(MetricsError, where=where) from None
        return Source("", constant=constant)
    column, minus, begun = text.partition(_DIFFERENCE)
    if minus and one.kind is SECONDS:
        return Source(column.strip(), minus=begun.strip())
    column, colon, said = text.rpartition(":")
    if colon and isinstance(one.kind, Flag):
        return Source(column.strip(), true_words=frozenset(word.strip().lower() for word in said.split("|")))
    if colon and (one.kind is SECONDS or isinstance(one.kind, Moment)):
        unit = said.strip().lower()
        if unit not in _UNITS:
            hint = f"Known units: s, ms, us, ns, min, h; such as {name}={clean(column)}:ms"
            raise MetricsError(f"{name}: {clean(said)!r} is not a unit", where=where, hint=hint)
        return Source(column.strip(), unit)
    if colon and one.kind is CALLS and said.strip() == "count":
        return Source(column.strip(), counts=True)
    if not text.strip():
        raise MetricsError(f"{name} has no column", where=where, hint=f"Write {name}=COLUMN.")
    return Source(text.strip())


def _field_of(name: str) -> tuple[RowField | None, str | None]:
    return _BY_NAME[name] if name in _BY_NAME else _BY_NAME.get(normal(name), (None, None))


def _rank(ranked: tuple[int, Source]) -> int:
    return ranked[0]


def _value(row: Mapping[str, Any], column: str) -> Any:
    value = row.get(column)
    if value is None and "." in column and column not in row:
        outer, _, inner = column.partition(".")
        within = row.get(outer)
        return _value(within, inner) if isinstance(within, Mapping) else None
    return value


_MOMENT: Final = Moment()
_MOST_LISTED: Final = 50
"""Columns that an error lists."""

_MOST_SHAPES: Final = 1_000
"""Sets of keys that are remembered."""
