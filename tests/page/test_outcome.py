"""*Was → now*: figures of two plans from runs of the same time, and what is told where there are none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import Experiment
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.policy import Policy, WatchPolicy
from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin._page.outcome import live_outcome, outcome_of, outcomes
from victor_autotune_plugin.storage.arm_runs import ArmRuns
from victor_autotune_testing.simulated import SPEC, Simulation

AT = 1_790_000_000.0


def runs(treated: list[bool], seconds: list[float], *, verified: bool = True, **figures: list[float]) -> ArmRuns:
    """Runs of one stream, a minute apart."""
    n = len(treated)
    unknown = np.full(n, np.nan)
    return ArmRuns(
        started_at=AT + 60.0 * np.arange(1, n + 1),
        treated=np.array(treated),
        verified=np.full(n, verified),
        streams=("0",),
        stream=np.zeros(n, dtype=np.int64),
        position=np.arange(n),
        order=np.arange(1, n + 1),
        durations=np.array(seconds),
        succeeded=np.ones(n),
        scores=np.array(figures.get("scores", unknown)),
        costs=np.array(figures.get("costs", unknown)),
        tokens=np.array(figures.get("tokens", unknown)),
    )


def experiment(**changes: Any) -> Experiment:
    made = Experiment(
        "e1", "flow", "team", SPEC.fingerprint(), "formation_selection", "Run the members side by side.",
        EMPTY_PLAN, TeamPlan(formation="parallel"), "seed", "shake256-streams-2", Policy(), WatchPolicy(holdback=0.1),
        "proven", AT - 500, promoted_at=AT,
    )  # fmt: skip
    return evolve(made, **changes)


def held_back(blocks: int, before: float, now: float) -> ArmRuns:
    """Blocks of ten runs, the third of each with the plan before, which all become slower and slower."""
    treated = [number % 10 != 2 for number in range(10 * blocks)]
    drift = [1.0 + number // 10 for number in range(10 * blocks)]
    return runs(treated, [(now if arm else before) * slow for arm, slow in zip(treated, drift, strict=True)])


def test_runs_since_the_promotion_tell_it_within_their_blocks() -> None:
    told = outcome_of(experiment(), held_back(7, 40.0, 20.0))
    assert (told.basis, told.runs) == ("since_promotion", {"control": 7, "treatment": 63})
    duration = told.figure("duration")
    assert duration is not None
    # Both plans are four times slower in the middle of these blocks, and the change is that of every block.
    assert (duration.was, duration.now) == (160.0, 80.0)
    assert duration.change == pytest.approx(-0.5)
    assert told.first_at == AT + 60
    assert told.figure("score") is None


def test_few_runs_of_the_plan_before_leave_it_to_the_test_and_its_verdict() -> None:
    treated = [number % 2 == 0 for number in range(24)]
    test = runs(treated, [20.0 if arm else 40.0 for arm in treated], verified=False)
    verdict = {"metric": "duration", "effect": -0.42, "interval": [-0.55, -0.3], "chance_better": 0.998}
    told = outcome_of(experiment(), test, verdict)
    duration, success = told.figure("duration"), told.figure("success")
    assert duration is not None
    assert success is not None
    assert (told.basis, told.runs) == ("test", {"control": 12, "treatment": 12})
    assert (duration.was, duration.now) == (40.0, 20.0)
    assert (duration.change, duration.low, duration.high, duration.chance_better) == (-0.42, -0.55, -0.3, 0.998)
    assert (success.was, success.change) == (1.0, 0.0)


def test_a_test_of_sticky_tasks_has_the_interval_of_its_verdict_alone() -> None:
    treated = [number % 4 < 2 for number in range(24)]
    tasks = evolve(
        runs(treated, [20.0 if arm else 40.0 for arm in treated], verified=False, costs=[0.5] * 24),
        streams=tuple(f"cluster:{task}" for task in range(12)),
        stream=np.arange(24) // 2,
        position=np.arange(24) % 2,
    )
    verdict = {"metric": "duration", "effect": -0.5, "interval": [-0.6, -0.2], "chance_better": 0.99}
    told = outcome_of(experiment(policy=Policy(sticky=True)), tasks, verdict)
    duration, cost = told.figure("duration"), told.figure("cost")
    assert duration is not None
    assert cost is not None
    assert (told.runs, duration.was, duration.now) == ({"control": 12, "treatment": 12}, 40.0, 20.0)
    assert (duration.low, duration.high, cost.was, cost.change) == (-0.6, -0.2, 0.5, None)


def test_shares_that_nothing_is_assigned_by_compare_nothing() -> None:
    told = outcome_of(experiment(watch_policy=WatchPolicy(holdback=1 / 3.001)), held_back(7, 40.0, 20.0))
    assert told.basis is None


def test_the_effect_on_a_score_is_a_difference() -> None:
    treated = [number % 2 == 0 for number in range(24)]
    scores = [0.9 if arm else 0.6 for arm in treated]
    test = runs(treated, [1.0] * 24, verified=False, scores=scores)
    verdict = {"metric": "score", "effect": 0.5, "interval": [0.25, None], "chance_better": 0.99}
    score = outcome_of(experiment(policy=Policy(metric="score")), test, verdict).figure("score")
    assert score is not None
    assert (score.change, score.low, score.high) == (pytest.approx(0.3), pytest.approx(0.15), None)


def test_a_plan_that_a_person_applied_is_not_measured_before_runs_of_the_plan_before_came() -> None:
    told = outcome_of(experiment(), None)
    assert (told.basis, told.figures, told.not_measured_since) == (None, (), None)
    told = outcome_of(experiment(watch_policy=WatchPolicy(holdback=0.0)), None)
    assert told.not_measured_since == AT


def test_without_further_runs_of_the_plan_before_it_says_since_when() -> None:
    live = held_back(7, 40.0, 20.0)
    last = float(live.started_at[~live.treated].max())
    more = runs([True] * 100, [20.0] * 100)
    assert outcome_of(experiment(), live).not_measured_since is None
    columns = ("started_at", "treated", "verified", "stream", "position", "order", "durations", "succeeded")
    joined = {
        name: np.concatenate([getattr(live, name), getattr(more, name)])
        for name in (*columns, "scores", "costs", "tokens")
    }
    joined["started_at"] = AT + 60.0 * np.arange(1, 171)
    joined["position"] = np.arange(170)
    assert outcome_of(experiment(), ArmRuns(streams=("0",), **joined)).not_measured_since == last


@pytest.mark.parametrize("sigma", [0.4, 0.8])
def test_intervals_hold_the_truth(sigma: float) -> None:
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        treated = [False] * 100
        for block in range(10):
            for place in range(10):
                treated[10 * block + place] = True
            treated[10 * block + int(rng.integers(10))] = False
        seconds = rng.lognormal(3.0, sigma, 100) * np.where(treated, 0.7, 1.0)
        duration = outcome_of(experiment(), runs(treated, seconds.tolist())).figure("duration")
        assert duration is not None
        assert duration.low is not None
        assert duration.high is not None
        held += duration.low <= -0.3 <= duration.high
    assert held >= 400 * 0.925  # 95 %, less 2.3 standard errors


def test_the_store_tells_it_of_a_live_team(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True, strategies=["formation_selection"], **{"watch.holdback": 0.1})
    team.tokens = (TokenUse("model", 900, 100, provider="acme"), TokenUse("small", 40, 10, provider="acme"))
    team.run_until("promoted")
    test = live_outcome(team.store, team.state())
    assert test is not None
    assert (test.basis, test.is_live, test.not_measured_since) == ("test", True, None)
    duration, tokens = test.figure("duration"), test.figure("tokens")
    assert duration is not None
    assert tokens is not None
    verdict = team.experiments()[0].verdict
    assert verdict is not None
    assert duration.change == verdict["effect"]
    assert tokens.was == tokens.now == 1050.0
    for _ in range(60):
        team.run()
    since = live_outcome(team.store, team.state())
    assert since is not None
    assert since.basis == "since_promotion"
    assert sum(since.runs.values()) <= 60
    found = since.figure("duration")
    assert found is not None
    assert found.was is not None
    assert found.now is not None
    assert found.now < found.was
    assert math.isclose(outcomes(team.store, team.experiments())[since.experiment_id].since, since.since)
    assert since.to_dict()["figures"][0]["name"] == "duration"
    team.close()
