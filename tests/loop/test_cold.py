"""A new process takes part from the snapshot's file: at once, hours after the last change, nothing heavy loaded."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from types import ModuleType

import pytest

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart
from victor_autotune_plugin.storage.snapshot_file import SnapshotFile, folder_of
from victor_autotune_testing.simulated import SPEC, Simulation, no_difference
from victor_autotune_testing.stepped import at_once

OPEN = {"experiment.min_runs_per_arm": 2000, "experiment.max_runs_per_arm": 2000, "experiment.minimum_improvement": 0.0}

MINUTE = 60.0


def new_process(project: Path, now: float) -> Simulation:
    """Return what another process has before it reaches the store: what the file says."""
    process = Simulation(project, truth=no_difference, **OPEN)
    process.stepped.clock.now = now
    process.runtime.loop.files.load_snapshot()
    return process


def last_left(project: Path) -> float:
    saved = SnapshotFile(folder_of(project)).load()
    assert saved is not None
    return saved.taken_at


def planned(process: Simulation) -> PlannedRun:
    answer = at_once(process.runtime.hooks.plan(RunStart(uuid.uuid4().hex, SPEC, process.stepped.clock())))
    assert answer is not None
    return answer


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an open test, and the snapshot of it in the file."""
    first = Simulation(tmp_path, **OPEN)
    first.run_until("started")
    first.run()
    first.close()
    return tmp_path


def test_processes_of_one_run_each_take_part_hours_after_the_last_change(project: Path) -> None:
    begun = last_left(project)
    for number in range(1, 13):
        process = new_process(project, begun + number * 9 * MINUTE)
        assert planned(process).arm is not None, f"process {number}"
        process.run()
        process.close()


def test_the_first_run_waits_for_the_store_where_the_file_is_old(project: Path) -> None:
    """So a team that runs once an hour, each time in a new process, takes part in its test."""
    young, old = (new_process(project, last_left(project) + minutes * MINUTE) for minutes in (9, 61))
    assert young.runtime.is_ready
    assert not old.runtime.is_ready
    assert planned(old).arm is None
    old.runtime.loop.run_until_idle()
    assert old.runtime.is_ready
    assert planned(old).arm is not None
    old.close()


def test_a_file_that_says_what_the_store_says_is_not_written_again_at_every_look(project: Path) -> None:
    file = SnapshotFile(folder_of(project)).path
    process = new_process(project, last_left(project))
    process.run()
    first = file.stat().st_ino
    for _ in range(3):
        process.run()
    assert file.stat().st_ino == first
    process.stepped.clock.now += MINUTE
    process.run()
    assert file.stat().st_ino != first
    process.close()


def test_a_process_that_ends_leaves_what_it_knew_last(project: Path) -> None:
    process = new_process(project, last_left(project) + MINUTE)
    loop = process.runtime.loop
    loop.store_work.is_wanted = True
    loop.store_work.step(0.0)  # and the file thread had no time to write
    process.close()
    # It says when the store was asked, so that how long the answer took is part of the snapshot's age.
    assert process.stepped.clock.now - MINUTE / 2 < last_left(project) <= process.stepped.clock.now


def test_what_a_person_changes_holds_for_the_next_process(project: Path) -> None:
    for paused in (True, False):
        command = Runtime(project, with_entry_points=False)
        command.manual.pause_all(paused)
        command.close()
        assert (planned(new_process(project, last_left(project))).arm is None) is paused
    command = Runtime(project, with_entry_points=False)
    command.manual.roll_back(*SPEC.key)
    command.close()
    assert planned(new_process(project, last_left(project))).arm is None
    command = Runtime(project, with_entry_points=False)
    command.manual.apply(SPEC.key, TeamPlan(formation="pipeline"), "by hand", evidence={})
    command.close()
    assert planned(new_process(project, last_left(project))).plan == TeamPlan(formation="pipeline")


def test_the_file_is_read_before_the_threads_have_anything_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Simulation(project, **OPEN)
    runtime = process.runtime
    known: list[int] = []
    monkeypatch.setattr(runtime, "_store_step", lambda _: known.append(runtime.loop.memory.snapshot.revision) or 60.0)
    runtime.start()
    assert runtime.is_ready
    assert planned(process).arm is not None
    process.close()
    assert -1 not in known


def test_nothing_heavy_is_loaded_before_the_first_plan(project: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import RunStart
spec = TeamSpec("flow", "team", "sequential", [MemberSpec(name, "researcher") for name in "abcd"])
runtime = Runtime(Path(sys.argv[1]), overrides={"mode": "auto"}, with_entry_points=False, wall_clock=lambda: 0.0)
runtime.loop.files.load_snapshot()
print(asyncio.run(runtime.hooks.plan(RunStart("run", spec, 0.0))).arm)
heavy = ("sqlalchemy", "alembic", "numpy", "scipy", "victor_autotune_plugin.experiment")
print([name for name in sys.modules if name in heavy])
"""
    done = subprocess.run([sys.executable, "-c", code, project], check=False, capture_output=True, text=True)
    arm, heavy = done.stdout.splitlines() or [done.stderr, ""]
    assert arm in ("control", "treatment")
    assert heavy == "[]"


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, found as it is when it is started as a script."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import cold

    return cold


@pytest.mark.slow
def test_cold_processes_get_the_live_plan_and_fill_blocks(cold: ModuleType) -> None:
    found = cold.measure("sqlite", processes=8, at_once=2, patience=60.0)
    assert (found["in time"], found["recorded"]) == (8, 8)
    assert (found["live plan"], found["in the test"], found["SQLAlchemy before"]) == ("100.0%", "100.0%", 0)
    assert found["complete pairs per 100"] >= 37.5  # two streams may each have begun a pair
