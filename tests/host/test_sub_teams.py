"""Sub-teams really run side by side under one coordinator of Victor's, as one run, within every limit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host.translation import check_plan
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec, plan_as_used
from victor_autotune_plugin.errors import PlanError
from victor_autotune_plugin.hookspecs import RunStart, hookimpl
from victor_autotune_testing.realvictor import (
    GOAL,
    make_members,
    make_step,
    make_team,
    make_workflow,
    outcomes,
    run_team,
    run_workflow,
)
from victor_autotune_testing.scripted import (
    Call,
    Rule,
    Script,
    ScriptedModel,
    ToolTurns,
    max_in_flight,
    overlaps,
    scripts,
)

from .conftest import Plugin, member

ROLES = ("researcher", "planner", "reviewer", "executor")
TWO_PAIRS = TeamPlan(sub_teams=[["m0", "m1"], ["m2", "m3"]])


async def run_config(orchestrator: Any) -> Any:
    return await run_team(orchestrator, make_team(*ROLES, formation="sequential"))


async def run_step(orchestrator: Any) -> Any:
    return await run_workflow(orchestrator, make_workflow(make_step(*ROLES, formation="sequential")))


async def run_added_members(orchestrator: Any) -> Any:
    return await coordinator(orchestrator).execute_task(GOAL, {"team_name": "added"})


def coordinator(orchestrator: Any) -> Any:
    from victor.teams import TeamFormation, UnifiedTeamCoordinator

    made = UnifiedTeamCoordinator(orchestrator)
    for one in made._adapt_team_members(make_members(*ROLES)):
        made.add_member(one)
    return made.set_formation(TeamFormation.SEQUENTIAL)


def overlapping(calls: Sequence[Call]) -> set[frozenset[str]]:
    """Return the pairs of roles whose calls were in flight at the same time."""
    return {
        frozenset((one.role, other.role)) for one, other in itertools.combinations(calls, 2) if overlaps(one, other)
    }


def pairs(first: str, second: str) -> set[frozenset[str]]:
    """Return every pair of a name of one text with a name of another."""
    return {frozenset((a, b)) for a in first.split() for b in second.split()}


@pytest.mark.parametrize("run", [run_config, run_step, run_added_members])
async def test_groups_run_side_by_side_and_their_members_one_after_another(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, run: Any
) -> None:
    scripted.script = scripts.meeting(2)
    plugin.plan = TWO_PAIRS
    await run(orchestrator)
    calls = scripted.calls
    assert sorted(call.role for call in calls) == sorted(ROLES)
    assert max_in_flight(calls) == 2
    assert overlapping(calls) <= pairs("researcher planner", "reviewer executor")
    assert frozenset(("researcher", "reviewer")) in overlapping(calls)
    order = [call.role for call in calls]
    assert order.index("researcher") < order.index("planner")
    assert order.index("reviewer") < order.index("executor")
    assert [m.id for m in plugin.run.members] == ["m0", "m1", "m2", "m3"]
    assert (plugin.run.success, plugin.run.member_success_share) == (True, 1.0)
    assert plugin.run.plan_used == TeamPlan(
        formation="parallel",
        members=["m0", "m1", "m2", "m3"],
        sub_teams=TWO_PAIRS.sub_teams,
        timeout_seconds=plugin.run.spec.timeout_seconds,
    )


async def test_a_run_takes_as_long_as_its_longest_group(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.meeting(3, roles=["researcher", "planner", "executor"])
    plugin.plan = TeamPlan(sub_teams=[["m0"], ["m1", "m2"], ["m3"]])
    await run_config(orchestrator)
    run = plugin.run
    # The first calls of all groups meet; one of them takes the longest way.
    assert run.duration_seconds >= max(m.duration_seconds for m in run.members)
    assert max_in_flight(scripted.calls) == 3
    for one in run.members:
        assert (one.llm_calls, one.input_tokens, one.success, one.finished) == (1, 100, True, True)


async def test_the_order_in_a_group_is_the_groups_and_that_of_the_results_the_teams(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.succeed_at_once(latency=0.1)
    plugin.plan = TeamPlan(sub_teams=[["m3", "m0"], ["m2", "m1"]])
    result = await run_config(orchestrator)
    order = [call.role for call in scripted.calls]
    assert order.index("executor") < order.index("researcher")
    assert order.index("reviewer") < order.index("planner")
    assert [name for name, _, _ in outcomes(result)] == ["m0", "m1", "m2", "m3"]


async def test_results_are_what_victor_gives_for_a_parallel_team(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.with_tools(1, 2)

    def comparable(result: Any) -> Any:
        whole = result if isinstance(result, dict) else {**result.to_dict(), "member_results": result.member_results}
        drop = ("total_duration", "shared_context", "member_results")
        members = [
            (name, one.success, one.output, one.error, one.tool_calls_used)
            for name, one in whole["member_results"].items()
        ]
        return {key: value for key, value in whole.items() if key not in drop}, members

    for run in (run_config, run_added_members):
        plugin.plan = TeamPlan(formation="parallel")
        parallel = await run(orchestrator)
        plugin.plan = TWO_PAIRS
        in_groups = await run(orchestrator)
        assert type(in_groups) is type(parallel)
        assert comparable(in_groups) == comparable(parallel)
        assert len(comparable(in_groups)[1]) == 4


async def test_members_left_out_are_in_no_group(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> None:
    plugin.plan = TeamPlan(members=["m2", "m0"], sub_teams=[["m0"], ["m2"]])
    for run in (run_config, run_step, run_added_members):
        scripted.clear()
        await run(orchestrator)
        assert sorted(call.role for call in scripted.calls) == ["researcher", "reviewer"]
        assert [m.id for m in plugin.runs[-1].members] == ["m2", "m0"]


@pytest.mark.parametrize("run", [run_config, run_added_members])
async def test_a_failure_stops_neither_its_own_group_nor_the_others(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, run: Any
) -> None:
    # Victor's sequential formation goes on after a member that failed, and so does a sub-team.
    scripted.script = scripts.stuck("researcher")
    plugin.plan = TWO_PAIRS
    result = await run(orchestrator)
    members = result["member_results"] if isinstance(result, dict) else result.member_results
    assert [(name, one.success) for name, one in members.items()] == [
        ("m0", False),
        ("m1", True),
        ("m2", True),
        ("m3", True),
    ]
    assert (plugin.run.success, plugin.run.member_success_share) == (False, 0.75)
    assert [m.success for m in plugin.run.members] == [False, True, True, True]


async def test_a_group_that_breaks_as_a_whole_leaves_the_others_their_results(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor_autotune_plugin._host import subteams

    class Breaking(subteams.SequentialFormation):  # type: ignore[misc]
        async def execute(self, agents: Any, context: Any, task: Any) -> Any:
            if agents[0].id == "m0":
                raise RuntimeError("broken")
            return await super().execute(agents, context, task)

    monkeypatch.setattr(subteams, "SequentialFormation", Breaking)
    plugin.plan = TWO_PAIRS
    result = await run_config(orchestrator)
    assert [success for _, success, _ in outcomes(result)] == [False, False, True, True]
    assert result.member_results["m1"].error == "broken"


async def test_budgets_are_enforced_across_groups(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.with_tools(1, 4)
    plugin.plan = TeamPlan(sub_teams=TWO_PAIRS.sub_teams, tool_budget=9, member_budgets={"m2": 1})
    result = await run_config(orchestrator)
    assert (result.total_tool_calls, plugin.run.tool_calls) == (9, 9)
    assert member(plugin.run, "m2").tool_calls == 1
    assert member(plugin.run, "m2").tool_calls_refused == 3
    assert sum(m.tool_calls_refused for m in plugin.run.members) == 7


async def test_each_members_tools_and_tokens_are_its_own(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = Script(
        [
            Rule(role, role=role, latency=0.05, tools=[ToolTurns(1, n + 1)], answer=scripts.SATISFIED_ANSWER)
            for n, role in enumerate(ROLES)
        ]
    )
    plugin.plan = TWO_PAIRS
    await run_config(orchestrator)
    assert [(m.tool_calls, m.llm_calls, m.input_tokens) for m in plugin.run.members] == [
        (n + 1, 2, 200) for n in range(4)
    ]


@pytest.mark.parametrize("run", [run_config, run_step, run_added_members])
async def test_the_deadline_ends_all_groups_and_keeps_what_was_finished(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, deadline_passes: Any, run: Any
) -> None:
    scripted.script = scripts.by_role({"planner": 600, "reviewer": 600})
    asked = deadline_passes(lambda meter: meter.members["m0"].finished and scripted.in_flight == 2)
    plugin.plan = TeamPlan(sub_teams=TWO_PAIRS.sub_teams, timeout_seconds=3.0)
    result = await run(orchestrator)
    assert asked == [3.0]
    assert (plugin.run.success, plugin.run.timed_out) == (False, True)
    assert [(m.id, m.finished, m.success) for m in plugin.run.members] == [
        ("m0", True, True),
        ("m1", False, False),
        ("m2", False, False),
        ("m3", False, False),
    ]
    if run is run_config:
        assert result.final_output == scripts.SATISFIED_ANSWER
        assert "it had not started" in result.member_results["m3"].error
        assert "it had not started" not in result.member_results["m1"].error


async def test_a_team_inside_a_member_of_a_group_is_a_child_run(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    from victor.teams import UnifiedTeamCoordinator

    class Outer:
        role = None

        def __init__(self, name: str) -> None:
            self.id = name

        async def execute_task(self, task: str, context: dict[str, Any]) -> Any:
            team = make_team("researcher", name=f"inside {self.id}", goal=f"review the code of {self.id}")
            return (await run_team(orchestrator, team)).final_output

        async def receive_message(self, message: Any) -> None:
            return None

    class OnlyOuter:
        @hookimpl
        def before_team_run(self, event: RunStart) -> TeamPlan | None:
            return TeamPlan(sub_teams=[["m0", "m1"], ["m2"]]) if event.spec.name == "outer" else None

    scripted.script = Script(
        [Rule("second of its group", goal="code of m1", answer=scripts.SATISFIED_ANSWER), *scripts.meeting(2).rules]
    )
    plugin.runtime.hooks.register(OnlyOuter(), "only outer")
    config = make_team("researcher", "planner", "reviewer", formation="sequential", name="outer")
    outer_members = [Outer(f"m{n}") for n in range(3)]
    await UnifiedTeamCoordinator(lightweight_mode=True).execute_team_config(config, members=outer_members)
    *inner, outer = plugin.runs
    assert outer.spec.name == "outer"
    assert outer.parent_id is None
    assert {(run.spec.name, run.parent_id) for run in inner} == {(f"inside m{n}", outer.run_id) for n in range(3)}
    assert len(inner) == 3
    assert all(run.plan_asked.is_empty for run in inner)
    assert [m.llm_calls for m in outer.members] == [1, 1, 1]
    assert max_in_flight(scripted.calls) == 2


async def test_streams_name_every_member_at_its_place_in_the_team(plugin: Plugin, orchestrator: Any) -> None:
    from victor.framework.member_event_sink import MemberEventSink, current_member_sink

    sink = MemberEventSink()
    token = current_member_sink.set(sink)
    plugin.plan = TWO_PAIRS
    try:
        await run_config(orchestrator)
    finally:
        current_member_sink.reset(token)
    await sink.close()
    seen = [(event.kind, event.member_id, event.index) async for event in sink.drain()]
    expected = [(kind, f"m{n}", n) for kind in ("member_start", "member_completed") for n in range(4)]
    assert sorted(seen) == sorted(expected)


async def test_an_agent_team_streams_and_runs_in_groups(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    from victor.framework.teams import AgentTeam, TeamMemberSpec

    scripted.script = scripts.meeting(2)
    specs = [TeamMemberSpec(role="researcher", goal="a"), TeamMemberSpec(role="planner", goal="b")]
    team = await AgentTeam.create(orchestrator, name="streamed", goal=GOAL, members=specs)
    plugin.plan = TeamPlan(sub_teams=[["researcher"], ["planner"]])
    events = [event async for event in team.stream()]
    assert len(events) > 0
    assert max_in_flight(scripted.calls) == 2
    assert plugin.run.plan_used.sub_teams == (("researcher",), ("planner",))
    assert plugin.run.success


async def test_a_person_fixes_sub_teams_in_the_settings(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    folder = plugin.runtime.project / ".victor"
    folder.mkdir(exist_ok=True)
    (folder / "autotune.yaml").write_text("plan: {sub_teams: [[m0, m1], [m2, m3]]}")
    plugin.runtime._resolver = plugin.runtime._resolver.reload()
    scripted.script = scripts.meeting(2)
    await run_step(orchestrator)
    assert max_in_flight(scripted.calls) == 2
    assert plugin.run.plan_asked == TWO_PAIRS
    assert plugin.stored_as_ended == plugin.runs


async def test_the_callers_coordinator_stays_as_it_was(plugin: Plugin, orchestrator: Any) -> None:
    from victor.coordination.formations import ParallelFormation
    from victor.teams import TeamFormation

    made = coordinator(orchestrator)
    plugin.plan = TWO_PAIRS
    await made.execute_task(GOAL, {})
    assert type(made._formations[TeamFormation.PARALLEL]) is ParallelFormation
    assert made.formation == TeamFormation.SEQUENTIAL
    assert made.shared_memory["effective_formation"] == "sequential"


async def test_a_hint_in_the_context_does_not_overrule_sub_teams(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.meeting(2)
    plugin.plan = TWO_PAIRS
    team = make_team(*ROLES, formation="parallel", shared_context={"formation_hint": "sequential"})
    await run_team(orchestrator, team)
    assert max_in_flight(scripted.calls) == 2


async def test_the_knob_is_no_placebo_where_victor_has_no_place_for_it(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor.teams import UnifiedTeamCoordinator

    from victor_autotune_plugin._host import seam_table, seams

    monkeypatch.setitem(seams._status, seam_table.PARALLEL.name, "gone")
    assert "gone" in seams.health().values()
    plugin.plan = TWO_PAIRS
    await UnifiedTeamCoordinator(orchestrator).execute_team_config(make_team(*ROLES, formation="sequential"))
    assert plugin.run.plan_asked.is_empty
    assert [fault.where for fault in failsafe.seen()] == ["translation of a plan"]
    failsafe.forget()


async def test_a_fault_in_making_sub_teams_leaves_the_team_as_configured(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor_autotune_plugin._host import subteams

    def broken(*args: Any) -> Any:
        raise RuntimeError("injected")

    monkeypatch.setattr(subteams.SideBySide, "__init__", broken)
    plugin.plan = TWO_PAIRS
    for run in (run_config, run_added_members):
        scripted.clear()
        await run(orchestrator)
        assert [call.role for call in scripted.calls] == list(ROLES)
        assert plugin.runs[-1].success
        assert plugin.runs[-1].plan_asked.is_empty
    assert [fault.where for fault in failsafe.seen()] == ["translation of a plan"]
    failsafe.forget()


# --- what can run at all; no Victor needed

TEAM = TeamSpec("w", "t", "hierarchical", [MemberSpec("a", is_supervisor=True), MemberSpec("b"), MemberSpec("c")])


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (TeamPlan(sub_teams=[]), "at least one"),
        (TeamPlan(sub_teams=[["a", "b", "c"], []]), "each with at least one member"),
        (TeamPlan(sub_teams=[["a"], ["b"]]), "c of team 't' in none of them"),
        (TeamPlan(sub_teams=[["a", "b"], ["b", "c"]]), "b of team 't' more than once"),
        (TeamPlan(sub_teams=[["a", "b"], ["c", "d"]]), "d not taking part"),
        (TeamPlan(members=["a", "b"], sub_teams=[["a"], ["b"], ["c"]]), "c not taking part"),
        (TeamPlan(formation="parallel", sub_teams=[["a"], ["b", "c"]]), "can't have a formation, 'parallel'"),
    ],
)
def test_sub_teams_that_cannot_run_are_refused(plan: TeamPlan, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        check_plan(TEAM, plan)


def test_sub_teams_need_nothing_that_the_configured_formation_needs() -> None:
    plan = TeamPlan(members=["b", "c"], sub_teams=[["c"], ["b"]])
    check_plan(TEAM, plan)
    assert plan_as_used(TEAM, plan) == TeamPlan("parallel", ["b", "c"], sub_teams=[["c"], ["b"]])


def test_members_that_a_later_plan_leaves_out_leave_their_sub_team() -> None:
    live = TeamPlan(sub_teams=[["a"], ["b", "c"]])
    assert live.merged(TeamPlan(members=["b", "c"])).sub_teams == (("b", "c"),)
    assert live.merged(TeamPlan(tool_budget=3)).sub_teams == live.sub_teams
    assert live.merged(TeamPlan(formation="parallel")) == TeamPlan(formation="parallel")
