"""Where the runs of this process belong, and whether this system lets the plugin do more than observe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from .._model.quantities import DEFAULT_ENVIRONMENT

if TYPE_CHECKING:
    from .team_settings import Settings

TEST_ENVIRONMENT: Final = "test"
"""Environment of runs under pytest or in CI, unless another one is set: they never mix with real ones."""

_ATTRIBUTES: Final = ("deployment.environment.name", "deployment.environment")
"""OpenTelemetry's resource attribute, and its name before semantic conventions 1.27."""


def can_tune() -> bool:
    """Whether this system keeps what tuning needs: files of one user, and locks that a dead process gives back."""
    return sys.platform != "win32"


def environment_of(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the environment of a process's runs, and what says so.

    Args:
        settings: The settings of the process.
        environ: Its environment variables.

    Returns:
        The environment, and its source for people, such as `setting` or `CI=true`.
    """
    if settings.environment is not None:
        return settings.environment, "setting environment"
    named = _of_variable(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")) or _of_provider()
    if named:
        return named, f"OpenTelemetry's {_ATTRIBUTES[0]}"
    if "PYTEST_CURRENT_TEST" in environ or "_pytest" in sys.modules:
        return TEST_ENVIRONMENT, "pytest"
    if environ.get("CI", "").strip().lower() in ("true", "1"):
        return TEST_ENVIRONMENT, f"CI={environ['CI'].strip()}"
    return DEFAULT_ENVIRONMENT, "default"


def _of_variable(text: str) -> str | None:
    from urllib.parse import unquote

    pairs = (part.partition("=") for part in text.split(","))
    found = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    return next((found[name] for name in _ATTRIBUTES if found.get(name)), None)


def _of_provider() -> str | None:
    """Ask the program's tracer provider, if OpenTelemetry's SDK is loaded."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    attributes = getattr(getattr(trace.get_tracer_provider(), "resource", None), "attributes", {})
    return next((str(attributes[name]) for name in _ATTRIBUTES if attributes.get(name)), None)
