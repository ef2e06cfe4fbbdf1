"""Which plan to test next, and when to stop a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from .._model.plan import TeamPlan
from .competing import Field, chance_of, compete, gates, value_of
from .explanation import Candidate, NotChosen, Outlook, Proposal, Sensitivity, TestOutlook
from .model import TeamModel
from .risk import Search
from .space import distance
from .table import Ints, PlanTable
from .weighing import Z90, relative, runs_needed, success_after, weigh

TOLD: Final = 3
"""How many plans that were not chosen are told of."""


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
    if "cost" in search.objective.shares and not model.priced:
        return Proposal(None, "Cost is to be improved, but no run has a price yet.")
    if (broken := search.space.cannot_run(search.live)) is not None:
        return Proposal(None, f"The live plan can't run as it is: {broken}. Roll it back first.")
    welcome, refused = _welcome(candidates, search)
    competing = compete(model, search, welcome)
    if not len(competing.rows):
        reason = "The team's members and the limits leave no other plan than today's."
        return Proposal(None, reason, tuple(refused))
    reasons, left = gates(model, competing, search)
    value = value_of(competing, search.risk, seed)
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
    named = {best.plan, *(other.plan for other in (*others, *losers))}
    nearly = [other for other in _nearly(competing) if other.plan not in named][: TOLD - len(others)]
    return Proposal(best, None, (*refused, *others, *losers, *nearly), reasons, sensitivity)


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
    competing = Field(table, 0, rows, weights, chance_of(weights, search.risk, model.runs.get(challenger, 0)), {})
    outlook = _outlook(model, search, competing, 0)
    better = float(weights.better()[0])
    kept = outlook.p_success_kept
    name, after = challenger.describe(), f"after {outlook.runs_behind} runs of it"
    veto = kept < search.risk.promote
    if promoted:
        reason = f"The probability that {name} keeps success is {100 * kept:.0f} %, {after}."
        return TestOutlook(kept < search.risk.keep, veto, reason, outlook)
    if outlook.p_pass < search.risk.go_on:
        reason = (
            f"The probability that {name} is proven better and safe is down to {100 * outlook.p_pass:.0f} %, {after}; "
            f"it keeps success with {100 * kept:.0f} %."
        )
        return TestOutlook(True, veto, reason, outlook)
    if veto:
        reason = f"The probability that {name} keeps success is only {100 * kept:.0f} %, {after}."
        return TestOutlook(False, True, reason, outlook)
    return TestOutlook(False, False, f"Better and safe with a probability of {100 * better:.0f} %, {after}.", outlook)


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
    """Return the most promising plans, whether they pass the gates or not, and how sure they are."""
    weights = competing.weights
    order = np.argsort(-weights.gain * (1 - weights.harm), kind="stable")
    return [
        _told(
            competing,
            int(place),
            f"Better and safe with a probability of {100 * float(weights.better()[place]):.0f} %, "
            f"success kept with {100 * float(weights.kept[place]):.0f} %.",
        )
        for place in order[:TOLD]
    ]


def _nothing(competing: Field, reasons: dict[str, int], model: TeamModel) -> str:
    main = max(reasons, key=lambda name: reasons[name])
    return (
        f"Not enough evidence for any change after {model.total} runs: the likeliest to be better and safe is so with "
        f"a probability of {100 * float(competing.weights.better().max()):.0f} %. Most plans are ruled out by: {main}."
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
