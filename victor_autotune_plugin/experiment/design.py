"""The design of a test: how many runs it will take, and whether the arms have as many as they should."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .._model.assignment import PAIR, exact_shares
from .._model.policy import Policy
from .._model.run import Observation
from .boundaries import NORMAL
from .primary import TIMED_OUT, adjusted_value
from .stopping import Design, drift_for, share_for
from .twosample import percentile

RANK_EFFICIENCY = 3 / math.pi
"""Information of a rank test of normal values, relative to the t-test (Hodges and Lehmann 1956)."""


def sample_ratio_p_value(counts: Mapping[str, int], weights: Mapping[str, float] | None = None) -> float:
    """Return the p-value of the observed counts per arm under the planned shares.

    Exact and binomial for two arms, Pearson's chi-square for more. With permuted blocks the counts differ less than
    under independent draws, so a small value means lost runs or a wrong assignment, never chance.

    Args:
        counts: Runs per arm. An arm that is missing counts as 0.
        weights: As for `assign`.

    Raises:
        ValueError: For weights that `assign` would refuse, or a count of an arm that has no weight.
    """
    shares = {arm: float(share) for arm, share in (PAIR if weights is None else exact_shares(weights)) if share}
    unknown = [arm for arm, count in counts.items() if count and arm not in shares]
    if unknown:
        raise ValueError(f"counts: arm {unknown[0]!r} has no weight")
    total = sum(counts.values())
    if total == 0 or len(shares) < 2:
        return 1.0
    if len(shares) == 2:
        arm, share = next(iter(shares.items()))
        return binomial_p_value(counts.get(arm, 0), total, share)
    statistic = sum((counts.get(arm, 0) - total * share) ** 2 / (total * share) for arm, share in shares.items())
    return _chi_square_tail(statistic, len(shares) - 1)


def binomial_p_value(k: int, n: int, p: float) -> float:
    """Two-sided, by the sum of all outcomes that are no more likely than the observed one."""

    def log_mass(i: int) -> float:
        choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        return choose + i * math.log(p) + (n - i) * math.log1p(-p)

    limit = log_mass(k) + 1e-9
    return min(1.0, math.fsum(math.exp(m) for m in map(log_mass, range(n + 1)) if m <= limit))


def _chi_square_tail(x: float, df: int) -> float:
    """Upper tail by the recursion over degrees of freedom (Abramowitz and Stegun 26.4.4 and 26.4.5)."""
    if x <= 0:
        return 1.0
    tail = math.erfc(math.sqrt(x / 2)) if df % 2 else math.exp(-x / 2)
    for k in range(3 if df % 2 else 4, df + 1, 2):
        tail += math.exp((k / 2 - 1) * math.log(x / 2) - x / 2 - math.lgamma(k / 2))
    return min(1.0, tail)


def log_spread(metric: str, runs: Sequence[Observation], task_effects: Mapping[str, float] | None = None) -> float:
    """Return the standard deviation of the metric's logarithm, from the quartiles, so that timeouts don't count.

    Args:
        metric: `duration`, `cost` or `tool_calls`.
        runs: Earlier runs of one plan.
        task_effects: What the test takes off each task; see `primary.task_effects`.

    Raises:
        ValueError: For fewer than eight runs with a value, or another metric.
    """
    if metric not in ("duration", "cost", "tool_calls"):
        raise ValueError(f"metric must be duration, cost or tool_calls, not {metric!r}")
    found = (adjusted_value(metric, run, task_effects or {}) for run in runs)
    values = sorted(value for value in found if value is not None and value != TIMED_OUT)
    if len(values) < 8:
        raise ValueError(f"runs: {len(values)} have a value; at least 8 are needed")
    return (percentile(values, 0.75) - percentile(values, 0.25)) / (2 * NORMAL.inv_cdf(0.75))


def runs_for(improvement: float, spread: float, policy: Policy | None = None, *, power: float = 0.8) -> int:
    """Return the runs per arm within which a test proves an improvement with a probability.

    Tests that end early without a proof are counted (`stopping`).

    Args:
        improvement: True relative improvement, in (0, 1): 0.2 is 20 % less.
        spread: Standard deviation of the log metric, as from `log_spread`.
        policy: Rules of the test; its `max_runs_per_arm` is not applied.
        power: Probability.

    Raises:
        ValueError: For values out of range.
    """
    if not 0 < improvement < 1:
        raise ValueError(f"improvement must be between 0 and 1, not {improvement!r}")
    _check(spread, power)
    policy = policy or Policy()
    shift = -math.log1p(-improvement)
    drift = _seen(shift / spread) * math.sqrt(policy.max_runs_per_arm * RANK_EFFICIENCY / 2)
    unit = spread * math.sqrt(2 / (policy.max_runs_per_arm * RANK_EFFICIENCY))
    share = share_for(Design.of(policy, unit), drift, power)
    if share is not None:
        return math.ceil(share * policy.max_runs_per_arm)
    return max(
        math.ceil(2 * (_drift(policy, power) / _seen(shift / spread)) ** 2 / RANK_EFFICIENCY), policy.min_runs_per_arm
    )


def improvement_for(spread: float, policy: Policy | None = None, *, power: float = 0.8) -> float:
    """Return the relative improvement that a whole test finds with a probability; arguments as for `runs_for`."""
    _check(spread, power)
    policy = policy or Policy()
    shift = _drift(policy, power) * spread * math.sqrt(2 / (policy.max_runs_per_arm * RANK_EFFICIENCY))
    return -math.expm1(-shift)


def chance_of_proof(low: float, high: float, spread: float, policy: Policy | None = None) -> float:
    """Return the probability that a whole test proves an improvement that is itself uncertain.

    It is the power of the test, averaged over a normal log improvement (assurance; O'Hagan, Stevens and Campbell 2005).

    Args:
        low: Lower end of the 95 % interval of the relative improvement; 0.2 is 20 % less, negative is more.
        high: Upper end of it, below 1.
        spread: Standard deviation of the log metric, as from `log_spread`.
        policy: Rules of the test.

    Raises:
        ValueError: For values out of range.
    """
    if not low <= high < 1:
        raise ValueError(f"low and high must be ascending and below 1, not {low!r} and {high!r}")
    _check(spread, 0.5)
    policy = policy or Policy()
    least, most = -math.log1p(-low), -math.log1p(-high)
    deviation = (most - least) / (2 * NORMAL.inv_cdf(0.975))
    scale = math.sqrt(policy.max_runs_per_arm * RANK_EFFICIENCY / 2) / spread
    excess = scale * (least + most) / 2 - _drift(policy, 0.5)
    return NORMAL.cdf(excess / math.sqrt(1 + (scale * deviation) ** 2))


def _seen(effect: float) -> float:
    """Return a standardised effect as a signed-rank test with unit variance would have it.

    Ranks grow by the chance that a pair outweighs another, less than linearly (Lehmann 1975, section 4.2); they also
    vary less the larger the effect is, which makes up for half of it, as simulations show.
    """
    by_ranks = math.sqrt(2 * math.pi) * (NORMAL.cdf(effect) - 0.5)
    return math.sqrt(effect * by_ranks)


def _drift(policy: Policy, power: float) -> float:
    return drift_for(Design.of(policy), power)


def _check(spread: float, power: float) -> None:
    if not (math.isfinite(spread) and spread > 0):
        raise ValueError(f"spread must be above 0, not {spread!r}")
    if not 0.5 <= power < 1:
        raise ValueError(f"power must be from 0.5 to below 1, not {power!r}")
