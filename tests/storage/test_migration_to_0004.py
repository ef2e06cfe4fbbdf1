"""A store of schema 0003 becomes one of 0004: numbered, judged as far as it was, and what ran then is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.config import Config
from attrs import evolve
from sqlalchemy import text

from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.migrate import MIGRATIONS
from victor_autotune_testing.stored import SPEC, experiment, finished, observation, planned, start

KEY = SPEC.key
OTHER = evolve(SPEC, team_id="other")
RUNS = 6


@pytest.fixture
def old(url: str) -> Iterator[Store]:
    """A store whose tables went back to 0003, where some runs go on."""
    with Store.open(url) as store:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            transaction.save_team(evolve(transaction.team(*KEY), experiment_id="e1"))
            for index in range(RUNS):  # observed in the reverse order of their starts
                run = finished(f"r{index}", started_at=100.0 - index, index=index, phase="test", cancelled=index == 0)
                transaction.finish_run(run)
                transaction.add_observation("e1", "test", observation(f"r{index}", index=index))
            transaction.add_observation("e1", "watch", observation("never seen", index=0))
            for run_id in ("late", "lost", "runs"):
                transaction.start_run(start(run_id), planned(assignment=Assignment("e1", "test", "control", "", 90)))
        with store.transaction() as transaction:
            transaction.save_team(transaction.team(*OTHER.key))
            transaction.finish_run(finished("alone", spec=OTHER, experiment_id=None, arm=None))
            transaction.start_run(start("runs elsewhere", spec=OTHER), planned(assignment=None))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        session = store._connections.session()
        config.attributes["connection"] = session.connection
        command.downgrade(config, "0003")
        session.execute(text("UPDATE autotune_run SET status = 'running', host = 'h' WHERE run_id LIKE 'runs%'"))
        session.execute(text("UPDATE autotune_run SET status = 'lost' WHERE run_id IN ('late', 'lost')"))
        yield store


def test_what_was_there_is_there(old: Store, url: str) -> None:
    with Store.open(url) as store:
        assert {run.run_id: run.status for run in store.runs()} == {
            **{f"r{index}": "finished" for index in range(RUNS)},
            "late": "lost",
            "lost": "lost",
            "runs": "lost",
            "alone": "finished",
            "runs elsewhere": "lost",
        }
        assert store.observations("e1", "test") == [
            observation(f"r{index}", index=index, order=index + 1, models="") for index in range(RUNS)
        ]
        assert store.observations("e1", "watch") == [observation("never seen", order=RUNS + 1, models="")]
        assert [(state.team_id, state.version, state.revision) for state in store.teams()] == [
            (OTHER.team_id, 1, 0),
            (KEY[1], 1, 1),
        ]
        assert store.identity().revision == 1  # its test has ended
        with store.reading() as transaction:
            assert [run.run_id for run in transaction.runs_after(*KEY, 0, 100)] == ["r5", "r4", "r3", "r2", "r1", "r0"]
            assert [run.number for run in transaction.runs_of(*OTHER.key, 100)] == [1]


def test_all_of_it_is_judged_and_numbers_go_on_behind_its_orders(old: Store, url: str) -> None:
    with Store.open(url) as store, store.transaction() as transaction:
        assert transaction.untaken([KEY, OTHER.key]) == []
        lease = transaction.take_lease(*KEY, "judge", 5.0)
        assert lease is not None
        assert lease.judged == RUNS + 1
        assert transaction.runs_after(*KEY, lease.judged, 100) == []
        transaction.finish_run(finished("new", started_at=1.0, cancelled=False, phase="test", stream="0", index=0))
        transaction.finish_run(finished("also new", spec=OTHER, experiment_id=None, arm=None))
        assert (transaction.number_runs(*KEY, 10), transaction.number_runs(*OTHER.key, 10)) == (1, 1)
        assert [run.number for run in transaction.runs_after(*KEY, lease.judged, 100)] == [RUNS + 2]
        assert [one.run_id for one in transaction.observations("e1", "test", lease.judged)] == ["new"]
        assert [run.number for run in transaction.runs_of(*OTHER.key, 1)] == [2]


def test_a_run_that_an_older_version_ends_after_all_is_late(old: Store, url: str) -> None:
    with Store.open(url) as store:
        with store.transaction() as transaction:
            assert transaction.finish_run(finished("runs")) is True
            assert transaction.number_runs(*KEY, 10) == 0
        found = store.run("runs")
        assert found is not None
        assert found.status == "late"


def test_teams_that_were_saved_before_are_read_by_who_knows_none(old: Store, url: str) -> None:
    with Store.open(url) as store, store.transaction() as transaction:
        assert {state.key for state in transaction.changed_teams(-1)} == {KEY, OTHER.key}
        saved = transaction.save_team(transaction.team(*KEY))
        assert saved.revision == 2
        assert transaction.changed_teams(1) == [saved]
