"""Who names a time to settle waits for a store that is away, too; the end of a process does not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

import pytest

from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.simulated import Simulation


def gone(_store: Any, _entries: Sequence[Any]) -> Never:
    raise StoreUnavailableError("gone")


def ran_in_an_outage(project: Path, patch: pytest.MonkeyPatch) -> Simulation:
    team = Simulation(project)
    team.runtime.start(10)
    team.run()
    assert team.runtime.settle(30)
    patch.setattr(Store, "write_entries", gone)
    patch.setattr(team.stepped, "work", lambda: None)
    team.run()
    deadline = time.monotonic() + 30
    while not team.runtime.loop.core.breaker.is_open and time.monotonic() < deadline:
        time.sleep(0.01)
    return team


def test_it_waits_for_the_store_as_long_as_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        team = ran_in_an_outage(tmp_path, patch)
        assert team.runtime.settle()
        assert not team.runtime.settle(0.2)
    assert team.runtime.settle(30)
    assert len(list(team.store.finished_runs())) == 2
    team.close()


def test_the_end_of_a_process_waits_for_no_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team = ran_in_an_outage(tmp_path, monkeypatch)
    begun = time.monotonic()
    team.runtime.close(20.0)
    assert time.monotonic() - begun < 5.0
    team.runtime.loop.files._journal.close()  # as its end does that the process would come to
    monkeypatch.undo()
    later = Simulation(tmp_path)
    later.runtime.loop.run_until_idle()
    assert len(list(later.store.finished_runs())) == 2
    later.close()
