"""A key that Victor ignores is a note with file and line; only what makes a step impossible is an error, its team's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from victor_autotune_plugin import read_workflows
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_plugin.configfiles.discovery import find_teams
from victor_autotune_plugin.errors import WorkflowError

OPEN: Final = """\
workflows:
  release:
    nodes:
      - id: check
        type: team
        description: Looks at a release
        formatoin: parallel
        goal: Check the release
        config: {timeout: 90}
        max_iterations: 3
        max_iterations: 4
        member_count: 7
        members:
          - {id: notes, role: writer, tools: [read], model: small}
          - id: tests
            rule: tester
            tools: [read]
          - {role: Analyst, tools: []}
          - {role: wizard, agent_category: specialist}
"""
NOTES: Final = (
    "flow.yaml:6: the key `description` of a team step has no effect in Victor",
    "flow.yaml:7: the key `formatoin` of a team step has no effect in Victor; did you mean `formation`?",
    "flow.yaml:9: the key `config` of a team step has no effect in Victor",
    "flow.yaml:11: the key `max_iterations` of a team step is given twice; the last counts",
    "flow.yaml:14, flow.yaml:17, flow.yaml:18: the key `tools` of a member has no effect in Victor",
    "flow.yaml:14: the key `model` of a member has no effect in Victor",
    "flow.yaml:16: the key `rule` of a member has no effect in Victor; did you mean `role`?",
    "flow.yaml:12: member_count is 7, but members are 4",
)


def node(text: str) -> str:
    return f"workflows:\n  wf:\n    nodes:\n      - {{id: a, goal: g}}\n      - {text}\n"


TEAM: Final = "      - {id: team, type: team, members: [{id: one}]}\n"


def test_a_key_without_effect_is_a_note_for_each_key_with_its_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flow.yaml").write_text(OPEN)
    found = read_team_config(Path("flow.yaml"))
    assert sorted(found.notes) == sorted(NOTES)
    assert find_teams(tmp_path, ".victor").notes == list(found.notes)
    read = read_workflows(Path("flow.yaml"))
    assert list(read.notes) == list(found.notes)
    step = read.workflow(None).nodes["check"]
    assert (step.team_formation, step.max_iterations) == ("sequential", 4)
    assert step.members[0]["tools"] == ["read"]


def test_members_without_an_id_have_the_ones_that_victor_gives_them(tmp_path: Path) -> None:
    from victor.agent.subagents import SubAgentRole
    from victor.teams.types import TeamMember
    from victor.workflows.executors.team import TeamStepExecutor

    (tmp_path / "flow.yaml").write_text(OPEN)
    found = read_team_config(tmp_path / "flow.yaml")
    members = read_workflows(tmp_path / "flow.yaml").workflow(None).nodes["check"].members
    made = TeamStepExecutor()._build_members(members, SubAgentRole, TeamMember)
    assert found.spec is not None
    assert (
        list(found.spec.member_ids)
        == [member.id for member in made]
        == ["notes", "tests", "researcher_2", "executor_3"]
    )
    assert [one["id"] for one in found.config["members"]] == list(found.spec.member_ids)
    with pytest.raises(WorkflowError, match=r"flow\.yaml:18: members without an id can't change places"):
        found.write(TeamPlan(members=["tests", "notes"]))


@pytest.mark.parametrize("formation", ["Parallel", "PIPELINE", "", "~"])
def test_a_formation_is_read_as_victor_reads_it(tmp_path: Path, formation: str) -> None:
    (tmp_path / "flow.yaml").write_text(OPEN.replace("formatoin: parallel", f"formation: {formation}"))
    expected = formation.lower() if formation.isalpha() else "sequential"
    assert read_team_config(tmp_path / "flow.yaml").config["formation"] == expected


def test_no_time_limit_is_none(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(OPEN.replace("max_iterations: 3", "timeout_seconds: 0"))
    assert "timeout_seconds" not in read_team_config(tmp_path / "flow.yaml").config


BROKEN: Final = """\
workflows:
  good: {nodes: [{id: a, type: team, members: [{id: one}]}]}
  half:
    nodes:
      - {id: sound, type: team, members: [{id: one}]}
      - {id: typo, type: team, formation: paralel, members: [{id: one}]}
      - {id: empty, type: team}
  flat: {nodes: none}
  twice:
    nodes:
      - {id: t, type: team, members: [{id: one}]}
      - {id: t, type: team, members: [{id: one}]}
  victors:
    nodes:
      - {id: b, type: compute, inputs: [a]}
      - {id: t, type: team, members: [{id: one}]}
