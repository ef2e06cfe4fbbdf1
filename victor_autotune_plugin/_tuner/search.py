"""The plans that compete for the next test, weighed, and the gates that the wanted risk sets them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from .._dataflow.verdict import Rules
from .._model.plan import TeamPlan
from .model import TeamModel
from .plan_table import PlanTable
from .proposal import Rival
from .regression import Floats, Ints, cdf, pdf
from .space import PlanSpace
from .weighing import Z90, Objective, Weights, gain_proven, p_work_proven, weigh

STOPPED_AFTER: Final = 8
"""Runs of a challenger after which a harm is usually seen; what a start is expected to spend on a worse plan."""

WORTH_RUNS: Final = 100
"""Runs for which a better plan is thought to serve: what a test is worth, against what it risks."""

LOST_WORK: Final = 2.0
"""What a run is worth whose work is lost, in log units of the objective: as much as one that takes 7 times as long."""

KNOB_COST: Final = 1.0
"""What each knob that is changed has to bring, in the same units: small changes are easier to prove."""

FREE_RUNS: Final = 8
"""Runs of plans that turned out worse that every team may spend before their share counts."""

FIRST_LOOK: Final = 20
"""Runs after which a team that never had a test gets that of a plan with a large gain, however uncertain it is that the
work is kept: belief alone must not forbid the only look that could change it. The canary bounds what it costs."""

LARGE_GAIN: Final = -math.log1p(-0.20)
"""Expected log gain from which it does."""

HOPELESS: Final = 0.03
"""Probability of being better and safe below which a test gives way to the next one."""

STRATEGY_DOUBT: Final = 1.5
"""Factor on the width of the interval that a strategy gives: it is not a posterior."""


@frozen
class Risk:
    """How bold the tuner is.

    Attributes:
        knobs: Most knobs that are changed at once.
        exposure: Most share of the team's runs that may have gone to plans that turned out worse, for a test to start.
        horizon: Runs in each arm within which a test should prove an improvement.
        samples: Whether plans are drawn by Thompson sampling instead of taken by what is expected of them.
    """

    knobs: int
    exposure: float
    horizon: int
    samples: bool


RISKS: Final = {
    "low": Risk(3, 0.06, 80, samples=False),
    "medium": Risk(4, 0.15, 80, samples=False),
    "high": Risk(6, 0.30, 100, samples=True),
}
"""By name. `low` is the default."""


CHANGES_WORK: Final = "the work may not stay the same"
"""What the gate of the data flow rules plans out for."""

TOO_RISKY: Final = "a test may cost more than it is expected to bring"
"""What the gate of the value of information does."""


@frozen
class Search:
    """What a search for the next plan knows besides the model.

    Attributes:
        space: The plans.
        live: The plan that runs today.
        objective: What is wanted.
        risk: How bold to be.
        tried: Plans that were tested and are not to be tested again.
        exposed: Runs that went to plans that turned out worse.
        prior: What was believed of a plan's gain before the first run: mean and standard deviation.
        rules: What keeps the work and what may not be chosen, by the team's data flow; None without such rules.
    """

    space: PlanSpace
    live: TeamPlan
    objective: Objective
    risk: Risk
    tried: frozenset[TeamPlan]
    exposed: int
    prior: Callable[[TeamPlan], tuple[float, float]]
    rules: Rules | None = None

    @property
    def least_gain(self) -> float:
        """Log improvement below which a change is not worth a test."""
        return -math.log1p(-self.objective.minimum_improvement)

    def keeping(self, table: PlanTable, rows: Ints) -> NDArray[np.bool_]:
        """Return which plans of a table, which has the live one, keep the work by the team's data flow, shape (p,)."""
        if self.rules is None:
            return np.zeros(len(rows), dtype=bool)
        found = table.has_same_members(table.row_of[self.live])[rows]  # few do: the rest need not be asked of
        for place in np.flatnonzero(found).tolist():
            found[place] = self.rules.keeps_work(table.plans[int(rows[place])], self.live)
        return found

    def refusal(self, plan: TeamPlan) -> str | None:
        """Return why a plan may not be chosen, whatever it promises, or None."""
        return None if self.rules is None else self.rules.refusal(plan, self.live)


@frozen
class Contenders:
    """The plans that compete, weighed. Arrays of shape (p,), one entry for each of `rows`.

    Attributes:
        table: The plans.
        here: Row of the live plan.
        rows: Rows of the plans that compete.
        weights: What they promise.
        chance: Probability that a test proves their improvement, and that the work is kept, within the horizon.
        worth: What a test of each is expected to bring, in log units of the objective times runs.
        sources: Who suggested a plan besides the tuner, by place in `rows`.
    """

    table: PlanTable
    here: int
    rows: Ints
    weights: Weights
    chance: Floats
    worth: Floats
    sources: dict[int, str]

    def plan(self, place: int) -> TeamPlan:
        """Return the plan at a place of `rows`."""
        return self.table.plans[int(self.rows[place])]

    def source(self, place: int) -> str:
        """Return who suggested it."""
        return self.sources.get(place, "tuner")


