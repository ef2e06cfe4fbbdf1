"""Environment variables in a team's file: filled in as Victor does, also in numbers, and kept when it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from victor.workflows import yaml_loader

from victor_autotune_plugin import read_workflows
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._values.nodes import from_plain
from victor_autotune_plugin._values.yaml_tree import filled, filled_text
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_plugin.errors import WorkflowError

FLOW: Final = """\
workflows:
  wf:
    metadata: {autotune: {mode: "${MODE:-suggest}", limits: {max_members: "${MOST:-4}"}}}
    nodes:
      - id: team   # of $env.OWNER
        type: team
        name: Team for ${REPO:-none}
        goal: |
          Look at ${REPO:-none}
          with $env.OWNER and $env.NOBODY
        formation: ${FORMATION:-sequential}
        timeout_seconds: ${TEAM_TIMEOUT:-300}
        total_tool_budget: "${CALLS:-50}"
        max_iterations: ${ROUNDS:-7}
        continue_on_error: ${GO_ON:-no}
        output_key: res_${REPO:-none}
        shared_context: {repo: "${REPO:-none}", "${REPO}": key}
        members:
          - {id: one, role: "${ROLE:-reviewer}", goal: "a ${REPO:-none}", tool_budget: "${EACH:-9}"}
          - {id: two, role: planner, is_manager: "${LEADS:-false}"}
"""

pieces = st.lists(
    st.sampled_from(
        ["$env.", "${", "}", ":-", "A", "B_1", "é", "1", " ", "$", "{", "-", ":", "\n", "$env.A", "${A}", "${B_1:-x}"]
    )
).map("".join)
values = st.dictionaries(st.sampled_from(["A", "B_1"]), pieces)


@examples(max_examples=1_000, derandomize=True)
@given(text=pieces, environ=values)
def test_a_text_is_filled_as_victor_fills_it(text: str, environ: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("A", "B_1"):
            patch.delenv(name, raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        assert filled_text(text, environ) == yaml_loader._interpolate_env_vars(text)
        data = {"a": [text, 7, {text: text}], text: None}
        assert filled(from_plain(data, "here"), environ).plain() == yaml_loader._interpolate_env_vars(data)  # type: ignore[arg-type]


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REPO", "OWNER", "NOBODY", "TEAM_TIMEOUT", "CALLS", "MODE", "MOST", "EACH", "LEADS"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    return path


def test_defaults_stand_where_nothing_is_set(flow: Path) -> None:
    found = read_team_config(flow)
    assert found.config["timeout_seconds"] == 300
    assert found.config["tool_budget"] == 50
    assert found.config["formation"] == "sequential"
    assert found.config["members"][0] == {"id": "one", "role": "reviewer", "goal": "a none", "tool_budget": 9}
    assert found.settings.mode == "suggest"
    assert found.settings.limits.max_members == 4
    assert found.notes == ()


def test_variables_reach_victors_own_step_as_text_number_and_flag(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"REPO": "x", "OWNER": "us", "TEAM_TIMEOUT": "1.5", "CALLS": "0300", "ROUNDS": "3"}
    values |= {"GO_ON": "yes", "EACH": "2"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    definition = read_workflows(flow).workflow("wf")
    step = definition.nodes["team"]
    assert step.goal == "Look at x\nwith us and $env.NOBODY\n"
    assert (step.name, step.output_key, step.shared_context) == ("Team for x", "res_x", {"repo": "x", "${REPO}": "key"})
    assert (step.timeout_seconds, step.total_tool_budget, step.max_iterations) == (1.5, 300, 3)
    assert step.continue_on_error is True
    assert [member["goal"] for member in step.members if "goal" in member] == ["a x"]
    assert (step.members[0]["tool_budget"], step.members[1]["is_manager"]) == (2, False)
    assert definition.metadata["autotune"]["mode"] == "suggest"


def test_a_variable_that_is_no_number_is_told_with_its_line(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_TIMEOUT", "soon")
    for read in (read_team_config, read_workflows):
        with pytest.raises(WorkflowError, match=r"flow\.yaml:12: team step 'team': timeout_seconds: 'soon' is not a"):
            read(flow)


def test_what_does_not_change_keeps_its_variables_when_the_file_is_written(
    flow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_TIMEOUT", "120")
    monkeypatch.setenv("FORMATION", "parallel")
    change = TeamPlan(formation="parallel", members=["two", "one"], timeout_seconds=45)
    read_team_config(flow).write(change)
    changed = FLOW.replace("${TEAM_TIMEOUT:-300}", "45")
    one, two = (line for line in FLOW.splitlines(keepends=True) if line.startswith("          - {id"))
    assert flow.read_text() == changed.replace(one + two, two + one)


def test_a_plain_file_is_filled_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLS", "12")
    path = tmp_path / "team.yaml"
    text = "formation: parallel\ntool_budget: ${CALLS}\ntimeout_seconds: ${T_O:-30}\nmembers: [a, '${B:-b}']\n"
    path.write_text(text)
    found = read_team_config(path)
    assert (found.config["tool_budget"], found.config["timeout_seconds"]) == (12, 30)
    assert found.config["members"] == ["a", "b"]
    found.write({"formation": "pipeline", "members": ["b"]})
    assert path.read_text() == text.replace("parallel", "pipeline").replace("a, ", "")
