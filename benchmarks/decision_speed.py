"""What the plugin does on the event loop for one run, without Victor: choose, hand over, and wait for both.

`choose` picks plan and arm from a snapshot: in a test of halves, and under a watch whose holdback of 0.3 % has blocks
of 1,000. It is called for runs one after the other, so that the making of a block is among them.

Then whole runs go through the product as it is, with its threads and an SQLite file: stream of arms, plan, start,
record, end, and what setting up the waits costs. What counts is how long the loop's thread was held: the steps of a
run between its suspensions, by the wall clock and in the thread's processor time. Every second run goes through a
second project, where a third party answers at every seam. In turn with them Victor's own `ABTestManager` allocates a
variant and records an execution, on the same disk, so that a slow moment of the machine hits all.

    python benchmarks/decision_speed.py --runs 2000
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any

from _loop import SPEC, STAYS_OPEN, Held, Seconds, new_runtime, start_test, started
from _report import parser, percentile, show
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host.interception import new_run_id
from victor_autotune_plugin._model.experiment import Experiment, TeamState
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.policy import WatchPolicy
from victor_autotune_plugin._model.run import MemberOutcome, RunStart, TeamRun
from victor_autotune_plugin._tuning.loop import END_SECONDS, START_SECONDS
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin._tuning.snapshot import Snapshot, choose
from victor_autotune_plugin._tuning.streams import Streams
from victor_autotune_plugin.hookspecs import hookimpl

WARM_UP: int = 200
HOLDBACK = 0.003

MOST_CHOOSE_US = 50.0
MOST_MEDIAN_US = 150.0
MOST_P99_US = 1000.0
MOST_SEAM_US = 60.0
LEAST_RATIO = 15.0

SEAMS = 4
"""Seams of a run at which its loop hands over to third parties: plan, before, started, and score, price and after."""


class ThirdParty:
    """Hooks of a third party at every seam of a run; none changes anything."""

    @hookimpl
    def plan_team_run(self) -> None:
        """Leave the choice to the plugin."""

    @hookimpl
    def before_team_run(self, planned: Any) -> Any:
        """Leave the plan as it is."""
        return planned.plan

    @hookimpl
    def team_run_started(self) -> None:
        """Do nothing."""

    @hookimpl
    def score_team_run(self, run: TeamRun) -> float:
        """Agree with the built-in score."""
        return run.score

    @hookimpl
    def price_team_run(self) -> None:
        """Know no price."""

    @hookimpl
    def after_team_run(self) -> None:
        """Do nothing."""


def seconds_of(number: int) -> float:
    """Return what a run takes: 10 to 20 seconds, alike under every plan."""
    return 10.0 + (number * 7919 % 1000) / 100


async def one_run(owner: Runtime, seconds: float) -> Seconds:
    """Take one run through the way of a run, before and after Victor's part; return for how long it held the loop."""
    held = Held()
    event, planned = await held.steps(before(owner))
    await held.steps(after(owner, event, planned, seconds))
    return held.total


async def before(owner: Runtime) -> tuple[RunStart, Any]:
    """Do what comes before Victor's part."""
    settings = owner.settings(SPEC)
    event = RunStart(new_run_id(), SPEC, time.time(), settings=settings)
    await owner.loop.prepare(event)
    planned = await owner.hooks.plan(event)
    if planned is None:
        raise SystemExit("the plugin has no plan: is it off?")
    owner.hooks.tell("team_run_started", event=event, planned=planned)
    if planned.assignment is not None:
        await owner.loop.durable(event.run_id, START_SECONDS)
    return event, planned


async def after(owner: Runtime, event: RunStart, planned: Any, seconds: float) -> None:
    """Do what comes after Victor's part."""
    assignment = planned.assignment
    run = TeamRun(
        run_id=event.run_id,
        spec=SPEC,
        started_at=event.started_at,
        duration_seconds=seconds,
        success=True,
        member_success_share=1.0,
        members=[MemberOutcome(m.id, m.role, True, True, seconds / 4, 3, 0, 2, 900, 200) for m in SPEC.members],
        mode=planned.mode,
        plan_asked=planned.plan,
        plan_used=TeamPlan(formation=planned.plan.formation or SPEC.formation, members=SPEC.member_ids),
        experiment_id=planned.experiment_id,
        arm=planned.arm,
        phase=None if assignment is None else assignment.phase,
        stream=None if assignment is None else assignment.stream,
        index=None if assignment is None else assignment.index,
    )
    run = owner.hooks.valued(run)
    owner.hooks.tell_built_in("after_team_run", run=run)
    owner.hooks.grade(run, owner.loop.graded)
    await owner.loop.durable(event.run_id, END_SECONDS)


async def peer(folder: Path) -> tuple[Any, str]:
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


async def one_peer_run(manager: Any, experiment: str, seconds: float) -> Seconds:
    """Allocate a variant and record an execution; return for how long that held the loop."""
    from victor.experiments.ab_testing.models import ExecutionMetrics

    async def allocate_and_record() -> None:
        variant = await manager.allocate_variant(experiment, run_id)
        metrics = ExecutionMetrics(run_id, experiment, variant, run_id, execution_time=seconds, tool_calls_count=12)
        await manager.record_execution(metrics)

    run_id, held = uuid.uuid4().hex, Held()
    await held.steps(allocate_and_record())
    return held.total


async def tested_project(folder: Path) -> Runtime:
    """Return the plugin of a project with an open test."""
    owner = new_runtime(folder, **STAYS_OPEN)
    start_test(owner)
    return await started(owner)


