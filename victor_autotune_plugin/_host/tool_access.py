"""What a tool call may have done, and to which files.

Victor's own tools say it in their `access_mode`, which one call can narrow. READONLY of any other tool is a default
and says nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from .._dataflow.trace import Access

_VICTOR: Final = "victor"

_MODES: Final[Mapping[str, Access]] = {"readonly": "read", "write": "write", "execute": "execute", "mixed": "mixed"}

_READS_THE_WEB: Final = frozenset({"web", "web_search", "web_fetch"})
"""`web` is declared READONLY, and fetches."""

_MORE_THAN_DECLARED: Final = frozenset({"cicd"})
"""Declared READONLY, and writes files."""

_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")

_OF_THIS_NETWORK: Final = re.compile(
    r"""(?ix) file: | \blocalhost\b | // (?:[^/@\s]*@)? (?:
        127\. | 0\.0\.0\.0 | 10\. | 192\.168\. | 172\.(?:1[6-9]|2\d|3[01])\. | 169\.254\. | \[
        | [^/\s.:"']+ (?: [:/\s"'] | $ ) | [^/\s:"']+ \. (?:local|localhost|internal|test|lan) \b )"""
)
"""An address on this machine or beside it, where a server may hand out what another member wrote."""

_GIT_READS: Final = frozenset({"status", "diff", "log"})
"""What Victor's `git`, which is declared MIXED, only reads with; it refuses options that it doesn't know."""

_NAMES_ITS_PATHS: Final = frozenset(
    {"read", "ls", "find", "write", "edit", "patch", "notebook_edit", "extract", "inline", "organize_imports"}
    | {"project_overview"}
)
"""Victor's tools that touch nothing but the paths among their arguments. Others go beyond: `docs` writes to a folder of
its own choice, `scan` reads the requirements, `impact_analysis` an index of the whole project."""

_PATH_KEYS: Final = frozenset(
    {"path", "file_path", "filepath", "filename", "file", "directory", "dir", "root", "folder", "cwd", "notebook_path"}
    | {"new_path", "old_path", "source", "destination", "target_path", "output", "output_path", "requirements_file"}
)
_PATHS_KEYS: Final = frozenset({"paths", "files", "file_paths", "targets", "directories"})
_MOVED_TO_KEYS: Final = frozenset({"to", "dest", "new_name"})
"""Further names of the new path, in an operation of `edit`."""
_OPERATIONS_KEYS: Final = frozenset({"ops", "edits", "operations", "issues", "changes"})

_PATCH_KEY: Final = "patch_content"
_PATCH_LINES: Final = ("+++ ", "--- ")
_NOWHERE: Final = "/dev/null"

_MOST_PATHS: Final = 100
_LONGEST_PATH: Final = 4096
_WILD: Final = "*?["


def access_of(tool: Any, name: str, arguments: Mapping[str, Any]) -> Access:
    """Return what one call of a tool may have done.

    Args:
        tool: Victor's tool object, or None where it is not known.
        name: Its name.
        arguments: The arguments of the call.
    """
    if not _is_victors_own(tool):
        return "unclassified"
    from victor.tools.effective_access import resolve_effective_access

    if resolve_effective_access(name, arguments) is not None:
        return "read"
    mode = str(getattr(tool.access_mode, "value", tool.access_mode)).lower()
    if name in _READS_THE_WEB:
        return _web(arguments)
    if name in _MORE_THAN_DECLARED:
        return "mixed"
    if mode == "network":
        method = str(arguments.get("method", "")).upper()
        return _web(arguments) if name == "http" and method in _SAFE_METHODS else "mixed"
    if name == "git" and _only_reads(arguments.get("cmd")):
        return "read"
    return _MODES.get(mode, "unclassified")


def _web(arguments: Mapping[str, Any]) -> Access:
    told = (value for value in arguments.values() if isinstance(value, str))
    return "read" if any(map(_OF_THIS_NETWORK.search, told)) else "network"


def _only_reads(command: Any) -> bool:
    """Return whether a command line of Victor's `git` changes nothing."""
    words: list[str] = []
    with suppress(ValueError):
        words = shlex.split(command) if isinstance(command, str) else []
    words = words[words[:1] == ["git"] :]
    return words[:1] != [] and words[0] in _GIT_READS and not any(word.startswith("--output") for word in words)


