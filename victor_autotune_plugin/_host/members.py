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
from .meters import MemberMeter, current_member, current_run

_ERROR_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Interrupt|Exit)\b")


async def member_execution(wrapped: Callable[..., Any], member_id: str, args: Any, kwargs: Any) -> Any:
    """Meter one execution of a member, by Victor's id of it, and hold its span open."""
    run = current_run.get()
    if run is None:
        return await wrapped(*args, **kwargs)
    meter = run.member(member_id)
    if current_member.get() is meter:
        return await wrapped(*args, **kwargs)
    token = current_member.set(meter)
    meter.start()
    try:
        with member_span(meter.spec.id, meter.spec.role, team=run.span) as span:
            try:
                output = await wrapped(*args, **kwargs)
            except asyncio.CancelledError:
                meter.stop(success=False, error_class="CancelledError", finished=False)
                raise
            except BaseException as error:
                meter.stop(success=False, error_class=type(error).__name__)
                raise
            else:
                with failsafe.guard("reading of a member's result"):
                    meter.output = output
                meter.stop(success=_succeeded(output), error_class=_failure_class(output))
                return output
            finally:
                if span.is_open:
                    span.finish(meter.outcome())
    finally:
        current_member.reset(token)


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
