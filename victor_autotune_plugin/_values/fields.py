"""Kinds of values: what a key accepts, and what to say when it gets something else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, cast

from attrs import frozen

from .names import did_you_mean
from .nodes import Items, Node, Scalar, Table, WrongValueError, show


class Kind(Protocol):
    """What a key accepts."""

    def read(self, node: Node) -> object:
        """Return the value of a node.

        Raises:
            WrongValueError: It is not of this kind.
        """

    def parse(self, text: str) -> object:
        """Return the plain value that a text (of a variable or an option) stands for; `read` then checks it."""

    def schema(self) -> dict[str, object]:
        """Return the JSON Schema (draft 7) that accepts what `read` accepts."""


@frozen
class Choice:
    """One of some names."""

    what: str
    options: tuple[str, ...]

    def read(self, node: Node) -> str:
        """Return the name."""
        if isinstance(node, Scalar):
            if node.value is False and "off" in self.options:
                return "off"  # YAML 1.1, which Victor reads its workflows with, takes the word `off` for false
            if isinstance(node.value, str) and node.value in self.options:
                return node.value
        known = node.value if isinstance(node, Scalar) else ""
        raise WrongValueError(f"{show(node)} is not a known {self.what}", did_you_mean(known, self.options), node.where)

    def parse(self, text: str) -> object:
        """Return the text as it is."""
        return text

    def schema(self) -> dict[str, object]:
        """Return an enumeration."""
        return {"enum": [*self.options, *([False] if "off" in self.options else [])]}


@frozen
class Number:
    """A finite number, or a whole one, between bounds.

    Attributes:
        low: Least value.
        high: Greatest value.
        above: Whether `low` itself is too low.
        below: Whether `high` itself is too high.
        whole: Whether it must be an integer.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False
    whole: bool = False

    @property
    def words(self) -> str:
        """What it accepts, in words."""
        noun = "a whole number" if self.whole else "a number"
        low = f"above {self.low:g}" if self.above else f"of at least {self.low:.12g}"
        return f"{noun} {low} and {'below' if self.below else 'at most'} {self.high:.12g}"

    def read(self, node: Node) -> float:
        """Return the number; an int if it must be whole, else a float."""
        value = node.value if isinstance(node, Scalar) else None
        hint = f"Write {self.words}."
        if isinstance(value, str) and isinstance(self.parse(value), int | float):
            raise WrongValueError(
                f"{show(node)} is text, not a number", f"Write it without quotes: {self.parse(value)}.", node.where
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongValueError(f"{show(node)} is not a number", hint, node.where)
        if isinstance(value, float) and not math.isfinite(value):
            raise WrongValueError(f"{show(node)} is not a finite number", hint, node.where)
        if self.whole and not isinstance(value, int):
            raise WrongValueError(f"{show(node)} is not a whole number", hint, node.where)
        too_low = value <= self.low if self.above else value < self.low
        too_high = value >= self.high if self.below else value > self.high
        if too_low or too_high:
            raise WrongValueError(f"{show(node)} is out of range", hint, node.where)
        return value if self.whole else float(value)

    def parse(self, text: str) -> object:
        """Return the number that the text says, or the text if it says none."""
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
        return text

    def schema(self) -> dict[str, object]:
        """Return a number with its bounds."""
        return {
            "type": "integer" if self.whole else "number",
            "exclusiveMinimum" if self.above else "minimum": self.low,
            "exclusiveMaximum" if self.below else "maximum": self.high,
        }


@frozen
class Flag:
    """True or false."""

    def read(self, node: Node) -> bool:
        """Return the flag."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        raise WrongValueError(f"{show(node)} is neither true nor false", "Write true or false.", node.where)

    def parse(self, text: str) -> object:
        """Return the flag that the text says in one of the usual ways, or the text if it says none."""
        word = text.strip().lower()
        if word in ("true", "1", "yes", "on"):
            return True
        return False if word in ("false", "0", "no", "off") else text

    def schema(self) -> dict[str, object]:
        """Return the type."""
        return {"type": "boolean"}


@frozen
class Text:
    """Text that is not empty."""

    def read(self, node: Node) -> str:
        """Return the text."""
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.strip():
            return node.value
        quoted = isinstance(node, Scalar) and node.value not in (None, "") and not isinstance(node.value, str)
        hint = f"Put it in quotes: '{show(node)}'." if quoted else "Write some text."
        raise WrongValueError(f"{show(node)} is not text", hint, node.where)

    def parse(self, text: str) -> object:
        """Return the text as it is."""
        return text

    def schema(self) -> dict[str, object]:
        """Return text with at least one character that is no space."""
        return {"type": "string", "pattern": r"\S"}


@frozen
class Url:
    """A database URL. It may hold a password, so errors don't show it."""

    def read(self, node: Node) -> str:
        """Return the URL."""
        url = node.value.strip() if isinstance(node, Scalar) and isinstance(node.value, str) else ""
        if url.partition("://")[0] and "://" in url:
            return url
        hint = (
            "Write one such as sqlite:///runs.db or postgresql+psycopg://user@host/database, or null for the default."
        )
        raise WrongValueError("this is not a database URL", hint, node.where)

    def parse(self, text: str) -> object:
        """Return the text as it is."""
        return text

    def schema(self) -> dict[str, object]:
        """Return text with a scheme."""
        return {"type": "string", "pattern": r"^\s*(?!://)\S[\s\S]*?://"}


@frozen
class NameList:
    """A list of different names.

    Attributes:
        of: What each must be.
        least: Fewest that there must be.
    """

    of: Choice | Text
    least: int = 0

    def read(self, node: Node) -> tuple[str, ...]:
        """Return the names in order."""
        if not isinstance(node, Items):
            hint = (
                f"Write a list: [{node.value}]." if isinstance(node, Scalar) and node.value else "Write a list: [a, b]."
            )
            raise WrongValueError(f"{show(node)} is not a list", hint, node.where)
        names: list[str] = []
        for item in node.items:
            name = self.of.read(item)
            if name in names:
                raise WrongValueError(f"'{name}' is in the list twice", "Leave one of them out.", item.where)
            names.append(name)
        if len(names) < self.least:
            raise WrongValueError("the list is empty", f"Name at least {self.least}, or leave the key out.", node.where)
        return tuple(names)

    def parse(self, text: str) -> object:
        """Return the names that stand between commas."""
        return [name.strip() for name in text.split(",") if name.strip()]

    def schema(self) -> dict[str, object]:
        """Return a list of different items."""
        return {"type": "array", "items": self.of.schema(), "minItems": self.least, "uniqueItems": True}


@frozen
class Groups:
    """A list of lists of names; no name is in two of them."""

    def read(self, node: Node) -> tuple[tuple[str, ...], ...]:
        """Return the groups in order."""
        if not isinstance(node, Items):
            raise WrongValueError(f"{show(node)} is not a list", "Write a list of lists: [[a, b], [c]].", node.where)
        groups: list[tuple[str, ...]] = []
        for item in node.items:
            if not isinstance(item, Items):
                hint = "Write a list of lists: [[a, b], [c]]."
                raise WrongValueError(f"{show(item)} in it is not a list", hint, item.where)
            group = NameList(Text(), least=1).read(item)
            twice = [name for name in group if any(name in other for other in groups)]
            if twice:
                hint = "Leave it out of one of them."
                raise WrongValueError(f"'{twice[0]}' is in two of the lists", hint, item.where)
            groups.append(group)
        if not groups:
            raise WrongValueError("the list is empty", "Name at least one group, or leave the key out.", node.where)
        return tuple(groups)

    def parse(self, text: str) -> object:
        """Return the groups that stand between bars, each with its names between commas: `a,b|c`."""
        return [NameList(Text()).parse(group) for group in text.split("|")]

    def schema(self) -> dict[str, object]:
        """Return a list of lists; that no name is in two of them is beyond JSON Schema."""
        return {"type": "array", "items": NameList(Text(), least=1).schema(), "minItems": 1}


@frozen
class Numbers:
    """A number for each of some names.

    Attributes:
        of: What each number must be.
        names: What each name must be.
    """

    of: Number
    names: Choice | Text = Text()

    def read(self, node: Node) -> Mapping[str, float]:
        """Return the numbers by name."""
        if not isinstance(node, Table):
            raise WrongValueError(f"{show(node)} is not a mapping", "Write one: {name: number}.", node.where)
        numbers: dict[str, float] = {}
        for key, value in node.pairs:
            name = self.names.read(key)
            if name in numbers:
                raise WrongValueError(f"'{name}' is given twice", "Leave one of them out.", key.where)
            numbers[name] = self.of.read(value)
        if not numbers:
            raise WrongValueError("the mapping is empty", "Name at least one, or leave the key out.", node.where)
        return numbers

    def parse(self, text: str) -> object:
        """Return the numbers of `name=number` pairs between commas, or the text if it holds none."""
        pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
        if not all(equals for _, equals, _ in pairs):
            return text
        return {name.strip(): self.of.parse(number) for name, _, number in pairs}

    def schema(self) -> dict[str, object]:
        """Return a mapping that is not empty."""
        return {
            "type": "object",
            "propertyNames": {"pattern": r"\S"} if isinstance(self.names, Text) else self.names.schema(),
            "additionalProperties": self.of.schema(),
            "minProperties": 1,
        }


@frozen
class OrNone:
    """Something, or null for none."""

    of: Kind

    def read(self, node: Node) -> object:
        """Return the value or None."""
        return None if isinstance(node, Scalar) and node.value is None else self.of.read(node)

    def parse(self, text: str) -> object:
        """Return None for `null` and `none`, else what the text says."""
        return None if text.strip().lower() in ("null", "none") else self.of.parse(text)

    def schema(self) -> dict[str, object]:
        """Return the other kind's, or null."""
        inner = self.of.schema()
        if "enum" in inner:
            return {"enum": [*cast("list[object]", inner["enum"]), None]}
        return inner | {"type": [inner["type"], "null"]}
