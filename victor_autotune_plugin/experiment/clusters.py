"""Statistics of a test whose tasks keep their arm: tasks are what was randomised, so tasks are compared.

A cluster is a sticky task with all its runs, or a run without a task. Its value is the mean of its runs so far; which
arm it has was a fair coin, whatever its runs have in common (Donner and Klar, *Design and Analysis of Cluster
Randomization Trials in Health Research*, 2000). Information is counted in runs: where clusters differ, that is too
much, and a boundary over it is crossed less often than it may be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import define, field

from .._model.assignment import CLUSTER_STREAM
from .._model.run import TREATMENT, Observation
from .blocks import PAIRS_INFORMATION, Block, BlockMeans, aligned_z, normalised, sum_moments
from .primary import Effect, adjusted_value, relative_change, shift_quantiles


def cluster_of(run: Observation) -> Block:
    """Return the cluster of a run."""
    return run.stream if run.stream.startswith(CLUSTER_STREAM) else (run.stream, run.index)


@define
class ClusterMeans(BlockMeans):
    """Means of treatment and control over clusters, each of which counts once; a block's name is a cluster's."""

    _clusters: dict[Block, list[float]] = field(factory=dict)
    _arms: list[bool] = field(factory=list)

    def add(self, block: Block, value: float, *, treatment: bool) -> bool:
        """Add a run's value; return whether both arms have a run."""
        known = self._clusters.get(block)
        if known is None:
            known = self._clusters[block] = [0.0, 0.0]
            self._arms.append(treatment)
        known[0] += 1
        known[1] += value
        count, total = self.treatment if treatment else self.control
        if treatment:
            self.treatment = count + 1, total + value
        else:
            self.control = count + 1, total + value
        return bool(self.control[0] and self.treatment[0])

    @property
    def clusters(self) -> tuple[list[float], list[bool]]:
        """The mean of each cluster, and whether its arm is the treatment."""
        return [total / count for count, total in self._clusters.values()], self._arms

    def sides(self) -> tuple[list[float], list[float]]:
        """Return the clusters' means of control and treatment."""
        values, arms = self.clusters
        control, treatment = ([v for v, arm in zip(values, arms, strict=True) if arm is side] for side in (False, True))
        return control, treatment

    @property
    def information(self) -> float:
        """Information of all runs, in pairs."""
        m, n = self.control[0], self.treatment[0]
        return PAIRS_INFORMATION * m * n / (m + n) if m and n else 0.0

    @property
    def unpaired(self) -> int:
        """Runs that can't be compared with any."""
        return 0 if self.control[0] and self.treatment[0] else self.control[0] + self.treatment[0]

    @property
    def z(self) -> float:
        """Standardised difference under permutation of the clusters, positive when the treatment's are larger."""
        values, arms = self.clusters
        if len({*arms}) < 2:
            return 0.0
        mean = math.fsum(values) / len(values)
        total, variance, third = sum_moments([value - mean for value in values], arms)
        return normalised(total, variance, third, 0.0) if variance > 1e-12 * math.fsum(v * v for v in values) else 0.0

    @property
    def difference(self) -> float:
        """Mean difference, treatment minus control; NaN without one."""
        control, treatment = self.sides()
        if not control or not treatment:
            return math.nan
        return math.fsum(treatment) / len(treatment) - math.fsum(control) / len(control)

    def margin(self, ratio: float, more: float, *, prior: float = 0.0) -> tuple[float, float, int]:
        """Return the mean of `ratio * control + more - treatment`, its standard error, and its degrees of freedom + 1.

        Arguments are those of `below`. The variance is that of two samples of clusters (Welch 1947).
        """
        sides = self.sides()
        if min(map(len, sides)) < 2:
            return math.nan, math.nan, 0
        means = [math.fsum(side) / len(side) for side in sides]
        errors = [
            (math.fsum((v - mean) ** 2 for v in side) + prior * prior / 2) / (len(side) - 1) / len(side)
            for side, mean in zip(sides, means, strict=True)
        ]
        error = math.sqrt(ratio * ratio * errors[0] + errors[1])
        return ratio * means[0] + more - means[1], error, 2 * min(map(len, sides)) - 1


class ClusterPrimary:
    """Duration, cost or tool calls of sticky tasks, by the ranks of the clusters' mean logs; as `SignedRankPrimary`.

    Args:
        metric: `duration`, `cost` or `tool_calls`.
        task_effects: Log effect of each task key, from runs before the test; taken off the values.
    """

    def __init__(self, metric: str, task_effects: Mapping[str, float] | None = None) -> None:
        self._metric = metric
        self._task_effects = task_effects or {}
        self._means = ClusterMeans()
        self._z: float | None = None

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        value = adjusted_value(self._metric, observation, self._task_effects)
        if value is None:
            return False
        self._means.add(cluster_of(observation), value, treatment=observation.arm == TREATMENT)
        self._z = None
        return True

    @property
    def information(self) -> float:
        """Information so far, in pairs of runs."""
        return self._means.information

    @property
    def unpaired(self) -> int:
        """Runs that can't be compared with any."""
        return self._means.unpaired

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""
        if self._z is None:
            values, arms = self._means.clusters
            self._z = aligned_z([], [(values, list(arms))]) if len({*arms}) == 2 else 0.0
        return self._z

    @property
    def gain(self) -> float:
        """Raw estimate of the log gain; NaN without any."""
        control, treatment = self._means.sides()
        return -shift_quantiles(control, treatment, math.inf, math.inf)[0] if control and treatment else math.nan

    @property
    def moments(self) -> tuple[float, float, int]:
        """The log gain, its standard error, and the number of blocks that would tell as much of the error."""
        _, error, blocks = self._means.margin(1.0, 0.0)
        return self.gain, error, blocks

    def effect(self, better: float, worse: float) -> Effect:
        """Return the relative change; the interval holds what the evidence does not rule out."""
        gain, error, blocks = self.moments
        if blocks < 2:
            return Effect(math.nan, math.nan, math.nan)
        low = gain - better * error if math.isfinite(better) else -math.inf
        high = gain + worse * error if math.isfinite(worse) else math.inf
        return Effect(*(relative_change(-value) for value in (gain, high, low)))

    def improvement(self) -> float:
        """Return 1 minus the ratio."""
        return -relative_change(-self.gain)
