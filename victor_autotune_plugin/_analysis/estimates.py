"""The statistics that all detectors share, and the baselines that a team's figures are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from attrs import frozen

from .._model.optimization import Evidence
from ..errors import MetricsError
from .insight_evidence import CappedGain, Estimate
from .quantiles import Z_975, t_975
from .run_table import Codes, Flags, Floats, TeamTable

MIN_TASKS: Final = 8
"""Tasks with several runs from which on a typical task is told from a hard one."""


@frozen
class Contrast:
    """How much higher the mean of one group of runs is than that of another."""

    difference: float
    standard_error: float
    runs: int  # of the smaller group
    within_tasks: bool  # runs of the same task were compared, so that difficulty cancels out

    @property
    def estimate(self) -> Estimate:
        """The difference with its 95 % interval."""
        return Estimate(self.difference, self.low, self.high, self.runs)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.difference - t_975(self.runs - 1) * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.difference + t_975(self.runs - 1) * self.standard_error


def mean_of(values: Floats) -> Estimate:
    """Return the mean with Student's interval; of one value, the interval is the value itself."""
    mean = float(values.mean())
    half = 0.0
    if len(values) > 1:
        half = t_975(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


def share_of(flags: Flags) -> Estimate:
    """Return a share with Wilson's interval (Wilson 1927), which holds for few runs and for shares of 0 and 1."""
    n, share, z = len(flags), float(flags.mean()), Z_975
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), n)


def p95(values: Floats) -> float:
    """Return the 95th percentile, interpolated between ranks (Hyndman and Fan's type 7)."""
    return float(np.quantile(values, 0.95))


def p95_of(values: Floats) -> Estimate:
    """Return the 95th percentile with the interval that ranks give (binomial, normal approximation).

    With few runs the largest value stands for the upper end, which then is too low.
    """
    ranked, n = np.sort(values), len(values)
    half = Z_975 * math.sqrt(n * 0.95 * 0.05)
    low = ranked[max(0, math.floor(0.95 * n - half) - 1)]
    high = ranked[min(n - 1, math.ceil(0.95 * n + half))]
    middle = p95(values)
    return Estimate(middle, min(float(low), middle), max(float(high), middle), n)


def typical(values: Floats, task: Codes) -> tuple[float, int]:
    """Return the level of a typical task: the interquartile mean over tasks of each one's mean.

    Hard tasks use more tools and fail more whatever the plan is; being few, they fall into an outer quarter and are
    set aside. Without task keys (-1), or with fewer than `MIN_TASKS` that ran more than once, it is the plain mean.

    Returns:
        The level, and the number of tasks that it is made of, 0 for the plain mean.
    """
    known = task >= 0
    if known.mean() >= 0.8:
        _, place, counts = np.unique(task[known], return_inverse=True, return_counts=True)
        means = np.bincount(place, weights=values[known]) / counts
        means = np.sort(means[counts > 1])
        if len(means) >= MIN_TASKS:
            quarter = len(means) // 4
            return float(means[quarter : len(means) - quarter].mean()), len(means)
    return float(values.mean()), 0


def contrast(values: Floats, chosen: Flags, task: Codes) -> Contrast | None:
    """Compare the mean of chosen runs with that of the others, within tasks (-1 for none) where they allow it.

    Within tasks it is the least-squares estimate with an effect for each task: the differences inside a task,
    weighted by `n1 * n0 / (n1 + n0)`. Otherwise Welch's comparison.

    Returns:
        First group minus second, or None when a group has fewer than two runs.
    """
    smaller = int(min(chosen.sum(), (~chosen).sum()))
    if smaller < 2:
        return None
    return _within_tasks(values, chosen, task, smaller) or _welch(values[chosen], values[~chosen])


def _welch(first: Floats, second: Floats) -> Contrast:
    error = math.sqrt(float(first.var(ddof=1)) / len(first) + float(second.var(ddof=1)) / len(second))
    return Contrast(float(first.mean() - second.mean()), error, min(len(first), len(second)), within_tasks=False)


def _within_tasks(values: Floats, chosen: Flags, task: Codes, smaller: int) -> Contrast | None:
    known = task >= 0
    if not known.any():
        return None
    _, place = np.unique(task[known], return_inverse=True)
    y, g = values[known], chosen[known]
    ones, zeros = np.bincount(place, weights=g), np.bincount(place, weights=~g)
    shared = (ones > 0) & (zeros > 0)
    in_shared = shared[place]
    runs = int(min(g[in_shared].sum(), (~g[in_shared]).sum()))
    freedom = int(in_shared.sum() - shared.sum() - 1)
    # Where most runs have no partner in the same task, leaving them out would cost more than difficulty does.
    if freedom < 3 or 2 * runs < smaller:
        return None
    total = np.bincount(place)
    weight = np.where(shared, ones * zeros / np.maximum(total, 1), 0.0)
    sum1 = np.bincount(place, weights=np.where(g, y, 0.0))
    sum0 = np.bincount(place, weights=np.where(g, 0.0, y))
    gap = sum1 / np.maximum(ones, 1) - sum0 / np.maximum(zeros, 1)
    difference = float((weight * gap).sum() / weight.sum())
    mean = (sum1 + sum0) / np.maximum(total, 1)
    fitted = mean[place] + difference * (g - (ones / np.maximum(total, 1))[place])
    residual = float((((y - fitted) ** 2)[in_shared]).sum()) / freedom
    return Contrast(difference, math.sqrt(residual / float(weight.sum())), runs, within_tasks=True)


