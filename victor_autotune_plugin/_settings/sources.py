"""Where settings come from: files, environment variables, options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .._values.fields import Kind
from .._values.names import did_you_mean
from .._values.nodes import Node, Problem, WrongValueError, from_plain
from .schema import DATABASE_URL, DATABASE_URL_KIND, Layer

FILE_NAME: Final = "autotune.yaml"
"""Name of the settings file in Victor's folder of a project or of the user."""

PREFIX: Final = "VICTOR_AUTOTUNE_"
"""What the plugin's environment variables begin with."""

_MOST_BYTES: Final = 1_000_000


def victor_dir_name(environ: Mapping[str, str]) -> str:
    """Return the name of Victor's folder: `.victor`, or what `VICTOR_DIR_NAME` says.

    Like Victor, it ignores a name that leads to another place.

    Args:
        environ: Environment variables.
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
    """Return what environment variables set, for all teams. An empty variable sets nothing.

    Args:
        environ: Environment variables.
        kinds: What `schema.leaves` gives.
    """
    layer = Layer()
    keys = {variable(key): key for key in (*kinds, DATABASE_URL)}
    for name in sorted(environ):
        text = environ[name]
        if not name.startswith(PREFIX) or not text.strip():
            continue
        where = f"env {name}"
        if name in keys:
            _put_text(layer, keys[name], kinds, text, where)
        else:
            hint = did_you_mean(name, keys) + f" Or unset it: unset {name}."
            layer.problems.append(Problem(where, "", "this variable is not known", hint))
    return layer


def from_overrides(overrides: Mapping[str, object], kinds: Mapping[str, Kind]) -> Layer:
    """Return what command-line options set, for all teams. An option that is None sets nothing.

    Args:
        overrides: Values by dotted key; text is read as in an environment variable.
        kinds: What `schema.leaves` gives.
    """
    layer = Layer()
    for key, value in overrides.items():
        where = f"option {option(key)}"
        if value is None:
            continue
        if key not in kinds and key != DATABASE_URL:
            layer.problems.append(
                Problem(where, key, "this key is not known", did_you_mean(key, (*kinds, DATABASE_URL)))
            )
        elif isinstance(value, str):
            _put_text(layer, key, kinds, value, where)
        else:
            layer.put((), key, _kind(key, kinds), from_plain(value, where), key)
    return layer


def _put_text(layer: Layer, key: str, kinds: Mapping[str, Kind], text: str, where: str) -> None:
    kind = _kind(key, kinds)
    layer.put((), key, kind, from_plain(kind.parse(text.strip()), where), key)


def _kind(key: str, kinds: Mapping[str, Kind]) -> Kind:
    return DATABASE_URL_KIND if key == DATABASE_URL else kinds[key]


def read_file(path: Path, shown: str) -> tuple[Node | None, list[Problem]]:
    """Read a settings file.

    Args:
        path: The file.
        shown: Its name for people.

    Returns:
        Its tree, or None when it is missing, empty or can't be read; and what is wrong with it.
    """
    try:
        text = _text(path, shown)
        if text is None:
            return None, []
        # Imported here, since a start without a settings file should not pay for it.
        from .._values.yaml_tree import parse

        return parse(text, shown), []
    except WrongValueError as wrong:
        return None, [Problem(wrong.where or shown, "", wrong.message, wrong.hint)]
    except OSError as error:
        hint = f"Make it a file that you may read: ls -l {path}"
        return None, [Problem(shown, "", f"the file can't be read: {error.strerror}", hint)]


def _text(path: Path, shown: str) -> str | None:
    """Return the text of a file, or None when there is no such file."""
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not path.is_file():
        raise WrongValueError("this is not a file", f"Move it away: mv {path} {path}.old")
    if size > _MOST_BYTES:
        raise WrongValueError(
            f"the file has {size:,} bytes", f"Settings have at most {_MOST_BYTES:,}; is it the right file?"
        )
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise WrongValueError("this is not UTF-8 text", f"Save the file as UTF-8: {path}", f"{shown}:{line}") from error
