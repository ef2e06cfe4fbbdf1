"""YAML text (and JSON, which is YAML) as a tree that knows each value's line: the only reader of YAML.

PyYAML reads it, as in Victor, so that a workflow means here what it means to Victor: YAML 1.1, in which `off` is false
and `0300` is 192, with environment variables filled in. Files of the plugin's own are YAML 1.2, by which editors check
them: `off` is text, `0300` is 300.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from ..errors import WorkflowError
from .files import TextFile, read_text
from .nodes import Filled, Items, Node, Scalar, Table, WrongValueError, bounded

_TAG: Final = "tag:yaml.org,2002:"
_SPACES: Final = "YAML indents with spaces: put spaces in place of the tab."
_MOST_VALUES: Final = 200_000
"""How many values a text may have once its aliases are written out."""

_MOST_LEVELS: Final = 100
_NEWLINE: Final = b"\n"
_FLATTER: Final = "Take some levels out."
_HUGE: Final = f"this holds more than {_MOST_VALUES:,} values once its aliases are written out"
_SMALLER: Final = "Take values out, or the aliases (`*name`) that repeat them."

_CORE: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("merge", r"<<", "<"),
)
"""What plain scalars mean in YAML 1.2: tag, pattern, first characters."""


def _core_int(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "").lower()
    return int(text, 0) if re.match("[-+]?0[box]", text) else int(text)


def _core_loader(base: Any) -> Any:
    made: Any = type("CoreLoader", (base,), {"yaml_implicit_resolvers": {}})
    for kind, pattern, first in _CORE:
        made.add_implicit_resolver(_TAG + kind, re.compile(f"(?:{pattern})$"), list(first))
    for first, resolvers in base.yaml_implicit_resolvers.items():
        for tag, pattern in resolvers:
            if tag == f"{_TAG}timestamp":
                made.add_implicit_resolver(tag, pattern, [first])
    made.add_constructor(f"{_TAG}int", _core_int)
    return made


_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_NAMED: Final = re.compile(rf"\$env\.({_NAME})")
_BRACED: Final = re.compile(rf"\$\{{({_NAME})(?::-([^}}]*))?\}}")

HOST_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""What Victor reads with: libyaml, where PyYAML has it."""

_OWN_LOADER: Final = _core_loader(HOST_LOADER)


def load(path: Path, shown: Path | None = None) -> tuple[TextFile, Table]:
    """Read a YAML or JSON file that holds a mapping, as Victor reads it.

    Args:
        shown: What errors call it; None for its path.

    Raises:
        WorkflowError: It can't be read or is not YAML, or holds no mapping; the message names the line.
    """
    try:
        file = read_text(path, str(shown or path))
    except WrongValueError as wrong:
        raise wrong.told(WorkflowError) from wrong
    return file, mapping(file.text, str(shown or path))


def mapping(text: str, shown: str) -> Table:
    """Return the mapping that a text holds, as Victor reads it.

    Raises:
        WorkflowError: As in `load`.
    """
    try:
        root = _parsed(text, shown, HOST_LOADER)
    except WrongValueError as wrong:
        raise wrong.told(WorkflowError) from wrong
    if not isinstance(root, Table):
        raise WorkflowError("this is not a workflow: it must be a mapping", where=f"{shown}:1")
    return root


def parse(text: str, shown: str) -> Node | None:
    """Return the tree of a YAML 1.2 document, or None when it holds nothing.

    Args:
        shown: Name of the file, for people.

    Raises:
        WrongValueError: It is not YAML, with the line; or it is endless or huge once its aliases are written out.
    """
    return _parsed(text, shown, _OWN_LOADER)


