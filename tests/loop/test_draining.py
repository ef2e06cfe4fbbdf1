"""Whatever is in the journal of a process comes into the store, however much it is and whenever it was added."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning import store_work
from victor_autotune_plugin._tuning.writer import Item
from victor_autotune_plugin.storage.journal import EndEntry
from victor_autotune_testing.simulated import SPEC, Simulation


def ends(number: int) -> list[EndEntry]:
    return [EndEntry(TeamRun(uuid.uuid4().hex, SPEC, 1.0, 1.0, True, 1.0), None) for _ in range(number)]


def test_many_pieces_are_drained_whole(tmp_path: Path) -> None:
    team = Simulation(tmp_path)
    number = 3 * store_work.BACKLOG_ROWS + 7
    team.runtime.loop.files._journal.append(ends(number))
    team.runtime.loop.run_until_idle()
    assert len(list(team.store.finished_runs())) == number
    team.close()


def test_what_is_added_while_the_journal_is_read_is_drained_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Simulation(tmp_path)
    journal = team.runtime.loop.files._journal
    original = store_work._Backlog._write
    more = [ends(1), ends(1)]

    def write(self: Any, store: Any, piece: Sequence[Any]) -> None:
        original(self, store, piece)
        if more:
            journal.append(more.pop())

    monkeypatch.setattr(store_work._Backlog, "_write", write)
    journal.append(ends(5))
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
