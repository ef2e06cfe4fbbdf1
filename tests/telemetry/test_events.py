"""Events: the arm that a run got, and the changes of a team's plan."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from attrs import evolve
from opentelemetry import _logs
from opentelemetry._logs import SeverityNumber

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.experiment import Assignment, Change
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import PlannedRun, RunStart
from victor_autotune_plugin._telemetry import conventions
from victor_autotune_plugin._telemetry.events import tell_arm, tell_change
from victor_autotune_plugin._telemetry.metrics import record_run
from victor_autotune_plugin._telemetry.spans import team_run_span
from victor_autotune_testing import providers

CANARY = "canary-7d1f: summarise the patient's letter"
PARALLEL = TeamPlan(formation="parallel")
CHANGE = Change(
    id=7,
    at=1_700_000_000.5,
    workflow="review",
    team_id="reviewers",
    action="promoted",
    actor="auto",
    reason="proven faster",
    experiment_id="exp-9",
    plan_after=PARALLEL,
    improvement_percent=31.5,
    evidence={"runs": 40},
)


@pytest.fixture
def event(spec: Any) -> RunStart:
    return RunStart("run-1", spec, 1_700_000_000.5, task_key=CANARY)


@pytest.fixture
def planned() -> PlannedRun:
    place = Assignment("exp-9", "test", "treatment", "0", 3)
    return PlannedRun(PARALLEL, "auto", place, "experiment")


def on_another_thread(job: Any) -> None:
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()


def test_a_run_in_a_test_is_an_evaluated_flag_in_the_trace_of_the_run(telemetry, spec, event, planned):
    with team_run_span(spec, run_id="run-1", mode="auto", plan=PARALLEL) as span:
        tell_arm(event, planned, on_another_thread)
        trace_id = span.trace_id

    (told,) = telemetry.logs.get_finished_logs()
    assert told.log_record.event_name == "feature_flag.evaluation"
    assert told.log_record.timestamp == 1_700_000_000_500_000_000
    assert f"{told.log_record.trace_id:032x}" == trace_id
    assert told.log_record.span_id == telemetry.span("invoke_workflow review").context.span_id
    assert dict(told.log_record.attributes) == {
        "feature_flag.key": "exp-9",
        "feature_flag.result.variant": "treatment",
        "feature_flag.result.reason": "split",
        "feature_flag.provider.name": "victor-autotune",
        "gen_ai.workflow.name": "review",
        "victor.autotune.team.id": "reviewers",
        "victor.autotune.mode": "auto",
        "victor.autotune.run.id": "run-1",
        "victor.autotune.plan.id": PARALLEL.id,
        "victor.autotune.plan.changes": "formation=parallel",
    }


def test_a_run_outside_of_a_test_evaluates_no_flag(telemetry, event):
    tell_arm(event, PlannedRun(PARALLEL, "auto", source="live"), on_another_thread)
    assert telemetry.logs.get_finished_logs() == ()


def test_a_change_of_a_plan_is_an_event_of_its_own_time(telemetry):
    tell_change(CHANGE)

    (told,) = telemetry.logs.get_finished_logs()
    assert told.log_record.event_name == "victor.autotune.change"
    assert told.log_record.timestamp == 1_700_000_000_500_000_000
    assert told.log_record.severity_number is SeverityNumber.INFO
    assert told.log_record.body == "proven faster"
    assert dict(told.log_record.attributes) == {
        "victor.autotune.change.id": 7,
        "victor.autotune.change.action": "promoted",
        "victor.autotune.change.actor": "auto",
        "victor.autotune.change.improvement": 31.5,
        "victor.autotune.change.plan_before": "as configured",
        "victor.autotune.change.plan_after": "formation=parallel",
        "victor.autotune.environment": "default",
        "gen_ai.workflow.name": "review",
        "victor.autotune.team.id": "reviewers",
        "feature_flag.key": "exp-9",
    }


@pytest.mark.parametrize("action", ["failed", "rolled_back", "reverifying", "judge_distrusted"])
def test_a_change_that_a_person_should_look_at_is_a_warning(telemetry, action):
    tell_change(evolve(CHANGE, action=action, experiment_id=None, improvement_percent=None))
    (told,) = telemetry.logs.get_finished_logs()
    assert told.log_record.severity_number is SeverityNumber.WARN
    assert {"feature_flag.key", "victor.autotune.change.improvement"}.isdisjoint(told.log_record.attributes)


def test_neither_a_persons_name_and_words_nor_tasks_nor_evidence_are_told(telemetry, event, planned):
    tell_arm(event, planned, on_another_thread)
    tell_change(evolve(CHANGE, actor="person", by=CANARY, reason=CANARY, evidence={"note": CANARY}))
    sent = telemetry.logs.get_finished_logs()
    assert len(sent) == 2
    assert sent[1].log_record.body == "promoted by a person"
    assert all("canary" not in one.to_json() and "patient" not in one.to_json() for one in sent)


def test_spans_metrics_and_events_name_their_schema(telemetry, spec, make_run):
    with team_run_span(spec, run_id="r", mode="auto", plan=PARALLEL):
        pass
    record_run(make_run())
    tell_change(CHANGE)
    scopes = {
        telemetry.spans[0].instrumentation_scope,
        telemetry.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].scope,
        telemetry.logs.get_finished_logs()[0].instrumentation_scope,
    }
    assert {(scope.name, scope.schema_url) for scope in scopes} == {(conventions.SCOPE, conventions.SCHEMA_URL)}


class BrokenLogs(_logs.LoggerProvider):
    def get_logger(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError


class BrokenLogger(_logs.LoggerProvider):
    def get_logger(self, *args: Any, **kwargs: Any) -> Any:
        class Logger(_logs.NoOpLogger):
            def emit(self, *args: Any, **kwargs: Any) -> None:
                raise RuntimeError

        return Logger("broken")


@pytest.mark.parametrize("provider", [BrokenLogs(), BrokenLogger()], ids=["provider", "logger"])
def test_logs_that_fail_leave_the_run_as_it_is(provider, event, planned):
    with providers.use(logger_provider=provider):
        tell_arm(event, planned, on_another_thread)
        tell_change(CHANGE)
    assert {fault.error for fault in failsafe.seen()} == {"RuntimeError: "}
    assert len(failsafe.seen()) == 2


def test_a_change_that_cannot_be_read_is_reported(telemetry):
    tell_change(None)  # type: ignore[arg-type]
    (fault,) = failsafe.seen()
    assert fault.where == "telemetry.event.victor.autotune.change"


def test_without_a_provider_nothing_is_handed_over(event, planned):
    with providers.use():
        tell_arm(event, planned, lambda job: pytest.fail("nothing takes it"))
        tell_change(CHANGE)
    assert failsafe.seen() == ()
