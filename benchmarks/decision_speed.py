"""How long the plugin takes to choose a plan and to record a run, with durable state and without Victor.

Beside it, in the same run, Victor's own `ABTestManager` allocates a variant and records an execution. Both write to a
SQLite file on the same disk. The two take turns, so that a slow moment of the machine hits both.

    python benchmarks/decision_speed.py --runs 2000
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from pathlib import Path

from _report import parser, percentile, show
from attrs import evolve

from victor_autotune_plugin.hookspecs import TeamRunStarting
from victor_autotune_plugin.model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin.model.run import MemberOutcome, TeamRun
from victor_autotune_plugin.runtime import Runtime

SPEC = TeamSpec("bench", "team", "sequential", [MemberSpec(name, "researcher") for name in "abcd"])


def one_run(runtime: Runtime, seconds: float) -> float:
    """Take one run through all hooks, before and after; return the seconds that took."""
    begun = time.perf_counter()
    event = TeamRunStarting(uuid.uuid4().hex, SPEC, time.time())
    planned = runtime.hooks.plan(event)
    if planned is None:
        raise SystemExit("the plugin has no plan: is it off?")
    runtime.hooks.tell("team_run_started", event=event, planned=planned)
    before = time.perf_counter() - begun
    members = [MemberOutcome(m.id, m.role, True, True, seconds / 4, 3, 0, 2, 900, 200) for m in SPEC.members]
    run = TeamRun(
        run_id=event.run_id,
        spec=SPEC,
        started_at=event.started_at,
        duration_seconds=seconds,
        success=True,
        score=1.0,
        mode=planned.mode,
        plan_asked=planned.plan,
        plan_used=TeamPlan(formation=planned.plan.formation or SPEC.formation, members=SPEC.member_ids),
        experiment_id=planned.experiment_id,
        arm=planned.arm,
        phase=None if planned.assignment is None else planned.assignment.phase,
        index=None if planned.assignment is None else planned.assignment.index,
        members=members,
    )
    begun = time.perf_counter()
    graded = runtime.hooks.first("score_team_run", run=run)
    runtime.hooks.first("price_team_run", run=evolve(run, score=graded.value if graded else 0.0))
    runtime.hooks.tell("after_team_run", run=run)
    return before + time.perf_counter() - begun


async def peer(folder: Path) -> tuple[object, str]:
    """Start an experiment in Victor's own manager."""
    from victor.experiments.ab_testing import ABTestManager
    from victor.experiments.ab_testing.models import ExperimentConfig, ExperimentMetric, ExperimentVariant

    manager = ABTestManager(storage_path=str(folder / "peer.db"))
    config = ExperimentConfig(
        name="bench",
        variants=[
            ExperimentVariant("control", "control", traffic_weight=0.5, is_control=True),
            ExperimentVariant("treatment", "treatment", traffic_weight=0.5),
        ],
        primary_metric=ExperimentMetric("execution_time", "duration", optimization_goal="minimize"),
    )
    experiment = await manager.create_experiment(config)
    await manager.start_experiment(experiment)
    return manager, experiment


async def one_peer_run(manager: object, experiment: str, seconds: float) -> float:
    """Allocate a variant and record an execution; return the seconds that took."""
    from victor.experiments.ab_testing.models import ExecutionMetrics

    run_id = uuid.uuid4().hex
    begun = time.perf_counter()
    variant = await manager.allocate_variant(experiment, run_id)  # type: ignore[attr-defined]
    metrics = ExecutionMetrics(run_id, experiment, variant, run_id, execution_time=seconds, tool_calls_count=12)
    await manager.record_execution(metrics)  # type: ignore[attr-defined]
    return time.perf_counter() - begun


async def measure(runs: int) -> list[dict[str, object]]:
    """Measure both in turn.

    Args:
        runs: Runs of each, after a warm-up of 50.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # No real difference between the arms, so that the experiment stays open all the time.
        overrides = {"mode": "auto", "experiment.max_runs_per_arm": 200}
        runtime = Runtime(folder, overrides=overrides, with_entry_points=False)
        manager, experiment = await peer(folder)
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(runs + 50):
            seconds = 10.0 + (number * 7919 % 1000) / 100
            ours.append(one_run(runtime, seconds))
            theirs.append(await one_peer_run(manager, experiment, seconds))
        runtime.close()
    rows = []
    for who, times in (("plugin: plan + record + judge", ours[50:]), ("ABTestManager: allocate + record", theirs[50:])):
        milliseconds = [1000 * seconds for seconds in times]
        rows.append(
            {
                "what": who,
                "runs": len(milliseconds),
                "median ms": round(percentile(milliseconds, 0.5), 3),
                "p99 ms": round(percentile(milliseconds, 0.99), 3),
                "max ms": round(max(milliseconds), 3),
            }
        )
    ratio = rows[1]["median ms"] / rows[0]["median ms"]
    for row in rows:
        row["times faster than ABTestManager"] = round(ratio, 1) if row is rows[0] else 1.0
    return rows


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--runs", type=int, default=2000)
    options = arguments.parse_args()
    rows = asyncio.run(measure(options.runs))
    show("Decision and recording", rows, options.json, "to reach: median ≤ 1 ms, p99 ≤ 5 ms, ≥ 5× faster")


if __name__ == "__main__":
    main()
