"""Kinds of values: what a key accepts, and what to say when it gets something else."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from attrs import frozen

from .names import did_you_mean
from .nodes import Filled, Items, Node, Scalar, Table, WrongValueError, from_plain, is_null, show

_NAME = {"pattern": r"\S"}


class Kind(ABC):
    """What a key accepts."""

    @abstractmethod
    def read(self, node: Node) -> Any:
        """Return the value of a node.

        Raises:
            WrongValueError: It is not of this kind.
        """

    def parse(self, text: str) -> object:
        """Return the plain value that a text (of a variable or an option) stands for; `read` then checks it."""
        return text

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema (draft 7) that accepts what `read` accepts."""


def read_value(kind: Kind, value: object, where: str = "") -> Any:
    """Return what a kind makes of plain Python data.

    Raises:
        WrongValueError: It is not of the kind.
    """
    return kind.read(from_plain(value, where))


@frozen
class Choice(Kind):
    """One of some names.

    Attributes:
        what: What they name, for the error.
        options: The names.
    """

    what: str
    options: tuple[str, ...]

    def read(self, node: Node) -> str:
        """Return the name."""
        value = node.value if isinstance(node, Scalar) else None
        if value is False and "off" in self.options:
            return "off"  # YAML 1.1, which Victor reads its workflows with, takes the word `off` for false
        if isinstance(value, str) and value in self.options:
            return str(value)
        raise WrongValueError(f"{show(node)} is not a known {self.what}", did_you_mean(value, self.options), node.where)

    def schema(self) -> dict[str, Any]:
        """Return an enumeration."""
        return {"enum": [*self.options, *([False] if "off" in self.options else [])]}


