"""A history whose old runs went travels as any other, and nothing is counted twice where it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage import Store, archive, importing
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation
from victor_autotune_testing.stored import score

KEPT = 30


def lines_of(store: Store) -> list[bytes]:
    """The archive of a store, as `export` writes it."""
    items: list[archive.Item] = [
        *store.changes(),
        *store.day_totals(),
        *store.finished_runs(),
        *store.scores(),
        *(archive.ExperimentRecord.stored(store, one) for one in store.experiments()[::-1]),
        *store.teams(),
    ]
    return [archive.to_line(one).encode() for one in (archive.header(), *items)]


def read_into(store: Store, lines: list[bytes]) -> importing.Imported:
    return importing.write(store, archive.read(lines, "archive"))


def prune(store: Store, kept: int = KEPT) -> None:
    with store.reading() as transaction:
        (bound,) = transaction.prune_bounds(*SPEC.key, kept, None, always=kept)
    with store.transaction() as transaction:
        assert transaction.prune(*SPEC.key, bound, 0, 10_000).removed


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path, in_memory=True)
    simulation.run_until("promoted")
    simulation.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    simulation.run_until("rolled_back", most=60)
    yield simulation
    simulation.close()


def test_totals_and_decisions_are_the_same_elsewhere(team: Simulation, store: Store) -> None:
    prune(team.store)
    here, there = team.store, store.of(team.runtime.environment)
    done = read_into(there, lines_of(here))
    assert done.days == len(list(here.day_totals())) > 0
    assert list(there.day_totals()) == list(here.day_totals())
    assert [run.run_id for run in there.finished_runs()] == [run.run_id for run in here.finished_runs()]
    assert there.counts()["observations"] == here.counts()["observations"]
    assert all(one.same for one in replay_all(there, there.experiments()))
    again = read_into(there, lines_of(here))
    assert (again.days, again.duplicate_days, again.runs, again.scores, again.old_runs) == (0, done.days, 0, 0, 0)


def test_an_archive_from_before_the_pruning_brings_nothing_back(team: Simulation) -> None:
    before = lines_of(team.store)
    runs = team.store.counts()["runs"]
    prune(team.store)
    kept, totals, scores = team.store.counts(), list(team.store.day_totals()), list(team.store.scores())
    done = read_into(team.store, before)
    assert done.old_runs == runs - kept["runs"]
    assert (done.runs, done.scores, done.days) == (0, 0, 0)
    assert team.store.counts() == kept
    assert list(team.store.day_totals()) == totals
    assert list(team.store.scores()) == scores


def test_an_import_that_was_interrupted_after_the_totals_goes_on(team: Simulation, store: Store) -> None:
    *_, oldest = team.store.finished_runs()
    with team.store.transaction() as transaction:
        transaction.record_score(score(oldest.run_id, source="person", cost_usd=None))
    prune(team.store)
    lines, there = lines_of(team.store), store.of(team.runtime.environment)
    first_run = next(number for number, line in enumerate(lines) if line.startswith(b'{"run"'))
    read_into(there, lines[:first_run])
    done = read_into(there, lines)
    assert (done.old_runs, done.days) == (0, 0)
    assert list(there.finished_runs()) == list(team.store.finished_runs())
    assert there.run(oldest.run_id) is not None
    assert list(there.scores()) == list(team.store.scores())
    assert list(there.day_totals()) == list(team.store.day_totals())


def test_totals_of_runs_that_are_here_in_full_are_left_out(team: Simulation, store: Store) -> None:
    there = store.of(team.runtime.environment)
    read_into(there, lines_of(team.store))
    runs = there.counts()["runs"]
    prune(team.store)
    done = read_into(there, lines_of(team.store))
    assert (done.days, done.duplicate_days) == (0, len(list(team.store.day_totals())))
    assert there.counts()["runs"] == runs
    assert list(there.day_totals()) == []


def test_one_without_totals_still_reads(team: Simulation, store: Store) -> None:
    lines = [line for line in lines_of(team.store) if not line.startswith(b'{"day"')]
    assert read_into(store.of(team.runtime.environment), lines).days == 0


def test_a_day_that_is_not_as_it_should_be_is_named(team: Simulation, store: Store) -> None:
    prune(team.store)
    first = next(team.store.day_totals())
    wrong = archive.to_line({"day": {**first.to_dict(), "runs": -1}}).encode()
    with pytest.raises(archive.ArchiveError, match="runs"):
        read_into(store, [archive.to_line(archive.header()).encode(), wrong])
