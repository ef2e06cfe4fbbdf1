"""Between Victor's objects and our values: a team becomes a `TeamSpec`, a `TeamPlan` becomes Victor's arguments.

Nothing of Victor's is changed in place: a plan is applied to copies, so the caller's configuration and
coordinator stay what they were.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from .._model.plan import FORMATIONS, MemberSpec, TeamPlan, TeamSpec, feasible_formations
from ..errors import PlanError

_HINTS: Final = ("formation_hint", "topology_formation_hint")
COORDINATOR_STATE: Final = ("_formation", "_members", "_manager", "_shared_context", "_message_history")
"""What a changed copy of a coordinator sets or hands back; public methods would change the caller's own."""

COORDINATOR_STRATEGIES: Final = "_formations"
"""Where a coordinator keeps its formations' strategies; a copy that runs sub-teams gets one more."""

_GENERATED_ID: Final = re.compile(r"_[0-9a-f]{8}$")
_CONTINUATIONS: Final = (
    "delegate_follow_up_contract",
    "delegate_merge_contract",
    "delegate_next_step",
    "delegate_reentry_contract",
)


def stable_ids(members: Sequence[Any]) -> dict[str, str]:
    """Name members so that the same member has the same name in every run.

    Victor gives a member without an id one that is new each time, such as `executor_1f0c9a3e`; it is named
    `executor` here, and the next of its kind `executor-2`.

    Args:
        members: Victor's members, in order.

    Returns:
        Our id by Victor's, in the same order.
    """
    names: dict[str, str] = {}
    for member in members:
        base = name = _GENERATED_ID.sub("", str(member.id)) or "member"
        number = 1
        while name in names.values():
            number += 1
            name = f"{base}-{number}"
        names[str(member.id)] = name
    return names


def stable_name(name: Any, member_ids: Iterable[str]) -> str:
    """Name a team so that it has the same name in every run.

    Args:
        name: Victor's name of it; empty, or one that Victor made up such as `Team_1f0c9a3e`, names nothing.
        member_ids: Our ids of its members, by which a team without a name is known.
    """
    text = str(name or "")
    if text and not _GENERATED_ID.search(text):
        return text
    return "team-" + hashlib.sha256("\n".join(member_ids).encode()).hexdigest()[:8]


def member_spec(member: Any, name: str) -> MemberSpec:
    """Read a member: Victor's `TeamMember`, or any object that takes a member's place.

    Args:
        member: The object; a `TeamParticipant` is looked through to the member it runs.
        name: Our id of it.

    Returns:
        Its declaration.
    """
    inner = getattr(member, "member", member)
    role = getattr(inner, "role", None)
    budget = getattr(inner, "tool_budget", None)
    return MemberSpec(
        id=name,
        role=str(getattr(role, "value", None) or getattr(role, "name", None) or role or ""),
        tool_budget=budget if isinstance(budget, int) else None,
        is_supervisor=bool(getattr(inner, "is_supervisor", False)),
        formation_role=getattr(inner, "formation_role", None),
        model=getattr(inner, "model", None) if getattr(inner, "provider", None) else None,
    )


def effective_formation(context: Mapping[str, Any], declared: Any) -> str:
    """Return the formation that Victor would use: a valid hint in the context wins over the declaration.

    Args:
        context: The run's shared context.
        declared: Victor's `TeamFormation`.

    Returns:
        One of `FORMATIONS`.
    """
    hint = next((context[key] for key in _HINTS if context.get(key)), None)
    named = str(hint).strip().lower() if hint is not None else ""
    return named if named in FORMATIONS else str(getattr(declared, "value", declared))


def taking_part(
    members: Sequence[MemberSpec], formation: str, context: Mapping[str, Any], supervisor_id: str | None
) -> tuple[MemberSpec, ...]:
    """Return the members that Victor would run: `max_workers` in the context drops those beyond the first ones.

    Args:
        members: All members, in order.
        formation: The formation that will be used.
        context: The run's shared context.
        supervisor_id: The supervisor set on the coordinator, or None; a hierarchical team keeps it.

    Returns:
        The members that take part, in Victor's order.
    """
    shared = context.get("shared_state")
    raw = context.get("max_workers", shared.get("max_workers") if isinstance(shared, Mapping) else None)
    try:
        limit = int(raw) if raw is not None else 0
    except (TypeError, ValueError):
        limit = 0
    if limit <= 0 or limit >= len(members):
        return tuple(members)
    lead = [member for member in members if member.id == supervisor_id]
    if formation != "hierarchical" or not lead:
        return tuple(members[:limit])
    others = [member for member in members if member.id != supervisor_id]
    return (*lead, *others[: max(1, limit - 1)])


