"""Which plan to test next, and when to stop a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from .._model.plan import TeamPlan
from .._model.text import count, percent, plan_text
from .model import TeamModel
from .plan_table import PlanTable
from .proposal import NotChosen, Outlook, Proposal, Rival, Sensitivity, TestOutlook
from .regression import Ints, cdf
from .search import (
    CHANGES_WORK,
    HOPELESS,
    STOPPED_AFTER,
    Contenders,
    Search,
    compete,
    contenders_of,
    draw,
    gates,
)
from .space import distance
from .weighing import Z90, Weights, relative, runs_needed, success_after, weigh

DOWN_AFTER: Final = 10
"""Runs in which no member succeeded after which nothing is tested: there is no work that a plan could keep."""

TOLD: Final = 3
"""How many plans that were not chosen are told of."""


def propose(model: TeamModel, search: Search, rivals: Sequence[Rival], seed: int) -> Proposal:
    """Return the plan that is most worth a test, or why none is.

    Among plans that pass the gates of the risk, the one with the largest expected gain of a test: what is gained, times
    the probability that it is better and keeps the work, less what its first runs risk.

    Args:
        model: What is believed of the team.
        rivals: Plans from elsewhere; they compete with the tuner's own.
        seed: Of the draw, where plans are drawn.
    """
    if model.total == 0:
        return Proposal(None, "No run of this team has been recorded yet.")
    if model.failed_in_a_row >= DOWN_AFTER:
        failed = count(model.failed_in_a_row, "run")
        return Proposal(None, f"No member succeeded in the last {failed}: what is wrong there comes before any plan.")
    if "cost" in search.objective.shares and not model.priced:
        return Proposal(None, "The objective includes cost, but no run has a price yet.")
    if (broken := search.space.cannot_run(search.live)) is not None:
        return Proposal(None, f"The live plan can no longer run: {broken}. Roll it back first.")
    welcome, refused = _welcome(rivals, search)
    contenders = compete(model, search, welcome)
    if not len(contenders.rows):
        reason = "The team's members and the limits allow no other plan."
        return Proposal(None, reason, tuple(refused))
    reasons, left = gates(model, contenders, search)
    value = draw(contenders, seed) if search.risk.samples else contenders.worth
    sensitivity = _sensitivity(contenders)
    if not left.any():
        told = (*refused, *_nearly(contenders, search))
        return Proposal(None, _nothing(contenders, reasons, model, search), told, reasons, sensitivity)
    open_places = np.flatnonzero(left)
    ranked = open_places[np.argsort(-value[open_places], kind="stable")]
    others = [_told(contenders, int(place), "Passes every gate but promises less.") for place in ranked[1 : 1 + TOLD]]
    losers = [
        _told(contenders, place, "A gate rules it out, or another plan promises more.")
        for place in contenders.sources
        if place != ranked[0] and place not in ranked[1 : 1 + TOLD]
    ]
    best = _outlook(model, search, contenders, int(ranked[0]))
    named = {best.plan, *(other.plan for other in (*others, *losers))}
    nearly = [other for other in _nearly(contenders, search) if other.plan not in named][: TOLD - len(others)]
    return Proposal(best, None, (*refused, *others, *losers, *nearly), reasons, sensitivity)


def judge_test(model: TeamModel, search: Search, challenger: TeamPlan) -> TestOutlook:
    """Return whether a running test gives way to the next one, and what is believed of its plan.

    Args:
        model: What is believed of the team, the test's runs included.
        search: What else is known; its live plan is the control.
    """
    table = PlanTable(search.space.spec, [search.live, challenger])
    rows: Ints = np.array([1], dtype=np.int64)
    weights = weigh(model, rows, search.live, search.objective, table, search.keeping(table, rows))
    contenders = contenders_of(table, 0, rows, weights, search, {})
    outlook = _outlook(model, search, contenders, 0)
    better = outlook.p_better
    likely = f"{percent(better)} likely to be better and safe"
    about = f"After {count(outlook.runs_behind, 'run')}, {plan_text(challenger)} is"
    if "cost" in search.objective.shares and not model.priced:
        return TestOutlook(False, f"{about} {likely}, but no run has a price yet.", outlook)
    if better < HOPELESS:
        return TestOutlook(True, f"{about} only {likely}.", outlook)
    if outlook.runs_behind >= STOPPED_AFTER and contenders.worth[0] <= 0:
        return TestOutlook(True, f"{about} {likely}, which is not worth more runs.", outlook)
    return TestOutlook(False, f"{about} {likely}.", outlook)


def _welcome(rivals: Sequence[Rival], search: Search) -> tuple[list[Rival], list[NotChosen]]:
    welcome, refused = [], []
    for rival in rivals:
        reason = search.space.refusal(rival.plan, search.live) or search.refusal(rival.plan)
        if reason is None and rival.plan in search.tried:
            reason = "it was tested before"
        if reason is None and rival.plan == search.live:
            reason = "it is the live plan"
        if reason is None:
            welcome.append(rival)
        else:
            middle = (rival.low + rival.high) / 2
            refused.append(NotChosen(rival.plan, f"Refused: {reason}.", middle, rival.source))
    return welcome, refused


def _outlook(model: TeamModel, search: Search, contenders: Contenders, place: int) -> Outlook:
    plan, weights = contenders.plan(place), contenders.weights
    gain, sd = float(weights.gain[place]), float(weights.sd[place])
    before, before_sd = search.prior(plan)
    return Outlook(
        plan=plan,
        knobs=distance(model.spec, search.live, plan),
        improvement=relative(gain),
        interval=(relative(gain - Z90 * sd), relative(gain + Z90 * sd)),
        improvements={
            name: float(values[place]) if name == "score" else relative(-float(values[place]))
            for name, values in weights.by_metric.items()
            if name == "score" or name in search.objective.shares
        },
        success_change=success_after(weights, place, 0.0),
        success_interval=(success_after(weights, place, -Z90), success_after(weights, place, Z90)),
        p_gain=float(cdf(gain / sd)),
        p_better=float(weights.p_better[place]),
        p_success_kept=float(weights.kept[place]),
        p_harm=float(weights.harm[place]),
        p_pass=float(contenders.chance[place]),
        runs_behind=model.runs.get(plan, 0),
        runs_of_live=model.runs.get(search.live, 0),
        runs_needed=runs_needed(gain, weights.noise),
        prior_improvement=relative(before),
        prior_interval=(relative(before - Z90 * before_sd), relative(before + Z90 * before_sd)),
        source=contenders.source(place),
        by_metric=_by_metric(model, weights, place),
    )


def _by_metric(model: TeamModel, weights: Weights, place: int) -> dict[str, tuple[float, float, float]]:
    """Return what a plan is expected to improve against the live one, by metric."""
    found = {}
    for name in ("duration", "cost") if model.priced else ("duration",):
        mean, half = float(weights.by_metric[name][place]), Z90 * float(weights.sd_by_metric[name][place])
        found[name] = relative(-mean), relative(-mean - half), relative(-mean + half)
    return found


def _told(contenders: Contenders, place: int, reason: str) -> NotChosen:
    improvement = relative(float(contenders.weights.gain[place]))
    return NotChosen(contenders.plan(place), reason, improvement, contenders.source(place))


def _nearly(contenders: Contenders, search: Search) -> list[NotChosen]:
    """Return the most promising plans, whether they pass the gates or not: what refuses them, or how sure they are."""
    weights = contenders.weights
    order = np.argsort(-weights.gain * (1 - weights.harm), kind="stable")
    told = []
    for place in map(int, order[:TOLD]):
        refusal = search.refusal(contenders.plan(place))
        likely = (
            f"{percent(float(weights.p_better[place]))} likely to be better and safe, "
            f"{percent(float(weights.kept[place]))} likely to keep success."
        )
        told.append(_told(contenders, place, likely if refusal is None else f"Refused: {refusal}."))
    return told


def _nothing(contenders: Contenders, reasons: dict[str, int], model: TeamModel, search: Search) -> str:
    main = max(reasons, key=lambda name: reasons[name])
    if reasons == {CHANGES_WORK: len(contenders.rows)}:
        return f"Every other plan is ruled out: {main}."
    rows = contenders.table.row_of
    tried = [rows[plan] for plan in search.tried if plan in rows]
    fresh = contenders.weights.p_better[~np.isin(contenders.rows, tried)]  # what was tested is no candidate
    if not len(fresh):
        return "Every other plan was tested before."
    return (
        f"Not enough evidence for any change after {count(model.total, 'run')}: the best candidate is "
        f"{percent(float(fresh.max()))} likely to be better and safe. Most plans are ruled out: {main}."
    )


def _sensitivity(contenders: Contenders) -> tuple[Sensitivity, ...]:
    table, here, rows = contenders.table, contenders.here, contenders.rows
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
            gains = contenders.weights.gain[places]
            best = contenders.plan(int(places[int(gains.argmax())]))
            ends = relative(float(gains.max())), relative(float(gains.min()))
            found.append(Sensitivity(knob, *ends, len(places), best))
    return tuple(found)
