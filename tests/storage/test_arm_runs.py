"""Runs of experiments as columns, on both databases."""

from __future__ import annotations

import math

from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage import arm_runs as room
from victor_autotune_plugin.storage.team_records import TeamRecords
from victor_autotune_testing.stored import experiment, finished

USED = [TokenUse("big", 900, 150, provider="acme"), TokenUse("small", 100, 50, provider="acme")]


def fill(store: Store, ids: tuple[str, ...] = ("e1", "e2")) -> None:
    with store.transaction() as transaction:
        for one in ids:
            transaction.save_experiment(experiment(one))
    for one in ids:
        for index in range(4):
            run = finished(
                f"{one}-{index}", experiment_id=one, arm=("control", "treatment")[index % 2], phase="test", stream="0",
                index=index, cancelled=index == 3, timed_out=False, duration_seconds=10.0 + index,
                tokens=USED if index else [], cost_usd=None if index == 1 else 0.5, score=0.25 if index else None,
            )  # fmt: skip
            with store.transaction() as transaction:
                transaction.finish_run(run)
    with store.transaction() as transaction:
        spec = finished().spec
        transaction.number_runs(spec.workflow, spec.team_id, 100)


def test_each_experiment_has_its_finished_runs_in_order(store: Store) -> None:
    fill(store)
    found = store.arm_runs(["e1", "e2", "unknown"])
    assert list(found) == ["e1", "e2"]
    one = found["e2"]
    assert len(one) == 3  # the cancelled one tells nothing
    assert one.treated.tolist() == [False, True, False]
    assert one.durations.tolist() == [10.0, 11.0, 12.0]
    assert one.position.tolist() == [0, 1, 2]
    assert (one.streams, one.stream.tolist()) == (("0",), [0, 0, 0])
    assert not one.verified.any()


def test_tokens_are_added_up_by_the_database_and_what_is_unknown_is_no_number(store: Store) -> None:
    fill(store, ("e1",))
    one = store.arm_runs(["e1"])["e1"]
    assert one.tokens[1:].tolist() == [1200.0, 1200.0]
    assert math.isnan(one.tokens[0])
    assert math.isnan(one.costs[1])
    assert one.costs[2] == 0.5
    assert math.isnan(one.scores[0])


def test_many_experiments_are_asked_for_in_parts(store: Store) -> None:
    fill(store)
    ids = [f"none-{number}" for number in range(2 * room.MOST_IDS)]
    assert set(store.arm_runs([*ids, "e1", *ids, "e2"])) == {"e1", "e2"}
    assert store.arm_runs([]) == {}


def test_what_a_watch_has_seen_is_counted_alike_by_the_database_and_from_runs_that_were_read(store: Store) -> None:
    fill(store, ("e1", "e2"))
    watched = [
        finished(f"w{index}", experiment_id="e1", arm=arm, phase="watch", stream="0", index=index, cancelled=index == 4)
        for index, arm in enumerate(("treatment", "treatment", "control", "treatment", "treatment"))
    ]
    with store.transaction() as transaction:
        for run in watched:
            transaction.finish_run(run)
    with store.transaction() as transaction:
        transaction.number_runs(watched[0].spec.workflow, watched[0].spec.team_id, 100)
    last = int(store.arm_runs(["e1"])["e1"].order[1])  # of the test's three runs that ended one is behind it
    records = TeamRecords(store)
    records.arm_runs(["e1", "e2"])
    for decided, later, found in (
        (None, [], {"control": 1, "treatment": 3}),
        (last, [], {"control": 2, "treatment": 3}),
        (None, ["e2"], {"control": 1, "treatment": 5}),  # two of that test's runs had its control, which is this plan
        (last, ["e2", "none"], {"control": 2, "treatment": 5}),
    ):
        assert store.live_counts("e1", decided, later) == found
        assert records.live_counts("e1", decided, later) == found
        assert TeamRecords(store).live_counts("e1", decided, later) == found
    assert store.has_live_runs("e1", None, 4)
    assert not store.has_live_runs("e1", None, 5)
    assert store.has_live_runs("e1", last, 5)
    assert not store.has_live_runs("e1", last, 6)
    assert not store.has_live_runs("none", None, 1)
    assert store.live_counts("none") == {"control": 0, "treatment": 0}
