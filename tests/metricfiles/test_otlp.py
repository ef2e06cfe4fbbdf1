"""Runs from traces that hold the plugin's own spans, made by the plugin's own telemetry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from victor_autotune_plugin._analysis.run_history import row_of
from victor_autotune_plugin._metricfiles import read_history, read_runs
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._telemetry.spans import member_span, team_run_span
from victor_autotune_plugin.errors import MetricsError
from victor_autotune_testing import providers

SPEC = TeamSpec(
    "review", "reviewers", "sequential", [MemberSpec("scout", "researcher"), MemberSpec("judge", "reviewer")]
)


def a_run(number: int, **changes: Any) -> TeamRun:
    members = [
        MemberOutcome("scout", "researcher", True, True, 1.0, 3, 0, 4, 100, 20, ["m-1"], None, 0.75, 0.125, 1.5),
        MemberOutcome("judge", "reviewer", False, True, 1.5, 2, 1, 3, 50, 10, ["m-1", "m-2"], "ValueError"),
    ]
    plan = TeamPlan(formation="parallel", members=["scout", "judge"], tool_budget=9, timeout_seconds=30.0)
    usual: dict[str, Any] = {
        "success": True,
        "member_success_share": 0.5,
        "plan_used": plan,
        "members": members,
        "cost_usd": 0.25,
    }
    return TeamRun(
        **{"run_id": f"run-{number}", "spec": SPEC, "started_at": 0.0, "duration_seconds": 2.5, **usual, **changes}
    )


def spans_of(runs: Sequence[TeamRun]) -> Sequence[ReadableSpan]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with providers.use(tracer_provider=provider):
        for run in runs:
            with team_run_span(SPEC, run_id=run.run_id, mode="auto", plan=run.plan_used) as span:
                for outcome in run.members:
                    with member_span(outcome.id, outcome.role, team=span) as inner:
                        inner.finish(outcome)
                span.finish(run)
        with provider.get_tracer("application").start_as_current_span("something else"):
            pass
    provider.shutdown()
    return exporter.get_finished_spans()


def any_value(value: object) -> dict[str, Any]:
    """An attribute as OTLP's JSON encoding writes it: 64-bit integers are texts."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    assert isinstance(value, Sequence)
    return {"arrayValue": {"values": [any_value(item) for item in value]}}


def request(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    def attributes(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        return [{"key": key, "value": any_value(value)} for key, value in (found or {}).items()]

    plain = [
        {"name": s.name, "startTimeUnixNano": str(s.start_time), "attributes": attributes(s.attributes)} for s in spans
    ]
    return {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "x"}, "spans": plain}]}]}


def expected(run: TeamRun, timestamp: float) -> dict[str, Any]:
    return {**row_of(run), "timestamp": timestamp}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    return tmp_path / "traces.json"


@pytest.mark.parametrize("indent", [None, 2])
def test_spans_become_the_runs_they_were(traces: Path, indent: int | None) -> None:
    runs = [
        a_run(1),
        a_run(2, success=False, timed_out=True, member_success_share=0.0),
        a_run(3, success=False, error_class="OSError"),
    ]
    traces.write_text(json.dumps(request(spans_of(runs)), indent=indent))
    found = list(read_runs(traces))
    assert [one["run_id"] for one in found] == ["run-1", "run-2", "run-3"]
    assert all(one["timestamp"] > 1.7e9 for one in found)
    assert found[0] == expected(runs[0], found[0]["timestamp"])
    assert [(one["success"], one["timed_out"], one.get("error_class")) for one in found] == [
        (True, False, None),
        (False, True, "timeout"),
        (False, False, "OSError"),
    ]
    table = read_history(traces).history.table(SPEC.key)
    assert table.tool_budget.tolist() == [9.0] * 3
    assert [(m.id, m.duration.tolist()) for m in table.members] == [("scout", [1.0] * 3), ("judge", [1.5] * 3)]


def test_score_and_members_share_are_told_apart_also_where_spans_of_0_1_call_the_share_a_score(traces: Path) -> None:
    runs = [a_run(1, score=0.9), a_run(2)]
    spans = request(spans_of(runs))
    traces.write_text(json.dumps(spans))
    found = list(read_runs(traces))
    assert [(one.get("score"), one["member_success_share"]) for one in found] == [(0.9, 0.5), (None, 0.5)]
    old = "victor.autotune.member_success_share", "victor.autotune.score"
    traces.write_text(json.dumps(request(spans_of(runs[1:]))).replace(*old))
    assert [(one.get("score"), one["member_success_share"]) for one in read_runs(traces)] == [(None, 0.5)]


def test_members_may_come_in_other_lines_than_their_run(traces: Path) -> None:
    runs = [a_run(number) for number in range(5)]
    spans = spans_of(runs)
    traces.write_text("\n".join(json.dumps(request([span])) for span in reversed(spans)))
    found = {one["run_id"]: one for one in read_runs(traces)}
    assert len(found) == 5
    assert all([m.id for m in one["members"]] == ["scout", "judge"] for one in found.values())


def test_a_run_that_never_ended_is_a_bad_row(traces: Path) -> None:
    whole = request(spans_of([a_run(1), a_run(2)]))
    for span in whole["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        if span["name"].startswith("invoke_workflow"):
            span["attributes"] = [one for one in span["attributes"] if one["key"] != "victor.autotune.outcome"]
            break
    traces.write_text(json.dumps(whole))
    with pytest.raises(MetricsError, match="span of run 'run-1': success: is missing") as caught:
        list(read_runs(traces))
    assert caught.value.where == f"{traces}:1"
    reader = read_runs(traces, skip_bad=True)
    assert [one["run_id"] for one in reader] == ["run-2"]
    assert reader.skipped == 1


def test_traces_without_the_plugins_spans_hold_no_runs(traces: Path) -> None:
    for text in ('{"resourceSpans": []}', '{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": 3}]}]}, 7]}'):
        traces.write_text(text)
        assert list(read_runs(traces)) == []


def test_broken_traces_are_refused(traces: Path) -> None:
    traces.write_text('{"resourceSpans": [')
    with pytest.raises(MetricsError, match="is not JSON"):
        list(read_runs(traces))
