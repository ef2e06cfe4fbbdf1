"""Values for the tests of the store: complete ones, so that a lost field shows."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from sqlalchemy import text

from victor_autotune_plugin._model.experiment import Assignment, Change, Experiment
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, Observation, PlannedRun, RunStart, TeamRun, TokenUse
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin.storage import Store

SPEC = TeamSpec(
    workflow="release — été",
    team_id="review",
    formation="sequential",
    members=[
        MemberSpec("lead", "planner", tool_budget=7, is_supervisor=True, model="big"),
        MemberSpec("critic", formation_role="critic"),
    ],
    tool_budget=20,
    timeout_seconds=90.5,
    max_iterations=3,
)
TUNED = TeamPlan(
    formation="parallel",
    members=("critic", "lead"),
    tool_budget=12,
    member_budgets={"lead": 8, "critic": 4},
    timeout_seconds=0.1 + 0.2,
)


ASSIGNED = Assignment("e1", "test", "treatment", "0", 4)


def start(run_id: str = "r1", **changes: Any) -> RunStart:
    whole = RunStart(
        run_id=run_id,
        spec=SPEC,
        started_at=1_700_000_000.123456,
        entry="step",
        parent_id="outer",
        task_key="task-1",
    )
    return evolve(whole, **changes)


def planned(**changes: Any) -> PlannedRun:
    return evolve(PlannedRun(TUNED, "auto", ASSIGNED, "experiment"), **changes)


def finished(run_id: str = "r1", **changes: Any) -> TeamRun:
    begun, plan = start(run_id), planned()
    whole = TeamRun(
        run_id=run_id,
        spec=begun.spec,
        started_at=begun.started_at,
        duration_seconds=12.700000000000001,
        success=True,
        member_success_share=2 / 3,
        entry=begun.entry,
        parent_id=begun.parent_id,
        task_key=begun.task_key,
        mode=plan.mode,
        plan_asked=plan.plan,
        plan_used=evolve(TUNED, timeout_seconds=90.5),
        experiment_id=plan.experiment_id,
        arm=plan.arm,
        timed_out=True,
        cancelled=True,
        error_class="TimeoutError",
        cost_usd=0.00123,
        members=[
            MemberOutcome("critic", "", True, True, 3.25, 4, 1, 5, 1000, 200, ("big", "small"), None),
            MemberOutcome("lead", "planner", error_class="ValueError"),
        ],
        tokens=[TokenUse("big", 900, 150, provider="acme"), TokenUse("small", 100, 50, provider="acme")],
    )
    return evolve(whole, **changes)


def experiment(experiment_id: str = "e1", **changes: Any) -> Experiment:
    whole = Experiment(
        id=experiment_id,
        workflow=SPEC.workflow,
        team_id=SPEC.team_id,
        fingerprint=SPEC.fingerprint(),
        strategy="formation_selection",
        description="sequential -> parallel",
        control=TeamPlan(),
        treatment=TUNED,
        seed="5eed",
        assignment_version="pairs-1",
        policy={"alpha": 0.05, "looks": [10, 20], "guardrails": {"success": 0.1}},
        watch_policy={"holdback": 0.1},
        status="testing",
        created_at=1_700_000_000.5,
        code_version="0.1.0",
        task_effects={"task-1": 0.1 + 0.2, "task-2": -0.5},
    )
    return evolve(whole, **changes)


def observation(run_id: str = "r1", **changes: Any) -> Observation:
    whole = Observation(
        index=0,
        arm="treatment",
        duration_seconds=0.1 + 0.2,
        success=True,
        member_success_share=2 / 3,
        cost_usd=0.01,
        tool_calls=9,
        timed_out=True,
        task_key="task-1",
        run_id=run_id,
        models="acme/big,acme/small",
    )
    return evolve(whole, **changes)


def missing(run_id: str = "r1", how: str = "lost", **changes: Any) -> Observation:
    """An observation of a run that went missing: it has a place, and no figures."""
    whole = Observation(0, "treatment", 0.0, False, task_key="task-1", run_id=run_id, missing=how)  # type: ignore[arg-type]
    return evolve(whole, **changes)


def change(**changes: Any) -> Change:
    whole = Change(
        id=None,
        at=1_700_000_001.25,
        workflow=SPEC.workflow,
        team_id=SPEC.team_id,
        action="promoted",
        actor="auto",
        reason="30 % faster",
        experiment_id="e1",
        plan_before=TeamPlan(),
        plan_after=TUNED,
        rollback_plan=TeamPlan(),
        improvement_percent=30.000000000000004,
        evidence={"interval": [0.2, 0.4], "log_e": float("inf")},
        by="maria",
    )
    return evolve(whole, **changes)


_RUN_UNTIL = (("run", "grade_until"), ("run", "score_until"))


def pass_time(store: Store, seconds: float) -> None:
    """Make everything that the store dated by its database's clock older, as if that much time had passed."""
    for table, column in (("process", "beat_at"), ("lease", "expires_at"), *_RUN_UNTIL):
        statement = text(f"UPDATE autotune_{table} SET {column} = {column} - :seconds")
        store._connections.execute(statement.bindparams(seconds=seconds))


def score(run_id: str = "r1", name: str = "tests", value: float | None = 0.1 + 0.2, **changes: Any) -> Score:
    whole = Score(run_id, name, value, "command", 1_700_000_002.5, "", 0.25, 1.5, "", {"length": 7, "answers": []})
    return evolve(whole, **changes)