def capped_gains(values: Floats, caps: Iterable[float]) -> tuple[CappedGain, ...]:
    """Return how much less the sum of the values would be if none exceeded a cap in the same unit.

    Returns:
        The gain of each cap, in percent; the interval is that of a ratio of means (Cochran, Sampling Techniques,
        section 6.4).
    """
    mean, runs = float(values.mean()), len(values)
    gains = []
    for cap in caps:
        kept = np.minimum(values, cap)
        ratio = float(kept.mean()) / mean if mean > 0 else 1.0
        error = float(np.std(kept - ratio * values)) / (math.sqrt(runs) * mean) if mean > 0 else 0.0
        half = t_975(runs - 1) * error
        low, high = 100 * (1 - ratio - half), 100 * (1 - ratio + half)
        gains.append(CappedGain(value=100 * (1 - ratio), low=low, high=high, runs=runs, cap=cap))
    return tuple(gains)


DEFAULT_BASELINES: Final[Mapping[str, float]] = {
    "duration_seconds": 30.0,
    "p95_duration_seconds": 60.0,
    "success_rate": 0.95,
    "tool_calls": 15.0,
}
"""Constants for teams without a history of their own: seconds, seconds, share, calls."""

_ALIASES: Final[Mapping[str, str]] = {
    "duration": "duration_seconds",
    "avg_duration": "duration_seconds",
    "avg_duration_seconds": "duration_seconds",
    "mean_duration": "duration_seconds",
    "mean_duration_seconds": "duration_seconds",
    "p95_duration": "p95_duration_seconds",
    "p95_latency": "p95_duration_seconds",
    "avg_tool_calls": "tool_calls",
    "mean_tool_calls": "tool_calls",
    "total_tool_calls": "tool_calls",
    "avg_total_tool_calls": "tool_calls",
    "avg_success_rate": "success_rate",
}

GIVEN, OWN, DEFAULT = "given", "own history", "default"
"""Where a baseline is from: the caller, the team's earlier runs, or `DEFAULT_BASELINES`."""

MIN_REFERENCE: Final = 50
"""Earlier runs that make a history."""

MIN_RECENT: Final = 20
"""Latest runs that are compared with it."""


@frozen(eq=False)
class Baseline(Evidence):
    """What a figure is compared with."""

    value: float
    source: str  # `GIVEN`, `OWN` or `DEFAULT`
    runs: int = 0  # behind it, 0 unless it is the team's own
    difference: Contrast | None = None  # latest minus earlier runs; None unless it is the team's own

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data: dict[str, Any] = {"value": self.value, "source": self.source, "runs": self.runs}
        if self.difference is not None:
            data["difference"] = self.difference.difference
            data["difference_interval"] = [self.difference.low, self.difference.high]
            data["within_tasks"] = self.difference.within_tasks
        return data


class Baselines:
    """Finds the baseline for each figure of one team.

    The caller's comes first. Else, with at least `MIN_REFERENCE` earlier runs beside at least `MIN_RECENT` latest
    ones, it is what the team did earlier, and the latest fifth of the runs is compared with it. Else the constants.

    Raises:
        MetricsError: A name is not known, or a value is not a positive number.
    """

    def __init__(self, table: TeamTable, given: Mapping[str, float] | None = None) -> None:
        self.given = _checked(given or {})
        runs = len(table)
        latest = max(MIN_RECENT, runs // 5)
        self._table = table
        self._has_history = runs - latest >= MIN_REFERENCE
        self._recent: Flags = np.arange(runs) >= (runs - latest if self._has_history else 0)
        self._latest = table.where(self._recent)
        self._earlier = table.where(~self._recent)

    def has_own(self, name: str) -> bool:
        """Return whether a figure is compared with the team's own history."""
        return self._has_history and name not in self.given

    def current(self, name: str) -> TeamTable:
        """Return the runs that a figure is about: the latest where they are compared with earlier ones, else all."""
        return self._latest if self.has_own(name) else self._table

    def of(self, name: str, values: Floats, figure: Callable[[TeamTable], float]) -> Baseline:
        """Return the baseline of a figure, whose mean is that of one value for each run of the whole table."""
        if not self.has_own(name):
            source = GIVEN if name in self.given else DEFAULT
            return Baseline({**DEFAULT_BASELINES, **self.given}[name], source)
        difference = contrast(values, self._recent, self._table.task)
        return Baseline(figure(self._earlier), OWN, len(self._earlier), difference)


def _checked(given: Mapping[str, float]) -> dict[str, float]:
    checked = {}
    for name, value in given.items():
        known = _ALIASES.get(name, name)
        if known not in DEFAULT_BASELINES:
            raise MetricsError(
                f"baseline_metrics: {name!r} is not a known figure", hint=f"Known: {', '.join(DEFAULT_BASELINES)}."
            )
        number: object = value  # callers without types give anything
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise MetricsError(f"baseline_metrics: {name} is {value!r}", hint="Write a number above 0.")
        checked[known] = float(value)
    return checked
