"""Runs from OpenTelemetry traces that hold this plugin's spans, in every form that JSON exporters give them.

A piece of telemetry is told by its keys, whatever stands around it: a request, one resource or scope of it, a span
alone, or the object that the SDK's console exporter prints; names in camel or snake case. Logs and metrics are passed
over. The spans of members are told to belong to a run by its id, and may come before it; a run is given as soon as it
is complete, and what is left at the end without all members is given then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from .._analysis.run_history import Row
from .._model.run import MemberOutcome
from .._telemetry import conventions as names
from .._values.nodes import WrongValueError
from .column_names import Columns
from .row_reading import LeftOut, run_of_row

_OF_SPANS: Final = Columns(are_named=False)
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _both(*camel: str) -> tuple[str, ...]:
    """Return names in camel case and in snake case."""
    return tuple(dict.fromkeys(name for one in camel for name in (one, _CAMEL.sub("_", one).lower())))


_RESOURCES: Final = _both("resourceSpans")
_SCOPES: Final = _both("scopeSpans", "instrumentationLibrarySpans")
_OTHERS: Final = _both("resourceLogs", "scopeLogs", "resourceMetrics", "scopeMetrics", "resourceProfiles")
_SPAN_IDS: Final = _both("spanId")
_STARTS: Final = (*_both("startTimeUnixNano"), "start_time")
_WRAPPERS: Final = frozenset((*_RESOURCES, *_SCOPES, *_OTHERS))
_IN_TEXT: Final = re.compile(rf'"(?:{"|".join(_WRAPPERS)})"\s*:')


def is_telemetry(value: object) -> bool:
    """Return whether a value is telemetry, of this plugin or another source."""
    if not isinstance(value, Mapping):
        return False
    return not _WRAPPERS.isdisjoint(value) or _is_scope(value) or _is_span(value) or _is_log(value)


def is_text_of_telemetry(text: str) -> bool:
    """Return whether a text that may be cut off seems to hold telemetry, whose requests are longer than rows."""
    return _IN_TEXT.search(text) is not None


def _is_scope(value: Mapping[str, Any]) -> bool:
    return "scope" in value and isinstance(value.get("spans"), list)


def _is_span(value: Mapping[str, Any]) -> bool:
    context = value.get("context")
    return "attributes" in value and (
        not value.keys().isdisjoint(_SPAN_IDS) or (isinstance(context, Mapping) and "span_id" in context)
    )


def _is_log(value: Mapping[str, Any]) -> bool:
    """Return whether it is what the console exporter prints of a log record."""
    return "body" in value and "severity_number" in value


class TraceReader:
    """Puts the spans of runs together.

    Args:
        left_out: Counts bad spans, and runs that come again.
    """

    def __init__(self, left_out: LeftOut) -> None:
        self._left_out = left_out
        self._waiting: dict[str, tuple[int, dict[str, Any]]] = {}
        self._members: dict[str, dict[str, MemberOutcome]] = {}
        self._given: set[int] = set()

    def take(self, line: int, value: Mapping[str, Any]) -> Iterator[Row]:
        """Give the runs that a piece of telemetry completes."""
        for span in _spans(value):
            found = _attributes(span)
            run_id, operation = found.get(names.RUN_ID), found.get(names.OPERATION)
            if not isinstance(run_id, str) or operation not in (names.INVOKE_AGENT, names.INVOKE_WORKFLOW):
                continue
            is_known = hash(run_id) in self._given or run_id in self._waiting
            if operation == names.INVOKE_WORKFLOW and is_known:
                self._left_out.repeated += 1
            elif operation == names.INVOKE_WORKFLOW:
                self._waiting[run_id] = line, {**_row(span, found), "run_id": run_id}
            elif hash(run_id) not in self._given:
                self._add(run_id, _member(found))
            if run_id in self._waiting:
                size = self._waiting[run_id][1].get("member_count", 0)
                if not isinstance(size, int) or len(self._members.get(run_id, ())) >= size:
                    yield from self._run(run_id)

    def rest(self) -> Iterator[Row]:
        """Give the runs of which members are missing, at the end of a file."""
        for run_id in list(self._waiting):
            yield from self._run(run_id)

    def _add(self, run_id: str, member: MemberOutcome) -> None:
        members = self._members.setdefault(run_id, {})
        known = members.get(member.id)
        # A member that ran several times has one span for each, of which the last one holds the totals.
        if known is None or known.duration_seconds <= member.duration_seconds:
            members[member.id] = member

    def _run(self, run_id: str) -> Iterator[Row]:
        line, row = self._waiting.pop(run_id)
        members = self._members.pop(run_id, {})
        self._given.add(hash(run_id))
        order = row.pop("order")
        try:
            run = run_of_row(row, _OF_SPANS)
        except WrongValueError as wrong:
            self._left_out.add(line, f"span of run {run_id[:40]!r}: {wrong.message}", wrong.hint)
            return
        if not self._left_out.is_new(run.get("workflow"), run["team_id"], run_id):
            return
        in_order = [name for name in order if name in members] + [name for name in members if name not in order]
        yield {**run, "members": tuple(members[name] for name in in_order)}


def _spans(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if _is_span(value):
        yield value
        return
    for resource in (value, *_list(value, *_RESOURCES)):
        for scope in (resource, *_list(resource, *_SCOPES)):
            yield from _list(scope, "spans")


def _list(data: Any, *keys: str) -> list[Mapping[str, Any]]:
    found = next((data[key] for key in keys if key in data), ()) if isinstance(data, Mapping) else ()
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _attributes(span: Mapping[str, Any]) -> dict[str, Any]:
    found = span.get("attributes")
    if isinstance(found, Mapping):  # of the console exporter
        return dict(found)
    return {str(one.get("key")): _any_value(one.get("value")) for one in _list(span, "attributes")}


def _any_value(value: Any) -> Any:
    """Return an `AnyValue` as plain data; 64-bit integers are texts in OTLP JSON."""
    if not isinstance(value, Mapping):
        return None
    kinds = {_CAMEL.sub("_", str(kind)).lower(): held for kind, held in value.items()}
    if "int_value" in kinds:
        try:
            return int(kinds["int_value"])
        except (TypeError, ValueError, OverflowError):
            return None
    if "array_value" in kinds:
        return [_any_value(item) for item in _list(kinds["array_value"], "values")]
    return next((kinds[kind] for kind in ("string_value", "double_value", "bool_value") if kind in kinds), None)


def _started(span: Mapping[str, Any]) -> float | None:
    started = next((span[key] for key in _STARTS if span.get(key) is not None), None)
    try:
        return int(started) / 1e9  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return None
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(str(started)).timestamp()
    except (ValueError, OverflowError):
        return None


def _row(span: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    outcome = found.get(names.OUTCOME)
    taken_part = found.get(names.PLAN_MEMBERS)
    return {
        "team_id": found.get(names.TEAM_ID),
        "workflow": found.get(names.WORKFLOW),
        "formation": found.get(names.PLAN_FORMATION),
        "member_count": found.get(names.TEAM_SIZE),
        "success": None if outcome is None else outcome == names.SUCCESS,
        "duration_seconds": found.get(names.ELAPSED),
        "tool_calls": found.get(names.TOOL_CALLS),
        "timestamp": _started(span),
        **_quality(found),
        "cost_usd": found.get(names.COST),
        "input_tokens": found.get(names.INPUT_TOKENS),
        "output_tokens": found.get(names.OUTPUT_TOKENS),
        "timed_out": outcome == names.TIMEOUT,
        "cancelled": outcome == names.CANCELLED,
        "error_class": found.get(names.ERROR_TYPE),
        "tool_budget": found.get(names.PLAN_TOOL_BUDGET),
        "timeout_seconds": found.get(names.PLAN_TIMEOUT),
        "order": taken_part if isinstance(taken_part, list) else [],
    }


def _quality(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return score and members' share; spans of 0.1, which have no share, call it a score."""
    score, share = found.get(names.SCORE), found.get(names.MEMBER_SUCCESS_SHARE)
    return (
        {"score": None, "member_success_share": score}
        if share is None
        else {"score": score, "member_success_share": share}
    )


