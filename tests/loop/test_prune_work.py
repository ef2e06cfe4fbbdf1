"""Old runs go behind the user's runs, in small pieces, and only when nothing else is to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._settings.team_settings import RetentionSettings
from victor_autotune_plugin._tuning import prune_work
from victor_autotune_plugin._tuning.prune_work import FIRST_SECONDS, LOOK_SECONDS, PruneWork
from victor_autotune_plugin.errors import StoreBusyError, StoreUnavailableError
from victor_autotune_plugin.storage import pruning
from victor_autotune_testing.simulated import SPEC, Simulation

RUNS = 120
KEPT = 40


@pytest.fixture
def simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    monkeypatch.setattr(pruning, "ALWAYS_KEPT", KEPT)
    simulation = Simulation(tmp_path, in_memory=True, scored=False, mode="observe")
    for _ in range(RUNS):
        simulation.run()
    yield simulation
    simulation.close()


def work_of(simulation: Simulation, **retention: Any) -> PruneWork:
    settings = RetentionSettings(**{"runs": KEPT, "days": None, **retention})
    return PruneWork(simulation.runtime.loop.memory, lambda: settings)


def settled(work: PruneWork, simulation: Simulation, now: float) -> list[float]:
    """Step until the work wants a long pause; return the pauses."""
    pauses = []
    for _ in range(100):
        pauses.append(work.step(simulation.store, now))
        if pauses[-1] > 60:
            return pauses
    raise AssertionError("it never ends")


def runs(simulation: Simulation) -> int:
    return simulation.store.counts()["runs"]


def test_nothing_happens_in_the_first_minutes(simulation: Simulation) -> None:
    work = work_of(simulation)
    assert work.step(simulation.store, 100.0) == FIRST_SECONDS
    assert work.step(simulation.store, 100.0 + FIRST_SECONDS - 1) == 1.0
    assert runs(simulation) == RUNS


def test_then_old_runs_go_piece_by_piece_until_the_next_look(simulation: Simulation) -> None:
    work = work_of(simulation)
    work.step(simulation.store, 0.0)
    pauses = settled(work, simulation, FIRST_SECONDS)
    assert pauses[-1] == LOOK_SECONDS
    assert set(pauses[:-1]) == {prune_work.PAUSE_SECONDS}
    assert runs(simulation) == KEPT
    assert sum(one.runs for one in simulation.store.day_totals(*SPEC.key)) == RUNS - KEPT


def test_without_a_limit_all_stay(simulation: Simulation) -> None:
    work = work_of(simulation, runs=None)
    work.step(simulation.store, 0.0)
    assert settled(work, simulation, FIRST_SECONDS) == [LOOK_SECONDS]
    assert runs(simulation) == RUNS


YEAR = 365 * 86_400.0


def test_a_clock_that_is_a_year_fast_lets_no_run_go_by_its_age(simulation: Simulation) -> None:
    work, clock = work_of(simulation, runs=None, days=30.0), simulation.stepped.clock
    clock.now += YEAR
    simulation.run()
    work.step(simulation.store, 0.0)
    settled(work, simulation, FIRST_SECONDS)
    assert runs(simulation) == RUNS + 1
    clock.now -= YEAR  # somebody has set it right
    simulation.run()
    settled(work, simulation, FIRST_SECONDS + LOOK_SECONDS)
    assert runs(simulation) == RUNS + 2


def test_a_machine_that_was_off_for_a_year_prunes_by_days_after_a_week_of_new_runs(simulation: Simulation) -> None:
    work, clock = work_of(simulation, runs=None, days=30.0), simulation.stepped.clock
    clock.now += YEAR
    work.step(simulation.store, 0.0)
    left = []
    for day in range(9):
        simulation.run()
        settled(work, simulation, FIRST_SECONDS + day * LOOK_SECONDS)
        left.append(runs(simulation))
        clock.now += 86_400.0
    assert left[:7] == [RUNS + 1 + day for day in range(7)]
    assert left[-1] == KEPT


def test_the_count_of_runs_limits_them_whatever_the_clock_says(simulation: Simulation) -> None:
    work = work_of(simulation, runs=KEPT, days=30.0)
    simulation.stepped.clock.now += YEAR
    work.step(simulation.store, 0.0)
    settled(work, simulation, FIRST_SECONDS)
    assert runs(simulation) == KEPT


def test_a_store_of_an_earlier_version_waits_for_a_persons_word(simulation: Simulation) -> None:
    simulation.store._connections.execute(text("UPDATE autotune_store SET may_prune = false"))
    work = work_of(simulation)
    work.step(simulation.store, 0.0)
    assert settled(work, simulation, FIRST_SECONDS) == [LOOK_SECONDS]
    assert runs(simulation) == RUNS
    with simulation.store.transaction() as transaction:
        transaction.allow_pruning()
    settled(work, simulation, FIRST_SECONDS + LOOK_SECONDS)
    assert runs(simulation) == KEPT


@pytest.mark.parametrize(
    ("error", "reported"),
    [(StoreBusyError("busy"), 0), (StoreUnavailableError("gone"), 1), (ZeroDivisionError("a fault of ours"), 1)],
)
def test_a_store_that_is_busy_or_gone_is_left_alone_and_later_it_goes_on(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, error: Exception, reported: int
) -> None:
    failsafe.forget()
    work, store = work_of(simulation), simulation.store
    work.step(store, 0.0)

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as context:
        context.setattr(store, "transaction", fail)
        for _ in range(10):
            work.step(store, FIRST_SECONDS)
    assert runs(simulation) == RUNS
    assert len([one for one in failsafe.seen() if one.where == "pruning of old runs"]) == reported
    settled(work, simulation, FIRST_SECONDS + LOOK_SECONDS)
    assert runs(simulation) == KEPT


def test_a_team_that_could_not_be_looked_at_is_looked_at_again(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, store = work_of(simulation), simulation.store
    work.step(store, 0.0)

    def fail(*_: Any, **__: Any) -> Any:
        raise StoreBusyError("busy")

    with monkeypatch.context() as context:
        context.setattr(store, "reading", fail)
        pauses = [work.step(store, FIRST_SECONDS) for _ in range(3)]
    assert pauses[-1] == prune_work.BUSY_SECONDS
    settled(work, simulation, FIRST_SECONDS + 5.0)
    assert runs(simulation) == KEPT


def test_the_store_thread_does_it_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "ALWAYS_KEPT", KEPT)
    monkeypatch.setattr(prune_work, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(prune_work, "LOOK_SECONDS", 0.2)
    simulation = Simulation(tmp_path, scored=False, mode="observe", **{"retention.days": 7.0})
    simulation.runtime.start(5.0)
    began = time.time() - 20 * 86_400.0  # by the real clock, which SQLite takes; runs of then bear it out
    for number in range(KEPT + 30):
        simulation.stepped.clock.now = began + 100 * number
        simulation.run()
    ends = time.monotonic() + 20.0
    while runs(simulation) > KEPT and time.monotonic() < ends:
        time.sleep(0.05)
    assert runs(simulation) == KEPT
    assert simulation.store.pruned_runs(*SPEC.key) == 30
    simulation.close()


def test_the_loop_prunes_by_the_settings_and_only_when_no_run_waits(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, stepped = simulation.runtime.loop, simulation.stepped
    seen: list[bool] = []
    monkeypatch.setattr(
        PruneWork,
        "step",
        lambda *_: seen.append(bool(loop.core._for_store) or bool(loop.store_work.slot_requests)) or 1.0,
    )
    simulation.run()
    stepped.clock.now += LOOK_SECONDS
    stepped.work()
    assert seen
    assert not any(seen)
