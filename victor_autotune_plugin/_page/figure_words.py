"""What a plan brought, and what was saved, in words that all screens share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from .._model.text import DASH, change, percent, points, seconds, usd, when
from .ledger import KINDS, PromotionSavings, Saved
from .outcome import RELATIVE, PlanOutcome, WasNow

FIGURE_TITLES: Final[Mapping[str, str]] = {
    "duration": "time",
    "cost": "cost",
    "tokens": "tokens",
    "score": "score",
    "success": "success",
}
"""Names of the figures of a plan for people."""

KIND_TITLES: Final[Mapping[str, str]] = {"seconds": "time", "usd": "money", "tokens": "tokens", "score": "score"}
"""Names of what is saved for people."""

SURE: Final = 0.99
"""How sure it may be said to be at most: nothing is certain."""


def tokens_text(value: float | None) -> str:
    """Return a number of tokens: `12,300`."""
    return DASH if value is None else f"{round(value):,}".replace("-", "−")


_SHOWN: Final[Mapping[str, Callable[[float | None], str]]] = {
    "duration": seconds,
    "cost": usd,
    "tokens": tokens_text,
    "score": lambda value: DASH if value is None else f"{value:.2f}",
    "success": percent,
}


def shown_figure(name: str) -> Callable[[float | None], str]:
    """Return what writes one of `FIGURES` for people."""
    return _SHOWN[name]


def was_now(figure: WasNow) -> str:
    """Return a figure of the plan before and of the new one: `42.0 s → 19.2 s`."""
    was, now = map(_SHOWN[figure.name], (figure.was, figure.now))
    return f"{was.removesuffix(' USD')} → {now}"


def change_text(figure: WasNow) -> str:
    """Return how much a figure changed, with its interval: `46 % to 61 % less`, `−5 % to +12 %`."""
    low, high = figure.low, figure.high
    if figure.change is None:
        return "too few runs to tell how much"
    if low is not None and low == high:
        return "no change"
    if figure.name not in RELATIVE:
        signed = [DASH if end is None else points(end) for end in (low, high)]
        return f"{signed[0].removesuffix(' points').removesuffix(' point')} to {signed[1]}"
    if low is not None and high is not None and high < 0:
        return f"{percent(-high)} to {percent(-low)} less"
    if low is not None and high is not None and low > 0:
        return f"{percent(low)} to {percent(high)} more"
    return f"{'unbounded' if low is None else change(low)} to {'unbounded' if high is None else change(high)}"


def sure_text(figure: WasNow) -> str | None:
    """Return how sure it is that the new plan is better, or worse; None where that is not known.

    `>99 % sure`, `97 % sure`, `worse: 97 % sure`, and `not sure` as long as the interval holds no change.
    """
    chance, low, high = figure.chance_better, figure.low, figure.high
    if chance is None or low == high:
        return None
    if (low is None or low <= 0) and (high is None or high >= 0):
        return "not sure"
    known = max(chance, 1 - chance)
    shown = f">{percent(SURE)}" if known > SURE else percent(round(known, 2))
    return f"{shown} sure" if chance > 0.5 else f"worse: {shown} sure"


def figure_text(figure: WasNow) -> str:
    """Return all of it in a line: `time 42.0 s → 19.2 s (46 % to 61 % less, > 99 % sure)`."""
    told = [change_text(figure), sure_text(figure)]
    return f"{FIGURE_TITLES[figure.name]} {was_now(figure)} ({', '.join(part for part in told if part is not None)})"


def outcome_lines(outcome: PlanOutcome) -> list[str]:
    """Return what a plan brought line by line: each figure that changed, the others together, and from which runs."""
    figures = shown_figures(outcome)
    same = [one for one in figures if one.change == 0 and one.low == one.high]
    lines = [figure_text(one) for one in figures if one not in same]
    told = ", ".join(f"{FIGURE_TITLES[one.name]} {_SHOWN[one.name](one.now)}" for one in same)
    return [*lines, *([f"no change: {told}"] if same else []), basis_text(outcome)]


def shown_figures(outcome: PlanOutcome) -> tuple[WasNow, ...]:
    """Return the figures that are worth a line: success only where it is another than before."""
    return tuple(one for one in outcome.figures if one.name != "success" or one.was != one.now)


def basis_text(outcome: PlanOutcome) -> str:
    """Return which runs an outcome is from: `from 31 + 280 runs since 2026-11-02 10:15`; why there are none else."""
    runs = outcome.runs
    if outcome.basis is None:
        if outcome.not_measured_since is not None:
            return f"not measured since {when(outcome.not_measured_since)}: no run has the plan before"
        return "not measured yet: too few runs have the plan before"
    counted = f"{runs['control']:,} + {runs['treatment']:,} runs"
    said = f"from {counted} since it went live" if outcome.basis == "since_promotion" else f"from {counted} of its test"
    if outcome.not_measured_since is not None:
        return f"{said}; not measured since {when(outcome.not_measured_since)}"
    return said


def saved_text(saved: Saved | None) -> str:
    """Return what was saved with its interval: `2 h 10 min (1 h 40 min to 2 h 40 min)`; a dash where nothing is known.

    What was lost has a minus sign; of the score it is the mean change of a run.
    """
    if saved is None:
        return DASH
    value, low, high = amounts(saved)
    return value if value == low == high else f"{value} ({low} to {high})"


def amounts(saved: Saved) -> tuple[str, str, str]:
    """Return what was saved, and the ends of its interval, as text."""
    value, low, high = (_amount(saved.kind, end, saved.runs) for end in (saved.value, saved.low, saved.high))
    return value, low, high


def _amount(kind: str, value: float, runs: int) -> str:
    if kind == "score":
        return points(value / runs)
    return {"seconds": seconds, "usd": usd, "tokens": tokens_text}[kind](value)


def not_saved_text(savings: PromotionSavings) -> str | None:
    """Return why nothing, or nothing any more, is known of what a promotion saved; None where it is."""
    if savings.not_measured_since is not None:
        return f"not measured since {when(savings.not_measured_since)}"
    if not any(kind in savings.saved for kind in KINDS):
        return f"too few runs of the plan before yet: {savings.runs_before}"
    return None
