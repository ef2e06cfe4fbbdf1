"""A team whose old runs go at any moment decides as its twin does that keeps them all, and its decisions replay."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin._page.team_row import FIGURE_RUNS
from victor_autotune_plugin._tuning import (
    exposure,
    gates,
    manual,
    next_test,
    potential,
    suggestions,
    tuner_cache,
    verification,
)
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage.pruning import ALWAYS_KEPT
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation

KEPT = 60
"""Runs that are kept in full; tuning looks back at as many in these tests."""

RUNS = 260


class Twins:
    """Two teams of one seed, to which the same happens; the runs of the second one are pruned now and then.

    Args:
        folder: Where their projects are.
        seed: Of all that happens.
        settings: Settings of both.
    """

    def __init__(self, folder: Path, seed: int, **settings: Any) -> None:
        self.random = random.Random(seed)
        self.world = 1.0
        self.removed = self.bared = 0
        self.whole, self.pruned = (
            Simulation(folder / name, in_memory=True, twin=True, seed=seed, truth=self.truth, **settings)
            for name in ("whole", "pruned")
        )
        self.both = self.whole, self.pruned
        for one in self.both:
            one.tokens = (TokenUse("m", 100, 10),)

    def truth(self, plan: TeamPlan, members: list[float]) -> float:
        return by_formation(plan, members) * (self.world if plan.formation else 1.0)

    def run(self) -> None:
        kind, late = self.random.random(), self.random.random()
        changes: dict[str, Any] = {}
        if kind < 0.05:
            changes = {"cancelled": True, "success": False, "member_success_share": 0.0}
        elif kind < 0.08:
            changes = {"success": False, "member_success_share": 0.5}
        for one in self.both:
            one.run(task_key=f"task-{int(late * 12)}" if late < 0.5 else None, **changes)

    def loses_one(self) -> None:
        for one in self.both:
            event, planned = one.start()
            with one.store.transaction() as transaction:
                transaction.start_run(event, planned, "dead process")
                transaction.mark_lost(0.0)
            one.stepped.clock.now += 1.0

    def prune(self) -> None:
        with self.pruned.store.reading() as transaction:
            (bound,) = transaction.prune_bounds(*SPEC.key, KEPT, None, always=KEPT) or (None,)
        if bound is None:
            return
        with self.pruned.store.transaction() as transaction:
            piece = transaction.prune(*SPEC.key, bound, 0, self.random.randint(1, 100))
        self.removed += piece.removed
        self.bared += piece.bared

    def each(self, ask: Callable[[Simulation], Any]) -> None:
        whole, pruned = (repr(ask(one)) for one in self.both)  # a figure that is not known is not equal to itself
        assert pruned == whole

    def are_equal(self) -> None:
        self.each(lambda one: one.changes())
        self.each(lambda one: one.state())
        self.each(lambda one: one.experiments())
        self.each(lambda one: one.store.data_flow(*SPEC.key))
        for experiment in self.whole.experiments():
            self.each(lambda one, name=experiment.id: one.store.live_observations(name))
            self.each(lambda one, name=experiment.id: one.store.observations(name, "test"))
        self.each(lambda one: replay_all(one.store, one.experiments()))
        for found in replay_all(self.pruned.store, self.pruned.experiments()):
            assert found.same, found.differences
        totals = list(self.pruned.store.day_totals(*SPEC.key))
        assert sum(one.runs for one in totals) == self.removed + self.bared
        counts = self.pruned.store.counts()
        assert counts["runs"] + self.removed + self.bared == self.whole.store.counts()["runs"]
        assert counts["observations"] == self.whole.store.counts()["observations"]

    def close(self) -> None:
        for one in self.both:
            one.close()


@pytest.fixture(autouse=True)
def _short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner_cache, "LEARN_RUNS", KEPT)
    for module in (suggestions, next_test, manual, verification):
        monkeypatch.setattr(module, "TASK_RUNS", KEPT)
    monkeypatch.setattr(exposure, "RATE_RUNS", KEPT)


def test_nothing_looks_further_back_than_what_always_stays() -> None:
    looked = (
        *(tuner_cache.LEARN_RUNS, tuner_cache.NEW_RUNS, suggestions.TASK_RUNS, suggestions.EVIDENCE_RUNS),
        *(exposure.RATE_RUNS, verification.REFERENCE_RUNS, next_test.HISTORY_RUNS, gates.GONE_RUNS, gates.MOST_LABELS),
        *(potential.MOST_READ, FIGURE_RUNS),
    )
    assert max(looked) <= ALWAYS_KEPT


@pytest.mark.parametrize("seed", range(4))
def test_they_decide_alike_whenever_runs_go(tmp_path: Path, seed: int) -> None:
    twins = Twins(tmp_path, seed, **{"experiment.max_runs_per_arm": 40, "tuner.risk": ["off", "medium"][seed % 2]})
    for number in range(RUNS):
        twins.run()
        if twins.random.random() < 0.02:
            twins.loses_one()
        if twins.random.random() < 0.02:
            twins.world = twins.random.choice([0.5, 1.0, 3.0, 12.0])
        if twins.random.random() < 0.15:
            twins.prune()
        if number % 50 == 0:
            twins.are_equal()
    twins.are_equal()
    assert twins.removed + twins.bared > RUNS / 2
    assert twins.bared
    assert twins.whole.changes()
    twins.close()


def test_a_score_that_is_missing_stays_missing(tmp_path: Path) -> None:
    twins = Twins(tmp_path, 11)
    scores = [1.0, 0.0, None]
    for one in twins.both:
        one.score = lambda run: scores[int(run.run_id[:4], 16) % 3]
    for _ in range(160):
        twins.run()
        twins.prune()
    twins.are_equal()
    assert twins.bared
    twins.close()


def test_an_observation_that_pruning_damaged_would_be_noticed(tmp_path: Path) -> None:
    twins = Twins(tmp_path, 3)
    for _ in range(150):
        twins.run()
    twins.prune()
    twins.are_equal()
    experiment = twins.pruned.experiments()[0]
    twins.pruned.store._connections.execute(
        text("UPDATE autotune_run SET duration_seconds = duration_seconds * 1.01 WHERE status = 'observed'")
    )
    (found, *_) = replay_all(twins.pruned.store, [experiment])
    assert not found.same
    with pytest.raises(AssertionError):
        twins.are_equal()
    twins.close()
