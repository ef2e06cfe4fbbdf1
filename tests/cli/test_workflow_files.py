"""Commands on workflow files as people write them: keys without effect, one bad team of many, variables, typos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from victor_autotune_testing.fake_victor import Victor
from victor_autotune_testing.simulated import Simulation

from .conftest import Said

Call = Callable[..., Said]

NAMES: Final = ("plan", "write", "check", "print", "ship")
FIVE: Final = "workflows:\n" + "".join(
    f"  {name}:\n    nodes:\n      - id: {name}_team\n        type: team\n"
    f"        formation: {'paralel' if name == 'print' else 'parallel'}\n"
    f"        members: [{{id: {name}_a, role: planner}}, {{id: {name}_b, role: executor, tools: [read]}}]\n"
    for name in NAMES
)
BAD: Final = "five.yaml:24: team step 'print_team': unknown formation 'paralel'"
TOOLS: Final = ", ".join(f"five.yaml:{line}" for line in (7, 13, 19, 31)) + ": the key `tools` of a member"
EXAMPLES: Final = Path(__file__).parents[2] / "examples"
ROW: Final = {
    "team_id": "team",
    "success": True,
    "duration_seconds": 9,
    "member_count": 2,
    "formation": "sequential",
    "total_tool_calls": 3,
    "timestamp": 1_760_000_000,
}


@pytest.fixture
def five(tmp_path: Path) -> Path:
    path = tmp_path / "five.yaml"
    path.write_text(FIVE)
    return path


def test_init_writes_the_good_ones_and_names_the_bad_one(call: Call, five: Path) -> None:
    said = call("init", "--json")
    assert said.code == 0
    assert [team["team_id"] for team in said.data["teams"]] == [f"{name}_team" for name in NAMES if name != "print"]
    assert any(BAD in note for note in said.data["notes"])
    assert any(note.startswith(TOOLS) for note in said.data["notes"])
    words = call("init", "--force").err
    assert BAD in words
    assert "Did you mean `parallel`?" in words
    assert TOOLS in words


def test_doctor_names_the_bad_one_and_counts_the_others(call: Call, five: Path) -> None:
    said = call("doctor", "--json")
    assert said.code == 1
    checks = said.data["checks"]
    assert [check["found"] for check in checks if check["name"] == "workflows"] == ["4 teams in 1 workflow file"]
    (bad,) = [check for check in checks if check["status"] == "bad"]
    assert bad["found"] == BAD
    assert "`parallel`" in bad["hint"]


def test_doctor_names_a_workflow_that_victor_can_not_read(call: Call, five: Path) -> None:
    node = "nodes:\n      - {id: b, type: compute, inputs: [a]}"
    five.write_text(FIVE.replace("nodes:", node, 1).replace("paralel", "parallel"))
    said = call("doctor", "--json")
    assert said.code == 1
    (bad,) = [check for check in said.data["checks"] if check["status"] == "bad"]
    assert bad["found"].startswith("five.yaml:4: workflow 'plan': Victor can't read it: AttributeError")


def test_doctor_warns_of_keys_without_effect(call: Call, five: Path) -> None:
    five.write_text(FIVE.replace("paralel", "parallel"))
    said = call("doctor")
    assert said.code == 0
    words = " ".join(said.out.split())
    assert "the key `tools` of a member has no effect in Victor" in words
    assert "Nothing is wrong, but 1 check of" in words


def test_run_runs_the_one_that_is_asked_for(call: Call, five: Path, victor: Victor) -> None:
    said = call("run", "five.yaml", "--workflow", "check", "--mode", "observe", "--json")
    assert said.code == 0, said.err
    assert [definition.name for definition in victor.definitions] == ["check"]
    for notes in (said.err, "\n".join(said.data["notes"])):
        assert BAD in notes
        assert TOOLS in notes
    said = call("run", "five.yaml", "--workflow", "print", "--json")
    assert said.code == 2
    assert said.data["error"]["where"] == "five.yaml:24"
    assert len(victor.definitions) == 1


def test_suggest_goes_on_and_notes_each_key(call: Call, five: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.json").write_text(json.dumps([ROW | {"team_id": "plan_team"}] * 20))
    said = call("suggest", "--metrics", "runs.json", "--config", "five.yaml", "--team", "plan_team", "--json")
    assert said.code == 0, said.err
    note = "five.yaml:7: the key `tools` of a member has no effect in Victor"
    assert said.data["notes"] == [note]
    assert said.err.count(note) == 1


@pytest.mark.parametrize(("set_to", "read"), [(None, 300), ("250", 250)])
def test_suggest_reads_a_variable_as_a_number(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_to: str | None, read: int
) -> None:
    monkeypatch.delenv("TEAM_TIMEOUT", raising=False)
    if set_to is not None:
        monkeypatch.setenv("TEAM_TIMEOUT", set_to)
    text = (EXAMPLES / "code_review_team.yaml").read_text()
    assert "timeout_seconds: 300" in text
    (tmp_path / "flow.yaml").write_text(text.replace("seconds: 300", "seconds: ${TEAM_TIMEOUT:-300}"))
    metrics = str(EXAMPLES / "code_review_metrics.json")
    said = call("suggest", "--metrics", metrics, "--config", "flow.yaml", "--json")
    assert said.code == 0, said.err
    before = {one["current_config"].get("timeout_seconds") for one in said.data["suggestions"]} - {None}
    assert before == {read}


NEXT: Final = "workflows: {wf: {nodes: [{id: a, goal: g, next: }, {id: t, type: team, members: [{id: one}]}]}}\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (NEXT, 1),
        (NEXT.replace("next: ", "\n inputs: [x], type: compute"), 1),
        (NEXT.replace("next: ", "when: 2026-13-45"), 1),
        (NEXT.replace("next: ", "\n  set: !own {b}"), 2),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("run", "f.yaml"),
        ("explain", "team", "--file", "f.yaml"),
        ("benchmark", "--before", "f.yaml", "--after", "f.yaml"),
    ],
)
def test_what_victor_raises_is_an_error_object(
    call: Call, project: Callable[[str], None], tmp_path: Path, content: str, line: int, command: tuple[str, ...]
) -> None:
    project("testing")
    (tmp_path / "f.yaml").write_text(content)
    said = call(*command, "--json")
    assert said.code == 2
    assert said.data["error"]["where"] == f"f.yaml:{line}"
    assert call(*command).err.startswith(f"error: f.yaml:{line}: ")


SETTINGS: Final = """\
limits: {protected_members: [plan_a, chek_b]}
workflows:
  pln: {mode: auto}
  write:
    teams:
      write_tem: {}
      write_team: {limits: {protected_members: [check_a]}}
  adhoc: {mode: observe}
