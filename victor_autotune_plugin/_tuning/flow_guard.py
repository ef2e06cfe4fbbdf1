"""Keeps plans from cutting the data flow: what a run shows ends a test at once, and takes a live plan back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from .._dataflow.verdict import LEAST_TO_LIVE, use
from .._model.plan import EMPTY_PLAN, TeamPlan
from .next_test import RunContext
from .transitions import Why

if TYPE_CHECKING:
    from .._model.experiment import Experiment


def ends_what_cuts(context: RunContext, test: Experiment | None) -> bool:
    """End a test, or take the live plan back, if it takes from a member the work that it uses.

    What a person allowed stays.

    Args:
        context: The run after which it is looked at.
        test: The open test, or None.

    Returns:
        Whether anything was changed.
    """
    live = context.state.plan
    cut = context.knowledge.cut_by(live)
    if not cut or _is_persons(context, test):
        return _ends_test(context, test)
    why = Why(f"{use(cut[0])} ({cut[0].channel}), which this plan takes away.", _evidence(context, live))
    behind = test if test is not None and test.treatment == live else context.live
    steps = context.steps
    if test is not None and test is not behind:  # it runs against the plan that goes
        steps = evolve(steps, state=steps.end_test(test, "aborted", why))
    before = _plan_before(context, behind)
    if behind is None:
        after = evolve(steps.state, plan=before)
        context.changes.apply(after, "rolled_back", why.reason, before=steps.state, evidence=why.evidence)
    elif behind is test:
        steps.end_test(test, test.broken_off, why)
    else:
        steps.roll_back(behind, why, before)
    return True


def _ends_test(context: RunContext, test: Experiment | None) -> bool:
    if test is None or test.has_ended or (reason := _why_to_end(context, test)) is None:
        return False
    context.steps.end_test(test, test.broken_off, Why(reason, _evidence(context, test.treatment)))
    return True


def must_wait(context: RunContext, experiment: Experiment) -> bool:
    """Return whether a change that rests on the data flow needs more runs as configured before it goes live."""
    knowledge = context.knowledge
    known = knowledge.declared == "independent" or knowledge.runs >= LEAST_TO_LIVE
    return experiment.allowed_by == "data_flow" and not known


def _why_to_end(context: RunContext, test: Experiment) -> str | None:
    """Return why a test may not go on, or None when it may."""
    if test.allowed_by == "person":
        return None
    cut = context.knowledge.cut_by(test.treatment)
    if cut:
        return f"{use(cut[0])} ({cut[0].channel}), which this change would take away."
    if test.allowed_by is None:  # of 0.1, which tested what it could not know to be safe
        refusal = context.rules.refusal(test.treatment, test.control)
        return None if refusal is None else f"Nothing allows this change any more: {refusal}."
    if test.allowed_by == "data_flow" and not context.rules.keeps_work(test.treatment, test.control):
        same_limit = evolve(test.treatment, timeout_seconds=test.control.timeout_seconds)
        if context.rules.keeps_work(same_limit, test.control):
            return "A run took so long that the deadline of this change might cut the next one."
        if context.rules.disproved is not None:
            return f"The work got worse under {context.rules.disproved}, so it may under this change."
        return f"It is no longer known that this change keeps the work. {context.knowledge.because}"
    return None


def _evidence(context: RunContext, plan: TeamPlan) -> dict[str, object]:
    cut = context.knowledge.cut_by(plan)
    return {"edges": [[edge.source, edge.target, edge.channel] for edge in cut]}


def _is_persons(context: RunContext, test: Experiment | None) -> bool:
    """Return whether a person put the live plan in place, or allowed it."""
    live = context.state.plan
    behind = test if test is not None and test.treatment == live else context.live
    if behind is not None and behind.treatment == live and behind.allowed_by is not None:
        return behind.allowed_by == "person"
    made = next((one for one in reversed(context.record.changes) if one.plan_after == live != one.plan_before), None)
    if made is None:
        return False
    if made.actor == "person":
        return True
    origin = context.record.experiment(made.experiment_id) if made.experiment_id else None
    return origin is not None and origin.allowed_by == "person"


def _plan_before(context: RunContext, behind: Experiment | None) -> TeamPlan:
    """Return the plan to go back to: the one that the live plan replaced, or as configured where that one cuts, too."""
    live, knowledge = context.state.plan, context.knowledge
    if behind is not None and behind.treatment == live:
        before: TeamPlan | None = behind.control
    else:
        changes = (one for one in reversed(context.record.changes) if one.plan_after == live)
        before = next((one.rollback_plan for one in changes), None)
    return EMPTY_PLAN if before is None or before == live or knowledge.cut_by(before) else before
