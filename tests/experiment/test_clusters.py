from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats

from victor_autotune_plugin._model.assignment import assign
from victor_autotune_plugin.experiment import Judge, Observation, Policy
from victor_autotune_plugin.experiment.clusters import ClusterMeans, ClusterPrimary, cluster_of

STICKY = Policy(sticky=True)


def sticky_runs(n, tasks, *, seed=0, ratio=1.0, between=0.5, within=0.5, **fields):
    """Runs of tasks that keep the arm of their first run."""
    rng, counts, found = random.Random(seed), {}, []
    levels = [rng.gauss(0, between) for _ in range(tasks)]
    for _ in range(n):
        task = int(tasks * rng.random() ** 1.5)  # some come far more often than others
        stream, index = f"cluster:t{task}", counts.get(task, 0)
        counts[task] = index + 1
        arm = assign(str(seed), 0, stream=stream)
        seconds = 20 * math.exp(levels[task] + rng.gauss(0, within)) * (ratio if arm == "treatment" else 1)
        common = {"success": True, "score": 1.0, **{name: value(rng, arm) for name, value in fields.items()}}
        found.append(Observation(index, arm, seconds, stream=stream, task_key=f"t{task}", **common))
    return found


def decide(runs, policy=STICKY):
    judge = Judge(policy)
    for run in runs:
        judge.observe(run)
    return judge.verdict()


def test_a_cluster_counts_once_by_the_mean_of_its_runs():
    means = ClusterMeans()
    sides = {"a": ([1.0, 3.0], False), "b": ([5.0], False), "c": ([4.0, 4.0, 10.0], True), "d": ([9.0], True)}
    for name, (values, treated) in sides.items():
        for value in values:
            means.add(name, value, treatment=treated)
    assert means.sides() == ([2.0, 5.0], [6.0, 9.0])
    assert means.difference == pytest.approx(4.0)
    assert means.means == (3.0, 6.75)
    found = []
    for chosen in itertools.combinations(range(4), 2):
        other = ClusterMeans()
        for k, value in enumerate([2.0, 5.0, 6.0, 9.0]):
            other.add(k, value, treatment=k in chosen)
        found.append(other.z)
    assert np.mean(found) == pytest.approx(0.0, abs=1e-9)
    expected = stats.ttest_ind([6.0, 9.0], [2.0, 5.0], equal_var=False)
    mean, error, _ = means.margin(1.0, 0.0)
    assert -mean / error == pytest.approx(expected.statistic)


def test_clusters_are_compared_by_the_rank_sum():
    rng, primary = np.random.default_rng(2), ClusterPrimary("duration")
    control, treatment = rng.normal(3.0, 0.5, 20), rng.normal(2.5, 0.5, 25)
    for arm, values in (("control", control), ("treatment", treatment)):
        for k, value in enumerate(values):
            for shift in (-0.2, 0.2):
                run = Observation(0, arm, math.exp(value + shift), success=True, score=1.0, stream=f"cluster:{arm}{k}")
                primary.add(run)
    expected = stats.mannwhitneyu(
        control, treatment, alternative="two-sided", use_continuity=False, method="asymptotic"
    )
    assert 2 * stats.norm.sf(primary.z) == pytest.approx(expected.pvalue, rel=0.1)
    assert primary.gain == pytest.approx(np.median(np.subtract.outer(control, treatment)))
    assert primary.information == pytest.approx(2 * 40 * 50 / 90)


def test_a_run_without_a_task_is_a_cluster_of_its_own():
    run = Observation(7, "control", 1.0, success=True, score=1.0, stream="a")
    assert cluster_of(run) == ("a", 7)


@pytest.mark.parametrize("metric", ["duration", "score"])
def test_a_gain_of_sticky_tasks_is_proven_and_a_harm_too(metric):
    def score(better):
        return lambda rng, arm: min(1.0, rng.uniform(0.4, 0.6) * (1.5 if (arm == "treatment") == better else 1))

    policy = Policy(sticky=True, metric=metric)
    for better, status in ((True, "passed"), (False, "failed")):
        runs = sticky_runs(600, 60, seed=3, ratio=0.5 if better else 2.0, score=score(better))
        verdict = decide(runs, policy)
        assert verdict.status == status
        low, high = verdict.interval
        assert low <= verdict.effect <= high
        assert status == "failed" or low > 0 or high < 0


def test_sticky_tasks_that_differ_do_not_look_like_a_gain():
    found = 0
    for seed in range(60):
        verdict = decide(
            sticky_runs(200, 12, seed=seed, between=1.5, within=0.1), Policy(sticky=True, max_runs_per_arm=100)
        )
        found += verdict.may_go_live or verdict.status in ("passed", "failed")
    assert found <= 8


def test_a_success_that_sticky_tasks_lose_is_seen():
    def drop(rng, arm):
        return rng.random() < (0.5 if arm == "treatment" else 0.95)

    for seed in range(4):
        verdict = decide(sticky_runs(400, 60, seed=seed, ratio=0.6, success=drop))
        assert verdict.status != "passed"
        assert not verdict.may_go_live
