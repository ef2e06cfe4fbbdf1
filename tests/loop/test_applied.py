"""What a person applies is watched like a promoted plan, and ends the test that is open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion, OptimizationType
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.hookspecs import Change
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation

PARALLEL = TeamPlan(formation="parallel")


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path, in_memory=True, **{"tuner.risk": "off"})
    yield simulation
    simulation.close()


def suggestion(**knobs: object) -> OptimizationSuggestion:
    return OptimizationSuggestion(
        type=OptimizationType.FORMATION_SELECTION,
        priority=OptimizationPriority.HIGH,
        description=f"Set {knobs}.",
        current_config={"formation": "sequential"},
        suggested_config=knobs,
        expected_improvement=20.0,
        confidence=0.9,
        risk_level=0.2,
    )


def applied(team: Simulation, **knobs: object) -> Change:
    settings = team.runtime.settings(SPEC)
    one = suggestion(**knobs)
    return team.runtime.manual.apply(SPEC.key, one.plan, "By hand.", evidence={}, watched=(one, settings))


def test_a_plan_that_turns_out_worse_is_rolled_back(team: Simulation) -> None:
    team.truth = lambda plan, seconds: by_formation(EMPTY_PLAN, seconds) * (3 if plan.formation == "parallel" else 1)
    for _ in range(4):
        team.run()
    change = applied(team, formation="parallel")
    assert team.state().plan == PARALLEL
    (watch,) = team.experiments()
    assert (change.experiment_id, watch.status, watch.is_untested) == (watch.id, "proven", True)
    assert len(watch.reference) == 4
    back = team.run_until("rolled_back", 200)
    assert back.experiment_id == watch.id
    assert team.state().plan == EMPTY_PLAN
    assert [one.same for one in replay_all(team.store, team.experiments())] == [True]


def test_a_plan_that_does_no_harm_stays_and_is_verified_on(team: Simulation) -> None:
    for _ in range(4):
        team.run()
    applied(team, formation="parallel")
    for _ in range(250):
        team.run()
    assert team.state().plan == PARALLEL
    (verifies,) = [one for one in team.experiments() if one.is_verified]
    assert team.state().live_id == verifies.id


def test_it_ends_an_open_test_with_a_line_of_its_own(team: Simulation) -> None:
    test = team.run_until("started").experiment_id
    applied(team, formation="consensus")
    assert [(one.action, one.actor) for one in team.changes()[-2:]] == [("aborted", "person"), ("promoted", "person")]
    assert team.changes()[-2].experiment_id == test
    statuses = {one.id: one.status for one in team.experiments()}
    assert statuses.pop(str(test)) == "aborted"
    assert list(statuses.values()) == ["proven"]


def test_changes_that_follow_one_another_are_watched_together_against_the_plan_before_all(team: Simulation) -> None:
    for _ in range(4):
        team.run()
    applied(team, formation="parallel")
    applied(team, tool_budget=30)
    second, first = team.experiments()
    if second.status != "proven":
        second, first = first, second
    assert (first.status, second.status) == ("superseded", "proven")
    assert (second.control, second.treatment) == (EMPTY_PLAN, TeamPlan(formation="parallel", tool_budget=30))
    assert second.reference == first.reference
    assert [one.action for one in team.changes()] == ["promoted", "promoted"]


def test_a_plan_that_a_person_applies_takes_the_place_of_a_proven_one(team: Simulation) -> None:
    team.run_until("promoted")
    (proven,) = team.experiments()
    applied(team, tool_budget=30)
    statuses = {one.id: one.status for one in team.experiments()}
    assert statuses.pop(proven.id) == "superseded"
    assert list(statuses.values()) == ["proven"]
    assert team.state().plan == TeamPlan(formation="parallel", tool_budget=30)


def test_without_runs_to_compare_with_or_with_the_watch_off_there_is_none(tmp_path: Path) -> None:
    fresh = Simulation(tmp_path / "fresh", in_memory=True)
    applied(fresh, formation="parallel")
    off = Simulation(tmp_path / "off", in_memory=True, **{"watch.enabled": False})
    off.run()
    applied(off, formation="parallel")
    for team in (fresh, off):
        assert team.experiments() == []
        assert team.changes()[-1].experiment_id is None
        team.close()
