"""`potential`: what a team could save a week, what it rests on, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_testing.simulated import Simulation

from .conftest import Said

Call = Callable[..., Said]


def words(said: Said) -> str:
    assert said.code == 0, said.err
    return " ".join(said.out.split())


def team_of(call: Call) -> dict[str, Any]:
    (team,) = call("potential", "--json").data["teams"]
    return dict(team)


@pytest.fixture
def observed(simulate: Callable[..., Simulation]) -> Simulation:
    simulation = simulate(mode="observe")
    simulation.flow = RunFlow()
    for _ in range(20):
        simulation.run()
    return simulation


@pytest.fixture
def unknown(simulate: Callable[..., Simulation]) -> Simulation:
    simulation = simulate(mode="observe")
    simulation.flow = None
    for _ in range(20):
        simulation.run()
    return simulation


def test_an_observed_team_is_told_its_best_plan_with_an_interval(
    call: Call, observed: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    before = observed.changes(), observed.experiments()
    team = team_of(call)
    assert team["plan"] == {"formation": "parallel"}
    (saving,) = team["savings"]
    low, high = saving["interval"]
    assert saving["metric"] == "duration"
    assert low < saving["gain"] < high
    assert "structure: data flow independent, seen" in team["rests_on"]
    assert "prior" in team["rests_on"]
    said = words(call("potential"))
    assert "formation parallel" in said
    assert f"{100 * saving['gain']:.0f} % less time, {100 * low:.0f} % to {100 * high:.0f} %" in said
    assert "Expected, not measured, with 90 % intervals" in said
    assert (observed.changes(), observed.experiments()) == before


def test_what_is_missing_is_told_with_what_gives_it(call: Call, observed: Simulation) -> None:
    given = {one["given_by"] for one in team_of(call)["missing"]}
    assert "task_key" in given
    assert "Set or run: task_key" in words(call("potential"))


def test_an_unknown_data_flow_without_a_score_says_what_either_would_open(call: Call, unknown: Simulation) -> None:
    team = team_of(call)
    assert (team["plan"], team["savings"]) == (None, [])
    assert team["opened_by_data_flow"] == {"formation": "parallel"}
    assert team["opened_by_scorer"]
    assert all("improvement" not in one for one in team["opened_by_scorer"])
    said = words(call("potential", "team"))
    for part in (
        "no room",
        "A scorer would open: ",
        "A declared data flow would open: formation parallel",
        "Set or run: quality.scorers",
        "Set or run: workflows.flow.teams.team.dataflow: independent",
    ):
        assert part in said


@pytest.mark.parametrize("command", ["status", "explain"])
def test_status_and_explain_point_to_it_where_nothing_is_known(call: Call, unknown: Simulation, command: str) -> None:
    assert "`victor autotune potential` tells what helps" in words(call(command))


@pytest.mark.parametrize("command", ["status", "explain"])
def test_a_known_data_flow_needs_no_pointer(call: Call, observed: Simulation, command: str) -> None:
    assert "autotune potential" not in words(call(command))


def test_an_open_test_is_what_is_told_of(call: Call, simulate: Callable[..., Simulation]) -> None:
    simulation = simulate()
    simulation.run_until("started")
    simulation.run()
    team = team_of(call)
    assert (team["is_tested"], team["plan"]) == (True, simulation.experiments()[0].treatment.to_dict())
    assert "being tested" in words(call("potential"))


def test_of_many_teams_it_counts_what_is_missing(call: Call, simulate: Callable[..., Simulation]) -> None:
    for name in ("one", "two", "three", "four"):
        simulate(name, mode="observe").run()
    said = words(call("potential"))
    assert "Missing in 4 teams: a task key: " in said
    assert "Missing in 4 teams: more runs" in said
    assert "Runs a week" not in said
    assert "Runs a week: 1, from 1 run in 1 day." in words(call("potential", "one"))


def test_it_fits_a_narrow_screen_without_colours(
    call: Call, unknown: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    said = call("potential")
    assert "\x1b" not in said.out
    assert "no room" in said.out
    table = said.out.partition("\nteam\n")[0]
    assert max(map(len, table.splitlines())) <= 60


def test_a_team_that_is_not_known_is_wrong_input(call: Call, observed: Simulation) -> None:
    assert call("potential", "stranger").code == 2


def test_without_a_run_there_is_nothing_to_tell(call: Call) -> None:
    assert "Nothing was recorded here yet." in words(call("potential"))
