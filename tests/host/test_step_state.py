"""After a step, a workflow's state is what the declared formation leaves, whichever of its kind the plugin ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_testing.realvictor import GOAL, heal, make_team
from victor_autotune_testing.scripted import Failure, Rule, Script, ScriptedModel

from .conftest import Plugin

ROLES = ("researcher", "planner", "reviewer", "executor")
ANSWERS = {role: f"The {role} has finished all of its work, and nothing is missing. " * 3 for role in ROLES}
PLANS = {
    "parallel": TeamPlan(formation="parallel"),
    "sequential": TeamPlan(formation="sequential"),
    "consensus": TeamPlan(formation="consensus"),
    "pairs": TeamPlan(sub_teams=[["m0", "m1"], ["m2", "m3"]]),
    "mixed pairs": TeamPlan(sub_teams=[["m0", "m2"], ["m1", "m3"]]),
    "one and the rest": TeamPlan(sub_teams=[["m3"], ["m0", "m1", "m2"]]),
}
STATES: dict[str, dict[str, Any]] = {
    "empty": {},
    "with keys of the same names": {"previous_output": "from before", "previous_agent": "someone", "formation": "x"},
    "with more": {"question": "?", "found": ["a", {"b": 1}], "consensus_achieved": "?"},
}


class Quick:
    """A custom participant that delivers what the scripted sub-agent of its role does, at once."""

    role = None
    persona = None
    failing: str | None = None

    def __init__(self, name: str, role: str) -> None:
        self.id, self._role = name, role

    async def execute_task(self, _task: str, _context: Any) -> Any:
        succeeds = self._role != self.failing
        return {"success": succeeds, "output": ANSWERS[self._role] if succeeds else "", "tool_calls_used": 1}

    async def receive_message(self, _message: Any) -> None:
        return None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> type[Quick]:
    """Let steps run custom participants, which are many times faster than sub-agents."""
    from victor.teams import UnifiedTeamCoordinator

    def adapt(_coordinator: Any, members: Any) -> list[Any]:
        return [Quick(one.id, role) for one, role in zip(members, ROLES, strict=True)]

    monkeypatch.setattr(UnifiedTeamCoordinator, "_adapt_team_members", adapt)
    monkeypatch.setattr(Quick, "failing", None)
    return Quick


def script(failing: str | None) -> Script:
    rules = [
        Rule(role, role=role, answer=answer, failures=[Failure(400)] if role == failing else [])
        for role, answer in ANSWERS.items()
    ]
    return Script(rules)


def without_noise(value: Any) -> Any:
    """Drop what differs between any two runs."""
    if isinstance(value, Mapping):
        return {key: without_noise(one) for key, one in value.items() if "duration" not in str(key)}
    return [without_noise(one) for one in value] if isinstance(value, list) else value


async def state_after(orchestrator: Any, formation: str, state: Mapping[str, Any], **config: Any) -> Any:
    """Return the state after a real team step."""
    from victor.framework.workflows.nodes import TeamStep, TeamStepConfig
    from victor.teams import TeamFormation

    heal(orchestrator)
    step = TeamStep(
        id="step",
        name="step",
        goal=GOAL,
        team_formation=TeamFormation(formation),
        members=make_team(*ROLES).members,
        config=TeamStepConfig(**config),
    )
    return without_noise(await step.execute_async(orchestrator, dict(state)))


@pytest.mark.parametrize("failing", [None, "researcher", "reviewer", "executor"])
@pytest.mark.parametrize("declared", ["sequential", "parallel", "consensus"])
async def test_the_state_is_the_same_under_every_plan(
    plugin: Plugin, orchestrator: Any, quick: type[Quick], declared: str, failing: str | None
) -> None:
    quick.failing = failing
    for name, state in STATES.items():
        plugin.plan = TeamPlan()
        wanted = await state_after(orchestrator, declared, state)
        assert wanted["effective_formation"] == wanted["team_result"]["formation"] == declared
        for plan in PLANS:
            plugin.plan = PLANS[plan]
            assert await state_after(orchestrator, declared, state) == wanted, (name, plan)


@pytest.mark.parametrize("failing", [None, "reviewer"])
@pytest.mark.parametrize(("declared", "plan"), [("sequential", "parallel"), ("parallel", "pairs")])
async def test_the_state_after_sub_agents_is_the_same(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, declared: str, plan: str, failing: str | None
) -> None:
    scripted.script = script(failing)
    wanted = await state_after(orchestrator, declared, STATES["empty"])
    plugin.plan = PLANS[plan]
    assert await state_after(orchestrator, declared, STATES["empty"]) == wanted


MERGES: dict[str, dict[str, Any]] = {
    "list": {"merge_strategy": "list"},
    "selective": {"merge_strategy": "selective"},
    "custom": {"merge_strategy": "custom", "custom_merge": lambda key, _mine, theirs: (key, theirs)},
    "another key": {"output_key": "result"},
}


def merges() -> dict[str, dict[str, Any]]:
    from victor.framework.state_merging import MergeMode

    return MERGES | {mode.value: {"merge_mode": mode} for mode in MergeMode}


async def test_the_state_is_the_same_with_every_way_of_merging(
    plugin: Plugin, orchestrator: Any, quick: type[Quick]
) -> None:
    assert quick.failing is None
    for name, config in merges().items():
        for declared in ("sequential", "parallel"):
            for state in STATES.values():
                plugin.plan = TeamPlan()
                wanted = await state_after(orchestrator, declared, state, **config)
                plugin.plan = PLANS["parallel" if declared == "sequential" else "sequential"]
                assert await state_after(orchestrator, declared, state, **config) == wanted, (name, declared)


@pytest.mark.parametrize("hint", ["sequential", "PARALLEL", "unheard of"])
async def test_a_hint_of_the_callers_stays_in_the_state(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, hint: str
) -> None:
    scripted.script = script(None)
    for key in ("formation_hint", "topology_formation_hint"):
        plugin.plan = TeamPlan()
        wanted = await state_after(orchestrator, "sequential", {key: hint})
        plugin.plan = PLANS["mixed pairs"]
        assert await state_after(orchestrator, "sequential", {key: hint}) == wanted


async def test_the_record_says_what_ran(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = script(None)
    used = []
    for plan in ("parallel", "pairs"):
        plugin.plan = PLANS[plan]
        await state_after(orchestrator, "sequential", {})
        used.append((plugin.runs[-1].plan_used.formation, plugin.runs[-1].plan_used.sub_teams))
    assert used == [("parallel", None), ("parallel", PLANS["pairs"].sub_teams)]


async def test_another_kind_of_final_output_tells_what_ran(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = script(None)
    plugin.plan = TeamPlan(formation="pipeline")
    state = await state_after(orchestrator, "sequential", {})
    assert state["effective_formation"] == "pipeline"
    assert plugin.run.plan_used.formation == "pipeline"


@pytest.mark.parametrize("declared", ["sequential", "parallel"])
async def test_a_coordinator_used_directly_tells_the_declared_formation(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, declared: str
) -> None:
    from victor.teams import TeamFormation, UnifiedTeamCoordinator

    scripted.script = script(None)
    seen = []
    for plan in (TeamPlan(), *PLANS.values()):
        plugin.plan = plan
        heal(orchestrator)
        coordinator = UnifiedTeamCoordinator(orchestrator)
        for member in coordinator._adapt_team_members(make_team(*ROLES).members):
            coordinator.add_member(member)
        result = await coordinator.set_formation(TeamFormation(declared)).execute_task(GOAL, {"team_name": "t"})
        kept = {key: result.get(key) for key in ("final_output", "formation", "shared_context", "consensus_achieved")}
        seen.append((kept, dict(coordinator.shared_memory)))
    assert all(one == seen[0] for one in seen)
    assert seen[0][0]["formation"] == declared


async def test_a_team_inside_a_planned_run_tells_what_it_ran(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    from victor.teams import UnifiedTeamCoordinator

    told: list[Any] = []

    class Leads:
        id, role, persona = "m0", None, None

        async def execute_task(self, _task: str, _context: Any) -> str:
            plugin.plan = TeamPlan()
            result = await UnifiedTeamCoordinator(orchestrator).execute_team_config(make_team("planner"))
            told.append(result.shared_context["effective_formation"])
            return "done"

        async def receive_message(self, _message: Any) -> None:
            return None

    scripted.script = script(None)
    plugin.plan = TeamPlan(formation="parallel")
    outer = make_team("planner", formation="sequential")
    result = await UnifiedTeamCoordinator(None).execute_team_config(outer, members=[Leads()])
    assert told == ["parallel"]
    assert result.shared_context["effective_formation"] == "sequential"
