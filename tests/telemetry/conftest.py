"""Providers that keep what they are given in memory, and sample runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_testing import providers


class Telemetry:
    """What has been exported so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader])
        self.logs = InMemoryLogRecordExporter()
        self.logger_provider = LoggerProvider()
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.app = self.tracer_provider.get_tracer("application")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> dict[str, str | None]:
        """Span names with the name of their parent; for traces whose names are unique."""
        by_id = {span.context.span_id: span.name for span in self.spans}
        assert len(by_id) == len({span.name for span in self.spans})
        return {span.name: by_id[span.parent.span_id] if span.parent else None for span in self.spans}

    def points(self) -> dict[str, list[Any]]:
        """Data points by metric name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture(autouse=True)
def _as_if_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    sink = Telemetry()
    with providers.use(
        tracer_provider=sink.tracer_provider, meter_provider=sink.meter_provider, logger_provider=sink.logger_provider
    ):
        yield sink
    sink.tracer_provider.shutdown()
    sink.meter_provider.shutdown()
    sink.logger_provider.shutdown()


@pytest.fixture
def spec() -> TeamSpec:
    return TeamSpec(
        "review", "reviewers", "sequential", [MemberSpec("scout", "researcher"), MemberSpec("judge", "reviewer")]
    )


@pytest.fixture
def make_run(spec: TeamSpec) -> Callable[..., TeamRun]:
    def make(**changes: Any) -> TeamRun:
        values: dict[str, Any] = {
            "run_id": "run-1",
            "spec": spec,
            "started_at": 1_700_000_000.0,
            "duration_seconds": 2.5,
            "success": True,
            "member_success_share": 0.75,
            "mode": "auto",
            "plan_used": TeamPlan(formation="parallel", members=["scout", "judge"]),
            "members": [
                MemberOutcome(
                    "scout", "researcher", True, True, 1.0, 3, 0, 4, 100, 20, ["m-1"], None, 0.75, 0.125, 1.5
                ),
                MemberOutcome(
                    "judge", "reviewer", True, True, 1.5, 2, 1, 3, 50, 10, ["m-1", "m-2"], None, 1.0, 0.25, 2.0
                ),
            ],
        }
        return TeamRun(**{**values, **changes})

    return make
