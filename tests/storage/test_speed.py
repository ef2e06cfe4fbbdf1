"""A run may wait for the store for well below a millisecond. The bounds catch a lost index, not a slow day."""

from __future__ import annotations

import statistics
import time

from attrs import evolve

from victor_autotune_plugin.storage import Store
from victor_autotune_testing import workers
from victor_autotune_testing.stored import SPEC, experiment


def test_start_and_end_of_a_run_stay_fast_with_a_long_history(sqlite_store: Store) -> None:
    with sqlite_store.transaction() as transaction:
        transaction.save_experiment(experiment())
        transaction.save_team(evolve(transaction.team(*SPEC.key), experiment_id="e1"))

    def seconds(first: int, runs: int) -> float:
        taken = []
        for number in range(first, first + runs):
            began = time.perf_counter()
            workers.one_run(sqlite_store, f"r{number}")
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    seconds(0, 50)
    early = seconds(50, 200)
    seconds(250, 2500)
    late = seconds(2750, 200)
    assert late < 2.5 * early
    assert min(early, late) < 0.003


def test_a_new_process_is_ready_quickly(sqlite_store: Store) -> None:
    began = time.perf_counter()
    assert sqlite_store.mark_lost_runs() == ()
    assert time.perf_counter() - began < 0.2
