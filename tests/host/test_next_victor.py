"""A later Victor: formations that are not known here, seams that are gone, and a team without members."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import seam_table, seams
from victor_autotune_plugin._model.known_formations import is_misspelt
from victor_autotune_plugin._model.plan import FORMATIONS, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_plugin._telemetry.labels import run_attributes
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_testing.made_runs import run
from victor_autotune_testing.realvictor import GOAL, make_team, outcomes, run_team, workflow_yaml
from victor_autotune_testing.scripted import ScriptedModel

from .conftest import Plugin


@pytest.fixture
def later(orchestrator: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Victor's formations with two more, one of which is named much like a known one."""
    from victor.teams import types

    names = {one.name: one.value for one in types.TeamFormation}
    made = Enum("TeamFormation", {**names, "DEBATE": "debate", "PIPELINES": "pipelines"}, type=str)
    monkeypatch.setattr(types, "TeamFormation", made)
    return made


def a_coordinator(orchestrator: Any, later: Any) -> Any:
    from victor.coordination.formations import SequentialFormation
    from victor.teams import UnifiedTeamCoordinator

    made = UnifiedTeamCoordinator(orchestrator)
    made._formations[later.DEBATE] = SequentialFormation()
    return made


async def test_a_new_formation_is_observed_and_kept(plugin: Plugin, orchestrator: Any, later: Any) -> None:
    team = make_team("researcher", "planner", formation="sequential")
    team.formation = later.DEBATE
    for _ in range(2):
        result = await a_coordinator(orchestrator, later).execute_team_config(team)
        assert result.success
    assert [run.spec.formation for run in plugin.runs] == ["debate", "debate"]
    assert [run.plan_used.formation for run in plugin.runs] == ["debate", "debate"]
    assert plugin.stored_as_ended == plugin.runs


async def test_a_hint_of_a_new_formation_is_read_as_victor_reads_it(
    plugin: Plugin, orchestrator: Any, later: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor.teams import unified_coordinator

    monkeypatch.setattr(unified_coordinator, "TeamFormation", later)
    team = make_team("researcher", formation="sequential", shared_context={"formation_hint": "debate"})
    await a_coordinator(orchestrator, later).execute_team_config(team)
    assert (plugin.run.spec.formation, plugin.run.plan_used.formation) == ("sequential", "debate")


async def test_a_person_may_plan_what_victor_has_and_nothing_else(
    plugin: Plugin, orchestrator: Any, later: Any, scripted: ScriptedModel
) -> None:
    plugin.plan = TeamPlan(formation="debate")
    team = make_team("researcher", "planner", formation="parallel")
    assert (await a_coordinator(orchestrator, later).execute_team_config(team)).success
    assert plugin.runs[-1].plan_used.formation == "debate"
    plugin.plan = TeamPlan(formation="group_chat")
    assert (await run_team(orchestrator, team)).success
    assert plugin.runs[-1].plan_used.formation == "parallel"
    assert "this Victor has no 'group_chat'" in failsafe.seen()[0].error
    failsafe.forget()


def test_only_what_looks_like_a_known_name_is_taken_for_a_mistake(later: Any) -> None:
    names = ("paralel", "serial", "reflexion", "debate", "group_chat", "handoff")
    assert [is_misspelt(name) for name in names] == [True, True, True, False, False, False]
    assert not is_misspelt("pipelines")  # Victor has it


@pytest.mark.parametrize("name", ["debate", "ensemble", "group_chat", "handoff"])
def test_files_settings_rows_and_telemetry_take_a_formation_that_is_not_known_here(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor_autotune_plugin import PerformanceAnalyzer
    from victor_autotune_plugin._host.workflows import read_workflows
    from victor_autotune_plugin._model.converter import from_plain, to_plain

    workflow = tmp_path / "flow.yaml"
    workflow.write_text(workflow_yaml("planner", "reviewer", formation=name))
    assert read_team_config(workflow).spec.formation == name
    assert read_workflows(workflow).workflow(None).nodes["team"].team_formation == name
    settings = tmp_path / ".victor" / "autotune.yaml"
    settings.parent.mkdir()
    settings.write_text(f"limits: {{formations: [parallel, {name}]}}\nplan: {{formation: {name}}}\n")
    found = SettingsResolver.load(tmp_path, home=tmp_path, environ={}).for_team("w", "t", None)
    assert found.limits.formations == ("parallel", name)
    assert PerformanceAnalyzer([run(formation=name)]).teams
    spec = TeamSpec("w", "t", name, [MemberSpec("a")])
    made = TeamRun("r", spec, 1_760_000_000.0, 1.0, True, 1.0, plan_used=TeamPlan(formation=name))
    assert from_plain(TeamRun, to_plain(made)) == made
    assert name in str(run_attributes(made))


# --- seams of another release


def test_what_a_later_victor_may_lack_is_no_fault_there(orchestrator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seams.uninstall()
    gone = [evolve(one, path=f"{one.path}_that_is_gone") for one in seams.SEAMS if one.until is not None]
    assert gone
    monkeypatch.setattr(seams, "SEAMS", (*[one for one in seams.SEAMS if one.until is None], *gone))
    seams.install()
    assert {name for name, fault in seams.health().items() if fault} == {one.name for one in gone}
    seams.uninstall()
    failsafe.forget()
    monkeypatch.setattr(seam_table, "victor_release", lambda: (0, 10))
    seams.install()
    assert not any(seams.health().values())
    assert failsafe.seen() == ()
    monkeypatch.undo()
    seams.uninstall()
    seams.install()


def test_the_release_is_read_once_and_a_victor_without_one_has_every_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    seam_table.victor_release.cache_clear()
    assert seam_table.victor_release() >= (0, 9)
    monkeypatch.setattr(seam_table, "version", lambda _: "unknown")
    seam_table.victor_release.cache_clear()
    assert seam_table.victor_release() == (0, 9)
    seam_table.victor_release.cache_clear()


# --- a team without members


async def test_a_team_without_members_ends_as_victor_ends_it(plugin: Plugin, orchestrator: Any) -> None:
    from victor.teams import UnifiedTeamCoordinator

    plugin.plan = TeamPlan(tool_budget=3, timeout_seconds=30)
    result = await UnifiedTeamCoordinator(orchestrator).execute_task(GOAL, {})
    assert (result["success"], result["error"]) == (False, "No team members added")
    assert (plugin.run.success, plugin.run.member_success_share, plugin.run.members) == (False, 0.0, ())


@pytest.mark.parametrize("size", [1, 12])
@pytest.mark.parametrize("formation", ["sequential", "parallel", "consensus"])
async def test_one_member_and_twelve_run_under_a_plan(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, size: int, formation: str
) -> None:
    plugin.plan = TeamPlan(formation=formation, tool_budget=24, timeout_seconds=60)
    result = await run_team(orchestrator, make_team(*["researcher"] * size, formation="pipeline"))
    assert [success for _, success, _ in outcomes(result)] == [True] * size
    assert len(plugin.run.members) == size
    assert set(FORMATIONS) >= {plugin.run.plan_used.formation}


def test_errors_of_a_misspelt_name_still_help(tmp_path: Path) -> None:
    workflow = tmp_path / "flow.yaml"
    workflow.write_text(workflow_yaml("planner", "reviewer", formation="paralel"))
    with pytest.raises(AutotuneError, match="unknown formation 'paralel'"):
        read_team_config(workflow)
