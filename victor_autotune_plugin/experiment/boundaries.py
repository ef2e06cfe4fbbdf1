"""Boundaries that keep an error rate although a statistic is looked at after every run.

A two-sample statistic Z that is standard normal without an effect, looked at while its information grows, behaves
like Brownian motion: with `t` the share of the information that the whole test can gather, `sqrt(t) * Z(t)` has
independent increments (Jennison and Turnbull, *Group Sequential Methods*, 2000, chapters 3 and 11). A boundary
`scale * shape(t)` is chosen so that Z crosses it at any look from `start` to 1 with probability alpha. The scales are
computed beforehand by the recursion of Armitage, McPherson and Rowe (1969), in `benchmarks/make_boundaries.py`.

The shapes:

* `pocock`: constant; the earliest stops (Pocock 1977).
* `obrien_fleming`: `t ** -0.5`; hardly any early stop, the most power at the end (O'Brien and Fleming 1979).
* `balanced`: flat while a large effect can be seen, then falling; between the two in the manner of Wang and
  Tsiatis (1987). It was drawn to find gains of 20, 30 and 50 % soon by one rule.
* `guardrail`: `t ** -0.15`, of the family of Wang and Tsiatis; for statements that no harm is beyond its margin.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Final

from attrs import frozen

from .._model.policy import RULES, SIGNED_RANK
from ._boundary_table import NORMAL_SCORES, SCALES, STARTS

GUARDRAIL: Final = "guardrail"
"""Name of the shape of the guardrails' boundaries; no rule of a test."""

SHAPES: Final = (*RULES, GUARDRAIL)
"""Names of the shapes."""

BALANCED_KNOTS: Final = ((0.05, 3.42), (0.115, 3.11), (0.165, 3.00), (0.27, 2.90), (0.40, 2.86), (1.0, 2.12))
"""`(t, height)` of the balanced shape; between the knots and before the first it is a power of t."""

TABLE_STEP: Final = 1 / 400
"""Distance of the looks that the table assumes: a look after every run of 200 per arm."""

OVERSHOOT: Final = 0.583
"""Expected overshoot of a normal random walk over a boundary, in steps' standard deviations."""

NORMAL: Final = NormalDist()


def _powers() -> tuple[tuple[float, float, float], ...]:
    pieces = []
    for (t0, b0), (t1, b1) in pairwise(BALANCED_KNOTS):
        pieces.append((t0, b0 / BALANCED_KNOTS[-1][1], math.log(b1 / b0) / math.log(t1 / t0)))
    return tuple(pieces)


_PIECES: Final = _powers()
_KNOTS: Final = tuple(piece[0] for piece in _PIECES)


def shape(rule: str, t: float) -> float:
    """Return the height of a boundary's shape at information share `t` in (0, 1], relative to its height at 1."""
    if rule == "pocock":
        return 1.0
    if rule == "obrien_fleming":
        return float(t**-0.5)
    if rule == GUARDRAIL:
        return float(t**-0.15)
    t0, height, power = _PIECES[max(bisect_right(_KNOTS, t) - 1, 0)]
    return float(height * (t / t0) ** power)


@frozen
class Boundary:
    """A one-sided boundary for a statistic that is standard normal without an effect.

    Attributes:
        rule: One of `SHAPES`.
        alpha: Probability that the statistic ever crosses it without an effect.
        start: Information share of the first look, in (0, 1].
        scale: Height at information share 1, for looks as far apart as the table assumes.
        step: Smallest distance of two looks, as an information share.
    """

    rule: str
    alpha: float
    start: float
    scale: float
    step: float = TABLE_STEP

    def at(self, t: float) -> float:
        """Return the height at information share `t`; infinite before `start`, as at 1 beyond 1."""
        if t < self.start * (1 - 1e-9):
            return math.inf
        share = min(t, 1.0)
        height = self.scale * shape(self.rule, share)
        assumed = min(TABLE_STEP, share / 20)
        if self.step < assumed:
            height += OVERSHOOT * (math.sqrt(assumed) - math.sqrt(self.step)) / math.sqrt(share)
        return height

    def normal(self, t: float) -> float:
        """Return the height as a normal score, which it is."""
        return self.at(t)


@lru_cache(maxsize=512)
def boundary(rule: str, alpha: float, start: float, step: float = TABLE_STEP) -> Boundary:
    """Return the boundary of a rule.

    Args:
        rule: One of `SHAPES`, or `SIGNED_RANK`, whose shape is `balanced`.
        alpha: One-sided crossing probability, in [0.00002, 0.15].
        start: Information share of the first look, from 0.001 to 1.
        step: Smallest distance of two looks, as an information share. Finer looks than the table's raise the boundary
            by the expected overshoot (Siegmund 1985, section 10.3).

    Raises:
        ValueError: For another rule, or alpha or start out of range.
    """
    rule = "balanced" if rule == SIGNED_RANK else rule
    if rule not in SHAPES:
        raise ValueError(f"rule must be one of {', '.join(SHAPES)}, not {rule!r}")
    if not 0.001 <= start <= 1:
        raise ValueError(f"start must be from 0.001 to 1, not {start!r}")
    z = -NORMAL.inv_cdf(alpha) if 0 < alpha < 1 else math.nan
    if not NORMAL_SCORES[0] <= z <= NORMAL_SCORES[-1]:
        raise ValueError(f"alpha must be in [0.00002, 0.15] for one boundary, not {alpha!r}")
    column = [_interpolate(z, NORMAL_SCORES, row) for row in SCALES[rule]]
    logs = [math.log(value) for value in STARTS]
    return Boundary(rule, alpha, start, _interpolate(math.log(start), logs, column), step)


def _interpolate(x: float, grid: Sequence[float], values: Sequence[float]) -> float:
    """Return the quadratic through the three nearest grid points, at `x`."""
    k = min(max(bisect_right(grid, x) - 1, 0), len(grid) - 3)
    x0, x1, x2 = grid[k : k + 3]
    y0, y1, y2 = values[k : k + 3]
    return (
        y0 * (x - x1) * (x - x2) / ((x0 - x1) * (x0 - x2))
        + y1 * (x - x0) * (x - x2) / ((x1 - x0) * (x1 - x2))
        + y2 * (x - x0) * (x - x1) / ((x2 - x0) * (x2 - x1))
    )