"""
WARNINGS: Final = {
    ".victor/autotune.yaml:1": ("member 'chek_b'", "`check_b`"),
    ".victor/autotune.yaml:3": ("workflow 'pln'", "`plan`"),
    ".victor/autotune.yaml:6": ("team 'write_tem'", "`write_team`"),
    ".victor/autotune.yaml:7": ("member 'check_a' of team 'write_team'", "write_a"),
}


@pytest.fixture
def settings(five: Path, tmp_path: Path) -> Path:
    five.write_text(FIVE.replace("paralel", "parallel"))
    path = tmp_path / ".victor" / "autotune.yaml"
    path.parent.mkdir()
    path.write_text(SETTINGS)
    return path


def test_names_that_nothing_knows_are_warned_of_by_doctor(call: Call, settings: Path, tmp_path: Path) -> None:
    said = call("doctor", "--json")
    assert said.code == 0
    found = [check for check in said.data["checks"] if check["name"] == "unknown name"]
    assert all(check["status"] == "warn" for check in found)
    told = {check["found"].partition(": ")[0]: (check["found"], check["hint"]) for check in found}
    assert told.keys() == WARNINGS.keys()
    for where, (name, near) in WARNINGS.items():
        assert name in told[where][0]
        assert near in told[where][1]
    assert [path.name for path in (tmp_path / ".victor").iterdir()] == ["autotune.yaml"]


def test_names_that_nothing_knows_are_warned_of_by_run_and_init(call: Call, settings: Path, victor: Victor) -> None:
    run = call("run", "five.yaml", "--workflow", "plan", "--json")
    assert run.code == 0, run.err
    for said in (run.err, call("init", "--dry-run").err, call("init").err):
        for where, (name, near) in WARNINGS.items():
            assert f"{where}: " in said
            assert name in said
            assert near in said


def test_a_workflows_own_settings_are_looked_at_too(call: Call, five: Path) -> None:
    own = "    metadata: {autotune: {teams: {plan_tem: {mode: auto}}}}\n    nodes:"
    five.write_text(FIVE.replace("    nodes:", own, 1).replace("paralel", "parallel"))
    found = [check for check in call("doctor", "--json").data["checks"] if check["name"] == "unknown name"]
    assert [check["found"].partition(": ")[0] for check in found] == ["five.yaml:3"]
    assert [check["hint"] for check in found] == ["Did you mean `plan_team`? Known here: plan_team."]


def test_the_store_knows_teams_that_no_file_has(
    call: Call, settings: Path, simulate: Callable[..., Simulation], victor: Victor
) -> None:
    simulate("write_tem", "write").run()
    simulate("any", "pln").run()
    simulate("research-3f2a", "adhoc", environment="production").run()
    simulation = simulate("reviewers", "chat")
    simulation.run()
    member = simulation.spec.member_ids[0]
    text = SETTINGS.replace("chek_b", member).replace("check_a", "write_b")
    settings.write_text(text.replace("{mode: observe}", "{teams: {research: {}, research-3f2a: {}}}"))
    assert "unknown name" not in {check["name"] for check in call("doctor", "--json").data["checks"]}
    said = call("run", "five.yaml", "--workflow", "plan")
    assert "no run was recorded" not in said.err


def test_settings_of_the_user_may_be_about_other_projects(
    call: Call, five: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".victor").mkdir(parents=True)
    (home / ".victor" / "autotune.yaml").write_text(SETTINGS)
    monkeypatch.setenv("HOME", str(home))
    five.write_text(FIVE.replace("paralel", "parallel"))
    assert "unknown name" not in {check["name"] for check in call("doctor", "--json").data["checks"]}
