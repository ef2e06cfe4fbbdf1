"""The two calls that every team run of Victor passes, behind one face.

`UnifiedTeamCoordinator.execute_team_config` takes a `TeamConfig` and returns a `TeamResult`;
`UnifiedTeamCoordinator.execute_task` takes a task for members that were added before and returns a dict.
"""

from __future__ import annotations

import asyncio
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from .._model.plan import ADHOC_WORKFLOW, TeamPlan, TeamSpec
from . import translation
from .call_context import Place
from .meters import MemberMeter, RunMeter


@frozen
class Reading:
    """What the plugin reads in a result of Victor's.

    Attributes:
        success: Whether the team succeeded.
        error: Victor's error text; only its class is ever kept.
        member_success: Success by member id, for the members that the result names.
        member_errors: Error text by member id.
        paused: Whether the run waits for a person's approval and will go on later.
    """

    success: bool
    error: str | None
    member_success: Mapping[str, bool]
    member_errors: Mapping[str, str | None]
    paused: bool


class TeamCall(ABC):
    """One intercepted call of Victor's coordinator.

    Args:
        wrapped: The bound method that was called.
        coordinator: The coordinator it is bound to.
        place: Where the call happens.
    """

    entry: str

    def __init__(self, wrapped: Callable[..., Coroutine[Any, Any, Any]], coordinator: Any, place: Place) -> None:
        self.wrapped = wrapped
        self.coordinator = coordinator
        self.place = place
        self.ids: dict[str, str] = {}
        """Our member ids by Victor's; filled by `spec`."""

    @property
    @abstractmethod
    def context(self) -> Mapping[str, Any]:
        """The run's shared context."""

    @abstractmethod
    def spec(self) -> TeamSpec:
        """Return the team as configured."""

    @abstractmethod
    def call(self) -> Coroutine[Any, Any, Any]:
        """Call Victor with what the caller gave."""

    @abstractmethod
    def call_with(self, plan: TeamPlan) -> Coroutine[Any, Any, Any]:
        """Call Victor with a plan.

        Raises:
            Exception: At once, not when awaited, if the plan can't be translated.
        """

    @abstractmethod
    def read(self, result: Any) -> Reading:
        """Read a result of Victor's."""

    @abstractmethod
    def partial_result(self, meter: RunMeter, formation: str, error: str) -> Any:
        """Return what Victor would return for a failed run in which some members finished."""

    @property
    def is_continuation(self) -> bool:
        """Whether the run's plan must be kept."""
        return translation.is_continuation(self.context, getattr(self.coordinator, "_checkpointer", None))

    async def as_configured(self) -> Any:
        """Run the team as if the plugin were not there."""
        if self.place.lifted:
            return await asyncio.wait_for(self.call(), self.place.step_timeout)
        return await self.call()

    def _spec(self, name: Any, members: Sequence[Any], declared: Any, config: Any, supervisor: Any) -> TeamSpec:
        formation = translation.effective_formation(self.context, declared)
        self.ids = translation.stable_ids(members)
        specs = [translation.member_spec(member, self.ids[str(member.id)]) for member in members]
        supervisor_id = None if supervisor is None else self.ids.get(str(supervisor.id))
        return TeamSpec(
            workflow=self.place.workflow or ADHOC_WORKFLOW,
            team_id=self.place.team_id or translation.stable_name(name, self.ids.values()),
            formation=formation,
            members=translation.taking_part(specs, formation, self.context, supervisor_id),
            tool_budget=getattr(config, "total_tool_budget", None),
            timeout_seconds=self.place.step_timeout,
            max_iterations=getattr(config, "max_iterations", None),
        )

    def _by_our_id(self, members: Mapping[str, Any], attribute: str) -> dict[str, Any]:
        return {self.ids.get(str(name), str(name)): getattr(member, attribute) for name, member in members.items()}

    def _member_results(self, meter: RunMeter, error: str) -> dict[str, Any]:
        from victor.teams.types import MemberResult, normalize_member_execution_result

        victors = {ours: theirs for theirs, ours in self.ids.items()}

        def result_of(member: MemberMeter) -> Any:
            outcome = member.outcome()
            member_id = victors.get(outcome.id, outcome.id)
            if not member.finished:
                return MemberResult(
                    member_id=member_id,
                    success=False,
                    output="",
                    error=error if member.executions else f"{error}; it had not started",
                    tool_calls_used=outcome.tool_calls,
                    duration_seconds=outcome.duration_seconds,
                )
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

        results = [result_of(member) for member in meter.members.values()]
        return {result.member_id: result for result in results}


