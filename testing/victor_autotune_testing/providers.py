"""Other OpenTelemetry providers than the application's, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from opentelemetry._logs import LoggerProvider, get_logger_provider
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import TracerProvider, get_tracer_provider

from victor_autotune_plugin._telemetry import events, metrics, spans


@contextmanager
def use(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
) -> Iterator[None]:
    """Use other providers inside a block, in all threads; None stands for the application's."""
    with (
        patch.object(spans, "tracer_provider", lambda: tracer_provider or get_tracer_provider()),
        patch.object(metrics, "meter_provider", lambda: meter_provider or get_meter_provider()),
        patch.object(events, "logger_provider", lambda: logger_provider or get_logger_provider()),
    ):
        yield
