"""The data flow of runs bounds what the loop tests and promotes, and takes back what cuts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._dataflow.verdict import LEAST_TO_LIVE, LEAST_TO_TEST
from victor_autotune_plugin._model.data_flow import CONFIGURED, Edge, RunFlow
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.text import plan_text
from victor_autotune_plugin._tuning.next_test import advice
from victor_autotune_testing.simulated import SPEC, Simulation

Start = Callable[..., Simulation]
PARALLEL = TeamPlan(formation="parallel")
USE = Edge("a", "b", "context")
CUSTOM = RunFlow(open=dict.fromkeys(SPEC.member_ids, ("custom",)))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Simulation] = []

    def new(name: str = "one", **settings: Any) -> Simulation:
        given = {"in_memory": True, "scored": False, "tuner.risk": "low", **settings}
        made.append(Simulation(tmp_path / name, **given))
        return made[-1]

    yield new
    assert failsafe.seen() == ()
    for one in made:
        one.close()


def run(team: Simulation, runs: int) -> None:
    for _ in range(runs):
        team.run()


def actions(team: Simulation) -> list[str]:
    return [change.action for change in team.changes()]


def by_hand(team: Simulation, plan: TeamPlan) -> None:
    """Let a person start a test."""
    suggestion = OptimizationSuggestion(
        type="mine",
        priority=OptimizationPriority.HIGH,
        description="Mine.",
        current_config={},
        suggested_config=plan.to_dict(),
        expected_improvement=50.0,
        confidence=0.9,
        risk_level=0.5,
    )
    team.runtime.manual.start_test(SPEC.key, suggestion, team.runtime.settings(SPEC), evidence={})


@pytest.mark.parametrize("risk", ["off", "low"])
def test_an_independent_team_is_tested_after_ten_runs_and_live_after_twenty(start: Start, risk: str) -> None:
    team = start(**{"tuner.risk": risk, "experiment.min_runs_per_arm": 10})
    run(team, LEAST_TO_TEST - 1)
    assert actions(team) == []
    promoted = team.run_until("promoted")
    (experiment,) = team.experiments()
    assert (experiment.allowed_by, experiment.treatment.formation) == ("data_flow", "parallel")
    before = [one for one in team.store.finished_runs(*SPEC.key) if one.ended_at <= promoted.at]
    configured = [one for one in before if one.plan_asked == EMPTY_PLAN]
    assert len(configured) >= LEAST_TO_LIVE
    assert team.store.data_flow(*SPEC.key).runs[CONFIGURED] >= LEAST_TO_LIVE


def test_a_plan_goes_live_after_twenty_runs_as_configured(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("victor_autotune_plugin._tuning.flow_guard.LEAST_TO_LIVE", 40)
    team = start()
    team.run_until("probation")
    configured = [one for one in team.store.finished_runs(*SPEC.key) if one.plan_asked == EMPTY_PLAN]
    assert len(configured) == 40


@pytest.mark.parametrize(
    "flow",
    [RunFlow([USE]), RunFlow([evolve(USE, sure=False)]), CUSTOM, None],
    ids=["dependent", "suspected", "custom", "unseen"],
)
@pytest.mark.parametrize("risk", ["off", "low", "high"])
def test_auto_tests_nothing_where_the_work_might_change(start: Start, flow: RunFlow | None, risk: str) -> None:
    team = start(**{"tuner.risk": risk})
    team.flow = flow
    run(team, 60)
    cuts = [one.treatment for one in team.experiments() if not one.treatment.sub_teams]
    assert cuts == []


def test_a_team_with_a_use_is_divided_along_its_graph(start: Start) -> None:
    team = start(truth=lambda plan, seconds: max(seconds) if plan.sub_teams else sum(seconds))
    team.flow = RunFlow([USE])
    team.run_until("promoted")
    assert sorted(team.state().plan.sub_teams or ()) == [("a", "b"), ("c",), ("d",)]


@pytest.mark.parametrize("setting", [{"dataflow": "independent"}, {"scored": True}])
def test_a_person_s_word_or_a_scorer_opens_a_team_of_unknown_members(start: Start, setting: dict[str, Any]) -> None:
    team = start(**setting)
    team.flow = CUSTOM
    team.run_until("promoted")
    assert team.experiments()[0].allowed_by == ("score" if "scored" in setting else "data_flow")


def test_a_use_that_shows_during_a_test_ends_it_at_once(start: Start) -> None:
    team = start()
    team.run_until("started")
    run(team, 3)
    assert actions(team) == ["started"]
    team.flow = RunFlow([USE])
    team.run()
    change = team.changes()[-1]
    assert (change.action, change.actor) == ("aborted", "auto")
    assert change.reason == "b uses the work of a (context), which this change would take away."
    assert change.evidence["edges"] == [["a", "b", "context"]]
    assert team.state().experiment_id is None
    team.flow = RunFlow()
    run(team, 80)
    assert "started" not in actions(team)[2:] or team.experiments()[0].treatment.sub_teams is not None


def test_a_member_that_becomes_unknown_ends_a_test_that_rests_on_the_data_flow(start: Start) -> None:
    team = start()
    team.run_until("started")
    team.flow = RunFlow(open={"c": ("unexplained",)})
    team.run()
    assert team.changes()[-1].reason == (
        "It is no longer known that this change keeps the work. "
        "What c uses can't be known: it gets messages from elsewhere."
    )


@pytest.mark.parametrize("mode", ["auto", "approve", "suggest"])
@pytest.mark.parametrize("watched", [False, True])
def test_a_use_that_shows_takes_a_live_plan_back_at_once(
    start: Start, watched: bool, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = start(**{"watch.enabled": watched})
    team.run_until("promoted")
    (experiment,) = team.experiments()
    assert experiment.status == "proven"
    monkeypatch.setenv("VICTOR_AUTOTUNE_MODE", mode)
    monkeypatch.setattr(team.runtime, "_overrides", {**team.runtime._overrides, "mode": mode})
    team.runtime._resolver = team.runtime._load_settings()
    team.flow = RunFlow([Edge("c", "a", "files"), Edge("a", "c", "files")])
    team.run()
    change = team.changes()[-1]
    assert (change.action, change.plan_before, change.plan_after) == ("rolled_back", experiment.treatment, EMPTY_PLAN)
    assert "uses the work of" in change.reason
    assert team.experiments()[0].status == "rolled_back"


def test_a_use_that_shows_takes_the_live_plan_back_at_once_also_while_a_test_runs_that_cuts_it(start: Start) -> None:
    team = start(scored=True, **{"tuner.risk": "high"})
    team.run_until("promoted")
    while actions(team)[-1] != "started":
        team.run()
    (test,) = [one for one in team.experiments() if one.is_tested]
    assert (test.control, test.allowed_by) == (PARALLEL, "score")
    team.flow = RunFlow([Edge(a, b, "files") for a in SPEC.member_ids for b in SPEC.member_ids if a != b])
    team.run()
    assert team.state().plan == EMPTY_PLAN
    assert team.state().experiment_id is None
    assert [one.status for one in team.experiments() if one.takes_runs] == []


def test_what_a_person_put_in_place_or_tests_stays(start: Start) -> None:
    team = start()
    team.flow = RunFlow([Edge(a, b, "context") for a, b in zip("abc", "bcd", strict=True)])
    run(team, 12)
    by_hand(team, PARALLEL)
    run(team, 8)
    assert actions(team)[-1] == "started"
    assert team.experiments()[0].allowed_by == "person"
    team.run_until("promoted")
    run(team, 10)
    assert team.state().plan == PARALLEL
    assert "rolled_back" not in actions(team)


def test_a_plan_applied_by_a_person_stays_whatever_the_data_flow_shows(start: Start) -> None:
    team = start()
    run(team, 2)
    team.runtime.manual.apply(SPEC.key, PARALLEL, "I know.", evidence={})
    team.flow = RunFlow([USE])
    run(team, 3)
    assert team.state().plan == PARALLEL


def test_in_mode_approve_a_change_of_the_work_is_asked_for_and_one_that_cuts_a_use_is_not(start: Start) -> None:
    team = start(mode="approve")
    team.flow = RunFlow([Edge(a, b, "context") for a, b in zip("abc", "bcd", strict=True)])
    run(team, 40)
    assert [one.treatment for one in team.experiments() if one.treatment.formation == "parallel"] == []
    other = start("other", mode="approve")
    other.flow = CUSTOM
    run(other, 20)
    (draft,) = other.experiments()
    assert (draft.status, draft.allowed_by) == ("awaits_approval", "person")


def test_a_draft_that_would_cut_a_use_by_now_is_dropped(start: Start) -> None:
    team = start(mode="approve")
    run(team, 12)
    (draft,) = team.experiments()
    assert draft.status == "awaits_approval"
    team.flow = RunFlow([Edge(a, b, "context") for a, b in zip("abc", "bcd", strict=True)])
    run(team, 6)
    assert [one.status for one in team.experiments()] == ["aborted"]


def test_the_tuner_relies_on_a_layout_that_keeps_the_work_whatever_the_success(start: Start) -> None:
    team = start()
    team.success = 0.8
    team.run_until("started", most=30)
    evidence = team.changes()[0].evidence
    assert evidence["metadata"]["proposal"]["chosen"]["p_success_kept"] == 1.0


def test_a_layout_under_which_the_work_got_worse_speaks_against_the_others(start: Start) -> None:
    """Nobody reads another's work, and yet it fails in more runs where members work side by side."""
    team = start()
    for _ in range(150):
        event, planned = team.start()
        side_by_side = planned.plan.formation == "parallel" or planned.plan.sub_teams is not None
        team.success = 0.5 if side_by_side else 0.95
        team.finish(event, planned)
    first, *others = team.experiments()[::-1]
    assert (first.allowed_by, first.has_ended, others) == ("data_flow", True, [])
    advised = advice(team.store, team.state(), team.runtime.settings(SPEC), team.runtime.hooks).challenge.proposal
    assert advised is not None
    told = [other.reason for other in advised.not_chosen]
    assert any(f"the work got worse under {plan_text(first.treatment)}" in reason for reason in told)


