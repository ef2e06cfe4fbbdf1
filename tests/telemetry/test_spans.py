from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome
from victor_autotune_plugin._telemetry.spans import TeamRunSpan, member_span, team_run_span
from victor_autotune_testing import providers


def open_run(spec: TeamSpec, run_id: str = "run-1", **changes: Any) -> TeamRunSpan:
    return team_run_span(spec, run_id=run_id, **{"mode": "auto", "plan": EMPTY_PLAN, **changes})


def test_a_team_run_is_a_span_with_plan_arm_and_outcome(telemetry, spec, make_run):
    plan = TeamPlan(formation="parallel", tool_budget=12, member_budgets={"scout": 7}, timeout_seconds=30)
    run = make_run(plan_used=evolve(plan, members=["scout", "judge"]), cost_usd=0.02)

    with open_run(spec, plan=plan, experiment_id="exp-9", arm="treatment", parent_run_id="run-0") as span:
        span.finish(run)

    (exported,) = telemetry.spans
    assert exported.name == "invoke_workflow review"
    assert exported.kind is SpanKind.INTERNAL
    assert exported.status.status_code is StatusCode.UNSET
    assert exported.instrumentation_scope.name == "victor_autotune_plugin"
    assert dict(exported.attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "review",
        "gen_ai.agent.name": "review",
        "gen_ai.usage.input_tokens": 150,
        "gen_ai.usage.output_tokens": 30,
        "feature_flag.key": "exp-9",
        "feature_flag.result.variant": "treatment",
        "victor.autotune.run.id": "run-1",
        "victor.autotune.run.parent_id": "run-0",
        "victor.autotune.run.nested": True,
        "victor.autotune.duration": 2.5,
        "victor.autotune.team.id": "reviewers",
        "victor.autotune.team.size": 2,
        "victor.autotune.mode": "auto",
        "victor.autotune.outcome": "success",
        "victor.autotune.member_success_share": 0.75,
        "victor.autotune.cost": 0.02,
        "victor.autotune.tool_calls": 5,
        "victor.autotune.refused_tool_calls": 1,
        "victor.autotune.llm_calls": 7,
        "victor.autotune.plan.id": plan.id,
        "victor.autotune.plan.changes": plan.describe(),
        "victor.autotune.plan.formation": "parallel",
        "victor.autotune.plan.members": ("scout", "judge"),
        "victor.autotune.plan.tool_budget": 12,
        "victor.autotune.plan.member_budgets": ("scout:7",),
        "victor.autotune.plan.timeout": 30.0,
    }
    assert failsafe.seen() == ()


def test_the_plan_that_ran_replaces_the_plan_that_was_asked_for(telemetry, spec, make_run):
    with open_run(spec, plan=TeamPlan(formation="parallel", tool_budget=5)) as span:
        span.finish(make_run(plan_used=TeamPlan(formation="sequential", members=["judge"])))

    attributes = telemetry.spans[0].attributes
    assert attributes["victor.autotune.plan.formation"] == "sequential"
    assert attributes["victor.autotune.plan.members"] == ("judge",)
    assert "victor.autotune.plan.tool_budget" not in attributes


def test_a_member_is_a_span_under_its_team_with_the_teams_names(telemetry, spec, make_run):
    with open_run(spec, experiment_id="exp-9", arm="control") as team:
        for outcome in make_run().members:
            with member_span(outcome.id, outcome.role, team=team) as span:
                span.finish(outcome)

    assert telemetry.tree() == {
        "invoke_workflow review": None,
        "invoke_agent scout": "invoke_workflow review",
        "invoke_agent judge": "invoke_workflow review",
    }
    assert dict(telemetry.span("invoke_agent scout").attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.workflow.name": "review",
        "gen_ai.agent.name": "scout",
        "gen_ai.request.model": "m-1",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "feature_flag.key": "exp-9",
        "feature_flag.result.variant": "control",
        "victor.autotune.run.id": "run-1",
        "victor.autotune.team.id": "reviewers",
        "victor.autotune.mode": "auto",
        "victor.autotune.duration": 1.0,
        "victor.autotune.outcome": "success",
        "victor.autotune.tool_calls": 3,
        "victor.autotune.refused_tool_calls": 0,
        "victor.autotune.llm_calls": 4,
        "victor.autotune.member.id": "scout",
        "victor.autotune.member.role": "researcher",
        "victor.autotune.member.models": ("m-1",),
        "victor.autotune.member.model_duration": 0.75,
        "victor.autotune.member.tool_duration": 0.125,
        "victor.autotune.member.in_flight": 1.5,
    }
    judge = telemetry.span("invoke_agent judge").attributes
    assert "gen_ai.request.model" not in judge  # it called two
    assert judge["victor.autotune.member.models"] == ("m-1", "m-2")


