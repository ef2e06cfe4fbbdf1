"""What is known of the tasks before a test shortens it, and is kept, so that the verdict replays."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin._tuning.new_experiment import known_tasks
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_testing.simulated import SPEC, Simulation

TASKS = [f"ticket-{n}" for n in range(60)]
SLOWNESS = {task: math.exp(random.Random(4).gauss(0, 1) + n % 7 - 3) for n, task in enumerate(TASKS)}


def run_task(team: Simulation, task: str) -> None:
    """A run whose duration is its task's own, a little noise, and 20 % less than that in parallel."""
    event, planned = team.start(task)
    gain = 0.8 if planned.plan.formation == "parallel" else 1.0
    noise = team._random.lognormvariate(0, 0.1)
    team.finish(event, planned, duration_seconds=20 * SLOWNESS[task] * gain * noise)


def tuned(project: Path, **settings: object) -> Simulation:
    """Let a team do all tasks untuned, and again while a test is on."""
    team = Simulation(
        project, in_memory=True, **{"experiment.min_history": 120, "experiment.max_runs_per_arm": 60, **settings}
    )
    for task in TASKS * 2:
        run_task(team, task)
    assert team.experiments()
    for task in TASKS * 3:
        run_task(team, task)
        if team.experiments()[0].status == "proven":
            break
    return team


def test_known_tasks_prove_a_gain_that_their_differences_would_hide(tmp_path: Path) -> None:
    team = tuned(tmp_path)
    (experiment,) = team.experiments()
    assert set(experiment.task_effects) == set(TASKS)
    assert experiment.status == "proven"
    assert experiment.verdict is not None
    assert -0.3 < experiment.verdict["effect"] < -0.1
    (same,) = replay_all(team.store, [experiment])
    assert same.same, same.differences
    (blind,) = replay_all(team.store, [evolve(experiment, task_effects={})])
    assert blind.differences["verdict"][1]["status"] != "passed"
    team.close()


def test_a_team_without_task_keys_has_no_task_effects(tmp_path: Path) -> None:
    team = Simulation(tmp_path)
    team.run_until("started")
    assert team.experiments()[0].task_effects == {}
    team.close()


@pytest.mark.parametrize(
    ("metric", "known", "most"), [("score", 0, 0.0), ("tool_calls", 50, 0.01), ("duration", 50, 9)]
)
def test_the_effects_are_those_on_the_metric_that_decides(tmp_path: Path, metric: str, known: int, most: float) -> None:
    team = Simulation(tmp_path, mode="observe")
    for task in TASKS[:50]:
        run_task(team, task)
    team.run()  # of no task
    effects = known_tasks(metric, list(team.store.finished_runs(*SPEC.key, limit=100)))
    assert len(effects) == known
    assert all(abs(effect) <= most for effect in effects.values())
    team.close()