async def measure_runs(runs: int) -> list[dict[str, Any]]:
    """Measure runs in a test, the same with hooks of a third party, and Victor's manager, in turn."""
    alone: list[Seconds] = []
    with_hooks: list[Seconds] = []
    theirs: list[Seconds] = []
    with tempfile.TemporaryDirectory() as name:
        owners = [await tested_project(Path(name, "alone")), await tested_project(Path(name, "with hooks"))]
        owners[1].hooks.register(ThirdParty(), "third party")
        manager, experiment = await peer(Path(name))
        for number in range(runs + WARM_UP):
            for owner, times in zip(owners, (alone, with_hooks), strict=True):
                times.append(await one_run(owner, seconds_of(number)))
            theirs.append(await one_peer_run(manager, experiment, seconds_of(number)))
        for owner in owners:
            owner.close()
        for owner in owners:
            with owner.open_store() as store:
                observed = sum(run.arm is not None for run in store.finished_runs())
            if observed < runs + WARM_UP:
                raise SystemExit(f"only {observed} of {runs + WARM_UP} runs took part in the test and were recorded")
    for fault in failsafe.seen():  # on a busy machine a hook's thread may come too late
        print(f"{fault.where}: {fault.error} ({fault.count})", file=sys.stderr)
    alone, with_hooks, theirs = (times[WARM_UP:] for times in (alone, with_hooks, theirs))
    ratio = median(wall for wall, _ in theirs) / median(wall for wall, _ in alone)
    added = 1e6 * (median(wall for wall, _ in with_hooks) - median(wall for wall, _ in alone)) / SEAMS
    first = row("a run in a test", alone, MOST_MEDIAN_US, MOST_P99_US)
    return [
        {**first, "times faster": round(ratio, 1), "reached": both(first["reached"], ratio >= LEAST_RATIO)},
        {
            **row("a run with third-party hooks at every seam", with_hooks),
            "µs more per seam": round(added, 1),
            "reached": "yes" if added <= MOST_SEAM_US else "no",
        },
        row("ABTestManager: allocate + record", theirs),
    ]


def measure_choose(runs: int) -> list[dict[str, Any]]:
    """Measure the pure choice of plan and arm."""
    with tempfile.TemporaryDirectory() as name:
        owner = new_runtime(Path(name, "project"), **STAYS_OPEN)
        start_test(owner)
        with owner.open_store() as store:
            (experiment,) = store.experiments(*SPEC.key)
            state = store.team(*SPEC.key)
        settings = owner.settings(SPEC)
        owner.close()
    if state is None:
        raise SystemExit("the team has no state")
    watched = evolve(experiment, status="proven", watch_policy=WatchPolicy(holdback=HOLDBACK))
    rows = []
    for what, one in (("choose, test of halves", experiment), ("choose, holdback 0.3 % (blocks of 1,000)", watched)):
        times = choices(state, one, settings, runs)[WARM_UP:]
        rows.append({**row(what, times, MOST_CHOOSE_US), "max µs": round(1e6 * max(wall for wall, _ in times), 1)})
    return rows


def choices(state: TeamState, experiment: Experiment, settings: Any, runs: int) -> list[Seconds]:
    """Return what each choice took."""
    snapshot, streams = Snapshot().updated("store", 1, [state], [experiment]), Streams()
    times = []
    for _ in range(runs + WARM_UP):
        event = RunStart(uuid.uuid4().hex, SPEC, time.time(), settings=settings)
        begun_processor, begun = time.thread_time(), time.perf_counter()
        planned = choose(snapshot, event, settings, 0.0, streams, test_seconds=600.0)
        wall = time.perf_counter() - begun
        times.append((wall, time.thread_time() - begun_processor))
        if planned.arm is None:
            raise SystemExit("a run takes no part in the test")
    return times


def both(reached: str, other: bool) -> str:
    """Return `yes` when two bounds are reached."""
    return "yes" if reached == "yes" and other else "no"


def row(
    what: str, seconds: list[Seconds], most_median: float | None = None, most_p99: float | None = None
) -> dict[str, Any]:
    """Return a line of the table; a bound that is None is not asked for."""
    wall, processor = ([1e6 * one[clock] for one in seconds] for clock in (0, 1))
    middle, high = (percentile(wall, share) for share in (0.5, 0.99))
    kept = [value <= bound for value, bound in ((middle, most_median), (high, most_p99)) if bound is not None]
    return {
        "what": what,
        "runs": len(seconds),
        "median µs": round(middle, 1),
        "p99 µs": round(high, 1),
        "max µs": round(max(wall), 1),
        "processor median µs": round(percentile(processor, 0.5), 1),
        "processor p99 µs": round(percentile(processor, 0.99), 1),
        "µs more per seam": "",
        "times faster": "",
        "reached": "" if not kept else "yes" if all(kept) else "no",
    }


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--runs", type=int, default=2000)
    options = arguments.parse_args()
    rows = [*measure_choose(options.runs), *asyncio.run(measure_runs(options.runs))]
    note = (
        f"to reach: choose ≤ {MOST_CHOOSE_US:g} µs; a run ≤ {MOST_MEDIAN_US:g} µs, p99 ≤ {MOST_P99_US:g} µs, "
        f"≥ {LEAST_RATIO:g}× faster; ≤ {MOST_SEAM_US:g} µs more per seam with third parties. "
        "Time that the loop's thread is held"
    )
    show("Decision and recording", rows, options.json, note)


if __name__ == "__main__":
    main()
