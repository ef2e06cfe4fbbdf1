"""Metrics of finished team runs and of changes of their plans.

They are derived from the record of the run, after it ended. Their attributes take few values each, since every
combination is a time series: no run ids, and names without their generated parts.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import failsafe
from .._model.run import MemberOutcome, TeamRun
from . import conventions as names
from . import labels

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.util.types import Attributes

_Measurement: TypeAlias = tuple[names.Metric, float, dict[str, Any]]
_Recorders: TypeAlias = Mapping[str, "Callable[[float, Attributes], None]"]

_lock = threading.Lock()
_known: tuple[MeterProvider, _Recorders] | None = None
"""The provider that was asked last, and what records one measurement with it, by metric name."""


def meter_provider() -> MeterProvider | None:
    """Return the provider that the application has set, or None while none is set."""
    if not names.BY_ENVIRONMENT and "opentelemetry.metrics" not in sys.modules:
        return None
    from opentelemetry import metrics

    kept_in = getattr(metrics, "_internal", metrics)
    if not names.BY_ENVIRONMENT and getattr(kept_in, "_METER_PROVIDER", kept_in) is None:
        return None
    return metrics.get_meter_provider()


def _recorders() -> _Recorders:
    """Return what records measurements, by metric name; empty while no provider is set."""
    global _known
    provider = meter_provider()
    if provider is None or type(provider).__module__.startswith(names.NO_PROVIDERS):
        return {}
    known = _known
    if known is None or known[0] is not provider:
        with _lock:
            known = _known
            if known is None or known[0] is not provider:
                meter = provider.get_meter(names.SCOPE, names.scope_version(), names.SCHEMA_URL)
                known = _known = (provider, {metric.name: _recorder(meter, metric) for metric in names.METRICS})
    return known[1]


def _recorder(meter: Meter, metric: names.Metric) -> Callable[[float, Attributes], None]:
    if metric.is_gauge:
        return meter.create_gauge(metric.name, metric.unit, metric.description).set
    if metric.buckets is None:
        return meter.create_counter(metric.name, metric.unit, metric.description).add
    return meter.create_histogram(
        metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
    ).record


def are_recorded() -> bool:
    """Return whether the application has set a provider that records."""
    try:
        return bool(_recorders())
    except Exception as error:
        failsafe.report("telemetry.are_recorded", error)
        return False


def record_run(run: TeamRun) -> None:
    """Record the metrics of a finished run, whose cost is final, and of its members."""
    try:
        _record(_run_measurements(run))
    except Exception as error:
        failsafe.report("telemetry.record_run", error)


def record_score(score: float, scorer: str, workflow: str, team_id: str) -> None:
    """Record what a scorer made of a run, when that comes."""
    try:
        attributes = {
            names.SCORER: labels.stable_name(scorer),
            names.WORKFLOW: labels.stable_name(workflow),
            names.TEAM_ID: labels.stable_name(team_id),
        }
        _record([(names.RUN_SCORE, score, attributes)])
    except Exception as error:
        failsafe.report("telemetry.record_score", error)


def record_change(action: str, workflow: str, team_id: str) -> None:
    """Count a line of a team's history by its action, such as `started`, `promoted` or `rolled_back`."""
    try:
        attributes = {
            names.CHANGE_ACTION: action,
            names.WORKFLOW: labels.stable_name(workflow),
            names.TEAM_ID: labels.stable_name(team_id),
        }
        _record([(names.CHANGES, 1, attributes)])
    except Exception as error:
        failsafe.report("telemetry.record_change", error)


def record_awaiting(number: int, workflow: str, team_id: str) -> None:
    """Record how many experiments of a team await a person now."""
    try:
        attributes = {names.WORKFLOW: labels.stable_name(workflow), names.TEAM_ID: labels.stable_name(team_id)}
        _record([(names.AWAITING, number, attributes)])
    except Exception as error:
        failsafe.report("telemetry.record_awaiting", error)


def _record(measurements: Iterable[_Measurement]) -> None:
    recorders = _recorders()
    if not recorders:
        return
    for metric, value, attributes in measurements:
        try:
            recorders[metric.name](value, attributes)
        except Exception as error:
            failsafe.report(f"telemetry.record.{metric.name}", error)


def _run_measurements(run: TeamRun) -> Iterator[_Measurement]:
    outcome, error_type = labels.run_outcome(run)
    workflow = labels.stable_name(run.spec.workflow)
    shared: dict[str, Any] = {
        names.WORKFLOW: workflow,
        names.TEAM_ID: labels.stable_name(run.spec.team_id),
        names.PLAN_FORMATION: run.plan_used.formation or run.spec.formation,
        names.MODE: run.mode,
        names.NESTED: run.parent_id is not None,
    }
    if run.arm is not None:
        shared[names.ARM] = run.arm
    team = {**shared, names.OPERATION: names.INVOKE_WORKFLOW, names.AGENT: workflow, names.OUTCOME: outcome}
    failed = team if error_type is None else {**team, names.ERROR_TYPE: error_type}

    yield names.RUNS, 1, failed
    yield names.DURATION, run.duration_seconds, failed
    yield names.RUN_MEMBER_SUCCESS_SHARE, run.member_success_share, team
    yield names.RUN_TOOL_CALLS, run.tool_calls, team
    yield names.RUN_LLM_CALLS, run.llm_calls, team
    yield names.RUN_TOKENS, run.input_tokens, {**team, names.TOKEN_TYPE: names.TOKEN_INPUT}
    yield names.RUN_TOKENS, run.output_tokens, {**team, names.TOKEN_TYPE: names.TOKEN_OUTPUT}
    if run.cost_usd is not None:
        yield names.RUN_COST, run.cost_usd, team
    if run.timed_out:
        yield names.TIMEOUTS, 1, team
    for member in run.members:
        yield from _member_measurements(member, shared)


def _member_measurements(member: MemberOutcome, shared: dict[str, Any]) -> Iterator[_Measurement]:
    if not member.finished and member.duration_seconds == 0:
        return  # It never began: a zero would not be a measurement.
    outcome, error_type = labels.member_outcome(member)
    attributes = {
        **shared,
        names.OPERATION: names.INVOKE_AGENT,
        names.AGENT: labels.stable_name(member.id, member.role or "member"),
        names.OUTCOME: outcome,
    }
    if member.role:
        attributes[names.MEMBER_ROLE] = member.role
    failed = attributes if error_type is None else {**attributes, names.ERROR_TYPE: error_type}

    yield names.DURATION, member.duration_seconds, failed
    yield names.MEMBER_TOOL_CALLS, member.tool_calls, attributes
    yield names.MEMBER_LLM_CALLS, member.llm_calls, attributes
    if member.tool_calls_refused:
        yield names.REFUSALS, member.tool_calls_refused, attributes
