"""On real Victor, team, member and application spans form one trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from victor_autotune_plugin._telemetry.spans import _tracer as get_tracer
from victor_autotune_testing import providers
from victor_autotune_testing.realvictor import (
    make_members,
    make_step,
    make_team,
    make_workflow,
    run_team,
    run_workflow,
)
from victor_autotune_testing.scripted import ScriptedModel, scripts

from .conftest import Plugin


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    made, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    with providers.use(tracer_provider=provider):
        yield made
    provider.shutdown()


def parents(exporter: InMemorySpanExporter) -> dict[str, str | None]:
    """Return the name of each span's parent by the span's name."""
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans if span.context}
    return {span.name: names.get(span.parent.span_id) if span.parent else None for span in spans}


@pytest.mark.parametrize("formation", ["sequential", "parallel"])
async def test_members_belong_to_their_team(
    plugin: Plugin, orchestrator: Any, exporter: InMemorySpanExporter, formation: str
) -> None:
    step = make_step("researcher", "planner", formation=formation, name="step")
    await run_workflow(orchestrator, make_workflow(step, name="flow"))
    team = "invoke_workflow flow"
    assert parents(exporter) == {team: None, "invoke_agent m0": team, "invoke_agent m1": team}
    spans = {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}
    assert spans[team]["victor.autotune.mode"] == "auto"
    assert spans[team]["gen_ai.workflow.name"] == "flow"
    assert spans["invoke_agent m0"]["gen_ai.agent.name"] == "m0"


async def test_spans_of_the_application_nest_around_and_inside(
    plugin: Plugin, orchestrator: Any, exporter: InMemorySpanExporter
) -> None:
    from victor.teams import TeamParticipant, UnifiedTeamCoordinator

    tracer = get_tracer()
    assert tracer is not None

    async def own(task: str, context: dict[str, Any]) -> str:
        with tracer.start_as_current_span("inside"):
            await run_team(orchestrator, make_team("researcher", name="inner"))
        return "done"

    (lead,) = make_members("planner")
    with tracer.start_as_current_span("around"):
        participant = TeamParticipant(member=lead, executor=own)
        team = make_team("planner", name="outer")
        await UnifiedTeamCoordinator(orchestrator).execute_team_config(team, members=[participant])
    ours = [(s.name, s) for s in exporter.get_finished_spans()]
    by_id = {s.context.span_id: s for _, s in ours if s.context}

    def chain(span: Any) -> list[str]:
        return [span.name] + (chain(by_id[span.parent.span_id]) if span.parent else [])

    innermost = ours[0][1]
    assert chain(innermost) == [
        "invoke_agent m0",
        "invoke_workflow adhoc",
        "inside",
        "invoke_agent m0",
        "invoke_workflow adhoc",
        "around",
    ]
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_failed_run_is_an_error_without_its_text(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, exporter: InMemorySpanExporter
) -> None:
    scripted.script = scripts.failing(400, "planner")
    await run_team(orchestrator, make_team("researcher", "planner"))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert not spans["invoke_workflow adhoc"].status.is_ok
    assert spans["invoke_agent m0"].status.status_code is not trace.StatusCode.ERROR
    assert spans["invoke_agent m1"].status.status_code is trace.StatusCode.ERROR


async def test_metrics_are_recorded_through_the_applications_provider(plugin: Plugin, orchestrator: Any) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with providers.use(meter_provider=provider):
        await run_team(orchestrator, make_team("researcher", "planner", name="my team"))
        plugin.runtime.hooks.flush(5.0)  # they are recorded behind the run
    data = reader.get_metrics_data()
    assert data is not None
    names = {m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert "gen_ai.invoke_agent.duration" in names
    assert any(name.startswith("victor.autotune.") for name in names)
    provider.shutdown()
