"""The metric a test decides on: its value of a run, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from .._model.run import Observation
from .task_levels import Levels

TIMED_OUT: Final = 1e6
"""Log duration of a run that a deadline ended: slower than any other, equal to its like."""

_FLOORS: Final = {"duration": 1e-6, "cost": 1e-9, "tool_calls": 0.5}


@frozen
class Effect:
    """Relative change of the metric from control to treatment: -0.2 is 20 % less. NaN where nothing is known.

    Attributes:
        estimate: Hodges-Lehmann ratio minus 1; for score and success the difference of the means over the control's.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    estimate: float
    low: float
    high: float


def log_value(metric: str, run: Observation) -> float | None:
    """Return a run's value for ranks, less being better; None without a price.

    The natural logarithm of duration, cost or tool calls (floored above 0); for score and success the negative.
    """
    if metric == "score":
        return -run.outcome
    if metric == "success":
        return -float(run.success)
    if metric == "duration":
        return TIMED_OUT if run.timed_out else math.log(max(run.duration_seconds, _FLOORS["duration"]))
    if metric == "cost":
        return None if run.cost_usd is None else math.log(max(run.cost_usd, _FLOORS["cost"]))
    return math.log(run.tool_calls + _FLOORS["tool_calls"])


def work_of(run: Observation, *, scored: bool) -> float | None:
    """Return how good the work of a run was: its score where scorers tell, else the share of members that succeeded.

    Args:
        run: The run.
        scored: Whether scorers tell; then None is a run without a score.
    """
    return run.score if scored else run.outcome


def adjusted_value(metric: str, run: Observation, task_effects: Mapping[str, float]) -> float | None:
    """Return `log_value` without the log effect of the run's task; a run that timed out stays the slowest."""
    value = log_value(metric, run)
    if value is None or value == TIMED_OUT or run.task_key is None:
        return value
    return value - task_effects.get(run.task_key, 0.0)


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
    """Estimate the log effect of each task key from earlier runs, to be taken off the runs of a test.

    Means of the keys are shrunk towards the mean of all; see `levels.Levels`.

    Args:
        metric: `duration`, `cost` or `tool_calls`.
        runs: Earlier runs; those without a key, without a price, or timed out are left out.

    Returns:
        Effect by key; empty when there are fewer than two keys.
    """
    levels = Levels()
    for run in runs:
        value = log_value(metric, run)
        if run.task_key is not None and value is not None and value != TIMED_OUT:
            levels.add(run.task_key, value)
    return levels.effects()
