"""`rollback`, `pause` and `resume`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from victor_autotune_plugin._model.experiment import TeamState
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuning.manual import ManualChanges
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import SPEC, Simulation

from .conftest import Said


def state(folder: Path) -> TeamState:
    with Store.open(default_url(folder)) as store:
        return store.teams()[0]


def test_rollback_takes_back_the_promoted_plan(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    assert not state(tmp_path).plan.is_empty
    said = call("rollback", "team", "--reason", "answers got shorter")
    assert said.code == 0
    assert said.out == "team (flow): The last change is rolled back. The plan is now: as configured.\n"
    assert state(tmp_path).plan == EMPTY_PLAN
    last = call("history", "--json").data["changes"][0]
    assert (last["action"], last["actor"], last["reason"]) == ("rolled_back", "person", "answers got shorter")


def test_rollback_aborts_a_running_test(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("testing")
    said = call("rollback", "team", "--json")
    assert said.code == 0
    assert said.data["change"]["action"] == "aborted"
    assert state(tmp_path).experiment_id is None


def test_nothing_to_take_back_is_an_error(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("failed")
    said = call("rollback", "team")
    assert said.code == 2
    assert "no change to roll back" in said.err


def test_pause_and_resume(call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path) -> None:
    project("testing")
    assert call("pause", "team").out == "team (flow): paused. The plan is: as configured.\n"
    assert state(tmp_path).paused
    again = call("pause", "team", "--json")
    assert (again.code, again.data["changed"], again.data["team"]["paused"]) == (0, False, True)
    assert call("resume", "--team", "team").out == "team (flow): resumed. The plan is: as configured.\n"
    assert not state(tmp_path).paused
    assert "not paused" in call("resume", "team").out
    actions = [change["action"] for change in call("history", "--json").data["changes"]]
    assert actions[:2] == ["resumed", "paused"]


def test_a_team_that_is_only_observed_can_be_paused(call: Callable[..., Said], simulate: Callable[..., object]) -> None:
    simulate(mode="observe").run()  # type: ignore[attr-defined]
    assert call("pause", "team").code == 0
    assert call("status", "--json").data["teams"][0]["paused"] is True


def test_what_is_in_effect_can_be_listed(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    before = state(tmp_path)
    said = call("rollback", "team", "--list")
    assert said.code == 0
    words = " ".join(said.out.split())
    assert "Run the team in formation parallel" in words
    assert "passed, " in words
    (listed,) = call("rollback", "team", "--list", "--json").data["changes"]
    assert (listed["index"], listed["in_effect"], listed["validation_status"]) == (-1, True, "passed")
    assert state(tmp_path) == before
    assert call("rollback", "team", "--all").code == 0
    assert state(tmp_path).plan == EMPTY_PLAN
    assert "nothing to roll back" in call("rollback", "team", "--list").out


def test_a_chosen_change_goes_with_those_made_after_it(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulation = simulate(**{"experiment.min_history": 1000})
    simulation.run()
    manual = ManualChanges(simulation.runtime.store, simulation.runtime.hooks)
    for plan in (TeamPlan(formation="parallel"), TeamPlan(tool_budget=30), TeamPlan(timeout_seconds=60.0)):
        manual.apply(SPEC.key, plan, "By hand.", evidence={})
    for wrong in ("3", "-4"):
        said = call("rollback", "team", "--index", wrong)
        assert said.code == 2
        assert f"there is no change {wrong}" in said.err
        assert "Choose from -1 (the latest) to -3 (the oldest)" in said.err
    said = call("rollback", "team", "--index", "-2", "--json")
    assert said.data["change"]["action"] == "rolled_back"
    assert state(tmp_path).plan == TeamPlan(formation="parallel")
    assert [one["index"] for one in call("rollback", "team", "--list", "--json").data["changes"]] == [-1]
    assert "The last change is rolled back. The plan is now: as configured." in call("rollback", "team").out


def test_a_number_that_meant_another_change_in_0_1_is_an_error(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulation = simulate(**{"experiment.min_history": 1000})
    simulation.run()
    manual = ManualChanges(simulation.runtime.store, simulation.runtime.hooks)
    plans = TeamPlan(formation="parallel"), TeamPlan(tool_budget=30), TeamPlan(timeout_seconds=60.0)
    for plan in plans:
        manual.apply(SPEC.key, plan, "By hand.", evidence={})
    before = state(tmp_path)
    for number, meant, means in (("0", "-1", "-3"), ("2", "-3", "-1")):
        said = call("rollback", "team", "--index", number)
        assert said.code == 2
        assert f"{number} meant {meant} in 0.1, and means {means} now" in said.err
    assert state(tmp_path) == before
    said = call("rollback", "team", "--index", "1")  # the middle one, either way
    assert said.out == "team (flow): The last 2 changes are rolled back. The plan is now: formation parallel.\n"
    assert call("rollback", "team", "--index", "0").code == 0  # the only one, either way
    assert state(tmp_path).plan == EMPTY_PLAN


def test_a_chosen_change_ends_a_running_test_and_the_latest_does_not(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulation = simulate(**{"experiment.min_history": 1000})
    simulation.run()
    manual = ManualChanges(simulation.runtime.store, simulation.runtime.hooks)
    manual.apply(SPEC.key, TeamPlan(tool_budget=30), "By hand.", evidence={})
    suggestion = OptimizationSuggestion(
        "x", OptimizationPriority.LOW, "Try.", {}, {"formation": "parallel"}, 9, 0.9, 0.1
    )
    manual.start_test(SPEC.key, suggestion, simulation.runtime.settings(SPEC), {})
    assert call("rollback", "team", "--json").data["change"]["action"] == "aborted"
    assert state(tmp_path).plan == TeamPlan(tool_budget=30)
    manual.start_test(SPEC.key, suggestion, simulation.runtime.settings(SPEC), {})
    assert call("rollback", "team", "--index", "0", "--json").data["change"]["action"] == "rolled_back"
    assert (state(tmp_path).plan, state(tmp_path).experiment_id) == (EMPTY_PLAN, None)


def test_choices_exclude_each_other(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("proven")
    said = call("rollback", "team", "--list", "--all")
    assert said.code == 2
    assert "Give only one of them." in said.err
