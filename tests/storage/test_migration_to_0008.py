"""A store of schema 0007 becomes one of 0008: the share of members that succeeded is no score any more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from attrs import evolve
from sqlalchemy import text

from victor_autotune_plugin._model.data_flow import TeamFlow
from victor_autotune_plugin._model.score import Gate
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.migrate import MIGRATIONS
from victor_autotune_testing.stored import SPEC, change, experiment, finished, missing, observation, score

KEY = SPEC.key
GATES = (Gate("tests"),)
GATED = finished("gated", cancelled=False, phase="test", stream="0", index=0, trace_id="t")
BARE = finished("bare", cancelled=False, phase="test", stream="0", index=1, member_success_share=0.1 + 0.2)

Back = Callable[[Store], Any]


@pytest.fixture
def old(url: str) -> Back:
    """Take a store's tables back to 0007, and return what reads them."""

    def back(store: Store) -> Callable[[str], list[dict[str, Any]]]:
        session = store._connections.session()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = session.connection
        command.downgrade(config, "0007")
        return lambda query: [dict(row._mapping) for row in session.execute(text(query))]

    return back


def fill(store: Store) -> None:
    earlier = observation("old", member_success_share=0.125), missing("gone")
    new = observation("new", index=1, member_success_share=None, score=0.75, success=False)
    with store.transaction() as transaction:
        transaction.save_experiment(experiment(reference=(*earlier, new), gates=GATES, decided_order=3))
        transaction.save_experiment(experiment("bare"))
        transaction.save_team(evolve(transaction.team(*KEY), gates=GATES))
        transaction.finish_run(GATED, None, None, GATES, 86_400.0)
        transaction.finish_run(BARE)
        transaction.record_score(score("gated", value=0.5))
        transaction.add_change(change())
        transaction.add_change(change(action="judge_trusted"))
        assert transaction.number_runs(*KEY, 10) == 2


def test_what_a_store_of_0007_called_a_score_is_the_share_of_members_that_succeeded(url: str, old: Back) -> None:
    with Store.open(url) as store:
        fill(store)
        before, seen = [*store.runs()], store.observations("e1", "test")
        old(store)
    with Store.open(url) as store:
        for run in before:
            assert store.run(run.run_id) == evolve(run, score=None, trace_id="")
        assert store.observations("e1", "test") == [evolve(one, score=None) for one in seen]
        assert {one.member_success_share for one in seen} == {2 / 3, 0.1 + 0.2}
        found = store.experiment("e1")
        assert found is not None
        assert found == experiment(
            reference=(
                observation("old", member_success_share=0.125),
                missing("gone", member_success_share=0.0),
                observation("new", index=1, member_success_share=0.0, success=False),
            )
        )
        assert store.experiment("bare") == experiment("bare")
        assert [one.gates for one in store.teams()] == [()]
        assert (store.scores_of("gated"), [one.action for one in store.changes()]) == ([], ["promoted"])


def test_back_at_0007_it_is_called_a_score_again(url: str, old: Back) -> None:
    with Store.open(url) as store:
        fill(store)
        read = old(store)
        runs = read("SELECT run_id, score FROM autotune_run ORDER BY run_id")
        (reference,) = read("SELECT reference FROM autotune_experiment WHERE reference IS NOT NULL")
        tables = read("SELECT * FROM autotune_team") + read("SELECT * FROM autotune_experiment")
    assert runs == [{"run_id": "bare", "score": 0.1 + 0.2}, {"run_id": "gated", "score": 2 / 3}]
    assert [run["score"] for run in json.loads(reference["reference"])] == [0.125, 0.0, 0.0]
    assert not {"gates", "decided_order"} & {name for row in tables for name in row}


def test_a_migrated_store_takes_scores(url: str, old: Back) -> None:
    with Store.open(url) as store:
        old(store)
    with Store.open(url) as store:
        with store.transaction() as transaction:
            transaction.finish_run(GATED, None, None, GATES, 86_400.0)
            assert transaction.number_runs(*KEY, 10) == 0
            transaction.record_score(score("gated", value=0.5))
            assert transaction.number_runs(*KEY, 10) == 1
        assert [one.score for one in store.observations("e1", "test")] == [0.5]


def test_a_team_whose_timeout_was_written_as_a_whole_number_keeps_its_plan(url: str, old: Back) -> None:
    """Its fingerprint was that of `60`, and every process computes that of `60.0` now."""
    spec = evolve(SPEC, timeout_seconds=60)
    plain = json.loads(json.dumps({**spec.to_dict(), "timeout_seconds": 60}))
    digest = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    written = hashlib.sha256(digest.encode()).hexdigest()[:16]
    with Store.open(url) as store:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment("whole", fingerprint=written))
            state = evolve(transaction.team(*KEY), spec=spec, fingerprint=written, live_id="whole")
            transaction.save_team(state)
            transaction.take_lease(*KEY, "judge", 1.0)
            transaction.save_judged(*KEY, 0, TeamFlow(fingerprint=written))
        old(store)
    assert written != spec.fingerprint()
    with Store.open(url) as store:
        (found,) = store.teams()
        assert (found.fingerprint, found.live_id) == (spec.fingerprint(), "whole")
        whole = store.experiment("whole")
        assert whole is not None
        assert whole.fingerprint == spec.fingerprint()
        assert store.data_flow(*KEY).fingerprint == spec.fingerprint()
