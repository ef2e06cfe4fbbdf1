from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.run import MemberOutcome
from victor_autotune_plugin._telemetry import conventions
from victor_autotune_plugin._telemetry.metrics import record_awaiting, record_change, record_run, record_score
from victor_autotune_testing.simulated import Simulation

TEAM = {
    "gen_ai.operation.name": "invoke_workflow",
    "gen_ai.workflow.name": "review",
    "gen_ai.agent.name": "review",
    "victor.autotune.team.id": "reviewers",
    "victor.autotune.plan.formation": "parallel",
    "victor.autotune.mode": "auto",
    "victor.autotune.run.nested": False,
    "victor.autotune.outcome": "success",
}
SCOUT = {
    **TEAM,
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.agent.name": "scout",
    "victor.autotune.member.role": "researcher",
}
JUDGE = {**SCOUT, "gen_ai.agent.name": "judge", "victor.autotune.member.role": "reviewer"}


def values(points: list[HistogramDataPoint | NumberDataPoint]) -> list[tuple[dict[str, Any], int, float]]:
    """Attributes, number of measurements (0 for a counter) and their sum, of each data point."""
    return [
        (dict(p.attributes or {}), p.count, p.sum)
        if isinstance(p, HistogramDataPoint)
        else (dict(p.attributes or {}), 0, p.value)
        for p in points
    ]


def test_a_run_is_measured_as_a_team_and_member_by_member(telemetry, make_run):
    record_run(make_run(cost_usd=0.02))

    points = {name: values(found) for name, found in telemetry.points().items()}
    assert points == {
        "gen_ai.invoke_agent.duration": [(TEAM, 1, 2.5), (SCOUT, 1, 1.0), (JUDGE, 1, 1.5)],
        "gen_ai.invoke_agent.tool_calls": [(SCOUT, 1, 3), (JUDGE, 1, 2)],
        "gen_ai.invoke_agent.inference_calls": [(SCOUT, 1, 4), (JUDGE, 1, 3)],
        "victor.autotune.run.tokens": [
            ({**TEAM, "gen_ai.token.type": "input"}, 1, 150),
            ({**TEAM, "gen_ai.token.type": "output"}, 1, 30),
        ],
        "victor.autotune.run.tool_calls": [(TEAM, 1, 5)],
        "victor.autotune.run.llm_calls": [(TEAM, 1, 7)],
        "victor.autotune.run.cost": [(TEAM, 1, 0.02)],
        "victor.autotune.run.member_success_share": [(TEAM, 1, 0.75)],
        "victor.autotune.runs": [(TEAM, 0, 1)],
        "victor.autotune.refusals": [(JUDGE, 0, 1)],
    }
    assert failsafe.seen() == ()


def test_every_metric_is_exported_with_its_unit_description_and_buckets(telemetry, make_run):
    record_run(make_run(cost_usd=0.02, success=False, timed_out=True))
    record_change("promoted", "review", "reviewers")
    record_score(0.5, "tests", "review", "reviewers")
    record_awaiting(1, "review", "reviewers")

    scope = telemetry.reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
    assert scope.scope.name == conventions.SCOPE
    exported = {metric.name: metric for metric in scope.metrics}
    assert exported.keys() == {metric.name for metric in conventions.METRICS}
    for metric in conventions.METRICS:
        found = exported[metric.name]
        assert (found.unit, found.description) == (metric.unit, metric.description)
        if metric.is_gauge:
            assert type(found.data).__name__ == "Gauge"
        elif metric.buckets is None:
            assert found.data.is_monotonic
        else:
            assert found.data.data_points[0].explicit_bounds == metric.buckets


def test_a_score_is_measured_when_it_comes(telemetry, make_run):
    record_run(make_run())
    assert "victor.autotune.run.score" not in telemetry.points()
    record_score(0.25, "tests", "review", "reviewers_1f0c9a3e")
    team = {"gen_ai.workflow.name": "review", "victor.autotune.team.id": "reviewers", "victor.autotune.scorer": "tests"}
    assert values(telemetry.points()["victor.autotune.run.score"]) == [(team, 1, 0.25)]


def test_what_awaits_a_person_is_told_until_someone_answers(telemetry, tmp_path):
    simulation = Simulation(tmp_path, mode="approve", strategies=["formation_selection"])
    team = {"gen_ai.workflow.name": "flow", "victor.autotune.team.id": "team"}

    def told():
        return [(dict(point.attributes), point.value) for point in telemetry.points()["victor.autotune.awaiting"]]

    simulation.run()
    simulation.run()
    assert told() == [(team, 0)]
    simulation.run_until("awaits_approval")
    simulation.run()
    assert told() == [(team, 1)]
    (experiment,) = simulation.experiments()
    simulation.runtime.manual.approve(*simulation.spec.key, experiment_id=experiment.id, by="anna")
    simulation.run()
    assert told() == [(team, 0)]
    simulation.close()


