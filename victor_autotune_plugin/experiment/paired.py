"""The metric a test decides on, analysed as randomised: within pairs, or within blocks where shares are unequal.

Both statistics are those of `blocks`, standard normal without an effect in any world in which the arms were assigned by
`assign`, so the boundaries of `boundaries` hold for them. Their information is the number of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from .._model.assignment import block_of
from .._model.policy import MORE_IS_BETTER, Policy
from .._model.run import TREATMENT, Observation
from .blocks import SCORE_PRIOR, Block, BlockMeans, BlockRanks
from .clusters import ClusterMeans, ClusterPrimary, cluster_of
from .forecast_bet import ForecastBet
from .primary import Effect, adjusted_value, relative_change, work_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def block_of_run(run: Observation) -> Block:
    """Return the block that a run was assigned in."""
    return block_of(run.stream, run.index)[0]


class SignedRankPrimary:
    """Duration, cost or tool calls, by the signed ranks of the pairs' log ratios; growing.

    Args:
        metric: `duration`, `cost` or `tool_calls`.
        task_effects: Log effect of each task key, from runs before the test; taken off the values.
        policy: Rules of the test, by whose forecast a bet is placed; None for no bet.

    Attributes:
        ranks: The statistic.
        bet: The bet on the forecast, or None.
    """

    def __init__(
        self, metric: str, task_effects: Mapping[str, float] | None = None, policy: Policy | None = None
    ) -> None:
        self._metric = metric
        self._task_effects = task_effects or {}
        self.ranks = BlockRanks()
        self.bet = ForecastBet(policy, self.ranks.levels) if policy is not None and policy.has_bet else None
        self._added = 0
        self._gain = 0, math.nan

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        value = adjusted_value(self._metric, observation, self._task_effects)
        if value is None:
            return False
        self._added += 1
        block, length = block_of(observation.stream, observation.index)
        treatment, task = observation.arm == TREATMENT, observation.task_key or ""
        self.ranks.add(block, value, treatment=treatment, wide=length > 2, task=task)
        if self.bet is not None:
            self.bet.add(block, length, value, treatment=treatment, task=task)
        return True

    @property
    def information(self) -> float:
        """Information so far, in pairs."""
        return self.ranks.information

    @property
    def unpaired(self) -> int:
        """Runs that have no partner yet, or lost it."""
        return self.ranks.unpaired

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""
        return self.ranks.z

    @property
    def gain(self) -> float:
        """Raw estimate of the log gain."""
        if self._gain[0] != self._added:
            self._gain = self._added, walsh_quantiles(self.ranks.block_differences(), math.inf, math.inf)[0]
        return self._gain[1]

    def effect(self, better: float, worse: float) -> Effect:
        """Return the median of the Walsh averages, with the interval that inverts the signed-rank test.

        (Hodges and Lehmann 1963; Hollander, Wolfe and Chicken 2014, section 3.3.) A block with several runs of an arm
        takes part by the difference of its medians.
        """
        gains = self.ranks.block_differences()
        if not gains:
            return Effect(math.nan, math.nan, math.nan)
        estimate, least, most = walsh_quantiles(gains, *(uncorrected(height, len(gains)) for height in (better, worse)))
        self._gain = self._added, estimate
        return Effect(*(relative_change(-gain) for gain in (estimate, most, least)))

    def improvement(self) -> float:
        """Return 1 minus the ratio."""
        return -self.effect(math.inf, math.inf).estimate


class PairedMeanPrimary:
    """Score or success, by the mean of the blocks' differences, or of the clusters'.

    Args:
        policy: Rules of the test.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._means = ClusterMeans() if policy.sticky else BlockMeans()
        self._block = cluster_of if policy.sticky else block_of_run

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        is_success = self._policy.metric == "success"
        value = float(observation.success) if is_success else work_of(observation, scored=self._policy.scored)
        if value is None:
            return False
        self._means.add(self._block(observation), value, treatment=observation.arm == TREATMENT)
        return True

    @property
    def information(self) -> float:
        """Information so far, in pairs."""
        return self._means.information

    @property
    def unpaired(self) -> int:
        """Runs that have no partner yet, or lost it."""
        return self._means.unpaired

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""
        return self._means.z

    @property
    def gain(self) -> float:
        """Raw estimate of the rise of the mean."""
        return self._means.difference

    @property
    def moments(self) -> tuple[float, float, float, int]:
        """Control's mean, rise of the mean and its standard error, and the number of blocks."""
        _, error, blocks = self._means.margin(1.0, 0.0, prior=SCORE_PRIOR)
        return self._means.means[0], self._means.difference, error, blocks

    def effect(self, better: float, worse: float) -> Effect:
        """Return the relative change of the mean; the interval holds what the evidence does not rule out."""
        base, change, error, blocks = self.moments
        if blocks < 3 or not base > 0:
            return Effect(math.nan, math.nan, math.nan)
        low = change - better * error if math.isfinite(better) else -math.inf
        high = change + worse * error if math.isfinite(worse) else math.inf
        return Effect(change / base, max(low / base, -1.0), high / base)

    def improvement(self) -> float:
        """Return the relative rise of the mean."""
        return self.effect(math.inf, math.inf).estimate


