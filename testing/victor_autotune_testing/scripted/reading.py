"""Reads scripts from YAML or JSON, with errors that point to the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from attrs import AttrsInstance
from attrs import fields as fields_of
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from victor_autotune_plugin._values.names import did_you_mean

from .distributions import Constant, Distribution, Lognormal, Tailed, Uniform
from .script import Crowding, Failure, Rule, Script, ScriptError, ToolTurns

T = TypeVar("T")
A = TypeVar("A", bound=AttrsInstance)

_CONDITIONS: Final = ("role", "goal", "prompt", "model", "turn", "in_flight", "refused")
_RULE_KEYS: Final = ("name", "when", "latency", "together", "crowding", "tokens", "tools", "answer", "failures")
_EXAMPLE: Final = "an example with every key: python -m victor_autotune_testing.scripted --example"


def load_script(path: str | Path) -> Script:
    """Read a script from a file.

    Args:
        path: YAML or JSON.

    Raises:
        ScriptError: The file can't be read, or holds no script; it names the line and the hint.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ScriptError(f"can't be read: {reason}", where=str(path), hint="name a YAML or JSON file") from error
    return read_script(text, where=str(path))


def read_script(text: str, *, where: str = "script") -> Script:
    """Read a script from a text.

    Args:
        text: YAML or JSON: a mapping with `seed` and `rules`, or only the list of rules.
        where: What errors call the text.

    Raises:
        ScriptError: The text holds no script; it names the line and the hint.
    """
    try:
        data = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        problem = (error.problem if isinstance(error, MarkedYAMLError) else None) or str(error).splitlines()[0]
        line = f"{where}:{mark.line + 1}" if mark else where
        raise ScriptError(f"this is neither YAML nor JSON: {problem}", where=line, hint="hint the syntax") from error
    return _Reader(where).script(data)


class _Reader:
    def __init__(self, where: str) -> None:
        self._where = where

    def script(self, data: Any) -> Script:
        if isinstance(data, list):
            data = {"rules": data}
        if not isinstance(data, Mapping):
            raise ScriptError("this is no script", where=self._where, hint="write a list of rules under 'rules:'")
        self._known(data, ("seed", "rules"))
        rules = [self._rule(one, self._line(data.get("rules"), i)) for i, one in enumerate(self._list(data, "rules"))]
        lines = {"seed": self._line(data, "seed")}
        return self._make(lambda: Script(rules, **self._picked(data, "seed")), self._where, lines)

    def _rule(self, data: Any, line: str) -> Rule:
        self._mapping(data, line, "a rule")
        self._known(data, _RULE_KEYS)
        fields = self._picked(data, "name", "together", "answer")
        when = self._mapping(data.get("when", {}), self._line(data, "when"), "'when'")
        self._known(when, _CONDITIONS)
        fields |= dict(when)
        if "latency" in data:
            fields["latency"] = self._distribution(data, "latency")
        if "crowding" in data:
            fields["crowding"] = self._plain(Crowding, data["crowding"], self._line(data, "crowding"), "'crowding'")
        if "tokens" in data:
            tokens = self._mapping(data["tokens"], self._line(data, "tokens"), "'tokens'")
            self._known(tokens, ("prompt", "completion"))
            fields |= {f"{key}_tokens": self._distribution(tokens, key) for key in tokens}
        for key, cls in (("tools", ToolTurns), ("failures", Failure)):
            several = self._list(data, key)
            fields[key] = [
                self._plain(cls, one, self._line(data[key], i), f"an entry of '{key}'") for i, one in enumerate(several)
            ]
        lines = {name: self._line(data, name) for name in data}
        lines |= {name: self._line(when, name) for name in when}
        return self._make(lambda: Rule(**fields), line, lines)

    def _distribution(self, data: Mapping[str, Any], key: str) -> Distribution:
        value, line = data[key], self._line(data, key)
        if isinstance(value, int | float):
            return self._make(lambda: Constant(value), line, {}, key)
        self._mapping(value, line, f"'{key}'")
        self._known(value, ("low", "high", "median", "sigma", "tail"))
        body = {name: value[name] for name in value if name != "tail"}
        kinds: dict[frozenset[str], Callable[..., Distribution]] = {
            frozenset(("low", "high")): Uniform,
            frozenset(("median", "sigma")): Lognormal,
        }
        kind = kinds.get(frozenset(body))
        if kind is None:
            hint = "write a number, or {low: 0.1, high: 0.3}, or {median: 0.2, sigma: 0.5}"
            raise ScriptError(f"'{key}' is no distribution", where=line, hint=hint)
        distribution = self._make(lambda: kind(**body), line, {}, key)
        if "tail" not in value:
            return distribution
        tail = self._mapping(value["tail"], self._line(value, "tail"), "'tail'")
        self._known(tail, ("probability", "factor"))
        return self._make(lambda: Tailed(distribution, **tail), self._line(value, "tail"), {}, "tail")

    def _plain(self, cls: type[A], data: Any, line: str, what: str) -> A:
        self._mapping(data, line, what)
        names = tuple(field.name for field in fields_of(cls))
        self._known(data, names)
        lines = {name: self._line(data, name) for name in data}
        return self._make(lambda: cls(**{name: _bare(data[name]) for name in data}), line, lines)

    def _make(
        self, make: Callable[[], T], line: str, lines: Mapping[str, str] = MappingProxyType({}), what: str = ""
    ) -> T:
        """Make a value; what is wrong with it is said with the line of the field that the message begins with."""
        try:
            return make()
        except (TypeError, ValueError) as error:
            message = str(error)
            where = lines.get(message.partition(" ")[0], line)
            raise ScriptError(f"{what}: {message}" if what else message, where=where, hint=_EXAMPLE) from error

    def _known(self, data: Mapping[str, Any], names: tuple[str, ...]) -> None:
        for key in data:
            if key not in names:
                hint = did_you_mean(key, names)
                raise ScriptError(f"unknown key '{key}'", where=self._line(data, key), hint=hint)

    def _mapping(self, data: Any, line: str, what: str) -> Mapping[str, Any]:
        if not isinstance(data, Mapping):
            message = f"{what} must be a mapping, not {_bare(data)!r}"
            raise ScriptError(message, where=line, hint="write 'key: value' pairs")
        return data

    def _list(self, data: Mapping[str, Any], key: str) -> list[Any]:
        value = data.get(key, [])
        if not isinstance(value, list):
            hint = "begin each entry with '- '"
            raise ScriptError(f"'{key}' must be a list", where=self._line(data, key), hint=hint)
        return value

    @staticmethod
    def _picked(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
        return {name: data[name] for name in names if name in data}

    def _line(self, data: Any, key: Any) -> str:
        """Return `file:line` of a key of a mapping or of an entry of a list, as far as it is known."""
        if not isinstance(data, CommentedBase) or data.lc.data is None or key not in data.lc.data:
            return self._where
        return f"{self._where}:{data.lc.data[key][0] + 1}"


def _bare(data: Any) -> Any:
    """Return plain Python data instead of the classes that keep a YAML file's comments."""
    if isinstance(data, Mapping):
        return {str(key): _bare(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_bare(one) for one in data]
    return data
