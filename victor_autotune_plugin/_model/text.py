"""What people read: numbers, signs, percentages, durations, money, counts, dates and plans as text, one way everywhere.

| function | gives |
|---|---|
| `likely(0.998)`, `likely(0.93)` | `>99 %`, `93 %`: a probability |
| `percent(0.25)`, `percent(0.054)` | `25 %`, `5.4 %`: one decimal below 10 %, none from there on |
| `change(-0.55)`, `points(-0.01)` | `−55 %`, `−1 point`: always with a sign, `0 %` has none |
| `interval(-1.0, -0.11)` | `−100 % to −11 %` |
| `amount(0.25)` | `25 %`, and words for what is infinite or unknown |
| `evidence("balanced", 2.1, 2.95)` | `z = 2.10, boundary 2.95` |
| `number(-0.5)`, `signed(0.5)` | `−0.50`, `+0.50` |
| `rounded(0.01234)` | `0.0123` |
| `seconds(0.78)`, `seconds(80)` | `0.78 s`, `80.0 s`; from 100 s on `2 min 05 s` |
| `usd(0.0123)` | `0.0123 USD` |
| `count(12, "run")` | `12 runs` |
| `listed(["a", "b", "c"])` | `a, b and c` |
| `state_text("probation")` | `on probation` |

What is not known is a dash in a figure of its own, and `unknown` in a change. The minus sign is U+2212.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .policy import E_RULES

if TYPE_CHECKING:
    from .experiment import Change
    from .plan import TeamPlan

DASH: Final = "–"
"""Stands for what is not known or does not apply."""

TITLES: Final = {
    "duration": "duration",
    "cost": "cost",
    "tool_calls": "number of tool calls",
    "score": "score",
    "success": "success share",
    "member_success": "share of members that succeed",
    "loss": "share of missing runs",
    "p95": "P95 of the duration",
    "mean": "mean duration",
}
"""Names of metrics and guardrails for people."""

_STATES: Final = {"probation": "on probation", "reverifying": "being verified again"}
_MINUS: Final = "−"
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(value: object, *, keep_lines: bool = False) -> str:
    r"""Return a text without characters that steer a terminal: they are shown as escapes, such as `\x1b`.

    Args:
        keep_lines: Whether line breaks stay.
    """
    text = str(value)
    if text.isprintable():  # almost every text is
        return text
    return "".join(
        char if (keep_lines and char == "\n") or unicodedata.category(char) not in _UNSEEN else _escape(char)
        for char in text
    )


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def percent(share: float | None) -> str:
    """Return a share as a percentage: `0.25` is `25 %`; below 10 % with one decimal, as far as there is one."""
    return DASH if share is None or not math.isfinite(share) else f"{_hundredths(share)} %"


def likely(chance: float | None) -> str:
    """Return a probability as a percentage: nothing is certain, so it is `>99 %` or `<1 %` at the ends."""
    if chance is None or not math.isfinite(chance):
        return DASH
    return ">99 %" if chance > 0.99 else "<1 %" if chance < 0.01 else percent(round(chance, 2))


def change(share: float | None) -> str:
    """Return a relative change: `0.25` is `+25 %`, infinity is `unbounded`, and what is not known `unknown`."""
    if share is None or math.isnan(share):
        return "unknown"
    return "unbounded" if math.isinf(share) else f"{_with_sign(_hundredths(share))} %"


def interval(low: float | None, high: float | None) -> str:
    """Return the interval of a relative change: `−100 % to −11 %`; None is unbounded."""
    return f"{'unbounded' if low is None else change(low)} to {'unbounded' if high is None else change(high)}"


def amount(share: float) -> str:
    """Return the size of a change in a sentence: `0.25` is `25 %`, infinity `an unbounded amount`."""
    if math.isnan(share):
        return "an unknown amount"
    return "an unbounded amount" if math.isinf(share) else percent(abs(share))


def evidence(rule: str, statistic: float, boundary: float | None) -> str:
    """Return how far the evidence is: `z = 2.10, boundary 2.95`, or for an e-process its e-value.

    Args:
        rule: One of `policy.ALL_RULES`.
        boundary: As in the verdict; None before there is one.
    """
    name, figures = "z", [number(value) for value in (statistic, boundary) if value is not None]
    if rule in E_RULES:
        name, figures = "e-value", [rounded(math.exp(value)) for value in (statistic, boundary) if value is not None]
    return f"{name} = {', boundary '.join(figures)}"


def points(share: float | None) -> str:
    """Return a change of a share: `-0.1` is `−10 points`."""
    if share is None or not math.isfinite(share):
        return "unknown"
    shown = _hundredths(share)
    return f"{_with_sign(shown)} {'point' if shown.lstrip(_MINUS) == '1' else 'points'}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with this many decimals."""
    if value is None or not math.isfinite(value):
        return DASH
    return _minus(f"{value:.{digits}f}")


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with this many decimals and its sign."""
    shown = number(value, digits)
    return shown if shown == DASH else _with_sign(shown)


def rounded(value: float | None) -> str:
    """Return a number with three significant digits; whole numbers stay whole."""
    if value is None or not math.isfinite(value):
        return DASH
    return _minus(f"{value:.0f}" if value == round(value) or 1000 <= abs(value) < 1e15 else f"{value:.3g}")


def seconds(value: float | None) -> str:
    """Return a duration in seconds for people: `0.35 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 0:
        return _minus(f"-{seconds(-value)}")
    if value < 99.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def signed_seconds(value: float | None) -> str:
    """Return a difference of durations with its sign: `−12.3 s`."""
    return _with_sign(seconds(value))


def usd(value: float | None) -> str:
    """Return an amount of money: four decimals below 1 USD, two from there on."""
    if value is None or not math.isfinite(value):
        return DASH
    return _minus(f"{value:.2f} USD" if abs(value) >= 0.99995 else f"{value:.4f} USD")


def count(amount: int, noun: str) -> str:
    """Return a number with its noun: `1 run`, `2 runs`, `1,000 runs`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def listed(items: Iterable[object], last: str = "and") -> str:
    """Return items as a list in a sentence: `a`, `a and b`, `a, b and c`."""
    *rest, end = [str(item) for item in items] or [""]
    return f"{', '.join(rest)} {last} {end}" if rest else end


def plan_text(plan: TeamPlan) -> str:
    """Return a plan in words that a narrow column can break: `formation parallel, timeout 30s`."""
    return plan.describe().replace("=", " ")


def who(made: Change) -> str:
    """Return who made a change: `by itself`, `by a person`, or by whom, where a name is known."""
    if made.by is not None:
        return f"by {made.by}"
    return "by itself" if made.actor == "auto" else f"by a {made.actor}"


def state_text(name: str) -> str:
    """Return a state of an experiment, or an action of the history, in words: `on probation`."""
    return _STATES.get(name, name.replace("_", " "))


def action_text(made: Change) -> str:
    """Return what happened in a line of the history, in words: a plan that a person applied is not called promoted."""
    by_hand = made.action == "promoted" and made.actor == "person" and made.by is None
    return "applied" if by_hand else state_text(made.action)


def when(at: float | None) -> str:
    """Return Unix seconds as local date and time, to the minute."""
    from datetime import datetime

    try:
        return DASH if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return DASH  # beyond the calendar; an imported history may hold anything


def _hundredths(share: float) -> str:
    """Return a hundred times a share as it is shown: one decimal below 10 unless it is zero."""
    shown = f"{100 * share:.1f}"
    if abs(float(shown)) >= 10:
        shown = f"{100 * share:.0f}"
    return _minus(shown.removesuffix(".0"))


def _minus(shown: str) -> str:
    """Return a formatted number with the minus sign of print, and none at a zero."""
    if shown.startswith("-") and not any(digit in shown for digit in "123456789"):
        shown = shown[1:]
    return shown.replace("-", _MINUS)


def _with_sign(shown: str) -> str:
    return f"+{shown}" if any(digit in shown for digit in "123456789") and not shown.startswith(_MINUS) else shown
