"""Which settings of a project's own files the user trusts to make the machine act.

A setting that starts a program, calls a function or connects somewhere must not count just because a cloned folder
says so. Its kind is wrapped in `Acting` (`keys`). What a project's file or a workflow's metadata sets for such a key is
left out until the user has trusted exactly these values; a change of one, or one more, ends the trust in that source.
What the user's own file, the environment and the command line set always counts.

The user's folder keeps `autotune-trust.json`: by project the digests of what was trusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from .._model.text import clean
from .._values.fields import Acting, Kind
from .._values.links import SIDE_FILES, is_inside
from ..errors import SettingsError
from ..failsafe import log_once
from .keys import DATABASE_URL, shown_value
from .layers import Entry, Layer, Scope

TRUST_FILE: Final = "autotune-trust.json"
TRUST_COMMAND: Final = "victor autotune trust"
_VERSION: Final = 1
_MOST_BYTES: Final = 4_000_000
_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))


@frozen
class ActingSetting:
    """A setting of a project that makes the machine act.

    Attributes:
        scope: The teams that it is for.
        key: Dotted key.
        value: What is set, as plain data.
        where: File and line.
    """

    scope: Scope
    key: str
    value: object
    where: str

    @property
    def path(self) -> str:
        """Dotted path from the top of a settings file."""
        names = zip(("workflows", "teams"), self.scope, strict=False)
        return ".".join([*(part for pair in names for part in pair), self.key])

    @property
    def shown(self) -> str:
        """The whole value for people, in one line, without a password in a database URL."""
        return shown_value(self.key, self.value)

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON-able data."""
        return {"where": self.where, "key": self.path, "value": self.shown}


@frozen
class ActingSource:
    """What one source of a project sets for keys that act.

    Attributes:
        name: The source: the settings file, or a workflow whose metadata it is.
        settings: The settings, in their order.
        digest: Digest of source, keys and values; not of the lines in which they stand.
    """

    name: str
    settings: tuple[ActingSetting, ...]
    digest: str = field(init=False)

    @digest.default
    def _digest(self) -> str:
        entries = [[one.scope, one.key, one.value] for one in self.settings]
        texts = sorted(json.dumps(entry, sort_keys=True, default=str) for entry in entries)
        return hashlib.sha256(json.dumps([self.name, texts]).encode()).hexdigest()


def split(layer: Layer, name: str, project: Path, kinds: Mapping[str, Kind]) -> tuple[Layer, ActingSource | None]:
    """Take what acts out of what a project's source sets.

    Args:
        layer: What the source sets.
        name: Name of the source.
        project: The project's folder.
        kinds: What `leaves` gives.

    Returns:
        The layer without what acts, and what acts, or None.
    """
    acting: list[ActingSetting] = []
    scopes: dict[Scope, dict[str, Entry]] = {}
    for scope, entries in layer.scopes.items():
        scopes[scope] = {}
        for key, entry in entries.items():
            if acts(key, entry.value, project, kinds):
                acting.append(ActingSetting(scope, key, entry.written, entry.where))
                kind = kinds.get(key)
                if isinstance(kind, Acting) and kind.harmless is not None:
                    scopes[scope][key] = evolve(entry, value=kind.harmless(entry.value))
            else:
                scopes[scope][key] = entry
    if not acting:
        return layer, None
    return evolve(layer, scopes=scopes), ActingSource(name, tuple(acting))


def trusted_part(
    layer: Layer, name: str, project: Path, kinds: Mapping[str, Kind], trust: TrustStore, *, log: bool
) -> tuple[Layer, ActingSource | None]:
    """Return what counts of a project's source, and what acts, trusted or not.

    Args:
        log: Whether to log what is ignored, once a process.
    """
    rest, acting = split(layer, name, project, kinds)
    if acting is None or trust.trusts(project, acting):
        return layer, acting
    if log:
        listed = clean(", ".join(f"{one.path} ({one.where})" for one in acting.settings))
        what = (acting.name, acting.digest)
        verb, it = ("are", "them") if len(acting.settings) > 1 else ("is", "it")
        log_once(what, "autotune: %s %s ignored until you trust %s: %s", listed, verb, it, TRUST_COMMAND)
    return rest, acting


