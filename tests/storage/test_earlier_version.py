"""A store and exports that 0.1.0 wrote, read by this version; `tests/data/v0_1_0/make.py` made them and says how."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from attrs import evolve
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.engine import Connection

from victor_autotune_plugin._model.assignment import ASSIGNMENT_VERSION
from victor_autotune_plugin._model.experiment import Phase
from victor_autotune_plugin._model.policy import Policy, WatchPolicy
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage import Store, archive, importing
from victor_autotune_plugin.storage.former_states import REASON
from victor_autotune_plugin.storage.migrate import upgrade

DATA: Final = Path(__file__).parents[1] / "data" / "v0_1_0"
EXPECTED: Final[dict[str, Any]] = json.loads((DATA / "expected.json").read_text())
EXPORTS: Final = sorted(EXPECTED["imports"])


def written_by_0_1_0(url: str, folder: Path) -> None:
    """Put the store of 0.1.0 where a URL leads."""
    copy = folder / "written_by_0_1_0.db"
    shutil.copy(DATA / "autotune.db", copy)
    if url.startswith("sqlite"):
        place = Path(url.removeprefix("sqlite:///"))
        place.parent.mkdir()
        copy.rename(place)
        return
    tables, here = MetaData(), MetaData()
    source, target = create_engine(f"sqlite:///{copy}"), create_engine(url)
    with source.connect() as read, target.begin() as write:
        here.reflect(write)
        here.drop_all(write)
        upgrade(write, "0002")
        tables.reflect(write)
        for name, table in tables.tables.items():
            if name != "autotune_alembic_version":
                names = ", ".join(column.name for column in table.columns)
                rows = [dict(row) for row in read.execute(text(f"SELECT {names} FROM {name}")).mappings()]
                flags = [column.name for column in table.columns if str(column.type) == "BOOLEAN"]
                for row in rows:
                    row.update({flag: None if row[flag] is None else bool(row[flag]) for flag in flags})
                write.execute(table.insert(), rows)
        write.execute(
            text("SELECT setval(pg_get_serial_sequence('autotune_change', 'id'), max(id)) FROM autotune_change")
        )
    source.dispose()
    target.dispose()


@pytest.fixture
def old_url(url: str, tmp_path: Path) -> str:
    written_by_0_1_0(url, tmp_path)
    return url


def renamed(change: dict[str, Any]) -> dict[str, Any]:
    """A line of the history as this version says it: a harmful test failed, where 0.1.0 said that it was rejected."""
    change = {**change, **DEFAULT, "by": None}
    return {**change, "action": "failed"} if change["action"] == "rejected" else change


DEFAULT = {"environment": "default"}
"""Where everything of 0.1.0 belongs."""


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def observed(store: Store, experiment_id: str, phase: Phase) -> list[dict[str, Any]]:
    found = store.observations(experiment_id, phase)
    assert {(one.stream, one.missing, one.models, one.score) for one in found} <= {("", "", "", None)}
    new = ("stream", "missing", "models", "member_success_share")
    return [
        {
            **{name: value for name, value in one.to_dict().items() if name not in new},
            "score": one.member_success_share,  # which 0.1.0 called so
            "experiment_id": experiment_id,
            "phase": phase,
        }
        for one in found
    ]


def migrated(counts: dict[str, int]) -> dict[str, int]:
    """Counts of 0.1.0 after the migration: what ran then is lost, and nothing rests on assignments any more.

    Open tests have ended, which the history says, and two plans are verified.
    """
    kept = {name: value for name, value in counts.items() if name != "assignments"}
    lost = {"runs_running": 0, "runs_lost": counts["runs_lost"] + counts["runs_running"], "runs_late": 0}
    experiments = {"experiments": counts["experiments"] + len(LIVE), "experiments_open": len(LIVE)}
    return kept | lost | experiments | {"changes": counts["changes"] + len(RUNNING)}


def migrated_run(run: dict[str, Any]) -> dict[str, Any]:
    unknown = dict.fromkeys(("cached_tokens", "cache_write_tokens", "reasoning_tokens"), 0)
    other = {**unknown, "provider": "", "context_tokens": 0, "unreported_calls": 0}
    tokens = [{**use, **other} for use in run.get("tokens", ())]
    ended: dict[str, Any] = {}
    if run["status"] == "finished":
        share = {"member_success_share": run["score"], "score": None, "trace_id": ""}
        # Nobody timed what a member's time was made of.
        timed = {"begun_after": None, "model_seconds": None, "tool_seconds": None, "in_flight": 1.0}
        members = [{**member, **timed} for member in run.get("members", ())]
        ended = {
            "members": members,
            "stream": None,
            "owners": {},
            "flow": None,
            **DEFAULT,
            "tokens": tokens,
            **unknown,
            **share,
        }
    return {**run, **ended, "status": "lost" if run["status"] == "running" else run["status"]}


def migrated_team(state: dict[str, Any]) -> dict[str, Any]:
    """A team after the migration; its revision is left out."""
    live_id = f"{LIVE[state['team_id']]}-live" if state["team_id"] in LIVE else None
    ended = {None, *RUNNING.values(), *LIVE.values()}
    assert state["experiment_id"] in ended
    return {**state, **DEFAULT, "experiment_id": None, "live_id": live_id, "gates": []}


def migrated_experiment(before: dict[str, Any]) -> dict[str, Any]:
    """An experiment after the migration; when it ended is left out where that was by the migration."""
    new = {
        **dict.fromkeys(("prices", "allowed_by", "asks_for", "proven_by", "control_id", "decided_order")),
        "gates": [],
        "bad_before": [0, 0],
        "reference": [],
        "promotion": "proof",
        "rounds": 0,
    }
    policy = {**Policy().to_dict(), **before["policy"]}
    watch_policy = {**WatchPolicy().to_dict(), **before["watch_policy"], "rule": "reference"}
    status = STATES_OF_TODAY.get(before["status"], before["status"])
    if before["status"] == "draft":
        policy["rule"] = "signed_rank"
        watch_policy |= {"rule": "sentinel", "holdback": 0.02, "max_runs": 200}
        new["assignment_version"] = ASSIGNMENT_VERSION
    return {**before, **DEFAULT, **new, "policy": policy, "watch_policy": watch_policy, "status": status}


STATES_OF_TODAY = {
    "draft": "awaits_approval",
    "running": "aborted",
    "watched": "superseded",
    "settled": "superseded",
}
RUNNING = {
    "testing": "cd613e30d8f1",
    "tickets": "1e2feb89414c",
    "paused": "cd447e35b8b6",
    "by_hand": "ad45f23d3b1a",
}
"""The tests that were open, by team."""

LIVE = {"watched": "025b413f8a9a", "settled": "afbd67f96196"}
"""The tests whose plans were live, by team."""


def verifies_the_plan(store: Store, team_id: str) -> None:
    """Check the experiment that a live plan is verified by: it has the runs of the test and of the watch."""
    proof, live = store.experiment(LIVE[team_id]), store.experiment(f"{LIVE[team_id]}-live")
    state = store.team("flow", team_id)
    assert proof is not None
    assert live is not None
    assert state is not None
    assert (state.live_id, state.plan) == (live.id, live.treatment)
    metric = proof.watch_policy.metric
    assert live == evolve(
        proof,
        id=live.id,
        status="proven",
        proven_by=proof.id,
        assignment_version=ASSIGNMENT_VERSION,
        watch_policy=WatchPolicy(metric=metric, success_drop=proof.watch_policy.success_drop),
        decided_at=None,
        ended_at=None,
        verdict=None,
        watch_verdict=None,
        reference=live.reference,
    )
    assert (live.is_untested, live.is_verified) == (True, True)
    test, watch = (store.observations(proof.id, phase) for phase in get_args(Phase))
    kept = [one for one in (*test, *watch) if one.arm == "treatment" or one in test]
    assert [one.run_id for one in live.reference] == [one.run_id for one in kept]
    assert live.reference == tuple(evolve(one, index=index, order=0) for index, one in enumerate(kept))


def test_a_store_says_what_it_said_before(old_url: str) -> None:
    said = EXPECTED["store"]
    with Store.open(old_url) as store:
        assert store.counts() == migrated(said["counts"])
        teams = [{**state.to_dict(), "revision": 0} for state in store.teams()]
        assert teams == [{**migrated_team(state), "revision": 0} for state in said["teams"]]
        changed = {state.team_id for state in store.teams() if state.revision}
        assert changed == {*RUNNING, *LIVE}
        assert store.identity().revision == len(changed)
        changes = store.changes()
        told = [change.to_dict() for change in changes[: len(said["changes"])]]
        assert told == [renamed(change) for change in said["changes"]]
        assert {(one.team_id, one.experiment_id) for one in changes[len(told) :]} == {*RUNNING.items()}
        assert {(one.action, one.actor, one.reason) for one in changes[len(told) :]} == {("aborted", "auto", REASON)}
        assert as_json([{**run.to_dict(), "status": run.status} for run in store.runs()]) == [
            migrated_run(run) for run in said["runs"]
        ]
        for experiment_id, before in said["experiments"].items():
            experiment = store.experiment(experiment_id)
            assert experiment is not None
            assert experiment.has_ended is (experiment.ended_at is not None)
            expected = migrated_experiment(before["experiment"])
            if expected["ended_at"] is None:
                expected["ended_at"] = experiment.ended_at
            assert experiment.to_dict() == expected
            for phase in get_args(Phase):
                assert observed(store, experiment.id, phase) == before[phase]


def test_a_live_plan_is_verified_from_now_on(old_url: str) -> None:
    with Store.open(old_url) as store:
        for team_id in LIVE:
            verifies_the_plan(store, team_id)
        assert {one.id for one in store.experiments(status="proven")} == {f"{one}-live" for one in LIVE.values()}


def test_a_store_decides_the_same_when_it_is_replayed(old_url: str) -> None:
    with Store.open(old_url) as store:
        replays = replay_all(store, store.experiments())
    assert len(replays) == len(EXPECTED["store"]["experiments"]) + len(LIVE)
    assert {one.experiment.id: one.differences for one in replays if not one.same} == {}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_imported_once_and_decides_the_same(url: str, name: str) -> None:
    with Store.open(url) as store:
        for expected in EXPECTED["imports"][name]:
            with (DATA / name).open("rb") as lines:
                done = importing.write(store, archive.read(lines, name))
            assert {key: getattr(done, key) for key in expected if key not in ("file", "errors")} == {
                key: value for key, value in expected.items() if key not in ("file", "errors")
            }
        actions = [change.action for change in store.changes()]
        replays = replay_all(store, store.experiments())
        assert {one.experiment.id: one.differences for one in replays if not one.same} == {}
    assert "rejected" not in actions
    if name == "export.jsonl":
        assert actions.count("failed") == sum(one["action"] == "rejected" for one in EXPECTED["store"]["changes"]) > 0


def test_what_an_export_holds_becomes_what_a_store_becomes(sqlite_url: str, tmp_path: Path) -> None:
    written_by_0_1_0(sqlite_url, tmp_path)
    with Store.open(sqlite_url) as migrated, Store.in_memory() as imported:
        with (DATA / "export.jsonl").open("rb") as lines:
            importing.write(imported, archive.read(lines, "export.jsonl"))
        times = {"ended_at": None}
        for one in migrated.experiments():
            other = imported.experiment(one.id)
            assert other is not None
            assert evolve(other, **times) == evolve(one, **times)
            assert other.has_ended is (other.ended_at is not None)
        for state in migrated.teams():
            other_state = imported.team(*state.key)
            assert other_state is not None
            unlike = {"version": 0, "revision": 0}
            assert evolve(other_state, **unlike) == evolve(state, **unlike)
        for team_id in LIVE:
            verifies_the_plan(imported, team_id)
        ended = [one for one in imported.changes() if one.reason == REASON]
        assert {(one.team_id, one.experiment_id, one.action) for one in ended} == {
            (team_id, experiment_id, "aborted") for team_id, experiment_id in RUNNING.items()
        }


def test_an_export_joins_a_store_that_knows_the_team_as_history_alone(sqlite_store: Store) -> None:
    with sqlite_store.transaction() as transaction:
        for team_id in (*RUNNING, *LIVE):
            transaction.save_team(transaction.team("flow", team_id))
    with (DATA / "export.jsonl").open("rb") as lines:
        done = importing.write(sqlite_store, archive.read(lines, "export.jsonl"))
    assert (done.experiments, done.open_experiments, done.duplicate_teams) == (16, 0, len(RUNNING) + len(LIVE))
    assert [one for one in sqlite_store.experiments() if one.takes_runs] == []


def test_an_observation_outlives_the_migration_whatever_became_of_its_run(old_url: str) -> None:
    """Its run may never have come here, as when its experiment was imported without it, or say something else."""
    (gone, other), experiment_id = _two_observed(), "no longer here"
    engine = create_engine(old_url)
    with engine.begin() as connection:
        _run(connection, "DELETE FROM autotune_run WHERE run_id = :run", run=gone["run_id"])
        _run(
            connection,
            "UPDATE autotune_run SET duration_seconds = 1e9, arm = NULL WHERE run_id = :run",
            run=other["run_id"],
        )
        _run(
            connection,
            "INSERT INTO autotune_observation (number, experiment_id, phase, run_id, position, arm, duration_seconds, "
            "success, score, cost_usd, tool_calls, timed_out, task_key) "
            "SELECT 100000, :experiment, phase, 'orphan', position, arm, duration_seconds, success, score, cost_usd, "
            "tool_calls, timed_out, task_key FROM autotune_observation WHERE run_id = :run",
            experiment=experiment_id,
            run=gone["run_id"],
        )
    engine.dispose()
    with Store.open(old_url) as store:
        for id_, before in EXPECTED["store"]["experiments"].items():
            for phase in get_args(Phase):
                assert observed(store, id_, phase) == before[phase]
        assert [one.run_id for one in store.observations(experiment_id, gone["phase"])] == ["orphan"]
        assert store.run(gone["run_id"]) is None
        assert store.counts()["runs"] == EXPECTED["store"]["counts"]["runs"] - 1
        assert all(one.same for one in replay_all(store, store.experiments()))


def _two_observed() -> list[dict[str, Any]]:
    """Two observations of one test."""
    test: list[dict[str, Any]] = max((one["test"] for one in EXPECTED["store"]["experiments"].values()), key=len)
    return test[:2]


def _run(connection: Connection, statement: str, **values: object) -> None:
    connection.execute(text(statement), values)
