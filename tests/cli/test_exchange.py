"""`export` and `import`: the same history elsewhere, nothing twice, and every bad line named."""

from __future__ import annotations

import io
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.storage.judging import NO_END
from victor_autotune_plugin.storage.pruning import PruneBound
from victor_autotune_testing.simulated import Simulation

from .conftest import Said


@pytest.fixture
def exported(call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path) -> Path:
    project("rolled_back")
    assert call("export", "--output", "history.jsonl").code == 0
    return tmp_path / "history.jsonl"


def runs_in(path: Path, kind: str = "run") -> int:
    return sum(line.startswith(f'{{"{kind}"') for line in path.read_text().splitlines())


def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def test_a_history_is_the_same_elsewhere(call: Callable[..., Said], exported: Path, tmp_path: Path) -> None:
    folder = elsewhere(tmp_path)
    said = call("import", str(exported), "--project", str(folder))
    assert said.code == 0, said.err
    with Store.open(default_url(tmp_path)) as here, Store.open(default_url(folder)) as there:
        assert list(there.finished_runs()) == list(here.finished_runs())
        assert [change.to_dict() | {"id": 0} for change in there.changes()] == [
            change.to_dict() | {"id": 0} for change in here.changes()
        ]
        assert [evolve(state, version=0, revision=0) for state in there.teams()] == [
            evolve(state, version=0, revision=0) for state in here.teams()
        ]
    told = f"{runs_in(exported)} runs, {runs_in(exported, 'score')} scores, 4 changes, 1 experiment and 1 team"
    assert said.out == f"Imported {told}.\n"
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600


def test_importing_twice_changes_nothing(call: Callable[..., Said], exported: Path, tmp_path: Path) -> None:
    folder = elsewhere(tmp_path)
    first = call("import", str(exported), "--project", str(folder), "--json").data
    second = call("import", str(exported), "--project", str(folder), "--json").data
    for kind in ("runs", "changes", "experiments", "teams"):
        assert first[kind] > 0
        assert (second[kind], second[f"duplicate_{kind}"]) == (0, first[kind])
    with Store.open(default_url(folder)) as store:
        assert store.counts()["runs_finished"] == first["runs"]


SHOWN = (
    "status",
    "explain",
    "analyze",
    "suggest",
    "replay",
    "history",
    "rollback --list",
    "history --runs --limit 999",
)
"""What must be the same in a store that a history was imported into."""


@pytest.mark.parametrize("state", ["testing", "proven", "failed", "inconclusive", "rolled_back"])
def test_an_empty_store_shows_the_same_after_an_import(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path, state: str
) -> None:
    project(state)
    call("export", "--output", "history.jsonl")
    folder = elsewhere(tmp_path)
    assert call("import", "history.jsonl", "--project", str(folder)).code == 0
    for command in SHOWN:
        here, there = (call(*command.split(), "--json", "--project", str(one)) for one in (tmp_path, folder))
        assert here.code == there.code == 0
        assert here.data == there.data, command
    (replayed,) = call("replay", "--json", "--project", str(folder)).data["replays"]
    assert replayed["same"]
    assert (replayed["observations"] > 0) == (state != "testing")
    pages = [report(call, one, tmp_path / f"{one.name}.html") for one in (tmp_path, folder)]
    assert pages[0] == pages[1]


def report(call: Callable[..., Said], folder: Path, output: Path) -> dict[str, Any]:
    """Return the data of a report that don't tell where and when it was made."""
    assert call("report", "--project", str(folder), "--output", str(output)).code == 0
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', output.read_text(), re.DOTALL)
    assert found is not None
    data = json.loads(found[1].replace(str(folder), "FOLDER"))
    return {name: data[name] for name in ("teams", "savings", "evidence", "runs")}


