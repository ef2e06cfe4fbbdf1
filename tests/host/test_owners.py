"""Each knob of a run has one owner: what something else in Victor, or the caller, has set stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

import victor_autotune_plugin
from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import interception
from victor_autotune_plugin._host.owners import FOUND, TOPOLOGY
from victor_autotune_plugin._model.plan import TeamPlan, adhoc_team_id
from victor_autotune_plugin.experiment import ASSIGNMENT_VERSION
from victor_autotune_plugin.hookspecs import Experiment
from victor_autotune_testing.realvictor import make_team, run_team
from victor_autotune_testing.scripted import ScriptedModel, max_in_flight, scripts
from victor_autotune_testing.stored import experiment

from .conftest import Plugin

TRIO = ("planner", "researcher", "reviewer")
PARALLEL = TeamPlan(formation="parallel", tool_budget=7)


async def open_test(plugin: Plugin, orchestrator: Any) -> Experiment:
    """Run a team once, open a test of `PARALLEL` for it, and make that plan its live one."""
    await run_team(orchestrator, make_team(*TRIO, formation="sequential"))
    assert plugin.runtime.settle(30)
    store, spec = plugin.runtime.store(), plugin.runs[-1].spec
    test = evolve(
        experiment("open", control=TeamPlan(tool_budget=9), treatment=PARALLEL, status="testing"),
        workflow=spec.workflow,
        team_id=spec.team_id,
        fingerprint=spec.fingerprint(),
        assignment_version=ASSIGNMENT_VERSION,
    )
    with store.transaction() as transaction:
        state = transaction.team(*spec.key)
        transaction.save_experiment(test)
        transaction.save_team(evolve(state, plan=TeamPlan(tool_budget=9), experiment_id="open"))
    plugin.runtime.loop.store_work.wants_refresh = True
    assert plugin.runtime.settle(30)
    return test


async def test_a_formation_that_a_hint_has_set_is_left_alone_and_the_run_gets_no_arm(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    await open_test(plugin, orchestrator)
    scripted.script = scripts.meeting(3)
    await run_team(
        orchestrator, make_team(*TRIO, formation="sequential", shared_context={"formation_hint": "parallel"})
    )
    run = plugin.runs[-1]
    assert max_in_flight(scripted.calls) == 3
    assert run.owners == {"formation": "formation_hint"}
    assert (run.arm, run.plan_asked) == (None, TeamPlan(tool_budget=9))
    assert (run.spec.formation, run.plan_used.formation) == ("sequential", "parallel")
    assert plugin.runs[0].spec.fingerprint() == run.spec.fingerprint()
    assert plugin.stored[-1].owners == run.owners


async def test_without_another_owner_a_run_takes_part(plugin: Plugin, orchestrator: Any) -> None:
    await open_test(plugin, orchestrator)
    await run_team(orchestrator, make_team(*TRIO, formation="sequential"))
    run = plugin.runs[-1]
    assert run.arm in ("control", "treatment")
    assert run.owners == {}


async def test_the_topology_selector_is_named_with_all_that_it_sets(plugin: Plugin, orchestrator: Any) -> None:
    context = {"topology_action": "team", "formation_hint": "parallel", "max_workers": 2, "tool_budget": 4}
    await run_team(orchestrator, make_team(*TRIO, formation="sequential", shared_context=context))
    run = plugin.run
    assert run.owners == dict.fromkeys(("formation", "members", "tool_budget"), TOPOLOGY)
    assert [member.id for member in run.members] == ["m0", "m1"]
    assert run.spec.member_ids == ("m0", "m1", "m2")
    assert run.success
    assert run.member_success_share == 1.0


async def test_a_formation_that_shows_in_the_result_alone_is_recorded_as_it_was(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor.teams import TeamFormation, UnifiedTeamCoordinator

    await open_test(plugin, orchestrator)

    def resolve(*_: object, **__: object) -> TeamFormation:
        return TeamFormation.CONSENSUS

    with monkeypatch.context() as patch:
        patch.setattr(UnifiedTeamCoordinator, "_resolve_effective_formation", resolve)
        await run_team(orchestrator, make_team(*TRIO, formation="sequential"))
    run = plugin.runs[-1]
    assert run.plan_used.formation == "consensus"
    assert run.owners == {"formation": FOUND}
    assert run.arm is not None  # it was assigned, and so it counts
    assert plugin.runtime.settle(30)
    assert [one.run_id for one in plugin.runtime.store().observations("open", "test")] == [run.run_id]


@pytest.mark.parametrize("off", ["off", " OFF", False])
async def test_the_context_can_leave_a_run_alone(plugin: Plugin, orchestrator: Any, off: object) -> None:
    plugin.plan = PARALLEL
    result = await run_team(orchestrator, make_team(*TRIO, formation="sequential", shared_context={"autotune": off}))
    assert result.success
    assert plugin.runs == plugin.starting == []


async def test_a_run_that_is_left_alone_waits_for_nothing_of_the_plugins(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def current() -> None:
        raise AssertionError("it would have waited for the settings")

    monkeypatch.setattr(interception, "current", current)
    with victor_autotune_plugin.as_configured():
        assert (await run_team(orchestrator, make_team(*TRIO, formation="sequential"))).success
    assert failsafe.seen() == ()


async def test_a_block_leaves_its_runs_alone_and_no_others(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    plugin.plan = TeamPlan(members=["m2"])
    with victor_autotune_plugin.as_configured():
        await run_team(orchestrator, make_team(*TRIO, formation="sequential"))
    assert [call.role for call in scripted.calls] == list(TRIO)
    assert plugin.runs == []
    scripted.clear()
    await run_team(orchestrator, make_team(*TRIO, formation="sequential"))
    assert [call.role for call in scripted.calls] == ["reviewer"]


async def test_two_ad_hoc_teams_of_one_name_are_two_teams(plugin: Plugin, orchestrator: Any) -> None:
    for roles in (TRIO, TRIO[:2], TRIO[::-1]):
        await run_team(orchestrator, make_team(*roles, name="research"))
    trio, pair, reversed_trio = (run.spec.team_id for run in plugin.runs)
    assert trio == adhoc_team_id("research", ["m0", "m1", "m2"]) == reversed_trio
    assert pair == adhoc_team_id("research", ["m0", "m1"]) != trio
    assert {run.spec.workflow for run in plugin.runs} == {"adhoc"}


async def test_a_run_says_its_environment(plugin: Plugin, orchestrator: Any) -> None:
    await run_team(orchestrator, make_team("researcher"))
    assert plugin.starting[0].environment == plugin.run.environment == "default"
    assert plugin.stored[0].environment == "default"
