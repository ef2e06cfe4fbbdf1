"""Single values of a metrics file: what each kind accepts, and how a wrong one is told of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from .._analysis.facts import SUB_TEAMS
from .._model.plan import FORMATIONS
from .._values.names import nearest

FORMATION_NAMES: Final = (*FORMATIONS, SUB_TEAMS)
"""What may stand as a formation."""

MOST_SECONDS: Final = 1e9
MOST_CALLS: Final = 10**12
MOST_MEMBERS: Final = 100_000
LAST_SECOND: Final = 253_402_300_800.0
"""Unix time of the year 10000: what lies beyond is no time in seconds."""

LONGEST_NAME: Final = 10_000
_TRUE: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class WrongFieldError(Exception):
    """A field is missing or wrong; who knows the file and line makes a `MetricsError` of it."""

    def __init__(self, name: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.hint = hint


def show(value: object) -> str:
    """Return a value in few characters that are safe to print.

    Args:
        value: Anything a file may hold.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**18:
        return "a huge number"  # Python refuses to print the largest
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def text(value: object) -> str:
    """Read a name. Any characters are kept as they are: names are only ever compared, and made safe when shown."""
    if isinstance(value, str) and value.strip() and len(value) <= LONGEST_NAME:
        return value
    raise ValueError("a text that is not empty")


def label(value: object) -> str:
    """Read a text that may be empty."""
    if isinstance(value, str) and len(value) <= LONGEST_NAME:
        return value
    raise ValueError("a text")


def flag(value: object) -> bool:
    """Read true or false; a CSV has them as words or as 1 and 0."""
    if isinstance(value, bool):
        return value
    known = _TRUE.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise ValueError("true or false")
    return known


def number(low: float, high: float) -> Callable[[object], float]:
    """Return a reader of finite numbers in a range; a CSV has them as text."""

    def read(value: object) -> float:
        found = _plain_number(value)
        if found is None or not low <= found <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(found)

    return read


def whole(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of whole numbers in a range; 5.0 is one."""

    def read(value: object) -> int:
        found = _plain_number(value)
        if found is None or not low <= found <= high or found != int(found):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(found)

    return read


def time(value: object) -> float:
    """Read Unix seconds, or a date and time of ISO 8601 (UTC where it names no zone)."""
    found = _plain_number(value)
    if found is not None and 0 <= found < LAST_SECOND:
        return float(found)
    if isinstance(value, str) and found is None:
        try:
            moment = datetime.fromisoformat(value.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    raise ValueError("Unix seconds, or a date and time such as 2026-01-31T12:00:00Z")


def formation(value: object) -> str:
    """Read a formation, in upper or lower case."""
    name = value.strip().lower() if isinstance(value, str) else ""
    if name in FORMATION_NAMES:
        return name
    near = nearest(name, FORMATION_NAMES)
    raise ValueError(f"one of {', '.join(FORMATION_NAMES)}{f'; did you mean `{near}`?' if near else ''}")


def _plain_number(value: object) -> float | int | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 10**30 and math.isfinite(value) else None