def test_an_imported_test_goes_on_where_it_was(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("testing")
    call("export", "--output", "history.jsonl")
    folder = elsewhere(tmp_path)
    call("import", "history.jsonl", "--project", str(folder))
    simulation = Simulation(folder)
    simulation.run_until("promoted")
    simulation.close()
    with Store.open(default_url(folder)) as store:
        assert [one.status for one in store.experiments()] == ["proven"]
    assert call("replay", "--project", str(folder)).code == 0


def test_a_team_that_is_known_keeps_its_plan_and_its_test(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    call("export", "--output", "history.jsonl")
    folder = elsewhere(tmp_path)
    simulation = Simulation(folder)
    simulation.run_until("started")
    simulation.close()
    with Store.open(default_url(folder)) as store:
        before = store.teams(), store.experiments()
    said = call("import", "history.jsonl", "--project", str(folder))
    assert said.code == 0
    assert "note: 1 open experiment left out" in said.err
    with Store.open(default_url(folder)) as store:
        assert (store.teams(), store.experiments()) == before
    assert "nothing to roll back" in call("rollback", "team", "--list", "--project", str(folder)).out


def test_an_ended_experiment_joins_those_of_a_known_team(
    call: Callable[..., Said], exported: Path, tmp_path: Path
) -> None:
    folder = elsewhere(tmp_path)
    simulation = Simulation(folder)
    simulation.run_until("started")
    simulation.close()
    data = call("import", str(exported), "--project", str(folder), "--json").data
    assert (data["experiments"], data["teams"], data["open_experiments"]) == (1, 0, 0)
    replays = call("replay", "--json", "--project", str(folder)).data["replays"]
    assert sorted(one["status"] for one in replays) == ["canary", "rolled_back"]
    assert all(one["same"] for one in replays)


def test_a_history_of_version_1_can_still_be_imported(
    call: Callable[..., Said], exported: Path, tmp_path: Path
) -> None:
    first, *rest = exported.read_text().splitlines()
    old = [line for line in rest if line.startswith(('{"run"', '{"change"'))]
    exported.write_text("\n".join([first.replace('"version":2', '"version":1'), *old]) + "\n")
    folder = elsewhere(tmp_path)
    said = call("import", str(exported), "--project", str(folder))
    assert said.out == f"Imported {runs_in(exported)} runs, 4 changes, 0 experiments and 0 teams.\n"
    assert "nothing to roll back" in call("rollback", "team", "--list", "--project", str(folder)).out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda e: e.pop("observations"), "observations: is missing"),
        (lambda e: e["observations"][2].update(arm="middle"), "observations[2].arm: must be one of control, treatment"),
        (lambda e: e["observations"].append(e["observations"][0]), "run_id: was observed before"),
        (lambda e: e["policy"].update(alpha=7), "policy: alpha must be a number from 0.005 to 0.15, not 7"),
        (lambda e: e["verdict"]["guardrails"][0].pop("margin"), "verdict.guardrails[0].margin: is missing"),
        (lambda e: e["verdict"]["guardrails"][1].update(name="nonsense"), "verdict.guardrails[1].name: must be one of"),
        (lambda e: e["verdict"].update(statistic=None), "verdict.statistic: must be a finite number, not None"),
        (lambda e: e["verdict"].update(interval=[1]), "verdict.interval: must have 2 items, not 1"),
        (lambda e: e["watch_verdict"].update(runs=[]), "watch_verdict.runs: must be an object"),
        (lambda e: e.update(status="won"), "status: must be one of draft, awaits_approval"),
        (lambda e: e["treatment"].update(formation=3), "treatment.formation: must be text"),
    ],
)
def test_a_damaged_experiment_is_named_by_line_and_key(
    call: Callable[..., Said], exported: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    lines = exported.read_text().splitlines()
    number = next(at for at, line in enumerate(lines, 1) if line.startswith('{"experiment"'))
    change_line(exported, number, lambda data: change(data["experiment"]))
    folder = elsewhere(tmp_path)
    said = call("import", "history.jsonl", "--project", str(folder))
    assert said.code == 2
    assert f"history.jsonl:{number}:" in said.err
    assert told in said.err
    assert list(folder.iterdir()) == []


def test_keys_of_a_newer_version_are_ignored_and_kept_out(
    call: Callable[..., Said], exported: Path, tmp_path: Path
) -> None:
    lines = exported.read_text().splitlines()
    number = next(at for at, line in enumerate(lines, 1) if line.startswith('{"experiment"'))
    change_line(exported, number, lambda data: data["experiment"]["observations"][0].update(prompt="a secret"))
    change_line(exported, number, lambda data: data["experiment"]["policy"].update(alfa=0.05))
    change_line(exported, number, lambda data: data["experiment"]["watch_policy"].pop("holdback"))
    change_line(exported, 6, lambda data: data["run"]["plan_asked"].update(speed=2))
    folder = elsewhere(tmp_path)
    assert call("import", "history.jsonl", "--project", str(folder)).code == 0
    with Store.open(default_url(folder)) as store:
        (kept,) = store.experiments()
    assert kept.watch_policy.holdback == 0.02
    assert b"a secret" not in (folder / ".victor" / "autotune.db").read_bytes()
    said = call("export", "--project", str(folder))
    assert "alfa" not in said.out
    assert "speed" not in said.out


def test_a_team_whose_experiment_was_left_out_has_none(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    call("export", "--output", "history.jsonl")
    path = tmp_path / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith('{"experiment"')))
    folder = elsewhere(tmp_path)
    call("import", "history.jsonl", "--project", str(folder))
    with Store.open(default_url(folder)) as store:
        (team,) = store.teams()
    assert team.experiment_id is None
    assert not team.plan.is_empty