@frozen
class OpenChoice(Choice):
    """One of some names, or a name that is unlike all of them.

    Attributes:
        is_misspelt: Says which other names are known ones with a mistake in them.
    """

    is_misspelt: Callable[[str, tuple[str, ...]], bool]

    def read(self, node: Node) -> str:
        """Return the name."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and value.strip() and not self.is_misspelt(value, self.options):
            return value
        return super().read(node)

    def schema(self) -> dict[str, Any]:
        """Return text, with the names that an editor may offer."""
        return {"type": "string", "pattern": r"\S", "examples": list(self.options)}


@frozen
class Number(Kind):
    """A finite number, or a whole one, between bounds.

    Attributes:
        low: Least value.
        high: Greatest value.
        above: Whether `low` itself is too low.
        below: Whether `high` itself is too high.
        whole: Whether it must be an integer.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    @property
    def words(self) -> str:
        """What it accepts, in words."""
        low = f"above {self.low:g}" if self.above else f"of at least {self.low:.12g}"
        high = f"{'below' if self.below else 'at most'} {self.high:.12g}"
        bounds = [words for words, bound in ((low, self.low), (high, self.high)) if math.isfinite(bound)]
        return " ".join(["a whole number" if self.whole else "a number", " and ".join(bounds)]).strip()

    def read(self, node: Node) -> float:
        """Return the number; an int if it must be whole, else a float."""
        value = node.value if isinstance(node, Scalar) else None
        hint = f"Write {self.words}."
        if isinstance(value, Filled):
            value = self.parse(value)
        elif isinstance(value, str) and isinstance(self.parse(value), int | float):
            hint = f"Write it without quotes: {show(self.parse(value))}."
            raise WrongValueError(f"{show(node)} is text, not a number", hint, node.where)
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

    def schema(self) -> dict[str, Any]:
        """Return a number with its bounds."""
        bounds = {
            "exclusiveMinimum" if self.above else "minimum": self.low,
            "exclusiveMaximum" if self.below else "maximum": self.high,
        }
        finite = {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
        return {"type": "integer" if self.whole else "number", **finite}


@frozen
class Flag(Kind):
    """True or false."""

    def read(self, node: Node) -> bool:
        """Return the flag."""
        value = node.value if isinstance(node, Scalar) else None
        value = self.parse(value) if isinstance(value, Filled) else value
        if isinstance(value, bool):
            return value
        raise WrongValueError(f"{show(node)} is neither true nor false", "Write true or false.", node.where)

    def parse(self, text: str) -> object:
        """Return the flag that the text says in one of the usual ways, or the text if it says none."""
        word = text.strip().lower()
        if word in ("true", "1", "yes", "on"):
            return True
        return False if word in ("false", "0", "no", "off") else text

    def schema(self) -> dict[str, Any]:
        """Return the type."""
        return {"type": "boolean"}


@frozen
class Text(Kind):
    """Text.

    Attributes:
        may_be_empty: Whether it may be empty, or blank.
    """

    may_be_empty: bool = False

    def read(self, node: Node) -> str:
        """Return the text."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and (self.may_be_empty or value.strip()):
            return str(value)
        quoted = isinstance(node, Scalar) and value is not None and not isinstance(value, str)
        hint = f"Put it in quotes: '{show(node)}'." if quoted else "Write some text."
        raise WrongValueError(f"{show(node)} is not text", hint, node.where)

    def schema(self) -> dict[str, Any]:
        """Return text, with at least one character that is not a space unless it may be empty."""
        return {"type": "string"} if self.may_be_empty else {"type": "string", **_NAME}


@frozen
class Url(Kind):
    """A database URL. It may hold a password, so errors don't show it."""

    def read(self, node: Node) -> str:
        """Return the URL."""
        url = node.value.strip() if isinstance(node, Scalar) and isinstance(node.value, str) else ""
        if url.partition("://")[0] and "://" in url:
            return url
        hint = "such as sqlite:///runs.db or postgresql+psycopg://user@host/database, or null for the default."
        raise WrongValueError("this is not a database URL", f"Write one {hint}", node.where)

    def schema(self) -> dict[str, Any]:
        """Return text with a scheme."""
        return {"type": "string", "pattern": r"^\s*(?!://)\S[\s\S]*?://"}


@frozen
class NameList(Kind):
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
            example = show(node.value).strip("'") if isinstance(node, Scalar) and node.value else "a, b"
            raise WrongValueError(f"{show(node)} is not a list", f"Write a list: [{example}].", node.where)
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

    def schema(self) -> dict[str, Any]:
        """Return a list of different items."""
        return {"type": "array", "items": self.of.schema(), "minItems": self.least, "uniqueItems": True}


@frozen
class Groups(Kind):
    """A list of lists of names; no name is in two of them."""

    def read(self, node: Node) -> tuple[tuple[str, ...], ...]:
        """Return the groups in order."""
        hint = "Write a list of lists: [[a, b], [c]]."
        if not isinstance(node, Items):
            raise WrongValueError(f"{show(node)} is not a list", hint, node.where)
        groups: list[tuple[str, ...]] = []
        for item in node.items:
            if not isinstance(item, Items):
                raise WrongValueError(f"{show(item)} in it is not a list", hint, item.where)
            group = NameList(Text(), least=1).read(item)
            twice = [name for name in group if any(name in other for other in groups)]
            if twice:
                message = f"'{twice[0]}' is in two of the lists"
                raise WrongValueError(message, "Leave it out of one of them.", item.where)
            groups.append(group)
        if not groups:
            raise WrongValueError("the list is empty", "Name at least one group, or leave the key out.", node.where)
        return tuple(groups)

    def parse(self, text: str) -> object:
        """Return the groups that stand between bars, each with its names between commas: `a,b|c`."""
        return [NameList(Text()).parse(group) for group in text.split("|")]

    def schema(self) -> dict[str, Any]:
        """Return a list of lists; that no name is in two of them is beyond JSON Schema."""
        return {"type": "array", "items": NameList(Text(), least=1).schema(), "minItems": 1}


@frozen
class Pairs(Kind):
    """A list of different pairs of different names."""

    def read(self, node: Node) -> tuple[tuple[str, str], ...]:
        """Return the pairs in order."""
        hint = "Write a list of pairs: [[a, b], [b, c]]; in a variable: a,b|b,c."
        if not isinstance(node, Items):
            raise WrongValueError(f"{show(node)} is not a list", hint, node.where)
        pairs: list[tuple[str, str]] = []
        for item in node.items:
            if not isinstance(item, Items):
                raise WrongValueError(f"{show(item)} in it is not a list", hint, item.where)
            if len(item.items) != 2:
                message = f"a list in it has {len(item.items) or 'no'} name{'s' * (len(item.items) != 1)}, not two"
                raise WrongValueError(message, hint, item.where)
            first, second = map(Text().read, item.items)
            if first == second:
                raise WrongValueError(f"a pair has '{first}' twice", "Name two different ones.", item.where)
            if (first, second) in pairs:
                raise WrongValueError(f"[{first}, {second}] is in the list twice", "Leave one out.", item.where)
            pairs.append((first, second))
        return tuple(pairs)

    def parse(self, text: str) -> object:
        """Return the pairs that stand between bars, each as two names with a comma between them: `a,b|b,c`."""
        return [NameList(Text()).parse(pair) for pair in text.split("|") if pair.strip(" ,")]

    def schema(self) -> dict[str, Any]:
        """Return a list of different lists of two names."""
        pair = NameList(Text(), least=2).schema() | {"maxItems": 2}
        return {"type": "array", "items": pair, "uniqueItems": True}


@frozen
class Numbers(Kind):
    """A mapping of names to numbers.

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

    def schema(self) -> dict[str, Any]:
        """Return a mapping that is not empty."""
        return {
            "type": "object",
            "propertyNames": _NAME if isinstance(self.names, Text) else self.names.schema(),
            "additionalProperties": self.of.schema(),
            "minProperties": 1,
        }


@frozen
class OrNone(Kind):
    """Something, or null for none."""

    of: Kind

    def read(self, node: Node) -> Any:
        """Return the value or None."""
        return None if is_null(node) else self.of.read(node)

    def parse(self, text: str) -> object:
        """Return None for `null` and `none`, else what the text says."""
        return None if text.strip().lower() in ("null", "none") else self.of.parse(text)

    def schema(self) -> dict[str, Any]:
        """Return the other kind's, or null."""
        inner = self.of.schema()
        if "enum" in inner:
            return {"enum": [*cast("list[object]", inner["enum"]), None]}
        types = inner["type"] if isinstance(inner["type"], list) else [inner["type"]]
        return inner | {"type": [*types, "null"]}


@frozen
class Acting(Kind):
    """Something by which the machine acts: from a project's own files it counts only once the user trusts it.

    A key that is given twice anywhere in it is wrong: a person must be shown the one that counts.

    Attributes:
        of: What may be written.
        harmless: Returns what of a value counts without trust, all of it where nothing acts; without it nothing counts.
    """

    of: Kind
    harmless: Callable[[Any], Any] | None = None

    def acts(self, value: Any) -> bool:
        """Whether the machine acts by a value."""
        return self.harmless is None or self.harmless(value) != value

    def read(self, node: Node) -> Any:
        """Return the other kind's value."""
        _check_unique(node)
        return self.of.read(node)

    def parse(self, text: str) -> object:
        """Return what the other kind makes of the text."""
        return self.of.parse(text)

    def schema(self) -> dict[str, Any]:
        """Return the other kind's."""
        return self.of.schema()


def _check_unique(node: Node) -> None:
    below: Iterable[Node] = node.items if isinstance(node, Items) else ()
    if isinstance(node, Table):
        names = [str(key.value) for key, _ in node.pairs]
        for number, (key, _) in enumerate(node.pairs):
            if names[number] in names[:number]:
                raise WrongValueError(f"'{names[number]}' is given twice", "Leave one of them out.", key.where)
        below = [value for _, value in node.pairs]
    for one in below:
        _check_unique(one)


@frozen
class Anything(Kind):
    """Data that is not looked into.

    Attributes:
        table: Whether it must be a mapping.
    """

    table: bool = False

    def read(self, node: Node) -> Any:
        """Return it as plain Python data."""
        if self.table and not isinstance(node, Table):
            raise WrongValueError(f"{show(node)} is not a mapping", "Write `key: value` pairs.", node.where)
        return node.plain()

    def schema(self) -> dict[str, Any]:
        """Return what accepts it."""
        return {"type": "object"} if self.table else {}
