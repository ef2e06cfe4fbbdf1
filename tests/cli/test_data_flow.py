"""The data flow of a team in `explain`, `status`, `report` and `doctor`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.data_flow import Edge, RunFlow
from victor_autotune_plugin._model.plan import MemberSpec
from victor_autotune_testing.made_runs import HOSTILE_NAMES
from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.simulated import Simulation

from .conftest import Said

Call = Callable[..., Said]
Runs = Callable[..., None]

CHAIN = RunFlow([Edge("a", "b", "context"), Edge("b", "c", "files"), Edge("a", "d", "tools", sure=False)])
OPEN = RunFlow(open={"b": ("custom", "unseen")})


@pytest.fixture
def runs(simulate: Callable[..., Simulation]) -> Runs:
    """Let the team of members a, b, c and d run so many times, with one data flow; no test starts."""

    def runs(flow: RunFlow = RunFlow(), times: int = 12, members: tuple[str, ...] = (), **options: Any) -> None:  # noqa: B008
        simulation = simulate(**{"experiment.min_history": 1000, "scored": False, **options})
        if members:
            simulation.spec = evolve(simulation.spec, members=[MemberSpec(one, "researcher") for one in members])
        simulation.flow = flow
        for _ in range(times):
            simulation.run()

    return runs


def write(folder: Path, text: str) -> None:
    (folder / ".victor").mkdir(exist_ok=True)
    (folder / ".victor" / "autotune.yaml").write_text(text)


def section(said: Said) -> str:
    assert said.code == 0, said.err
    _, _, rest = said.out.partition("\nData flow\n")
    return " ".join(rest.partition("\nWhat would change it\n")[0].split())


def test_explain_draws_the_graph_and_tells_how_often_and_through_what(call: Call, runs: Runs) -> None:
    runs(CHAIN)
    shown = section(call("explain", "team", "--details", "--settings"))
    assert shown.startswith(("a → b → c", "a → (b → c, d)", "a → d", "a → (b, d)"))
    assert "Verdict dependent. " in shown
    assert "used the work of" in shown
    assert "Looked at 12 runs as configured" in shown
    assert "a → b shared context seen 12 as configured" in shown
    assert "b → c files seen 12 as configured" in shown
    assert "a → d tool calls may be 12 as configured" in shown
    assert "never chosen: parallel" in shown


def test_explain_tells_who_is_open_why_and_what_would_open_the_team(call: Call, runs: Runs) -> None:
    runs(OPEN)
    shown = section(call("explain", "team", "--details", "--settings"))
    assert "a, b, c, d: no use seen" in shown
    assert "Verdict unknown." in shown
    assert "Missing Say it with the setting dataflow" in shown
    assert "Open b: it is the caller's own code (12 runs); it calls a model that was not seen (12 runs)" in shown
    assert "`dataflow: independent` opens: parallel." in shown
    assert "A scorer (`quality.scorers`) opens: parallel" in shown


def test_what_would_change_it_says_that_the_unknown_data_flow_holds_tests_back(
    call: Call, runs: Runs, tmp_path: Path
) -> None:
    runs(OPEN)
    sentence = "Its data flow is unknown and no scorer decides, so no change is tested that may alter the work."
    write(tmp_path, "mode: auto")
    assert sentence in call("explain", "team", "--json").data["outlook"]
    write(tmp_path, "{mode: auto, dataflow: independent}")
    assert sentence not in call("explain", "team", "--json").data["outlook"]


def test_what_would_change_it_says_that_nothing_keeps_the_work_of_a_dependent_team(
    call: Call, runs: Runs, tmp_path: Path
) -> None:
    runs(CHAIN)
    write(tmp_path, "mode: auto")
    said = call("explain", "team", "--json").data
    told = "so only a change that keeps the work is tested; no other formation does."
    assert any(told in one for one in said["outlook"])
    proposal = said["tuner"]["proposal"]
    assert proposal["nothing_because"] == "Every other plan is ruled out: the work may not stay the same."
    reasons = {one["reason"] for one in proposal["not_chosen"]}
    assert reasons
    assert all(reason.startswith("Refused: ") and "likely" not in reason for reason in reasons)


def test_a_team_that_was_observed_is_told_what_auto_would_test(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs(mode="observe")
    first, second = call("explain", "team", "--json").data["outlook"]
    assert first == "In mode observe nothing is tested. Set `mode: auto` (or `approve`) to test changes."
    assert second == "Without a scorer, mode auto tests only changes that keep the work."
    write(tmp_path, "mode: auto")
    modes = call("status", "--json").data["teams"][0]["modes"]
    assert (modes["configured"], modes["last"], modes["next"]) == ("auto", "observe", "auto")
    assert "it counts from the next run on" in modes["because"]


def test_explain_tells_how_many_runs_are_missing(call: Call, runs: Runs) -> None:
    runs(times=7)
    shown = section(call("explain", "team", "--details", "--settings"))
    assert "Only 7 runs as configured were looked at." in shown
    assert "Missing 3 more runs as configured." in shown


def test_nothing_is_opened_where_the_plugin_only_observes(call: Call, runs: Runs) -> None:
    runs(OPEN, mode="observe")
    assert "opens:" not in section(call("explain", "team", "--details", "--settings"))
    assert call("status", "--json").data["teams"][0]["data_flow"]["opened_by"] == {}


@pytest.mark.parametrize(
    ("setting", "verdict", "graph"),
    [
        ("dataflow: independent", "independent", "a, b, c, d independent"),
        ("dataflow: dependent", "dependent", "a, b, c, d: no use seen"),
        ("dataflow: off", "unknown", "a, b, c, d: no use seen"),
        ("dataflow_edges: [[a, b]]", "dependent", "a → b; c, d: no use seen"),
        ("dataflow: independent\ndataflow_edges: [[a, b]]", "dependent", "a → b; c, d independent"),
    ],
)
def test_a_persons_word_counts_on_every_screen(
    call: Call, runs: Runs, tmp_path: Path, setting: str, verdict: str, graph: str
) -> None:
    runs(OPEN)
    write(tmp_path, setting)
    data = call("status", "--json").data["teams"][0]["data_flow"]
    assert (data["verdict"], data["graph"]) == (verdict, graph)
    assert call("explain", "team", "--json").data["team"]["data_flow"] == data
    shown = section(call("explain", "team", "--details", "--settings"))
    assert graph in shown
    assert f"Verdict {verdict}." in shown
    assert verdict in call("status").out


def test_the_word_of_the_workflows_own_file_counts_with_it(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs(OPEN, workflow="flow")
    own = {"autotune": {"mode": "auto", "teams": {"team": {"dataflow": False, "dataflow_edges": [["a", "b"]]}}}}
    text = workflow_yaml("researcher", name="flow", metadata=own)
    (tmp_path / "flow.yaml").write_text(text.replace('"dataflow": false', '"dataflow": off'))
    assert '"dataflow": off' in (tmp_path / "flow.yaml").read_text()
    said = call("explain", "team", "--file", "flow.yaml", "--json")
    assert said.code == 0, said.out
    settings = {one["key"]: one for one in said.data["settings"]}
    assert settings["dataflow"]["value"] == "off"
    assert settings["dataflow"]["source"].startswith("flow.yaml:")
    assert settings["dataflow_edges"]["value"] == [["a", "b"]]
    assert said.data["team"]["data_flow"]["declared"] == "off"


def test_explain_shows_the_edges_and_where_they_are_set(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs()
    write(tmp_path, "workflows:\n  flow:\n    dataflow_edges: [[a, b], [x, c]]\n")
    said = call("explain", "team", "--details", "--settings")
    assert "[a, b], [x, c]" in " ".join(said.out.split())
    rows = {one["key"]: one for one in call("explain", "team", "--json").data["settings"]}
    assert rows["dataflow_edges"]["source"] == ".victor/autotune.yaml:3"
    assert rows["dataflow"]["source"] == "default"
    assert "The declared edge x → c is left out: the team has no member x." in section(said)


def test_the_variables_count(call: Call, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(OPEN)
    monkeypatch.setenv("VICTOR_AUTOTUNE_DATAFLOW", "independent")
    monkeypatch.setenv("VICTOR_AUTOTUNE_DATAFLOW_EDGES", "a,b|b,c")
    data = call("status", "--json").data["teams"][0]["data_flow"]
    assert (data["declared"], data["graph"]) == ("independent", "a → b → c; d independent")


def test_the_screens_fit_80_columns_and_have_no_colour(call: Call, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a_member_with_a_rather_long_name", "another_member_with_a_longer_name", "c", "d")
    long = [Edge(one, other, "text") for one in names for other in names if one != other]
    runs(RunFlow(long, {"c": ("custom", "unexplained", "too_much")}), members=names)
    monkeypatch.setenv("NO_COLOR", "1")
    for command in (("status",), ("explain", "team"), ("doctor",)):
        said = call(*command)
        assert "\x1b" not in said.out
        assert max(len(line.rstrip()) for line in said.out.splitlines() if " " in line.strip()) <= 80


def test_in_the_c_locale_the_graph_is_ascii(call: Call, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(RunFlow([Edge("a", "b", "text"), Edge("b", "a", "text"), Edge("b", "c", "text")]))
    monkeypatch.setenv("LC_ALL", "C")
    said = call("explain", "team", "--details", "--settings")
    assert said.out.isascii()
    assert "(a <-> b) -> c; d independent" in section(said)


def test_a_team_of_many_uses_shows_the_most_frequent_ones_and_how_many_more(call: Call, runs: Runs) -> None:
    names = tuple(f"m{number}" for number in range(8))
    runs(RunFlow([Edge(one, other, "text") for one in names for other in names if one < other]), members=names)
    assert "further use" not in section(call("explain", "team", "--details", "--settings"))
    every = RunFlow([Edge(one, other, "text") for one in names for other in names if one != other])
    runs(every, members=names, team="whole")
    shown = section(call("explain", "whole", "--details", "--settings"))
    assert "and 26 further uses: see --json" in shown
    data = call("explain", "whole", "--json").data["team"]["data_flow"]
    assert len(data["edges"]) == 56


def test_status_tells_the_verdict_in_a_word(call: Call, runs: Runs) -> None:
    runs(CHAIN)
    assert "dependent" in call("status").out.split()
    runs(team="other", times=12)
    assert "independent" in call("status").out.split()
    data = {one["team_id"]: one["data_flow"]["verdict"] for one in call("status", "--json").data["teams"]}
    assert data == {"team": "dependent", "other": "independent"}


def test_the_report_shows_the_graph(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs(CHAIN)
    assert call("report").code == 0
    page = (tmp_path / "autotune-report.html").read_text(encoding="utf-8")
    for part in ('"source":"b","target":"c"', "shared context", "may be", "12 runs as configured"):
        assert part in page, part


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_of_members_stay_text(call: Call, runs: Runs, tmp_path: Path, name: str) -> None:
    runs(RunFlow([Edge(name, "b", "text")], {name: ("custom",)}), times=1, members=(name, "b"))
    said = call("explain", "team", "--details", "--settings")
    assert said.code == 0
    assert not set(said.out) & {"\x1b", "\u202e", "\r", "\x07"}
    assert call("report").code == 0
    assert not set((tmp_path / "autotune-report.html").read_text()) & {"\x1b", "\u202e", "\r", "\x07"}


def found(said: Said, name: str) -> list[Any]:
    return [one for one in said.data["checks"] if one["name"] == name]


def test_doctor_warns_where_a_use_was_seen_in_spite_of_the_word(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs(CHAIN)
    assert found(call("doctor", "--json"), "data flow of team") == []
    write(tmp_path, "workflows: {flow: {teams: {team: {dataflow: independent}}}}")
    said = call("doctor", "--json")
    (check,) = found(said, "data flow of team")
    assert (said.code, check["status"]) == (0, "warn")
    assert "independent, but a run showed that" in check["found"]
    assert "dataflow_edges: [[" in check["hint"]
    write(tmp_path, "{dataflow: independent, dataflow_edges: [[a, b], [b, c]]}")
    assert found(call("doctor", "--json"), "data flow of team") == []


def test_doctor_knows_the_word_of_a_workflows_own_file(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs(CHAIN)
    own = {"autotune": {"dataflow": "independent"}}
    (tmp_path / "flow.yaml").write_text(workflow_yaml("researcher", name="flow", metadata=own))
    assert len(found(call("doctor", "--json"), "data flow of team")) == 1


def test_doctor_warns_for_a_team_that_is_only_observed_too(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs(CHAIN, mode="observe")
    write(tmp_path, "dataflow: independent")
    assert len(found(call("doctor", "--json"), "data flow of team")) == 1


def test_doctor_names_declared_members_that_no_team_has(call: Call, runs: Runs, tmp_path: Path) -> None:
    runs()
    write(tmp_path, "workflows:\n  flow:\n    teams:\n      team:\n        dataflow_edges: [[a, b], [bb, c]]\n")
    (check,) = found(call("doctor", "--json"), "unknown name")
    assert check["status"] == "warn"
    assert check["found"].startswith(".victor/autotune.yaml:5: dataflow_edges: member 'bb' of team 'team' is in no")
    assert "Did you mean `b`?" in check["hint"]


PAGE = (Path(__file__).parents[2] / "docs" / "data-flow.md").read_text(encoding="utf-8")


def test_the_page_shows_what_is_really_printed(call: Call, runs: Runs) -> None:
    flow = RunFlow([Edge("extract", "clean", "context"), Edge("clean", "report", "context")])
    runs(flow, 14, ("extract", "clean", "report"), team="review")
    (block,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    called, *documented = [line for line in block.splitlines() if line.strip() not in ("", "…")]
    printed = [line.rstrip() for line in call(*called.split()[3:]).out.splitlines()]
    assert [line for line in documented if line not in printed] == []


def test_the_settings_of_the_page_are_read(call: Call, runs: Runs, tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    flow = RunFlow([Edge("extract", "report", "files")])
    runs(flow, 12, ("extract", "clean", "report"), team="review", workflow="shop")
    write(tmp_path, text)
    data = call("status", "--json").data["teams"][0]["data_flow"]
    declared = [(one["source"], one["target"]) for one in data["edges"] if one["channel"] == "declared"]
    assert sorted(declared) == [("clean", "report"), ("extract", "clean")]
    assert data["graph"] == "extract → clean → report"