def _parsed(text: str, shown: str, loader: Any) -> Node | None:
    try:
        _check_levels(text, shown, loader)
        root = yaml.compose(text, loader)
        tree = None if root is None else _Tree(shown, loader).node(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        lines = text.splitlines()
        tab = line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
        message = "; ".join(part for part in (error.context, error.problem) if part)
        hint = _SPACES if tab or "'\\t'" in message else "Fix the line, or the one before it."
        raise WrongValueError(f"this is not YAML: {message}", hint, f"{shown}:{line}") from error
    except yaml.reader.ReaderError as error:
        where = f"{shown}:{text.encode().count(_NEWLINE, 0, error.position) + 1}"
        raise WrongValueError(f"this is not YAML: {error.reason}", "Save the file as plain text.", where) from error
    except yaml.YAMLError as error:
        message = f"this is not YAML: {str(error).splitlines()[0]}"
        raise WrongValueError(message, "Save the file as plain text.", shown) from error
    if tree is not None and _size(tree, {}) > _MOST_VALUES:
        raise WrongValueError(_HUGE, _SMALLER, shown)
    return tree


def _check_levels(text: str, shown: str, loader: Any) -> None:
    """Look at the levels before anything descends them: too many would end the process."""
    level = 0
    for event in yaml.parse(text, loader):
        level += isinstance(event, yaml.CollectionStartEvent)
        level -= isinstance(event, yaml.CollectionEndEvent)
        if level > _MOST_LEVELS:
            raise _deep(f"{shown}:{event.start_mark.line + 1}" if event.start_mark else shown)


def _deep(where: str) -> WrongValueError:
    return WrongValueError("this is nested too deeply", _FLATTER, where)


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

    def __init__(self, shown: str, loader: Any) -> None:
        self._shown = shown
        self._loader = loader("")
        self._known: dict[int, Node] = {}
        self._open: set[int] = set()
        self._merges = 0

    def node(self, node: yaml.Node) -> Node:
        """Return our own node."""
        known = self._known.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise WrongValueError("this refers to itself", "Take the alias (`*name`) out.", self._where(node))
        if len(self._open) >= _MOST_LEVELS:
            raise _deep(self._where(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in self._loader.yaml_constructors:
            raise WrongValueError(f"the tag {node.tag} is not known", "Take the tag out.", self._where(node))
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            made: Node = Table(self._pairs(node), self._where(node))
        elif isinstance(node, yaml.SequenceNode):
            made = Items(tuple(self.node(item) for item in node.value), self._where(node))
        else:
            made = self._scalar(node)
        self._open.discard(id(node))
        self._known[id(node)] = made
        return made

    def _pairs(self, node: yaml.MappingNode) -> tuple[tuple[Scalar, Node], ...]:
        pairs: list[tuple[Scalar, Node]] = []
        merged: list[tuple[Scalar, Node]] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise WrongValueError("a key is not plain text", "Write a name before the colon.", self._where(key))
            if key.tag == f"{_TAG}merge":
                merged += self._merged(self.node(value))
                continue
            name = None if key.tag == f"{_TAG}null" else key.value
            pairs.append((Scalar(name, self._where(key)), self._below(key, value)))
        own = {name.value for name, _ in pairs}
        for name, value in merged:
            if name.value not in own:
                own.add(name.value)
                pairs.append((name, value))
        return tuple(pairs)

    def _merged(self, node: Node) -> list[tuple[Scalar, Node]]:
        """Pairs that a merge key (`<<`) brings in; of several mappings the first wins."""
        if isinstance(node, Table):
            self._merges += 1 + len(node.pairs)
            if self._merges > _MOST_VALUES:
                raise WrongValueError(_HUGE, _SMALLER, node.where)
            return list({name.value: (name, value) for name, value in node.pairs}.values())
        if isinstance(node, Items) and not any(isinstance(item, Items) for item in node.items):
            return [pair for item in node.items for pair in self._merged(item)]
        raise WrongValueError("`<<` merges mappings only", "Give it an alias of a mapping: `<<: *name`.", node.where)

    def _below(self, key: yaml.ScalarNode, value: yaml.Node) -> Node:
        """Return a value; a mapping or a list that begins on a later line stands where its key does."""
        node = self.node(value)
        where = self._where(key)
        if isinstance(node, Table):
            return Table(node.pairs, where)
        return Items(node.items, where) if isinstance(node, Items) else node

    def _scalar(self, node: yaml.Node) -> Scalar:
        where = self._where(node)
        if node.tag == f"{_TAG}merge":
            return Scalar(node.value, where)
        try:
            value = self._loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, ArithmeticError, TypeError, LookupError, AttributeError) as error:
            kind = node.tag.removeprefix(_TAG)
            message = f"'{node.value[:40]}' can't be read as {kind}"
            raise WrongValueError(message, "Write a plain value.", where) from error
        if isinstance(value, int):
            value = bounded(value)
        return Scalar(node.value, where, value) if node.tag == f"{_TAG}timestamp" else Scalar(value, where)

    def _where(self, node: yaml.Node) -> str:
        return f"{self._shown}:{node.start_mark.line + 1}"


def filled_text(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with its variables filled in.

    `$env.NAME` of a variable that is not set stays as it is; `${NAME}` becomes empty then, and `${NAME:-default}` the
    default. A set but empty variable counts as set.
    """
    named = _NAMED.sub(lambda found: environ.get(found[1], found[0]), text)
    return _BRACED.sub(lambda found: environ.get(found[1], found[2] or ""), named)


def filled(table: Table, environ: Mapping[str, str]) -> Table:
    """Return a mapping with the variables in its texts, down to the last level, filled in; keys stay as they are."""
    return Table(tuple((name, _filled(value, environ)) for name, value in table.pairs), table.where)


def _filled(node: Node, environ: Mapping[str, str]) -> Node:
    if isinstance(node, Table):
        return filled(node, environ)
    if isinstance(node, Items):
        return Items(tuple(_filled(item, environ) for item in node.items), node.where)
    if not isinstance(node.value, str) or node.moment is not None:
        return node
    text = filled_text(node.value, environ)
    return node if text == node.value else Scalar(Filled(text), node.where)
