from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from victor_autotune_plugin.experiment import Judge, Policy, Watch, WatchPolicy


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
