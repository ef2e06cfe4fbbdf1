"""Fixed-sample statistics for reports: what two samples say when they are looked at once.

They describe; they don't decide. Looking at them after every run and stopping at will is wrong in a third of
all A/A tests: `Judge` decides. scipy is imported when a function needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import asdict, frozen

from .._model.policy import plain
from .._model.run import ARMS, CONTROL, TREATMENT, Observation
from .boundaries import NORMAL
from .primary import shift_quantiles

EXACT_SIZE = 50
"""Up to this sample size, without ties, the Mann-Whitney distribution is exact."""

_VALUES: Final[dict[str, Callable[[Observation], float | None]]] = {
    "duration": lambda run: run.duration_seconds,
    "cost": lambda run: run.cost_usd,
    "tool_calls": lambda run: float(run.tool_calls),
    "score": lambda run: run.outcome,
    "success": lambda run: float(run.success),
}


@frozen
class SampleComparison:
    """Two samples compared.

    Attributes:
        method: Name of the method.
        estimate: Difference (treatment - control) or relative change (-0.2 is 20 % less), as the method says.
        low: Lower end of its interval.
        high: Upper end of its interval.
        confidence: Level of the interval, two-sided.
        statistic: Test statistic (t, U or z), or NaN.
        p_value: Two-sided, or NaN for a method that is only an interval.
        effect_size: Hedges' g, probability that a treatment's value is the smaller one, or Cohen's h.
    """

    method: str
    estimate: float
    low: float
    high: float
    confidence: float
    statistic: float
    p_value: float
    effect_size: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; numbers that are not finite are None."""
        return {name: plain(value) for name, value in asdict(self).items()}


def welch(
    control: Sequence[float], treatment: Sequence[float], *, logs: bool = False, confidence: float = 0.95
) -> SampleComparison:
    """Compare two means by Welch's t-test.

    Args:
        control: At least two finite values; above 0 with `logs`.
        treatment: The same.
        logs: Compare the means of the logarithms; the estimate is then the relative change of the geometric mean.
        confidence: Level of the interval.

    Returns:
        Difference of the means, or relative change; Hedges' g.

    Raises:
        ValueError: For samples that are too small or hold impossible values.
    """
    from scipy import stats

    x, y = _checked("control", control, 2, logs), _checked("treatment", treatment, 2, logs)
    if logs:
        x, y = [math.log(value) for value in x], [math.log(value) for value in y]
    mean_x, var_x = _moments(x)
    mean_y, var_y = _moments(y)
    squared = var_x / len(x) + var_y / len(y)
    difference = mean_y - mean_x
    if squared == 0:
        low = high = difference
        t, p = (0.0, 1.0) if difference == 0 else (math.copysign(math.inf, difference), 0.0)
    else:
        df = squared**2 / ((var_x / len(x)) ** 2 / (len(x) - 1) + (var_y / len(y)) ** 2 / (len(y) - 1))
        half = float(stats.t.ppf((1 + confidence) / 2, df)) * math.sqrt(squared)
        low, high, t = difference - half, difference + half, difference / math.sqrt(squared)
        p = 2 * float(stats.t.sf(abs(t), df))
    size = _hedges(difference, x, y, var_x, var_y)
    if logs:
        return SampleComparison(
            "welch on logs", math.expm1(difference), math.expm1(low), math.expm1(high), confidence, t, p, size
        )
    return SampleComparison("welch", difference, low, high, confidence, t, p, size)


