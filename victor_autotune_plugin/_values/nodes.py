"""What people write, as a tree whose parts know where they stand, and the error that a part of it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import frozen

from ..errors import AutotuneError

_HUGE: Final = 10**18
_LONGEST: Final = 60
_MOST_BITS: Final = 1_000

E = TypeVar("E", bound=AutotuneError)


class WrongValueError(Exception):
    """A value is not of its kind.

    Args:
        where: Where the value stands, or None when only the caller knows.
    """

    def __init__(self, message: str, hint: str, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def told(self, error: type[E], key: str = "", where: str | None = None) -> E:
        """Return it as an error for people.

        Args:
            key: Key that holds the value, put in front of the message.
            where: Where the value stands if it does not know itself.
        """
        message = f"{key}: {self.message}" if key else self.message
        return error(message, where=self.where or where, hint=self.hint)


class Filled(str):
    """A text into which variables were filled: it may stand for a number or a flag where one is wanted."""

    __slots__ = ()


@frozen
class Scalar:
    """One plain value.

    Attributes:
        value: Text, number, true or false, or None. A point in time is text.
        where: Where it stands, for people, such as `.victor/autotune.yaml:12`.
        moment: The point in time that YAML takes the text for, or None.
    """

    value: object
    where: str
    moment: object = None

    def plain(self) -> Any:
        """Return it as plain Python data."""
        if isinstance(self.value, Filled):
            return str(self.value)
        return self.value if self.moment is None else self.moment


@frozen
class Items:
    """A list."""

    items: tuple[Node, ...]
    where: str

    def plain(self) -> list[Any]:
        """Return it as plain Python data."""
        return [item.plain() for item in self.items]


@frozen
class Table:
    """A mapping with its keys in order; of a key that is given twice, and is in it twice, the last counts."""

    pairs: tuple[tuple[Scalar, Node], ...]
    where: str

    def __iter__(self) -> Iterator[str]:
        return (str(key.value) for key, _ in self.pairs)

    def __contains__(self, key: object) -> bool:
        return any(name == key for name in self)

    def get(self, key: str) -> Node | None:
        """Return the value of a key, or None when the key is missing or says `null`."""
        found = next((value for name, value in reversed(self.pairs) if str(name.value) == key), None)
        return None if found is None or is_null(found) else found

    def value(self, key: str) -> Any:
        """Return the value of a key as plain Python data, or None."""
        found = self.get(key)
        return None if found is None else found.plain()

    def where_of(self, key: str) -> str:
        """Return where a key stands, or the table itself when the key is missing."""
        return next((name.where for name, _ in reversed(self.pairs) if str(name.value) == key), self.where)

    def plain(self) -> dict[str, Any]:
        """Return it as plain Python data."""
        return {str(key.value): value.plain() for key, value in self.pairs}


Node = Scalar | Items | Table


class PlacedMapping(dict[str, object]):
    """A mapping in memory that remembers where its keys stand in a file.

    Attributes:
        places: `file:line` by key.
    """

    def __init__(self, values: Mapping[str, object], places: Mapping[str, str]) -> None:
        super().__init__(values)
        self.places = dict(places)


def from_plain(value: object, where: str) -> Node:
    """Return plain Python data as nodes; what is a node already stays as it is.

    Args:
        where: Where all of it stands, apart from what a `PlacedMapping` knows better.
    """
    if isinstance(value, Scalar | Items | Table):
        return value
    if isinstance(value, int):
        return Scalar(bounded(value), where)
    if isinstance(value, Mapping):
        places = value.places if isinstance(value, PlacedMapping) else {}
        pairs = ((_name(key), item, places.get(key, where)) for key, item in value.items())
        return Table(tuple((Scalar(key, place), from_plain(item, place)) for key, item, place in pairs), where)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Items(tuple(from_plain(item, where) for item in value), where)
    return Scalar(value, where)


def bounded(value: int) -> int:
    """Return an integer, or in place of one that is beyond all use a smaller one, which Python can write and divide."""
    return value if value.bit_length() <= _MOST_BITS else (1 if value > 0 else -1) << _MOST_BITS


def _name(key: object) -> str:
    return str(bounded(key) if isinstance(key, int) else key)


def placed(node: Node) -> Any:
    """Return a node as plain Python data whose mappings remember where their keys stand."""
    if isinstance(node, Table):
        values = {str(key.value): placed(value) for key, value in node.pairs}
        return PlacedMapping(values, {str(key.value): key.where for key, _ in node.pairs})
    if isinstance(node, Items):
        return [placed(item) for item in node.items]
    return node.value if isinstance(node.value, Filled) else node.plain()


def is_null(node: Node) -> bool:
    """Whether a node says `null`, or nothing at all."""
    return isinstance(node, Scalar) and node.value is None


def show(value: object) -> str:
    """Return a node or plain data in few characters that are safe to print, for an error."""
    if isinstance(value, Scalar):
        value = value.value
    if isinstance(value, Table | Mapping):
        return "a mapping"
    if isinstance(value, Items | list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > _HUGE:
        return "a huge number"  # Python refuses to print the largest
    text = str(value)
    if isinstance(value, str):
        text = f"'{value}'" if value.isprintable() else ascii(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
