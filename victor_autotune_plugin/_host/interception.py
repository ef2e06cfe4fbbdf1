"""The way of a run: what happens between Victor's call of its coordinator and the result it gets back.

```
call ─▶ spec ─▶ hooks choose the plan ─▶ Victor runs it, metered and limited ─▶ record ─▶ hooks ─▶ result
```

What the plugin does before and after Victor's part is guarded: if it fails, the team runs as configured and the
fault is reported.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .. import failsafe
from .._model.merged_definition import in_terms_of
from .._model.plan import EMPTY_PLAN, TeamPlan, TeamSpec, plan_as_used, planned_members
from .._model.run import TeamRun
from .._telemetry.events import tell_arm
from .._telemetry.spans import team_run_span
from .._tuning.loop import END_SECONDS, START_SECONDS
from .._tuning.runtime import Runtime, current, ready
from .._tuning.team_scorers import MAKERS
from ..errors import AutotuneError, PlanError
from ..hookspecs import PlannedRun, RunStart
from . import scorers, seams, translation
from .call_context import here, inside_run, is_left_alone
from .calls import ConfigCall, Reading, TaskCall, TeamCall
from .enforcement import DeadlineExceededError, ToolBudget, with_deadline
from .member_execution import error_class_of, member_outcome
from .meters import RunMeter, current_run
from .notes import RunNotes, noting
from .owners import FOUND, owners_of

if TYPE_CHECKING:
    from .._settings import Settings

MAKERS.update(scorers.MAKERS)  # nothing is scored before a team has run

_STEP_TIMEOUT_TOLERANCE: Final = 0.98

_WORK_ONCE: Final = ("sequential", "parallel", "pipeline")
"""Formations in which a member that ended does not work again."""

_VERSION_4: Final = 4 << 76 | 2 << 62
_RANDOM_BITS: Final = (1 << 128) - 1 ^ (15 << 76 | 3 << 62)

_ids: Final = Random()  # seeded by the system, which would else be asked at every run
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)


def new_run_id() -> str:
    """Return the id of a new run, a random UUID (RFC 9562, version 4)."""
    return f"{_ids.getrandbits(128) & _RANDOM_BITS | _VERSION_4:032x}"


async def execute_team_config(wrapped: Callable[..., Any], coordinator: Any, args: Any, kwargs: Any) -> Any:
    """Run a team from its configuration under the plugin; a wrapper in wrapt's form."""
    call = partial(wrapped, *args, **kwargs)
    return await intercept(lambda: ConfigCall(call, coordinator, here(), *args, **kwargs), call)


async def execute_task(wrapped: Callable[..., Any], coordinator: Any, args: Any, kwargs: Any) -> Any:
    """Run a coordinator's own team under the plugin; a wrapper in wrapt's form."""
    call = partial(wrapped, *args, **kwargs)
    return await intercept(lambda: TaskCall(call, coordinator, here(), *args, **kwargs), call)


