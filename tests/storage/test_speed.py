"""What a run costs in the store does not grow with the history: a lost index shows, a slow machine does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve

from victor_autotune_plugin._model.score import Gate
from victor_autotune_plugin.storage import Store
from victor_autotune_testing import workers
from victor_autotune_testing.stored import SPEC, experiment, finished, score

STEP = 50
"""Instructions of SQLite's virtual machine that are counted as one."""

Work = Callable[[Callable[[], object]], int]


@pytest.fixture
def work() -> Iterator[Work]:
    """Return what a function makes SQLite do, in steps of its virtual machine; for stores that are opened later."""
    import sqlalchemy

    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def count(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(step, STEP)

    def work(do: Callable[[], object]) -> int:
        before = steps
        do()
        return steps - before

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", count)
    yield work
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", count)


def test_start_and_end_of_a_run_cost_the_same_after_a_long_history(sqlite_url: str, work: Work) -> None:
    with Store.open(sqlite_url) as store:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            transaction.save_team(evolve(transaction.team(*SPEC.key), experiment_id="e1"))

        def look() -> None:
            with store.transaction() as transaction:
                transaction.mark_lost(60.0)

        def runs(first: int, after: int) -> None:
            for number in range(first, after):
                workers.one_run(store, f"r{number}")

        runs(0, 50)
        early, early_look = work(lambda: runs(50, 100)), work(look)
        runs(100, 1000)
        late, late_look = work(lambda: runs(1000, 1050)), work(look)
    assert early > 50  # the counter counts
    assert late <= 1.25 * early
    assert late_look <= early_look + 1


def test_a_score_costs_the_same_after_a_long_history(sqlite_url: str, work: Work) -> None:
    gates = (Gate("tests"), Gate("rubric", judge="d1"))
    with Store.open(sqlite_url) as store:

        def end(first: int, after: int) -> None:
            with store.transaction() as transaction:
                for number in range(first, after):
                    run = finished(f"r{number}", phase="test", index=number, stream="0", started_at=float(number))
                    transaction.finish_run(run, "gone", None, gates, 86_400.0)

        def record(first: int, after: int) -> None:
            for number in range(first, after):
                with store.transaction() as transaction:
                    transaction.record_score(score(f"r{number}", "tests", at=float(number)))
                    transaction.record_score(score(f"r{number}", "rubric", judge="d1", at=float(number)))

        def look() -> None:
            with store.transaction() as transaction:
                transaction.team_scores(*SPEC.key, 10)
                transaction.judged_runs(*SPEC.key, "rubric", "d1", limit=30)
                transaction.scorer_cost_since(last - 10.0)
                transaction.unrated_runs(10)
                transaction.release_scores(60.0)
                transaction.number_runs(*SPEC.key, 10_000)

        last = 40.0
        end(0, 50)
        early = work(lambda: record(0, 50))
        look()
        early_look = work(look)
        end(50, 3_000)
        with store.transaction() as transaction:
            for number in range(50, 2_950):
                for name, judge in (("tests", ""), ("rubric", "d1")):
                    transaction.record_score(score(f"r{number}", name, judge=judge, at=float(number)))
        late = work(lambda: record(2_950, 3_000))
        look()
        last = 2_990.0
        late_look = work(look)
    assert early > 20  # the counter counts
    assert late <= 1.25 * early
    assert late_look <= 1.25 * early_look
