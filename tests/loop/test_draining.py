"""Whatever is in the journal of a process comes into the store, however much it is and whenever it was added."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning import store_work, writer
from victor_autotune_plugin._tuning.writer import Item
from victor_autotune_plugin.storage.journal import EndEntry, Entry, PriceEntry
from victor_autotune_testing.simulated import SPEC, Simulation


def ends(number: int) -> list[EndEntry]:
    return [EndEntry(TeamRun(uuid.uuid4().hex, SPEC, 1.0, 1.0, True, 1.0), None) for _ in range(number)]


def journaled(team: Simulation, entries: Sequence[EndEntry]) -> None:
    """Leave entries in the journal alone, as an outage does that lasts longer than the memory does."""
    loop = team.runtime.loop
    items = [Item(entry, 0.0, 0.0, is_kept=False) for entry in entries]
    loop.core.journaled(items, loop.files._journal.append(entries))


def test_many_pieces_are_drained_whole(tmp_path: Path) -> None:
    team = Simulation(tmp_path)
    number = 3 * store_work.BACKLOG_ROWS + 7
    journaled(team, ends(number))
    team.runtime.loop.run_until_idle()
    assert len(list(team.store.finished_runs())) == number
    team.close()


def test_what_is_added_while_the_journal_is_read_is_drained_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Simulation(tmp_path)
    original = store_work._Backlog._write
    more = [ends(1), ends(1)]

    def write(self: Any, store: Any, piece: Sequence[Any]) -> None:
        original(self, store, piece)
        if more:
            journaled(team, more.pop())

    monkeypatch.setattr(store_work._Backlog, "_write", write)
    journaled(team, ends(5))
    team.runtime.loop.run_until_idle()
    assert len(list(team.store.finished_runs())) == 7
    team.close()


def test_a_journal_that_is_nearly_full_is_told_before_anything_is_lost(tmp_path: Path) -> None:
    team = Simulation(tmp_path)
    team.runtime.loop.run_until_idle()
    loop = team.runtime.loop
    loop.files._journal._most_bytes = 20_000
    loop.core.is_connected = False
    told: list[bool] = []
    while loop.files._journal.size < 18_000:
        loop.core.submit(Item(ends(1)[0], 0.0, 0.0))
        loop.files.step(1.0)
        told.append(any(fault.where == "size of the journal" for fault in failsafe.seen()))
    assert told[0] is False
    assert told[-1] is True
    loop.run_until_idle()
    assert len(list(team.store.finished_runs())) == len(told)
    team.close()


def late(team: Simulation, entries: Sequence[Entry]) -> list[Item]:
    """Hand over entries that go to the journal before the store looks at them."""
    loop = team.runtime.loop
    items = [Item(entry, 0.0, 0.0) for entry in entries]
    for item in items:
        loop.core.submit(item)
    loop.files.step(1.0)
    assert all(item.settled.is_set for item in items)
    return items


def test_what_is_journaled_is_committed_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team = Simulation(tmp_path)
    loop = team.runtime.loop
    loop.run_until_idle()
    late(team, ends(3))
    monkeypatch.setattr(store_work, "read", None)
    assert not loop.is_idle
    loop.run_until_idle()
    assert len(list(team.store.finished_runs())) == 3
    with team.store.reading() as transaction:
        assert transaction.drained(loop.process.id) == 3
    assert not loop.files._journal.path.exists()
    team.close()


def test_what_is_in_the_journal_alone_is_read_and_what_completes_it_waits(tmp_path: Path) -> None:
    team = Simulation(tmp_path)
    loop = team.runtime.loop
    loop.run_until_idle()
    first, second = ends(2)
    alone = Item(evolve(first, grade_seconds=60.0), 0.0, 0.0, is_kept=False)
    loop.core.journaled([alone], loop.files._journal.append([alone.entry]))
    late(team, [second, PriceEntry(first.run.run_id, 0.5)])
    loop.run_until_idle()
    assert {run.run_id: run.cost_usd for run in team.store.finished_runs()} == {
        first.run.run_id: 0.5,
        second.run.run_id: None,
    }
    team.close()


def test_an_outage_keeps_no_more_in_memory_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_KEPT", 4)
    team = Simulation(tmp_path)
    loop = team.runtime.loop
    loop.run_until_idle()
    loop.core.breaker.failed(0.0)
    items = late(team, ends(7))
    assert [item.is_kept for item in items] == [False] * 3 + [True] * 4
    loop.core.breaker.succeeded()
    loop.run_until_idle()
    assert len(list(team.store.finished_runs())) == 7
    assert not loop.files._journal.path.exists()
    team.close()


def test_nothing_is_left_behind_by_a_process_that_closes_at_once(tmp_path: Path) -> None:
    team = Simulation(tmp_path)
    loop = team.runtime.loop
    loop.run_until_idle()
    for _ in range(2):  # the store is not told of the second one for a second
        late(team, ends(1))
        loop.run_until_idle()
    assert loop.files._journal.path.exists()
    team.close()
    assert not loop.files._journal.path.exists()


def test_what_a_fault_takes_from_memory_is_read_from_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Simulation(tmp_path)
    loop = team.runtime.loop
    loop.run_until_idle()
    late(team, ends(2))
    original = store_work.StoreWork._write
    monkeypatch.setattr(store_work.StoreWork, "_write", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        loop.store_work.step(1.0)
    monkeypatch.setattr(store_work.StoreWork, "_write", original)
    loop.run_until_idle()
    assert len(list(team.store.finished_runs())) == 2
    team.close()
