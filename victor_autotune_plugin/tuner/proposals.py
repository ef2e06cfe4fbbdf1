"""Which plan to test next, and when to stop a test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from attrs import frozen

from ..model.plan import TeamPlan
from .explanation import Candidate, NotChosen, Outlook, Proposal, Sensitivity, TestOutlook
from .model import TeamModel
from .normal import Floats
from .objective import Objective
from .space import PlanSpace, distance
from .table import PlanTable
from .weighing import Z90, Weights, p_pass, relative, runs_needed, success_after, weigh


@frozen
class Risk:
    """How bold the tuner is.

    Attributes:
        knobs: Most knobs that are changed at once.
        kept: Least probability that success is kept, for a test to start.
        better: Least probability that the plan is better and success is kept, for a test to start.
        go_on: The same, for a test to go on.
        promote: Least probability that success is kept, for a promotion.
        horizon: Runs in each arm within which a test should prove an improvement.
        pass_chance: Least probability that it does.
        samples: Whether plans are drawn by Thompson sampling instead of taken by what is expected of them.
    """

    knobs: int
    kept: float
    better: float
    go_on: float
    promote: float
    horizon: int
    pass_chance: float
    samples: bool


RISKS: Final = {
    "low": Risk(3, 0.88, 0.85, 0.35, 0.80, 45, 0.5, samples=False),
    "medium": Risk(4, 0.75, 0.70, 0.20, 0.65, 70, 0.3, samples=False),
    "high": Risk(6, 0.55, 0.50, 0.10, 0.50, 100, 0.15, samples=True),
}
"""By name. `low` is the default."""

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
        prior: The same team's model before its first run.
    """

    space: PlanSpace
    live: TeamPlan
    objective: Objective
    risk: Risk
    tried: frozenset[TeamPlan]
    doubt: float
    prior: Callable[[], TeamModel]


def propose(model: TeamModel, search: Search, candidates: Sequence[Candidate], seed: int) -> Proposal:
    """Return the plan that is most worth a test, or why none is.

    Among plans whose probability of keeping success, and of being better, is above the gates of the risk, the one with
    the largest expected gain of a test: what is gained, times the probability that the test proves it in time.

    Args:
        model: What is believed of the team.
        search: What else is known.
        candidates: Plans from elsewhere; they compete with the tuner's own.
        seed: Of the draw, where plans are drawn.
    """
    table, live = model.table, search.live
    if model.total == 0:
        return Proposal(None, "No run of this team was recorded yet.")
    if live not in table.row_of:
        table, here = PlanTable(search.space.spec, [live, *table.plans]), 0
    else:
        here = table.row_of[live]
    own = None if table is model.table else table
    refused: list[NotChosen] = []
    extra = _welcome(candidates, search, table, refused)
    weights, sources = weigh(model, np.arange(len(table.plans)), live, search.objective, search.doubt, own), {}
    weights = _informed(weights, extra, table, sources)
    others, other_table = _unknown(extra, table, live, search.space)
    reasons, open_rows, chance = _ruled_out(weights, table, here, search)
    told = list(refused)
    best: Outlook | None = None
    worth = -math.inf
    if len(open_rows):
        value = _value(weights, chance, search.risk, seed)
        ranked = open_rows[np.argsort(-value[open_rows], kind="stable")]
        row = int(ranked[0])
        worth = float(value[row])
        best = _outlook(model, search, weights, table, row, chance, sources.get(row, "tuner"))
        told += [_less(table.plans[int(r)], weights, int(r), sources) for r in ranked[1 : 1 + TOLD]]
    if others and other_table is not None:
        best = _with_others(model, search, others, other_table, seed, best, worth, told, reasons)
    sensitivity = _sensitivity(weights, table, here)
    if best is None:
        return Proposal(None, _nothing(weights, reasons, model, here), _nearly(weights, table, here, told), reasons, sensitivity)
    return Proposal(best, None, tuple(told[: TOLD + len(refused)]), reasons, sensitivity)


def judge_test(model: TeamModel, search: Search, challenger: TeamPlan) -> TestOutlook:
    """Return whether a running test is worth going on with, and whether a promotion is safe.

    Args:
        model: What is believed of the team, the test's runs included.
        search: What else is known; its live plan is the control.
        challenger: The treatment.
    """
    table, row = PlanTable(search.space.spec, [search.live, challenger]), 1
    weights = weigh(model, [row], search.live, search.objective, search.doubt, table)
    chance = p_pass(weights, search.risk.horizon)
    outlook = _outlook(model, search, weights, table, row, chance, "tuner", place=0)
    least = -math.log1p(-search.objective.minimum_improvement)
    better = float(weights.better(least)[0])
    veto = outlook.p_success_kept < search.risk.promote
    if better < search.risk.go_on:
        return TestOutlook(
            True,
            veto,
            f"The probability that {challenger.describe()} is at least {search.objective.minimum_improvement:.0%} better "
            f"and keeps success is down to {better:.0%}, after {outlook.runs_behind} runs of it.",
            outlook,
        )
    if veto:
        return TestOutlook(
            False, True, f"The probability that success is kept is only {outlook.p_success_kept:.0%}.", outlook
        )
    return TestOutlook(False, False, f"Better and safe with a probability of {better:.0%}.", outlook)


