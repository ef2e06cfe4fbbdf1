"""What happens to plans when a team's own definition takes one of them over, as when a proposal is merged.

A plan says what to change about a definition, so under another definition the same runs need another plan.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from .plan import TeamPlan, TeamSpec, can_form

NOT_DECLARED: Final = ("reflection",)
"""Formations that Victor does not read from a workflow file."""


def definition_with(spec: TeamSpec, plan: TeamPlan) -> TeamSpec | None:
    """Return a team's definition once it declares itself what a plan changes.

    Args:
        spec: The definition as it is.
        plan: The plan.

    Returns:
        The definition; None where Victor's own keys can't say the plan: only formation, order of members and timeout
        are declared and then hold. A plan that leaves members out could not be rolled back once they are gone.
    """
    if plan.tool_budget is not None or plan.member_budgets is not None or plan.sub_teams is not None:
        return None
    by_id = {member.id: member for member in spec.members}
    names = spec.member_ids if plan.members is None else plan.members
    if {*names} != {*by_id} or plan.formation in NOT_DECLARED:
        return None
    if plan.timeout_seconds is not None and spec.timeout_seconds is None:  # no plan takes a timeout away
        return None
    return evolve(
        spec,
        formation=plan.formation or spec.formation,
        members=[by_id[name] for name in names],
        timeout_seconds=spec.timeout_seconds if plan.timeout_seconds is None else plan.timeout_seconds,
    )


def replaced_by(spec: TeamSpec, merged: TeamSpec, plan: TeamPlan) -> TeamPlan:
    """Return the plan under which a merged definition runs as the definition before did under another plan.

    Args:
        spec: The definition before.
        merged: The definition that took a plan over, one of `definition_with`.
        plan: The plan for the definition before.
    """
    knobs: dict[str, Any] = {}
    if plan.formation is None and plan.sub_teams is None and merged.formation != spec.formation:
        knobs["formation"] = spec.formation
    if plan.members is None and merged.member_ids != spec.member_ids:
        knobs["members"] = spec.member_ids
    if plan.timeout_seconds is None and merged.timeout_seconds != spec.timeout_seconds:
        knobs["timeout_seconds"] = spec.timeout_seconds
    return evolve(plan, **knobs)


def is_merged(spec: TeamSpec, plan: TeamPlan, now: TeamSpec) -> bool:
    """Return whether a team's definition is now what it was with a plan in it.

    Args:
        spec: The definition that the plan is for.
        plan: The plan.
        now: The definition now.
    """
    if plan.is_empty or not can_form(plan.formation or spec.formation, spec.members):
        return False
    return definition_with(spec, plan) == now