def test_a_generated_member_id_stays_out_of_the_span_name(telemetry):
    with member_span("executor_1f0c9a3e", "executor"):
        pass
    (span,) = telemetry.spans
    assert span.name == "invoke_agent executor"
    assert span.attributes["gen_ai.agent.name"] == "executor"
    assert span.attributes["victor.autotune.member.id"] == "executor_1f0c9a3e"


@pytest.mark.parametrize(
    ("changes", "outcome", "error", "status"),
    [
        ({"success": False, "error_class": "RuntimeError"}, "failure", "RuntimeError", StatusCode.ERROR),
        ({"success": False}, "failure", "_OTHER", StatusCode.ERROR),
        ({"success": False, "timed_out": True}, "timeout", "timeout", StatusCode.ERROR),
        ({"success": False, "timed_out": True, "error_class": "TimeoutError"}, "timeout", "timeout", StatusCode.ERROR),
        ({"success": False, "cancelled": True, "error_class": "CancelledError"}, "cancelled", None, StatusCode.UNSET),
    ],
)
def test_the_outcome_of_a_run_sets_status_and_error_type(telemetry, spec, make_run, changes, outcome, error, status):
    with open_run(spec) as span:
        span.finish(make_run(**changes))
    (exported,) = telemetry.spans
    assert exported.attributes["victor.autotune.outcome"] == outcome
    assert exported.attributes.get("error.type") == error
    assert exported.status.status_code is status


@pytest.mark.parametrize(
    ("changes", "outcome", "error", "status"),
    [
        ({"finished": True, "error_class": "ToolError"}, "failure", "ToolError", StatusCode.ERROR),
        ({"finished": False}, "unfinished", None, StatusCode.UNSET),
    ],
)
def test_the_outcome_of_a_member_sets_status_and_error_type(telemetry, changes, outcome, error, status):
    with member_span("scout") as span:
        span.finish(MemberOutcome("scout", **changes))
    (exported,) = telemetry.spans
    assert exported.attributes["victor.autotune.outcome"] == outcome
    assert exported.attributes.get("error.type") == error
    assert exported.status.status_code is status


@pytest.mark.parametrize(
    ("raised", "team", "member", "error"),
    [
        (ValueError("secret"), "failure", "failure", "ValueError"),
        (asyncio.CancelledError(), "cancelled", "unfinished", None),
        (KeyboardInterrupt(), "cancelled", "unfinished", None),
        (StopIteration(), "failure", "failure", "StopIteration"),
    ],
)
def test_exceptions_pass_through_unchanged_and_end_the_spans(telemetry, spec, raised, team, member, error):
    with pytest.raises(type(raised)) as caught:  # noqa: SIM117
        with open_run(spec) as span, member_span("scout", team=span):
            raise raised

    assert caught.value is raised
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert trace.get_current_span() is trace.INVALID_SPAN
    for name, outcome in (("invoke_workflow review", team), ("invoke_agent scout", member)):
        exported = telemetry.span(name)
        assert exported.end_time is not None
        assert exported.attributes["victor.autotune.outcome"] == outcome
        assert exported.attributes.get("error.type") == error
        assert exported.events == ()  # a recorded exception holds its message


def test_an_exception_does_not_overwrite_the_outcome_that_was_given(telemetry, spec, make_run):
    with pytest.raises(TimeoutError), open_run(spec) as span:  # noqa: PT012
        span.finish(make_run(success=False, timed_out=True))
        raise TimeoutError
    assert telemetry.spans[0].attributes["victor.autotune.outcome"] == "timeout"


def test_finishing_after_the_block_changes_nothing_and_warns_nobody(telemetry, spec, make_run, caplog):
    with open_run(spec) as span:
        pass
    span.finish(make_run())
    assert "victor.autotune.outcome" not in telemetry.spans[0].attributes
    assert caplog.records == []


def test_spans_of_the_application_and_of_nested_teams_nest(telemetry, spec):
    inner = TeamSpec("research", "readers", "parallel", spec.members)
    with (
        telemetry.app.start_as_current_span("request"),
        open_run(spec) as outer,
        telemetry.app.start_as_current_span("coordinator"),
        member_span("scout", team=outer),
        open_run(inner, "run-2", parent_run_id="run-1") as nested,
        member_span("reader", team=nested),
        telemetry.app.start_as_current_span("chat"),
    ):
        pass

    assert telemetry.tree() == {
        "request": None,
        "invoke_workflow review": "request",
        "coordinator": "invoke_workflow review",
        "invoke_agent scout": "coordinator",
        "invoke_workflow research": "invoke_agent scout",
        "invoke_agent reader": "invoke_workflow research",
        "chat": "invoke_agent reader",
    }