BlockedPrimary = SignedRankPrimary | ClusterPrimary | PairedMeanPrimary
"""The metric of a test as `Judge` needs it."""


def primary_of(policy: Policy, task_effects: Mapping[str, float]) -> BlockedPrimary:
    """Return the metric of a test; score and success are compared without `task_effects`."""
    if policy.metric in MORE_IS_BETTER:
        return PairedMeanPrimary(policy)
    if policy.sticky:
        return ClusterPrimary(policy.metric, task_effects)
    return SignedRankPrimary(policy.metric, task_effects, policy)


def uncorrected(height: float, pairs: int) -> float:
    """Return the standardised signed-rank sum of so many pairs that `BlockRanks` corrects to a height."""
    if math.isinf(height):
        return height
    squares = pairs * (pairs + 1) * (2 * pairs + 1) / 6
    fourths = squares * (3 * pairs * pairs + 3 * pairs - 1) / 5
    excess = -2 * fourths / (squares * squares)
    x = height
    for _ in range(8):  # Newton's; the correction is small and smooth
        x -= (x - excess * (x**3 - 3 * x) / 24 - height) / (1 - excess * (3 * x * x - 3) / 24)
    return x


@lru_cache(maxsize=4)
def _upper_triangle(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    import numpy as np

    return np.triu_indices(size)


def walsh_quantiles(differences: list[float], low: float, high: float) -> tuple[float, float, float]:
    """Return the median of all Walsh averages and the ends of the interval that inverts the signed-rank test.

    Args:
        differences: Shape (n,); without any the median is NaN.
        low: Normal score at which the lower end is rejected; infinite for no end.
        high: The same for the upper end.
    """
    import numpy as np

    if not differences:
        return math.nan, -math.inf, math.inf
    values = np.array(differences)
    rows, columns = _upper_triangle(values.size)
    averages = (values[rows] + values[columns]) / 2
    size, n = averages.size, values.size
    deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    ranks = [math.ceil(size / 2 + z * deviation - 1e-9) if math.isfinite(z) else size + 1 for z in (low, high)]
    places = [(size - 1) // 2, size // 2]
    if ranks[0] <= size:
        places.append(size - max(ranks[0], 1))
    if ranks[1] <= size:
        places.append(max(ranks[1], 1) - 1)
    averages.partition(sorted(set(places)))
    middle = 0.5 * (float(averages[places[0]]) + float(averages[places[1]]))
    least = float(averages[size - max(ranks[0], 1)]) if ranks[0] <= size else -math.inf
    most = float(averages[max(ranks[1], 1) - 1]) if ranks[1] <= size else math.inf
    return middle, least, most