"""


def test_an_error_is_its_teams_and_the_others_are_found(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(BROKEN)
    (tmp_path / "torn.yaml").write_text("workflows:\n  x: {nodes: [{type: team,\n")
    (tmp_path / "chart.yaml").write_text("kind: Group\ntype: team\n{{ helm }}\n")
    found = find_teams(tmp_path, ".victor")
    assert [team.spec.key for team in found.teams] == [("good", "a"), ("half", "sound"), ("victors", "t")]
    assert [error.where for error in found.broken] == [
        "flow.yaml:8", "flow.yaml:12", "flow.yaml:6", "flow.yaml:7", "torn.yaml:3",
    ]  # fmt: skip


def test_a_workflow_runs_whatever_is_wrong_with_another(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(BROKEN)
    found = read_workflows(path)
    assert list(found.workflows) == ["good"]
    assert found.workflow("good").nodes["a"].members == [{"id": "one"}]
    places = {name: [error.where for error in errors] for name, errors in found.faults.items()}
    lines = {"flat": [8], "twice": [12], "half": [6, 7], "victors": [15]}
    assert places == {name: [f"{path}:{line}" for line in at] for name, at in lines.items()}
    for name, errors in found.faults.items():
        with pytest.raises(WorkflowError) as caught:
            found.workflow(name)
        assert caught.value is errors[0]
    with pytest.raises(WorkflowError, match="holds several workflows\n  Choose one: --workflow good"):
        found.workflow(None)
    assert read_team_config(path, "sound").config["member_count"] == 1
    with pytest.raises(WorkflowError, match="nodes must be a list"):
        read_team_config(path, None, "flat")


@pytest.mark.parametrize(
    "text",
    [
        "{id: b, type: compute, inputs: [a]}",
        "{id: b, type: compute, constraints: nonsense}",
        "{id: b, type: compute, execution_target: 7}",
        "{id: b, type: hitl, hitl_type: bogus}",
        "{id: b, type: condition, condition: 7}",
        "{id: b, type: wat}",
        "{id: b, llm_config: text}",
        "{id: b, next: }",
        "{id: [b]}",
        "{type: agent}",
        "{$ref: './nothing.yaml#x'}",
        "just text",
        "",
        "{id: b, created: 2026-13-45}",
        "{id: b, x: !own text}",
        "{id: b, x: !own {a: b}}",
        "{id: b, x: !!python/object:os.system {}}",
        "{id: b, x: =}",
        "{id: b, goal: {{topic}}}",
        "{id: b, <<: 7}",
    ],
)
def test_whatever_victors_loader_raises_names_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(node(text) + TEAM)
    with pytest.raises(WorkflowError) as caught:
        read_workflows(path)
    assert caught.value.where == f"{path}:5"
    assert caught.value.hint
    assert ("write `next: []`" in caught.value.hint) is ("next" in text)


@pytest.mark.parametrize("text", ["{id: b, next: [nobody]}", "{id: b, type: condition, branches: {true: nobody}}"])
def test_what_is_wrong_among_nodes_names_the_workflows_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(node(text) + TEAM)
    with pytest.raises(WorkflowError, match="non-existent node 'nobody'") as caught:
        read_workflows(path)
    assert caught.value.where == f"{path}:2"
