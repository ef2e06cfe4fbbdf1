from __future__ import annotations

import subprocess
import sys

from victor_autotune_plugin.experiment import Judge, Policy


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


def test_three_hundred_experiments_run_at_once_in_one_process_and_do_not_mix(make_runs):
    worlds = [make_runs(60, seed=seed, ratio=ratio) for seed, ratio in ((1, 0.3), (2, 1.0), (3, 4.0))]
    alone = []
    for runs in worlds:
        judge = Judge(Policy())
        for run in runs:
            judge.observe(run)
        alone.append(judge.verdict())
    judges = [Judge(Policy()) for _ in range(300)]
    for step in range(60):
        for number, judge in enumerate(judges):
            judge.observe(worlds[number % 3][step])
    assert [judge.verdict() for judge in judges] == alone * 100
