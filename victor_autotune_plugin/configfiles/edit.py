"""Changes single values of a YAML or JSON text and leaves every other character as it was.

PyYAML says where each value stands; only the text of what changes is replaced. A value that an alias shares with
another place is never changed there unasked.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .._values.yaml_tree import HOST_LOADER
from ..errors import WorkflowError

KeyPath = Sequence[str | int]

_MERGE: Final = "tag:yaml.org,2002:merge"
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
_NOT_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_ALIAS: Final = re.compile(r"\s*:\s*(\*[^\s,\]}]+)")
_COLON: Final = re.compile(r"\s*:")
_ANCHOR: Final = re.compile(r"&\S+[ \t]+")


class Editor:
    """A text that is changed value by value. Every method leaves it whole, or raises and leaves it as it was.

    Args:
        text: YAML that `yaml_tree.load` accepted.
        shown: Name of the file, for errors.
        as_json: Whether it is JSON, so that names need quotes.
    """

    def __init__(self, text: str, shown: str, *, as_json: bool = False) -> None:
        self.text = text
        self._shown = shown
        self._json = as_json
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def set(self, path: KeyPath, value: object, *, after: Sequence[str] = ()) -> None:
        """Set the value of a key; mappings on the way that are missing are made.

        Args:
            path: Keys and positions from the top.
            value: Plain data.
            after: Keys of the same mapping behind which a new one is put, the best first; else it comes last.

        Raises:
            WorkflowError: It would change another place, too, or what holds it is not a mapping.
        """
        parents, rest = self._walk(path)
        key, node = parents[-1]
        if not rest:
            self._replace(key, node, value, path)
        elif isinstance(node, MappingNode):
            self._add(node, rest, value, after)
        elif isinstance(node, ScalarNode) and str(node.tag).endswith(":null"):
            self._replace(key, node, _nested(rest, value), path)
        else:
            raise self._error(node, path[: len(path) - len(rest)], "is not a mapping", "make it one")

    def arrange(self, path: KeyPath, order: Sequence[int]) -> None:
        """Let a list have only some of its items, in a new order. Comments above an item go where it goes.

        Args:
            path: Keys and positions that lead to the list.
            order: Positions of the items that stay.
        """
        key, node = self._walk(path)[0][-1]
        assert isinstance(node, SequenceNode)
        if any(self._uses[id(one)] > 1 for one in (node, *node.value)):
            raise self._shared(key or node, path)
        spans = [(item.start_mark.index, self._end(item)) for item in node.value]
        if node.flow_style:
            self._arrange_inline(node, spans, order)
        else:
            self._arrange_lines(spans, order)

    def _walk(self, path: KeyPath) -> tuple[list[tuple[Node | None, Node]], list[str | int]]:
        """Return `(key, value)` from the top down as far as the path exists, and the rest of the path."""
        self._read()
        found: list[tuple[Node | None, Node]] = [(None, self._root)]
        for number, name in enumerate(path):
            key, node = found[-1]
            if self._uses[id(node)] > 1:
                raise self._shared(key or node, path[:number])
            if isinstance(node, SequenceNode) and isinstance(name, int):
                found.append((None, node.value[name]))
                continue
            pair = next((pair for pair in reversed(_pairs(node)) if pair[0].value == name), None)
            if pair is None:
                rest = list(path[number:])
                if len(rest) > 1 and _merges(node, name):
                    raise self._shared(node, path[: number + 1])
                return found, rest
            found.append(pair)
        return found, []

    def _read(self) -> None:
        self._root: Any = yaml.compose(self.text, HOST_LOADER)
        self._uses: Counter[int] = Counter()
        waiting: list[Any] = [self._root]
        while waiting:
            node = waiting.pop()
            self._uses[id(node)] += 1
            if self._uses[id(node)] == 1 and not isinstance(node, ScalarNode):
                for item in node.value:
                    waiting += item if isinstance(item, tuple) else (item,)

    def _replace(self, key: Node | None, node: Node, value: object, path: KeyPath) -> None:
        assert key is not None
        alias = _ALIAS.match(self.text, key.end_mark.index)
        colon = _COLON.match(self.text, key.end_mark.index)
        assert colon is not None
        if alias is not None:
            self._splice(alias.start(1), alias.end(1), self._shown_value(value))
            return
        if self._uses[id(node)] > 1 or any(self._uses[id(below)] > 1 for below in _below(node)):
            raise self._shared(key, path)
        start, end = node.start_mark.index, self._end(node)
        anchor = _ANCHOR.match(self.text, start)
        if isinstance(node, ScalarNode) and start < end:
            tail = self._newline if self.text[end - 1] == "\n" else ""  # a block scalar ends with its line
            self._splice(anchor.end() if anchor else start, end, self._shown_value(value) + tail)
        else:
            self._splice(colon.end(), self._end_of_pair(key, node), f" {self._shown_value(value)}")

    def _add(self, node: MappingNode, rest: Sequence[str | int], value: object, after: Sequence[str]) -> None:
        pairs = _pairs(node)
        behind = next((pair for name in after for pair in pairs if pair[0].value == name), None)
        if node.flow_style or not pairs:
            shown = f"{self._shown_value(rest[0])}: {self._shown_value(_nested(rest[1:], value))}"
            if not node.value:
                self._splice(node.start_mark.index + 1, node.start_mark.index + 1, shown)
                return
            last = behind or node.value[-1]
            at = self._end_of_pair(*last)
            first = node.value[0][0].start_mark
            on_lines = len(node.value) > 1 and first.line != node.value[1][0].start_mark.line
            gap = f"{self._newline}{self._indent(first.index)}" if on_lines else " "
            self._splice(at, at, f",{gap}{shown}")
            return
        key, last_value = behind or node.value[-1]
        at = self._end_of_pair(key, last_value)
        if self.text[at - 1] == "\n":
            at -= 1
        end = self.text.find("\n", at)
        column = node.value[0][0].start_mark.column
        lines = self._lines(rest, value, column)
        if end < 0:
            self._splice(len(self.text), len(self.text), self._newline + lines.removesuffix(self._newline))
        else:
            self._splice(end + 1, end + 1, lines)

    def _lines(self, path: Sequence[str | int], value: object, column: int) -> str:
        """Return new block lines, a level of the path each."""
        made = ""
        for depth, name in enumerate(path):
            inner = f" {self._shown_value(value)}" if depth == len(path) - 1 else ""
            made += f"{' ' * (column + 2 * depth)}{self._shown_value(name)}:{inner}{self._newline}"
        return made

    def _arrange_inline(self, node: Node, spans: list[tuple[int, int]], order: Sequence[int]) -> None:
        items = [self.text[start:end] for start, end in spans]
        ends = [start for start, _ in spans[1:]] + [self._end(node) - 1]
        gaps = [self.text[end:until] for (_, end), until in zip(spans, ends, strict=True)]
        gaps = [gap.replace(",", "", 1) if "," in gap.partition("#")[0] else gap for gap in gaps]
        last = gaps[-1]
        between = gaps[0] if len(gaps) > 1 and "#" not in gaps[0] else " "
        made = ""
        for place, number in enumerate(order):
            comment = gaps[number] if "#" in gaps[number] else None
            if place == len(order) - 1:
                made += items[number] + (comment or last)
            else:
                made += f"{items[number]},{comment or (gaps[number] if number < len(items) - 1 else between)}"
        self._splice(spans[0][0], self._end(node) - 1, made)

    def _arrange_lines(self, spans: list[tuple[int, int]], order: Sequence[int]) -> None:
        text = self.text
        if text.find("\n", spans[-1][1] - 1) < 0:
            text += self._newline
        chunks: list[tuple[int, int]] = []
        start = text.rfind("\n", 0, text.rfind("-", 0, spans[0][0])) + 1
        for _, end in spans:
            until = text.find("\n", end - 1 if text[end - 1] == "\n" else end) + 1
            chunks.append((start, until))
            start = until
        self.text = text
        self._splice(chunks[0][0], chunks[-1][1], "".join(text[slice(*chunks[number])] for number in order))

    def _end_of_pair(self, key: Node, value: Node) -> int:
        alias = _ALIAS.match(self.text, key.end_mark.index)
        if alias is not None:
            return alias.end(1)
        if value.start_mark.index < value.end_mark.index:
            return self._end(value)
        colon = _COLON.match(self.text, key.end_mark.index)  # nothing stands there, and its mark is at what follows
        return colon.end() if colon else int(key.end_mark.index)

    def _end(self, node: Node) -> int:
        """Return where a value ends; PyYAML counts what follows a block as part of it."""
        if not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value:
            return int(node.end_mark.index)
        last = node.value[-1]
        return self._end_of_pair(*last) if isinstance(last, tuple) else self._end(last)

    def _indent(self, index: int) -> str:
        line = self.text[self.text.rfind("\n", 0, index) + 1 : index]
        return line[: len(line) - len(line.lstrip())]

    def _splice(self, start: int, end: int, text: str) -> None:
        self.text = self.text[:start] + text + self.text[end:]

    def _shown_value(self, value: object) -> str:
        return json.dumps(value) if self._json else inline(value)

    def _shared(self, node: Node, path: KeyPath) -> WorkflowError:
        hint = "write the value out at this place, without `&name`, `*name` and `<<`"
        return self._error(node, path, "is shared with another place of the file by an alias", hint)

    def _error(self, node: Node, path: KeyPath, message: str, hint: str) -> WorkflowError:
        where = f"{self._shown}:{node.start_mark.line + 1}"
        return WorkflowError(f"{'.'.join(map(str, path))!r} {message}", where=where, hint=hint)


def inline(value: object) -> str:
    """Return plain data as YAML in one line, which YAML 1.1 and 1.2 read alike.

    Args:
        value: Mappings, lists and scalars.
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{inline(key)}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        assert math.isfinite(value)
        return str(int(value)) if value.is_integer() else f"{value:.12f}".rstrip("0")
    if isinstance(value, int):
        return str(value)
    text = str(value)
    return text if _PLAIN.match(text) and text.lower() not in _NOT_TEXT else quoted(text)


def quoted(text: str) -> str:
    """Return a text in double quotes; what is not printable becomes an escape, so no line ends in it."""
    made = ""
    for char in text:
        if char in '"\\':
            made += f"\\{char}"
        elif char.isprintable() and char != "\ufeff":
            made += char
        else:
            made += f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
    return f'"{made}"'


def _nested(path: Sequence[str | int], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    """Return the pairs that stand in a mapping itself."""
    return [pair for pair in node.value if pair[0].tag != _MERGE] if isinstance(node, MappingNode) else []


def _below(node: Node) -> list[Node]:
    if isinstance(node, ScalarNode):
        return []
    inner = [one for item in node.value for one in (item if isinstance(item, tuple) else (item,))]
    return inner + [deeper for one in inner for deeper in _below(one)]


def _merges(node: Node, name: object) -> bool:
    """Whether a merge key (`<<`) brings in a name."""
    if not isinstance(node, MappingNode):
        return False
    merged = [value for key, value in node.value if key.tag == _MERGE]
    sources = [one for value in merged for one in (value.value if isinstance(value, SequenceNode) else [value])]
    return any(key.value == name for source in sources for key, _ in _pairs(source)) or any(
        _merges(source, name) for source in sources
    )