def _member(found: Mapping[str, Any]) -> MemberOutcome:
    def count(name: str) -> int:
        value = found.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0

    def seconds(name: str) -> float | None:
        value = found.get(name)
        return float(value) if isinstance(value, int | float) and 0 <= value < 1e9 else None

    outcome, calls = found.get(names.OUTCOME), seconds(names.MEMBER_IN_FLIGHT)
    models = found.get(names.MEMBER_MODELS)
    return MemberOutcome(
        id=str(found.get(names.MEMBER_ID)),
        role=str(found.get(names.MEMBER_ROLE) or ""),
        success=outcome == names.SUCCESS,
        finished=outcome in (names.SUCCESS, names.FAILURE),
        duration_seconds=seconds(names.ELAPSED) or 0.0,
        tool_calls=count(names.TOOL_CALLS),
        tool_calls_refused=count(names.REFUSED_TOOL_CALLS),
        llm_calls=count(names.LLM_CALLS),
        input_tokens=count(names.INPUT_TOKENS),
        output_tokens=count(names.OUTPUT_TOKENS),
        models=[name for name in models if isinstance(name, str)] if isinstance(models, list) else (),
        error_class=found.get(names.ERROR_TYPE) if outcome == names.FAILURE else None,
        model_seconds=seconds(names.MEMBER_MODEL_TIME),
        tool_seconds=seconds(names.MEMBER_TOOL_TIME),
        in_flight=max(calls, 1.0) if calls is not None else 1.0,
    )
