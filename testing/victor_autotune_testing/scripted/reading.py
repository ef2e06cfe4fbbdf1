"""Reads scripts from YAML or JSON, with errors that point to the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from attrs import AttrsInstance
from attrs import fields as fields_of

from victor_autotune_plugin._values.names import did_you_mean
from victor_autotune_plugin._values.nodes import Items, Node, Scalar, Table, WrongValueError

from .distributions import Constant, Distribution, Lognormal, Tailed, Uniform
from .script import Crowding, Failure, Rule, Script, ScriptError, ToolTurns

T = TypeVar("T")
A = TypeVar("A", bound=AttrsInstance)

_CONDITIONS: Final = ("role", "goal", "prompt", "model", "turn", "in_flight", "refused")
_RULE_KEYS: Final = (
    "name",
    "when",
    "latency",
    "together",
    "crowding",
    "tokens",
    "tools",
    "answer",
    "finds",
    "failures",
)
_EXAMPLE: Final = "an example with every key: python -m victor_autotune_testing.scripted --example"


def load_script(path: str | Path) -> Script:
    """Read a script from a YAML or JSON file.

    Raises:
        ScriptError: The file can't be read, or holds no script; it names the line and the hint.
    """
    from victor_autotune_plugin._values.files import read_text

    try:
        text = read_text(Path(path)).text
    except WrongValueError as error:
        raise ScriptError(error.message, where=error.where, hint=error.hint) from error
    return read_script(text, where=str(path))


def read_script(text: str, *, where: str = "script") -> Script:
    """Read a script from a text.

    Args:
        text: YAML or JSON: a mapping with `seed` and `rules`, or only the list of rules.
        where: What errors call the text.

    Raises:
        ScriptError: The text holds no script; it names the line and the hint.
    """
    from victor_autotune_plugin._values.yaml_tree import parse

    try:
        return _script(parse(text, where), where)
    except WrongValueError as error:
        raise ScriptError(error.message, where=error.where or where, hint=error.hint) from error


def _script(tree: Node | None, where: str) -> Script:
    if isinstance(tree, Items):
        tree = Table(((Scalar("rules", tree.where), tree),), tree.where)
    if not isinstance(tree, Table):
        raise WrongValueError("this is not a script", "write a list of rules under 'rules:'", where)
    data = _Fields(tree, "a script", ("seed", "rules"))
    rules = [_rule(one) for one in data.items("rules")]
    return _make(lambda: Script(rules, **data.plain("seed")), where, data.places)


class _Fields:
    """A mapping of a script.

    Attributes:
        places: Where each key stands.

    Raises:
        WrongValueError: It is not a mapping, or has a key that is not known or comes twice.
    """

    def __init__(self, node: Node, what: str, known: tuple[str, ...]) -> None:
        if not isinstance(node, Table):
            raise WrongValueError(
                f"{what} must be a mapping, not {_plain(node)!r}", "write 'key: value' pairs", node.where
            )
        self.where = node.where
        self.places: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}
        for key, value in node.pairs:
            name = str(key.value)
            if name not in known:
                raise WrongValueError(f"unknown key '{name}'", did_you_mean(name, known), key.where)
            if name in self._nodes:
                raise WrongValueError(f"duplicate key '{name}'", "keep one of them", key.where)
            self._nodes[name], self.places[name] = value, key.where

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def __getitem__(self, key: str) -> Node:
        return self._nodes[key]

    def plain(self, *keys: str) -> dict[str, Any]:
        """Return the values of the keys that are there; without keys, of all."""
        return {key: _plain(self._nodes[key]) for key in keys or self._nodes if key in self._nodes}

    def items(self, key: str) -> tuple[Node, ...]:
        """Return the entries of a list, none when it is not there."""
        node = self._nodes.get(key, Items((), self.where))
        if not isinstance(node, Items):
            raise WrongValueError(f"'{key}' must be a list", "begin each entry with '- '", self.places[key])
        return node.items


def _rule(node: Node) -> Rule:
    data = _Fields(node, "a rule", _RULE_KEYS)
    fields = data.plain("name", "together", "answer", "finds")
    lines = dict(data.places)
    if "when" in data:
        when = _Fields(data["when"], "'when'", _CONDITIONS)
        fields |= when.plain()
        lines |= when.places
    if "latency" in data:
        fields["latency"] = _distribution(data, "latency")
    if "crowding" in data:
        fields["crowding"] = _instance(Crowding, data["crowding"], "'crowding'")
    if "tokens" in data:
        tokens = _Fields(data["tokens"], "'tokens'", ("prompt", "completion"))
        fields |= {f"{key}_tokens": _distribution(tokens, key) for key in tokens.places}
    for key, cls in (("tools", ToolTurns), ("failures", Failure)):
        fields[key] = [_instance(cls, one, f"an entry of '{key}'") for one in data.items(key)]
    return _make(lambda: Rule(**fields), data.where, lines)


def _distribution(data: _Fields, key: str) -> Distribution:
    node, line = data[key], data.places[key]
    if isinstance(node, Scalar) and isinstance(node.value, int | float):
        number = node.value
        return _make(lambda: Constant(number), line, what=key)
    value = _Fields(node, f"'{key}'", ("low", "high", "median", "sigma", "tail"))
    body = {name: one for name, one in value.plain().items() if name != "tail"}
    kinds: dict[frozenset[str], Callable[..., Distribution]] = {
        frozenset(("low", "high")): Uniform,
        frozenset(("median", "sigma")): Lognormal,
    }
    kind = kinds.get(frozenset(body))
    if kind is None:
        hint = "write a number, or {low: 0.1, high: 0.3}, or {median: 0.2, sigma: 0.5}"
        raise WrongValueError(f"'{key}' is not a distribution", hint, line)
    distribution = _make(lambda: kind(**body), line, what=key)
    if "tail" not in value:
        return distribution
    tail = _Fields(value["tail"], "'tail'", ("probability", "factor"))
    return _make(lambda: Tailed(distribution, **tail.plain()), tail.where, what="tail")


def _instance(cls: type[A], node: Node, what: str) -> A:
    data = _Fields(node, what, tuple(field.name for field in fields_of(cls)))
    return _make(lambda: cls(**data.plain()), data.where, data.places)


def _make(make: Callable[[], T], line: str, lines: Mapping[str, str] = MappingProxyType({}), what: str = "") -> T:
    """Make a value; an error names the line of the field that its message begins with."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        message = str(error)
        where = lines.get(message.partition(" ")[0], line)
        raise WrongValueError(f"{what}: {message}" if what else message, _EXAMPLE, where) from error


def _plain(node: Node) -> Any:
    if isinstance(node, Table):
        return {str(key.value): _plain(value) for key, value in node.pairs}
    return [_plain(one) for one in node.items] if isinstance(node, Items) else node.value
