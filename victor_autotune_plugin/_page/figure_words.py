"""What a plan brought, and what was saved, in words that all screens share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from .._model.experiment import TESTED
from .._model.text import DASH, count, interval, percent, points, seconds, usd, when
from .outcome import RELATIVE, PlanOutcome, WasNow

if TYPE_CHECKING:
    from .ledger import PromotionSavings, Saved

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

_UNITS: Final[Mapping[str, str]] = {"tokens": " tokens", "score": " of score a run"}

SURE: Final = 0.99
"""How sure it may be said to be at most: nothing is certain."""

_ANYTHING: Final = 0.999
"""A relative change from here on, either way, in an interval that holds no change too, is no knowledge."""


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
    if not is_known(figure):
        return "too few runs to tell how much"
    if low is not None and low == high:
        return "no change"
    if figure.name not in RELATIVE:
        signed = [DASH if end is None else points(end) for end in (low, high)]
        return f"{signed[0].removesuffix(' points').removesuffix(' point')} to {signed[1]}"
    if high is not None and high < 0:
        most = low is None or -low >= _ANYTHING
        return f"at least {percent(-high)} less" if most else f"{percent(-high)} to {percent(-(low or 0))} less"
    if low is not None and low > 0:
        return f"at least {percent(low)} more" if high is None else f"{percent(low)} to {percent(high)} more"
    return interval(low, high)


def is_clear(figure: WasNow) -> bool:
    """Return whether a figure surely changed: its interval holds no 0."""
    low, high = figure.low, figure.high
    return figure.change is not None and ((low is not None and low > 0) or (high is not None and high < 0))


def is_known(figure: WasNow) -> bool:
    """Return whether the runs say how much a figure changed: the interval of very few may hold anything."""
    if figure.change is None or is_clear(figure):
        return figure.change is not None
    return figure.low is not None and figure.high is not None and max(-figure.low, figure.high) < _ANYTHING


def sure_text(figure: WasNow) -> str | None:
    """Return how sure it is that the new plan is better, or worse; None where that is not known.

    `>99 % sure`, `97 % sure`, `worse: 97 % sure`, and `no clear change` as long as the interval holds none.
    """
    chance, low, high = figure.chance_better, figure.low, figure.high
    if chance is None or low == high or not is_known(figure):
        return None
    if not is_clear(figure):
        return "no clear change"
    known = max(chance, 1 - chance)
    shown = f">{percent(SURE)}" if known > SURE else percent(round(known, 2))
    return f"{shown} sure" if chance > 0.5 else f"worse: {shown} sure"


def figure_text(figure: WasNow) -> str:
    """Return all of it in a line: `time 42.0 s → 19.2 s (46 % to 61 % less, >99 % sure)`."""
    told = [change_text(figure), sure_text(figure)]
    return f"{FIGURE_TITLES[figure.name]} {was_now(figure)} ({', '.join(part for part in told if part is not None)})"


def outcome_lines(outcome: PlanOutcome) -> list[str]:
    """Return what a plan brought line by line: each figure that clearly changed, the others together, and the runs.

    The test's own figure has a line in any case.
    """
    figures = shown_figures(outcome)
    lines = [figure_text(one) for number, one in enumerate(figures) if not number or is_clear(one)]
    unclear: dict[str, list[str]] = {}
    for one in figures[1:]:
        if not is_clear(one):
            same = one.change == 0 and one.low == one.high
            said = "no change" if same else "no clear change" if is_known(one) else "too few runs to tell"
            ends = {"no change": f" {_SHOWN[one.name](one.now)}", "no clear change": f" {change_text(one)}"}.get(
                said, ""
            )
            unclear.setdefault(said, []).append(f"{FIGURE_TITLES[one.name]}{ends}")
    return [*lines, *(f"{said}: {', '.join(told)}" for said, told in unclear.items()), basis_text(outcome)]


def shown_figures(outcome: PlanOutcome) -> tuple[WasNow, ...]:
    """Return the figures that are worth a line, the test's own first: success only where it is another than before."""
    first = outcome.metric
    chosen = (one for one in outcome.figures if one.name in (first, *RELATIVE, "score") or one.was != one.now)
    return tuple(sorted(chosen, key=lambda one: one.name != first))


def basis_text(outcome: PlanOutcome) -> str:
    """Return which runs an outcome is from, or why there are none.

    `from 8 + 392 runs since it went live`, `from the test of 2026-11-02, 33 + 58 runs`, `from its test so far, 10 + 6
    runs`: those of the plan before come first.
    """
    runs, since = outcome.runs, outcome.not_measured_since
    if outcome.basis is None:
        if since is not None:
            return f"not measured since {when(since)}: no run has the plan before"
        if outcome.status in TESTED:
            return "not measured yet: its test has too few runs"
        return "not measured yet: too few runs have the plan before"
    counted = f"{runs['control']:,} + {runs['treatment']:,} runs"
    if outcome.basis == "since_promotion":
        said = f"from {counted} since it went live"
    elif outcome.status in TESTED:
        return f"from its test so far, {counted}"
    else:
        said = f"from the test of {when(outcome.last_at)[:10]}, {counted}"
    if since is not None:
        return f"{said}; not measured since {when(since)}"
    return said


def saved_amount(saved: Saved, *, lost: bool = False) -> str:
    """Return what was saved in a sentence: `5 h 18 min`, `0.5000 USD`, `1,200 tokens`, `5 points of score a run`.

    Args:
        lost: Whether it is what was lost, which has no minus sign then.
    """
    value = _amount(saved.kind, -saved.value if lost else saved.value, saved.runs)
    return f"{value.lstrip('+')}{_UNITS.get(saved.kind, '')}"


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
    if not savings.saved:
        before = savings.runs_before
        return f"too few runs to compare with: {count(before, 'run')} of the plan before"
    return None
