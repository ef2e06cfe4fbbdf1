"""YAML text (and JSON, which is YAML) as a tree that knows each value's line: the only reader of YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from ..errors import WorkflowError
from .files import TextFile, read_text
from .nodes import Items, Node, Scalar, Table, WrongValueError, bounded

_TAG: Final = "tag:yaml.org,2002:"
_SPACES: Final = "YAML indents with spaces: put spaces in place of the tab."
_MOST_VALUES: Final = 200_000
"""How many values a text may have once its aliases are written out."""

_MOST_LEVELS: Final = 100
_FLATTER: Final = "Take some levels out."
_HUGE: Final = f"this holds more than {_MOST_VALUES:,} values once its aliases are written out"
_SMALLER: Final = "Take values out, or the aliases (`*name`) that repeat them."


def load(path: Path, shown: Path | None = None) -> tuple[TextFile, Table]:
    """Read a YAML or JSON file that holds a mapping.

    Args:
        shown: What errors call it; None for its path.

    Raises:
        WorkflowError: It can't be read or is not YAML, has a key twice, or holds no mapping; the message names the
            line.
    """
    try:
        file = read_text(path, str(shown or path))
    except WrongValueError as wrong:
        raise wrong.told(WorkflowError) from wrong
    return file, mapping(file.text, str(shown or path))


def mapping(text: str, shown: str) -> Table:
    """Return the mapping that a text holds.

    Raises:
        WorkflowError: As in `load`.
    """
    try:
        root = parse(text, shown, unique_keys=True)
    except WrongValueError as wrong:
        raise wrong.told(WorkflowError) from wrong
    if not isinstance(root, Table):
        raise WorkflowError("this is not a workflow: it must be a mapping", where=f"{shown}:1")
    return root


def parse(text: str, shown: str, *, unique_keys: bool = False) -> Node | None:
    """Return the tree of a YAML 1.2 document, or None when it holds nothing.

    Args:
        shown: Name of the file, for people.
        unique_keys: Whether a key that is given twice is an error; else it is in its `Table` twice.

    Raises:
        WrongValueError: It is not YAML, with the line; or it is endless or huge once its aliases are written out.
    """
    try:
        root = compose(text)
        tree = None if root is None else _Tree(shown, unique_keys).node(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        lines = text.splitlines()
        tab = line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
        message = "; ".join(part for part in (error.context, error.problem) if part)
        hint = _SPACES if tab or "'\\t'" in message else "Fix the line, or the one before it."
        raise WrongValueError(f"this is not YAML: {message}", hint, f"{shown}:{line}") from error
    except ReaderError as error:
        where = f"{shown}:{text.count(chr(10), 0, error.position) + 1}"
        raise WrongValueError(f"this is not YAML: {error.reason}", "Save the file as plain text.", where) from error
    except YAMLError as error:
        message = f"this is not YAML: {str(error).splitlines()[0]}"
        raise WrongValueError(message, "Save the file as plain text.", shown) from error
    except RecursionError as error:
        raise WrongValueError("this is nested too deeply", _FLATTER, shown) from error
    if tree is not None and _size(tree, {}) > _MOST_VALUES:
        raise WrongValueError(_HUGE, _SMALLER, shown)
    return tree


def compose(text: str) -> YamlNode | None:
    """Return a document's nodes as ruamel.yaml has them, or None when it holds nothing.

    Raises:
        YAMLError: It is not YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # YAML allows it: an alias means the anchor before it
    root: YamlNode | None = yaml.compose(text)
    return root


def _size(node: Node, known: dict[int, int]) -> int:
    """Count the values of a tree, those that an alias repeats as often as it does."""
    if isinstance(node, Scalar):
        return 1
    if id(node) not in known:
        below = node.items if isinstance(node, Items) else [value for _, value in node.pairs]
        known[id(node)] = 1 + sum(_size(one, known) for one in below)
    return known[id(node)]


class _Tree:
    """Turns composed nodes into ours, each once however many aliases it has."""

    def __init__(self, shown: str, unique_keys: bool) -> None:
        self._shown = shown
        self._unique = unique_keys
        self._yaml = YAML(typ="safe", pure=True)
        self._known: dict[int, Node] = {}
        self._open: set[int] = set()
        self._merges = 0

    def node(self, node: YamlNode) -> Node:
        """Return our own node."""
        known = self._known.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise WrongValueError("this refers to itself", "Take the alias (`*name`) out.", self._where(node))
        if len(self._open) >= _MOST_LEVELS:
            raise WrongValueError("this is nested too deeply", _FLATTER, self._where(node))
        self._open.add(id(node))
        if isinstance(node, MappingNode):
            made: Node = Table(self._pairs(node), self._where(node))
        elif isinstance(node, SequenceNode):
            made = Items(tuple(self.node(item) for item in node.value), self._where(node))
        else:
            made = self._scalar(node)
        self._open.discard(id(node))
        self._known[id(node)] = made
        return made

    def _pairs(self, node: MappingNode) -> tuple[tuple[Scalar, Node], ...]:
        pairs: list[tuple[Scalar, Node]] = []
        merged: list[tuple[Scalar, Node]] = []
        own: dict[object, str] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise WrongValueError("a key is not plain text", "Write a name before the colon.", self._where(key))
            if key.tag == f"{_TAG}merge":
                merged += self._merged(self.node(value))
                continue
            name = None if key.tag == f"{_TAG}null" else key.value
            if self._unique and name in own:
                message = f"{name}: this key is given twice, first at {own[name]}"
                raise WrongValueError(message, "Keep one of them.", self._where(key))
            own.setdefault(name, self._where(key))
            pairs.append((Scalar(name, self._where(key)), self._below(key, value)))
        for name, value in merged:
            if name.value not in own:
                own[name.value] = name.where
                pairs.append((name, value))
        return tuple(pairs)

    def _merged(self, node: Node) -> list[tuple[Scalar, Node]]:
        """Pairs that a merge key (`<<`) brings in; of several mappings the first wins."""
        if isinstance(node, Table):
            self._merges += 1 + len(node.pairs)
            if self._merges > _MOST_VALUES:
                raise WrongValueError(_HUGE, _SMALLER, node.where)
            return list(node.pairs)
        if isinstance(node, Items) and not any(isinstance(item, Items) for item in node.items):
            return [pair for item in node.items for pair in self._merged(item)]
        raise WrongValueError("`<<` merges mappings only", "Give it an alias of a mapping: `<<: *name`.", node.where)

    def _below(self, key: ScalarNode, value: YamlNode) -> Node:
        """Return a value; a mapping or a list that begins on a later line stands where its key does."""
        node = self.node(value)
        where = self._where(key)
        if isinstance(node, Table):
            return Table(node.pairs, where)
        return Items(node.items, where) if isinstance(node, Items) else node

    def _scalar(self, node: YamlNode) -> Scalar:
        where = self._where(node)
        if node.tag in (f"{_TAG}value", f"{_TAG}merge"):
            return Scalar(node.value, where)
        try:
            value = self._yaml.constructor.construct_object(node)
        except (YAMLError, ValueError, ArithmeticError, TypeError) as error:
            kind = str(node.tag).removeprefix(_TAG)
            message = f"'{node.value[:40]}' can't be read as {kind}"
            raise WrongValueError(message, "Write a plain value.", where) from error
        if isinstance(value, int):
            value = bounded(value)
        return Scalar(node.value, where, value) if node.tag == f"{_TAG}timestamp" else Scalar(value, where)

    def _where(self, node: YamlNode) -> str:
        return f"{self._shown}:{node.start_mark.line + 1}"