def mann_whitney(control: Sequence[float], treatment: Sequence[float], *, confidence: float = 0.95) -> SampleComparison:
    """Compare two samples of positive values by ranks.

    Returns:
        Relative change by the Hodges-Lehmann estimator of the logarithms with the interval that inverts the test
        (Hodges and Lehmann 1963), exact for small samples without ties; U; the probability that a value of the
        treatment is smaller than one of the control, ties counting one half.

    Raises:
        ValueError: For an empty sample or values that are not above 0.
    """
    from scipy import stats

    x, y = _checked("control", control, 1, True), _checked("treatment", treatment, 1, True)
    m, n = len(x), len(y)
    tied = len({*x, *y}) < m + n
    exact = not tied and max(m, n) <= EXACT_SIZE
    result = stats.mannwhitneyu(x, y, alternative="two-sided", method="exact" if exact else "asymptotic")
    rank = _critical_rank(m, n, confidence) if exact else None
    if rank is None:
        ties = sum(count**3 - count for count in _counts([*x, *y]))
        variance = m * n / 12 * (m + n + 1 - ties / max((m + n) * (m + n - 1), 1))
        rank = math.floor(m * n / 2 - NORMAL.inv_cdf((1 + confidence) / 2) * math.sqrt(max(variance, 0)))
    take = m * n + 1 - rank if rank >= 1 else math.inf
    logs = [math.log(value) for value in x], [math.log(value) for value in y]
    shift, low, high = shift_quantiles(*logs, take, take)
    return SampleComparison(
        "mann-whitney",
        math.expm1(shift),
        math.expm1(low) if math.isfinite(low) else -1.0,
        math.expm1(high) if math.isfinite(high) else math.inf,
        confidence,
        float(result.statistic),
        float(result.pvalue),
        float(result.statistic) / (m * n),
    )


def bootstrap_ratio(
    control: Sequence[float],
    treatment: Sequence[float],
    *,
    seed: int,
    draws: int = 4000,
    confidence: float = 0.95,
) -> SampleComparison:
    """Return the relative change of the geometric mean with a bootstrap-t interval.

    The studentised bootstrap on logarithms (Efron and Tibshirani 1993, section 12.5) holds its level at ten values
    a sample, where the percentile and BCa bootstraps do not.

    Args:
        control: At least five values above 0.
        treatment: The same.
        seed: Seed of the draws (PCG64); the same seed gives the same interval.
        draws: Bootstrap samples.
        confidence: Level of the interval.

    Raises:
        ValueError: For samples that are too small or hold impossible values.
    """
    import numpy as np

    x = np.log(_checked("control", control, 5, True))
    y = np.log(_checked("treatment", treatment, 5, True))
    rng = np.random.Generator(np.random.PCG64(seed))
    difference = float(y.mean() - x.mean())
    error = math.sqrt(x.var(ddof=1) / len(x) + y.var(ddof=1) / len(y))
    drawn_x = x[rng.integers(len(x), size=(draws, len(x)))]
    drawn_y = y[rng.integers(len(y), size=(draws, len(y)))]
    errors = np.sqrt(drawn_x.var(axis=1, ddof=1) / len(x) + drawn_y.var(axis=1, ddof=1) / len(y))
    usable = errors > 0
    if error == 0 or not usable.any():
        low = high = difference
    else:
        t = (drawn_y.mean(axis=1) - drawn_x.mean(axis=1) - difference)[usable] / errors[usable]
        below, above = np.quantile(t, [(1 - confidence) / 2, (1 + confidence) / 2])
        low, high = difference - float(above) * error, difference - float(below) * error
    size = _hedges(difference, x.tolist(), y.tolist(), float(x.var(ddof=1)), float(y.var(ddof=1)))
    ends = math.expm1(difference), math.expm1(low), math.expm1(high)
    return SampleComparison("bootstrap-t on logs", *ends, confidence, math.nan, math.nan, size)


def two_proportions(
    successes_control: int,
    runs_control: int,
    successes_treatment: int,
    runs_treatment: int,
    *,
    confidence: float = 0.95,
) -> SampleComparison:
    """Compare two success shares.

    Returns:
        Difference with Newcombe's hybrid score interval (1998, method 10), the pooled z-test, and Cohen's h.

    Raises:
        ValueError: For no runs in an arm, or counts that are impossible.
    """
    for name, hits, runs in (
        ("control", successes_control, runs_control),
        ("treatment", successes_treatment, runs_treatment),
    ):
        if not 0 <= hits <= runs or runs < 1:
            raise ValueError(f"{name}: {hits} successes of {runs} runs are impossible")
    p, q = successes_control / runs_control, successes_treatment / runs_treatment
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    low_p, high_p = _wilson(p, runs_control, z)
    low_q, high_q = _wilson(q, runs_treatment, z)
    pooled = (successes_control + successes_treatment) / (runs_control + runs_treatment)
    error = math.sqrt(pooled * (1 - pooled) * (1 / runs_control + 1 / runs_treatment))
    statistic = (q - p) / error if error else 0.0
    return SampleComparison(
        "two proportions",
        q - p,
        q - p - math.hypot(q - low_q, high_p - p),
        q - p + math.hypot(high_q - q, p - low_p),
        confidence,
        statistic,
        math.erfc(abs(statistic) / math.sqrt(2)),
        2 * math.asin(math.sqrt(q)) - 2 * math.asin(math.sqrt(p)),
    )


