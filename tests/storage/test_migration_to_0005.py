"""A store of schema 0004 becomes one of 0005: everything is of the default environment, and ad-hoc teams have ids."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from attrs import evolve

from victor_autotune_plugin._model.data_flow import TeamFlow
from victor_autotune_plugin._model.experiment import Change
from victor_autotune_plugin._model.plan import ADHOC_WORKFLOW, MemberSpec, TeamPlan, TeamSpec, adhoc_team_id
from victor_autotune_plugin._model.quantities import DEFAULT_ENVIRONMENT
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.migrate import MIGRATIONS
from victor_autotune_testing.stored import SPEC, experiment, finished

PAIR = (MemberSpec("a"), MemberSpec("b"))
TRIO = (*PAIR, MemberSpec("c"))
EARLIER = TeamSpec(ADHOC_WORKFLOW, "research", "sequential", TRIO)
LAST = TeamSpec(ADHOC_WORKFLOW, "research", "sequential", PAIR)
UNNAMED = TeamSpec(ADHOC_WORKFLOW, "team-0123abcd", "parallel", PAIR)
PARALLEL = TeamPlan(formation="parallel")
NEW_ID = adhoc_team_id("research", ["a", "b"])


@pytest.fixture
def old(url: str) -> None:
    """A store whose tables went back to 0004, with runs of two member sets of one name."""
    with Store.open(url) as store:
        with store.transaction() as transaction:
            for number, spec in enumerate((EARLIER, LAST, UNNAMED, SPEC)):
                transaction.finish_run(
                    finished(f"r{number}", spec=spec, started_at=100.0 + number, experiment_id=None, arm=None)
                )
        with store.transaction() as transaction:
            of = {"workflow": ADHOC_WORKFLOW, "team_id": "research", "fingerprint": LAST.fingerprint()}
            test = experiment("e1", status="awaits_approval", **of)
            transaction.save_experiment(test)
            state = transaction.team(*LAST.key)
            transaction.save_team(
                evolve(state, plan=PARALLEL, fingerprint=LAST.fingerprint(), spec=LAST, experiment_id="e1")
            )
            transaction.add_change(Change(None, 50.0, *LAST.key, "promoted", "auto", "faster"))
            transaction.number_runs(*LAST.key, 10)
            lease = transaction.take_lease(*LAST.key, "judge", 5.0)
            assert lease is not None
            transaction.save_judged(*LAST.key, 2, TeamFlow())
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = store._connections.session().connection
        command.downgrade(config, "0004")


def test_the_rows_of_a_name_go_to_the_member_set_that_ran_last(old: None, url: str) -> None:
    key = (ADHOC_WORKFLOW, NEW_ID)
    renamed = evolve(LAST, team_id=NEW_ID)
    with Store.open(url) as store:
        state = store.team(*key)
        assert state is not None
        assert (state.plan, state.spec, state.experiment_id) == (PARALLEL, renamed, "e1")
        assert state.fingerprint == renamed.fingerprint()
        runs = list(store.runs(*key))
        assert {run.run_id: run.spec.member_ids for run in runs} == {"r0": ("a", "b", "c"), "r1": ("a", "b")}
        assert {run.spec.team_id for run in runs} == {NEW_ID}
        test = store.experiment("e1")
        assert test is not None
        assert (test.team_id, test.fingerprint) == (NEW_ID, renamed.fingerprint())
        assert [change.reason for change in store.changes(*key)] == ["faster"]
        with store.transaction() as transaction:
            lease = transaction.take_lease(*key, "judge", 5.0)
            assert lease is not None
            assert lease.judged == 2
        assert store.team(*LAST.key) is None


def test_a_team_without_a_name_and_one_of_a_workflow_keep_theirs(old: None, url: str) -> None:
    with Store.open(url) as store:
        assert [run.run_id for run in store.runs(*UNNAMED.key)] == ["r2"]
        assert [run.run_id for run in store.runs(*SPEC.key)] == ["r3"]


def test_everything_is_of_the_default_environment_and_nothing_is_paused(old: None, url: str) -> None:
    with Store.open(url, environment="staging") as store:
        assert list(store.runs()) == store.teams() == store.experiments() == store.changes() == []
        assert store.environments() == {DEFAULT_ENVIRONMENT: 3}
        assert store.identity().paused is False
    with Store.open(url, environment=DEFAULT_ENVIRONMENT) as store:
        assert {run.environment for run in store.runs()} == {DEFAULT_ENVIRONMENT}
        assert {run.run_id: dict(run.owners) for run in store.runs()} == {f"r{number}": {} for number in range(4)}
