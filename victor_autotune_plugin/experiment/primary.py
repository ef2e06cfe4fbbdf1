"""The metric a test decides on: its value of a run, its statistic, its effect with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from attrs import frozen

from .._model.run import TREATMENT, Observation
from .twosample import RankSum, SumStatistic

TIMED_OUT: Final = 1e6
"""Log duration of a run that a deadline ended: slower than any other, equal to its like."""

_FLOORS: Final = {"duration": 1e-6, "cost": 1e-9, "tool_calls": 0.5}


@frozen
class Effect:
    """Relative change of the metric from control to treatment: -0.2 is 20 % less. NaN where nothing is known.

    Attributes:
        estimate: Hodges-Lehmann ratio minus 1; for the score the difference of the means over the control's mean.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    estimate: float
    low: float
    high: float


class Primary(Protocol):
    """What a test needs of its metric."""

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""

    @property
    def normal(self) -> float:
        """The evidence as a normal score, for forecasts; `z` itself where that is one."""

    def effect(self, better: float, worse: float) -> Effect:
        """Return the effect; the interval holds what is rejected neither at z = `better` nor at z = -`worse`."""

    def improvement(self) -> float:
        """Return the estimated relative improvement, positive when better."""


def log_value(metric: str, run: Observation) -> float | None:
    """Return a run's value for ranks, less being better; None without a price.

    The natural logarithm of duration, cost or tool calls (floored above 0); for the score its negative.
    """
    if metric == "score":
        return -run.score
    if metric == "duration":
        return TIMED_OUT if run.timed_out else math.log(max(run.duration_seconds, _FLOORS["duration"]))
    if metric == "cost":
        return None if run.cost_usd is None else math.log(max(run.cost_usd, _FLOORS["cost"]))
    return math.log(run.tool_calls + _FLOORS["tool_calls"])


def adjusted_value(metric: str, run: Observation, task_effects: Mapping[str, float]) -> float | None:
    """Return `log_value` without the log effect of the run's task; a run that timed out stays the slowest."""
    value = log_value(metric, run)
    if value is None or value == TIMED_OUT or run.task_key is None:
        return value
    return value - task_effects.get(run.task_key, 0.0)


class RankPrimary:
    """Duration, cost or tool calls, by ranks of the logarithms.

    Args:
        metric: `duration`, `cost` or `tool_calls`.
        task_effects: Log effect of each task key, from runs before the test; taken off the values. The test stays
            exact whatever they are, since the arms don't depend on them.
    """

    def __init__(self, metric: str, task_effects: Mapping[str, float] | None = None) -> None:
        self._metric = metric
        self._task_effects = task_effects or {}
        self._ranks = RankSum()

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        value = adjusted_value(self._metric, observation, self._task_effects)
        if value is None:
            return False
        self._ranks.add(value, treatment=observation.arm == TREATMENT)
        return True

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""
        return self._ranks.z

    normal = z

    def effect(self, better: float, worse: float) -> Effect:
        """Return the Hodges-Lehmann ratio with the interval that inverts the rank test."""
        ranks = self._ranks
        if not ranks.control or not ranks.treatment:
            return Effect(math.nan, math.nan, math.nan)
        half, deviation = len(ranks.control) * len(ranks.treatment) / 2, ranks.deviation
        high = math.ceil(half + better * deviation - 1e-9) if math.isfinite(better) else math.inf
        low = math.ceil(half + worse * deviation - 1e-9) if math.isfinite(worse) else math.inf
        shifts = shift_quantiles(ranks.control, ranks.treatment, low, high)
        return Effect(*(relative_change(shift) for shift in shifts))

    def improvement(self) -> float:
        """Return 1 minus the Hodges-Lehmann ratio."""
        return -self.effect(math.inf, math.inf).estimate