def _welcome(
    candidates: Sequence[Candidate], search: Search, table: PlanTable, refused: list[NotChosen]
) -> list[Candidate]:
    welcome = []
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
    return welcome


def _informed(weights: Weights, extra: Sequence[Candidate], table: PlanTable, sources: dict[int, str]) -> Weights:
    """Combine what others expect of plans with what the model does, by precision."""
    gain, sd = weights.gain.copy(), weights.sd.copy()
    for candidate in extra:
        row = table.row_of.get(candidate.plan)
        if row is not None:
            gain[row], sd[row] = _combined(candidate, gain[row], sd[row])
            sources[row] = candidate.source
    return _replaced(weights, gain, sd)


def _combined(candidate: Candidate, gain: float, sd: float) -> tuple[float, float]:
    low, high = -math.log1p(-candidate.low), -math.log1p(-candidate.high)
    told, width = (low + high) / 2, max(STRATEGY_DOUBT * (high - low) / (2 * Z90), 0.05)
    total = 1 / sd**2 + 1 / width**2
    return (gain / sd**2 + told / width**2) / total, math.sqrt(1 / total)


def _replaced(weights: Weights, gain: Floats, sd: Floats) -> Weights:
    return Weights(
        gain=gain,
        sd=sd,
        by_metric=weights.by_metric,
        odds=weights.odds,
        odds_sd=weights.odds_sd,
        kept=weights.kept,
        success=weights.success,
        level=weights.level,
        noise=weights.noise,
        allowed=weights.allowed,
    )


def _unknown(
    extra: Sequence[Candidate], table: PlanTable, live: TeamPlan, space: PlanSpace
) -> tuple[list[Candidate], PlanTable | None]:
    """Return candidates that are no plans of the table, and a table of them behind the live plan."""
    others = [candidate for candidate in extra if candidate.plan not in table.row_of]
    if not others:
        return [], None
    return others, PlanTable(space.spec, [live, *(candidate.plan for candidate in others)])


def _ruled_out(
    weights: Weights, table: PlanTable, here: int, search: Search
) -> tuple[dict[str, int], Floats, Floats]:
    """Return how many plans each gate rules out, the rows that pass all, and the probability of a pass."""
    risk = search.risk
    chance = p_pass(weights, risk.horizon)
    least = -math.log1p(-search.objective.minimum_improvement)
    tried = np.array([plan in search.tried for plan in table.plans])
    gates = {
        "live": np.arange(len(table.plans)) != here,
        "tested before": ~tried,
        "looser than today": ~table.looser(here),
        "too many knobs at once": table.distance(here) <= risk.knobs,
        "cost or P95 limit": weights.allowed >= 0.9,
        "success may not be kept": weights.kept >= risk.kept,
        "improvement not likely enough": weights.better(least) >= risk.better,
        "too small to prove in time": chance >= risk.pass_chance,
    }
    left = np.ones(len(table.plans), dtype=bool)
    reasons = {}
    for name, gate in gates.items():
        out = int((left & ~gate).sum())
        if out and name != "live":
            reasons[name] = out
        left &= gate
    return reasons, np.flatnonzero(left), chance


def _value(weights: Weights, chance: Floats, risk: Risk, seed: int) -> Floats:
    if not risk.samples:
        return np.asarray(weights.gain * chance * weights.kept)
    rng = np.random.default_rng(seed)
    return np.asarray((weights.gain + weights.sd * rng.standard_normal(len(weights.gain))) * weights.kept)


