"""How much a change is expected to bring, how sure that is, and how urgent."""

from __future__ import annotations

import math
from typing import Final

from attrs import frozen

from .._analysis.insight_evidence import Z_975, Estimate
from .._model.optimization import OptimizationPriority, PerformanceInsight

_UNMEASURED: Final = 0.65
"""Confidence of what no run of this team speaks for: enough to be shown and tested."""


@frozen
class Prior:
    """What a strategy usually brings, and how well its gain can be told from past runs.

    Attributes:
        low: Lower end of the usual gain, percent.
        high: Upper end; low to high is taken as one standard deviation around the middle.
        model_error: Standard deviation, in percentage points, of what a perfectly known prediction is still wrong by,
            since agents behave differently under another plan.
    """

    low: float
    high: float
    model_error: float


def expected(prior: Prior, data: Estimate | None) -> Estimate:
    """Return the expected gain: the data's, drawn toward the prior by their precisions.

    Both are taken as normal, so the mean is weighted by the inverse variances (Gelman et al., Bayesian Data Analysis,
    section 2.5).

    Args:
        prior: What such a change usually brings.
        data: What the team's runs say, in percent, or None when they say nothing.
    """
    mean, variance = (prior.low + prior.high) / 2, ((prior.high - prior.low) / 2) ** 2
    runs = 0
    if data is not None:
        seen = data.standard_deviation**2 + prior.model_error**2
        weight = variance / (variance + seen)
        mean, variance = mean + weight * (data.value - mean), variance * (1 - weight)
        runs = data.runs
    half = Z_975 * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half, runs)


def confidence(gain: Estimate, *, most: float = 0.9) -> float:
    """Return how sure a gain is: the probability that it is one, times how far so few runs can be trusted.

    Args:
        gain: What `expected` returned.
        most: What many runs amount to, by the kind of their evidence.
    """
    deviation = gain.standard_deviation
    better = 0.5 * (1 + math.erf(gain.value / (deviation * math.sqrt(2)))) if deviation else float(gain.value > 0)
    trust = max(0.0, most - 0.6 / gain.runs) if gain.runs else _UNMEASURED
    return trust * better


def priority(insight: PerformanceInsight, gain: float) -> OptimizationPriority:
    """Return how urgent a change is."""
    if insight.severity >= 0.8 and gain >= 30:
        return OptimizationPriority.CRITICAL
    if gain >= 20 or (insight.severity >= 0.8 and gain >= 10):
        return OptimizationPriority.HIGH
    return OptimizationPriority.MEDIUM if gain >= 8 else OptimizationPriority.LOW
