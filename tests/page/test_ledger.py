"""The savings ledger: what is saved, what is not measured, and that plans which turned out worse are in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin._model.policy import WatchPolicy
from victor_autotune_plugin._page.ledger import WEEK_SECONDS, promotion_savings, savings_ledger
from victor_autotune_plugin.storage.arm_runs import ArmRuns
from victor_autotune_testing.simulated import Simulation

from .test_outcome import AT, experiment, runs

TREATED = [number % 10 != 4 for number in range(100)]


def held(before: float, now: float, **figures: list[float]) -> ArmRuns:
    return runs(TREATED, [now if arm else before for arm in TREATED], **figures)


def test_every_run_of_the_new_plan_saves_against_its_block() -> None:
    one = promotion_savings(experiment(), held(40.0, 25.0, costs=[0.01 if arm else 0.03 for arm in TREATED]))
    assert (one.runs, one.compared, one.runs_before, one.not_measured_since) == (90, 90, 10, None)
    assert one.saved["seconds"].value == pytest.approx(90 * 15.0)
    assert one.saved["seconds"].per_run == pytest.approx(15.0)
    assert one.saved["usd"].value == pytest.approx(90 * 0.02)
    assert "tokens" not in one.saved


def test_more_score_is_gained_and_more_time_is_lost() -> None:
    scores = [0.8 if arm else 0.5 for arm in TREATED]
    one = promotion_savings(experiment(), held(20.0, 25.0, scores=scores))
    assert one.saved["score"].value == pytest.approx(90 * 0.3)
    assert one.saved["seconds"].value == pytest.approx(-90 * 5.0)


def test_without_a_holdback_nothing_is_measured() -> None:
    one = promotion_savings(experiment(watch_policy=WatchPolicy(holdback=0.0)), runs([True] * 100, [25.0] * 100))
    assert (one.runs, one.compared, one.saved, one.weeks) == (100, 0, {}, ())
    assert one.not_measured_since == AT


def test_one_or_two_runs_of_the_plan_before_give_no_number() -> None:
    short = held(40.0, 25.0)
    assert promotion_savings(experiment(), short.where(slice(0, 20))).saved == {}
    assert promotion_savings(experiment(), short.where(slice(0, 30))).saved["seconds"].value == pytest.approx(27 * 15)


def test_weeks_add_up() -> None:
    rng = np.random.default_rng(3)
    live = runs(TREATED, rng.lognormal(3.0, 0.5, 100).tolist())
    live = evolve(live, started_at=AT + np.arange(100) * WEEK_SECONDS / 30)
    one = promotion_savings(experiment(), live)
    assert len(one.weeks) == 4
    assert sum(week.saved["seconds"].value for week in one.weeks) == pytest.approx(one.saved["seconds"].value)
    assert sum(week.runs for week in one.weeks) == one.compared
    variances = sum(week.saved["seconds"].spread.variance for week in one.weeks)
    assert variances == pytest.approx(one.saved["seconds"].spread.variance)
    assert {(week.start - one.weeks[0].start) % WEEK_SECONDS for week in one.weeks} == {0.0}


def test_the_interval_of_a_sum_holds_the_truth_also_where_few_runs_are_very_slow() -> None:
    rng = np.random.default_rng(11)
    truth, found = 90 * 0.4 * np.exp(3.0 + 0.32), 0
    for _ in range(400):
        seconds = rng.lognormal(3.0, 0.8, 100) * np.where(TREATED, 0.6, 1.0)
        saved = promotion_savings(experiment(), runs(TREATED, seconds.tolist())).saved["seconds"]
        found += saved.low <= truth <= saved.high
    assert found >= 400 * 0.90  # 93 % in more repetitions


def test_the_ledger_of_a_store_keeps_what_was_rolled_back(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True, strategies=["formation_selection"], **{"watch.holdback": 0.1})
    team.run_until("promoted")
    for _ in range(60):
        team.run()
    team.truth = lambda plan, members: sum(members) * (1 if plan.is_empty else 6)
    team.run_until("rolled_back")
    ledger = savings_ledger(team.store)
    (one,) = ledger.teams[0].promotions
    assert one.status == "rolled_back"
    assert one.until is not None
    assert one.compared > 0
    assert one.saved["seconds"].value == pytest.approx(ledger.saved["seconds"].value)
    before = savings_ledger(team.store, "flow", "somebody else")
    assert (before.teams, before.saved) == ((), {})
    assert ledger.to_dict()["teams"][0]["promotions"][0]["saved"]["usd"] is None
    team.close()
