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

_ERROR_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Interrupt|Exit)\b")


async def member_execution(wrapped: Callable[..., Any], participant: Any, args: Any, kwargs: Any) -> Any:
    """Meter one execution of a member, and hold its span open; a wrapper in wrapt's form."""
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

    def end(self, output: Any = None, error: BaseException | None = None) -> None:
        """Note how it ended, close the span, and make the member around it the current one."""
        meter, span = self._meter, self._span
        with failsafe.guard("metering of a member's end"):
            if error is None:
                meter.output = output
            if self._started:
                self._stop(output, error)
            if meter.budget is not None and not meter.running:
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
