"""Every decision replays bit for bit from the stored record, and a record that was tampered with does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin._tuning.replay import replay, replay_all
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation, no_difference


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path)
    yield simulation
    simulation.close()


def rolled_back(team: Simulation) -> Simulation:
    team.run_until("promoted")
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    team.run_until("rolled_back", most=60)
    return team


def test_a_promotion_and_its_rollback_replay(team: Simulation) -> None:
    rolled_back(team)
    (one,) = replay_all(team.store, team.experiments())
    assert one.same, one.differences
    assert one.observations == len([run for run in team.store.finished_runs(*SPEC.key) if run.arm])


def test_an_inconclusive_test_replays(tmp_path: Path) -> None:
    team = Simulation(tmp_path, truth=no_difference, **{"experiment.max_runs_per_arm": 30})
    team.run_until("inconclusive")
    assert all(one.same for one in replay_all(team.store, team.experiments()))
    team.close()


def test_runs_that_finish_after_the_decision_change_nothing(team: Simulation) -> None:
    team.run_until("started")
    late = [team.start() for _ in range(6)]
    team.run_until("promoted")
    for event, planned in late:
        team.finish(event, planned)
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    team.run_until("rolled_back", most=60)
    (one,) = replay_all(team.store, team.experiments())
    assert one.same, one.differences


def test_a_process_that_starts_later_decides_the_same(tmp_path: Path) -> None:
    first = Simulation(tmp_path)
    first.run_until("started")
    late = [first.start() for _ in range(4)]
    first.run_until("promoted")
    for event, planned in late:
        first.finish(event, planned)
    first.close()
    second = Simulation(tmp_path, seed=5)
    second.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    second.run_until("rolled_back", most=60)
    assert all(one.same for one in replay_all(second.store, second.experiments()))
    second.close()


def test_a_record_that_was_changed_is_noticed(team: Simulation) -> None:
    rolled_back(team)
    (experiment,) = team.experiments()
    store = team.store
    test, watch = store.observations(experiment.id, "test"), store.observations(experiment.id, "watch")
    assert replay(experiment, test, watch).same
    slower = [evolve(test[0], duration_seconds=test[0].duration_seconds * 1.01), *test[1:]]
    assert set(replay(experiment, slower, watch).differences) >= {"verdict"}
    assert not replay(experiment, test, watch[:-1]).same
    other = "control" if test[0].arm == "treatment" else "treatment"
    swapped = [evolve(test[0], arm=other), *test[1:]]
    assert f"arm of test {test[0].stream} {test[0].index}" in replay(experiment, swapped, watch).differences
    reseeded = evolve(experiment, seed="0")
    assert any(what.startswith("arm of") for what in replay(reseeded, test, watch).differences)


def test_a_verdict_replays_whatever_its_sentence_and_not_with_another_figure(team: Simulation) -> None:
    team.run_until("promoted")
    (experiment,) = team.experiments()
    assert experiment.verdict is not None

    def replayed(**changes: object) -> bool:
        changed = evolve(experiment, verdict={**experiment.verdict, **changes})
        return replay(changed, team.store.observations(experiment.id, "test"), ()).same

    assert replayed(reason="Worded by another version.")
    assert not replayed(effect=0.0)