class ScorePrimary:
    """The graded score, by its mean."""

    def __init__(self) -> None:
        self._sums = SumStatistic()

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        self._sums.add(observation.score, treatment=observation.arm == TREATMENT)
        return True

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""
        return self._sums.z

    normal = z

    def effect(self, better: float, worse: float) -> Effect:
        """Return the relative change of the mean, with the interval of the standardised difference."""
        sums = self._sums
        base = sums.mean_control
        if not sums.n_treatment or not base > 0:
            return Effect(math.nan, math.nan, math.nan)
        change, deviation = sums.mean_treatment - base, sums.deviation
        low = change - better * deviation if math.isfinite(better) else -math.inf
        high = change + worse * deviation if math.isfinite(worse) else math.inf
        return Effect(change / base, max(low / base, -1.0), high / base)

    def improvement(self) -> float:
        """Return the relative rise of the mean."""
        return self.effect(math.inf, math.inf).estimate


def shift_quantiles(
    control: Sequence[float], treatment: Sequence[float], low: float, high: float
) -> tuple[float, float, float]:
    """Return the Hodges-Lehmann shift from control to treatment and the ends of its interval.

    Args:
        control: Values, shape (m,).
        treatment: Values, shape (n,).
        low: The lower end is the difference with this rank from above, of all m n.
        high: The upper end is the difference with this rank from below.

    Returns:
        Median of all differences treatment - control, lower and upper end; infinite where a rank exceeds m n.
        (Hodges and Lehmann 1963; Lehmann 1975, section 2.5.)
    """
    import numpy as np

    differences = np.subtract.outer(np.asarray(treatment), np.asarray(control)).ravel()
    size = differences.size
    middle = ((size - 1) // 2, size // 2)
    kth = [*middle]
    if low <= size:
        kth.append(size - max(int(low), 1))
    if high <= size:
        kth.append(max(int(high), 1) - 1)
    differences.partition(sorted(set(kth)))
    estimate = 0.5 * (float(differences[middle[0]]) + float(differences[middle[1]]))
    return (
        estimate,
        float(differences[size - max(int(low), 1)]) if low <= size else -math.inf,
        float(differences[max(int(high), 1) - 1]) if high <= size else math.inf,
    )


def relative_change(shift: float) -> float:
    """Return the relative change that belongs to a shift of logs; a shift into or out of timeouts is unbounded."""
    if shift > 100:
        return math.inf
    return math.expm1(shift)


def task_effects(metric: str, runs: Sequence[Observation]) -> dict[str, float]:
    """Estimate the log effect of each task key from earlier runs, for `RankPrimary`.

    Means of the keys are shrunk towards the mean of all by the one-way random-effects variances (Robinson 1991), so
    a key that was seen once counts less than one that was seen often.

    Args:
        metric: `duration`, `cost` or `tool_calls`.
        runs: Earlier runs; those without a key, without a price, or timed out are left out.

    Returns:
        Effect by key; empty when there are fewer than two keys.
    """
    values: dict[str, list[float]] = {}
    for run in runs:
        value = log_value(metric, run)
        if run.task_key is not None and value is not None and value != TIMED_OUT:
            values.setdefault(run.task_key, []).append(value)
    total = sum(map(len, values.values()))
    if len(values) < 2:
        return {}
    grand = math.fsum(x for xs in values.values() for x in xs) / total
    means = {key: math.fsum(xs) / len(xs) for key, xs in values.items()}
    within = math.fsum((x - means[key]) ** 2 for key, xs in values.items() for x in xs)
    between = math.fsum(len(xs) * (means[key] - grand) ** 2 for key, xs in values.items())
    size = (total - sum(len(xs) ** 2 for xs in values.values()) / total) / (len(values) - 1)
    if total > len(values) and between > 0:
        error = within / (total - len(values))
        spread = max((between / (len(values) - 1) - error) / size, 0.0)
        prior = error / spread if spread else math.inf
    else:
        prior = 1.0
    return {key: (means[key] - grand) * len(xs) / (len(xs) + prior) for key, xs in values.items()}