def is_continuation(context: Mapping[str, Any], checkpointer: Any) -> bool:
    """Say whether a run goes on with, or can be resumed as, an earlier one, whose plan must then be kept.

    Args:
        context: The run's shared context.
        checkpointer: The coordinator's checkpointer, or None.

    Returns:
        True if the plan must not be touched.
    """
    if any(context.get(key) for key in _CONTINUATIONS):
        return True
    return checkpointer is not None and bool(context.get("thread_id") or context.get("__thread_id__"))


def check_plan(spec: TeamSpec, plan: TeamPlan) -> None:
    """Make sure that a plan can run with a team.

    Args:
        spec: The team.
        plan: The plan.

    Raises:
        PlanError: If it can't; the message names the knob.
    """
    known = {member.id: member for member in spec.members}
    team = spec.members
    if plan.members is not None:
        unknown = [name for name in plan.members if name not in known]
        if unknown:
            raise PlanError(f"members: {', '.join(unknown)} not in team {spec.team_id!r}", hint=_one_of(known))
        if not plan.members or len(set(plan.members)) != len(plan.members):
            raise PlanError(f"members: team {spec.team_id!r} needs at least one member, each once")
        team = tuple(known[name] for name in plan.members)
    formation = planned_formation(spec, plan)
    if (plan.formation or plan.members is not None) and formation not in feasible_formations(team):
        raise PlanError(
            f"formation: {len(team)} member(s) of team {spec.team_id!r} can't form {formation!r}",
            hint=_one_of(feasible_formations(team)),
        )
    if plan.sub_teams is not None:
        _check_sub_teams(spec, plan, [member.id for member in team])
    for name, calls in plan.member_budgets or ():
        if name not in known:
            raise PlanError(f"member_budgets: {name} not in team {spec.team_id!r}", hint=_one_of(known))
        if calls < 0:
            raise PlanError(f"member_budgets: {name} has {calls}, must be 0 or more")
    if plan.tool_budget is not None and plan.tool_budget < 0:
        raise PlanError(f"tool_budget: is {plan.tool_budget}, must be 0 or more")
    if plan.timeout_seconds is not None and not 0 < plan.timeout_seconds < math.inf:
        raise PlanError(f"timeout_seconds: is {plan.timeout_seconds}, must be more than 0 and finite")


def _check_sub_teams(spec: TeamSpec, plan: TeamPlan, taking_part: Sequence[str]) -> None:
    team = f"team {spec.team_id!r}"
    if plan.formation is not None:
        raise PlanError(f"sub_teams: {team} can't have a formation, {plan.formation!r}, beside them", hint="set one")
    groups = plan.sub_teams or ()
    if not groups or not all(groups):
        raise PlanError(f"sub_teams: {team} needs at least one, each with at least one member")
    named = [name for group in groups for name in group]
    unknown = [name for name in dict.fromkeys(named) if name not in taking_part]
    if unknown:
        raise PlanError(f"sub_teams: {', '.join(unknown)} not taking part in {team}", hint=_one_of(taking_part))
    twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
    if twice:
        raise PlanError(f"sub_teams: {', '.join(twice)} of {team} more than once")
    missing = [name for name in taking_part if name not in named]
    if missing:
        raise PlanError(f"sub_teams: {', '.join(missing)} of {team} in none of them", hint="add them to one")


def planned_formation(spec: TeamSpec, plan: TeamPlan) -> str:
    """Return the formation that Victor's coordinator runs under a plan; `parallel` for sub-teams.

    Args:
        spec: The team as configured.
        plan: What is changed about it.
    """
    return "parallel" if plan.sub_teams is not None else plan.formation or spec.formation


def plan_as_used(spec: TeamSpec, plan: TeamPlan) -> TeamPlan:
    """Return every knob as it really runs.

    Args:
        spec: The team as configured.
        plan: What is changed about it.

    Returns:
        A plan with formation and members always set, `parallel` where there are sub-teams; a budget or timeout is None
        where nothing enforces one.
    """
    formation = planned_formation(spec, plan)
    members = [member.id for member in planned_members(spec, plan)]
    return TeamPlan(
        formation=formation,
        members=members,
        tool_budget=plan.tool_budget,
        member_budgets=plan.member_budgets,
        timeout_seconds=plan.timeout_seconds if plan.timeout_seconds is not None else spec.timeout_seconds,
        sub_teams=plan.sub_teams,
    )


def planned_members(spec: TeamSpec, plan: TeamPlan) -> tuple[MemberSpec, ...]:
    """Return the members that a plan lets take part, in order; a reflection has only its two sides.

    Args:
        spec: The team as configured.
        plan: What is changed about it.
    """
    by_id = {member.id: member for member in spec.members}
    team = [by_id[name] for name in plan.members] if plan.members is not None else list(spec.members)
    if planned_formation(spec, plan) != "reflection":
        return tuple(team)
    sides: list[MemberSpec] = []
    for wanted in ("generator", "critic"):
        side = next((member for member in team if member.formation_role == wanted), None)
        if side is not None:
            team.remove(side)
            sides.append(side)
    return tuple((sides + team)[:2])