async def intercept(make_call: Callable[[], TeamCall], original: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a team under the plan that the hooks choose, or as configured where the plugin is off or fails.

    Args:
        original: Makes Victor's call as it came.
    """
    unread: Exception | None = None
    run: ActiveRun | None = None
    try:
        call = make_call()
        spec = call.spec()
    except Exception as error:
        unread = error
    if unread is not None:
        # Where Victor can't use the arguments either, they are the caller's mistake, and its error passes untold.
        result = await original()
        failsafe.report("reading of a team", unread)
        return result
    with failsafe.guard("start of a run"):
        run = await ActiveRun.start(call, spec)
    return await (original() if run is None else run.go())


class ActiveRun:
    """A team run from its start to its record.

    Args:
        event: What the hooks were told at the start.
        declared: The team's definition. It is told in the terms of `event.spec`, which may be one before it.
        planned: The plan that was chosen, for `event.spec`.
        plan: The same for `declared`.
        work: Victor's part under that plan.
    """

    def __init__(
        self,
        owner: Runtime,
        call: TeamCall,
        event: RunStart,
        declared: TeamSpec,
        planned: PlannedRun,
        plan: TeamPlan,
        work: Coroutine[Any, Any, Any],
    ) -> None:
        self._runtime = owner
        self._call = call
        self._event = event
        self._declared = declared
        self._planned = planned
        self._plan = plan
        self._work = work
        limited = plan.tool_budget is not None or plan.member_budgets
        wanted = plan if call.overrides.is_empty else call.overrides.merged(plan)
        team = planned_members(declared, wanted)
        self._used = plan_as_used(declared, wanted)
        budgets, once = dict(plan.member_budgets or ()), self._used.formation in _WORK_ONCE
        budget = ToolBudget(plan.tool_budget, budgets, [one.id for one in team], keeps=not once) if limited else None
        self._notes: RunNotes | None = None
        if event.settings is None or event.settings.dataflow != "off":
            with failsafe.guard("notes of who uses whose work"):
                self._notes = RunNotes([one.id for one in team], call.goal, call.context, call.ids)
        self._meter = RunMeter(event.run_id, team, call.ids, budget, self._notes)

    @classmethod
    async def start(cls, call: TeamCall, spec: TeamSpec) -> ActiveRun | None:
        """Ask the hooks for the plan and prepare Victor's part; return None when the plugin is off for this team."""
        if is_left_alone(call.context):
            return None
        owner = await current()
        if owner is None:
            raise AutotuneError("the settings were not read in time", hint="The first run of a process goes on without")
        metadata = call.place.metadata
        settings = call.place.settings or owner.settings(spec, metadata)
        if settings.mode == "off":
            return None
        if settings.start_from is not None:
            spec = evolve(spec, start_from=settings.start_from)
        await ready(owner)
        outer = current_run.get()
        event = RunStart(
            run_id=new_run_id(),
            spec=owner.loop.known_spec(spec, settings),
            started_at=time.time(),
            entry=call.entry,
            parent_id=None if outer is None else outer.run_id,
            task_key=_task_key(call, settings.task_key),
            metadata=metadata,
            settings=settings,
            environment=owner.environment,
            owners={} if call.overrides.is_empty else owners_of(call.context, call.overrides),
        )
        planned: PlannedRun | None = PlannedRun(mode=settings.mode)
        if not call.is_continuation:
            await owner.loop.prepare(event)
            planned = await owner.hooks.plan(event)
        if planned is None:
            return None
        work: Coroutine[Any, Any, Any] | None = None
        if planned.source == "configured" and event.spec is not spec:  # it is told as it is configured
            event = evolve(event, spec=spec)
        plan = planned.plan
        if event.spec is not spec:
            plan = in_terms_of(spec, event.spec, plan, event.owners)
        if not plan.is_empty:
            with failsafe.guard("translation of a plan"):
                translation.check_plan(spec, plan)
                _check_enforceable(call, plan)
                _check_limits(spec, planned.plan, settings)
                work = call.call_with(plan)
            if work is None:  # it keeps its arm: what was assigned is counted as assigned
                source = "configured" if planned.assignment is None else planned.source
                event, plan = evolve(event, spec=spec), EMPTY_PLAN
                planned = evolve(planned, plan=plan, source=source)
        if work is None:
            work = call.call()
        try:
            run = cls(owner, call, event, spec, planned, plan, work)
            owner.hooks.tell("team_run_started", event=event, planned=planned)
            if planned.assignment is not None:
                # An arm that kills its process must have left its start, or it would count for nothing.
                await owner.loop.durable(event.run_id, START_SECONDS)
        except BaseException:
            work.close()
            raise
        return run

    async def go(self) -> Any:
        """Run Victor's part and make the record.

        Returns:
            What Victor returned; after a deadline of the plan, a failed result with what finished members delivered.

        Raises:
            BaseException: Whatever Victor's part raises, cancellation included.
        """
        plan, event = self._plan, self._event
        token = current_run.set(self._meter)
        try:
            with (
                inside_run(),
                team_run_span(
                    event.spec,
                    run_id=event.run_id,
                    mode=self._planned.mode,
                    plan=self._planned.plan,
                    experiment_id=self._planned.experiment_id,
                    arm=self._planned.arm,
                    parent_run_id=event.parent_id,
                ) as span,
            ):
                self._meter.span = span
                tell_arm(event, self._planned, self._runtime.hooks.behind)
                try:
                    result = await self._limited()
                except DeadlineExceededError as error:
                    partial = None
                    try:
                        said = f"TimeoutError: {error}"
                        partial = self._call.partial_result(self._meter, str(self._used.formation), said)
                    finally:
                        await self._finish(span, result=partial, error=TimeoutError(), timed_out=True)
                    return partial
                except asyncio.CancelledError as error:
                    limit = None if plan.timeout_seconds is not None else self._call.place.step_timeout
                    by_step = limit is not None and self._elapsed() >= limit * _STEP_TIMEOUT_TOLERANCE
                    found = TimeoutError() if by_step else error
                    await self._finish(span, error=found, timed_out=by_step, waits=by_step)
                    raise
                except BaseException as error:
                    await self._finish(span, error=error, waits=isinstance(error, Exception))
                    raise
                await self._finish(span, result=result)
                return result
        finally:
            current_run.reset(token)

    async def _limited(self) -> Any:
        seconds = self._plan.timeout_seconds
        return await (self._work if seconds is None else with_deadline(self._work, seconds, self._call.place.lift))

    def _elapsed(self) -> float:
        return time.monotonic() - self._meter.started

    async def _finish(
        self,
        span: Any,
        *,
        result: Any = None,
        error: BaseException | None = None,
        timed_out: bool = False,
        waits: bool = True,
    ) -> None:
        """Make the record, tell the hooks, and wait a moment until the record survives the death of the process.

        No failure of this may reach the caller, and a run that is cancelled waits for nothing.

        Args:
            result: What the caller gets; None where the error is raised.
        """
        owner, run_id = self._runtime, self._event.run_id
        with failsafe.guard("end of a run"):
            reading = self._call.read(result) if error is None else None
            run = self._record(reading, error, timed_out)
            run = owner.hooks.valued(run)
            with failsafe.guard("span of a run"):
                span.finish(run)
            self._hand_over_notes(result)
            self._hand_over_output(run, result)
            owner.hooks.tell_built_in("after_team_run", run=run)
            owner.hooks.grade(run, owner.loop.graded)
            await owner.loop.durable(run_id, END_SECONDS if waits else 0.0)

    def _hand_over_notes(self, result: Any) -> None:
        """Have what the members got and made looked at, behind the run."""
        notes = self._notes
        if notes is None:
            return
        with noting(notes):
            log = result.get("communication_log") if isinstance(result, dict) else None
            notes.sent(getattr(result, "communication_log", log))
            trace = notes.finished()
            if trace is not None:
                self._runtime.loop.traced(self._event.run_id, trace)

    def _hand_over_output(self, run: TeamRun, result: Any) -> None:
        """Have what the team delivered scored behind the run, where anything scores it; else nothing is kept of it."""
        loop, settings = self._runtime.loop, self._event.settings
        if run.cancelled or settings is None or not loop.wants_outputs(run.spec, settings):
            return
        with failsafe.guard("output of a run"):
            delivered = self._call.delivered(result)
            if delivered is not None:
                loop.to_score(run, *delivered)

    def _record(self, reading: Reading | None, error: BaseException | None, timed_out: bool) -> TeamRun:
        event, planned = self._event, self._planned
        used = self._used
        if reading is not None and not self._call.ran_as_planned:
            # A coordinator with a way of its own never asked for the plan; limits were enforced all the same.
            asked = evolve(self._plan, formation=None, members=None, sub_teams=None)
            used = plan_as_used(self._declared, self._call.overrides.merged(asked))
        # A person's plan wins over what the context asks for.
        owners = {knob: who for knob, who in event.owners.items() if getattr(self._plan, knob) is None}
        owners.update(planned.owners)
        if reading is not None and reading.formation not in (None, used.formation):
            used, owners["formation"] = evolve(used, formation=reading.formation), FOUND
        members = [member_outcome(meter, reading) for meter in self._meter.members.values()]
        paused = reading is not None and reading.paused
        success = reading is not None and reading.success and not timed_out
        if paused:
            error_class: str | None = "AwaitingApproval"
        elif error is not None:
            error_class = type(error).__name__
        elif success:
            error_class = None
        else:
            failed = (member.error_class for member in members if member.error_class)
            error_class = next(failed, None) or error_class_of(reading.error if reading else None) or "TeamError"
        return TeamRun(
            run_id=event.run_id,
            spec=event.spec,
            started_at=event.started_at,
            duration_seconds=self._elapsed(),
            success=success,
            member_success_share=sum(member.success for member in members) / len(members) if members else 0.0,
            entry=event.entry,
            parent_id=event.parent_id,
            task_key=event.task_key,
            mode=planned.mode,
            plan_asked=planned.plan,
            plan_used=used,
            experiment_id=planned.experiment_id,
            arm=planned.arm,
            phase=planned.phase,
            stream=planned.stream,
            index=planned.index,
            timed_out=timed_out,
            cancelled=paused or isinstance(error, asyncio.CancelledError),
            error_class=error_class,
            members=members,
            tokens=self._meter.tokens(),
            environment=event.environment,
            owners=owners,
            trace_id=self._meter.span.trace_id,
        )


def _check_enforceable(call: TeamCall, plan: TeamPlan) -> None:
    """Make sure that this Victor can enforce a plan, whichever hook made it."""
    missing = seams.unenforceable(plan)
    if missing is not None:
        raise PlanError(f"this Victor can't enforce {missing}", hint="victor autotune doctor")
    place = call.place
    if plan.timeout_seconds is not None and place.limit is None and plan.timeout_seconds > (place.step_timeout or inf):
        raise PlanError("this Victor's step keeps its own, shorter timeout", hint="victor autotune doctor")


def _check_limits(spec: TeamSpec, plan: TeamPlan, settings: Settings) -> None:
    """Make sure that a plan crosses no hard limit; what it leaves as it was known crosses none."""
    for _, limit, text in settings.limits.crossed_by(plan):
        raise PlanError(text, where=f"{spec.workflow}/{spec.team_id}", hint=f"Change the plan, or limits.{limit}.")


def _task_key(call: TeamCall, name: str | None) -> str | None:
    """Return the digest of what the context says identifies the task, or None."""
    value = call.context.get(name) if name else None
    return None if value is None else hashlib.sha256(str(value).encode()).hexdigest()[:16]
