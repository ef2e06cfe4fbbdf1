"""YAML (and JSON, which is YAML) as data that knows its lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import WorkflowError
from .nodes import PlacedMapping

_MOST_VALUES: Final = 200_000
"""As many values as a file may have once its aliases are written out."""


def load(text: str, path: Path) -> Any:
    """Return the mapping that a document holds, as ruamel.yaml's nodes, which know their lines.

    Args:
        text: The document.
        path: Its file, for errors.

    Raises:
        WorkflowError: It is not YAML, has a key twice, or is no mapping; the message names the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    from .yaml_tree import compose

    try:
        yaml = YAML(typ="rt")
        yaml.composer.warn_double_anchors = False
        root = compose(text)
        data = yaml.load(text)
    except DuplicateKeyError as error:
        message = str(error.problem).partition(" with value")[0].replace("found duplicate key", "has this key twice:")
        raise WorkflowError(message, where=_at(path, error.problem_mark), hint="Keep one of them.") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = text.splitlines()
        line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
        tab = "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(error.problem)
        hint = "YAML indents with spaces: put spaces in place of the tab." if tab else None
        raise WorkflowError(f"is not YAML: {error.problem}", where=_at(path, mark), hint=hint) from error
    except ReaderError as error:
        where = f"{path}:{text.count(chr(10), 0, error.position) + 1}"
        raise WorkflowError(f"is not YAML: {error.reason}", where=where, hint="Save it as plain text.") from error
    except NotImplementedError as error:
        hint = "Give comments lines of their own."
        raise WorkflowError("has comments where ruamel.yaml can't keep them", where=str(path), hint=hint) from error
    except (YAMLError, RecursionError, ValueError, ArithmeticError, TypeError, AttributeError) as error:
        raise WorkflowError(f"is not YAML: {str(error).partition(chr(10))[0]}", where=str(path)) from error
    if not isinstance(data, Mapping):
        raise WorkflowError("is not a workflow file: it must be a mapping", where=f"{path}:1")
    _check_aliases(root, path)
    return data


def _check_aliases(root: Any, path: Path) -> None:
    """Make sure that a document whose aliases are written out is finite, and not huge.

    Raises:
        WorkflowError: It is not. (ruamel.yaml would read null for what refers to itself.)
    """
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def size(node: Any) -> int:
        if not isinstance(node.value, list):
            return 1
        if id(node) in inside:
            where = f"{path}:{node.start_mark.line + 1}"
            raise WorkflowError("refers to itself", where=where, hint="Take the alias (`*name`) out.")
        if id(node) not in sizes:
            inside.add(id(node))
            items = [one for item in node.value for one in (item if isinstance(item, tuple) else (item,))]
            sizes[id(node)] = 1 + sum(map(size, items))
            inside.discard(id(node))
        return sizes[id(node)]

    if size(root) > _MOST_VALUES:
        raise WorkflowError("its aliases make it huge", where=str(path), hint="Write out what they stand for.")


def _at(path: Path, mark: Any) -> str:
    return str(path) if mark is None else f"{path}:{mark.line + 1}"


def failure(path: Path, node: Any, key: str | None, message: str, hint: str | None = None) -> WorkflowError:
    """Return the error that something about a key of a node is wrong.

    Args:
        path: The file.
        node: A mapping as `load` gave it.
        key: The key, or None for the mapping as a whole.
        message: What is wrong.
        hint: What to do about it.
    """
    return WorkflowError(message, where=f"{path}:{line_of(node, key)}", hint=hint)


def line_of(node: Any, key: str | None = None) -> int:
    """Return the line of a key of a node as `load` gave it, or of the node itself.

    A key that an alias brought in (`<<: *name`) stands where the node does.
    """
    marks = node.lc
    if key is not None and marks.data is not None and key in marks.data:
        return int(marks.key(key)[0]) + 1
    return int(marks.line) + 1


def plain(value: Any) -> Any:
    """Return ruamel.yaml's nodes as plain Python."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else value


def with_places(value: Any, path: Path) -> Any:
    """Return ruamel.yaml's nodes as plain Python whose mappings remember the lines of their keys.

    Args:
        value: A node as `load` gave it.
        path: Its file.
    """
    if isinstance(value, Mapping):
        places = {str(key): f"{path}:{line_of(value, key)}" for key in value}
        return PlacedMapping({str(key): with_places(item, path) for key, item in value.items()}, places)
    if isinstance(value, list):
        return [with_places(item, path) for item in value]
    return plain(value)
