"""The two calls that every team run of Victor passes, behind one interface.

`UnifiedTeamCoordinator.execute_team_config` takes a `TeamConfig` and returns a `TeamResult`;
`UnifiedTeamCoordinator.execute_task` takes a task for members that were added before and returns a dict.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from attrs import frozen

from .._model.plan import ADHOC_WORKFLOW, EMPTY_PLAN, MemberSpec, TeamPlan, TeamSpec, adhoc_team_id
from ..errors import PlanError
from . import step_state, translation
from .call_context import Place, armed
from .meters import RunMeter, leave

VictorsCall = Callable[[], Coroutine[Any, Any, Any]]
_GENERATED_ID: Final = re.compile(r"_[0-9a-f]{8}$")
_CONTINUATIONS: Final = (
    "delegate_follow_up_contract",
    "delegate_merge_contract",
    "delegate_next_step",
    "delegate_reentry_contract",
)


@frozen
class Reading:
    """What the plugin reads in Victor's result of a run.

    Attributes:
        success: Whether the team succeeded.
        error: Victor's error text; only its class is ever kept.
        member_success: Success by member id, for the members that the result names.
        member_errors: Error text by member id.
        paused: Whether the run waits for a person's approval and will go on later.
        formation: Formation that the team really ran in, where the result tells.
    """

    success: bool
    error: str | None
    member_success: Mapping[str, bool]
    member_errors: Mapping[str, str | None]
    paused: bool
    formation: str | None = None


class Delivered(NamedTuple):
    """What a team delivered."""

    text: str
    members: Mapping[str, str]


class TeamCall(ABC):
    """One intercepted call of Victor's coordinator.

    Args:
        call: Calls Victor with the caller's arguments.
        coordinator: The coordinator that is called.
    """

    entry: str
    goal: Any = None
    """What the team is asked to do."""

    def __init__(self, call: VictorsCall, coordinator: Any, place: Place) -> None:
        self.call = call
        self.coordinator = coordinator
        self.place = place
        self.ids: dict[str, str] = {}
        """Stable member ids by Victor's; filled by `spec`."""
        self.overrides = EMPTY_PLAN
        """What the run's context changes about the team as configured; filled by `spec`."""
        self._declared = ""
        self._armed: translation.ArmedPlan | None = None

    @property
    @abstractmethod
    def context(self) -> Mapping[str, Any]:
        """The run's shared context."""

    @abstractmethod
    def spec(self) -> TeamSpec:
        """Return the team as configured."""

    def call_with(self, plan: TeamPlan) -> Coroutine[Any, Any, Any]:
        """Call Victor with the caller's arguments, and let its coordinator find the plan.

        Raises:
            Exception: At once, not when awaited, if the plan can't be translated.
        """
        self._armed = translation.ArmedPlan(self.coordinator, self.ids, plan, self._declared)
        return self._planned(self._armed)

    async def _planned(self, plan: translation.ArmedPlan) -> Any:
        token = armed.set(plan)
        try:
            return await self.call()
        finally:
            leave(armed, token)

    @property
    def ran_as_planned(self) -> bool:
        """Whether Victor's coordinator asked for the plan that it was called with."""
        return self._armed is None or self._armed.is_applied

    def _ran_formation(self, told: Any) -> str | None:
        """Return the formation that the team ran in; what the result tells is the declared one after a plan's."""
        name = None if self._armed is None else self._armed.ran_formation
        if name is None:
            name = getattr(told, "value", told)
        return name if isinstance(name, str) and name else None

    @abstractmethod
    def read(self, result: Any) -> Reading:
        """Read Victor's result."""

    @abstractmethod
    def partial_result(self, meter: RunMeter, formation: str, error: str) -> Any:
        """Return what Victor would return for a failed run in which some members finished."""

    def delivered(self, result: Any) -> Delivered | None:
        """Return what the caller gets to read of a run, by reference.

        Args:
            result: What Victor returned; None where the caller gets none, and so the team delivered nothing.

        Returns:
            None where it can't be read without running the caller's code.
        """
        if result is None:
            return Delivered("", {})
        text, members = self._outputs(result)
        if not isinstance(text, str):
            if text is not None:
                return None
            text = ""
        outputs = self._by_stable_id(members, "output")
        return Delivered(text, {name: output for name, output in outputs.items() if isinstance(output, str)})

    @abstractmethod
    def _outputs(self, result: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return the final output of a result, and its members' results by Victor's id."""

    @property
    def is_continuation(self) -> bool:
        """Whether the run continues an earlier one, or can be resumed later: its plan must then stay as it is."""
        context = self.context
        if not context:
            return False
        if any(context.get(key) for key in _CONTINUATIONS):
            return True
        is_saved = getattr(self.coordinator, "_checkpointer", None) is not None
        return is_saved and bool(context.get("thread_id") or context.get("__thread_id__"))

    def _spec(self, name: Any, members: Sequence[Any], declared: Any, config: Any, supervisor: Any) -> TeamSpec:
        if isinstance(members, Iterator):
            raise PlanError("members that can be read only once are left to Victor", hint="Give them as a list.")
        hinted = hinted_formation(self.context)
        formation = str(getattr(declared, "value", declared))
        self._declared = hinted or formation
        self.ids = stable_ids(members)
        specs = [member_spec(member, self.ids[str(member.id)]) for member in members]
        supervisor_id = None if supervisor is None else self.ids.get(str(supervisor.id))
        part = taking_part(specs, hinted or formation, self.context, supervisor_id)
        left_out = len(part) < len(specs)
        if hinted is not None or left_out:
            self.overrides = TeamPlan(formation=hinted, members=[one.id for one in part] if left_out else None)
        team_id = self.place.team_id or stable_name(name, self.ids.values())
        return TeamSpec(
            workflow=self.place.workflow or ADHOC_WORKFLOW,
            team_id=team_id if self.place.workflow else adhoc_team_id(team_id, self.ids.values()),
            formation=formation,
            members=specs,
            tool_budget=getattr(config, "total_tool_budget", None),
            timeout_seconds=self.place.step_timeout,
            max_iterations=getattr(config, "max_iterations", None),
        )

    def _by_stable_id(self, members: Mapping[str, Any], attribute: str) -> dict[str, Any]:
        return {self.ids.get(str(name), str(name)): getattr(member, attribute) for name, member in members.items()}


class ConfigCall(TeamCall):
    """A call of `execute_team_config(config, members=None)`."""

    entry = "config"

    def __init__(self, call: VictorsCall, coordinator: Any, place: Place, config: Any, *, members: Any = None) -> None:
        super().__init__(call, coordinator, place)
        self.entry = "step" if place.step_timeout is not None or place.team_id is not None else "config"
        self.config, self.participants = config, members
        self.goal = getattr(config, "goal", None)

    @property
    def context(self) -> Mapping[str, Any]:
        """The run's shared context."""
        return self.config.shared_context or {}

    def spec(self) -> TeamSpec:
        """Return the team as configured."""
        members = self.participants if self.participants is not None else self.config.members
        return self._spec(self.config.name, members, self.config.formation, self.config, None)

    def read(self, result: Any) -> Reading:
        """Read a `TeamResult`."""
        context = result.shared_context or {}
        return Reading(
            success=bool(result.success),
            error=result.error,
            member_success=self._by_stable_id(result.member_results, "success"),
            member_errors=self._by_stable_id(result.member_results, "error"),
            paused=bool(context.get("__awaiting_approval__") or context.get("__awaiting_approvals__")),
            formation=self._ran_formation(context.get("effective_formation")),  # `result.formation` is the declared one
        )

    def _outputs(self, result: Any) -> tuple[Any, Mapping[str, Any]]:
        return result.final_output, result.member_results or {}

    def partial_result(self, meter: RunMeter, formation: str, error: str) -> Any:
        """Return a failed `TeamResult`."""
        from victor.teams.types import TeamResult

        members = translation.failed_results(meter, self.ids, error)
        return TeamResult(
            success=False,
            final_output=_joined(members),
            member_results=members,
            formation=type(self.config.formation)(formation),
            total_tool_calls=sum(member.tool_calls_used for member in members.values()),
            shared_context=dict(self.context),
            error=error,
        )


class TaskCall(TeamCall):
    """A call of `execute_task(task, context)`."""

    entry = "task"

    def __init__(self, call: VictorsCall, coordinator: Any, place: Place, task: Any, context: Any) -> None:
        super().__init__(call, coordinator, place)
        self.goal, self._context = task, context

    @property
    def context(self) -> Mapping[str, Any]:
        """The run's shared context."""
        context: Mapping[str, Any] = self._context
        return context

    def spec(self) -> TeamSpec:
        """Return the team as configured."""
        name = self.context.get("team_id") or self.context.get("team_name")
        coordinator = self.coordinator
        return self._spec(name, coordinator.members, coordinator.formation, None, coordinator.supervisor)

    def read(self, result: Any) -> Reading:
        """Read a result dict."""
        members = result.get("member_results") or {}
        return Reading(
            success=bool(result.get("success")),
            error=result.get("error"),
            member_success=self._by_stable_id(members, "success"),
            member_errors=self._by_stable_id(members, "error"),
            paused=result.get("status") == "awaiting_approval",
            formation=self._ran_formation(result.get("formation")),
        )

    def _outputs(self, result: Any) -> tuple[Any, Mapping[str, Any]]:
        return result.get("final_output"), result.get("member_results") or {}

    def partial_result(self, meter: RunMeter, formation: str, error: str) -> Any:
        """Return a failed result dict."""
        members = translation.failed_results(meter, self.ids, error)
        return {
            "success": False,
            "error": error,
            "member_results": members,
            "final_output": _joined(members),
            "formation": formation,
            "total_tool_calls": sum(member.tool_calls_used for member in members.values()),
            "communication_log": [],
            "shared_context": dict(self.context),
        }


def _joined(members: Mapping[str, Any]) -> str:
    return "\n\n".join(member.output for member in members.values() if member.success and member.output)


# --- a team, read with names that stay the same from run to run


def stable_ids(members: Sequence[Any]) -> dict[str, str]:
    """Return a stable id by Victor's id, so that the same member has the same name in every run.

    Victor gives a member without an id one that is new each time, such as `executor_1f0c9a3e`; it is named
    `executor` here, and the next of its kind `executor-2`.
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
    """Return a name for a team that is the same in every run.

    Args:
        name: Victor's name of it; empty, or one that Victor made up such as `Team_1f0c9a3e`, names nothing.
        member_ids: Stable ids of its members, which name a team that has no name.
    """
    text = str(name or "")
    if text and not _GENERATED_ID.search(text):
        return text
    return "team-" + hashlib.sha256("\n".join(member_ids).encode()).hexdigest()[:8]


def member_spec(member: Any, name: str) -> MemberSpec:
    """Read the declaration of a member: Victor's `TeamMember`, or any object in its place.

    Args:
        member: The object; for a `TeamParticipant`, the member that it runs is read.
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


def hinted_formation(context: Mapping[str, Any]) -> str | None:
    """Return the formation that a run's context asks for, which beats the declared one; None without a valid one."""
    hint = next((context[key] for key in step_state.HINTS if context.get(key)), None)
    named = str(hint).strip().lower() if hint is not None else ""
    return named if named and named in translation.formations() else None


def taking_part(
    members: Sequence[MemberSpec], formation: str, context: Mapping[str, Any], supervisor_id: str | None
) -> tuple[MemberSpec, ...]:
    """Return the members that Victor would run: `max_workers` in the context drops those beyond the first ones.

    A hierarchical team keeps the supervisor that is set on its coordinator.
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
