"""The application's tracer and meter, looked up when they are used.

An application may set its providers long after the plugin was imported, and Victor does so, too. So the global
provider is asked for each time, and what was made from it is kept only while it stays the same. While none is set,
nothing is measured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeAlias

from . import conventions as names

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider
    from opentelemetry.util.types import Attributes

Recorders: TypeAlias = Mapping[str, "Callable[[float, Attributes], None]"]
"""By metric name, what records one measurement of it."""

_lock = threading.Lock()
_tracer: tuple[TracerProvider, Tracer] | None = None
_recorders: tuple[MeterProvider, Recorders] | None = None
_forced_tracer_provider: TracerProvider | None = None
_forced_meter_provider: MeterProvider | None = None


def tracer() -> Tracer | None:
    """Return the tracer of the provider that is set now, or None while none is set."""
    from opentelemetry import trace

    global _tracer
    provider = _forced_tracer_provider or trace.get_tracer_provider()
    if _is_stand_in(provider):
        return None
    known = _tracer
    if known is None or known[0] is not provider:
        known = _tracer = (provider, provider.get_tracer(names.SCOPE, _version()))
    return known[1]


def recorders() -> Recorders:
    """Return what records measurements with the provider that is set now, by metric name; empty while none is set."""
    from opentelemetry import metrics

    global _recorders
    provider = _forced_meter_provider or metrics.get_meter_provider()
    if _is_stand_in(provider):
        return {}
    known = _recorders
    if known is None or known[0] is not provider:
        with _lock:
            known = _recorders
            if known is None or known[0] is not provider:
                meter = provider.get_meter(names.SCOPE, _version())
                known = _recorders = (provider, {metric.name: _recorder(meter, metric) for metric in names.METRICS})
    return known[1]


@contextmanager
def use(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Iterator[None]:
    """Use other providers than the global ones inside a block, in all threads; for tests.

    Args:
        tracer_provider: Where spans go, or None for the global provider.
        meter_provider: Where measurements go, or None for the global provider.
    """
    global _forced_meter_provider, _forced_tracer_provider
    before = _forced_tracer_provider, _forced_meter_provider
    _forced_tracer_provider, _forced_meter_provider = tracer_provider, meter_provider
    try:
        yield
    finally:
        _forced_tracer_provider, _forced_meter_provider = before


def _is_stand_in(provider: TracerProvider | MeterProvider) -> bool:
    """Return whether a provider is the API's own, which keeps nothing and stands in while the application set none."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))


def _recorder(meter: Meter, metric: names.Metric) -> Callable[[float, Attributes], None]:
    if metric.buckets is None:
        return meter.create_counter(metric.name, metric.unit, metric.description).add
    return meter.create_histogram(
        metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
    ).record


@cache
def _version() -> str | None:
    try:
        return version("victor-autotune-plugin")
    except PackageNotFoundError:
        return None
