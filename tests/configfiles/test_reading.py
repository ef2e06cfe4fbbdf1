"""What is read from configuration files, and what is said about bad ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._values import reading
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_plugin.errors import AutotuneError

STEP = """\
workflows:
  review:
    nodes:
      - id: team
        type: team
        formation: parallel
        total_tool_budget: 50
        timeout_seconds: 300
        members:
          - {id: security, role: reviewer, tool_budget: 9}
          - {id: style, role: analyst, is_manager: true}
"""


def step(old: str, new: str) -> str:
    assert old in STEP
    return STEP.replace(old, new)


def error(path: Path, content: str | bytes, **asked: str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(AutotuneError) as caught:
        read_team_config(path, **asked)
    return str(caught.value).replace(f"{path}", path.name)


def test_a_workflows_team_step_is_read_as_it_is_declared(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(STEP)
    found = read_team_config(tmp_path / "flow.yaml")
    assert (found.workflow, found.team_id) == ("review", "team")
    assert found.config == {
        "formation": "parallel",
        "member_count": 2,
        "members": [
            {"id": "security", "role": "reviewer", "tool_budget": 9},
            {"id": "style", "role": "analyst", "is_manager": True},
        ],
        "tool_budget": 50,
        "timeout_seconds": 300.0,
    }
    assert found.spec is not None
    assert found.spec.key == ("review", "team")
    assert [(one.id, one.role, one.tool_budget, one.is_supervisor) for one in found.spec.members] == [
        ("security", "reviewer", 9, False),
        ("style", "analyst", None, True),
    ]


def test_a_plan_that_the_file_fixes_is_part_of_the_configuration(tmp_path: Path) -> None:
    metadata = (
        "metadata: {autotune: {plan: {formation: reflection}, teams: {team: {plan: {members: [style, security]}}}}}"
    )
    (tmp_path / "flow.yaml").write_text(step("    nodes:", f"    {metadata}\n    nodes:"))
    found = read_team_config(tmp_path / "flow.yaml")
    assert found.settings.plan == TeamPlan(formation="reflection", members=("style", "security"))
    assert found.config["formation"] == "reflection"
    assert [one["id"] for one in found.config["members"]] == ["style", "security"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.yaml", "team_formation: parallel\nmembers: [a, b]\ntotal_tool_budget: 50\ntimeout_seconds: 30\n"),
        ("plain.yml", "formation: parallel # why\nmember_count: 2\nmembers:\n- a\n- b\ntool_budget: 50\n"
                      "timeout_seconds: 30"),
        ("plain.json", '{\n\t"formation": "parallel",\n\t"members": ["a", "b"],\n\t"tool_budget": 50,\n'
                       '\t"timeout_seconds": 30\n}'),
        ("bom.yaml", "\ufeffformation: parallel\r\nmembers: [a, b]\r\ntool_budget: 50\r\ntimeout_seconds: 30\r\n"),
        ("mine.yaml", "formation: parallel\nmembers: [a, b]\ntool_budget: 50\ntimeout_seconds: 30\nowner: me\n"),
    ],
)  # fmt: skip
def test_plain_files_are_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(content.encode())
    found = read_team_config(tmp_path / name)
    assert found.config == {
        "formation": "parallel",
        "member_count": 2,
        "members": ["a", "b"],
        "tool_budget": 50,
        "timeout_seconds": 30.0,
    }
    assert (found.workflow, found.team_id, found.spec) == (None, None, None)
    assert read_team_config(tmp_path / name, "called so").team_id == "called so"


def test_the_team_is_chosen_by_id_and_workflow(tmp_path: Path) -> None:
    node = {"type": "team", "members": [{"id": "a"}]}
    flows = {"v": {"nodes": [{"id": "t", **node}]}, "w": {"nodes": [{"id": "t", **node}, {"id": "u", **node}]}}
    path = tmp_path / "flow.json"
    path.write_text(json.dumps({"workflows": flows}))
    assert read_team_config(path, "u").workflow == "w"
    assert read_team_config(path, "t", "v").workflow == "v"
    with pytest.raises(
        AutotuneError, match="holds several teams\n  Choose one: 't' of workflow 'v', 't' of workflow 'w'"
    ):
        read_team_config(path, "t")
    with pytest.raises(AutotuneError, match="holds no team 'x'"):
        read_team_config(path, "x")
    with pytest.raises(AutotuneError, match="holds no workflow 'x'"):
        read_team_config(path, None, "x")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (step("parallel", "paralel"), ("f.yaml:6: ", "team step 'team'", "'paralel'", "`parallel`?")),
        (step("parallel", "7"), ("f.yaml:6: ", "unknown formation 7")),
        (step("parallel", "[parallel]"), ("f.yaml:6: ", "unknown formation")),
        (step("parallel", "hierarchical").replace(", is_manager: true", ""), ("f.yaml:6: ", "can't form")),
        (STEP[: STEP.index("          -")], ("f.yaml:9: ", "has no members", "each with an `id`")),
        (step("        members:", "        memebrs:"), ("f.yaml:9: ", "has no members", "Did you mean `members`")),
        (step("{id: security, role: reviewer, tool_budget: 9}", "security"), ("f.yaml:10: ", "must be a mapping")),
        (step("role: reviewer", "role: "), ("f.yaml:10: ", "the role of a member is empty")),
        (step("role: reviewer", "agent_category: boss"), ("f.yaml:10: ", "not a known category", "specialist")),
        (step("id: style", "id: security"), ("f.yaml:11: ", "two members 'security'")),
        (step("id: style, ", "id: , "), ("f.yaml:11: ", "the id of a member is empty")),
        (step("tool_budget: 9", "tool_budget: many"), ("f.yaml:10: ", "budget: 'many' is not a number", "Write a")),
        (step("budget: 50", "budget: -1"), ("f.yaml:7: ", "total_tool_budget: -1 is out of range", "of at least 0.")),
        (step("300", "-1"), ("f.yaml:8: ", "timeout_seconds: -1 is out of range", "Write a number of at least 0.")),
        (step("300", ".inf"), ("f.yaml:8: ", "finite")),
        (step("300", "soon"), ("f.yaml:8: ", "timeout_seconds: 'soon' is not a number")),
        (step("- id: team", "- id: 7"), ("f.yaml:4: ", "a team step needs an `id`")),
        (step("        type", "\ttype"), ("f.yaml:5: ", "is not YAML", "spaces in place of the tab")),
        (step("    nodes:\n", "    nodes: none\n    x:\n"), ("f.yaml:3: ", "nodes must be a list")),
        ("workflows: [review]\n", ("f.yaml:1: ", "must be a mapping of workflow names")),
        (STEP.replace("type: team", "type: agent"), ("f.yaml: ", "no workflow with a team step", "`type: team`")),
        (STEP + "      - {id: team, type: team, members: [{id: a}]}\n", ("f.yaml:12: ", "two team steps 'team'")),
        (STEP + "    metadata: {autotune: {mod: auto}}\n", ("f.yaml:12: metadata.autotune.mod", "you mean `mode`?")),
        ("a: &a {b: *a}\n", ("f.yaml:1: ", "refers to itself")),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 9)), ("200,000",)),
        ("formation: paralel\n", ("f.yaml:1: formation: 'paralel'", "Did you mean `parallel`?")),
        ("\nformaton: parallel\ntool_budget: 3\n", ("f.yaml:2: ", "unknown key 'formaton'", "`formation`?")),
        ("members: [a, b]\nmember_count: 3\n", ("f.yaml:2: ", "member_count is 3, but members are 2")),
        ("members: [a, a]\n", ("f.yaml:1: ", "two members 'a'")),
        ("members: []\n", ("f.yaml:1: ", "no members")),
        ("members: [{role: x}]\n", ("f.yaml:1: ", "member 1 has no id")),
        ("formation: parallel\nteam_formation: parallel\n", ("f.yaml:2: ", "Keep one of them.")),
        ("formation: parallel\ntool_budget: many\n", ("f.yaml:2: tool_budget: 'many' is not a number",)),
        ("formation: parallel\ntimeout_seconds: -1\n", ("f.yaml:2: timeout_seconds: -1 is out of range",)),
        ("member_count: 0\n", ("f.yaml:1: member_count: 0 is out of range",)),
        ("formation: hierarchical\nmembers: [{id: a}, {id: b}]\n", ("f.yaml:1: ", "`is_manager: true`")),
        ("just text\n", ("f.yaml:1: ", "must be a mapping")),
        ("- formation: parallel\n", ("f.yaml:1: ", "must be a mapping")),
        ("", ("f.yaml:1: ", "must be a mapping")),
        ("formation: [parallel\n", ("f.yaml:2: ", "is not YAML")),
        ("a: 1\nb: \x07\n", ("f.yaml:2: ", "is not YAML", "plain text")),
        (b"a: 1\nb: \xff\n", ("f.yaml:2: ", "is not UTF-8 text", "Save the file as UTF-8.")),
        (b"\x00\x01\x02", ("f.yaml:1: ", "is not YAML")),
        ("#" * 1_000_001, ("f.yaml: ", "1,000,001 bytes", "the right file?")),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_with_line_and_mend(tmp_path: Path, content: str | bytes, told: tuple[str, ...]) -> None:
    said = error(tmp_path / "f.yaml", content)
    assert said.startswith("f.yaml"), said
    for part in told:
        assert part in said


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(AutotuneError, match=r"is a folder\n  Name a YAML or JSON file"):
        read_team_config(tmp_path)
    with pytest.raises(AutotuneError, match="can't be read: No such file"):
        read_team_config(tmp_path / "nothing.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(AutotuneError, match="is a pipe, not a file"):
        read_team_config(tmp_path / "pipe.yaml")


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f.yaml").write_text(STEP)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading.os, "open", refuse)  # whoever runs the tests may be allowed to read everything
    with pytest.raises(AutotuneError, match="can't be read: Permission denied"):
        read_team_config(tmp_path / "f.yaml")


def test_reading_needs_no_victor(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(STEP)
    code = (
        "import sys; from pathlib import Path; from victor_autotune_plugin.configfiles import read_team_config\n"
        "read_team_config(Path(sys.argv[1])); print('victor' in sys.modules)"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "f.yaml")]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "False\n"
