"""What a page reads of many runs, on both databases."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from victor_autotune_plugin._model.experiment import TeamState
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.run_listing import ListedRun
from victor_autotune_plugin.storage.team_records import TeamRecords
from victor_autotune_testing.stored import SPEC, change, experiment, finished, planned, score, start


def write(store: Store, *runs: Any) -> None:
    with store.transaction() as transaction:
        for run in runs:
            transaction.finish_run(run)


def listed(store: Store, *arguments: Any) -> list[str]:
    return [run.run_id for run in store.listed_runs(*arguments)]


def test_a_listed_run_tells_what_the_run_was(store: Store) -> None:
    run = finished()
    write(store, run)
    (one,) = store.listed_runs()
    assert isinstance(one, ListedRun)
    assert (one.run_id, one.workflow, one.team_id) == (run.run_id, SPEC.workflow, SPEC.team_id)
    assert (one.started_at, one.seconds, one.cost_usd) == (run.started_at, run.duration_seconds, run.cost_usd)
    assert (bool(one.succeeded), bool(one.timed_out), bool(one.cancelled)) == (
        run.success,
        run.timed_out,
        run.cancelled,
    )
    assert (one.arm, one.phase, one.experiment_id, one.mode) == (run.arm, run.phase, run.experiment_id, run.mode)


def test_runs_come_by_their_start_over_pages(store: Store, monkeypatch: Any) -> None:
    monkeypatch.setattr("victor_autotune_plugin.storage.run_listing._PAGE", 2)
    ids = [f"r{number}" for number in range(5)]
    write(store, *(finished(name, started_at=100.0 + 10 * number) for number, name in enumerate(ids)))
    assert listed(store) == ids
    assert listed(store, 120.0) == ids[2:]


def test_a_run_that_goes_on_is_listed_without_an_end(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.start_run(start("r1"), planned())
    (one,) = store.listed_runs()
    assert (one.status, one.seconds, one.succeeded) == ("running", None, None)


def test_a_late_score_brings_its_run(store: Store) -> None:
    write(store, finished("r1", started_at=100.0), finished("r2", started_at=200.0))
    with store.transaction() as transaction:
        transaction.record_score(Score("r1", "rated", 0.5, "person", 1_000.0))
    assert listed(store, 150.0) == ["r2"]
    assert listed(store, 150.0, 900.0) == ["r1", "r2"]
    assert listed(store, 150.0, 1_001.0) == ["r2"]


def test_only_runs_of_the_environment_are_listed(store: Store) -> None:
    write(store, finished("r1"), finished("r2", environment="test"))
    assert listed(store.of("test")) == ["r2"]
    assert listed(store) == ["r1", "r2"]


def test_an_ended_run_tells_what_figures_need_of_it(store: Store) -> None:
    first, last = finished("r1", started_at=100.0), finished("r2", started_at=200.0, success=False, error_class="Down")
    write(store, first, last, finished("r3", environment="test"))
    with store.transaction() as transaction:
        transaction.start_run(start("r4"), planned())
    here = store.of(first.environment)
    found = here.last_runs(*SPEC.key, 9)
    assert [one.run_id for one in found] == ["r2", "r1"]
    assert found[::-1] == [one for one in here.listed_runs() if one.status == "finished"]
    for one, run in zip(found, (last, first), strict=True):
        assert (one.seconds, one.succeeded, one.plan) == (run.duration_seconds, run.success, run.plan_asked)
        assert (one.error_class, one.member_success_share) == (run.error_class, run.member_success_share)
        assert one.succeeded is run.success
        assert one.cancelled is run.cancelled
        assert one.timed_out is run.timed_out
    assert next(iter(here.last_runs(*SPEC.key, 1, finished=False))).succeeded is None
    assert [one.run_id for one in here.last_runs(*SPEC.key, 1)] == ["r2"]
    assert store.last_runs("other", SPEC.team_id, 9) == []


def test_every_write_that_a_page_shows_changes_the_pulse(store: Store) -> None:
    seen = [store.pulse()]

    def changed() -> bool:
        seen.append(store.pulse())
        return seen[-1] != seen[-2]

    assert not changed()
    with store.transaction() as transaction:
        transaction.start_run(start("r1"), planned())
    assert changed()
    write(store, finished("r1"))
    assert changed()
    with store.transaction() as transaction:
        state = transaction.save_team(TeamState(SPEC.workflow, SPEC.team_id, spec=SPEC))
    assert changed()
    with store.transaction() as transaction:
        transaction.record_score(Score("r1", "rated", 0.5, "person", 1_000.0))
    assert changed()
    with store.transaction() as transaction:
        transaction.save_team(evolve(state, paused=True))
    assert changed()
    with store.transaction() as transaction:
        transaction.pause_all(True)
    assert changed()
    assert not changed()


def test_teams_are_found_by_going_from_one_to_the_next(store: Store) -> None:
    teams = [("a", "x"), ("a", "y"), ("a b", "x"), ("b", "x")]
    runs = [
        finished(f"{number}{place}", spec=evolve(SPEC, workflow=flow, team_id=name), started_at=100.0 + place)
        for number, (flow, name) in enumerate(teams)
        for place in range(3)
    ]
    elsewhere = finished("z", spec=evolve(SPEC, workflow="b", team_id="y"), environment="test")
    also = finished("zz", spec=evolve(SPEC, workflow="a", team_id="x"), environment="test", started_at=500.0)
    write(store, *runs, elsewhere, also)
    with store.transaction() as transaction:  # this one goes on
        transaction.start_run(start("g", spec=evolve(SPEC, workflow="c", team_id="x"), started_at=7.0), planned())
    here = store.of(runs[0].environment)
    assert here.last_seen() == {**dict.fromkeys(teams, 102.0), ("c", "x"): 7.0}
    assert store.of("test").last_seen() == {("a", "x"): 500.0, ("b", "y"): elsewhere.started_at}
    assert store.of(None).last_seen()[("a", "x")] == 500.0
    assert store.environments() == {runs[0].environment: 5, "test": 2}
    assert (here.run_count("a", "x"), store.of(None).run_count("a", "x"), here.run_count("d", "x")) == (3, 4, 0)
    assert [one.run_id for one in here.last_runs("c", "x", 5, finished=False)] == ["g"]
    assert here.last_runs("c", "x", 5) == []


def test_an_empty_store_has_neither_teams_nor_environments(store: Store) -> None:
    assert (store.last_seen(), store.environments()) == ({}, {})


def test_what_is_read_of_many_teams_at_once_is_what_is_read_of_each(store: Store) -> None:
    other = evolve(SPEC, team_id="other")
    write(store, finished("r1"), finished("r2", spec=other))
    with store.transaction() as transaction:
        transaction.save_team(TeamState(*SPEC.key, spec=SPEC))
        transaction.save_experiment(experiment("e1", created_at=1.0))
        transaction.save_experiment(experiment("e2", created_at=2.0))
        transaction.add_change(change())
        transaction.record_score(score("r2"))
    here = store.of("default")
    at_once = TeamRecords(here)
    for key in (SPEC.key, other.key):
        assert at_once.experiments(*key) == here.experiments(*key)
        assert at_once.changes(*key) == here.changes(*key)
        assert at_once.data_flow(*key) == here.data_flow(*key)
        assert at_once.is_scored(*key, 5) == here.is_scored(*key, 5)
    assert [one.id for one in at_once.experiments(*SPEC.key)] == ["e2", "e1"]
    assert at_once.experiments() == here.experiments()
    assert at_once.changes() == here.changes()
    assert at_once.identity() == here.identity()
    assert at_once.last_seen() == here.last_seen() == TeamRecords(at_once, SPEC.key).last_seen()
    assert at_once.of(None).last_seen() == here.of(None).last_seen()
    assert at_once.environments() == here.environments()
