"""What the engine is told about one finished run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from attrs import Attribute, asdict, field, frozen

CONTROL: Final = "control"
"""The arm that runs today's plan."""

TREATMENT: Final = "treatment"
"""The arm that runs the changed plan."""

ARMS: Final = (CONTROL, TREATMENT)
"""Arms of a test."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_negative(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not (_is_number(value) and math.isfinite(value) and value >= 0):
        raise ValueError(f"{attribute.name} must be a finite number from 0, not {value!r}")


def _cost(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        _not_negative(None, attribute, value)


def _share(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not (_is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{attribute.name} must be a number from 0 to 1, not {value!r}")


def _count(_: object, attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{attribute.name} must be an integer from 0, not {value!r}")


def _flag(_: object, attribute: Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be True or False, not {value!r}")


def _arm(_: object, attribute: Attribute[Any], value: Any) -> None:
    if value not in ARMS:
        raise ValueError(f"{attribute.name} must be one of {', '.join(ARMS)}, not {value!r}")


@frozen
class Observation:
    """One finished run of an experiment. Impossible values raise `ValueError` naming the field.

    Attributes:
        index: Number of the run within the experiment, from 0, unique. Runs may be observed in any order of it.
        arm: `control` or `treatment`.
        duration_seconds: Wall-clock seconds.
        success: Whether the run succeeded.
        score: Graded outcome in [0, 1]; more is better.
        cost_usd: Cost in US dollars, or None when no price is known.
        tool_calls: Tool calls that ran.
        timed_out: Whether a deadline ended it. Such a run counts as slower than any other.
        task_key: Equal for the same task, or None. Only the first run of a key counts in a test, since runs of
            one task in one arm are not independent.
    """

    index: int = field(validator=_count)
    arm: str = field(validator=_arm)
    duration_seconds: float = field(validator=_not_negative)
    success: bool = field(validator=_flag)
    score: float = field(validator=_share)
    cost_usd: float | None = field(default=None, validator=_cost)
    tool_calls: int = field(default=0, validator=_count)
    timed_out: bool = field(default=False, validator=_flag)
    task_key: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Observation:
        """Read what `to_dict` wrote."""
        return cls(**data)
