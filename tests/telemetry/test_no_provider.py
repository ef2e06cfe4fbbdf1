"""An application without OpenTelemetry: nothing is exported, nothing is changed, next to nothing is spent."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import timeit
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import trace

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import EMPTY_PLAN
from victor_autotune_plugin._telemetry.metrics import record_run
from victor_autotune_plugin._telemetry.spans import member_span, team_run_span
from victor_autotune_testing import providers

ROOT = Path(__file__).parents[2]

PREAMBLE = """
    import sys
    from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamSpec
    from victor_autotune_plugin._model.run import TeamRun
    from victor_autotune_plugin._model.experiment import Change
    from victor_autotune_plugin._telemetry import conventions, events, labels, metrics, spans
    assert not [name for name in sys.modules if name.startswith("opentelemetry")], "imported too early"
    spec = TeamSpec("review", "reviewers", "sequential", ())
    run = TeamRun("r", spec, 0.0, 1.0, True, 1.0)

    def one_run():
        with spans.team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team:
            with spans.member_span("scout", team=team):
                pass
            team.finish(run)
        metrics.record_run(run)
        events.tell_change(Change(1, 0.0, "review", "reviewers", "promoted", "auto", "proven"))
"""


def in_a_fresh_process(code: str) -> str:
    program = textwrap.dedent(PREAMBLE) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_run_sets_no_provider_and_loads_no_sdk():
    in_a_fresh_process("""
        one_run()
        from opentelemetry import _logs, trace, metrics as api
        assert trace._TRACER_PROVIDER is None
        assert not _logs._internal._LOGGER_PROVIDER_SET_ONCE._done
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        assert not trace._TRACER_PROVIDER_SET_ONCE._done
        assert not api._internal._METER_PROVIDER_SET_ONCE._done
        assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
    """)


def test_a_run_does_not_import_what_the_application_does_not_use():
    in_a_fresh_process("""
        one_run()
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """)


def test_the_api_is_asked_where_the_environment_may_name_a_provider():
    in_a_fresh_process("""
        assert spans.tracer_provider() is None
        assert metrics.meter_provider() is None
        conventions.BY_ENVIRONMENT = True
        from opentelemetry import trace, metrics as api
        assert spans.tracer_provider() is trace.get_tracer_provider()
        assert metrics.meter_provider() is api.get_meter_provider()
    """)


def test_providers_set_after_the_first_run_get_the_following_runs():
    in_a_fresh_process("""
        one_run()
        from opentelemetry import trace, metrics as api
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        api.set_meter_provider(MeterProvider([reader]))
        from opentelemetry import _logs
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
        logs = InMemoryLogRecordExporter()
        loggers = LoggerProvider()
        loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
        _logs.set_logger_provider(loggers)
        one_run()
        one_run()
        names = [span.name for span in exporter.get_finished_spans()]
        assert names == ["invoke_agent scout", "invoke_workflow review"] * 2, names
        (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
        counts = {metric.name: metric.data.data_points for metric in scope.metrics}
        assert counts["victor.autotune.runs"][0].value == 2
        assert counts["gen_ai.invoke_agent.duration"][0].count == 2
        assert len(counts["gen_ai.invoke_agent.duration"][0].explicit_bounds) == 13
        assert [one.log_record.event_name for one in logs.get_finished_logs()] == ["victor.autotune.change"] * 2
    """)


def test_without_the_opentelemetry_packages_runs_go_on():
    in_a_fresh_process("""
        import logging
        logging.disable()
        sys.modules["opentelemetry"] = None
        from victor_autotune_plugin import failsafe
        one_run()
        assert not failsafe.seen()
        conventions.BY_ENVIRONMENT = True
        one_run()
        assert {fault.error.partition(":")[0] for fault in failsafe.seen()} == {"ModuleNotFoundError"}
    """)


def test_the_applications_own_span_stays_current_when_our_tracer_has_no_provider(telemetry, spec, make_run):
    # The application keeps a provider to itself, without making it the global one.
    with providers.use(), telemetry.app.start_as_current_span("request") as request:
        with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team, member_span("scout", team=team):
            assert trace.get_current_span() is request
            trace.get_current_span().set_attribute("kept", True)
            team.finish(make_run())
        assert request.is_recording()
    assert [span.name for span in telemetry.spans] == ["request"]
    assert dict(telemetry.spans[0].attributes) == {"kept": True}


@pytest.mark.parametrize(("microseconds", "what"), [(20, "run"), (10, "member"), (30, "metrics")])
def test_an_application_without_providers_pays_next_to_nothing(spec, make_run, caplog, microseconds, what):
    run = make_run()
    team = team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN)

    def a_run() -> None:
        with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN, experiment_id="e", arm="control") as span:
            span.finish(run)

    def a_member() -> None:
        with member_span("scout", "researcher", team=team) as span:
            span.finish(run.members[0])

    calls: dict[str, Callable[[], None]] = {"run": a_run, "member": a_member, "metrics": lambda: record_run(run)}
    with caplog.at_level(logging.DEBUG):
        best = min(timeit.repeat(calls[what], number=1000, repeat=20)) / 1000
    assert best * 1e6 < microseconds
    assert failsafe.seen() == ()
    assert caplog.records == []
