"""`status`, `history` and `explain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from victor_autotune_plugin._cli import status
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin.storage import Store, default_url, rows, store
from victor_autotune_testing.simulated import Simulation

from .conftest import Said

PARALLEL = {"formation": "parallel"}


def words(said: Said) -> str:
    assert said.code == 0, said.err
    return " ".join(said.out.split())


@pytest.mark.parametrize("command", ["status", "history"])
def test_nothing_was_recorded_yet(call: Callable[..., Said], tmp_path: Any, command: str) -> None:
    said = call(command)
    assert said.code == 0
    assert "yet" in said.out
    data = call(command, "--json").data
    assert data["teams" if command == "status" else "changes"] == []
    assert not (tmp_path / ".victor").exists()


@pytest.mark.parametrize(
    ("state", "plan", "experiment", "verdict"),
    [
        ("testing", "as configured", "canary 0 + 0 ~12 runs to testing", None),
        ("proven", "formation parallel", "proven 0 + 0", None),
        ("failed", "as configured", "no open test", "last: failed"),
        ("inconclusive", "as configured", "no open test", "last: inconclusive"),
        ("rolled_back", "as configured", "no open test", "last: rolled back"),
    ],
)
def test_status_tells_plan_test_and_verdict(
    call: Callable[..., Said],
    project: Callable[[str], None],
    state: str,
    plan: str,
    experiment: str,
    verdict: str | None,
) -> None:
    project(state)
    said = words(call("status"))
    for part in ("team flow", "auto", *plan.split(), experiment, "100 %"):
        assert part in said or all(word in said for word in part.split())
    assert verdict is None or all(word in said for word in verdict.split())
    team = call("status", "--json").data["teams"][0]
    assert (team["workflow"], team["team_id"], team["mode"], team["paused"]) == ("flow", "team", "auto", False)
    assert team["plan"] == (PARALLEL if state == "proven" else {})
    assert (team["experiment"] is not None) is (state in ("testing", "proven"))
    assert [one["state"] for one in team["standing"]] == {"testing": ["canary"], "proven": ["proven"]}.get(state, [])
    assert (team["last_verdict"] is None) is (state == "testing")
    assert team["runs"] > 4
    assert team["success_rate"] == 1.0
    assert 0 < team["median_seconds"] <= team["p95_seconds"]


def test_status_counts_the_runs_of_each_arm(call: Callable[..., Said], simulate: Callable[..., Simulation]) -> None:
    simulation = simulate()
    simulation.run_until("started")
    runs = [simulation.run() for _ in range(7)]
    arms = [sum(run.arm == arm for run in runs) for arm in ("control", "treatment")]
    assert "canary {} + {}".format(*arms) in words(call("status"))
    assert call("status", "--json").data["teams"][0]["experiment"]["verdict"]["runs"] == {
        "control": arms[0],
        "treatment": arms[1],
    }


def test_a_team_that_is_only_observed_is_shown(call: Callable[..., Said], simulate: Callable[..., Simulation]) -> None:
    simulation = simulate(mode="observe")
    simulation.run()
    simulation.run(success=False)
    simulation.run(cancelled=True)
    team = call("status", "--json").data["teams"][0]
    assert (team["mode"], team["runs"], team["success_rate"]) == ("observe", 2, 0.5)
    assert call("explain", "team", "--details", "--settings").code == 0


def test_runs_that_all_fail_are_told_with_the_command_that_shows_one(
    call: Callable[..., Said], simulate: Callable[..., Simulation]
) -> None:
    simulation = simulate(mode="observe")
    simulation.run()
    for _ in range(2):
        simulation.run(success=False, error_class="APIConnectionError")
    assert call("status", "--json").data["teams"][0]["trouble"] is None
    last = simulation.run(success=False, error_class="APIConnectionError")
    simulation.run(success=False, cancelled=True)
    trouble = (
        f"The last 3 runs all failed (APIConnectionError). The latest: victor autotune runs show {last.run_id[:8]}"
    )
    for command in ("status", "explain"):
        assert trouble in words(call(command))
    assert call("status", "--json").data["teams"][0]["trouble"] == trouble


def test_of_many_teams_those_with_something_open_are_listed(
    call: Callable[..., Said], simulate: Callable[..., Simulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "MOST_LISTED", 2)
    simulate().run_until("started")
    for name in ("a", "b", "c"):
        simulate(name, "flow", mode="observe").run()
    said = call("status").out
    assert [name for name in ("a", "b", "c", "team") if f"\n {name} " in said] == ["c", "team"]
    assert "2 more teams, with nothing open and no run since these: victor autotune status --all" in said
    assert "more team" not in call("status", "--all").out
    assert len(call("status", "--json").data["teams"]) == 4


def test_of_many_tuned_teams_it_is_told_how_many_are_not_listed(
    call: Callable[..., Said], simulate: Callable[..., Simulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "MOST_LISTED", 1)
    simulate().run_until("started")
    other = simulate("b")
    for _ in range(60):
        other.run()
    simulate("c", mode="observe").run()
    assert "2 more teams, 1 of them with a test or a live plan: victor autotune status --all" in call("status").out


def test_status_reads_no_whole_run_of_a_team_that_was_never_tuned(
    call: Callable[..., Said], simulate: Callable[..., Simulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        team = simulate(name, mode="observe")
        for _ in range(6):
            team.run()
    read: list[object] = []

    def counted(row: Any) -> Any:
        read.append(row)
        return rows.team_run(row)

    monkeypatch.setattr(store, "team_run", counted)
    assert "6 runs" in call("status").out
    assert not read  # a definition and figures are made from few columns


def test_status_of_one_workflow_or_team(call: Callable[..., Said], simulate: Callable[..., Simulation]) -> None:
    for team, workflow in (("a", "one"), ("b", "one"), ("a", "two")):
        simulate(team, workflow, mode="observe").run()

    def shown(*options: str) -> list[str]:
        return [f"{team['workflow']}/{team['team_id']}" for team in call("status", "--json", *options).data["teams"]]

    assert shown() == ["one/a", "one/b", "two/a"]
    assert shown("--workflow", "one") == ["one/a", "one/b"]
    assert shown("--team", "a") == shown("a") == ["one/a", "two/a"]
    assert shown("--workflow", "two", "--team-id", "a") == ["two/a"]


def test_screens_fit_a_narrow_terminal(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("proven")
    for command in (("status",), ("history",), ("history", "--runs"), ("explain", "team"), ("doctor",)):
        said = call(*command)
        assert max(len(line.rstrip()) for line in said.out.splitlines() if " " in line.strip()) <= 80


def test_history_tells_what_who_why_and_the_plans_newest_first(
    call: Callable[..., Said], project: Callable[[str], None]
) -> None:
    project("rolled_back")
    said = words(call("history", "team"))
    for part in ("rolled back", "promoted", "started", "by itself", "better", "as configured → formation"):
        assert all(word in said for word in part.split())
    assert said.index("rolled back") < said.index("being verified again") < said.index("promoted")
    changes = call("history", "--json").data["changes"]
    actions = [change["action"] for change in changes]
    assert [actions[0], *actions[-2:]] == ["rolled_back", "promoted", "started"]
    assert changes[0]["plan_before"] == changes[-2]["plan_after"] == PARALLEL
    assert changes[-2]["improvement_percent"] > 5
    assert [change["action"] for change in call("history", "--limit", "1", "--json").data["changes"]] == ["rolled_back"]


def test_history_of_runs(call: Callable[..., Said], simulate: Callable[..., Simulation]) -> None:
    simulation = simulate()
    simulation.run()
    simulation.run(success=False, error_class="MemberError")
    simulation.run(success=False, timed_out=True, error_class="TimeoutError")
    simulation.run(cancelled=True, success=False)
    simulation.start()
    simulation.runtime.loop.run_until_idle()
    said = words(call("history", "--runs"))
    for part in ("running", "cancelled", "timed out TimeoutError", "failed MemberError", "ok"):
        assert all(word in said for word in part.split())
    runs = call("history", "team", "--runs", "--json", "--limit", "3").data["runs"]
    assert [run["status"] for run in runs] == ["running", "finished", "finished"]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (
            "testing",
            ("Open experiment", ": tested on one run in four", "No runs yet", "after 3 more runs of the changed"),
        ),
        (
            "proven",
            ("promoted by itself", ": live, and verified with every run", "2 % of the runs stay on"),
        ),
        (
            "failed",
            ("no change was promoted", "Last experiment", "failed", "Missing runs", "A test starts when a strategy"),
        ),
        ("inconclusive", ("Last experiment", "inconclusive", "would have found an improvement of", "without proof")),
        ("rolled_back", ("rolled back by itself", "Watch says", "proven by", "live before, and rolled back")),
    ],
)
def test_explain_tells_the_plan_its_source_the_test_and_what_comes_next(
    call: Callable[..., Said], project: Callable[[str], None], state: str, told: tuple[str, ...]
) -> None:
    project(state)
    said = words(call("explain", "team", "--details", "--settings"))
    for part in (
        *told,
        "Runs with",
        "sequential, 4 members: a, b, c, d",
        "Guardrail",
        "P95 of the duration",
        "boundary",
    ):
        assert part in said
    data = call("explain", "team", "--json").data
    assert data["verdict"]["reason"].split()[0] in said
    assert data["outlook"]
    assert set(data["verdict"]["runs"]) == {"control", "treatment"}
    assert {setting["key"] for setting in data["settings"]} >= {"mode", "limits.max_members", "experiment.alpha"}


def test_explain_shows_the_fixed_sample_statistics_beside_the_decision(
    call: Callable[..., Said], project: Callable[[str], None]
) -> None:
    project("proven")
    said = words(call("explain", "team", "--details", "--settings"))
    for part in (
        "As if looked at once",
        "welch on logs",
        "mann-whitney",
        "bootstrap-t",
        "two proportions",
        "P(faster)",
    ):
        assert part in said
    data = call("explain", "team", "--json").data
    found = {one["method"]: one for one in data["statistics"]}
    assert set(found) == {
        *("welch", "welch on logs", "mann-whitney", "bootstrap-t on logs", "relative lift", "two proportions"),
    }
    ranks = found["mann-whitney"]
    assert ranks["estimate"] == pytest.approx(data["verdict"]["effect"], abs=0.05)
    assert ranks["low"] < ranks["estimate"] < ranks["high"] < 0
    assert ranks["p_value"] < 0.05
    assert 0.5 < ranks["effect_size"] <= 1
    assert call("explain", "team", "--json").data["statistics"] == data["statistics"]


def test_explain_needs_no_name_when_there_is_one_team(
    call: Callable[..., Said], project: Callable[[str], None]
) -> None:
    project("testing")
    assert call("explain", "--details", "--settings").out == call("explain", "team", "--details", "--settings").out


def test_explain_tells_every_setting_with_its_source(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project("testing")
    (tmp_path / ".victor" / "autotune.yaml").write_text(
        "limits:\n  max_members: 6\nprices:\n  gpt-*: {input_per_million_usd: 1, output_per_million_usd: 2}\n"
    )
    monkeypatch.setenv("VICTOR_AUTOTUNE_EXPERIMENT__ALPHA", "0.01")
    found = {one["key"]: (one["value"], one["source"]) for one in call("explain", "--json").data["settings"]}
    assert found["limits.max_members"] == (6, ".victor/autotune.yaml:2")
    assert found["experiment.alpha"] == (0.01, "env VICTOR_AUTOTUNE_EXPERIMENT__ALPHA")
    assert found["watch.holdback"] == (0.02, "default")
    assert found["prices.gpt-*"][0] == {"input_per_million_usd": 1.0, "output_per_million_usd": 2.0}


def test_explain_reads_the_workflows_own_settings_from_its_file(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Any
) -> None:
    from victor_autotune_testing.realvictor import workflow_yaml

    project("testing")
    said = words(call("explain"))
    assert "Mode observe is set (default), the last run had auto:" in said
    assert "--file WORKFLOW.yaml" in said
    (tmp_path / "flow.yaml").write_text(
        workflow_yaml("researcher", name="flow", metadata={"autotune": {"mode": "auto"}})
    )
    told = call("explain", "--file", "flow.yaml", "--json")
    assert told.err == ""
    mode = next(one for one in told.data["settings"] if one["key"] == "mode")
    for name in (("--file", "flow.yaml"), ()):  # the project's own workflow files are looked into
        modes = call("explain", *name, "--json").data["team"]["modes"]
        assert (modes["configured"], modes["last"], modes["because"]) == ("auto", "auto", None)
    assert (mode["value"], mode["source"]) == ("auto", "flow.yaml:7")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("mode: observe\n", None),
        ("mode: auto\nplan: {formation: consensus}\n", "The settings fix the plan"),
    ],
)
def test_explain_says_why_nothing_is_tuned(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Any, settings: str, told: str | None
) -> None:
    simulation = simulate(mode="observe" if told is None else "auto")
    simulation.run()
    (tmp_path / ".victor" / "autotune.yaml").write_text(settings)
    said = words(call("explain", "--details", "--settings"))
    assert (told or "In mode observe nothing is tested.") in said
    assert ("Runs with formation consensus, fixed by the settings" in said) is (told is not None)


def test_explain_tells_what_ended_an_experiment(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("testing")
    call("rollback", "team", "--reason", "no longer needed")
    assert "Ended aborted by a person" in words(call("explain", "--details", "--settings"))
    assert "no longer needed" in words(call("explain", "--details", "--settings"))
    data = call("explain", "--json").data
    assert data["ended_by"]["reason"] == "no longer needed"
    assert data["team"]["last_verdict"]["status"] == "aborted"


def test_explain_says_that_the_tuning_is_paused(call: Callable[..., Said], project: Callable[[str], None]) -> None:
    project("testing")
    call("pause", "team")
    assert "The tuning is paused" in words(call("explain", "--details", "--settings"))
    assert "paused" in words(call("status"))


def test_looking_changes_nothing(call: Callable[..., Said], project: Callable[[str], None], tmp_path: Any) -> None:
    project("proven")

    def contents() -> tuple[object, ...]:
        with Store.open(default_url(tmp_path)) as store:
            return store.teams(), store.experiments(), store.changes(), store.counts()

    before = contents()
    for command in ("status", "history", "explain", "doctor"):
        call(command)
    assert contents() == before
    assert before[0][0].plan == TeamPlan(formation="parallel")  # type: ignore[index]
