"""What no run waits for is committed together with others, and on an idle host no run waits for it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning.loop import TuningLoop
from victor_autotune_plugin._tuning.writer import (
    END_GATHER_SECONDS,
    ENOUGH_ROWS,
    GATHER_SECONDS,
    NEVER,
    PART_COMMIT_SECONDS,
    CircuitBreaker,
    Item,
    WriterCore,
)
from victor_autotune_plugin.storage.journal import EndEntry
from victor_autotune_testing.simulated import SPEC, Simulation


def item(at: float, patience: float) -> Item:
    entry = EndEntry(TeamRun(uuid.uuid4().hex, SPEC, 1.0, 1.0, True, 1.0))
    return Item(entry, at, NEVER, patience=patience)


@pytest.fixture
def core() -> WriterCore:
    return WriterCore(CircuitBreaker(lambda: 0.0), lambda _count: None)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path)
    simulation.runtime.loop.run_until_idle()
    yield simulation
    simulation.close()


def test_it_is_wanted_when_the_least_patient_has_waited_long_enough(core: WriterCore) -> None:
    assert core.seconds_until_wanted(5.0) == math.inf
    core.submit(item(5.0, 0.1))
    assert core.seconds_until_wanted(5.04) == pytest.approx(0.06)
    core.submit(item(5.04, 0.01))
    assert core.seconds_until_wanted(5.04) == pytest.approx(0.01)
    core.submit(item(5.04, 0.0))
    assert core.seconds_until_wanted(5.04) == 0
    assert len(core.take(5.04)) == 3


def test_many_wait_for_no_more(core: WriterCore) -> None:
    for _ in range(ENOUGH_ROWS):
        assert core.seconds_until_wanted(1.0) > 0
        core.submit(item(1.0, 0.1))
    assert core.seconds_until_wanted(1.0) == 0


def test_an_end_waits_for_others_only_where_runs_end_side_by_side(core: WriterCore) -> None:
    assert core.patience_at_end(7.0, 3.0) == 0
    assert core.patience_at_end(7.02, 3.0) == END_GATHER_SECONDS
    assert core.patience_at_end(7.04, 0.02) == 0  # it began when that one had ended
    assert core.patience_at_end(8.0, 3.0) == 0


def test_a_start_that_no_run_waits_for_comes_with_the_next_commit_or_in_its_time(team: Simulation) -> None:
    loop: TuningLoop = team.runtime.loop
    team.start()
    (waiting,) = loop.core._for_store
    assert loop.store_work.step(waiting.at) <= GATHER_SECONDS
    assert list(team.store.runs()) == []
    loop.store_work.step(waiting.at + GATHER_SECONDS)
    assert [run.status for run in team.store.runs()] == ["running"]


def test_what_no_run_waits_for_is_committed_before_it_would_be_journaled() -> None:
    assert 2 * GATHER_SECONDS < PART_COMMIT_SECONDS


def test_with_an_entry_that_is_late_those_go_to_the_journal_that_will_be_soon(core: WriterCore) -> None:
    core.is_connected = True
    given = [evolved(item(at, 0.0), 0.05) for at in (10.0, 10.02, 10.03)]
    for one in given:
        core.submit(one)
    assert core.due(10.04) == []
    assert core.due(10.05) == given[:2]
    assert core.due(10.06) == []
    assert core.due(10.08) == given[2:]


def evolved(one: Item, journal_after: float) -> Item:
    one.journal_after = journal_after
    return one