def test_a_run_that_another_experiment_observed_is_refused(
    call: Callable[..., Said], exported: Path, tmp_path: Path
) -> None:
    line = next(line for line in exported.read_text().splitlines() if line.startswith('{"experiment"'))
    data = json.loads(line)
    data["experiment"]["id"] = "another"
    with exported.open("a") as file:
        file.write(json.dumps(data) + "\n")
    folder = elsewhere(tmp_path)
    said = call("import", str(exported), "--project", str(folder))
    assert said.code == 2
    assert "experiment another: run" in said.err
    with Store.open(default_url(folder)) as store:
        assert "another" not in [one.id for one in store.experiments()]


def test_standard_input_and_output(
    call: Callable[..., Said], exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = call("export", "team").out
    assert out == exported.read_text()
    assert json.loads(out.splitlines()[0])["version"] == 5
    monkeypatch.setattr(
        "victor_autotune_plugin._cli.exchange._stdin", lambda: io.BytesIO(out.encode("ascii")), raising=True
    )
    assert call("import", "-", "--project", str(elsewhere(tmp_path))).code == 0


@pytest.mark.parametrize(
    "arguments", [("--output", "history.jsonl"), ("--output", "history.jsonl", "--json"), ("--json",)]
)
def test_runs_that_go_while_an_export_is_written_are_told(
    call: Callable[..., Said], exported: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    whole = runs_in(exported)
    known = Store.finished_runs

    def read(self: Store, *of: Any, **more: Any) -> Any:
        with Store.open(self.url) as other:
            for key in {run.spec.key for run in other.runs()}:
                with other.transaction() as transaction:
                    transaction.prune(*key, PruneBound(NO_END, float("inf")), most=5)
        return known(self, *of, **more)

    with monkeypatch.context() as context:
        context.setattr(Store, "finished_runs", read)
        said = call("export", *arguments)
    assert said.code == 1
    assert "5 runs went from the store meanwhile" in said.err
    assert call("export", "--output", "history.jsonl").code == 0
    assert runs_in(exported) == whole - 5


def test_export_as_one_object(call: Callable[..., Said], exported: Path) -> None:
    data = call("export", "--json").data
    assert data["header"]["victor_autotune"] == "history"
    assert (len(data["changes"]), len(data["runs"])) == (4, runs_in(exported))
    assert (len(data["experiments"]), len(data["teams"])) == (1, 1)


def test_scores_go_along(call: Callable[..., Said], exported: Path, tmp_path: Path) -> None:
    with Store.open(default_url(tmp_path)) as store:
        run = next(store.finished_runs())
        with store.transaction() as transaction:
            transaction.record_score(Score(run.run_id, "review", 0.75, "person", 1.0))
    before = runs_in(exported, "score")
    said = call("export", "--output", str(exported))
    assert f"{runs_in(exported)} runs, {before + 1} scores, 4 changes" in said.out
    assert [one["name"] for one in call("export", "--json").data["scores"]].count("review") == 1
    folder = elsewhere(tmp_path)
    done = call("import", str(exported), "--project", str(folder), "--json").data
    again = call("import", str(exported), "--project", str(folder), "--json").data
    assert (done["scores"], again["scores"], again["duplicate_scores"]) == (before + 1, 0, before + 1)
    with Store.open(default_url(folder)) as store:
        assert {one.name: one.value for one in store.scores_of(run.run_id)}["review"] == 0.75


def test_nothing_recorded_is_an_empty_history(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("export")
    assert (said.code, len(said.out.splitlines())) == (0, 1)
    assert list(tmp_path.iterdir()) == []


def change_line(path: Path, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    lines = path.read_text().splitlines()
    data = json.loads(lines[number - 1])
    change(data)
    lines[number - 1] = json.dumps(data)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["run"].pop("success"), ":6:success: is missing"),
        (lambda d: d["run"].update(duration_seconds=-1), ":6:duration_seconds: must be at least 0"),
        (lambda d: d["run"].update(score="good"), ":6:score: must be a finite number, not 'good'"),
        (lambda d: d["run"]["members"][1].update(tool_calls=1.5), ":6:members[1].tool_calls: must be"),
        (lambda d: d["run"]["spec"].update(formation=3), ":6:spec.formation: must be text"),
        (lambda d: d.update(run=[]), ":6:run: must be an object"),
        (lambda d: d.update(more=1), ":6: must hold"),
        (lambda d: d["run"].update(started_at=1e20), ":6:started_at: must be from 0 to"),
        (lambda d: d["run"].update(cost_usd=10**400), ":6:cost_usd: must be a finite number, not a huge number"),
        (lambda d: d["run"].update(cost_usd=float("nan")), ":6:cost_usd: must be a finite number, not nan"),
        (lambda d: d["run"].update(index=10**400), ":6:index: must be a whole number from 0 to 2147483647, not a huge"),
        (lambda d: d["run"].update(mode="\ud800"), ":6: is not UTF-8 text"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    call: Callable[..., Said], exported: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    whole = runs_in(exported)
    change_line(exported, 6, change)
    folder = elsewhere(tmp_path)
    said = call("import", "history.jsonl", "--project", str(folder))
    assert said.code == 2
    assert told in said.err
    assert list(folder.iterdir()) == []
    said = call("import", "history.jsonl", "--project", str(folder), "--skip-bad")
    assert said.code == 0
    assert told in said.err
    assert "1 line left out" in said.out
    with Store.open(default_url(folder)) as store:
        assert store.counts()["runs_finished"] == whole - 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "x.jsonl: is empty"),
        (b"[1, 2]\n", "x.jsonl:1: is not an autotune archive"),
        (b'[\n{"team_id": "a"}]\n', "x.jsonl:1: is not an autotune archive: is not JSON"),
        (b'\n{"victor_autotune": "history", "version": 9}\n', "x.jsonl:2:version: is a history of version 9"),
        (b'{"victor_autotune": "history", "version": 1}\n{"run"\n', "x.jsonl:2: is not JSON"),
        (b'{"victor_autotune": "history", "version": 1}\n\xff\xfe\n', "x.jsonl:2: is not"),
        (b'{"victor_autotune": "history", "version": 1}\n' + b"[" * 100_000 + b"\n", "x.jsonl:2: is"),
    ],
)
def test_what_is_no_history(call: Callable[..., Said], tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(text)
    said = call("import", "x.jsonl")
    assert said.code == 2
    assert told in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_a_file_that_can_t_be_read_or_written(call: Callable[..., Said], exported: Path) -> None:
    assert "No such file" in call("import", "nope.jsonl").err
    said = call("export", "--output", "no/such/folder.jsonl", "--json")
    assert said.code == 2
    assert said.data["error"]["where"] == "--output no/such/folder.jsonl"


def test_a_rollback_still_names_the_change_it_took_back(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    call("rollback", "team")
    call("export", "--output", "history.jsonl")
    folder = elsewhere(tmp_path)
    with Store.open(default_url(tmp_path)) as here, Store.open(default_url(folder)) as there:
        earlier = evolve(here.changes()[0], team_id="other")
        with there.transaction() as transaction:  # so that numbers differ
            transaction.add_change(earlier)
    call("import", "history.jsonl", "--project", str(folder))
    with Store.open(default_url(folder)) as store:
        changes = store.changes()
    promoted = next(change for change in changes if change.action == "promoted")
    assert promoted.id == 3
    assert changes[-1].evidence["takes_back"] == [promoted.id]


def test_a_table_of_the_runs_is_written_as_parquet(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    from pyarrow import parquet

    project("rolled_back")
    said = call("export", "--format", "parquet", "--output", "runs.parquet")
    assert said.code == 0, said.err
    with Store.open(default_url(tmp_path)) as store:
        runs = [run.run_id for run in store.finished_runs()]
    table = parquet.read_table(tmp_path / "runs.parquet")
    assert table["run_id"].to_pylist() == runs
    assert said.out == f"runs.parquet: {len(runs)} runs.\n"
    assert stat.S_IMODE((tmp_path / "runs.parquet").stat().st_mode) == 0o600
    told = call("export", "--format", "parquet", "--output", "runs.parquet", "--json").data
    assert told == {"file": "runs.parquet", "runs": len(runs)}


def test_parquet_needs_a_file(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("testing")
    said = call("export", "--format", "parquet")
    assert said.code == 2
    assert "--output runs.parquet" in said.err
    assert said.out == ""


def test_a_failed_parquet_export_leaves_the_file_that_was_there(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor_autotune_plugin.storage import run_frames

    project("testing")
    (tmp_path / "runs.parquet").write_text("mine")
    monkeypatch.setattr(run_frames, "find_spec", lambda name: None)
    said = call("export", "--format", "parquet", "--output", "runs.parquet")
    assert said.code == 2
    assert "pip install" in said.err
    assert (tmp_path / "runs.parquet").read_text() == "mine"
    assert [path.name for path in tmp_path.glob("*.tmp")] == []
