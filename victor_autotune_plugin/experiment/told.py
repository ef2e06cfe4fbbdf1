"""What is told of a test by the rule `signed_rank`: a corrected estimate, and an interval that a person can use.

The interval of the gain is a confidence sequence, valid at all looks together: a mixture of Student likelihoods over
the standardised effect (Lindon, Ham, Tingley and Bojinov, *Anytime-valid linear models and regression adjusted causal
inference*, 2022; Wang and Ramdas, *Anytime-valid t-tests and confidence sequences*, 2024). Its end towards no effect is
cut by the decision, so that it never holds 0 for a test that has passed or failed by its metric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Final

from attrs import frozen

from .._model.policy import Policy
from .blocks import UNKNOWN_SIZE
from .boundaries import NORMAL
from .clusters import ClusterPrimary
from .paired import BlockedPrimary, PairedMeanPrimary, SignedRankPrimary, uncorrected, walsh_quantiles
from .primary import Effect, relative_change
from .stopping import Design, unbiased_drift
from .twosample import percentile

CONFIDENCE: Final = 0.95
"""Level of the told interval, both sides together."""

MIXTURE: Final = 0.5
"""Precision of the mixture: the effect that it is drawn for is about 1.4 standard deviations of a pair's difference."""

LEAST_TOLD: Final = 1e-6
"""An interval that excludes no effect ends at least this far from it."""

EFFICIENCY: Final = 3 / math.pi
"""Information of a signed-rank test of normal differences, relative to the t-test."""


@frozen
class Crossing:
    """Where a test first crossed its boundary.

    Attributes:
        share: Information share.
        gain: Raw estimate then: of the log gain, or of the rise of the mean score.
    """

    share: float
    gain: float


def mixture_quantile(blocks: int) -> float:
    """Return the height of t that the mixture of so many differences rejects at `CONFIDENCE`; infinite for too few."""
    if blocks < 2:
        return math.inf
    part = MIXTURE / (MIXTURE + blocks)
    ratio = (1 / ((1 - CONFIDENCE) * math.sqrt(part))) ** (2 / blocks)
    if part * ratio >= 1:
        return math.inf
    return math.sqrt((blocks - 1) * (ratio - 1) / (1 - part * ratio))


def gain_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the confidence sequence of the mean difference, unbounded for fewer than two.

    Where runs timed out it is that of the median of the Walsh averages, by ranks.
    """
    n = len(differences)
    height = mixture_quantile(n)
    if math.isinf(height):
        return -math.inf, math.inf
    if any(abs(value) > UNKNOWN_SIZE for value in differences):
        z = uncorrected(math.sqrt((n + MIXTURE) / n * math.log((n + MIXTURE) / MIXTURE / (1 - CONFIDENCE) ** 2)), n)
        return walsh_quantiles(list(differences), z, z)[1:]
    mean, half = fmean(differences), height * stdev(differences) / math.sqrt(n)
    return mean - half, mean + half


def cut(interval: tuple[float, float], decided: int) -> tuple[float, float]:
    """Return an interval of a gain without what the decision excludes: 1 for a gain, -1 for a loss, 0 for neither."""
    low, high = interval
    if decided > 0:
        low = max(low, LEAST_TOLD)
    elif decided < 0:
        high = min(high, -LEAST_TOLD)
    return low, max(low, high)


def told(
    primary: BlockedPrimary,
    policy: Policy,
    *,
    ended: bool,
    decided: int,
    crossing: Crossing | None,
) -> Effect:
    """Return the effect of a test as it is told.

    Args:
        primary: Its metric.
        policy: Its rules.
        ended: Whether it has ended, so that the estimate is corrected for that.
        decided: As for `cut`.
        crossing: Where the boundary was first crossed; None where it never was.
    """
    share = primary.information / policy.max_runs_per_arm
    if isinstance(primary, PairedMeanPrimary):
        base, change, error, blocks = primary.moments
        if blocks < 3 or not base > 0:
            return Effect(math.nan, math.nan, math.nan)
        height = mixture_quantile(blocks)
        low, high = cut((change - height * error, change + height * error), decided)
        if ended:
            change = corrected(policy, change, share, error * math.sqrt(share), crossing)
        change = min(max(change, low), high)
        return Effect(change / base, max(low / base, -1.0), high / base)
    gain = primary.gain
    if math.isnan(gain):
        return Effect(math.nan, math.nan, math.nan)
    if isinstance(primary, SignedRankPrimary):
        low, high = cut(gain_interval(primary.ranks.block_differences()), decided)
    else:
        _, error, blocks = primary.moments
        height = mixture_quantile(blocks)
        wide = math.isinf(height) or math.isnan(error)
        low, high = cut((-math.inf, math.inf) if wide else (gain - height * error, gain + height * error), decided)
    unit = gain_unit(primary, policy)
    if ended and unit < UNKNOWN_SIZE:
        gain = corrected(policy, gain, share, unit, crossing)
    gain = min(max(gain, low), high)
    return Effect(*(relative_change(-value) for value in (gain, high, low)))


def gain_unit(primary: SignedRankPrimary | ClusterPrimary, policy: Policy) -> float:
    """Return the standard error of the log gain at the end of a test; NaN or large where it can't be told."""
    if isinstance(primary, ClusterPrimary):
        return primary.moments[1] * math.sqrt(primary.information / policy.max_runs_per_arm)
    ordered = sorted(primary.ranks.block_differences())
    spread = (percentile(ordered, 0.75) - percentile(ordered, 0.25)) / (2 * NORMAL.inv_cdf(0.75))
    return spread / math.sqrt(policy.max_runs_per_arm * EFFICIENCY)


def corrected(policy: Policy, gain: float, share: float, unit: float, crossing: Crossing | None) -> float:
    """Return the estimate of an ended test without what stopping at a high adds to it.

    Only the runs up to the first crossing were chosen by their height; what came after, while a guardrail was not
    proven yet, is as it is.

    Args:
        policy: The test's rules.
        gain: Raw estimate at the end.
        share: Information share at the end.
        unit: Standard error of the estimate of a whole test.
        crossing: Where the boundary was first crossed; None where it never was.
    """
    at = crossing or Crossing(share, gain)
    if not unit > 0 or not share > 0 or abs(at.gain) > UNKNOWN_SIZE:
        return gain
    bias = at.gain / unit - unbiased_drift(Design.of(policy, unit), at.gain / unit)
    return gain - unit * bias * min(at.share / share, 1.0)
