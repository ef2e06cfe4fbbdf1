"""Screens are of one environment, a pause may be of all, and teams outside workflows go by name or by id."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin import PerformanceAutotuner
from victor_autotune_plugin._model.optimization import (
    OptimizationPriority,
    OptimizationSuggestion,
    OptimizationType,
)
from victor_autotune_plugin._model.plan import ADHOC_WORKFLOW, MemberSpec, TeamSpec, adhoc_team_id
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import Simulation
from victor_autotune_testing.stored import finished

from .conftest import Said

DAY = 86_400.0
PAIR = (MemberSpec("a"), MemberSpec("b"))
TRIO = (*PAIR, MemberSpec("c"))


def adhoc(name: str, members: tuple[MemberSpec, ...], *, earlier: bool = False) -> TeamSpec:
    ids = [member.id for member in members]
    return TeamSpec(ADHOC_WORKFLOW, name if earlier else adhoc_team_id(name, ids), "sequential", members)


def record(project: Path, *specs: TeamSpec, environment: str = "default", days_ago: float = 0.0) -> None:
    with Store.open(default_url(project)) as store, store.transaction() as transaction:
        for number, spec in enumerate(specs):
            transaction.finish_run(
                finished(
                    f"{environment}-{spec.team_id}-{days_ago}-{number}",
                    spec=spec,
                    started_at=time.time() - days_ago * DAY,
                    experiment_id=None,
                    arm=None,
                    environment=environment,
                    cancelled=False,
                )
            )


def test_status_shows_one_environment_and_names_the_others(call: Callable[..., Said], tmp_path: Path) -> None:
    record(tmp_path, adhoc("research", PAIR), environment="staging")
    record(tmp_path, adhoc("triage", PAIR), adhoc("review", TRIO))
    here = call("status").out
    assert "triage" in here
    assert "research" not in here
    assert "Environment default: 2 teams. Elsewhere: staging (1 team)" in here
    data = call("status", "--environment", "staging", "--json").data
    assert (data["environment"], data["other_environments"]) == ("staging", {"default": 2})
    assert [(team["team_id"], team["environment"]) for team in data["teams"]] == [
        (adhoc("research", PAIR).team_id, "staging")
    ]


def test_the_environment_is_an_option_of_every_command_about_a_project(call: Callable[..., Said]) -> None:
    for command in ("status", "explain", "history", "export", "pause", "rollback", "run", "doctor", "apply"):
        assert "--environment" in call(command, "--help").out
    assert "--environment" not in call("schema", "--help").out


def test_an_export_holds_every_environment_unless_one_is_named(call: Callable[..., Said], tmp_path: Path) -> None:
    record(tmp_path, adhoc("research", PAIR), environment="staging")
    record(tmp_path, adhoc("research", PAIR))
    runs = [json.loads(line)["run"] for line in call("export").out.splitlines()[1:]]
    assert sorted(run["environment"] for run in runs) == ["default", "staging"]
    only = call("export", "--environment", "staging", "--json").data["runs"]
    assert [run["environment"] for run in only] == ["staging"]
    call("export", "--output", "all.jsonl")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert call("import", "all.jsonl", "--project", str(elsewhere)).code == 0
    with Store.open(default_url(elsewhere)) as store:
        assert store.environments() == {"default": 1, "staging": 1}
        assert {run.number for run in store.runs()} == {1}


def test_an_ad_hoc_team_goes_by_its_name_or_its_id(call: Callable[..., Said], tmp_path: Path) -> None:
    pair, trio = adhoc("research", PAIR), adhoc("research", TRIO)
    record(tmp_path, pair)
    assert call("explain", "research").code == call("explain", pair.team_id).code == 0
    record(tmp_path, trio)
    said = call("explain", "research")
    assert said.code == 2
    assert pair.team_id in said.err
    assert trio.team_id in said.err
    assert call("explain", trio.team_id).code == 0
    assert len(call("status", "research", "--json").data["teams"]) == 2


def test_every_command_takes_the_name(call: Callable[..., Said], tmp_path: Path) -> None:
    pair, trio, other = adhoc("research", PAIR), adhoc("research", TRIO), adhoc("triage", PAIR)
    record(tmp_path, pair, other)
    record(tmp_path, trio, days_ago=1)
    runs = call("history", "research", "--runs", "--json").data["runs"]
    assert [run["spec"]["team_id"] for run in runs] == [pair.team_id, trio.team_id]  # the newest first
    assert len(call("history", "research", "--runs", "--limit", "1", "--json").data["runs"]) == 1
    assert call("history", "research").out == "No changes yet.\n"
    assert call("replay", "research").code == 0
    exported = call("export", "research", "--json").data["runs"]
    assert {run["team_id"] for run in exported} == {pair.team_id, trio.team_id}
    analyzed = call("analyze", "research", "--json").data["teams"]
    assert {team["team_id"] for team in analyzed} == {pair.team_id, trio.team_id}
    assert call("history", "nothing").code == 2


def test_the_python_api_takes_the_name_where_it_means_one_team(call: Callable[..., Said], tmp_path: Path) -> None:
    pair = adhoc("research", PAIR)
    record(tmp_path, pair)
    with PerformanceAutotuner(project=tmp_path) as autotuner:
        suggestion = OptimizationSuggestion(
            OptimizationType.FORMATION_SELECTION,
            OptimizationPriority.HIGH,
            "Run side by side.",
            {"formation": "sequential"},
            {"formation": "parallel"},
            20.0,
            0.9,
            0.2,
        )
        result = autotuner.apply_optimizations_sync("research", [suggestion], enable_ab_testing=False)
        assert (result.success, result.team_id) == (True, pair.team_id)
        (line,) = autotuner.get_optimization_history("research")
        assert line["team_id"] == pair.team_id
        assert autotuner.rollback_optimization_sync("research")
        trio = adhoc("research", TRIO)
        record(tmp_path, trio)
        autotuner.apply_optimizations_sync(trio.team_id, [suggestion], enable_ab_testing=False)
        twice = autotuner.apply_optimizations_sync("research", [suggestion], enable_ab_testing=False)
        assert "several teams are called 'research'" in str(twice.error)


def test_an_archive_of_0_1_names_its_ad_hoc_teams_by_their_members(call: Callable[..., Said], tmp_path: Path) -> None:
    old = tmp_path / "old"
    record(old, adhoc("research", TRIO, earlier=True), days_ago=2)
    record(old, adhoc("research", PAIR, earlier=True), days_ago=1)
    call("export", "--project", str(old), "--output", "old.jsonl")
    assert call("import", "old.jsonl").code == 0
    with Store.open(default_url(tmp_path)) as store:
        # Both are of the member set that ran last.
        assert {run.spec.team_id for run in store.runs()} == {adhoc("research", PAIR).team_id}
    again = call("import", "old.jsonl", "--json").data
    assert (again["runs"], again["duplicate_runs"]) == (0, 2)


def test_teams_that_nobody_runs_any_more_leave_the_status(call: Callable[..., Said], tmp_path: Path) -> None:
    record(tmp_path, adhoc("old", PAIR), days_ago=91)
    record(tmp_path, adhoc("used", PAIR), days_ago=89)
    said = call("status")
    assert "used" in said.out
    assert "old-" not in said.out
    assert "1 team not seen for 90 days: status --all" in said.out
    assert call("status", "--json").data["not_shown"] == 1
    assert len(call("status", "--all", "--json").data["teams"]) == 2
    assert len(call("status", "old", "--json").data["teams"]) == 1


def test_a_team_that_was_changed_stays_in_the_status(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("rolled_back")
    (file,) = Path(".victor").glob("*.db")
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE autotune_run SET started_at = 1000.0")
        database.commit()
    assert [team["team_id"] for team in call("status", "--json").data["teams"]] == ["team"]


def test_all_tuning_is_paused_and_goes_on(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    team = simulate()
    team.run_until("started")
    said = call("pause", "--all")
    assert (said.code, said.out) == (
        0,
        "All tuning is paused: every team keeps its plan, and no run takes part in a test.\n",
    )
    assert team.run().arm is None
    assert "All tuning is paused" in call("status").out
    assert call("status", "--json").data["all_paused"] is True
    assert call("pause", "--all", "--json").data == {"changed": False, "paused": True}
    assert call("resume", "--all").out == "All tuning goes on; teams that were paused by name stay so.\n"
    assert team.run().arm is not None
    assert call("pause", "team", "--all").code == 2


def test_nothing_starts_while_all_is_paused(call: Callable[..., Said], simulate: Callable[..., Simulation]) -> None:
    team = simulate()
    team.run()
    call("pause", "--all")
    for _ in range(30):
        team.run()
    assert team.changes() == []
    call("resume", "--all")
    team.run_until("started")


@pytest.mark.parametrize("mode", ["suggest", "auto"])
def test_explain_and_doctor_name_who_sets_a_knob(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Path, mode: str
) -> None:
    team = simulate(mode=mode)
    for number in range(6):
        event, planned = team.start()
        team.finish(evolve(event, owners={"formation": "formation_hint"}) if number % 2 else event, planned)
    rows = " ".join(call("explain", "team", "--details", "--settings").out.split())
    assert "formation: formation_hint (3 runs); the others: autotune" in rows
    assert call("explain", "team", "--json").data["owners"] == [
        {"knob": "formation", "owner": "formation_hint", "runs": 3}
    ]
    checks = {check["name"]: check for check in call("doctor", "--json").data["checks"]}
    assert checks["owners of team"]["status"] == "warn"
    assert "formation by formation_hint in 3 of 6 runs" in checks["owners of team"]["found"]


def test_doctor_looks_at_the_environment_that_is_asked_for(
    call: Callable[..., Said], simulate: Callable[..., Simulation]
) -> None:
    team = simulate()
    for _ in range(3):
        event, planned = team.start()
        team.finish(evolve(event, owners={"formation": "formation_hint"}), planned)
    elsewhere = {check["name"]: check for check in call("doctor", "--environment", "live", "--json").data["checks"]}
    assert elsewhere["environment"]["found"].startswith("live (from ")
    assert "owners of team" not in elsewhere
    assert "owners of team" in {check["name"] for check in call("doctor", "--json").data["checks"]}


def test_doctor_names_the_environment_and_what_says_so(call: Callable[..., Said]) -> None:
    checks = {check["name"]: check for check in call("doctor", "--json").data["checks"]}
    assert checks["environment"]["found"] == "default (from setting environment)"


def test_init_lists_the_teams_that_only_the_store_knows(call: Callable[..., Said], tmp_path: Path) -> None:
    pair = adhoc("research", PAIR)
    record(tmp_path, pair)
    data = call("init", "--json").data
    assert data["recorded_teams"] == [{"workflow": "adhoc", "team_id": pair.team_id, "members": ["a", "b"]}]
    text = (tmp_path / ".victor" / "autotune.yaml").read_text()
    assert f"      {pair.team_id}:\n" in text
    assert "# recorded; in no workflow file here" in text
    assert call("doctor", "--json").data["healthy"]
