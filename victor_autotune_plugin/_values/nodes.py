"""Values as a source gave them, each with where it stands; and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from ..errors import SettingsError

_HUGE: Final = 10**18


@frozen
class Scalar:
    """One plain value.

    Attributes:
        value: Text, number, true or false, or None.
        where: Source of the value for people, such as `.victor/autotune.yaml:12`.
    """

    value: object
    where: str


@frozen
class Items:
    """A list."""

    items: tuple[Node, ...]
    where: str


@frozen
class Table:
    """A mapping with its keys in order; a key that is given twice is in it twice."""

    pairs: tuple[tuple[Scalar, Node], ...]
    where: str


Node = Scalar | Items | Table


@frozen
class Entry:
    """A checked value and its source."""

    value: object
    where: str


@frozen
class Problem:
    """Something that is wrong in a source.

    Attributes:
        where: File and line, variable, or option.
        key: Dotted path of the key, empty for the source as a whole.
        message: What is wrong.
        hint: What to do about it.
    """

    where: str
    key: str
    message: str
    hint: str

    def text(self) -> str:
        """Return the message with the key in front."""
        return f"{self.key}: {self.message}" if self.key else self.message


class WrongValueError(Exception):
    """A value is not of its kind; the caller knows where it stands and turns this into a `Problem`."""

    def __init__(self, message: str, hint: str, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where


class PlacedMapping(dict[str, object]):
    """A mapping in memory that remembers where its keys stand in a file.

    Attributes:
        places: `file:line` by key.
    """

    def __init__(self, values: Mapping[str, object], places: Mapping[str, str]) -> None:
        super().__init__(values)
        self.places = dict(places)


def from_plain(value: object, where: str) -> Node:
    """Return plain Python data (of a mapping in memory) as nodes.

    Args:
        value: Mappings, lists and scalars.
        where: Where all of it stands, apart from what a `PlacedMapping` knows better.
    """
    if isinstance(value, Mapping):
        places = value.places if isinstance(value, PlacedMapping) else {}
        pairs = ((str(key), item, places.get(key, where)) for key, item in value.items())
        return Table(tuple((Scalar(key, place), from_plain(item, place)) for key, item, place in pairs), where)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Items(tuple(from_plain(item, where) for item in value), where)
    return Scalar(value, where)


def show(node: Node) -> str:
    """Return a value in few words, for an error."""
    if isinstance(node, Table):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    if isinstance(node.value, int) and abs(node.value) > _HUGE:
        return "a huge number"  # Python refuses to print the largest
    text = f"'{node.value}'" if isinstance(node.value, str) else str(node.value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def raise_if_any(problems: Sequence[Problem]) -> None:
    """Raise one error that tells all problems, in the order found, each once.

    Args:
        problems: What is wrong; may be empty.

    Raises:
        SettingsError: There is at least one.
    """
    unique = list(dict.fromkeys(problems))
    if not unique:
        return
    if len(unique) == 1:
        raise SettingsError(unique[0].text(), where=unique[0].where, hint=unique[0].hint)
    each = [str(SettingsError(problem.text(), where=problem.where, hint=problem.hint)) for problem in unique]
    raise SettingsError("\n".join([f"{len(unique)} things are wrong in the settings", *each]))
