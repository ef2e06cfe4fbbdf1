"""Runs from OTLP JSON traces that hold this plugin's spans, as the OpenTelemetry collector's file exporter writes them.

A file is one `ExportTraceServiceRequest` or one a line. The spans of members are told to belong to a run by its id,
and may come before it; a run is given as soon as it is complete, and what is left at the end of the file without all
members is given then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

from .._analysis.run_history import Row
from .._model.run import MemberOutcome
from .._telemetry import conventions as names
from .._values.nodes import WrongValueError
from .._values.reading import integer
from ..errors import MetricsError
from .row_fields import BadRows, run_of_row

_REQUEST_KEYS: Final = ("resourceSpans", "resource_spans")
_EXPORT_AGAIN: Final = "Export the traces again."
_EXPORT_BY_LINES: Final = "Export the traces with one request a line, as the collector's file exporter does."
_MOST_CHARACTERS: Final = 64 << 20
"""Characters of a request, which is held whole."""


def is_otlp(text: str) -> bool:
    """Return whether a file that begins so holds OTLP traces."""
    return any(f'"{key}"' in text[:200] for key in _REQUEST_KEYS)


def runs_of_traces(file: TextIO, bad: BadRows) -> Iterator[Row]:
    """Give the runs of OTLP traces; spans of others are passed over."""
    waiting: dict[str, tuple[int, dict[str, Any]]] = {}
    members: dict[str, list[MemberOutcome]] = {}
    for line, span in _spans(file, bad):
        found = {str(one.get("key")): _value(one.get("value")) for one in _list(span, "attributes")}
        run_id = found.get(names.RUN_ID)
        if not isinstance(run_id, str):
            continue
        operation = found.get(names.OPERATION)
        if operation == names.INVOKE_AGENT:
            members.setdefault(run_id, []).append(_member(found))
        elif operation == names.INVOKE_WORKFLOW:
            waiting[run_id] = line, {**_row(span, found), "run_id": run_id}
        else:
            continue
        if run_id in waiting and len(members.get(run_id, ())) >= waiting[run_id][1].get("member_count", 0):
            yield from _run(*waiting.pop(run_id), members.pop(run_id, []), bad)
    for run_id, (line, row) in waiting.items():
        yield from _run(line, row, members.pop(run_id, []), bad)


def _run(line: int, row: dict[str, Any], members: list[MemberOutcome], bad: BadRows) -> Iterator[Row]:
    order = row.pop("order")
    try:
        run = run_of_row(row)
    except WrongValueError as wrong:
        bad.add(line, f"span of run {row['run_id'][:40]!r}: {wrong.message}", wrong.hint)
        return
    # A member that ran several times has one span for each, of which the last one holds the totals.
    last = {member.id: member for member in members}
    names_in_order = [name for name in order if name in last] + [name for name in last if name not in order]
    yield {**run, "members": tuple(last[name] for name in names_in_order)}


def _spans(file: TextIO, bad: BadRows) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, request in _requests(file, bad):
        for resource in _list(request, *_REQUEST_KEYS):
            for scope in _list(resource, "scopeSpans", "scope_spans"):
                for span in _list(scope, "spans"):
                    yield line, span


def _requests(file: TextIO, bad: BadRows) -> Iterator[tuple[int, Any]]:
    """Give the requests: one a line, or one that goes over several lines."""
    first = file.readline(_MOST_CHARACTERS)
    try:
        yield 1, _decoded(first)
    except ValueError:
        text = first + file.read(_MOST_CHARACTERS - len(first))
        if len(text) >= _MOST_CHARACTERS:
            message = f"has no request within {_MOST_CHARACTERS:,} characters"
            raise MetricsError(message, where=bad.source, hint=_EXPORT_BY_LINES) from None
        try:
            yield 1, _decoded(text)
        except ValueError as error:
            raise MetricsError(f"is not JSON: {error}", where=bad.source, hint=_EXPORT_AGAIN) from None
        return
    line = 1
    while text := file.readline(_MOST_CHARACTERS):
        line += 1
        if len(text) >= _MOST_CHARACTERS:
            message = f"has more than {_MOST_CHARACTERS:,} characters"
            raise MetricsError(message, where=f"{bad.source}:{line}", hint=_EXPORT_BY_LINES)
        if text.strip():
            try:
                yield line, _decoded(text)
            except ValueError as error:
                bad.add(line, f"is not JSON: {error}", _EXPORT_AGAIN)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text, parse_int=integer)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _list(data: Any, *keys: str) -> list[Mapping[str, Any]]:
    found = next((data[key] for key in keys if key in data), ()) if isinstance(data, Mapping) else ()
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _value(value: Any) -> Any:
    """Return an `AnyValue` as plain data; 64-bit integers are texts in OTLP JSON."""
    if not isinstance(value, Mapping):
        return None
    if "intValue" in value:
        try:
            return int(value["intValue"])
        except (TypeError, ValueError, OverflowError):
            return None
    if "arrayValue" in value:
        return [_value(item) for item in _list(value["arrayValue"], "values")]
    return next((value[kind] for kind in ("stringValue", "doubleValue", "boolValue") if kind in value), None)


def _row(span: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    outcome = found.get(names.OUTCOME)
    started = span.get("startTimeUnixNano")
    try:
        timestamp = None if started is None else int(started) / 1e9
    except (TypeError, ValueError, OverflowError):
        timestamp = None
    taken_part = found.get(names.PLAN_MEMBERS)
    return {
        "team_id": found.get(names.TEAM_ID),
        "workflow": found.get(names.WORKFLOW),
        "formation": found.get(names.PLAN_FORMATION),
        "member_count": found.get(names.TEAM_SIZE),
        "success": None if outcome is None else outcome == names.SUCCESS,
        "duration_seconds": found.get(names.ELAPSED),
        "tool_calls": found.get(names.TOOL_CALLS),
        "timestamp": timestamp,
        "score": found.get(names.SCORE),
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


def _member(found: Mapping[str, Any]) -> MemberOutcome:
    def count(name: str) -> int:
        value = found.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0

    elapsed, outcome = found.get(names.ELAPSED), found.get(names.OUTCOME)
    models = found.get(names.MEMBER_MODELS)
    return MemberOutcome(
        id=str(found.get(names.MEMBER_ID)),
        role=str(found.get(names.MEMBER_ROLE) or ""),
        success=outcome == names.SUCCESS,
        finished=outcome in (names.SUCCESS, names.FAILURE),
        duration_seconds=float(elapsed) if isinstance(elapsed, int | float) and 0 <= elapsed < 1e9 else 0.0,
        tool_calls=count(names.TOOL_CALLS),
        tool_calls_refused=count(names.REFUSED_TOOL_CALLS),
        llm_calls=count(names.LLM_CALLS),
        input_tokens=count(names.INPUT_TOKENS),
        output_tokens=count(names.OUTPUT_TOKENS),
        models=[name for name in models if isinstance(name, str)] if isinstance(models, list) else (),
        error_class=found.get(names.ERROR_TYPE) if outcome == names.FAILURE else None,
    )
