"""What scorers may spend in a day, all processes together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from .. import failsafe
from ..errors import AutotuneError

if TYPE_CHECKING:
    from .._model.score import Score

_DAY: Final = 86_400.0


class CostCapError(AutotuneError):
    """Scorers have spent what they may in a day."""


class ScoreBudget:
    """What scorers have cost today, all processes together.

    Args:
        spent: Gives what scorers have cost by the store since a Unix time, in US dollars, or None where it can't be
            asked.
    """

    def __init__(self, spent: Callable[[float], float | None]) -> None:
        self._by_store = spent
        self._known = (0.0, 0.0)
        self._own: list[tuple[Score, Callable[[], bool]]] = []
        self._last: dict[str, float] = {}
        self._said: float | None = None

    @staticmethod
    def day(now: float) -> float:
        """Return when the day began, UTC; both are Unix times in seconds."""
        return now - now % _DAY

    def pay(self, score: Score, is_written: Callable[[], bool]) -> None:
        """Note what a score cost, and how to find out whether the store knows of it."""
        self._last[score.name] = score.cost_usd or 0.0
        self._own.append((score, is_written))

    def has_paid(self, name: str) -> bool:
        """Return whether a scorer has cost something in this process."""
        return name in self._last

    def spent(self, day: float, under_way: Iterable[str]) -> float:
        """Return what was spent since a day began, and what scorers at work now will probably cost, in US dollars."""
        self._own = [(score, is_written) for score, is_written in self._own if score.at >= day]
        own = tuple(self._own)
        unwritten = sum(score.cost_usd or 0.0 for score, is_written in own if not is_written())
        by_store = self._by_store(day)  # after that, so that what is written meanwhile counts twice and not never
        if by_store is not None:
            self._known = day, by_store
        known = self._known[1] if self._known[0] == day else 0.0
        least = sum(score.cost_usd or 0.0 for score, _ in own)  # also while the store is away, and knows of none
        return max(known + unwritten, least) + sum(self._last.get(name, 0.0) for name in under_way)

    def say(self, day: float, cap: float) -> bool:
        """Tell that nothing more is spent today, once a day; return whether this is the time."""
        if self._said == day:
            return False
        self._said = day
        text = (
            f"scorers have spent the {cap:g} USD that they may in a day; those that cost give no opinion until 0:00 UTC"
        )
        failsafe.report(
            "scorers' cost", CostCapError(text, hint="quality.max_cost_usd_per_day sets how much they may.")
        )
        return True
