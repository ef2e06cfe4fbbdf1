"""Victor's own export goes on working after the plugin has been in use, and carries the plugin's spans."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.victor

BEFORE = """
    import asyncio, logging, sys, types
    logging.basicConfig(level=logging.INFO, format="LOG %(levelname)s %(message)s", stream=sys.stderr)
    from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamSpec
    from victor_autotune_plugin._model.run import TeamRun
    from victor_autotune_plugin._telemetry import metrics, spans
    spec = TeamSpec("review", "reviewers", "sequential", ())
    run = TeamRun("r", spec, 0.0, 1.0, True, 1.0)

    def team_run(inside):
        with spans.team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team:
            with spans.member_span("scout", team=team):
                inside()
            team.finish(run)
        metrics.record_run(run)

    team_run(lambda: None)
"""

SETUP_OPENTELEMETRY = """
    try:
        import opentelemetry.exporter.otlp.proto.grpc.trace_exporter
        import opentelemetry.exporter.otlp.proto.grpc.metric_exporter
    except ImportError:
        # Victor wants them importable before it sets a provider. Without an endpoint it uses neither.
        base = "opentelemetry.exporter.otlp.proto.grpc"
        for name in (base, f"{base}.trace_exporter", f"{base}.metric_exporter"):
            module = types.ModuleType(name)
            module.OTLPSpanExporter = module.OTLPMetricExporter = None
            sys.modules[name] = module
    from victor.observability.telemetry.opentelemetry import get_tracer, setup_opentelemetry, trace_tool_execution
    tracer, meter = setup_opentelemetry(service_name="victor-under-test")
    assert tracer is not None

    @trace_tool_execution("grep")
    async def grep():
        pass

    victors_own = lambda: asyncio.run(grep())
    victors_span = "tool.grep"
"""

SPAN_MANAGER = """
    from victor.observability.otel_exporter import OTELSpanManager
    manager = OTELSpanManager(service_name="victor-under-test")

    def victors_own():
        with manager.span("process_request"):
            pass

    victors_span = "process_request"
"""

AFTER = """
    from opentelemetry import metrics as metrics_api, trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    provider = trace.get_tracer_provider()
    assert provider.resource.attributes["service.name"] == "victor-under-test", provider
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    team_run(victors_own)
    by_id = {span.context.span_id: span.name for span in memory.get_finished_spans()}
    tree = {span.name: by_id[span.parent.span_id] if span.parent else None for span in memory.get_finished_spans()}
    assert tree == {
        "invoke_workflow review": None,
        "invoke_agent scout": "invoke_workflow review",
        victors_span: "invoke_agent scout",
    }, tree
"""

METRICS = """
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    meters = metrics_api.get_meter_provider()
    assert meters._sdk_config.resource.attributes["service.name"] == "victor-under-test"
    reader = InMemoryMetricReader()
    meters.add_metric_reader(reader)
    team_run(lambda: None)
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    assert "victor.autotune.runs" in {metric.name for metric in scope.metrics}
"""


@pytest.mark.parametrize(
    "parts",
    [(BEFORE, SETUP_OPENTELEMETRY, AFTER, METRICS), (BEFORE, SPAN_MANAGER, AFTER)],
    ids=["setup_opentelemetry", "OpenTelemetryExporter"],
)
def test_victor_sets_its_provider_after_us_and_gets_our_spans(parts: tuple[str, ...], tmp_path: Path):
    program = "".join(textwrap.dedent(part) for part in parts)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert "Overriding of current" not in done.stderr
    assert "autotune:" not in done.stderr
