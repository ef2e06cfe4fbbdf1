"""Numbers, times and plans in words, and names that can't do harm, for every face of the plugin."""

from __future__ import annotations

import math
import time
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .plan import TeamPlan
    from .state import Change

DASH: Final = "–"
"""Stands for what is not known or does not apply."""

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(value: object, *, keep_lines: bool = False) -> str:
    r"""Return a text without characters that steer a terminal: they are shown as escapes, such as `\x1b`.

    Args:
        value: The text.
        keep_lines: Whether line breaks stay.
    """
    return "".join(
        char if (keep_lines and char == "\n") or unicodedata.category(char) not in _UNSEEN else _escape(char)
        for char in str(value)
    )


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def seconds(value: float | None) -> str:
    """Return a duration in seconds for people: `0.35 s`, `12.3 s`, `2 min 05 s`."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 99.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as a percentage: `0.25` is `25 %`."""
    if share is None or not math.isfinite(share):
        return DASH
    return f"{100 * share:.{digits}f} %"


def plan_text(plan: TeamPlan) -> str:
    """Return a plan in words that a narrow column can break: `formation parallel, timeout 30s`."""
    return plan.describe().replace("=", " ")


def who(change: Change) -> str:
    """Return who made a change."""
    return "by itself" if change.actor == "auto" else f"by a {change.actor}"


def when(at: float | None) -> str:
    """Return Unix seconds as local date and time, to the minute."""
    return DASH if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 run`, `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
