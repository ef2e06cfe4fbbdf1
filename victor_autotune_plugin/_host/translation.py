"""From a `TeamPlan` to Victor's arguments, and from what was measured to Victor's results.

A plan is applied to copies of Victor's objects, so the caller's configuration and coordinator stay what they were.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from .. import failsafe
from .._model.plan import TeamPlan, TeamSpec, feasible_formations, planned_formation
from ..errors import PlanError
from .meters import MemberMeter, RunMeter

HINTS: Final = ("formation_hint", "topology_formation_hint")
"""Keys of a run's context that overrule the declared formation; the first that is set wins."""

COORDINATOR_STATE: Final = ("_formation", "_members", "_manager", "_shared_context", "_message_history")
"""What a changed copy of a coordinator sets or hands back; public methods would change the caller's own."""

COORDINATOR_STRATEGIES: Final = "_formations"
"""Where a coordinator keeps its formations' strategies; a copy that runs sub-teams gets one more."""


def check_plan(spec: TeamSpec, plan: TeamPlan) -> None:
    """Make sure that a plan can run with a team.

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
    for name, calls in (plan.member_budgets or {}).items():
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


def configure(
    config: Any, participants: Sequence[Any] | None, ids: Mapping[str, str], plan: TeamPlan
) -> tuple[Any, Any]:
    """Apply a plan to the arguments of `execute_team_config`.

    Args:
        config: Victor's `TeamConfig`; it is not touched.
        participants: Pre-built members given beside it, or None.
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
        by_id = _by_stable_id(config.members, ids)
        changes["members"] = [
            dataclasses.replace(by_id[name], tool_budget=budgets[name]) if name in budgets else by_id[name]
            for name in (by_id if plan.members is None else plan.members)
        ]
    if plan.members is not None and participants is not None:
        given = _by_stable_id(participants, ids)
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
    """Return a copy of a run's context with the hints that would overrule the plan replaced, or None without any."""
    changed = dict(context)
    formation = _formation_to_set(plan)
    if formation is not None and any(context.get(key) for key in HINTS):
        changed["formation_hint"] = formation
    if plan.members is not None:
        changed.pop("max_workers", None)
        shared = changed.get("shared_state")
        if isinstance(shared, Mapping) and "max_workers" in shared:
            changed["shared_state"] = {key: value for key, value in shared.items() if key != "max_workers"}
    return changed if changed != context else None


def planned_coordinator(coordinator: Any, ids: Mapping[str, str], plan: TeamPlan) -> Any:
    """Return a shallow copy of a `UnifiedTeamCoordinator` whose members, formation and sub-teams are the plan's.

    Raises:
        PlanError: If this Victor's coordinator lacks what the copy has to set.
    """
    missing = [name for name in COORDINATOR_STATE if not hasattr(coordinator, name)]
    if missing:
        raise PlanError(f"this Victor's coordinator has no {', '.join(missing)}", hint="victor autotune doctor")
    changed = copy.copy(coordinator)
    formation = _formation_to_set(plan)
    if formation is not None:
        changed._formation = type(coordinator.formation)(formation)
    if plan.members is not None:
        by_id = _by_stable_id(coordinator.members, ids)
        changed._members = [by_id[name] for name in plan.members]
        if coordinator.supervisor not in changed._members:
            changed._manager = None
    return changed if plan.sub_teams is None else with_sub_teams(changed, ids, plan.sub_teams)


def with_sub_teams(coordinator: Any, ids: Mapping[str, str], groups: Iterable[Iterable[str]]) -> Any:
    """Return a shallow copy of a `UnifiedTeamCoordinator` whose parallel formation runs sub-teams.

    Raises:
        PlanError: If this Victor's coordinator lacks what the copy has to set.
    """
    from .subteams import SideBySide

    strategies = getattr(coordinator, COORDINATOR_STRATEGIES, None)
    if not isinstance(strategies, Mapping):
        hint = "victor autotune doctor"
        raise PlanError(f"this Victor's coordinator has no {COORDINATOR_STRATEGIES} to run sub-teams with", hint=hint)
    victor_ids = {stable: own for own, stable in ids.items()}
    parallel = type(coordinator.formation)("parallel")
    strategy = SideBySide(([victor_ids[name] for name in group] for group in groups), strategies[parallel])
    changed = copy.copy(coordinator)
    setattr(changed, COORDINATOR_STRATEGIES, {**strategies, parallel: strategy})
    return changed


def failed_results(meter: RunMeter, ids: Mapping[str, str], error: str) -> dict[str, Any]:
    """Return Victor's `MemberResult`s of a run that a deadline ended, by Victor's id.

    Args:
        meter: What was measured. Members that had finished keep their success and their output.
    """
    from victor.teams.types import MemberResult, normalize_member_execution_result

    victor_ids = {stable: own for own, stable in ids.items()}

    def result_of(member: MemberMeter) -> Any:
        outcome = member.outcome()
        member_id = victor_ids.get(outcome.id, outcome.id)
        if not member.finished:
            return MemberResult(
                member_id=member_id,
                success=False,
                output="",
                error=error if member.executions else f"{error}; it had not started",
                tool_calls_used=outcome.tool_calls,
                duration_seconds=outcome.duration_seconds,
            )
        with failsafe.guard("reading of a finished member's output"):
            success, output, failure, metadata, calls, discoveries, seconds = normalize_member_execution_result(
                member.output
            )
            return MemberResult(
                member_id=member_id,
                success=success and member.success,
                output=output,
                error=failure,
                metadata=metadata,
                tool_calls_used=calls or outcome.tool_calls,
                duration_seconds=outcome.duration_seconds if seconds is None else seconds,
                discoveries=discoveries,
            )
        return MemberResult(member_id=member_id, success=False, output="", error=error)

    results = [result_of(member) for member in meter.members.values()]
    return {result.member_id: result for result in results}


def _formation_to_set(plan: TeamPlan) -> str | None:
    return "parallel" if plan.sub_teams is not None else plan.formation


def _by_stable_id(members: Sequence[Any], ids: Mapping[str, str]) -> dict[str, Any]:
    return {ids.get(str(member.id), str(member.id)): member for member in members}


def _one_of(names: Any) -> str:
    return "one of: " + ", ".join(names)
