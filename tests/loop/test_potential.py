"""What could be saved is told with what it rests on, and nothing is told that is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._cli.project import known_teams
from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_plugin._tuning.potential import Potential, potential_of
from victor_autotune_testing.simulated import SPEC, Simulation

Start = Callable[..., Simulation]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Simulation] = []

    def start(**settings: Any) -> Simulation:
        made.append(Simulation(tmp_path, **{"mode": "observe", **settings}))
        return made[-1]

    yield start
    for one in made:
        one.close()


def told(team: Simulation) -> Potential:
    (state,) = known_teams(team.store)
    settings = team.runtime.settings(team.spec)
    return potential_of(team.store, state, settings, team.runtime.hooks, now=team.stepped.clock() + 1)


def test_what_side_by_side_would_save_is_told_in_observe_and_nothing_is_changed(start: Start) -> None:
    team = start()
    team.flow = RunFlow()
    for _ in range(20):
        team.run()
    found = told(team)
    assert found.plan is not None
    assert "parallel" in found.plan or "sub-team" in found.plan
    assert found.improvement is not None
    assert found.improvement[1] < found.improvement[0] < found.improvement[2]
    assert found.improvement[1] > 0.3
    assert found.runs_per_week is not None
    assert found.seconds_per_week is not None
    assert found.seconds_per_week[0] == pytest.approx(
        found.improvement[0] * found.runs_per_week * 4.0, rel=0.3
    )  # four members of about a second
    assert any("replay" in one for one in found.rests_on)
    assert any(one.startswith("structure: in 20 runs") for one in found.rests_on)
    assert any("scorer" in one for one in found.missing)
    assert team.changes() == []


def test_where_the_data_flow_is_not_known_a_scorer_or_a_declared_one_is_what_is_missing(start: Start) -> None:
    team = start()
    team.flow = RunFlow(open={member.id: ("custom",) for member in SPEC.members})
    for _ in range(20):
        team.run()
    found = told(team)
    assert (found.plan, found.improvement, found.seconds_per_week) == (None, None, None)
    assert found.because is not None
    assert any("dataflow" in one for one in found.missing)
    assert any("quality.scorers" in one for one in found.missing)
    assert found.opened
    assert found.opened[0].improvement > 0.3
    assert found.to_dict()["opened"][0]["plan"]


def test_a_few_runs_have_no_figure(start: Start) -> None:
    team = start()
    for _ in range(3):
        team.run()
    found = told(team)
    assert (found.runs_per_week, found.improvement) == (None, None)
    assert found.because == "Only 3 runs of the live plan so far."


def test_an_open_test_is_named_with_what_is_known_of_it(start: Start) -> None:
    team = start(mode="auto")
    team.flow = RunFlow()
    team.run_until("started")
    team.run()
    found = told(team)
    assert found.is_tested
    assert found.improvement is not None
