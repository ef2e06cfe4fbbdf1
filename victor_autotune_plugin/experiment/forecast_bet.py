"""A bet on the gain that is expected of a treatment, as a second way to prove an improvement.

The arms of a block came from one draw of `assign`, so without an effect every order of them was as likely, whatever the
values are. Of a pair that is a coin on the sign of the difference `d`, and `exp(b d) / cosh(b d)` has the mean 1 for
every stake `b` that was fixed before; of a longer block it is `exp(b sum)` over its mean over all orders. Their product
is wealth that is a martingale, and exceeds `1 / alpha` ever, at any look, with probability alpha at most (Ville,
*Etude critique de la notion de collectif*, 1939; Howard, Ramdas, McAuliffe and Sekhon, *Time-uniform, nonparametric,
nonasymptotic confidence sequences*, 2021; of treatments that are drawn, arXiv 2311.05794). Wealth grows fastest at the
stake of the true gain over the variance (Kelly 1956). A wrong forecast, or a wrong variance, costs runs and nothing
else.
"""

from __future__ import annotations

import math
from itertools import combinations
from statistics import median
from typing import Final

from .._model.policy import BET_SHARE, Policy
from .blocks import UNKNOWN_SIZE, Block
from .boundaries import NORMAL
from .task_levels import Levels

STAKES: Final = (1.0, 1.4)
"""Stakes of the mixture, equally weighted, as multiples of the forecast: the higher one ends sooner where it goes
well."""

USUAL_SPREAD: Final = 1.0
"""Spread of a pair's difference that is assumed before the first pairs ..."""

USUAL_PAIRS: Final = 6
"""... with the weight of so many of them."""

LARGEST: Final = 4.0
"""Standard deviations of a pair at which a difference is cut off."""

OUTLYING: Final = 2.5
"""Robust standard deviations at which a difference is cut off where the spread is measured."""

MIDDLE: Final = NORMAL.inv_cdf(0.75)
"""Median size of a standard normal value: the usual size of a difference that is not known."""

HALF_WAY: Final = 0.5
"""A test is not given up while the logarithm of the wealth is beyond this share of its goal."""


def goal_of(policy: Policy) -> float:
    """Return the logarithm of the wealth with which a bet proves a gain."""
    return -math.log(policy.alpha * BET_SHARE)


class ForecastBet:
    """Wealth of the bets on a gain, growing block by block.

    Args:
        policy: Rules of a test that `has_bet`.
        levels: What is known of the tasks, which is taken off where the runs of a block are of different ones.
    """

    def __init__(self, policy: Policy, levels: Levels) -> None:
        self._gains = tuple(stake * (policy.forecast or 0.0) for stake in STAKES)
        self.goal = goal_of(policy)
        self._levels = levels
        self._open: dict[Block, list[tuple[float, bool, str]]] = {}
        self._logs = [0.0] * len(STAKES)
        self._gaps: list[float] = []
        self._within: list[float] = []
        self._variance = USUAL_SPREAD * USUAL_SPREAD
        self._settled = 0.0

    def add(self, block: Block, length: int, value: float, *, treatment: bool, task: str = "") -> None:
        """Add a run's value; the bet on its block is settled with the last of its runs.

        A block that lost a run is never settled.

        Args:
            block: Its block.
            length: How many runs that has.
            value: Its value, less being better.
            treatment: Whether its arm is the treatment.
            task: Its task; empty for none.
        """
        runs = self._open.setdefault(block, [])
        runs.append((value, treatment, task))
        if len(runs) == length:
            del self._open[block]
            self._settle(self._without_levels(runs), [treated for _, treated, _ in runs])

    @property
    def log_wealth(self) -> float:
        """Natural logarithm of the mean wealth of all stakes."""
        top = max(self._logs)
        return top + math.log(math.fsum(math.exp(value - top) for value in self._logs) / len(self._logs))

    @property
    def is_near(self) -> bool:
        """Whether the wealth is so near its goal that a test is not given up."""
        return self.log_wealth >= HALF_WAY * self.goal

    def height(self, z: float) -> float:
        """Return the evidence with which the wealth would be at its goal, given that it is `z` now; infinite at first.

        It is at most `z` exactly when the wealth is at its goal.
        """
        if not self._settled:
            return math.inf
        best = self._gains[self._logs.index(max(self._logs))]
        slope = best * math.sqrt(self._settled / self._variance)
        return z + (self.goal - self.log_wealth) / slope

    def pairs_needed(self) -> int | None:
        """Return the further pairs until the goal is expected, if the wealth grows on as it did; None if it fell."""
        wealth = self.log_wealth
        return math.ceil((self.goal - wealth) * self._settled / wealth) if wealth > 0 else None

    def _without_levels(self, runs: list[tuple[float, bool, str]]) -> list[float]:
        if not self._levels.come_again or len({task for _, _, task in runs}) < 2:
            return [value for value, _, _ in runs]
        effects = self._levels.effects()
        return [value - effects.get(task, 0.0) for value, _, task in runs]

    def _settle(self, values: list[float], arms: list[bool]) -> None:
        treated = sum(arms)
        if not 0 < treated < len(arms):
            return
        if len(arms) == 2:
            gap = values[arms.index(False)] - values[arms.index(True)]
            self._settle_pair(gap)
            self._gaps += [gap] if abs(gap) < UNKNOWN_SIZE else []
        else:
            self._settle_block(values, arms)
            for arm in (False, True):
                side = [value for value, own in zip(values, arms, strict=True) if own is arm and value < UNKNOWN_SIZE]
                self._within += [one - other for one, other in zip(side[::2], side[1::2], strict=False)]
        self._settled += 2 * treated * (len(arms) - treated) / len(arms)
        self._variance = self._measured()

    def _settle_pair(self, gap: float) -> None:
        size = self._size(abs(gap), math.sqrt(self._variance))
        for k, gain in enumerate(self._gains):
            x = gain * size / self._variance
            cost = x + math.log1p(math.exp(-2 * x)) - math.log(2)  # ln cosh x
            self._logs[k] += math.copysign(x, gap) - cost

    def _settle_block(self, values: list[float], arms: list[bool]) -> None:
        middle, deviation = median(values), math.sqrt(self._variance / 2)
        better = [math.copysign(self._size(abs(middle - value), deviation), middle - value) for value in values]
        found = math.fsum(value for value, arm in zip(better, arms, strict=True) if arm)
        sums = [math.fsum(chosen) for chosen in combinations(better, sum(arms))]
        for k, gain in enumerate(self._gains):
            stake = 2 * gain / self._variance
            top = max(sums)
            mean = math.fsum(math.exp(stake * (one - top)) for one in sums) / len(sums)
            self._logs[k] += stake * (found - top) - math.log(mean)

    @staticmethod
    def _size(size: float, deviation: float) -> float:
        """Return the size that a difference counts with: the usual one where a run timed out."""
        return deviation * MIDDLE if size > UNKNOWN_SIZE else min(size, LARGEST * deviation)

    def _measured(self) -> float:
        """Return the variance of a pair's difference, joined with a usual one."""
        away = list(self._within)
        if self._gaps:
            middle = median(self._gaps)
            away += [gap - middle for gap in self._gaps]
        limit = OUTLYING / MIDDLE * median(map(abs, away)) if away else 0.0
        squares = math.fsum(min(abs(one), limit or math.inf) ** 2 for one in away)
        freedom = len(self._within) + max(len(self._gaps) - 1, 0)
        return (USUAL_PAIRS * USUAL_SPREAD * USUAL_SPREAD + squares) / (USUAL_PAIRS + freedom)
