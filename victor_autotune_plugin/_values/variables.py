"""Environment variables in a workflow file, filled in where and as Victor fills them in when it loads one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .nodes import Filled, Items, Node, Scalar, Table

_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_NAMED: Final = re.compile(rf"\$env\.({_NAME})")
_BRACED: Final = re.compile(rf"\$\{{({_NAME})(?::-([^}}]*))?\}}")


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