def compete(model: TeamModel, search: Search, rivals: Sequence[Rival]) -> Contenders:
    """Weigh every plan that is near enough to the live one, and all rivals."""
    live, team = search.live, model.table.row_of
    strangers = [rival.plan for rival in rivals if rival.plan not in team]
    if live in team:
        known = [rival.plan for rival in rivals if rival.plan in team]
        table = model.near(live, search.risk.knobs, known)
    else:
        table = PlanTable(search.space.spec, [live, *model.table.plans])
    if strangers:
        others = [plan for plan in table.plans if plan != live]
        table = PlanTable(search.space.spec, list(dict.fromkeys([live, *others, *strangers])))
    here = table.row_of[live]
    far = table.distance(here)
    suggested = {table.row_of[rival.plan]: rival for rival in rivals}
    open_rows = (far > 0) & (far <= search.risk.knobs) & ~table.looser(here)
    open_rows[list(suggested)] = True
    rows: Ints = np.flatnonzero(open_rows).astype(np.int64)
    weights = weigh(model, rows, live, search.objective, table, search.keeping(table, rows))
    sources: dict[int, str] = {}
    gain, sd = weights.gain.copy(), weights.sd.copy()
    for place, row in enumerate(rows.tolist() if suggested else []):
        if row in suggested:
            gain[place], sd[place] = _combined(suggested[row], gain[place], sd[place])
            sources[place] = suggested[row].source
    weights = evolve(weights, gain=gain, sd=sd)
    return contenders_of(table, here, rows, weights, search, sources)


def contenders_of(
    table: PlanTable, here: int, rows: Ints, weights: Weights, search: Search, sources: dict[int, str]
) -> Contenders:
    """Return plans that compete, with what a test of each is likely to prove and expected to bring.

    That is the value of the information (Raiffa and Schlaifer 1961): what a better plan saves over `WORTH_RUNS`, as
    likely as a test finds it better and the work is kept, less what its first runs lose if it is worse. The canary ends
    a plan that is far worse after `STOPPED_AFTER` runs, so the loss is bounded, whatever is believed of it.
    """
    horizon, least, gain, sd = search.risk.horizon, search.least_gain, weights.gain, weights.sd
    chance, proven = gain_proven(weights, horizon)
    work = np.where(weights.keeps, 1.0, p_work_proven(weights, horizon, search.objective.tested_margin))
    z = (gain - least) / sd
    gained = gain * cdf(z) + sd * pdf(z)  # E[gain where it is above least, else 0]
    slower = gain * weights.p_gain + sd * pdf(gain / sd) - gain
    # A layout goes on probation as soon as it is likely to be better, and the work has to be kept and the test's runs
    # have to say so, which is as unlikely near the margin. All else waits for both proofs.
    layout = gained * np.where(weights.keeps, 1.0, weights.kept**2)
    served = np.where(table.work[rows] == table.work[here], layout, proven * work * weights.kept)
    risked = STOPPED_AFTER * (np.maximum(slower, 0.0) + LOST_WORK * (1 - weights.kept))
    worth = WORTH_RUNS * served - risked - KNOB_COST * table.distance(here)[rows]
    return Contenders(table, here, rows, weights, chance * np.minimum(work, weights.kept), worth, sources)


def _combined(rival: Rival, gain: float, sd: float) -> tuple[float, float]:
    """Combine what a strategy expects of a plan with what the model does, by precision."""
    low, high = -math.log1p(-rival.low), -math.log1p(-rival.high)
    told, width = (low + high) / 2, max(STRATEGY_DOUBT * (high - low) / (2 * Z90), 0.05)
    total = 1 / sd**2 + 1 / width**2
    return (gain / sd**2 + told / width**2) / total, math.sqrt(1 / total)


def gates(model: TeamModel, contenders: Contenders, search: Search) -> tuple[dict[str, int], NDArray[np.bool_]]:
    """Return how many plans each gate rules out, in the order of the gates, and which pass all, shape (p,)."""
    risk, weights = search.risk, contenders.weights
    tried = np.zeros(len(contenders.table.plans), dtype=bool)
    tried[[contenders.table.row_of[plan] for plan in search.tried if plan in contenders.table.row_of]] = True
    may_expose = search.exposed <= FREE_RUNS + risk.exposure * model.total
    passes = {
        CHANGES_WORK: _allowed(contenders, search),
        "tested before": ~tried[contenders.rows],
        "too many knobs at once": contenders.table.distance(contenders.here)[contenders.rows] <= risk.knobs,
        "over the cost or P95 limit": weights.allowed >= 0.9,
        "improvement too small": weights.gain >= search.least_gain,
        TOO_RISKY: contenders.worth > 0,
        "enough runs went to plans that turned out worse": np.full(len(contenders.rows), may_expose),
    }
    left = np.ones(len(contenders.rows), dtype=bool)
    if not search.tried and model.total >= FIRST_LOOK:
        passes[TOO_RISKY] |= weights.gain >= LARGE_GAIN
    reasons = {}
    for name, gate in passes.items():
        out = int((left & ~gate).sum())
        if out:
            reasons[name] = out
        left &= gate
    return reasons, left


def _allowed(contenders: Contenders, search: Search) -> NDArray[np.bool_]:
    rules, keeps = search.rules, contenders.weights.keeps
    if rules is None or (rules.opens_work and not rules.knowledge.binding):
        return np.ones(len(keeps), dtype=bool)
    if not rules.opens_work:
        return keeps
    return np.array([rules.allows(contenders.plan(place), keeps=kept) for place, kept in enumerate(keeps.tolist())])


def draw(contenders: Contenders, seed: int) -> Floats:
    """Return a draw of what each plan gains, as likely as it keeps the work, shape (p,) (Thompson sampling)."""
    weights = contenders.weights
    rng = np.random.default_rng(seed)
    return np.asarray((weights.gain + weights.sd * rng.standard_normal(len(weights.gain))) * weights.kept)