def _is_victors_own(tool: Any) -> bool:
    """Return whether Victor wrote the tool and said what it does.

    Its adapters of other systems' tools say nothing, and have the default of all tools.
    """
    function = getattr(tool, "_fn", None)
    if function is not None:
        return _is_victors(getattr(function, "__module__", None)) and _is_victors(type(tool).__module__)
    for cls in type(tool).__mro__:
        if not _is_victors(cls.__module__):
            return False
        if "access_mode" in vars(cls):
            return cls.__name__ != "BaseTool"
    return False


def _is_victors(module: Any) -> bool:
    return isinstance(module, str) and (module == _VICTOR or module.startswith(_VICTOR + "."))


def paths_of(access: Access, name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the absolute, normalised paths that a call touched, each once; empty where they can't be told.

    They can be told of tools alone that touch nothing but what they name. One that reads and names no path looks
    through the working directory. Where there is nothing at a path that is named, Victor looks for a file of a similar
    name, so it can't be told either.
    """
    if access not in ("read", "write") or name not in _NAMES_ITS_PATHS:
        return ()
    here = os.getcwd()  # noqa: PTH109 - texts are enough, and cheaper
    found = list(dict.fromkeys(path for raw in _named(arguments) if (path := _absolute(raw, here))))
    if access == "read" and not found:
        return (here,)
    may_remove = access != "read" and not _OPERATIONS_KEYS.isdisjoint(arguments)
    if not may_remove and not all(map(os.path.exists, found[:_MOST_PATHS])):
        return ()
    return tuple(found) if len(found) <= _MOST_PATHS else (os.path.commonpath(found),)


def _named(arguments: Mapping[str, Any], *, inside: bool = False) -> Iterator[str]:
    for key, value in arguments.items():
        if key in _PATH_KEYS or (inside and key in _MOVED_TO_KEYS):
            yield from _texts(value)
        elif key in _PATHS_KEYS:
            yield from _texts(_parsed(value))
        elif key in _OPERATIONS_KEYS and not inside:
            operations = _parsed(value)
            for operation in (operations,) if isinstance(operations, Mapping) else operations:
                if isinstance(operation, Mapping):
                    yield from _named(operation, inside=True)
        elif key == _PATCH_KEY and isinstance(value, str):
            yield from _patched(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            if isinstance(one, str):
                yield one
            elif isinstance(one, Mapping):
                yield from _named(one, inside=True)


def _parsed(value: Any) -> Any:
    """Return a list or mapping that some models write as JSON text."""
    if isinstance(value, str):
        if value[:1] in ("[", "{"):
            with suppress(ValueError):
                return json.loads(value)
        return (value,)
    return value if isinstance(value, list | tuple | Mapping) else ()


def _patched(patch: str) -> Iterator[str]:
    for line in patch.splitlines():
        if line.startswith(_PATCH_LINES):
            name = line[4:].split("\t", 1)[0].strip()
            if name != _NOWHERE:
                yield name[2:] if name[:2] in ("a/", "b/") else name


def _absolute(path: str, here: str) -> str | None:
    """Return a path as the file system knows it; of one with wildcards, the folder that holds all it may mean."""
    path = path.strip()
    if not path or len(path) > _LONGEST_PATH or "\0" in path or "\n" in path:
        return None
    if any(mark in path for mark in _WILD):
        fixed = []
        for part in path.split("/"):
            if any(mark in part for mark in _WILD):
                break
            fixed.append(part)
        path = "/".join(fixed) or ("/" if path.startswith("/") else ".")
    # One file may have several names through symbolic links; the tool has just been there, so this waits for nothing.
    return os.path.realpath(os.path.join(here, os.path.expanduser(path)))  # noqa: PTH111, PTH118
