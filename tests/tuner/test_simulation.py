"""The simulated teams are as documented, and the tuner keeps its promises on them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuner import Tuner, plan_space
from victor_autotune_plugin.experiment import Judge
from victor_autotune_testing.simulation import World
from victor_autotune_testing.simulation.played import SimulatedTeam, play

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worlds():
    """Teams, and what every fourth of their plans is worth."""
    return [(world, world.truth(plan_space(world.spec).plans[::4], 150)) for world in map(World.make, range(32))]


def test_worlds_follow_from_their_seed() -> None:
    one, two = World.make(5), World.make(5)
    assert one.spec == two.spec
    rng, same = np.random.default_rng(1), np.random.default_rng(1)
    assert one.run(EMPTY_PLAN, rng) == two.run(EMPTY_PLAN, same)
    assert World.make(6).spec != one.spec


def test_most_plans_are_worse_than_todays(worlds) -> None:
    assert np.mean([truth.worse_share for _, truth in worlds]) == pytest.approx(0.87, abs=0.05)


def test_durations_spread_as_real_ones(worlds) -> None:
    ratios = [
        truth.worths[EMPTY_PLAN].p95_seconds / np.exp(truth.worths[EMPTY_PLAN].log_seconds) for _, truth in worlds
    ]
    assert 1.4 < np.median(ratios) < 4.3


def test_success_falls_as_tool_calls_grow_because_tasks_are_hard() -> None:
    world, rng = World.make(3), np.random.default_rng(0)
    runs = sorted((world.run(EMPTY_PLAN, rng) for _ in range(600)), key=lambda run: run.tool_calls)
    assert np.mean([r.success for r in runs[:200]]) > np.mean([r.success for r in runs[-200:]]) + 0.05


def test_a_score_of_more_checks_tells_more_of_the_same_success() -> None:
    world = World.make(3)
    spread = {}
    for checks in (1, 10):
        rng = np.random.default_rng(0)
        runs = [evolve(world, checks=checks).run(EMPTY_PLAN, rng) for _ in range(400)]
        scores = np.array([run.score for run in runs])
        assert scores.mean() == pytest.approx(np.mean([run.success for run in runs]), abs=0.04)
        spread[checks] = scores.std()
    assert spread[10] < 0.8 * spread[1]


def test_budgets_and_timeouts_bite() -> None:
    world, rng = World.make(3), np.random.default_rng(0)
    runs = [world.run(TeamPlan(tool_budget=5, timeout_seconds=20.0), rng) for _ in range(50)]
    assert max(run.tool_calls for run in runs) <= 5
    assert max(run.duration_seconds for run in runs) <= 20
    assert any(run.timed_out and not run.success for run in runs)


def test_regret_is_one_today_zero_at_best_and_two_where_success_is_lost(worlds) -> None:
    _, truth = worlds[2]
    assert truth.regret(EMPTY_PLAN) == 1.0
    assert truth.regret(truth.best) == 0.0
    lost = next(plan for plan in truth.worths if truth.loses_success(plan))
    assert truth.regret(lost) == 2.0
    assert truth.is_worse(lost)


def test_the_tuner_ends_no_worse_and_risks_few_runs(worlds) -> None:
    ends, spent, regrets = [], [], []
    for world, truth in worlds:
        played = play(world, 100, seed=11)
        more = [plan for plan in dict.fromkeys([*played.ran, *played.live]) if plan not in truth.worths]
        truth = evolve(truth, worths={**truth.worths, **world.truth([truth.today, *more]).worths})
        assert len(played.ran) == len(played.live) == 100
        ends.append(truth.is_worse(played.live[-1]))
        spent.append(np.mean([truth.is_worse(plan) for plan in played.ran]))
        regrets.append(truth.regret(played.live[-1]))
        assert sum(plan == EMPTY_PLAN or plan in played.live for plan in played.ran) >= 50
    assert sum(ends[:16]) <= 1
    assert sum(ends) <= 2
    assert np.mean(spent) <= 0.10
    assert np.mean(regrets) <= 1.0


def test_the_same_seed_gives_the_same_history_bit_for_bit() -> None:
    first, second, other = (play(World.make(21), 80, seed=seed) for seed in (3, 3, 4))
    assert [change.action for change in first.changes]
    assert first == second
    assert first != other


def test_every_run_of_a_test_takes_part_in_pairs_and_is_judged_at_once() -> None:
    """So a simulated test is as short as its judge lets it be: nothing is fed late, and no run is left out."""
    decided = 0
    for seed in (6, 8):
        team = SimulatedTeam(World.make(seed), 3)
        for _ in range(150):
            team.run()
        store, key = team.runtime.store(), team.world.spec.key
        for experiment in store.experiments(*key):
            observations = store.observations(experiment.id, "test")
            orders = [one.order for one in observations]
            assert orders == list(range(orders[0], orders[0] + len(orders)))
            halves = [one for one in observations if one.stream == "0"]
            assert len({one.stream for one in observations}) <= 3
            assert all(one.arm != other.arm for one, other in zip(halves[::2], halves[1::2], strict=False))
            judge = Judge(experiment.policy, before=experiment.bad_before)
            ends = []
            for one in observations:
                judge.observe(one)
                ends.append(judge.is_final)
            if experiment.decided_at is not None and experiment.verdict is not None:
                decided += 1
                assert ends[-1]
                assert not any(ends[:-1]) or judge.verdict().status == "passed"  # it may wait for the tuner's word
        team.close()
    assert decided >= 1


def test_a_simulation_leaves_machine_and_process_alone(tmp_path, monkeypatch) -> None:
    """It reads no settings of the user's, writes no file, asks no clock and draws from nobody's randomness."""
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: off\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AUTOTUNE_MODE", "off")
    monkeypatch.chdir(tmp_path)
    before = random.getstate()
    opened: list[str] = []
    threads = threading.active_count()

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            opened.append(str(arguments[0]))

    play(World.make(21), 10, seed=3)  # imports what is imported
    watching = True
    sys.addaudithook(note)
    played = play(World.make(21), 80, seed=3)
    watching = False
    assert played.changes
    assert opened == []
    assert random.getstate() == before
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == [tmp_path / ".victor"]


def test_intervals_hold_the_next_run_as_often_as_they_say() -> None:
    hits = []
    for seed in range(16):
        world, rng = World.make(seed), np.random.default_rng(seed)
        tuner = Tuner(plan_space(world.spec))
        for number in range(60):
            run = world.run(EMPTY_PLAN, rng)
            if number >= 10:
                _, low, high = tuner.predict_seconds(EMPTY_PLAN)
                hits.append(low <= run.duration_seconds <= high)
            tuner.observe(run)
    assert 0.85 <= np.mean(hits) <= 0.95


def test_a_decision_does_no_more_after_many_runs() -> None:
    world, rng = World.make(1), np.random.default_rng(1)
    tuner = Tuner(plan_space(world.spec))
    runs = [world.run(EMPTY_PLAN, rng) for _ in range(50)]

    def calls() -> int:
        made = 0

        def note(_frame: object, event: str, _argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            for number in range(5):
                tuner.observe(runs[number])
                tuner.propose(number)
        finally:
            sys.setprofile(before)
        return made

    for number in range(100):
        tuner.observe(runs[number % 50])
    early = calls()
    for number in range(2000):
        tuner.observe(runs[number % 50])
    assert calls() <= 1.2 * early


def test_victors_start_does_not_import_the_tuner() -> None:
    code = (
        "import sys, victor_autotune_plugin, victor_autotune_plugin.plugin;"
        "print([m for m in sys.modules if 'autotune_plugin._tuner' in m or 'autotune_testing' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_tuner_is_imported_without_the_engine() -> None:
    code = (
        "import sys, victor_autotune_plugin._tuner;"
        "print([m for m in sys.modules if 'autotune_plugin.experiment' in m or m == 'scipy'])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
