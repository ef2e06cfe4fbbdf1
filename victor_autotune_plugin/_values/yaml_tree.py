"""YAML text as a tree that knows each value's line. The only module of the settings that imports ruamel.yaml."""

from __future__ import annotations

from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from .nodes import Items, Node, Scalar, Table, WrongValueError

_TAG: Final = "tag:yaml.org,2002:"
_SPACES: Final = "YAML indents with spaces: put spaces in place of the tab."


def parse(text: str, shown: str) -> Node | None:
    """Return the tree of a YAML 1.2 document, or None when it holds nothing.

    Args:
        text: The document.
        shown: Name of the file, for people.

    Raises:
        WrongValueError: It is not YAML, with the line.
    """
    try:
        root = compose(text)
        return None if root is None else _Tree(shown).node(root)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        lines = text.splitlines()
        tab = line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
        message = "; ".join(part for part in (error.context, error.problem) if part)
        hint = _SPACES if tab or "'\\t'" in message else "Fix the line, or the one before it."
        raise WrongValueError(f"this is not YAML: {message}", hint, f"{shown}:{line}") from error
    except YAMLError as error:
        raise WrongValueError(
            f"this is not YAML: {str(error).splitlines()[0]}", "Save the file as plain text."
        ) from error
    except RecursionError as error:
        raise WrongValueError("this is nested too deeply", "Settings have six levels at most.") from error


def compose(text: str) -> YamlNode | None:
    """Return a document's nodes, which know where they stand; None when it holds nothing.

    Args:
        text: The document.

    Raises:
        YAMLError: It is not YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # YAML allows it: an alias means the anchor before it
    root: YamlNode | None = yaml.compose(text)
    return root


class _Tree:
    """Turns composed nodes into ours, each once however many aliases it has."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._yaml = YAML(typ="safe", pure=True)
        self._known: dict[int, Node] = {}
        self._open: set[int] = set()

    def node(self, node: YamlNode) -> Node:
        """Return our own node."""
        known = self._known.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise WrongValueError("this refers to itself", "Take the alias (`*name`) out.", self._where(node))
        self._open.add(id(node))
        if isinstance(node, MappingNode):
            made: Node = Table(self._pairs(node), self._where(node))
        elif isinstance(node, SequenceNode):
            made = Items(tuple(self.node(item) for item in node.value), self._where(node))
        else:
            made = Scalar(self._plain(node), self._where(node))
        self._open.discard(id(node))
        self._known[id(node)] = made
        return made

    def _pairs(self, node: MappingNode) -> tuple[tuple[Scalar, Node], ...]:
        pairs: list[tuple[Scalar, Node]] = []
        merged: list[tuple[Scalar, Node]] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise WrongValueError("a key is not plain text", "Write a name before the colon.", self._where(key))
            if key.tag == f"{_TAG}merge":
                merged += self._merged(self.node(value))
            else:
                name = None if key.tag == f"{_TAG}null" else key.value
                pairs.append((Scalar(name, self._where(key)), self._below(key, value)))
        own = {key.value for key, _ in pairs}
        for key, value in merged:
            if key.value not in own:
                own.add(key.value)
                pairs.append((key, value))
        return tuple(pairs)

    def _merged(self, node: Node) -> list[tuple[Scalar, Node]]:
        """Pairs that a merge key (`<<`) brings in; of several mappings the first wins."""
        if isinstance(node, Table):
            return list(node.pairs)
        if isinstance(node, Items):
            return [pair for item in node.items for pair in self._merged(item)]
        raise WrongValueError("`<<` merges mappings only", "Give it an alias of a mapping: `<<: *name`.", node.where)

    def _below(self, key: ScalarNode, value: YamlNode) -> Node:
        """Return a value; a mapping or a list that begins on a later line stands where its key does."""
        node = self.node(value)
        where = self._where(key)
        if isinstance(node, Table):
            return Table(node.pairs, where)
        return Items(node.items, where) if isinstance(node, Items) else node

    def _plain(self, node: YamlNode) -> object:
        if node.tag in (f"{_TAG}timestamp", f"{_TAG}value", f"{_TAG}merge"):
            return node.value
        try:
            return self._yaml.constructor.construct_object(node)
        except (YAMLError, ValueError, ArithmeticError, TypeError) as error:
            kind = str(node.tag).removeprefix(_TAG)
            raise WrongValueError(
                f"'{node.value[:40]}' can't be read as {kind}", "Write a plain value.", self._where(node)
            ) from error

    def _where(self, node: YamlNode) -> str:
        return f"{self._shown}:{node.start_mark.line + 1}"