def configure(
    config: Any, participants: Sequence[Any] | None, ids: Mapping[str, str], plan: TeamPlan
) -> tuple[Any, Any]:
    """Apply a plan to the arguments of `execute_team_config`.

    Args:
        config: Victor's `TeamConfig`; it is not touched.
        participants: Pre-built members given beside it, or None.
        ids: Our member ids by Victor's.
        plan: A plan that `check_plan` accepted.

    Returns:
        The config and participants to run instead.
    """
    changes: dict[str, Any] = {}
    formation = _formation_to_set(plan)
    if formation is not None:
        changes["formation"] = type(config.formation)(formation)
    budgets = dict(plan.member_budgets or ())
    if plan.members is not None or budgets:
        by_id = _by_our_id(config.members, ids)
        changes["members"] = [
            dataclasses.replace(by_id[name], tool_budget=budgets[name]) if name in budgets else by_id[name]
            for name in (by_id if plan.members is None else plan.members)
        ]
    if plan.members is not None and participants is not None:
        given = _by_our_id(participants, ids)
        participants = [given[name] for name in plan.members]
    if plan.tool_budget is not None:
        changes["total_tool_budget"] = plan.tool_budget
    if plan.timeout_seconds is not None:
        changes["timeout_seconds"] = math.ceil(plan.timeout_seconds)
    context = planned_context(config.shared_context or {}, plan)
    if context is not None:
        changes["shared_context"] = context
    return (dataclasses.replace(config, **changes) if changes else config), participants


def planned_context(context: Mapping[str, Any], plan: TeamPlan) -> dict[str, Any] | None:
    """Return the context with the hints that would overrule the plan replaced, or None when none would.

    Args:
        context: The run's shared context; it is not touched.
        plan: The plan.
    """
    changed = dict(context)
    formation = _formation_to_set(plan)
    if formation is not None and any(context.get(key) for key in _HINTS):
        changed["formation_hint"] = formation
    if plan.members is not None:
        changed.pop("max_workers", None)
        shared = changed.get("shared_state")
        if isinstance(shared, Mapping) and "max_workers" in shared:
            changed["shared_state"] = {key: value for key, value in shared.items() if key != "max_workers"}
    return changed if changed != context else None


def planned_coordinator(coordinator: Any, ids: Mapping[str, str], plan: TeamPlan) -> Any:
    """Return a shallow copy of a coordinator whose members, formation and sub-teams are the plan's.

    Args:
        coordinator: Victor's `UnifiedTeamCoordinator`; it is not touched.
        ids: Our member ids by Victor's.
        plan: A plan that `check_plan` accepted.

    Raises:
        PlanError: If the coordinator is not as it was in the Victor this was written for.
    """
    missing = [name for name in COORDINATOR_STATE if not hasattr(coordinator, name)]
    if missing:
        raise PlanError(f"this Victor's coordinator has no {', '.join(missing)}", hint="victor autotune doctor")
    changed = copy.copy(coordinator)
    formation = _formation_to_set(plan)
    if formation is not None:
        changed._formation = type(coordinator.formation)(formation)
    if plan.members is not None:
        by_id = _by_our_id(coordinator.members, ids)
        changed._members = [by_id[name] for name in plan.members]
        if coordinator.supervisor not in changed._members:
            changed._manager = None
    return changed if plan.sub_teams is None else with_sub_teams(changed, ids, plan.sub_teams)


def with_sub_teams(coordinator: Any, ids: Mapping[str, str], groups: Iterable[Iterable[str]]) -> Any:
    """Return a shallow copy of a coordinator whose parallel formation runs sub-teams.

    Args:
        coordinator: Victor's `UnifiedTeamCoordinator`; it is not touched.
        ids: Our member ids by Victor's.
        groups: Our ids of the members of each sub-team.

    Raises:
        PlanError: If the coordinator is not as it was in the Victor this was written for.
    """
    from .subteams import SideBySide

    strategies = getattr(coordinator, COORDINATOR_STRATEGIES, None)
    if not isinstance(strategies, Mapping):
        hint = "victor autotune doctor"
        raise PlanError(f"this Victor's coordinator has no {COORDINATOR_STRATEGIES} to run sub-teams with", hint=hint)
    victors = {ours: theirs for theirs, ours in ids.items()}
    strategy = SideBySide([victors[name] for name in group] for group in groups)
    changed = copy.copy(coordinator)
    setattr(changed, COORDINATOR_STRATEGIES, {**strategies, type(coordinator.formation)("parallel"): strategy})
    return changed


def _formation_to_set(plan: TeamPlan) -> str | None:
    return "parallel" if plan.sub_teams is not None else plan.formation


def _by_our_id(members: Sequence[Any], ids: Mapping[str, str]) -> dict[str, Any]:
    return {ids.get(str(member.id), str(member.id)): member for member in members}


def _one_of(names: Any) -> str:
    return "one of: " + ", ".join(names)
