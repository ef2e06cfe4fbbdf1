"""What each source sets: files, environment variables, options, and a workflow's own metadata, checked key by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from attrs import field, frozen

from .._model.price import Price
from .._model.text import clean
from .._values.fields import Acting, Kind
from .._values.names import did_you_mean
from .._values.nodes import Node, Table, WrongValueError, from_plain, is_null, show
from ..errors import SettingsError
from ..failsafe import log_once
from .keys import (
    DATABASE_URL,
    DATABASE_URL_KIND,
    NEEDED_PRICES,
    OF_PROCESS,
    PLANS,
    PRICE_KEYS,
    PRICE_KIND,
    TOP_ONLY,
    Retired,
    level,
)

FILE_NAME: Final = "autotune.yaml"
"""Name of the settings file in Victor's folder of a project or of the user."""

PREFIX: Final = "VICTOR_AUTOTUNE_"
"""What the plugin's environment variables begin with."""

_LONGEST_KEY: Final = 200

Scope = tuple[str, ...]
"""`()` for all teams, `(workflow,)`, or `(workflow, team id)`."""


@frozen
class Entry:
    """A checked value and where it stands.

    Attributes:
        written: The value as it is written, as plain data; only of a key that may make the machine act.
    """

    value: object
    where: str
    written: object = None


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

    @property
    def error(self) -> SettingsError:
        """The error that tells it, with the key in front."""
        key = self.key if len(self.key) <= _LONGEST_KEY else f"{self.key[:_LONGEST_KEY]}..."
        message = f"{key}: {self.message}" if key else self.message
        return SettingsError(message, where=self.where, hint=self.hint)


def log_retired(layers: Iterable[Layer]) -> None:
    """Log what the sources set that has no effect any more, each once a process."""
    for one in (problem for layer in layers for problem in layer.retired):
        log_once(one, "autotune: %s: %s: %s. %s", clean(one.where), clean(one.key), clean(one.message), one.hint)


