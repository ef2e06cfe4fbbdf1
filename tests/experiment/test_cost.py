from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

import pytest

from victor_autotune_plugin.experiment import Judge, Policy, Watch, WatchPolicy
from victor_autotune_plugin.experiment.boundaries import E_RULES


def test_a_decision_loads_no_scipy(make_runs):
    code = """
import sys
from victor_autotune_plugin.experiment import Judge, Observation, Policy, Watch, WatchPolicy, assign
runs = [Observation(index=i, arm=assign("s", i), duration_seconds=1.0 + i % 7, success=True, score=1.0)
        for i in range(60)]
judge, watch = Judge(Policy(), task_effects={"t": 0.5}), Watch(WatchPolicy(), reference=runs)
for run in runs:
    judge.observe(run), judge.verdict().to_dict(), watch.observe(run), watch.verdict().to_dict()
heavy = sorted({name.split(".")[0] for name in sys.modules} & {"scipy", "pandas", "sqlalchemy", "victor"})
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_observing_and_deciding_takes_less_than_two_milliseconds(make_runs):
    judge = Judge(Policy(futility=False, minimum_improvement=1.0))
    watch = Watch(WatchPolicy(max_runs=400), reference=make_runs(400))
    spent: list[list[float]] = [[], []]
    for run in make_runs(400, success=0.9):
        for times, engine in zip(spent, (judge, watch), strict=True):
            begin = time.perf_counter()
            engine.observe(run)
            engine.verdict()
            times.append(time.perf_counter() - begin)
    assert judge.verdict().runs["control"] == 200
    for times in spent:
        assert median(times[-50:]) < 0.002


@pytest.mark.parametrize("rule", E_RULES)
def test_an_e_process_decides_in_less_than_two_milliseconds(rule, make_runs):
    judge = Judge(Policy(rule=rule, futility=False, minimum_improvement=1.0))
    times = []
    for run in make_runs(398, success=0.9):
        begin = time.perf_counter()
        judge.observe(run)
        decided = judge.is_final
        times.append(time.perf_counter() - begin)
        assert not decided
    assert median(times[-50:]) < 0.002


def test_a_thousand_experiments_run_at_once_in_one_process_and_do_not_mix(make_runs):
    worlds = [make_runs(60, seed=seed, ratio=ratio) for seed, ratio in ((1, 0.3), (2, 1.0), (3, 4.0))]
    alone = []
    for runs in worlds:
        judge = Judge(Policy())
        for run in runs:
            judge.observe(run)
        alone.append(judge.verdict())
    judges = [Judge(Policy()) for _ in range(999)]
    begin = time.perf_counter()
    for step in range(60):
        for number, judge in enumerate(judges):
            judge.observe(worlds[number % 3][step])
    seconds = time.perf_counter() - begin
    assert [judge.verdict() for judge in judges] == alone * 333
    assert 999 * 60 / seconds > 2000


def test_a_simulator_drives_the_engine_at_two_thousand_runs_a_second(make_runs):
    begin = time.perf_counter()
    played = 0
    for seed in range(10):
        judge = Judge(Policy())
        for run in make_runs(400, seed=seed):
            judge.observe(run)
            played += 1
        judge.verdict()
    assert played / (time.perf_counter() - begin) > 2000
