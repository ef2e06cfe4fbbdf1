"""What a caller gave to Victor stays what it was, in each mode: no copy of it, and no change."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import seams
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_testing.realvictor import GOAL, make_members, make_team
from victor_autotune_testing.scripted import ScriptedModel, max_in_flight, scripts

from .conftest import Plugin

LEAD = {"role": "planner", "is_manager": True}
TRIO = (LEAD, "researcher", "reviewer")
PLAN = TeamPlan(formation="parallel", members=["m2", "m0"], tool_budget=5, member_budgets={"m0": 2}, timeout_seconds=60)
GROUPS = TeamPlan(sub_teams=[["m0"], ["m1", "m2"]], timeout_seconds=60)
each_mode = pytest.mark.parametrize(
    "plugin_settings", [{"mode": m} for m in ("off", "observe", "suggest", "approve", "auto")]
)
each_plan = pytest.mark.parametrize("plan", [TeamPlan(), PLAN, GROUPS], ids=["no plan", "a plan", "sub-teams"])


def state_of(*objects: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return which objects hold which values, down to lists and dicts."""

    def seen(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: seen(one) for key, one in value.items()}
        return [id(value), *map(seen, value)] if isinstance(value, list) else (id(value), str(value)[:50])

    return [(id(one), seen(dict(vars(one)))) for one in objects]


def set_plan(plugin: Plugin, plan: TeamPlan) -> None:
    """Plan the next runs, in the modes in which runs have plans."""
    mode = plugin.runtime.resolver.for_team("w", "t", None).mode
    plugin.plan = plan if mode in ("approve", "auto") else TeamPlan()


def make_team_step(kind: type | None = None, **config: Any) -> Any:
    from victor.framework.workflows.nodes import TeamStep, TeamStepConfig
    from victor.teams import TeamFormation

    return (kind or TeamStep)(
        id="step",
        name="step",
        goal=GOAL,
        team_formation=TeamFormation.SEQUENTIAL,
        members=make_members(*TRIO),
        config=TeamStepConfig(**config),
        shared_context={"notes": ["one"]},
    )


@each_mode
@each_plan
async def test_a_team_step_is_the_callers_object_before_during_and_after(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, plan: TeamPlan, plugin_settings: dict[str, object]
) -> None:
    from victor.framework.workflows.nodes import TeamStep

    class OwnStep(TeamStep):
        """A step with state that no field holds."""

        async def _execute_team(self, coordinator: Any, team_config: Any) -> Any:
            self.seen.append((state_of(self, self.config, *self.members), team_config))
            return await super()._execute_team(coordinator, team_config)

    step = make_team_step(OwnStep, timeout_seconds=30)
    step.seen = []
    held = (step, step.config, *step.members)
    before = state_of(*held)
    set_plan(plugin, plan)
    state = await step.execute_async(orchestrator, {})
    assert state["team_result"]["success"] is True
    ((inside, config),) = step.seen
    step.seen.clear()
    assert inside == state_of(*held) == before
    assert config.timeout_seconds == 30
    assert all(one is mine for one, mine in zip(config.members, step.members, strict=True))
    assert [run.plan_used.formation for run in plugin.runs] in ([], ["sequential"], ["parallel"])
    if not plugin.plan.is_empty:
        assert plugin.run.plan_used.formation == "parallel"
        assert {member.id for member in plugin.run.members} == set(plan.members or ("m0", "m1", "m2"))


@each_mode
async def test_a_patched_step_is_patched_with_the_plugin_too(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch, plugin_settings: dict[str, object]
) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def wrong(*_: Any) -> Any:
        raise RuntimeError("their own")

    set_plan(plugin, TeamPlan(timeout_seconds=60))
    step = make_team_step(timeout_seconds=0.05)
    monkeypatch.setattr(step, "_execute_team", never)
    assert (await step.execute_async(orchestrator, {}))["_timeout"] is True
    monkeypatch.setattr(step, "_execute_team", wrong)
    assert "their own" in (await step.execute_async(orchestrator, {}))["_error"]
    step = make_team_step(timeout_seconds=0.05, continue_on_error=False)
    monkeypatch.setattr(step, "_execute_team", wrong)
    with pytest.raises(RuntimeError, match="their own"):
        await step.execute_async(orchestrator, {})
    monkeypatch.setattr(step, "_execute_team", never)
    with pytest.raises(TimeoutError):
        await step.execute_async(orchestrator, {})


