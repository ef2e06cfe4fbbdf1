"""Plain data as the text of a column, and the numbers a column takes.

JSON keeps every float bit for bit, infinities and NaN included, so a verdict replays exactly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from .._model.plan import TeamPlan, TeamSpec
from ..errors import StoreError

Values = dict[str, Any]
"""A row by column name."""

_MOST_REMEMBERED: Final = 512


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's scalars and arrays, which evidence may hold
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__qualname__} is not plain data")


encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_plain).encode
"""Plain data as text."""

decode: Final = json.loads
"""Text as plain data."""


def encode_optional(value: Any) -> str | None:
    """Return plain data as text, and None as None."""
    return None if value is None else encode(value)


def decode_optional(text: str | None) -> Any:
    """Return text as plain data, and None as None."""
    return None if text is None else decode(text)


def canonical(text: str | None) -> str | None:
    """Return the text that is equal for equal data, whatever the order of its keys."""
    return None if text is None else json.dumps(decode(text), sort_keys=True)


@lru_cache(maxsize=_MOST_REMEMBERED)
def plan(text: str) -> TeamPlan:
    """Read a plan; the runs of a team share a few, so their texts are remembered."""
    return TeamPlan.from_dict(decode(text))


@lru_cache(maxsize=_MOST_REMEMBERED)
def spec(text: str) -> TeamSpec:
    """Read the definition of a team; remembered like plans."""
    return TeamSpec.from_dict(decode(text))


@lru_cache(maxsize=_MOST_REMEMBERED)
def text_of(value: TeamPlan | TeamSpec) -> str:
    """Return a plan or a team's definition as text; remembered, since each is written twice a run."""
    return encode(value.to_dict())


def at_least_zero(name: str, value: float, what: str) -> float:
    """Return a number that every backend keeps alike.

    Args:
        name: Attribute that holds it.
        value: The number.
        what: What is about to be stored.

    Raises:
        StoreError: It is negative, infinite or NaN.
    """
    if not math.isfinite(value) or value < 0:
        raise StoreError(f"{what} can't be stored: {name} is {value!r}, not a finite number of at least 0")
    return value
