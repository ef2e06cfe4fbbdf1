"""Makes `collected.jsonl`: what the SDK's own exporters of OTLP as JSON write, spans with metrics and logs between.

Run it by hand where the package opentelemetry-exporter-otlp-json-file is installed beside the development environment:

    python tests/data/otlp/make.py
"""

from __future__ import annotations

from pathlib import Path

from opentelemetry.exporter.otlp.json.file import FileMetricExporter, FileSpanExporter
from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._telemetry.spans import member_span, team_run_span
from victor_autotune_testing import providers

RUNS = 6
SPEC = TeamSpec(
    "review", "reviewers", "consensus", [MemberSpec("scout", "researcher"), MemberSpec("judge", "reviewer")]
)


def a_run(number: int) -> TeamRun:
    """Return a made-up run."""
    members = [
        MemberOutcome("scout", "researcher", True, True, 1.25 + number, 3, 0, 4, 100, 20, ["m-1"]),
        MemberOutcome("judge", "reviewer", number % 2 == 0, True, 1.5, 2, 1, 3, 50, 10, ["m-1"]),
    ]
    plan = TeamPlan(formation="consensus", members=["scout", "judge"], tool_budget=9)
    return TeamRun(
        f"run-{number}", SPEC, 0.0, 2.5 + number, number != 3, 0.5, plan_used=plan, members=members, cost_usd=0.25
    )


def main() -> None:
    """Write the file."""
    with (Path(__file__).parent / "collected.jsonl").open("w") as file:
        traces, logs = TracerProvider(), LoggerProvider()
        traces.add_span_processor(BatchSpanProcessor(FileSpanExporter(stream=file)))
        logs.add_log_record_processor(SimpleLogRecordProcessor(FileLogExporter(stream=file)))
        metrics = MeterProvider([PeriodicExportingMetricReader(FileMetricExporter(stream=file))])
        logger, counter = logs.get_logger("application"), metrics.get_meter("application").create_counter("requests")
        logger.emit(body="started " + "x" * 300, severity_text="INFO")
        with providers.use(tracer_provider=traces):
            for number in range(RUNS):
                run = a_run(number)
                with team_run_span(SPEC, run_id=run.run_id, mode="auto", plan=run.plan_used) as span:
                    for outcome in run.members:
                        with member_span(outcome.id, outcome.role, team=span) as inner:
                            inner.finish(outcome)
                        if number == 4 and outcome.id == "scout":
                            traces.force_flush()  # the members of a run in several requests
                    span.finish(run)
                with traces.get_tracer("application").start_as_current_span("something else") as other:
                    other.set_attribute("nothing", "of the plugin")
                if number % 2:
                    traces.force_flush()
                    counter.add(1)
                    metrics.force_flush()
                    logger.emit(body="one more", severity_text="INFO")
        traces.shutdown()


if __name__ == "__main__":
    main()
