"""A store of schema 0005 becomes one of 0006: nothing is known of any data flow, and all else is as it was."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config

from victor_autotune_plugin._model.data_flow import CONFIGURED, Edge, RunFlow, TeamFlow
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.migrate import MIGRATIONS
from victor_autotune_testing.stored import SPEC, experiment, finished

FLOW = RunFlow([Edge("a", "b", "files")])


@pytest.fixture
def old(url: str) -> None:
    """A store whose tables went back to 0005."""
    with Store.open(url) as store:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment("e1", status="failed", allowed_by="data_flow"))
            transaction.finish_run(finished("r1", flow=FLOW))
            transaction.number_runs(*SPEC.key, 10)
            transaction.save_judged(*SPEC.key, 1, TeamFlow().with_run("f", CONFIGURED, FLOW))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = store._connections.session().connection
        command.downgrade(config, "0005")


def test_what_was_stored_before_has_an_unknown_data_flow(old: None, url: str) -> None:
    with Store.open(url) as store:
        run, test = store.run("r1"), store.experiment("e1")
        assert run == finished("r1", number=1)
        assert test is not None
        assert (test.allowed_by, test.task_effects) == (None, experiment("e1").task_effects)
        assert store.data_flow(*SPEC.key) == TeamFlow()
        with store.transaction() as transaction:
            lease = transaction.take_lease(*SPEC.key, "judge", 5.0)
        assert lease is not None
        assert (lease.judged, lease.flow) == (1, TeamFlow())


def test_from_then_on_it_is_kept(old: None, url: str) -> None:
    grown = TeamFlow().with_run("f", CONFIGURED, FLOW)
    with Store.open(url) as store:
        with store.transaction() as transaction:
            transaction.finish_run(finished("r2", flow=FLOW))
            transaction.save_judged(*SPEC.key, 2, grown)
        run = store.run("r2")
        assert run is not None
        assert run.flow == FLOW
        assert store.data_flow(*SPEC.key) == grown
