"""Between strategies' suggestions and the tuner's candidates and proposals."""

from __future__ import annotations

import math
from typing import Final

from .._model.optimization import OptimizationPriority, OptimizationSuggestion, current_config
from .._model.plan import TeamPlan, TeamSpec
from .explanation import Candidate, Proposal
from .objective import Objective
from .space import SUB_TEAMS, shape_of

SOURCE: Final = "tuner"
"""Type of the suggestions that are the tuner's own."""

_NARROWER: Final = 1.6449 / 1.96
"""From a 95 % interval to one of 90 %."""


def candidate_of(suggestion: OptimizationSuggestion, live: TeamPlan, objective: Objective) -> Candidate | None:
    """Return a suggestion as a candidate, or None when it says nothing of what is wanted.

    A gain in one metric counts with its share of the objective.

    Args:
        suggestion: A strategy's suggestion with `metric` and `interval_percent` (95 %) in its metadata.
        live: The plan that runs today.
        objective: What is wanted.
    """
    share = objective.shares.get(str(suggestion.metadata.get("metric", "duration")), 0.0)
    interval = suggestion.metadata.get("interval_percent")
    if not share or not interval:
        return None
    low, high = (min(max(float(end) / 100, -5.0), 0.95) for end in interval)
    middle, half = (low + high) / 2, abs(high - low) / 2 * _NARROWER
    ends = [-math.expm1(share * math.log1p(-min(end, 0.95))) for end in (middle - half, middle + half)]
    return Candidate(live.merged(suggestion.plan), ends[0], ends[1], str(suggestion.type))


def changes(spec: TeamSpec, live: TeamPlan, plan: TeamPlan) -> TeamPlan:
    """Return the knobs in which a plan differs from the live one, each said outright.

    `live.merged(changes(spec, live, plan))` runs as `plan` does, also where that goes back to what is configured.

    Args:
        spec: The team as configured.
        live: The plan that runs today.
        plan: The other plan.
    """
    now, then = shape_of(spec, live), shape_of(spec, plan)
    grouped = then.formation == SUB_TEAMS
    reshaped = (now.formation, now.groups) != (then.formation, then.groups)
    return TeamPlan(
        formation=then.formation if reshaped and not grouped else None,
        members=then.members if now.members != then.members else None,
        tool_budget=then.tool_budget if now.tool_budget != then.tool_budget else None,
        member_budgets=then.member_budgets if now.member_budgets != then.member_budgets else None,
        timeout_seconds=then.timeout_seconds if now.timeout_seconds != then.timeout_seconds else None,
        sub_teams=then.groups if reshaped and grouped else None,
    )


def suggestion_of(proposal: Proposal, spec: TeamSpec, live: TeamPlan) -> OptimizationSuggestion | None:
    """Return a proposal as a suggestion, with its explanation in the metadata; None when nothing is proposed.

    Args:
        proposal: What the tuner proposes.
        spec: The team as configured.
        live: The plan that runs today.
    """
    chosen = proposal.chosen
    if chosen is None:
        return None
    gain = 100 * chosen.improvement
    change = changes(spec, live, chosen.plan)
    low, high = (round(100 * end) for end in chosen.interval)
    return OptimizationSuggestion(
        type=chosen.source,
        priority=OptimizationPriority.HIGH if gain >= 20 else OptimizationPriority.MEDIUM,
        description=f"Run the team with {change.describe()}: {gain:.0f} % better expected ({low} to {high} %).",
        current_config=current_config(spec, live),
        suggested_config=change.to_dict(),
        expected_improvement=gain,
        confidence=chosen.p_better,
        risk_level=chosen.p_harm,
        metadata={"proposal": proposal.to_dict()},
    )
