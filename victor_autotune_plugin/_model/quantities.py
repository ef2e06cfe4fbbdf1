"""Types of fields that say what a value may be. `converter` checks it in data that another program wrote."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

from attrs import Attribute, frozen

_LARGEST_WHOLE: Final = 2**31 - 1
"""The largest whole number that every database holds."""


def is_flag(_: object, attribute: Attribute[Any], value: Any) -> None:
    """Accept true and false only; a validator of attrs."""
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be True or False, not {value!r}")


@frozen
class Within:
    """Bounds of a number.

    Attributes:
        low: Smallest value.
        high: Largest value.
        may_be_unknown: Whether plain data has null where the value is NaN or infinite, which JSON has no word for.
    """

    low: float = -math.inf
    high: float = math.inf
    may_be_unknown: bool = False


@frozen
class NotEmpty:
    """Text of at least one character, or a list of at least one item."""


@frozen
class OneOf:
    """The words that a text may be."""

    words: tuple[str, ...]


Name = Annotated[str, NotEmpty()]
"""Text that is not empty."""

DEFAULT_ENVIRONMENT: Final = "default"
"""Environment of runs where nothing names another. Runs of two never share a test, a baseline or a plan."""

CONTROL: Final = "control"
"""The arm that runs today's plan."""

TREATMENT: Final = "treatment"
"""The arm that runs the changed plan."""

ARMS: Final = (CONTROL, TREATMENT)
"""Arms of a test."""

Arm = Annotated[str, OneOf(ARMS)]
"""One of `ARMS`."""

Count = Annotated[int, Within(0, _LARGEST_WHOLE)]
"""A whole number from 0."""

Seconds = Annotated[float, Within(0)]
"""A duration, in seconds."""

Dollars = Annotated[float, Within(0)]
"""An amount of money, in US dollars."""

Share = Annotated[float, Within(0, 1)]
"""A number from 0 to 1."""

UnixTime = Annotated[float, Within(0, 253_402_300_799)]
"""Seconds since 1970, until the end of the year 9999."""

Figure = Annotated[float, Within(may_be_unknown=True)]
"""A number that is NaN or infinite while nothing is known, and null in plain data then."""
