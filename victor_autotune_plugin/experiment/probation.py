"""How likely a treatment is better, for a plan that may go live before its proof."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from .blocks import UNKNOWN_SIZE
from .boundaries import NORMAL
from .paired import BlockedPrimary, PairedMeanPrimary, SignedRankPrimary
from .twosample import percentile

PRIOR_GAIN: Final = 0.35
"""Standard deviation of the log gain of a changed plan, before any of its runs; of the rise of a mean score 0.2."""

PRIOR_SCORE: Final = 0.2

PRIOR_SPREAD: Final = 1.0
"""Spread of the log ratio of two runs that is assumed, with the weight of `PRIOR_PAIRS` pairs; of scores 0.4."""

PRIOR_SCORE_SPREAD: Final = 0.4

PRIOR_PAIRS: Final = 4

LARGEST_GAIN: Final = 1.0
"""Log gain beyond which few pairs tell no more."""


def chance_better(primary: BlockedPrimary) -> float:
    """Return the probability that the treatment is better on the metric; NaN while nothing is known.

    It is that of a normal effect around no effect, seen with a normal error (Gelman et al., *Bayesian Data Analysis*,
    2013, section 2.5). A small effect is likelier before than a large one, and the spread that few pairs show is
    joined with a usual one, so that few pairs are never sure.
    """
    if isinstance(primary, PairedMeanPrimary):
        _, change, error, blocks = primary.moments
        if blocks < 3 or math.isnan(change):
            return math.nan
        return _posterior(change, error * math.sqrt(blocks), blocks, PRIOR_SCORE, PRIOR_SCORE_SPREAD)
    if isinstance(primary, SignedRankPrimary):
        gains: Sequence[float] = primary.ranks.block_differences()
        if not gains:
            return math.nan
        ordered = sorted(gains)
        spread = (percentile(ordered, 0.75) - percentile(ordered, 0.25)) / (2 * NORMAL.inv_cdf(0.75))
        return _posterior(primary.gain, spread, primary.information, PRIOR_GAIN, PRIOR_SPREAD)
    gain, error, blocks = primary.moments
    return math.nan if blocks < 2 else _posterior(gain, error * math.sqrt(blocks), blocks, PRIOR_GAIN, PRIOR_SPREAD)


def _posterior(gain: float, spread: float, pairs: float, prior: float, usual: float) -> float:
    spread = usual if spread > UNKNOWN_SIZE else spread
    variance = (PRIOR_PAIRS * usual * usual + pairs * spread * spread) / (PRIOR_PAIRS + pairs)
    told = pairs / variance
    gain = min(max(gain, -LARGEST_GAIN), LARGEST_GAIN)
    return NORMAL.cdf(told * gain / math.sqrt(told + 1 / (prior * prior)))
