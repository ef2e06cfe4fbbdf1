"""`rollback`, `pause` and `resume`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from victor_autotune_plugin.model.plan import EMPTY_PLAN
from victor_autotune_plugin.model.state import TeamState
from victor_autotune_plugin.storage import Store, default_url

from .conftest import Said


def state(folder: Path) -> TeamState:
    with Store.open(default_url(folder)) as store:
        return store.teams()[0]


def test_rollback_takes_back_the_promoted_plan(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("watched")
    assert not state(tmp_path).plan.is_empty
    said = call("rollback", "team", "--reason", "answers got shorter")
    assert said.code == 0
    assert said.out == "team (flow): The last promotion is taken back. The plan is now: as configured.\n"
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
    assert "no change to take back" in said.err


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
