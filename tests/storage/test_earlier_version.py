"""A store and exports that 0.1.0 wrote, read by this version; `tests/data/v0_1_0/make.py` made them and says how."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.engine import Connection

from victor_autotune_plugin._model.experiment import Phase, TeamState
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage import Store, archive, importing
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
    source.dispose()
    target.dispose()


@pytest.fixture
def old_url(url: str, tmp_path: Path) -> str:
    written_by_0_1_0(url, tmp_path)
    return url


def renamed(change: dict[str, Any]) -> dict[str, Any]:
    """A line of the history as this version says it: a harmful test failed, where 0.1.0 said that it was rejected."""
    change = {**change, **DEFAULT}
    return {**change, "action": "failed"} if change["action"] == "rejected" else change


DEFAULT = {"environment": "default"}
"""Where everything of 0.1.0 belongs."""


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def observed(store: Store, experiment_id: str, phase: Phase) -> list[dict[str, Any]]:
    found = store.observations(experiment_id, phase)
    assert {one.stream for one in found} <= {""}
    return [{**_without_stream(one.to_dict()), "experiment_id": experiment_id, "phase": phase} for one in found]


def _without_stream(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "stream"}


def migrated(counts: dict[str, int]) -> dict[str, int]:
    """Counts of 0.1.0 after the migration: what ran then is lost, and nothing rests on assignments any more."""
    kept = {name: value for name, value in counts.items() if name != "assignments"}
    return kept | {"runs_running": 0, "runs_lost": counts["runs_lost"] + counts["runs_running"], "runs_late": 0}


def migrated_run(run: dict[str, Any]) -> dict[str, Any]:
    unknown = dict.fromkeys(("cached_tokens", "cache_write_tokens", "reasoning_tokens"), 0)
    other = {**unknown, "provider": "", "context_tokens": 0, "unreported_calls": 0}
    tokens = [{**use, **other} for use in run.get("tokens", ())]
    ended = (
        {"stream": None, "owners": {}, "flow": None, **DEFAULT, "tokens": tokens, **unknown}
        if run["status"] == "finished"
        else {}
    )
    return {**run, **ended, "status": "lost" if run["status"] == "running" else run["status"]}


def migrated_team(state: TeamState) -> dict[str, Any]:
    assert (state.revision, state.wants_control, state.environment) == (0, False, "default")
    new = ("revision", "wants_control", "environment")
    return {name: value for name, value in state.to_dict().items() if name not in new}


def test_a_store_says_what_it_said_before(old_url: str) -> None:
    said = EXPECTED["store"]
    with Store.open(old_url) as store:
        assert store.counts() == migrated(said["counts"])
        assert [migrated_team(state) for state in store.teams()] == said["teams"]
        assert [change.to_dict() for change in store.changes()] == [renamed(change) for change in said["changes"]]
        assert as_json([{**run.to_dict(), "status": run.status} for run in store.runs()]) == [
            migrated_run(run) for run in said["runs"]
        ]
        for experiment in store.experiments():
            before = said["experiments"][experiment.id]
            policy = {**before["experiment"]["policy"], "prove_success": True}
            new = {"reference": [], "prices": None, "allowed_by": None, "policy": policy}
            assert experiment.to_dict() == before["experiment"] | DEFAULT | new
            for phase in get_args(Phase):
                assert observed(store, experiment.id, phase) == before[phase]


def test_a_store_decides_the_same_when_it_is_replayed(old_url: str) -> None:
    with Store.open(old_url) as store:
        replays = replay_all(store, store.experiments())
    assert len(replays) == len(EXPECTED["store"]["experiments"])
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
        assert all(one.same for one in replay_all(store, store.experiments()))
    assert "rejected" not in actions
    if name == "export.jsonl":
        assert actions.count("failed") == sum(one["action"] == "rejected" for one in EXPECTED["store"]["changes"]) > 0


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
