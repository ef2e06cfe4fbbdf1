"""Room that runs leave is given back, on both databases, and no one else's work waits for it for ever."""

from __future__ import annotations

import threading
import time

import pytest

from victor_autotune_plugin.errors import StoreBusyError
from victor_autotune_plugin.storage import Store, compaction
from victor_autotune_plugin.storage.compaction import stored_bytes
from victor_autotune_testing.stored import SPEC, finished


def _fill(store: Store, runs: int) -> None:
    with store.transaction() as transaction:
        for number in range(runs):
            transaction.finish_run(finished(f"r{number:04}", experiment_id=None, arm=None, started_at=1e9 + number))
    with store.transaction() as transaction:
        transaction.number_runs(*SPEC.key, runs)
        lease = transaction.take_lease(*SPEC.key, "judge", 5.0)
        assert lease is not None
        transaction.save_judged(*SPEC.key, runs, lease.flow)


def _prune(store: Store, kept: int) -> None:
    with store.reading() as transaction:
        (bound,) = transaction.prune_bounds(*SPEC.key, kept, None, always=kept)
    with store.transaction() as transaction:
        transaction.prune(*SPEC.key, bound, 0, 10_000)


def test_a_file_shrinks_by_what_went(sqlite_store: Store) -> None:
    _fill(sqlite_store, 2000)
    _prune(sqlite_store, 100)
    found = sqlite_store.compact()
    assert found.before > 4_000_000
    assert found.after < 0.2 * found.before
    assert stored_bytes(sqlite_store._connections) == found.after
    assert sqlite_store.counts()["runs"] == 100


def test_the_store_goes_on_afterwards(store: Store) -> None:
    _fill(store, 50)
    _prune(store, 10)
    found = store.compact()
    assert found.before > 0
    assert found.after > 0
    with store.transaction() as transaction:
        transaction.finish_run(finished("later", experiment_id=None, arm=None))
    assert store.counts()["runs"] == 11


def test_where_another_writes_it_gives_up_after_the_busy_timeout(sqlite_store: Store, sqlite_url: str) -> None:
    _fill(sqlite_store, 10)
    with Store.open(sqlite_url, busy_timeout_seconds=0.05) as other, sqlite_store.transaction() as transaction:
        transaction.beat()
        began = time.monotonic()
        with pytest.raises(StoreBusyError):
            other.compact()
        assert time.monotonic() - began < 5.0
    assert sqlite_store.counts()["runs"] == 10


def _read_for(url: str, seconds: float, began: threading.Event) -> None:
    with Store.open(url) as reader, reader.reading() as transaction:
        transaction.prune_bounds(*SPEC.key, 10, None)
        began.set()
        time.sleep(seconds)


@pytest.mark.parametrize(("seconds", "is_given_back"), [(0.4, True), (3.0, False)])
def test_a_moment_without_readers_is_waited_for(
    sqlite_store: Store, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, seconds: float, is_given_back: bool
) -> None:
    monkeypatch.setattr(compaction, "_COMPLETE_SECONDS", 30.0 if is_given_back else 0.2)
    _fill(sqlite_store, 2000)
    _prune(sqlite_store, 100)
    began = threading.Event()
    reader = threading.Thread(target=_read_for, args=(sqlite_url, seconds, began))
    reader.start()
    began.wait()
    if is_given_back:
        found = sqlite_store.compact()
        assert found.after < 0.2 * found.before
    else:
        with pytest.raises(StoreBusyError):
            sqlite_store.compact()
    reader.join()
    assert sqlite_store.counts()["runs"] == 100
