"""Events of OpenTelemetry: which arm a run got, and every change of a team's plan.

They are log records with an event name, through the logger provider that the application set; while none is set,
nothing is made. They are sent from threads behind the run, since a log processor may wait for a server.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .. import failsafe
from .._model.experiment import Change
from .._model.run import PlannedRun, RunStart
from . import conventions as names
from . import labels

if TYPE_CHECKING:
    from opentelemetry._logs import Logger, LoggerProvider

_WARNINGS: Final = frozenset({"failed", "rolled_back", "reverifying", "judge_distrusted"})
"""Changes that a person should look at."""

_lock = threading.Lock()
_known: tuple[LoggerProvider, Logger] | None = None
"""The provider that was asked last, and its logger."""


def logger_provider() -> LoggerProvider | None:
    """Return the provider that the application has set, the API's own, or None while nothing can have set one."""
    if not names.BY_ENVIRONMENT and "opentelemetry._logs" not in sys.modules:
        return None
    from opentelemetry import _logs

    return _logs.get_logger_provider()


def _logger() -> Logger | None:
    """Return the logger of the provider that is set now, or None while none is set."""
    global _known
    provider = logger_provider()
    if provider is None or type(provider).__module__.startswith(names.NO_PROVIDERS):
        return None
    known = _known
    if known is None or known[0] is not provider:
        with _lock:
            logger = provider.get_logger(names.SCOPE, names.scope_version(), names.SCHEMA_URL)
            known = _known = (provider, logger)
    return known[1]


def tell_arm(event: RunStart, planned: PlannedRun, behind: Callable[[Callable[[], object]], None]) -> None:
    """Have it told which arm a run of an A/B test got, in the span that is current now.

    Args:
        event: The run.
        planned: Its plan. Without a place in an experiment nothing is told.
        behind: Has a job done on another thread.
    """
    if planned.assignment is None:
        return
    try:
        if _logger() is None:
            return
        from opentelemetry.context import get_current

        surrounding = get_current()
        behind(lambda: _send(names.EVALUATION, event.started_at, _arm, (event, planned), context=surrounding))
    except Exception as error:
        failsafe.report("telemetry.tell_arm", error)


def tell_change(change: Change) -> None:
    """Tell of a line of a team's history. It waits for the log processors of the application."""
    _send(names.CHANGE, getattr(change, "at", None), _change, (change,))


def _send(
    event_name: str,
    at: float | None,
    record: Callable[..., dict[str, Any]],
    arguments: tuple[Any, ...],
    **placed: Any,
) -> None:
    try:
        logger = _logger()
        if logger is not None:
            nanoseconds = None if at is None else int(at * 1e9)
            logger.emit(event_name=event_name, timestamp=nanoseconds, **record(*arguments), **placed)
    except Exception as error:
        failsafe.report(f"telemetry.event.{event_name}", error)


def _arm(event: RunStart, planned: PlannedRun) -> dict[str, Any]:
    from opentelemetry._logs import SeverityNumber

    attributes: dict[str, Any] = {
        names.EXPERIMENT: planned.experiment_id,
        names.ARM: planned.arm,
        names.FLAG_REASON: names.SPLIT,
        names.FLAG_PROVIDER: names.PROVIDER,
        names.WORKFLOW: event.spec.workflow,
        names.TEAM_ID: event.spec.team_id,
        names.MODE: planned.mode,
        names.RUN_ID: event.run_id,
        names.PLAN_ID: planned.plan.id,
        names.PLAN_CHANGES: planned.plan.describe(),
    }
    return {"severity_number": SeverityNumber.INFO, "severity_text": "INFO", "attributes": attributes}


def _change(change: Change) -> dict[str, Any]:
    """Return what an event says of a change: never who the person was, nor what a person wrote."""
    from opentelemetry._logs import SeverityNumber

    attributes: dict[str, Any] = {
        names.CHANGE_ACTION: change.action,
        names.CHANGE_ACTOR: change.actor,
        names.WORKFLOW: labels.stable_name(change.workflow),
        names.TEAM_ID: labels.stable_name(change.team_id),
        names.ENVIRONMENT: change.environment,
        names.PLAN_BEFORE: change.plan_before.describe(),
        names.PLAN_AFTER: change.plan_after.describe(),
    }
    optional = {
        names.CHANGE_ID: change.id,
        names.EXPERIMENT: change.experiment_id,
        names.IMPROVEMENT: change.improvement_percent,
    }
    attributes.update((name, value) for name, value in optional.items() if value is not None)
    severity = SeverityNumber.WARN if change.action in _WARNINGS else SeverityNumber.INFO
    return {
        "severity_number": severity,
        "severity_text": severity.name,
        "body": change.reason if change.actor == "auto" else f"{change.action} by a person",
        "attributes": attributes,
    }
