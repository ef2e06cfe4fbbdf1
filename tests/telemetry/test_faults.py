"""An application's telemetry that fails must not reach the team run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import metrics as metrics_api
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import IdGenerator, RandomIdGenerator, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import EMPTY_PLAN
from victor_autotune_plugin._telemetry.metrics import record_change, record_run
from victor_autotune_plugin._telemetry.spans import member_span, team_run_span
from victor_autotune_testing import providers


class BrokenError(Exception):
    pass


class BrokenStart(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise BrokenError


class BrokenEnd(SpanProcessor):
    def on_end(self, span: Any) -> None:
        raise BrokenError


class BrokenExporter(SpanExporter):
    def export(self, spans: Any) -> Any:
        raise BrokenError


class BrokenSampler(Sampler):
    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        raise BrokenError

    def get_description(self) -> str:
        return "broken"


class BrokenIds(IdGenerator):
    def generate_span_id(self) -> int:
        raise BrokenError

    def generate_trace_id(self) -> int:
        raise BrokenError


class ForgetfulSpan(trace.NonRecordingSpan):
    """Takes part in a trace, and raises at whatever is set on it."""

    def is_recording(self) -> bool:
        return True

    def set_attributes(self, attributes: Any) -> None:
        raise BrokenError

    def end(self, end_time: int | None = None) -> None:
        raise BrokenError


class OddTracerProvider(trace.TracerProvider):
    def __init__(self, make_span: Callable[[], trace.Span]) -> None:
        self.make_span = make_span

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        make_span = self.make_span

        class OddTracer(trace.NoOpTracer):
            def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
                return make_span()

        return OddTracer()


class NoTracer(trace.TracerProvider):
    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        raise BrokenError


def forgetful_span() -> trace.Span:
    ids = RandomIdGenerator()
    return ForgetfulSpan(trace.SpanContext(ids.generate_trace_id(), ids.generate_span_id(), is_remote=False))


def sdk(processor: SpanProcessor | None = None, **options: Any) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False, **options)
    if processor is not None:
        provider.add_span_processor(processor)
    return provider


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: sdk(BrokenStart()), "telemetry.team_run_span.start"),
        (lambda: sdk(BrokenEnd()), "telemetry.team_run_span.end"),
        (lambda: sdk(SimpleSpanProcessor(BrokenExporter())), None),  # the SDK logs this one itself
        (lambda: sdk(sampler=BrokenSampler()), "telemetry.team_run_span.start"),
        (lambda: sdk(id_generator=BrokenIds()), "telemetry.team_run_span.start"),
        (lambda: OddTracerProvider(forgetful_span), "telemetry.team_run_span.finish"),
        (lambda: OddTracerProvider(lambda: None), "telemetry.team_run_span.start"),  # type: ignore[arg-type,return-value]
        (NoTracer, "telemetry.team_run_span.start"),
    ],
    ids=["processor start", "processor end", "exporter", "sampler", "ids", "span", "no span", "no tracer"],
)
def test_a_broken_tracer_leaves_the_run_as_it_is(make, where, spec, make_run):
    provider = make()
    with providers.use(tracer_provider=provider):
        for _ in range(3):
            with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team:
                with member_span("scout", team=team) as member:
                    member.finish(make_run().members[0])
                result = "delivered"
                team.finish(make_run())
            assert result == "delivered"
            with (
                pytest.raises(LookupError, match="theirs"),
                team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN),
                member_span("scout"),
            ):
                raise LookupError("theirs")
            assert trace.get_current_span() is trace.INVALID_SPAN
    seen = {fault.where: fault.error for fault in failsafe.seen()}
    assert (where is None and not seen) or seen[where].startswith(("BrokenError", "AttributeError"))


def test_a_processor_that_fails_at_the_end_does_not_cost_the_other_spans(spec, telemetry):
    telemetry.tracer_provider.add_span_processor(BrokenEnd())
    with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team, member_span("scout", team=team):
        pass
    assert telemetry.tree() == {"invoke_workflow review": None, "invoke_agent scout": "invoke_workflow review"}
    assert {fault.where for fault in failsafe.seen()} == {"telemetry.team_run_span.end", "telemetry.member_span.end"}


def test_records_that_cannot_be_read_leave_the_run_as_it_is(telemetry, spec, make_run):
    run = make_run(spec=None, members=[None])
    with team_run_span(None, run_id="r", mode="auto", plan=None) as unreadable:  # type: ignore[arg-type]
        unreadable.finish(run)
    with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team:
        with member_span(None, team=team) as member:  # type: ignore[arg-type]
            member.finish(None)  # type: ignore[arg-type]
        team.finish(run)
    record_run(run)
    record_run(None)  # type: ignore[arg-type]
    record_change(None, None, None)  # type: ignore[arg-type]
    assert [span.name for span in telemetry.spans] == ["invoke_workflow review"]
    assert {fault.where for fault in failsafe.seen()} == {
        "telemetry.team_run_span.start",
        "telemetry.member_span.start",
        "telemetry.team_run_span.finish",
        "telemetry.record_run",
        "telemetry.record_change",
    }


class BrokenScores(metrics_api.NoOpMeterProvider):
    """Makes instruments that count what they record; one raises."""

    def __init__(self) -> None:
        self.recorded: list[str] = []

    def get_meter(self, *args: Any, **kwargs: Any) -> metrics_api.Meter:
        recorded = self.recorded

        class Histogram(metrics_api.NoOpHistogram):
            def __init__(self, name: str) -> None:
                self.name = name

            def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
                if self.name.endswith("_share"):
                    raise BrokenError
                recorded.append(self.name)

        class Meter(metrics_api.NoOpMeter):
            def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> metrics_api.Histogram:
                return Histogram(name)

        return Meter("broken")


def test_an_instrument_that_fails_does_not_cost_the_other_measurements(make_run):
    provider = BrokenScores()
    with providers.use(meter_provider=provider):
        record_run(make_run())
    assert provider.recorded.count("gen_ai.invoke_agent.duration") == 3
    assert "victor.autotune.run.tokens" in provider.recorded
    assert [fault.where for fault in failsafe.seen()] == ["telemetry.record.victor.autotune.run.member_success_share"]


def test_a_meter_provider_that_fails_leaves_the_run_as_it_is(make_run):
    class NoMeter(metrics_api.MeterProvider):
        def get_meter(self, *args: Any, **kwargs: Any) -> metrics_api.Meter:
            raise BrokenError

    with providers.use(meter_provider=NoMeter()):
        record_run(make_run())
        record_change("promoted", "review", "reviewers")
    assert {fault.where for fault in failsafe.seen()} == {"telemetry.record_run", "telemetry.record_change"}


def test_a_metric_reader_that_fails_leaves_recording_as_it_is(make_run):
    class BrokenReader(InMemoryMetricReader):
        def _receive_metrics(self, *args: Any, **kwargs: Any) -> None:
            raise BrokenError

    broken, healthy = BrokenReader(), InMemoryMetricReader()
    with providers.use(meter_provider=MeterProvider([broken, healthy], shutdown_on_exit=False)):
        record_run(make_run())
        with pytest.raises(BrokenError):
            broken.collect()
        record_run(make_run())
        data = healthy.get_metrics_data()
    counters = {m.name: m.data.data_points for m in data.resource_metrics[0].scope_metrics[0].metrics}
    assert counters["victor.autotune.runs"][0].value == 2
    assert failsafe.seen() == ()


def test_after_the_application_shut_its_providers_down_runs_go_on(telemetry, spec, make_run):
    telemetry.tracer_provider.shutdown()
    telemetry.meter_provider.shutdown()
    with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team:
        team.finish(make_run())
    record_run(make_run())


def test_an_application_that_changes_its_provider_gets_the_spans_there(spec):
    exporters = [InMemorySpanExporter(), InMemorySpanExporter()]
    for exporter in exporters:
        with (
            providers.use(tracer_provider=sdk(SimpleSpanProcessor(exporter), sampler=ALWAYS_ON)),
            team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN),
        ):
            pass
    assert [len(exporter.get_finished_spans()) for exporter in exporters] == [1, 1]