class ConfigCall(TeamCall):
    """A call of `execute_team_config(config, members=None)`."""

    entry = "config"

    def __init__(self, wrapped: Any, coordinator: Any, args: Any, kwargs: Any, place: Place) -> None:
        super().__init__(wrapped, coordinator, place)
        self.entry = "step" if place.step_timeout is not None or place.team_id is not None else "config"
        self.config, self.participants = _config_arguments(*args, **kwargs)
        if place.lifted:
            self.config = dataclasses.replace(self.config, timeout_seconds=int(place.step_timeout or 0))

    @property
    def context(self) -> Mapping[str, Any]:
        """The run's shared context."""
        return self.config.shared_context or {}

    def spec(self) -> TeamSpec:
        """Return the team as configured."""
        members = self.participants if self.participants is not None else self.config.members
        return self._spec(self.config.name, members, self.config.formation, self.config, None)

    def call(self) -> Coroutine[Any, Any, Any]:
        """Call Victor with what the caller gave."""
        return _call(self.wrapped, self.config, self.participants)

    def call_with(self, plan: TeamPlan) -> Coroutine[Any, Any, Any]:
        """Call Victor with changed copies of the config and the participants; for sub-teams, of the coordinator."""
        config, participants = translation.configure(self.config, self.participants, self.ids, plan)
        if plan.sub_teams is None:
            return _call(self.wrapped, config, participants)
        changed = translation.with_sub_teams(self.coordinator, self.ids, plan.sub_teams)
        return _call(partial(self.wrapped.__func__, changed), config, participants)  # type: ignore[attr-defined]

    def read(self, result: Any) -> Reading:
        """Read a `TeamResult`."""
        context = result.shared_context or {}
        return Reading(
            success=bool(result.success),
            error=result.error,
            member_success=self._by_our_id(result.member_results, "success"),
            member_errors=self._by_our_id(result.member_results, "error"),
            paused=bool(context.get("__awaiting_approval__") or context.get("__awaiting_approvals__")),
        )

    def partial_result(self, meter: RunMeter, formation: str, error: str) -> Any:
        """Return a failed `TeamResult`."""
        from victor.teams.types import TeamResult

        members = self._member_results(meter, error)
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

    def __init__(self, wrapped: Any, coordinator: Any, args: Any, kwargs: Any, place: Place) -> None:
        super().__init__(wrapped, coordinator, place)
        self.task, self._context = _task_arguments(*args, **kwargs)

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

    def call(self) -> Coroutine[Any, Any, Any]:
        """Call Victor with what the caller gave."""
        return self.wrapped(self.task, self._context)

    def call_with(self, plan: TeamPlan) -> Coroutine[Any, Any, Any]:
        """Call Victor on a changed copy of the coordinator."""
        changed = translation.planned_coordinator(self.coordinator, self.ids, plan)
        context = translation.planned_context(self.context, plan)
        return self._call_copy(changed, self._context if context is None else context)

    async def _call_copy(self, changed: Any, context: Any) -> Any:
        """Run a changed copy of the coordinator, and hand back the state that a run leaves on it."""
        try:
            return await self.wrapped.__func__(changed, self.task, context)  # type: ignore[attr-defined]
        finally:
            self.coordinator._shared_context = changed._shared_context
            self.coordinator._message_history = changed._message_history

    def read(self, result: Any) -> Reading:
        """Read a result dict."""
        members = result.get("member_results") or {}
        return Reading(
            success=bool(result.get("success")),
            error=result.get("error"),
            member_success=self._by_our_id(members, "success"),
            member_errors=self._by_our_id(members, "error"),
            paused=result.get("status") == "awaiting_approval",
        )

    def partial_result(self, meter: RunMeter, formation: str, error: str) -> Any:
        """Return a failed result dict."""
        members = self._member_results(meter, error)
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


def _config_arguments(config: Any, *, members: Any = None) -> tuple[Any, Any]:
    return config, members


def _call(method: Callable[..., Coroutine[Any, Any, Any]], config: Any, participants: Any) -> Coroutine[Any, Any, Any]:
    return method(config) if participants is None else method(config, members=participants)


def _task_arguments(task: Any, context: Any) -> tuple[Any, Any]:
    return task, context


def _joined(members: Mapping[str, Any]) -> str:
    return "\n\n".join(member.output for member in members.values() if member.success and member.output)