def acts(key: str, value: object, project: Path, kinds: Mapping[str, Kind]) -> bool:
    """Whether a value of a key makes the machine act."""
    if key == DATABASE_URL:
        return value is not None and not _is_own_file(str(value), project)
    kind = kinds.get(key)
    return isinstance(kind, Acting) and kind.acts(value)


def _is_own_file(url: str, project: Path) -> bool:
    """Whether a URL names an SQLite file in the project's folder, and nothing more."""
    scheme, _, path = url.partition(":///")
    if scheme not in ("sqlite", "sqlite+pysqlite") or not path or path.startswith("file:") or set(path) & set("?#%@"):
        return False
    try:
        return all(is_inside(Path(f"{path}{suffix}"), project) for suffix in ("", *SIDE_FILES))
    except (OSError, ValueError):
        return False


@frozen
class TrustStore:
    """The file that keeps what the user trusts.

    Attributes:
        path: The file.
        projects: Trusted digests by project, each with what it stands for.
        problem: Why the file does not count, or None.
    """

    path: Path
    projects: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    problem: str | None = None

    @classmethod
    def load(cls, path: Path) -> TrustStore:
        """Read the file. One that others could have written, or that can't be read, trusts nothing."""
        try:
            handle = os.open(path, _FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except OSError as error:
            what = "it is a symbolic link" if path.is_symlink() else str(error.strerror)
            return cls(path, problem=what)
        try:
            problem = _problem_of(os.fstat(handle))
            data = b"" if problem is not None else os.read(handle, _MOST_BYTES + 1)
        finally:
            os.close(handle)
        return cls._read(path, data) if problem is None else cls(path, problem=problem)

    @classmethod
    def _read(cls, path: Path, data: bytes) -> TrustStore:
        try:
            if len(data) > _MOST_BYTES:
                raise ValueError
            found = json.loads(data)
            projects = found["projects"]
            if found["version"] != _VERSION:
                return cls(path, problem="another version of the plugin wrote it")
            for one in projects.values():
                if not isinstance(one["at"], int | float) or not all(map(str.isprintable, one["trusted"].values())):
                    raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls(path, problem="it is not what the plugin wrote")
        return cls(path, projects)

    @property
    def digests(self) -> dict[str, frozenset[str]]:
        """What is trusted, by project."""
        return {path: frozenset(one["trusted"]) for path, one in self.projects.items()}

    def trusts(self, project: Path, source: ActingSource) -> bool:
        """Whether exactly what a source of a project sets is trusted."""
        record = self.projects.get(os.path.realpath(project))
        return record is not None and source.digest in record["trusted"]

    def with_project(self, project: Path, sources: Iterable[ActingSource], at: float) -> TrustStore:
        """Return a store that trusts these sources of a project, and nothing else of it.

        Args:
            at: Unix time, seconds.
        """
        trusted = {source.digest: source.name for source in sources}
        others = {path: one for path, one in self.projects.items() if path != os.path.realpath(project)}
        if trusted:
            others[os.path.realpath(project)] = {"at": at, "trusted": trusted}
        return TrustStore(self.path, others)

    def save(self) -> None:
        """Write the file, for its owner alone.

        Raises:
            SettingsError: It can't be written, or a link is in its place.
        """
        from .._values.files import write_text

        if self.path.is_symlink():
            hint = f"Remove the link, and trust again: rm {self.path}"
            raise SettingsError("is a symbolic link, which is not followed", where=str(self.path), hint=hint)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"can't be made: {error.strerror}", where=str(self.path.parent)) from error
        data = {"version": _VERSION, "projects": dict(sorted(self.projects.items()))}
        write_text(self.path, json.dumps(data, indent=2) + "\n", option="the file of what is trusted:")


def _problem_of(status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        return "it belongs to another user"
    if status.st_mode & 0o022:
        return f"others may write it (mode {stat.S_IMODE(status.st_mode):04o})"
    return None
