"""Bets on the signs of pairs' differences.

The two runs of a pair got their arms from one coin (`assign`), so without an effect the sign of the
difference of their values is a fair coin, whatever the differences' sizes are, and however both arms drift together.
Betting on the signs makes wealth that is a martingale then: with a score `w >= 0` of each pair, made from what was seen
before and from the size of the difference alone, `exp(b w sign) / cosh(b w)` has the mean 1 for every stake `b`. The
mean of the wealth over a grid of stakes exceeds `1 / alpha` ever, at any look, with probability alpha at most
(Ville 1939; Ramdas, Gruenwald, Vovk and Shafer, *Game-theoretic statistics and safe anytime-valid inference*, 2023;
for symmetric differences de la Pena 1999).
"""

from __future__ import annotations

import math
from typing import Final

STAKES: Final = (0.08, 0.13, 0.2, 0.3, 0.45, 0.7, 1.0)
"""Stakes of the mixture, equally weighted: the effects that each is best for, in standard deviations of a pair."""

LARGEST: Final = 3.0
"""Score of `e_logs` at which a pair's difference is cut off."""

_LOG_2: Final = math.log(2)


class Wealth:
    """Wealth of the bets on two directions, as natural logarithms, growing pair by pair.

    Args:
        stakes: Stakes of the mixture.
    """

    def __init__(self, stakes: tuple[float, ...] = STAKES) -> None:
        self._sum = 0.0
        self._stakes = stakes
        self._costs = [0.0] * len(stakes)
        self.squares = 0.0

    def add(self, score: float) -> None:
        """Settle the bets of one pair.

        Args:
            score: Its score with the sign of the difference: positive when the treatment is better.
        """
        self._sum += score
        self.squares += score * score
        size = abs(score)
        for k, stake in enumerate(self._stakes):
            x = stake * size
            self._costs[k] += x + math.log1p(math.exp(-2 * x)) - _LOG_2  # ln cosh x

    @property
    def sum(self) -> float:
        """Sum of the scores."""
        return self._sum

    def log_e(self, direction: int = 1) -> float:
        """Return the logarithm of the e-value that the treatment is better (`1`) or worse (`-1`)."""
        total = direction * self._sum
        logs = [stake * total - cost for stake, cost in zip(self._stakes, self._costs, strict=True)]
        top = max(logs)
        return top + math.log(math.fsum(math.exp(value - top) for value in logs) / len(logs))
