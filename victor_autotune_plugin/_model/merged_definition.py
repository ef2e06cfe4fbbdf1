"""A team's definition that has taken a plan over, as when a proposal was merged: another way to say what is known.

A plan says what to change about a definition. The team goes on being told in the terms of the definition that it was
known by, so that runs before and after the merge, and of machines with the one file and the other, are of one kind.
Only what Victor is told has to be said in the terms of the definition that it has.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attrs import evolve

from .plan import TeamPlan, TeamSpec, can_form, plan_as_used


def takes_over(spec: TeamSpec, plan: TeamPlan, now: TeamSpec) -> bool:
    """Return whether a definition runs by itself as another one does under a plan, and can run all that this one can.

    It does not matter which keys say so: those of the step, or `start_from` in its settings.

    Args:
        spec: The definition that the plan is for.
        plan: The plan; an empty one can't be taken over.
        now: The definition now. It has to declare the same members, and a timeout where there was one and none where
            there was none: no plan brings members back, or takes a timeout away.
    """
    if plan.is_empty or not can_form(plan.formation or spec.formation, spec.members):
        return False
    start = now.plan_to_start_from
    by_id = {member.id: member for member in spec.members}
    if {member.id: member for member in now.members} != by_id or not {*(start.members or ())} <= {*by_id}:
        return False
    if now.tool_budget != spec.tool_budget and (plan.tool_budget is None or now.tool_budget != plan.tool_budget):
        return False
    if (now.timeout_seconds is None) != (spec.timeout_seconds is None):
        return False
    others = ("workflow", "team_id", "max_iterations")
    if any(getattr(now, name) != getattr(spec, name) for name in others):
        return False
    return plan_as_used(now, start) == plan_as_used(spec, plan)


def in_terms_of(now: TeamSpec, spec: TeamSpec, plan: TeamPlan, owners: Collection[str] = ()) -> TeamPlan:
    """Return the plan under which a team runs as another definition of it does under a plan.

    Args:
        now: The definition that it runs with: this one or one that `takes_over` a plan.
        spec: The definition that the plan is for.
        plan: The plan.
        owners: Knobs that something else has set, and that the plan leaves alone.
    """
    knobs: dict[str, Any] = {}
    if plan.formation is None and plan.sub_teams is None and now.formation != spec.formation:
        knobs["formation"] = spec.formation
    if plan.members is None and now.member_ids != spec.member_ids:
        knobs["members"] = spec.member_ids
    if plan.timeout_seconds is None and now.timeout_seconds != spec.timeout_seconds:
        knobs["timeout_seconds"] = spec.timeout_seconds
    return evolve(plan, **{name: value for name, value in knobs.items() if name not in owners})
