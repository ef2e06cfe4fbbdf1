"""The fixed-sample statistics of a test, for reports: the same runs, by the methods that readers know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from .._model.run import ARMS, CONTROL, TREATMENT, Observation
from .fixed_sample import Comparison, bootstrap_ratio, mann_whitney, relative_lift, two_proportions, welch

_VALUES: Final[dict[str, Callable[[Observation], float | None]]] = {
    "duration": lambda run: run.duration_seconds,
    "cost": lambda run: run.cost_usd,
    "tool_calls": lambda run: float(run.tool_calls),
    "score": lambda run: run.score,
}


def summarise(metric: str, runs: Sequence[Observation], *, seed: int, confidence: float = 0.95) -> list[Comparison]:
    """Compare the arms of a test once, by each fixed-sample method that its data allow.

    The intervals hold their level when they are looked at once, after a number of runs that was fixed before. So they
    describe a test and never decide it. A run that timed out counts with the time until its deadline.

    Args:
        metric: Primary metric, one of `policy.METRICS`.
        runs: The runs that count (`Judge.counted`).
        seed: Seed of the bootstrap.
        confidence: Level of the intervals.

    Returns:
        Of the metric: Welch's t-test, that on logarithms, Mann-Whitney, bootstrap-t, relative lift; and two
        proportions of the success. A method that needs more runs or positive values is left out.

    Raises:
        ValueError: For another metric.
    """
    if metric not in _VALUES:
        raise ValueError(f"metric must be one of {', '.join(_VALUES)}, not {metric!r}")
    read = _VALUES[metric]
    values = {arm: [v for run in runs if run.arm == arm and (v := read(run)) is not None] for arm in ARMS}
    x, y = values[CONTROL], values[TREATMENT]
    hits = {arm: [run.success for run in runs if run.arm == arm] for arm in ARMS}
    methods: list[Callable[[], Comparison]] = [
        lambda: welch(x, y, confidence=confidence),
        lambda: welch(x, y, logs=True, confidence=confidence),
        lambda: mann_whitney(x, y, confidence=confidence),
        lambda: bootstrap_ratio(x, y, seed=seed, confidence=confidence),
        lambda: relative_lift(x, y, confidence=confidence),
        lambda: two_proportions(
            sum(hits[CONTROL]),
            len(hits[CONTROL]),
            sum(hits[TREATMENT]),
            len(hits[TREATMENT]),
            confidence=confidence,
        ),
    ]
    found = []
    for method in methods:
        try:
            found.append(method())
        except ValueError:  # too few values for it, or a value that has no logarithm
            continue
    return found
