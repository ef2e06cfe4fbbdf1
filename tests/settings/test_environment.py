"""Where the runs of a process belong, and what says so."""

from __future__ import annotations

import sys

import pytest

from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._settings.environment import environment_of

from .conftest import Sources

NOTHING_SET = Settings()


@pytest.fixture
def outside_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "_pytest")


@pytest.mark.usefixtures("outside_pytest")
@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "default"),
        ({"CI": "false"}, "default"),
        ({"CI": "true"}, "test"),
        ({"CI": "1"}, "test"),
        ({"PYTEST_CURRENT_TEST": "tests/test_it.py::test_it (call)"}, "test"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,deployment.environment.name=live%20eu"}, "live eu"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=old,deployment.environment.name=new"}, "new"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=old"}, "old"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=live", "CI": "true"}, "live"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "nonsense", "CI": "true"}, "test"),
    ],
)
def test_it_is_what_opentelemetry_says_else_test_in_ci_else_default(environ: dict[str, str], expected: str) -> None:
    assert environment_of(NOTHING_SET, environ)[0] == expected


@pytest.mark.usefixtures("outside_pytest")
def test_the_resource_of_the_programs_own_tracer_provider_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource({"deployment.environment.name": "canary"}))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    assert environment_of(NOTHING_SET, {}) == ("canary", "OpenTelemetry's deployment.environment.name")


def test_under_pytest_it_is_test_in_this_process_too() -> None:
    assert environment_of(NOTHING_SET, {}) == ("test", "pytest")


def test_the_setting_beats_all(sources: Sources) -> None:
    sources.project_file("environment: staging\n")
    settings = sources.load().for_team("", "")
    assert environment_of(settings, {"CI": "true"}) == ("staging", "setting environment")


def test_it_stands_only_at_the_top_of_a_file(sources: Sources) -> None:
    sources.project_file("workflows:\n  triage:\n    environment: staging\n")
    assert "stands only at the top" in sources.error()


def test_every_key_reaches_the_settings(sources: Sources) -> None:
    """A key that is read and goes nowhere would be a setting without effect."""
    values = {
        "store": "{snapshot_ttl: 1.5, silent_after: 99}",
        "retention": "{runs: 3000, days: null}",
        "journal": "{max_megabytes: 7, fsync: true}",
        "hooks": "{plan_seconds: 0.25}",
    }
    sources.project_file("".join(f"{name}: {value}\n" for name, value in values.items()))
    settings = sources.load().for_team("any", "team")
    assert (settings.store.snapshot_ttl, settings.store.silent_after) == (1.5, 99)
    assert (settings.retention.runs, settings.retention.days) == (3000, None)
    assert (settings.journal.max_megabytes, settings.journal.fsync) == (7, True)
    assert settings.hooks.plan_seconds == 0.25


def test_an_ad_hoc_team_is_set_by_its_name_and_more_closely_by_its_id(sources: Sources) -> None:
    sources.project_file(
        "workflows:\n  adhoc:\n    teams:\n      research: {mode: suggest, task_key: topic}\n"
        "      research-3f2a: {mode: auto}\n"
    )
    settings = sources.load()
    by_id, by_name = settings.for_team("adhoc", "research-3f2a"), settings.for_team("adhoc", "research-0000")
    assert (by_id.mode, by_id.task_key) == ("auto", "topic")
    assert (by_name.mode, by_name.task_key) == ("suggest", "topic")
    assert settings.for_team("flow", "research-3f2a").mode == "observe"