def test_buckets_follow_the_conventions():
    assert conventions.DURATION.buckets == pytest.approx(
        (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
    )
    assert conventions.MEMBER_TOOL_CALLS.buckets == (1, 2, 4, 8, 16, 32, 64, 128)
    assert conventions.RUN_TOKENS.buckets is not None
    assert conventions.RUN_TOKENS.buckets[0] == 1
    assert conventions.RUN_TOKENS.buckets[-1] == 67108864


@pytest.mark.parametrize(
    ("changes", "outcome", "error", "timeouts"),
    [
        ({"success": False, "error_class": "RuntimeError"}, "failure", "RuntimeError", 0),
        ({"success": False, "timed_out": True}, "timeout", "timeout", 1),
        ({"success": False, "cancelled": True}, "cancelled", None, 0),
    ],
)
def test_runs_are_counted_by_outcome_and_error(telemetry, make_run, changes, outcome, error, timeouts):
    for _ in range(3):
        record_run(make_run(**changes))

    points = telemetry.points()
    failed = {**TEAM, "victor.autotune.outcome": outcome} | ({"error.type": error} if error else {})
    assert values(points["victor.autotune.runs"]) == [(failed, 0, 3)]
    assert values(points["gen_ai.invoke_agent.duration"])[0] == (failed, 3, 7.5)
    assert sum(point.value for point in points.get("victor.autotune.timeouts", [])) == 3 * timeouts


def test_a_run_without_a_price_has_no_cost_rather_than_none_at_all(telemetry, make_run):
    record_run(make_run())
    assert "victor.autotune.run.cost" not in telemetry.points()
    record_run(make_run(cost_usd=0.0))
    assert values(telemetry.points()["victor.autotune.run.cost"]) == [(TEAM, 1, 0.0)]


def test_arms_and_nested_runs_are_told_apart(telemetry, make_run):
    record_run(make_run(experiment_id="exp-9", arm="control"))
    record_run(make_run(experiment_id="exp-9", arm="treatment"))
    record_run(make_run(parent_id="run-0"))
    assert values(telemetry.points()["victor.autotune.runs"]) == [
        ({**TEAM, "feature_flag.result.variant": "control"}, 0, 1),
        ({**TEAM, "feature_flag.result.variant": "treatment"}, 0, 1),
        ({**TEAM, "victor.autotune.run.nested": True}, 0, 1),
    ]


def test_a_member_that_never_began_is_not_measured_and_one_cut_off_is_unfinished(telemetry, make_run):
    cut, never = MemberOutcome("scout", "researcher", duration_seconds=2.0), MemberOutcome("judge", "reviewer")
    record_run(make_run(success=False, timed_out=True, members=[cut, never]))
    durations = values(telemetry.points()["gen_ai.invoke_agent.duration"])
    assert durations[1:] == [({**SCOUT, "victor.autotune.outcome": "unfinished"}, 1, 2.0)]


def test_changes_are_counted_by_action_and_team(telemetry):
    record_change("experiment_started", "review", "reviewers")
    record_change("promoted", "review", "reviewers")
    record_change("promoted", "review", "reviewers")
    names = {"gen_ai.workflow.name": "review", "victor.autotune.team.id": "reviewers"}
    assert values(telemetry.points()["victor.autotune.changes"]) == [
        ({**names, "victor.autotune.change.action": "experiment_started"}, 0, 1),
        ({**names, "victor.autotune.change.action": "promoted"}, 0, 2),
    ]


def test_ids_that_are_new_in_every_run_make_no_new_series(telemetry, make_run, spec):
    for number in range(50):
        member = MemberOutcome(f"researcher_{number:08x}", "researcher", True, True, 1.0)
        generated = evolve(spec, team_id=f"team-1b4e28ba-2fa1-11d2-883f-0016d3cc{number:04x}")
        record_run(
            make_run(
                run_id=f"run-{number}",
                spec=generated,
                members=[member],
                experiment_id=f"exp-{number}",
                arm="control",
                task_key=f"task-{number}",
                started_at=float(number),
            )
        )
    for name, points in telemetry.points().items():
        series = {"gen_ai.invoke_agent.duration": 2, "victor.autotune.run.tokens": 2}.get(name, 1)
        assert len(points) == series, name
        assert points[0].attributes["victor.autotune.team.id"] == "team"