@each_mode
@each_plan
@pytest.mark.parametrize("hint", [{}, {"formation_hint": "pipeline", "max_workers": 3}], ids=["plain", "with hints"])
async def test_a_teams_configuration_and_members_are_the_callers(
    plugin: Plugin, orchestrator: Any, plan: TeamPlan, hint: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor.teams import TeamConfig, UnifiedTeamCoordinator

    class OwnConfig(TeamConfig):
        """A configuration that notes what is set on it."""

    made = make_team(*TRIO, formation="sequential", shared_context={"notes": ["one"], **hint})
    team = OwnConfig(**vars(made))
    team.extra = object()
    coordinator = UnifiedTeamCoordinator(orchestrator)
    adapted = UnifiedTeamCoordinator._adapt_team_members
    seen: list[Any] = []

    def adapt(self: Any, members: Any) -> Any:
        seen.append((self, *members))
        return adapted(self, members)

    monkeypatch.setattr(UnifiedTeamCoordinator, "_adapt_team_members", adapt)
    set_plan(plugin, plan)
    before = state_of(team, coordinator, *team.members)
    await coordinator.execute_team_config(team)
    assert state_of(team, coordinator, *team.members) == before
    assert all(one is mine for one, mine in zip(seen[0], (coordinator, *team.members), strict=True))


@each_mode
@each_plan
async def test_a_coordinator_works_on_itself(plugin: Plugin, orchestrator: Any, plan: TeamPlan) -> None:
    from victor.teams import UnifiedTeamCoordinator

    class OwnCoordinator(UnifiedTeamCoordinator):
        """A coordinator with state that changes while it works."""

        async def _execute_formation(self, *args: Any, **kwargs: Any) -> Any:
            self.rounds = getattr(self, "rounds", 0) + 1
            self.worked = self
            return await super()._execute_formation(*args, **kwargs)

    coordinator = OwnCoordinator(orchestrator)
    members = coordinator._adapt_team_members(make_members(*TRIO))
    for one in members:
        coordinator.add_member(one)
    strategies = dict(coordinator._formations)
    context = {"notes": ["one"], "formation_hint": "sequential"}
    set_plan(plugin, plan)
    for _ in range(2):
        await coordinator.execute_task(GOAL, context)
    assert coordinator.rounds == 2
    assert coordinator.worked is coordinator
    assert all(one is mine for one, mine in zip(coordinator.members, members, strict=True))
    assert coordinator._formations == strategies
    assert coordinator.formation.value == "sequential"
    assert context == {"notes": ["one"], "formation_hint": "sequential"}


async def test_one_step_in_two_runs_at_once_has_a_timeout_in_each(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, deadline_passes: Any
) -> None:
    # Both outlive the step's timeout, one run after the other gets its answers, and neither plan reaches the other run.
    scripted.script = scripts.succeed_at_once(latency=0.5)
    plugin.plan = TeamPlan(timeout_seconds=60)
    step = make_team_step(timeout_seconds=0.3)
    before = dict(vars(step)), dict(vars(step.config))
    states = await asyncio.gather(*(step.execute_async(orchestrator, {}) for _ in range(2)))
    assert [state["team_result"]["success"] for state in states] == [True, True]
    assert (dict(vars(step)), dict(vars(step.config))) == before
    plugin.plan = TeamPlan()
    assert (await step.execute_async(orchestrator, {}))["_timeout"] is True


@pytest.mark.parametrize("plugin_settings", [{"mode": "suggest"}])
async def test_suggest_waits_as_victor_does(plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []
    real = asyncio.wait_for

    async def wait_for(fut: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - as asyncio has it
        waited.append(timeout)
        return await real(fut, timeout)

    monkeypatch.setattr(asyncio, "wait_for", wait_for)
    await make_team_step(timeout_seconds=30).execute_async(orchestrator, {})
    assert 30 in waited


async def test_a_run_under_another_coordinators_plan_is_its_own(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    """A team that a member starts gets the plan of its own run, never the one around it."""
    from victor.teams import UnifiedTeamCoordinator

    scripted.script = scripts.meeting(2, roles=("researcher", "reviewer"))

    class Nesting:
        """A member that runs a team."""

        id = "outer"
        role = None

        async def execute_task(self, task: str, context: dict[str, Any]) -> str:
            plugin.plan = TeamPlan()
            team = make_team("researcher", "reviewer", formation="parallel")
            result = await UnifiedTeamCoordinator(orchestrator).execute_team_config(team)
            return str(result.final_output)

        async def receive_message(self, message: Any) -> None:
            return None

    plugin.plan = TeamPlan(formation="pipeline")
    result = await UnifiedTeamCoordinator(orchestrator).execute_team_config(
        make_team("planner", formation="sequential"), members=[Nesting()]
    )
    assert result.success
    assert [run.plan_used.formation for run in plugin.runs] == ["parallel", "pipeline"]
    assert max_in_flight(scripted.calls) == 2


async def test_a_coordinator_that_asks_for_no_plan_is_recorded_as_it_ran(plugin: Plugin, orchestrator: Any) -> None:
    from victor.teams import UnifiedTeamCoordinator

    class OwnWay(UnifiedTeamCoordinator):
        async def _execute_with(self, **_: Any) -> Any:
            return {"success": True, "member_results": {}, "final_output": "own"}

    plugin.plan = TeamPlan(formation="parallel", tool_budget=5)
    result = await OwnWay(orchestrator).execute_team_config(make_team(*TRIO, formation="sequential"))
    assert result.final_output == "own"
    assert plugin.run.plan_asked.formation == "parallel"
    assert (plugin.run.plan_used.formation, plugin.run.plan_used.tool_budget) == ("sequential", 5)


# --- a caller's own mistake


MISTAKES: dict[str, Any] = {
    "no arguments": lambda c: c.execute_team_config(),
    "too many": lambda c: c.execute_team_config(1, 2, 3),
    "unknown keyword": lambda c: c.execute_team_config(make_team("planner"), team="x"),
    "None": lambda c: c.execute_team_config(None),
    "no members": lambda c: c.execute_team_config(_changed(members=None)),
    "a formation in words": lambda c: c.execute_team_config(_changed(formation=7)),
    "a task without context": lambda c: c.execute_task("task"),
    "context of another kind": lambda c: _with_a_member(c).execute_task("task", 7),
}


def _changed(**fields: Any) -> Any:
    team = make_team("planner")
    vars(team).update(fields)
    return team


def _with_a_member(coordinator: Any) -> Any:
    for one in coordinator._adapt_team_members(make_members("planner")):
        coordinator.add_member(one)
    return coordinator


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_callers_own_mistake_passes_as_it_is_and_is_no_fault_of_the_plugins(
    plugin: Plugin, orchestrator: Any, mistake: str
) -> None:
    from victor.teams import UnifiedTeamCoordinator

    async def error_of() -> BaseException:
        try:
            await MISTAKES[mistake](UnifiedTeamCoordinator(orchestrator))
        except Exception as error:
            return error
        raise AssertionError("it passed")

    with_plugin = await error_of()
    seams.uninstall()
    without = await error_of()
    seams.install()
    assert (type(with_plugin), str(with_plugin)) == (type(without), str(without))
    assert with_plugin.__context__ is without.__context__ is None
    assert failsafe.seen() == ()
    gc.collect()


async def test_a_members_own_type_error_is_victors_to_report(plugin: Plugin, orchestrator: Any) -> None:
    from victor.teams import UnifiedTeamCoordinator

    class Wrong:
        id = "wrong"
        role = None

        async def execute_task(self, task: str, context: dict[str, Any]) -> str:
            return len(5)  # type: ignore[arg-type, return-value]

        async def receive_message(self, message: Any) -> None:
            return None

    result = await UnifiedTeamCoordinator(orchestrator).execute_team_config(make_team("planner"), members=[Wrong()])
    assert not result.success
    assert "object of type 'int' has no len()" in str(result.member_results["wrong"].error)
    assert not plugin.run.success
    assert failsafe.seen() == ()


async def test_members_that_can_be_read_once_are_left_to_victor(plugin: Plugin, orchestrator: Any) -> None:
    from victor.teams import UnifiedTeamCoordinator

    coordinator = UnifiedTeamCoordinator(orchestrator)
    members = iter(coordinator._adapt_team_members(make_members("planner", "researcher")))
    result = await coordinator.execute_team_config(make_team("planner", "researcher"), members=members)
    assert result.success
    assert len(result.member_results) == 2
    assert plugin.runs == []
    assert "read only once" in failsafe.seen()[0].error
    failsafe.forget()
