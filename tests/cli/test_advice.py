"""`analyze`, `suggest` and `apply`: from files and from the store, asked and by themselves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.made_runs import HOSTILE_NAMES, metric_rows
from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.simulated import Simulation

from .conftest import Said

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = ("--metrics", str(EXAMPLES / "code_review_metrics.json"))


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.json"
    runs = [
        *metric_rows("review", [75.0, 80.0, 70.0, 120.0], failed=1),
        *metric_rows("research", [250.0, 280.0, 290.0], calls=50),
    ]
    path.write_text(json.dumps(runs))
    return path


@pytest.fixture
def recorded(simulate: Callable[..., Simulation], tmp_path: Path) -> Simulation:
    """A team of mode `auto` with a few runs and no test of its own."""
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    simulation = simulate(**{"experiment.min_history": 1000})
    for _ in range(8):
        simulation.run()
    return simulation


def plan(folder: Path) -> TeamPlan:
    with Store.open(default_url(folder)) as store:
        return store.teams()[0].plan


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- analyze


def test_analyze_shows_severity_bars_and_what_to_do(call: Callable[..., Said], metrics: Path, tmp_path: Path) -> None:
    said = call("analyze", "review", "--metrics", "metrics.json")
    assert said.code == 0, said.err
    assert "4 runs: mean 86.2 s" in said.out
    assert "1. Slow execution\n   Severity [██████████] 1.00   Impact 0.65\n" in said.out
    assert "Now 86.2 s, baseline (default) 30.0 s" in said.out
    assert "Severity [████░░░░░░] 0.40" in said.out
    assert "Now 75 %, baseline (default) 95 %" in said.out
    severities = [float(line.split("] ")[1].split()[0]) for line in said.out.splitlines() if "Severity [" in line]
    assert severities == sorted(severities, reverse=True)
    assert "\x1b" not in said.out
    assert contents(tmp_path) == {"metrics.json"}


def test_analyze_without_a_team_shows_every_team(call: Callable[..., Said], metrics: Path) -> None:
    said = call("analyze", "--metrics", "metrics.json", "--json", "--output", "out.json")
    assert said.code == 0
    assert [team["team_id"] for team in said.data["teams"]] == ["review", "research"]
    first = said.data["teams"][0]
    assert first["summary"]["runs"] == 4
    assert first["insights"][0]["bottleneck"] == "slow_execution"
    assert json.loads(Path("out.json").read_text()) == said.data
    text = call("analyze", "--metrics", "metrics.json").out
    assert "review\n4 runs" in text
    assert "research\n3 runs" in text


def test_analyze_reads_what_was_recorded(call: Callable[..., Said], recorded: Simulation) -> None:
    data = call("analyze", "team", "--json").data
    names = [insight["bottleneck"] for insight in data["teams"][0]["insights"]]
    assert "suboptimal_formation_sequential" in names
    assert "team (flow)\n8 runs" in call("analyze").out


def test_analyze_without_runs(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("analyze")
    assert said.code == 0
    assert "Nothing was recorded here yet." in said.out
    (tmp_path / "none.json").write_text("[]")
    said = call("analyze", "--metrics", "none.json")
    assert (said.code, said.out) == (2, "")
    assert "none.json holds no runs" in said.err
    said = call("suggest", "--metrics", "none.json")
    assert said.code == 2
    assert "none.json holds no runs" in said.err
    assert "or give --metrics" not in said.err
    assert contents(tmp_path) == {"none.json"}


def test_one_healthy_run_is_nothing_to_tell(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(metric_rows("quick", [3.0], calls=2, members=2)))
    said = call("analyze", "--metrics", "one.json")
    assert "Nothing stands out." in said.out
    assert "nothing to suggest" in call("suggest", "--metrics", "one.json").out


def test_a_terminal_without_unicode_gets_ascii_bars(
    call: Callable[..., Said], metrics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import ConsoleOptions

    monkeypatch.setattr(ConsoleOptions, "ascii_only", True)
    assert "Severity [##########] 1.00" in call("analyze", "review", "--metrics", "metrics.json").out


@pytest.mark.parametrize("command", ["analyze", "suggest", "apply"])
def test_bad_rows_are_named_or_skipped(call: Callable[..., Said], tmp_path: Path, command: str) -> None:
    runs = metric_rows("review", [75.0, 80.0, 70.0])
    runs[1]["success"] = "maybe"
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    options = ["--dry-run"] if command == "apply" else []
    said = call(command, "--metrics", "bad.jsonl", *options)
    assert said.code == 2
    assert "error: bad.jsonl:2: success: 'maybe' is neither true nor false" in said.err
    assert said.out == ""
    said = call(command, "--metrics", "bad.jsonl", "--skip-bad", *options)
    assert said.code == 0, said.err
    assert "1 bad row left out; the first: bad.jsonl:2: success" in said.err
    assert "2 runs" in said.out


@pytest.mark.parametrize("command", ["analyze", "suggest"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"hello", "is not a metrics file"),
        (b"[1, 2]", "m.json:1: 1 is not a run"),
        (b'[{"team_id": "a"}]', "m.json:1: "),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (None, "No such file"),
    ],
)
def test_what_is_no_metrics_file(
    call: Callable[..., Said], tmp_path: Path, command: str, text: bytes | None, told: str
) -> None:
    if text is not None:
        (tmp_path / "m.json").write_bytes(text)
    before = contents(tmp_path)
    said = call(command, "--metrics", "m.json", "--json")
    assert said.code == 2
    error = said.data["error"]
    assert told in f"{error['where']}: {error['message']}"
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", [("analyze",), ("suggest",), ("apply", "--dry-run")])
def test_an_unknown_team_of_a_file(call: Callable[..., Said], metrics: Path, command: tuple[str, ...]) -> None:
    said = call(*command, "reviw", "--metrics", "metrics.json")
    assert said.code == 2
    assert "there is no run of team 'reviw'" in said.err
    assert "Did you mean `review`?" in said.err


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_in_a_file_are_harmless(call: Callable[..., Said], tmp_path: Path, name: str) -> None:
    (tmp_path / "m.json").write_text(json.dumps(metric_rows(name, [75.0, 80.0, 90.0])))
    for command in (("analyze",), ("suggest",), ("apply", "--dry-run")):
        said = call(*command, "--metrics", "m.json")
        assert said.code == 0, said.err
        assert not set(said.out + said.err) & {"\x1b", "\u202e", "\r", "\x07"}
    assert contents(tmp_path) == {"m.json"}


def test_a_thousand_teams(call: Callable[..., Said], tmp_path: Path) -> None:
    runs = [run for number in range(1000) for run in metric_rows(f"team{number}", [40.0, 50.0])]
    (tmp_path / "m.json").write_text(json.dumps(runs))
    assert len(call("analyze", "--metrics", "m.json", "--json").data["teams"]) == 1000
    said = call("suggest", "--metrics", "m.json")
    assert said.code == 2
    assert "Name one of: team0, team1" in said.err
    assert "and 990 more" in said.err


# --- suggest


def test_suggestions_are_numbered_with_before_and_after(call: Callable[..., Said]) -> None:
    said = call("suggest", *EXAMPLE, "--config", str(EXAMPLES / "code_review_team.yaml"))
    assert said.code == 0, said.err
    assert "code_review_team (code_review_team): 60 runs, 3 suggestions, the best first:" in said.out
    assert "\n1. Give the team 33 tool calls" in said.out
    assert "   tool_budget: 50 → 33\n" in said.out
    assert "   timeout_seconds: 300 → " in said.out
    assert "risk 0.10 (very low)" in said.out


def test_suggestions_can_be_narrowed(call: Callable[..., Said]) -> None:
    said = call("suggest", *EXAMPLE, "--max-risk", "0.15", "--json", "--output", "s.json")
    assert {one["type"] for one in said.data["suggestions"]} == {"timeout_tuning"}
    assert json.loads(Path("s.json").read_text()) == said.data
    said = call("suggest", *EXAMPLE, "--strategies", "tool_budget, team_sizing", "--json")
    assert {one["type"] for one in said.data["suggestions"]} <= {"tool_budget", "team_sizing"}
    said = call("suggest", *EXAMPLE, "--strategies", "tool_budgets")
    assert said.code == 2
    assert "unknown strategy 'tool_budgets'" in said.err
    for wrong in ("2", "tiny", "nan"):
        told = " ".join(call("suggest", *EXAMPLE, "--max-risk", wrong).err.split())
        assert f"'{wrong}' is not a risk: write a number from 0 to 1, or 'very low' (up to 0.15)" in told
    for named in ("very low", "very-low", "Very Low"):
        found = call("suggest", *EXAMPLE, "--max-risk", named, "--json").data["suggestions"]
        assert {one["type"] for one in found} == {"timeout_tuning"}


def test_suggest_reads_what_was_recorded(call: Callable[..., Said], recorded: Simulation) -> None:
    (one,) = [one for one in call("suggest", "--json").data["suggestions"] if one["type"] == "formation_selection"]
    assert one["suggested_config"] == {"formation": "parallel"}
    assert "formation: sequential → parallel" in call("suggest", "team").out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("formation: paralel\nmember_count: 3\n", "team.yaml:1"),
        ("a: [\n", "team.yaml:"),
        ("members: []\nformation: parallel\n", "team.yaml:"),
        (None, "team.yaml"),
    ],
)
def test_a_configuration_that_can_t_be_used(
    call: Callable[..., Said], metrics: Path, tmp_path: Path, text: str | None, told: str
) -> None:
    if text is not None:
        (tmp_path / "team.yaml").write_text(text)
    before = contents(tmp_path)
    for command in (("suggest",), ("apply", "--auto")):
        said = call(*command, "review", "--metrics", "metrics.json", "--config", "team.yaml")
        assert said.code == 2, said.out
        assert told in said.err
    assert contents(tmp_path) == before


# --- apply


def test_a_dry_run_changes_nothing(call: Callable[..., Said], recorded: Simulation, tmp_path: Path) -> None:
    said = call("apply", "team", "--dry-run")
    assert said.code == 0, said.err
    assert "Nothing was changed: this is a dry run." in said.out
    assert "would be made." in said.out
    with Store.open(default_url(tmp_path)) as store:
        assert store.changes() == []


def test_auto_changes_the_live_plan(call: Callable[..., Said], recorded: Simulation, tmp_path: Path) -> None:
    said = call("apply", "team", "--auto", "--strategies", "formation_selection")
    assert said.code == 0, said.err
    assert "The live plan of team 'team' is changed." in said.out
    assert "1 change made; see victor autotune history" in said.out
    assert plan(tmp_path) == TeamPlan(formation="parallel")
    listed = call("rollback", "team", "--list").out
    assert "formation sequential" in listed
    assert call("rollback", "team").code == 0
    assert plan(tmp_path) == EMPTY_PLAN


def test_a_test_is_started_and_only_one(call: Callable[..., Said], recorded: Simulation, tmp_path: Path) -> None:
    said = call("apply", "team", "--auto", "--ab-test", "--json")
    assert said.code == 0, said.err
    (result,) = said.data["results"]
    assert (result["success"], result["validation_status"]) == (True, "inconclusive")
    with Store.open(default_url(tmp_path)) as store:
        (experiment,) = store.experiments()
    assert experiment.status == "canary"
    assert plan(tmp_path) == EMPTY_PLAN
    again = call("apply", "team", "--auto", "--ab-test")
    assert again.code == 0
    assert f"The test {experiment.id} of this team is open" in " ".join(again.out.split())
    with Store.open(default_url(tmp_path)) as store:
        assert store.experiments() == [experiment]


def test_a_change_that_would_end_an_open_test_is_asked_about_first(
    call: Callable[..., Said], recorded: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("apply", "team", "--auto", "--ab-test")
    left = call("apply", "team", "--auto", "--json").data
    assert left["results"] == []
    assert "is open. To end it by applying this, use --interactive." in left["left_out"][0]["reason"]
    (tmp_path / "team.yaml").write_text("formation: sequential\nmembers: [{id: a}, {id: b}, {id: c}, {id: d}]\n")
    left = call("apply", "team", "--config", "team.yaml", "--auto", "--json").data
    assert left["results"] == []
    assert "is open." in left["left_out"][0]["reason"]
    monkeypatch.setattr("victor_autotune_plugin._cli.apply.sys", _Stdin("n\n"))
    said = call("apply", "team", "--interactive")
    assert "What you apply ends it." in " ".join(said.out.split())
    assert plan(tmp_path) == EMPTY_PLAN
    monkeypatch.setattr("victor_autotune_plugin._cli.apply.sys", _Stdin("y\ny\n"))
    assert call("apply", "team", "--interactive").code == 0
    assert plan(tmp_path) != EMPTY_PLAN
    with Store.open(default_url(tmp_path)) as store:
        assert [change.action for change in store.changes()] == ["started", "aborted", "promoted"]
    for command in ("history", "explain"):
        said = " ".join(call(command).out.split())
        assert "applied" in said
        assert "promoted" not in said
    with Store.open(default_url(tmp_path)) as store:
        assert sorted(one.status for one in store.experiments()) == ["aborted", "proven"]


def test_it_asks_about_each(call: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "team.yaml").write_text((EXAMPLES / "code_review_team.yaml").read_text())
    monkeypatch.setattr("victor_autotune_plugin._cli.apply.sys", _Stdin("v\nperhaps\ny\nn\n\n"))
    said = call("apply", *EXAMPLE, "--config", "team.yaml", "--interactive")
    assert said.code == 0, said.err
    assert said.err.count("Apply suggestion 1?") == 3
    assert "Please answer y, n, v or q." in said.err
    assert "interval_percent" in said.out
    assert "Written into team.yaml, with a backup." in said.out
    assert "1 change made" in said.out
    text = (tmp_path / "team.yaml").read_text()
    assert "total_tool_budget: 33    # calls of all members together" in text
    assert "timeout_seconds: 300     # nobody ever measured it" in text
    assert (tmp_path / "team.yaml.bak").read_text() == (EXAMPLES / "code_review_team.yaml").read_text()
    said = call("rollback", "code_review_team", "--list")
    assert "written into" in said.out
    assert call("rollback", "code_review_team").code == 0
    assert (tmp_path / "team.yaml").read_text() == (EXAMPLES / "code_review_team.yaml").read_text()


class _Stdin:
    """Stands in for `sys` with an input of its own."""

    def __init__(self, text: str, *, terminal: bool = False) -> None:
        self.stdin = io.StringIO(text)
        self.stdin.isatty = lambda: terminal  # type: ignore[method-assign]


@pytest.mark.parametrize("text", ["q\n", "", "n\nq\n"])
def test_quit_and_the_end_of_the_input_change_nothing(
    call: Callable[..., Said], recorded: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("victor_autotune_plugin._cli.apply.sys", _Stdin(text))
    said = call("apply", "team", "--interactive")
    assert said.code == 0, said.err
    assert "0 changes made" in said.out
    with Store.open(default_url(tmp_path)) as store:
        assert store.changes() == []


def test_a_terminal_is_asked_by_itself_and_a_pipe_is_not(
    call: Callable[..., Said], recorded: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = call("apply", "team")
    assert said.code == 2
    assert "Add --auto, --interactive or --dry-run." in said.err
    monkeypatch.setattr("victor_autotune_plugin._cli.apply.sys", _Stdin("q\n", terminal=True))
    assert "Apply suggestion 1?" in call("apply", "team").err


def test_no_knob_is_changed_twice(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text((EXAMPLES / "code_review_team.yaml").read_text())
    data = call("apply", *EXAMPLE, "--config", "team.yaml", "--auto", "--json").data
    knobs = [knob for one in data["results"] for knob in one["optimization"]["suggested_config"]]
    assert len(knobs) == len(set(knobs))
    assert all(one["success"] for one in data["results"])
    assert len(data["results"]) + len(data["left_out"]) == 3


def test_applying_twice_makes_no_more_of_the_same_runs(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text((EXAMPLES / "code_review_team.yaml").read_text())
    call("apply", *EXAMPLE, "--config", "team.yaml", "--auto")
    applied = (tmp_path / "team.yaml").read_text()
    said = call("apply", *EXAMPLE, "--config", "team.yaml", "--auto")
    assert "nothing to suggest" in said.out
    assert (tmp_path / "team.yaml").read_text() == applied


def test_the_history_tells_what_was_taken_back_in_a_file(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text((EXAMPLES / "code_review_team.yaml").read_text())
    call("apply", *EXAMPLE, "--config", "team.yaml", "--auto", "--strategies", "tool_budget")
    call("rollback", "code_review_team")
    shown = " ".join(call("history", "--limit", "1").out.split())
    assert "undoes: Give the team 33" in shown.replace("by a person ", "").replace("code_review_team ", "")


def test_taking_all_back_restores_the_file(call: Callable[..., Said], tmp_path: Path) -> None:
    original = (EXAMPLES / "code_review_team.yaml").read_text()
    (tmp_path / "team.yaml").write_text(original)
    call("apply", *EXAMPLE, "--config", "team.yaml", "--auto")
    assert (tmp_path / "team.yaml").read_text() != original
    said = call("rollback", "code_review_team", "--all")
    assert said.code == 0, said.err
    assert (tmp_path / "team.yaml").read_text() == original
    assert "nothing to roll back" in call("rollback", "code_review_team", "--list").out


def test_what_can_t_be_applied_ends_with_1(call: Callable[..., Said], recorded: Simulation, tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(
        workflow_yaml(
            "researcher",
            "planner",
            name="flow",
            step="team",
            formation="sequential",
            metadata={"autotune": {"limits": {"formations": ["sequential"]}}},
        )
    )
    said = call("apply", "team", "--config", "flow.yaml", "--auto", "--strategies", "formation_selection")
    assert said.code == 1
    assert "Failed: " in said.out
    assert "formation is parallel" in said.out
    assert not list(tmp_path.glob("*.bak"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--interactive", "--auto"], "exclude each other"),
        (["--interactive", "--json"], "--json can't ask"),
        (["--auto", "--config", "nope.yaml"], "nope.yaml"),
    ],
)
def test_wrong_use_of_apply(call: Callable[..., Said], recorded: Simulation, options: list[str], told: str) -> None:
    said = call("apply", "team", *options)
    assert said.code == 2
    assert told in said.err + said.out


def test_the_example_s_metrics_are_what_the_script_makes() -> None:
    import runpy

    made: list[Any] = runpy.run_path(str(EXAMPLES / "make_code_review_metrics.py"))["make_runs"]()
    assert made == json.loads((EXAMPLES / "code_review_metrics.json").read_text())


@pytest.mark.parametrize("command", ["analyze", "suggest", "apply"])
def test_ctrl_c_while_a_file_is_read(
    call: Callable[..., Said], metrics: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from victor_autotune_plugin import PerformanceAnalyzer

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PerformanceAnalyzer, "load_metrics_from_file", interrupted)
    said = call(command, "--metrics", "metrics.json", *(["--auto"] if command == "apply" else []))
    assert (said.code, said.out) == (130, "")


def test_a_name_that_is_no_text(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(metric_rows("\ud800", [75.0, 80.0, 90.0])))
    assert call("analyze", "--metrics", "m.json").code == 0
    said = call("apply", "--metrics", "m.json", "--auto")
    assert said.code == 2
    assert "is not a team name" in said.err


def test_colours_are_for_terminals_that_want_them(
    call: Callable[..., Said], metrics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31m" in call("analyze", "review", "--metrics", "metrics.json").out
    monkeypatch.setenv("NO_COLOR", "1")
    said = call("analyze", "review", "--metrics", "metrics.json")
    assert "\x1b[31m" not in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 90