def _outlook(
    model: TeamModel,
    search: Search,
    weights: Weights,
    table: PlanTable,
    row: int,
    chance: Floats,
    source: str,
    place: int | None = None,
) -> Outlook:
    """Return the outlook of a table's row, which is the `place`-th of the weights."""
    at = row if place is None else place
    plan = table.plans[row]
    gain, sd = float(weights.gain[at]), float(weights.sd[at])
    prior = weigh(search.prior(), [1], search.live, search.objective, 1.0, PlanTable(model.spec, [search.live, plan]))
    before, before_sd = float(prior.gain[0]), float(prior.sd[0])
    return Outlook(
        plan=plan,
        knobs=distance(model.spec, search.live, plan),
        improvement=relative(gain),
        interval=(relative(gain - Z90 * sd), relative(gain + Z90 * sd)),
        improvements={
            name: float(values[at]) if name == "score" else relative(-float(values[at]))
            for name, values in weights.by_metric.items()
        },
        success_change=success_after(weights, at, 0.0),
        success_interval=(success_after(weights, at, -Z90), success_after(weights, at, Z90)),
        p_better=float(weights.better()[at]),
        p_success_kept=float(weights.kept[at]),
        p_harm=float(weights.harm[at]),
        p_pass=float(chance[at]),
        runs_behind=model.runs.get(plan, 0),
        runs_of_live=model.runs.get(search.live, 0),
        runs_needed=runs_needed(gain, weights.noise),
        prior_improvement=relative(before),
        prior_interval=(relative(before - Z90 * before_sd), relative(before + Z90 * before_sd)),
        source=source,
    )


def _with_others(
    model: TeamModel,
    search: Search,
    others: Sequence[Candidate],
    table: PlanTable,
    seed: int,
    best: Outlook | None,
    worth: float,
    told: list[NotChosen],
    reasons: dict[str, int],
) -> Outlook | None:
    """Let candidates compete that are no plans of the space, such as with budgets by member."""
    weights = weigh(model, np.arange(len(table.plans)), search.live, search.objective, search.doubt, table)
    weights = _informed(weights, others, table, {})
    more, rows, chance = _ruled_out(weights, table, 0, search)
    for reason, count in more.items():
        reasons[reason] = reasons.get(reason, 0) + count
    value = _value(weights, chance, search.risk, seed)
    for number, candidate in enumerate(others, start=1):
        if number in rows and value[number] > worth:
            if best is not None:
                told.append(NotChosen(best.plan, "Another plan promises more.", best.improvement, best.source))
            worth = float(value[number])
            best = _outlook(model, search, weights, table, number, chance, candidate.source)
        else:
            gain = relative(float(weights.gain[number]))
            told.append(NotChosen(candidate.plan, "Another plan promises more, or a gate rules it out.", gain, candidate.source))
    return best


def _less(plan: TeamPlan, weights: Weights, row: int, sources: dict[int, str]) -> NotChosen:
    gain = relative(float(weights.gain[row]))
    return NotChosen(plan, "It passes every gate, but promises less than the chosen plan.", gain, sources.get(row, "tuner"))


def _nearly(weights: Weights, table: PlanTable, here: int, told: list[NotChosen]) -> tuple[NotChosen, ...]:
    """Return the most promising plans although no plan passes the gates."""
    order = np.argsort(-weights.gain * weights.kept, kind="stable")
    for row in [int(r) for r in order if r != here][:TOLD]:
        gain = relative(float(weights.gain[row]))
        reason = (
            f"Better and safe with a probability of {float(weights.better()[row]):.0%}, "
            f"success kept with {float(weights.kept[row]):.0%}."
        )
        told.append(NotChosen(table.plans[row], reason, gain))
    return tuple(told)


def _nothing(weights: Weights, reasons: dict[str, int], model: TeamModel, here: int) -> str:
    if len(weights.gain) < 2:
        return "The team's members and the limits leave no other plan than today's."
    if not reasons:
        return "There is no other plan."
    others = np.delete(np.arange(len(weights.gain)), here)
    best = others[int(np.argmax(weights.better()[others]))]
    main = max(reasons, key=lambda name: reasons[name])
    return (
        f"Not enough evidence for any change after {model.total} runs: the likeliest to be better is so with a "
        f"probability of {float(weights.better()[best]):.0%}. Most plans are ruled out by: {main}."
    )


def _sensitivity(weights: Weights, table: PlanTable, here: int) -> tuple[Sensitivity, ...]:
    layout = table.layout
    same_members = (table.takes_part[layout] == table.takes_part[layout[here]]).all(axis=1)
    same_layout, same_kind = layout == layout[here], table.kind[layout] == table.kind[layout[here]]
    same_budget, same_timeout = table.budget == table.budget[here], table.timeout == table.timeout[here]
    knobs = {
        "formation": same_members & ~same_layout & same_budget & same_timeout,
        "members": ~same_members & same_kind & same_budget & same_timeout,
        "tool_budget": same_layout & ~same_budget & same_timeout,
        "timeout_seconds": same_layout & same_budget & ~same_timeout,
    }
    found = []
    for knob, chosen in knobs.items():
        rows = np.flatnonzero(chosen)
        if len(rows):
            gains = weights.gain[rows]
            best = int(rows[int(gains.argmax())])
            found.append(
                Sensitivity(
                    knob, relative(float(gains.max())), relative(float(gains.min())), len(rows), table.plans[best]
                )
            )
    return tuple(found)
