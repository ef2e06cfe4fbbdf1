"""Entries that are written at once leave what they would leave one after the other, on every backend."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import pytest
from attrs import evolve
from sqlalchemy import select

from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_plugin.errors import StoreError
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.journal import EndEntry, Entry, FlowEntry, PriceEntry, ScoreEntry, StartEntry
from victor_autotune_plugin.storage.run_batch import RunBatch
from victor_autotune_plugin.storage.tables import run
from victor_autotune_testing.stored import ASSIGNED, finished, planned, score, start

KEY = finished().spec.key


def entries_of(rng: random.Random, prefix: str, count: int) -> list[Entry]:
    """Return entries of some runs, mixed: each run's own in their order, some of them twice, some missing."""
    found: list[list[Entry]] = []
    for number in range(count):
        name = f"{prefix}-{number}"
        assignment = evolve(ASSIGNED, index=number, stream=f"{prefix}0")
        began = StartEntry(start(name), planned(assignment=assignment), "p")
        flow = RunFlow(open={"a": ("custom",)})
        ended = EndEntry(finished(name, stream=f"{prefix}0", index=number, flow=None, cost_usd=None), 30.0)
        of_run: list[Entry] = [
            *[began] * rng.choice((0, 1, 1, 2)),
            *[ended] * rng.choice((0, 1, 1, 1, 2)),
            *rng.sample([PriceEntry(name, 0.25, is_last=False), FlowEntry(name, flow)], rng.randrange(3)),
            *([began] if rng.random() < 0.3 else []),  # its end came from the journal before it
            *rng.sample([PriceEntry(name, 0.5), FlowEntry(name, flow)], rng.randrange(2)),
            *([ScoreEntry(score(name))] if rng.random() < 0.1 else []),
        ]
        found.append(of_run)
    mixed: list[Entry] = []
    while any(found):
        mixed.append(rng.choice([one for one in found if one]).pop(0))
    return mixed


def rows_of(store: Store, prefix: str) -> list[dict[str, object]]:
    """Return the rows of the runs with a prefix, which are the same for all prefixes."""
    query = select(run).where(run.c.run_id.startswith(f"{prefix}-")).order_by(run.c.run_id)
    found = [dict(row._asdict()) for row in store._connections.execute(query)]
    for row in found:
        row["run_id"], row["stream"] = str(row["run_id"])[len(prefix) :], None
        row["grade_until"] = row["grade_until"] is None
    return found


def pieces(entries: Sequence[Entry], rng: random.Random) -> list[Sequence[Entry]]:
    cuts = sorted(rng.sample(range(1, len(entries)), min(3, len(entries) - 1)))
    return [entries[a:b] for a, b in zip([0, *cuts], [*cuts, len(entries)], strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_leaves_what_its_entries_leave_one_by_one(store: Store, seed: int) -> None:
    with store.transaction() as transaction:
        transaction.beat()
    left = []
    for prefix in ("one", "all"):
        rng = random.Random(seed)
        batches = pieces(entries_of(rng, prefix, 6), rng)
        homeless: list[Entry] = []
        for batch in batches:
            if prefix == "all":
                homeless += store.write_entries(batch)
            else:
                for entry in batch:
                    with store.transaction() as transaction:
                        homeless += [] if transaction.write_entry(entry) else [entry]
        left.append(sorted(type(entry).__name__ for entry in homeless))
    assert rows_of(store, "all") == rows_of(store, "one")
    assert rows_of(store, "all")
    assert left[0] == left[1]


def test_the_streams_of_a_batch_go_on_behind_its_runs(store: Store) -> None:
    with store.transaction() as transaction:
        name, index = transaction.take_stream("e1", "test", block=8)
    starts: list[Entry] = [
        StartEntry(start(f"r{place}"), planned(assignment=evolve(ASSIGNED, stream=name, index=place)), "p")
        for place in (index, index + 2, index + 1)
    ]
    store.write_entries(starts)
    with store.transaction() as transaction:
        transaction.end_process(store.process.id)
        assert transaction.take_stream("e1", "test", block=1) == (name, index + 3)


def test_what_the_database_refuses_leaves_nothing_of_its_batch(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.beat()
    bad: list[Entry] = [EndEntry(finished("good")), EndEntry(finished("bad", duration_seconds=float("nan")))]
    with pytest.raises(StoreError):
        store.write_entries(bad)
    assert store.run("good") is None


def test_a_run_that_was_judged_takes_no_flow_from_a_batch(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.beat()
    store.write_entries([EndEntry(finished("r1", flow=None))])
    with store.transaction() as transaction:
        transaction.number_runs(*KEY, 10)
    late = FlowEntry("r1", RunFlow(open={"a": ("custom",)}))
    assert store.write_entries([late]) == [late]
    found = store.run("r1")
    assert found is not None
    assert found.flow is None


def test_a_host_that_writes_and_a_judge_that_numbers_do_not_wait_for_each_other_for_ever(store: Store) -> None:
    """Both lock runs that ended: in another order each would hold what the other waits for."""
    rng = random.Random(3)
    with store.transaction() as transaction:
        transaction.beat()
    errors: list[BaseException] = []

    def judge() -> None:
        try:
            for _ in range(40):
                with store.transaction() as transaction:
                    transaction.number_runs(*KEY, 50)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=judge)
    thread.start()
    for batch in range(40):
        names = [f"{rng.random()}" for _ in range(10)]
        store.write_entries([EndEntry(finished(name, flow=None), 30.0) for name in names])
        flows: list[Entry] = [FlowEntry(name, RunFlow(), is_last=batch % 2 == 0) for name in names]
        store.write_entries(rng.sample(flows, len(flows)))
    thread.join()
    assert errors == []


def test_a_late_start_and_what_completes_the_run_are_written_in_one_call(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.beat()
    store.write_entries([EndEntry(finished("r1", flow=None), 30.0)])
    flow = RunFlow(open={"a": ("custom",)})
    assert store.write_entries([StartEntry(start("r1"), planned(), "p"), FlowEntry("r1", flow)]) == []
    found = store.run("r1")
    assert found is not None
    assert (found.status, found.flow) == ("finished", flow)


def test_a_start_and_the_end_after_it_are_one_row_to_write() -> None:
    batch = RunBatch.of([StartEntry(start(), planned(), "p"), EndEntry(finished()), PriceEntry("r1", 0.5)], "p")
    assert (batch.starts, list(batch.ends), batch.parts) == ({}, ["r1"], {})
    assert batch.ends["r1"]["cost_usd"] == 0.5
