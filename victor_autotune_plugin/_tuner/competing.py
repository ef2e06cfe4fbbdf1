"""The plans that compete for the next test: weighed, and held against the gates of the risk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from .._model.plan import TeamPlan
from .explanation import Candidate
from .model import TeamModel
from .normal import Floats
from .risk import Risk, Search
from .table import Ints, PlanTable
from .weighing import Z90, Weights, p_pass, p_shown_kept, weigh

STOPPED_AFTER: Final = 8
"""Runs of a challenger after which a harm is usually seen; what a start is expected to spend on a worse plan."""

LEAST_LEFT: Final = 10
"""Runs in each arm that a test is always thought to have left."""

STRATEGY_DOUBT: Final = 1.5
"""Factor on the width of the interval that somebody else gives: it is no posterior."""


@frozen
class Field:
    """The plans that compete, weighed. Arrays of shape (p,), one entry for each of `rows`.

    Attributes:
        table: The plans.
        here: Row of the live plan.
        rows: Rows of the plans that compete.
        weights: What they promise.
        chance: Probability that a test proves their improvement within the horizon.
        sources: Who suggested a plan besides the tuner, by place in `rows`.
    """

    table: PlanTable
    here: int
    rows: Ints
    weights: Weights
    chance: Floats
    sources: dict[int, str]

    def plan(self, place: int) -> TeamPlan:
        """Return the plan at a place of `rows`."""
        return self.table.plans[int(self.rows[place])]

    def source(self, place: int) -> str:
        """Return who suggested it."""
        return self.sources.get(place, "tuner")


def compete(model: TeamModel, search: Search, candidates: Sequence[Candidate]) -> Field:
    """Weigh every plan that is near enough to the live one, and all candidates."""
    table, live = model.table, search.live
    strangers = [candidate.plan for candidate in candidates if candidate.plan not in table.row_of]
    if strangers or live not in table.row_of:
        others = [plan for plan in table.plans if plan != live]
        table = PlanTable(search.space.spec, list(dict.fromkeys([live, *others, *strangers])))
    here = table.row_of[live]
    far = table.distance(here)
    suggested = {table.row_of[candidate.plan]: candidate for candidate in candidates}
    open_rows = (far > 0) & (far <= search.risk.knobs) & ~table.looser(here)
    open_rows[list(suggested)] = True
    rows: Ints = np.flatnonzero(open_rows).astype(np.int64)
    weights = weigh(model, rows, live, search.objective, search.doubt, None if table is model.table else table)
    sources: dict[int, str] = {}
    gain, sd = weights.gain.copy(), weights.sd.copy()
    for place, row in enumerate(rows.tolist() if suggested else []):
        if row in suggested:
            gain[place], sd[place] = _combined(suggested[row], gain[place], sd[place])
            sources[place] = suggested[row].source
    weights = evolve(weights, gain=gain, sd=sd)
    return Field(table, here, rows, weights, chance_of(weights, search.risk, 0), sources)


def chance_of(weights: Weights, risk: Risk, done: int) -> Floats:
    """Return the probability that a test leads to a promotion within the horizon, after `done` runs of the plan."""
    left = max(risk.horizon - done, LEAST_LEFT)
    return p_pass(weights, done + left) * p_shown_kept(weights, left, risk.promote)


def _combined(candidate: Candidate, gain: float, sd: float) -> tuple[float, float]:
    """Combine what somebody else expects of a plan with what the model does, by precision."""
    low, high = -math.log1p(-candidate.low), -math.log1p(-candidate.high)
    told, width = (low + high) / 2, max(STRATEGY_DOUBT * (high - low) / (2 * Z90), 0.05)
    total = 1 / sd**2 + 1 / width**2
    return (gain / sd**2 + told / width**2) / total, math.sqrt(1 / total)


def gates(model: TeamModel, competing: Field, search: Search) -> tuple[dict[str, int], NDArray[np.bool_]]:
    """Return how many plans each gate rules out, in the order of the gates, and which pass all, shape (p,)."""
    risk, weights = search.risk, competing.weights
    tried = np.zeros(len(competing.table.plans), dtype=bool)
    tried[[competing.table.row_of[plan] for plan in search.tried if plan in competing.table.row_of]] = True
    # What a test may spend on a worse plan, from the runs so far and those of the test itself.
    allowed = risk.exposure * (model.total + 2 * STOPPED_AFTER) - search.exposed
    passes = {
        "tested before": ~tried[competing.rows],
        "too many knobs at once": competing.table.distance(competing.here)[competing.rows] <= risk.knobs,
        "over the cost or P95 limit": weights.allowed >= 0.9,
        "improvement too small": weights.gain >= search.least_gain,
        "success may not be kept, or it may be slower": weights.harm <= risk.harm,
        "enough runs were put at risk for now": weights.harm * STOPPED_AFTER <= allowed,
        "unlikely to be proven better and safe in time": competing.chance >= risk.start,
    }
    left = np.ones(len(competing.rows), dtype=bool)
    reasons = {}
    for name, gate in passes.items():
        out = int((left & ~gate).sum())
        if out:
            reasons[name] = out
        left &= gate
    return reasons, left


def value_of(competing: Field, risk: Risk, seed: int) -> Floats:
    """Return what a test of each plan is worth: its expected gain times the chance of a promotion, or a draw of it.

    Args:
        competing: The plans.
        risk: Whether to draw (Thompson sampling).
        seed: Of the draw.
    """
    weights = competing.weights
    if not risk.samples:
        return np.asarray(weights.gain * competing.chance * (1 - weights.harm))
    rng = np.random.default_rng(seed)
    return np.asarray((weights.gain + weights.sd * rng.standard_normal(len(weights.gain))) * weights.kept)
