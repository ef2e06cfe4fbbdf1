"""Members at work: each execution of one is metered and has a span, and its result is read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from attrs import evolve

from .. import failsafe
from .._model.run import MemberOutcome
from .._telemetry.spans import member_span
from .calls import Reading
from .meters import MemberMeter, current_member, current_run, leave
from .notes import noting
from .watched_context import WatchedContext, watched

_ERROR_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Interrupt|Exit)\b")


async def member_execution(wrapped: Callable[..., Any], participant: Any, args: Any, kwargs: Any) -> Any:
    """Meter one execution of a member, and hold its span open; a wrapper in wrapt's form."""
    return await _executed(wrapped, participant, args, kwargs)


async def context_agent(wrapped: Callable[..., Any], agent: Any, args: Any, kwargs: Any) -> Any:
    """Meter one execution of a custom member of a reflection, which no `TeamParticipant` stands for.

    A wrapper in wrapt's form. All its members get the same shared context.
    """
    from victor.teams.types import TeamParticipant

    member = getattr(agent, "_member", None)
    if member is None or isinstance(member, TeamParticipant):
        return await wrapped(*args, **kwargs)
    return await _executed(wrapped, member, args, kwargs, is_shared=True)


async def _executed(
    wrapped: Callable[..., Any], participant: Any, args: Any, kwargs: Any, *, is_shared: bool = False
) -> Any:
    run = current_run.get()
    if run is None:
        return await wrapped(*args, **kwargs)
    execution: _Execution | None = None
    with failsafe.guard("metering of a member, whose limits are dropped"):
        meter = run.member(str(participant.id))
        if current_member.get() is not meter:
            execution = _Execution(meter, run.span)
    if execution is None:
        return await wrapped(*args, **kwargs)
    execution.start()
    args, kwargs = execution.note_start(participant, args, kwargs, is_shared=is_shared)
    try:
        output = await wrapped(*args, **kwargs)
    except BaseException as error:
        execution.end(error=error)
        raise
    execution.end(output)
    return output


class _Execution:
    """One execution of a member. Its metering and its span are guarded, each alone."""

    def __init__(self, meter: MemberMeter, team: Any) -> None:
        self._meter = meter
        self._team = team
        self._span: Any = None
        self._token: Any = None
        self._started = False
        self._context: WatchedContext | None = None

    def start(self) -> None:
        """Make the member the current one, and open its span."""
        meter = self._meter
        self._token = current_member.set(meter)
        with failsafe.guard("metering of a member's start"):
            meter.start()
            self._started = True
        with failsafe.guard("span of a member", foreign=True):
            span = member_span(meter.spec.id, meter.spec.role, team=self._team)
            span.__enter__()
            self._span = span

    def note_start(self, participant: Any, args: Any, kwargs: Any, *, is_shared: bool) -> tuple[Any, Any]:
        """Note what the member is given.

        Args:
            participant: What Victor executes.
            args: Positional arguments of its method: the task, then the context.
            kwargs: Its other arguments.
            is_shared: Whether the members after it get the same dict.

        Returns:
            The arguments; a custom member's context is one that notes what is read of it.
        """
        notes = self._meter.notes
        if notes is None or notes.run.is_dropped:
            return args, kwargs
        with noting(notes.run):
            notes.start(participant, args[0] if args else next(iter(kwargs.values()), None))
            context = args[1] if len(args) > 1 else kwargs.get("context")
            if notes.is_custom and context:
                self._context = watched(notes, context, context if is_shared else None)
            if self._context is not None and len(args) > 1:
                return (args[0], self._context, *args[2:]), kwargs
            if self._context is not None:
                return args, {**kwargs, "context": self._context}
        return args, kwargs

    def _note_end(self, output: Any) -> None:
        notes = self._meter.notes
        if notes is None or notes.run.is_dropped:
            return
        with noting(notes.run):
            text = "" if output is None else _text_of(output)
            if self._context is not None:
                self._context.end_watch()
            notes.end(text)

    def end(self, output: Any = None, error: BaseException | None = None) -> None:
        """Note how it ended, close the span, and make the member around it the current one."""
        meter, span = self._meter, self._span
        self._note_end(output)
        with failsafe.guard("metering of a member's end"):
            if error is None:
                meter.output = output
            if self._started:
                self._stop(output, error)
            if meter.budget is not None and not meter.work.running:
                meter.budget.ended(meter.spec.id)
        if span is not None:
            with failsafe.guard("span of a member", foreign=True):
                if span.is_open:
                    span.finish(meter.outcome())
            with failsafe.guard("span of a member", foreign=True):
                span.__exit__(None if error is None else type(error), error, None)
        leave(current_member, self._token)

    def _stop(self, output: Any, error: BaseException | None) -> None:
        if error is None:
            success, failure = True, None
            with failsafe.guard("reading of a member's result"):
                success, failure = _succeeded(output), _failure_class(output)
            self._meter.stop(success=success, error_class=failure)
        else:
            finished = not isinstance(error, asyncio.CancelledError)
            name = type(error).__name__ if finished else "CancelledError"
            self._meter.stop(success=False, error_class=name, finished=finished)


def member_outcome(meter: MemberMeter, reading: Reading | None) -> MemberOutcome:
    """Return what was measured, with the success that Victor's result states where it states one."""
    outcome = meter.outcome()
    if reading is None or outcome.id not in reading.member_success:
        return outcome
    success = reading.member_success[outcome.id]
    error_class = None if success else outcome.error_class or error_class_of(reading.member_errors.get(outcome.id))
    if (success, error_class) == (outcome.success, outcome.error_class):
        return outcome
    return evolve(outcome, success=success, error_class=error_class)


def _text_of(output: Any) -> str:
    """Return the text that Victor hands on of what a member returned."""
    from victor.teams.types import normalize_member_execution_result

    return str(normalize_member_execution_result(output)[1])


def _succeeded(output: Any) -> bool:
    return bool(output.get("success", True)) if isinstance(output, dict) else True


def _failure_class(output: Any) -> str | None:
    if _succeeded(output):
        return None
    return error_class_of(output.get("error")) or "MemberError"


def error_class_of(text: Any) -> str | None:
    """Return the class that an error text begins with; the text itself is never kept."""
    found = _ERROR_CLASS.match(text) if isinstance(text, str) else None
    return found.group().rpartition(".")[2] if found else None
