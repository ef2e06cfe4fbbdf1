"""From a `TeamPlan` to Victor's arguments, and from what was measured to Victor's results.

A plan waits in a `ContextVar` until Victor's coordinator begins the run, and changes the arguments of that one call. So
configuration, members, step and coordinator are the caller's own objects, and nothing of them is copied or changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import failsafe
from .._model.plan import TeamPlan, TeamSpec, can_form, feasible_formations, planned_formation
from ..errors import PlanError
from .meters import MemberMeter, RunMeter
from .step_state import HINTS, as_declared


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
    if (plan.formation or plan.members is not None) and not can_form(formation, team):
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


class ArmedPlan:
    """A plan on its way to the coordinator that it is for, which asks for it when it begins the run.

    Args:
        coordinator: Victor's `UnifiedTeamCoordinator`.
        ids: Stable ids of the members by Victor's.
        plan: A plan that `check_plan` accepted.
        declared: Name of the formation that would run without the plan.

    Raises:
        PlanError: If this Victor can't run the plan.
    """

    def __init__(self, coordinator: Any, ids: Mapping[str, str], plan: TeamPlan, declared: str) -> None:
        self._coordinator = coordinator
        self._declared = declared
        self._ids = ids
        self._plan = plan
        self._groups = None if plan.sub_teams is None else self._sub_teams(plan.sub_teams)
        named = "parallel" if plan.sub_teams is not None else plan.formation
        self._formation = None if named is None else _formation(named)
        self._begun = False
        self.ran_formation: str | None = None
        """Formation that Victor says the run had, once it ended."""

    @property
    def is_applied(self) -> bool:
        """Whether the coordinator has begun the run under the plan, and runs its sub-teams."""
        return self._begun and self._groups is None

    def begin(self, coordinator: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what `_execute_with` gets instead of these arguments of a run as configured.

        A plan is for one run of one coordinator; whatever runs inside that run gets what it brings.
        """
        if self._begun or coordinator is not self._coordinator:
            return arguments
        changed = dict(arguments)
        if self._formation is not None:
            changed["formation"] = self._formation
        if self._plan.members is not None:
            by_id = {self._ids.get(str(one.id), str(one.id)): one for one in arguments["members"]}
            changed["members"] = [by_id[name] for name in self._plan.members]
            if not any(one is arguments.get("supervisor") for one in changed["members"]):
                changed["supervisor"] = None
        changed["context"] = self._context(arguments["context"])
        self._begun = True
        return changed

    def end(self, coordinator: Any, arguments: Mapping[str, Any], result: Any) -> None:
        """Let the result of the run leave the state that the formation as configured leaves.

        Args:
            arguments: What `begin` was given.
            result: What `_execute_with` returned; it is changed.
        """
        ran = result.get("formation")
        self.ran_formation = str(ran) if ran else None
        if self._formation is not None:
            as_declared(result, coordinator, arguments, self._declared)

    def _context(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the context without hints that would overrule the plan. Victor works on a copy of it in any case."""
        changed = dict(context)
        if self._formation is not None and any(context.get(key) for key in HINTS):
            changed["formation_hint"] = self._formation.value
        if self._plan.members is not None:
            changed.pop("max_workers", None)
            shared = changed.get("shared_state")
            if isinstance(shared, Mapping) and "max_workers" in shared:
                changed["shared_state"] = {key: value for key, value in shared.items() if key != "max_workers"}
        return changed

    def _sub_teams(self, groups: Iterable[Iterable[str]]) -> Any:
        from .subteams import SideBySide

        victor_ids = {stable: own for own, stable in self._ids.items()}
        return SideBySide([victor_ids[name] for name in group] for group in groups)

    def take_sub_teams(self) -> Any:
        """Return the sub-teams, once: formations inside the run are not the run's own."""
        groups, self._groups = (self._groups, None) if self._begun else (None, self._groups)
        return groups


def formations() -> tuple[str, ...]:
    """Return the formations that the installed Victor has."""
    from victor.teams.types import TeamFormation

    return tuple(str(one.value) for one in TeamFormation)


def _formation(name: str) -> Any:
    """Return Victor's own value of a formation."""
    from victor.teams.types import TeamFormation

    try:
        return TeamFormation(name)
    except ValueError:
        raise PlanError(f"formation: this Victor has no {name!r}", hint=_one_of(formations())) from None


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


def _one_of(names: Any) -> str:
    return "one of: " + ", ".join(names)
