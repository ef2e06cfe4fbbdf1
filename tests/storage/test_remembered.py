"""What was read before is not decoded again, and yet never shown where the database says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import SPEC, finished


def kept(url: str, seconds: float) -> None:
    with Store.open(url) as store, store.transaction() as transaction:
        transaction.finish_run(finished(duration_seconds=seconds))
        transaction.number_runs(*SPEC.key, 10)


def seconds_in(store: Store) -> list[float]:
    with store.reading() as transaction:
        return [run.duration_seconds for run in transaction.runs_of(*SPEC.key, 10)]


def test_a_run_is_shown_as_the_file_has_it_that_took_the_place_of_another(tmp_path: Path) -> None:
    kept(f"sqlite:///{tmp_path}/here.db", 10.0)
    kept(f"sqlite:///{tmp_path}/there.db", 20.0)
    with Store.open(f"sqlite:///{tmp_path}/here.db") as store:
        assert seconds_in(store) == seconds_in(store) == [10.0]
        (tmp_path / "there.db").replace(tmp_path / "here.db")
        assert seconds_in(store) == [20.0]


def test_a_run_that_was_rolled_back_is_forgotten(sqlite_store: Store) -> None:
    def break_off() -> None:
        with sqlite_store.transaction() as transaction:
            transaction.finish_run(finished(duration_seconds=10.0))
            transaction.number_runs(*SPEC.key, 10)
            assert [run.duration_seconds for run in transaction.runs_of(*SPEC.key, 10)] == [10.0]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert seconds_in(sqlite_store) == []
    with sqlite_store.transaction() as transaction:
        transaction.finish_run(finished(duration_seconds=20.0))
        transaction.number_runs(*SPEC.key, 10)
    assert seconds_in(sqlite_store) == [20.0]


def test_a_run_that_is_read_again_is_not_decoded_again(sqlite_store: Store) -> None:
    with sqlite_store.transaction() as transaction:
        transaction.finish_run(finished())
        transaction.number_runs(*SPEC.key, 10)
        (first,), (second,) = transaction.runs_of(*SPEC.key, 10), transaction.runs_of(*SPEC.key, 10)
    assert second is first
