"""Which plan to test next, and when to stop a test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from ..model.plan import TeamPlan
from .explanation import Candidate, NotChosen, Outlook, Proposal, Sensitivity, TestOutlook
from .model import TeamModel
from .normal import Floats
from .objective import Objective
from .space import PlanSpace, distance
from .table import Ints, PlanTable
from .weighing import Z90, Weights, p_pass, p_shown_kept, relative, runs_needed, success_after, weigh


@frozen
class Risk:
    """How bold the tuner is.

    Attributes:
        knobs: Most knobs that are changed at once.
        harm: Most probability that the plan is worse or loses success, for a test to start.
        exposure: Most share of the team's runs that is expected to be spent on worse plans.
        start: Least probability that a test leads to a promotion, for it to start.
        go_on: The same, for it to go on.
        promote: Least probability that success is kept, for a promotion.
        keep: The same, for a promoted plan to stay.
        horizon: Runs in each arm within which a test should prove an improvement.
        samples: Whether plans are drawn by Thompson sampling instead of taken by what is expected of them.
    """

    knobs: int
    harm: float
    exposure: float
    start: float
    go_on: float
    promote: float
    keep: float
    horizon: int
    samples: bool


RISKS: Final = {
    "low": Risk(3, 0.65, 0.08, 0.15, 0.10, 0.90, 0.75, 80, samples=False),
    "medium": Risk(4, 0.75, 0.18, 0.12, 0.08, 0.80, 0.60, 80, samples=False),
    "high": Risk(6, 0.85, 0.30, 0.05, 0.03, 0.65, 0.40, 100, samples=True),
}
"""By name. `low` is the default."""

STOPPED_AFTER: Final = 8
"""Runs of a challenger after which a harm is usually seen; what a start is expected to spend on a worse plan."""

LEAST_LEFT: Final = 10
"""Runs in each arm that a test is always thought to have left."""

STRATEGY_DOUBT: Final = 1.5
"""Factor on the width of the interval that somebody else gives: it is no posterior."""

TOLD: Final = 3
"""How many plans that were not chosen are told of."""


@frozen
class Search:
    """What a search for the next plan knows besides the model.

    Attributes:
        space: The plans.
        live: The plan that runs today.
        objective: What is wanted.
        risk: How bold to be.
        tried: Plans that were tested and are not to be tested again.
        doubt: See `weighing.weigh`.
        exposed: Runs that are expected to have been spent on worse plans so far.
        prior: The same team's model before its first run.
    """

    space: PlanSpace
    live: TeamPlan
    objective: Objective
    risk: Risk
    tried: frozenset[TeamPlan]
    doubt: float
    exposed: float
    prior: Callable[[], TeamModel]

    @property
    def least_gain(self) -> float:
        """Log improvement below which a change is not worth a test."""
        return -math.log1p(-self.objective.minimum_improvement)


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


def propose(model: TeamModel, search: Search, candidates: Sequence[Candidate], seed: int) -> Proposal:
    """Return the plan that is most worth a test, or why none is.

    Among plans that pass the gates of the risk, the one with the largest expected gain of a test: what is gained, times
    the probability that the test proves it in time and that success is kept.

    Args:
        model: What is believed of the team.
        search: What else is known.
        candidates: Plans from elsewhere; they compete with the tuner's own.
        seed: Of the draw, where plans are drawn.
    """
    if model.total == 0:
        return Proposal(None, "No run of this team was recorded yet.")
    welcome, refused = _welcome(candidates, search)
    competing = _field(model, search, welcome)
    if not len(competing.rows):
        reason = "The team's members and the limits leave no other plan than today's."
        return Proposal(None, reason, tuple(refused))
    reasons, left = _gates(model, competing, search)
    value = _value(competing, search.risk, seed)
    sensitivity = _sensitivity(competing)
    if not left.any():
        told = (*refused, *_nearly(competing))
        return Proposal(None, _nothing(competing, reasons, model), told, reasons, sensitivity)
    open_places = np.flatnonzero(left)
    ranked = open_places[np.argsort(-value[open_places], kind="stable")]
    others = [
        _told(competing, int(place), "It passes every gate, but promises less.") for place in ranked[1 : 1 + TOLD]
    ]
    losers = [
        _told(competing, place, "A gate rules it out, or another plan promises more.")
        for place in competing.sources
        if place != ranked[0] and place not in ranked[1 : 1 + TOLD]
    ]
    best = _outlook(model, search, competing, int(ranked[0]))
    return Proposal(best, None, (*refused, *others, *losers), reasons, sensitivity)


def judge_test(model: TeamModel, search: Search, challenger: TeamPlan, *, promoted: bool = False) -> TestOutlook:
    """Return whether a running test is worth going on with, and whether a promotion is safe.

    Args:
        model: What is believed of the team, the test's runs included.
        search: What else is known; its live plan is the control.
        challenger: The treatment.
        promoted: Whether it was promoted already and is being watched: then only lost success stops it.
    """
    table = PlanTable(search.space.spec, [search.live, challenger])
    rows: Ints = np.array([1], dtype=np.int64)
    weights = weigh(model, rows, search.live, search.objective, search.doubt, table)
    competing = Field(table, 0, rows, weights, _chance(weights, search.risk, model.runs.get(challenger, 0)), {})
    outlook = _outlook(model, search, competing, 0)
    better = float(weights.better()[0])
    kept = outlook.p_success_kept
    name, after = challenger.describe(), f"after {outlook.runs_behind} runs of it"
    veto = kept < search.risk.promote
    if promoted:
        reason = f"The probability that {name} keeps success is {kept:.0%}, {after}."
        return TestOutlook(kept < search.risk.keep, veto, reason, outlook)
    if outlook.p_pass < search.risk.go_on:
        reason = (
            f"The probability that {name} is proven better and safe is down to {outlook.p_pass:.0%}, {after}; "
            f"it keeps success with {kept:.0%}."
        )
        return TestOutlook(True, veto, reason, outlook)
    if veto:
        reason = f"The probability that {name} keeps success is only {kept:.0%}, {after}."
        return TestOutlook(False, True, reason, outlook)
    return TestOutlook(False, False, f"Better and safe with a probability of {better:.0%}, {after}.", outlook)


def _welcome(candidates: Sequence[Candidate], search: Search) -> tuple[list[Candidate], list[NotChosen]]:
    welcome, refused = [], []
    for candidate in candidates:
        reason = search.space.refusal(candidate.plan, search.live)
        if reason is None and candidate.plan in search.tried:
            reason = "it was tested before"
        if reason is None and candidate.plan == search.live:
            reason = "it is the live plan"
        if reason is None:
            welcome.append(candidate)
        else:
            middle = (candidate.low + candidate.high) / 2
            refused.append(NotChosen(candidate.plan, f"Refused: {reason}.", middle, candidate.source))
    return welcome, refused


def _field(model: TeamModel, search: Search, candidates: Sequence[Candidate]) -> Field:
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
    return Field(table, here, rows, weights, _chance(weights, search.risk, 0), sources)


def _chance(weights: Weights, risk: Risk, done: int) -> Floats:
    """Return the probability that a test leads to a promotion within the horizon, after `done` runs of the plan."""
    left = max(risk.horizon - done, LEAST_LEFT)
    return p_pass(weights, done + left) * p_shown_kept(weights, left, risk.promote)


def _combined(candidate: Candidate, gain: float, sd: float) -> tuple[float, float]:
    """Combine what somebody else expects of a plan with what the model does, by precision."""
    low, high = -math.log1p(-candidate.low), -math.log1p(-candidate.high)
    told, width = (low + high) / 2, max(STRATEGY_DOUBT * (high - low) / (2 * Z90), 0.05)
    total = 1 / sd**2 + 1 / width**2
    return (gain / sd**2 + told / width**2) / total, math.sqrt(1 / total)


def _gates(model: TeamModel, competing: Field, search: Search) -> tuple[dict[str, int], NDArray[np.bool_]]:
    """Return how many plans each gate rules out, and which pass all."""
    risk, weights = search.risk, competing.weights
    tried = np.zeros(len(competing.table.plans), dtype=bool)
    tried[[competing.table.row_of[plan] for plan in search.tried if plan in competing.table.row_of]] = True
    # What a test may spend on a worse plan, from the runs so far and those of the test itself.
    allowed = risk.exposure * (model.total + 2 * STOPPED_AFTER) - search.exposed
    gates = {
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
    for name, gate in gates.items():
        out = int((left & ~gate).sum())
        if out:
            reasons[name] = out
        left &= gate
    return reasons, left


def _value(competing: Field, risk: Risk, seed: int) -> Floats:
    weights = competing.weights
    if not risk.samples:
        return np.asarray(weights.gain * competing.chance * (1 - weights.harm))
    rng = np.random.default_rng(seed)
    return np.asarray((weights.gain + weights.sd * rng.standard_normal(len(weights.gain))) * weights.kept)


def _outlook(model: TeamModel, search: Search, competing: Field, place: int) -> Outlook:
    plan, weights = competing.plan(place), competing.weights
    gain, sd = float(weights.gain[place]), float(weights.sd[place])
    two = PlanTable(model.spec, [search.live, plan])
    prior = weigh(search.prior(), np.array([1]), search.live, search.objective, 1.0, two)
    before, before_sd = float(prior.gain[0]), float(prior.sd[0])
    return Outlook(
        plan=plan,
        knobs=distance(model.spec, search.live, plan),
        improvement=relative(gain),
        interval=(relative(gain - Z90 * sd), relative(gain + Z90 * sd)),
        improvements={
            name: float(values[place]) if name == "score" else relative(-float(values[place]))
            for name, values in weights.by_metric.items()
        },
        success_change=success_after(weights, place, 0.0),
        success_interval=(success_after(weights, place, -Z90), success_after(weights, place, Z90)),
        p_better=float(weights.better()[place]),
        p_success_kept=float(weights.kept[place]),
        p_harm=float(weights.harm[place]),
        p_pass=float(competing.chance[place]),
        runs_behind=model.runs.get(plan, 0),
        runs_of_live=model.runs.get(search.live, 0),
        runs_needed=runs_needed(gain, weights.noise),
        prior_improvement=relative(before),
        prior_interval=(relative(before - Z90 * before_sd), relative(before + Z90 * before_sd)),
        source=competing.source(place),
    )


def _told(competing: Field, place: int, reason: str) -> NotChosen:
    improvement = relative(float(competing.weights.gain[place]))
    return NotChosen(competing.plan(place), reason, improvement, competing.source(place))


def _nearly(competing: Field) -> list[NotChosen]:
    """Return the most promising plans although no plan passes the gates."""
    weights = competing.weights
    order = np.argsort(-weights.gain * (1 - weights.harm), kind="stable")
    return [
        _told(
            competing,
            int(place),
            f"Better and safe with a probability of {float(weights.better()[place]):.0%}, "
            f"success kept with {float(weights.kept[place]):.0%}.",
        )
        for place in order[:TOLD]
    ]


def _nothing(competing: Field, reasons: dict[str, int], model: TeamModel) -> str:
    main = max(reasons, key=lambda name: reasons[name])
    return (
        f"Not enough evidence for any change after {model.total} runs: the likeliest to be better and safe is so with "
        f"a probability of {float(competing.weights.better().max()):.0%}. Most plans are ruled out by: {main}."
    )


def _sensitivity(competing: Field) -> tuple[Sensitivity, ...]:
    table, here, rows = competing.table, competing.here, competing.rows
    layout = table.layout[rows]
    now = table.layout[here]
    same_members = (table.takes_part[layout] == table.takes_part[now]).all(axis=1)
    same_layout, same_kind = layout == now, table.kind[layout] == table.kind[now]
    same_budget, same_timeout = table.budget[rows] == table.budget[here], table.timeout[rows] == table.timeout[here]
    knobs = {
        "formation": same_members & ~same_layout & same_budget & same_timeout,
        "members": ~same_members & same_kind & same_budget & same_timeout,
        "tool_budget": same_layout & ~same_budget & same_timeout,
        "timeout_seconds": same_layout & same_budget & ~same_timeout,
    }
    found = []
    for knob, chosen in knobs.items():
        places = np.flatnonzero(chosen)
        if len(places):
            gains = competing.weights.gain[places]
            best = competing.plan(int(places[int(gains.argmax())]))
            ends = relative(float(gains.max())), relative(float(gains.min()))
            found.append(Sensitivity(knob, *ends, len(places), best))
    return tuple(found)