def test_tests_of_layouts_that_keep_the_work_prove_no_cost(start: Start) -> None:
    team = start()
    team.run_until("started", most=40)
    test = team.experiments()[0]
    assert (test.allowed_by, test.policy.adds_no_calls) == ("data_flow", True)


def test_a_run_s_data_flow_is_exported_and_read_again(start: Start) -> None:
    team = start()
    team.flow = RunFlow([USE], open={"c": ("custom",)}, rounds=2)
    found = team.store.run(team.run().run_id)
    assert found is not None
    assert found.flow == team.flow
    assert found.to_dict()["flow"]["edges"] == [{"source": "a", "target": "b", "channel": "context", "sure": True}]


def test_a_test_of_an_earlier_version_ends_where_nothing_allows_it_now(start: Start) -> None:
    team = start()
    team.flow = CUSTOM
    run(team, 2)
    by_hand(team, PARALLEL)
    store = team.store
    with store.transaction() as transaction:  # as 0.1 left it
        (test,) = transaction.experiments_of(*SPEC.key)
        session = store._connections.session().connection
        session.exec_driver_sql("UPDATE autotune_experiment SET allowed_by = NULL")
    team.run()
    assert team.changes()[-1].reason == (
        "Nothing allows this change any more: it may change what the team delivers, and no scorer would tell."
    )
    assert (test.treatment, team.experiments()[0].status) == (PARALLEL, "aborted")


def test_a_deadline_that_a_run_came_near_to_ends_a_test_that_rests_on_the_data_flow(start: Start) -> None:
    team = start(**{"tuner.risk": "off"})
    team.run_until("started")
    (test,) = team.experiments()
    with team.store.transaction() as transaction:
        state = transaction.team(*SPEC.key)
        transaction.save_experiment(evolve(test, status="aborted", ended_at=1.0))
        limited = evolve(test, id="limited", treatment=evolve(test.treatment, timeout_seconds=100.0))
        transaction.save_experiment(limited)
        transaction.save_team(evolve(state, experiment_id="limited"))
    team.run()
    assert team.state().experiment_id == "limited"
    team.truth = lambda plan, seconds: 90.0
    team.run()
    assert team.changes()[-1].reason == ("A run took so long that the deadline of this change might cut the next one.")