async def run_team(telemetry: Any, number: int) -> None:
    """A parallel team whose members, tasks of their own, each do a traced piece of work."""
    barrier = asyncio.Barrier(2)

    async def member(name: str, team: TeamRunSpan) -> None:
        with member_span(f"{name}-{number}", team=team):
            await barrier.wait()
            with telemetry.app.start_as_current_span(f"chat {name}-{number}"):
                await asyncio.sleep(0)

    spec = TeamSpec(f"flow-{number}", "team", "parallel", ())
    with open_run(spec, f"run-{number}") as team:
        await asyncio.gather(member("a", team), member("b", team))


def expected_tree(numbers: range) -> dict[str, str | None]:
    tree: dict[str, str | None] = {}
    for number in numbers:
        tree[f"invoke_workflow flow-{number}"] = None
        for name in "ab":
            tree[f"invoke_agent {name}-{number}"] = f"invoke_workflow flow-{number}"
            tree[f"chat {name}-{number}"] = f"invoke_agent {name}-{number}"
    return tree


async def test_many_runs_in_one_loop_keep_their_own_parents(telemetry):
    await asyncio.gather(*(run_team(telemetry, number) for number in range(100)))
    assert telemetry.tree() == expected_tree(range(100))
    assert len({span.context.trace_id for span in telemetry.spans}) == 100


def test_runs_in_several_threads_and_loops_keep_their_own_parents(telemetry):
    ready = threading.Barrier(8)

    def loop(first: int) -> None:
        async def some() -> None:
            await asyncio.gather(*(run_team(telemetry, first + k) for k in range(10)))

        ready.wait()
        asyncio.run(some())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(loop, range(0, 80, 10)))
    assert telemetry.tree() == expected_tree(range(80))
    assert failsafe.seen() == ()


def test_a_member_in_a_thread_without_context_still_belongs_to_its_team(telemetry, spec):
    def work() -> None:
        with member_span("scout", team=team):
            pass

    with open_run(spec) as team:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert telemetry.tree()["invoke_agent scout"] == "invoke_workflow review"


async def test_cancelling_a_running_team_ends_its_spans(telemetry, spec):
    started = asyncio.Event()

    async def work() -> None:
        with open_run(spec) as team, member_span("scout", team=team):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert telemetry.span("invoke_workflow review").attributes["victor.autotune.outcome"] == "cancelled"
    assert telemetry.span("invoke_agent scout").attributes["victor.autotune.outcome"] == "unfinished"


@pytest.mark.parametrize("same_context", [True, False])
def test_closing_an_abandoned_coroutine_ends_its_span_without_noise(telemetry, spec, caplog, same_context):
    async def work() -> None:
        with open_run(spec):
            await asyncio.sleep(0)

    contexts = [contextvars.copy_context()] * 2 if same_context else [contextvars.copy_context() for _ in range(2)]
    coroutine = work()
    contexts[0].run(coroutine.send, None)
    assert contexts[0].run(trace.get_current_span).is_recording()
    contexts[1].run(coroutine.close)

    assert telemetry.spans[0].attributes["victor.autotune.outcome"] == "cancelled"
    assert contexts[1].run(trace.get_current_span) is trace.INVALID_SPAN
    assert caplog.records == []


def test_a_team_that_is_not_sampled_takes_its_members_and_the_applications_spans_with_it(telemetry, spec, make_run):
    telemetry.tracer_provider.sampler = ParentBased(ALWAYS_OFF)
    with providers.use(tracer_provider=telemetry.tracer_provider), open_run(spec) as team:
        with member_span("scout", team=team) as member:
            assert not trace.get_current_span().get_span_context().trace_flags.sampled
            assert trace.get_current_span().get_span_context().is_valid
            member.finish(make_run().members[0])
        team.finish(make_run())
    assert telemetry.spans == ()
    assert failsafe.seen() == ()


def test_samplers_see_workflow_team_mode_and_arm(telemetry, spec):
    class Recording(ParentBased):
        seen: Any = None

        def should_sample(self, context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
            Recording.seen = name, dict(attributes)
            return super().should_sample(context, trace_id, name, kind, attributes, links, trace_state)

    telemetry.tracer_provider.sampler = Recording(ALWAYS_OFF)
    with open_run(spec, experiment_id="exp-9", arm="control"):
        pass
    assert Recording.seen == (
        "invoke_workflow review",
        {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": "review",
            "gen_ai.agent.name": "review",
            "victor.autotune.team.id": "reviewers",
            "victor.autotune.mode": "auto",
            "feature_flag.key": "exp-9",
            "feature_flag.result.variant": "control",
        },
    )