def relative_lift(
    control: Sequence[float], treatment: Sequence[float], *, confidence: float = 0.95
) -> SampleComparison:
    """Return the relative change of the arithmetic mean with Fieller's interval (1954).

    The interval is unbounded when the control's mean is not clearly above 0. Heavy tails make it wide and, below
    some fifty values, too short: prefer `welch` with `logs`, or `mann_whitney`.

    Raises:
        ValueError: For fewer than two values, negative ones, or a control whose mean is 0.
    """
    from scipy import stats

    x, y = _checked("control", control, 2, False), _checked("treatment", treatment, 2, False)
    mean_x, var_x = _moments(x)
    mean_y, var_y = _moments(y)
    if min(*x, *y) < 0 or mean_x == 0:
        raise ValueError("control and treatment must not be negative, and control's mean must be above 0")
    vx, vy = var_x / len(x), var_y / len(y)
    squared = vx + vy
    df = squared**2 / (vx**2 / (len(x) - 1) + vy**2 / (len(y) - 1)) if squared else math.inf
    t = float(stats.t.ppf((1 + confidence) / 2, df)) if squared else 0.0
    ratio, g = mean_y / mean_x, t * t * vx / mean_x**2
    if g >= 1:
        low, high = -1.0, math.inf
    else:
        half = t / mean_x * math.sqrt(max(vy * (1 - g) + ratio * ratio * vx, 0.0))
        low, high = max((ratio - half) / (1 - g), 0.0) - 1, (ratio + half) / (1 - g) - 1
    size = _hedges(mean_y - mean_x, x, y, var_x, var_y)
    return SampleComparison("relative lift", ratio - 1, low, high, confidence, math.nan, math.nan, size)


def summarise(
    metric: str, runs: Sequence[Observation], *, seed: int, confidence: float = 0.95
) -> list[SampleComparison]:
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
    methods: list[Callable[[], SampleComparison]] = [
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


def _checked(name: str, values: Sequence[float], least: int, positive: bool) -> list[float]:
    numbers = [float(value) for value in values]
    if len(numbers) < least:
        raise ValueError(f"{name} has {len(numbers)} values; at least {least} are needed")
    for value in numbers:
        if not math.isfinite(value) or (positive and value <= 0):
            raise ValueError(f"{name} holds {value!r}; values must be finite{' and above 0' if positive else ''}")
    return numbers


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _hedges(difference: float, x: Sequence[float], y: Sequence[float], var_x: float, var_y: float) -> float:
    """Hedges' g (1981): the difference in pooled standard deviations, without its small-sample bias."""
    df = len(x) + len(y) - 2
    pooled = ((len(x) - 1) * var_x + (len(y) - 1) * var_y) / df
    if pooled == 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / math.sqrt(pooled) * (1 - 3 / (4 * df - 1))


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


def _counts(values: list[float]) -> list[int]:
    from collections import Counter

    return list(Counter(values).values())


def _critical_rank(m: int, n: int, confidence: float) -> int:
    """Return the largest k with P(U <= k - 1) <= (1 - confidence) / 2, from the exact distribution of U; 0 for none.

    The distribution is the Gaussian binomial coefficient's (Mann and Whitney 1947).
    """
    counts = [1.0] + [0.0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    total, tail, k = math.comb(m + n, m), 0.0, 0
    while k <= m * n and (tail + counts[k]) / total <= (1 - confidence) / 2:
        tail += counts[k]
        k += 1
    return k
