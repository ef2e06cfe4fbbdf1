"""A host that was slow, asleep, or cut off does not take what it knows for newer than it is, nor another's places."""

from __future__ import annotations

from pathlib import Path

import pytest

from victor_autotune_plugin._tuning.snapshot import stream_key
from victor_autotune_plugin._tuning.store_work import REFRESH_SECONDS, RESERVED_BLOCKS, SlotRequest
from victor_autotune_plugin._tuning.streams import StreamKey, Streams
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.snapshot_file import SnapshotFile
from victor_autotune_testing.simulated import Simulation


@pytest.fixture
def team(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, in_memory=True, scored=False, **{"experiment.min_history": 6})


def test_a_snapshot_is_as_old_as_the_question_for_it(team: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, clock = team.runtime.loop, team.stepped.clock
    identity = Store.identity

    def slow(store: Store) -> object:
        found = identity(store)
        clock.now += 40.0
        return found

    team.run()
    monkeypatch.setattr(Store, "identity", slow)
    loop.store_work.refresh(team.store, clock())  # which has nothing newer to tell
    assert loop.memory.age == 40.0
    team.runtime.manual.set_paused("flow", "team", True)
    loop.store_work.refresh(team.store, clock())
    assert loop.memory.snapshot.teams["flow", "team"].paused
    assert loop.memory.age == 40.0


def test_the_store_is_asked_for_news_between_what_takes_long(team: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    team.run_until("started")
    loop, clock = team.runtime.loop, team.stepped.clock
    experiment = loop.memory.snapshot.open_experiment(("flow", "team"))
    assert experiment is not None
    loop.store_work.step(clock())
    ages = []
    take = Streams.has

    def slow(streams: Streams, key: StreamKey) -> bool:
        clock.now += REFRESH_SECONDS
        ages.append(loop.memory.age)
        return take(streams, key)

    monkeypatch.setattr(Streams, "has", slow)
    loop.store_work.slot_requests.extend(SlotRequest.of(experiment) for _ in range(4))
    loop.store_work.step(clock())
    assert not loop.store_work.slot_requests
    assert len(ages) >= 4
    assert max(ages) <= 2 * REFRESH_SECONDS


def test_a_file_that_was_written_late_says_when_the_store_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Simulation(tmp_path, scored=False)
    clock, loop = team.stepped.clock, team.runtime.loop
    monkeypatch.setattr(loop.memory, "_clock", clock)
    loop.memory.confirm(clock())
    loop.store_work.refresh(team.store, 0.0)
    asked_at = clock()
    clock.now += 3600.0
    loop.files.step(0.0)
    found = list(tmp_path.rglob("autotune-snapshot*"))
    assert len(found) == 1
    saved = SnapshotFile(found[0].parent).load()
    assert saved is not None
    assert saved.taken_at == asked_at
    team.close()


def test_places_are_reserved_before_they_are_used(team: Simulation) -> None:
    team.run_until("started")
    memory, stage = team.runtime.loop.memory, ""
    for _ in range(60):
        run = team.run()
        experiment = memory.snapshot.open_experiment(run.spec.key)
        if experiment is None:
            break
        slot = memory.streams.of(stream_key(experiment))
        if slot is None:
            continue
        stage = experiment.stage
        assert slot.source == "store"
        assert slot.end is not None
        assert slot.end - slot.next_index > 0
        assert not slot.is_low  # more were reserved in time
        assert slot.reserved >= 2 * RESERVED_BLOCKS
    assert stage == "probation"  # which takes 7 blocks of 10 and more


def test_who_was_taken_for_dead_gives_no_place_that_is_anothers(team: Simulation) -> None:
    team.run_until("started")
    loop, clock = team.runtime.loop, team.stepped.clock
    used = {(run.stream, run.index) for run in (team.run() for _ in range(3))}
    experiment = loop.memory.snapshot.open_experiment(("flow", "team"))
    assert experiment is not None
    key = stream_key(experiment)
    slot = loop.memory.streams.of(key)
    assert slot is not None
    clock.now += 61.0
    other = Store(team.store._connections, None, "default")
    with other.transaction() as transaction:
        name, index = transaction.take_stream(key[0], key[1], block=4, stage=key[2])
    assert name == slot.name
    assert index == slot.end
    for _ in range(100):  # more than it has
        name, index = loop.memory.streams.take(key, None)
        assert (name, index) not in used
        used.add((name, index))
    assert max(index for name, index in used if name == slot.name) < slot.end
