"""Runs of a test that waited for their scores until it was decided: the watch sees them, and so does its replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.assignment import ASSIGNMENT_VERSION, OF_TEST, assign
from victor_autotune_plugin._model.experiment import Experiment, Phase
from victor_autotune_plugin._model.policy import Policy, WatchPolicy
from victor_autotune_plugin._model.score import Gate
from victor_autotune_plugin._tuning.judges import Judges, feed, new_judge, new_watch
from victor_autotune_plugin._tuning.record import Record
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage import Store, archive, importing
from victor_autotune_plugin.storage.archive import ExperimentRecord
from victor_autotune_testing.stored import SPEC, experiment, finished, score

KEY = SPEC.key
GATES = (Gate("tests"),)
LATE = (3, 8)
"""Places of the runs whose scores come after the verdict."""

STARTED = experiment(
    policy=Policy(scored=True),
    watch_policy=WatchPolicy(scored=True),
    assignment_version=ASSIGNMENT_VERSION,
    gates=GATES,
    task_effects={},
)


def ended(store: Store, phase: Phase, index: int) -> str:
    """Let a run of a phase end; the treatment is twice as fast."""
    shares = {"control": 0.02, "treatment": 0.98} if phase == "watch" else None
    arm = assign(f"{STARTED.seed}:{phase}", index, shares, stream="0")
    seconds = (10.0 if arm == "control" else 5.0) + 0.1 * (index % 7)
    place = {"phase": phase, "arm": arm, "stream": "0", "index": index, "task_key": None}
    figures: dict[str, Any] = {"duration_seconds": seconds, "timed_out": False, "cancelled": False, "tokens": ()}
    with store.transaction() as transaction:
        transaction.finish_run(finished(f"{phase}{index}", **place, **figures), None, None, GATES, 86_400.0)
    return arm


def scored(store: Store, *run_ids: str) -> None:
    """Let the scores of runs come, and number what is complete."""
    for run_id in run_ids:
        with store.transaction() as transaction:
            transaction.record_score(score(run_id, value=0.9))
            assert transaction.number_runs(*KEY, 10) == 1


def decided(store: Store) -> Experiment:
    """Run a test until its plan is proven, while two of its runs wait for their scores."""
    with store.transaction() as transaction:
        transaction.save_experiment(STARTED)
    judge, last = new_judge(STARTED), 0
    for index in range(200):
        ended(store, "test", index)
        if index not in LATE:
            scored(store, f"test{index}")
            last = feed(judge, store.observations("e1", "test")[index - sum(one < index for one in LATE) :]) or last
        if judge.is_final:
            break
    assert judge.verdict().status == "passed"
    proven = evolve(
        STARTED,
        status="proven",
        verdict=judge.verdict().to_dict(),
        decided_at=1.0,
        promoted_at=1.0,
        decided_order=last,
    )
    with store.transaction() as transaction:
        transaction.save_experiment(proven)
    return proven


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def seen(store: Store) -> list[tuple[str, str, str]]:
    return [(one.run_id, one.stream, one.arm) for one in store.live_observations("e1")]


def test_they_are_observed_under_the_watch_with_their_own_arm_among_its_runs(store: Store) -> None:
    proven = decided(store)
    assert seen(store) == []
    arms = [ended(store, "watch", index) for index in range(3)]
    scored(store, "watch0", "test8", "watch1", "test3", "watch2")
    test_arms = {index: assign(f"{STARTED.seed}:test", index, stream="0") for index in LATE}
    assert seen(store) == [
        ("watch0", "0", arms[0]),
        ("test8", f"{OF_TEST}e1:0", test_arms[8]),
        ("watch1", "0", arms[1]),
        ("test3", f"{OF_TEST}e1:0", test_arms[3]),
        ("watch2", "0", arms[2]),
    ]
    found = store.live_observations("e1")
    assert [one.score for one in found] == [0.9] * 5
    with store.reading() as transaction:
        for index, one in enumerate(found):
            assert transaction.live_observations("e1", one.order) == found[index + 1 :]
            assert transaction.live_observations("e1", up_to=one.order) == found[: index + 1]
    assert proven.decided_order is not None
    assert min(one.order for one in found) > proven.decided_order


def test_the_watch_counts_each_once_and_its_replay_says_the_same(store: Store) -> None:
    proven = decided(store)
    judges = Judges()

    def watched() -> dict[str, Any]:
        return judges.watch(Record(store, KEY), proven).verdict().to_dict()

    ended(store, "watch", 0)
    scored(store, "watch0")
    assert sum(watched()["runs"].values()) == 1
    ended(store, "watch", 1)
    scored(store, "test3", "watch1", "test8")
    verdict = watched()
    assert sum(verdict["runs"].values()) == 4
    assert verdict["ignored"] == {"duplicate": 0, "late": 0}
    with store.transaction() as transaction:
        transaction.save_experiment(evolve(proven, watch_verdict=verdict))
    (replayed,) = replay_all(store, store.experiments())
    assert (replayed.differences, replayed.same) == ({}, True)


def test_without_them_the_replay_would_differ(store: Store) -> None:
    proven = decided(store)
    scored(store, "test3", "test8")
    test = store.observations("e1", "test")
    watch = new_watch(proven, test)
    feed(watch, [])
    with store.transaction() as transaction:
        transaction.save_experiment(evolve(proven, watch_verdict=watch.verdict().to_dict()))
    (replayed,) = replay_all(store, store.experiments())
    assert list(replayed.differences) == ["watch verdict"]


def test_they_keep_their_place_in_another_store(store: Store) -> None:
    proven = decided(store)
    for index in range(2):
        ended(store, "watch", index)
    scored(store, "watch0", "test3", "watch1")
    verdict = Judges().watch(Record(store, KEY), proven).verdict().to_dict()
    with store.transaction() as transaction:
        transaction.save_experiment(evolve(proven, watch_verdict=verdict))
    record = ExperimentRecord.stored(store, store.experiments()[0])
    lines = [archive.to_line(one).encode() for one in (archive.header(), record)]
    with Store.in_memory() as other:
        importing.write(other, archive.read(lines, "a.jsonl"))
        assert seen(other) == seen(store)
        assert other.live_observations("e1") == store.live_observations("e1")
        assert [one.differences for one in replay_all(other, other.experiments())] == [{}]


def test_a_test_that_ended_without_a_live_plan_shows_them_to_nobody(store: Store) -> None:
    decided(store)
    with store.transaction() as transaction:
        transaction.save_experiment(experiment("e2", gates=GATES))
        one = finished("other", experiment_id="e2", phase="test", stream="0", index=0, cancelled=False)
        transaction.finish_run(one)
        transaction.number_runs(*KEY, 10)
        assert transaction.live_observations("e2") == []