def raise_if_any(problems: Sequence[Problem]) -> None:
    """Raise one error that tells all problems, in the order found, each once.

    Raises:
        SettingsError: There is at least one.
    """
    errors = [problem.error for problem in dict.fromkeys(problems)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SettingsError("\n".join([f"{len(errors)} things are wrong in the settings", *map(str, errors)]))


@frozen
class Layer:
    """What one source sets: checked values by scope and dotted key.

    Attributes:
        scopes: Values by scope. `plan` itself stands for `plan: null`, which takes away a plan that a lower source
            fixed, and so does `start_from`; `prices.NAME` for a price.
        problems: What is wrong in the source.
        failed: Dotted keys that have a wrong value.
        named: Where each scope stands that the source names, also one below which it sets nothing.
        retired: What it sets that has no effect any more.
    """

    scopes: dict[Scope, dict[str, Entry]] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    failed: set[str] = field(factory=set)
    named: dict[Scope, str] = field(factory=dict)
    retired: list[Problem] = field(factory=list)

    def get(self, scope: Scope) -> Mapping[str, Entry]:
        """Return what is set for exactly this scope."""
        return self.scopes.get(scope, {})

    def put(self, scope: Scope, key: str, kind: Kind, node: Node, path: str) -> None:
        """Check a value and keep it, or what is wrong with it.

        Args:
            path: Dotted path from the top of the source, for the error.
        """
        try:
            value = kind.read(node)
        except WrongValueError as wrong:
            self.failed.add(key)
            self.problems.append(Problem(wrong.where or node.where, path, wrong.message, wrong.hint))
        else:
            if isinstance(kind, Retired) and kind.retires(value):
                self.retired.append(Problem(node.where, path, f"{show(node)} {kind.why}", "Leave the key out."))
                return
            written = node.plain() if key == DATABASE_URL or isinstance(kind, Acting) else None
            self.scopes.setdefault(scope, {})[key] = Entry(value, node.where, written)


@frozen
class SourceReader:
    """Reads the tree of one source into a `Layer`.

    Attributes:
        kinds: What `leaves` gives.
        layer: Where the values go.
    """

    kinds: Mapping[str, Kind]
    layer: Layer = field(factory=Layer)

    def top(self, root: Node) -> Layer:
        """Read a whole file."""
        for key, path, node in self._pairs(root, "", (*level(self.kinds, ""), *TOP_ONLY)):
            if key == "workflows":
                for name, place, workflow in self._pairs(node, path, None):
                    self.scope(workflow, (name,), place)
            elif key == "prices":
                for name, place, price in self._pairs(node, path, None):
                    self._price(name, price, place)
            elif key == DATABASE_URL:
                self.layer.put((), key, DATABASE_URL_KIND, node, path)
            else:
                self._setting((), key, node, path)
        return self.layer

    def scope(self, root: Node, scope: Scope, path: str) -> Layer:
        """Read what is set for one workflow, or for one team.

        Args:
            path: Dotted path of the mapping, for errors.
        """
        self.layer.named.setdefault(scope, root.where)
        of_workflow = len(scope) == 1
        own = tuple(key for key in level(self.kinds, "") if key not in OF_PROCESS)
        known = (*own, "teams") if of_workflow else own
        for key, place, node in self._pairs(root, path, known):
            if key == "teams" and of_workflow:
                for team, inner, settings in self._pairs(node, place, None):
                    self.scope(settings, (*scope, team), inner)
            else:
                self._setting(scope, key, node, place)
        return self.layer

    def _setting(self, scope: Scope, key: str, node: Node, path: str) -> None:
        kind = self.kinds.get(key)
        if kind is not None:
            self.layer.put(scope, key, kind, node, path)
        elif key in PLANS and is_null(node):
            self.layer.scopes.setdefault(scope, {})[key] = Entry(None, node.where)
        else:
            for name, place, inner in self._pairs(node, path, level(self.kinds, f"{key}.")):
                self.layer.put(scope, f"{key}.{name}", self.kinds[f"{key}.{name}"], inner, place)

    def _price(self, model: str, node: Node, path: str) -> None:
        read = Layer()
        for name, place, inner in self._pairs(node, path, PRICE_KEYS):
            read.put((), name, PRICE_KIND, inner, place)
        self.layer.problems.extend(read.problems)
        numbers = {name: entry.value for name, entry in read.get(()).items()}
        missing = [name for name in NEEDED_PRICES if name not in numbers and name not in read.failed]
        if missing and (isinstance(node, Table) or is_null(node)):
            hint = f"Add {' and '.join(missing)} (US dollars for a million tokens)."
            self.layer.problems.append(Problem(node.where, path, "the price is not complete", hint))
        elif not (missing or read.failed):
            price = Price(**cast("dict[str, Any]", numbers))
            self.layer.scopes.setdefault((), {})[f"prices.{model}"] = Entry(price, node.where)

    def _pairs(self, node: Node, path: str, known: tuple[str, ...] | None) -> Iterable[tuple[str, str, Node]]:
        """Give `(key, dotted path, value)` of a mapping's sound pairs, and note what is wrong with the others.

        Args:
            node: What should be a mapping; null counts as an empty one.
            known: Keys that it may have, or None for any name.
        """
        prefix = f"{path}." if path else ""
        if is_null(node):
            return
        if not isinstance(node, Table):
            hint = f"Write keys under it: {', '.join(known or ('names, each with its settings',))}."
            self.layer.problems.append(Problem(node.where, path, f"{show(node)} is not a mapping", hint))
            return
        seen: dict[str, str] = {}
        for key, value in node.pairs:
            name = str(key.value)
            place = f"{prefix}{name}"
            if name in seen:
                message = f"this key is given twice, first at {seen[name]}"
                self.layer.problems.append(Problem(key.where, place, message, "Keep one of them."))
            elif known is not None and name not in known:
                self.layer.problems.append(Problem(key.where, place, "this key is not known", self._place(name, known)))
            elif known is None and (key.value is None or not name.strip()):
                self.layer.problems.append(Problem(key.where, place, "the name is empty", "Write a name."))
            else:
                yield name, place, value
            seen.setdefault(name, key.where)

    def _place(self, name: str, known: tuple[str, ...]) -> str:
        """How to hint an unknown key: it may be a known one in a wrong place."""
        if name in (*TOP_ONLY, *OF_PROCESS):
            return f"`{name}` stands only at the top of a file."
        elsewhere = [key for key in self.kinds if key.endswith(f".{name}") or key == name]
        if name == "teams":
            return "`teams` stands under a workflow."
        if elsewhere:
            return f"It belongs elsewhere: {' or '.join(f'`{key}`' for key in elsewhere)}."
        return did_you_mean(name, known)


def victor_dir_name(environ: Mapping[str, str]) -> str:
    """Return the name of Victor's folder: `.victor`, or what `VICTOR_DIR_NAME` says.

    Like Victor, it ignores a name that leads to another place.
    """
    name = environ.get("VICTOR_DIR_NAME", "").strip()
    return ".victor" if not name or ".." in name or "/" in name or "\\" in name else name


def variable(key: str) -> str:
    """Return the environment variable of a dotted key."""
    return PREFIX + key.upper().replace(".", "__")


def option(key: str) -> str:
    """Return the command-line option of a dotted key."""
    return "--" + key.replace("_", "-").replace(".", "-")


def from_environ(environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> Layer:
    """Return what environment variables set, for all teams. An empty variable sets nothing."""
    layer = Layer()
    for_all = {**kinds, DATABASE_URL: DATABASE_URL_KIND}
    keys = {variable(key): key for key in for_all}
    for name in sorted(environ):
        text = environ[name]
        if not name.startswith(PREFIX) or not text.strip():
            continue
        where = f"env {name}"
        if name in keys:
            _put(layer, keys[name], for_all[keys[name]], text, where)
        else:
            hint = did_you_mean(name, keys) + f" Or unset it: unset {name}."
            layer.problems.append(Problem(where, "", "this variable is not known", hint))
    return layer


def from_overrides(overrides: Mapping[str, object], kinds: Mapping[str, Kind]) -> Layer:
    """Return what command-line options set, for all teams. An option that is None sets nothing.

    Args:
        overrides: Values by dotted key; text is read as in an environment variable.
        kinds: What `leaves` gives.
    """
    layer = Layer()
    for_all = {**kinds, DATABASE_URL: DATABASE_URL_KIND}
    for key, value in overrides.items():
        where = f"option {option(key)}"
        if key not in for_all and value is not None:
            layer.problems.append(Problem(where, key, "this key is not known", did_you_mean(key, for_all)))
        elif value is not None:
            _put(layer, key, for_all[key], value, where)
    return layer


def _put(layer: Layer, key: str, kind: Kind, value: object, where: str) -> None:
    plain = kind.parse(value.strip()) if isinstance(value, str) else value
    layer.put((), key, kind, from_plain(plain, where), key)


def from_file(path: Path, shown: str, kinds: Mapping[str, Kind]) -> Layer:
    """Return what a settings file sets, nothing when it is missing or empty. Errors call it what `shown` says."""
    reader = SourceReader(kinds)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return reader.layer
    except OSError:
        pass  # reading it tells what is wrong
    # Imported here, since a start without a settings file should not pay for it.
    from .._values.files import read_text
    from .._values.yaml_tree import parse

    try:
        tree = parse(read_text(path, shown, f"Move it away: mv {path} {path}.old").text, shown)
    except WrongValueError as wrong:
        reader.layer.problems.append(Problem(wrong.where or shown, "", wrong.message, wrong.hint))
        return reader.layer
    return reader.layer if tree is None else reader.top(tree)
