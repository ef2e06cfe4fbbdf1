"""The main job in a few minutes: a real Victor workflow is tuned, the change proven, and later rolled back.

    make demo

A scripted model on loopback stands in for the cloud, and Victor lives in a throw-away home, so nothing of yours is
read or written. Everything else is real: Victor runs the team, the plugin intercepts it as Victor's own plugin
discovery loaded it, and the A/B test decides on the measured runs.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from victor_autotune_testing.sandbox import victor_sandbox
from victor_autotune_testing.scripted import Lognormal, ScriptedModel, scripts

if TYPE_CHECKING:
    from victor_autotune_plugin.hookspecs import Change, Experiment, TeamRun
    from victor_autotune_plugin.storage import Store

WORKFLOW = Path(__file__).with_name("code_review.yaml")
TEAM = ("code_review", "review_team")
QUIET_RUNS = 12
"""Runs between the promotion and the injected regression."""
MOST_RUNS = 400

console = Console()


def healthy() -> scripts.Script:
    """Return how the model behaves at first: each call takes about 0.15 s, one in twenty twice as long."""
    return scripts.succeed_at_once(Lognormal(median=0.15, sigma=0.35), seed=7)


def crowded() -> scripts.Script:
    """Return how it behaves after the injected regression: the provider slows down when called in parallel."""
    return scripts.crowded(healthy(), free=1, slowdown=2.0)


class Demo:
    """Runs the workflow until something happens.

    Args:
        store: The plugin's store, to read what it did.
        orchestrator: Victor's orchestrator.
        definition: Victor's workflow.
        progress: Shows how far it is.
    """

    def __init__(self, store: Store, orchestrator: object, definition: object, progress: Progress) -> None:
        self._store = store
        self._orchestrator = orchestrator
        self._definition = definition
        self._progress = progress
        self._shown: list[str] = []

    async def until(self, label: str, action: str | None, most: int) -> Change | None:
        """Run the workflow again and again until the plugin made a change.

        Args:
            label: What to show.
            action: The change to wait for, or None to run `most` times.
            most: How many runs at the most.

        Returns:
            The change, or None if it did not come.
        """
        from victor_autotune_plugin import run_workflow

        task = self._progress.add_task(label, total=None if action else most, note="")
        seen = len(self._changes())
        for number in range(1, most + 1):
            await run_workflow(self._definition, self._orchestrator, {})
            await self._written()
            change = next((c for c in self._changes()[seen:] if c.action == action), None)
            self._progress.update(task, completed=number, note=self._note(number))
            if change is not None:
                self._progress.update(task, total=number, completed=number)
                return change
        return None

    async def _written(self) -> None:
        """Wait a moment for the record of the last run and what follows from it; a program need not, but a screen."""
        for _ in range(100):
            newest = [run.run_id for run in self._runs()]
            if newest != self._shown:
                self._shown = newest
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)

    def _note(self, number: int) -> str:
        runs = self._runs()
        if not runs:
            return f"run {number}"
        run = runs[0]
        arm = f" ({run.arm})" if run.arm else ""
        return f"run {number}: {run.plan_used.formation}{arm} took {run.duration_seconds:.2f} s"

    def _changes(self) -> list[Change]:
        return sorted(self._store.changes(*TEAM), key=lambda change: change.id or 0)

    def _runs(self) -> list[TeamRun]:
        return list(self._store.finished_runs(*TEAM, limit=1))


def closing_table(store: Store, promoted: Change, injected_at: float, rolled_back: Change, looked_at: str) -> Table:
    """Return the table at the end: before, after, verdict, evidence, detection."""
    experiment = store.experiment(promoted.experiment_id)
    runs = list(store.finished_runs(*TEAM, limit=MOST_RUNS))
    before = [r for r in runs if r.started_at < promoted.at and r.plan_asked == promoted.rollback_plan]
    after = [r for r in runs if promoted.at <= r.started_at < injected_at and r.plan_asked == promoted.plan_after]
    broken = [r for r in runs if injected_at <= r.started_at <= rolled_back.at and r.plan_asked == promoted.plan_after]
    restored = [r for r in runs if r.started_at > rolled_back.at and r.plan_asked == rolled_back.plan_after]
    table = Table(title="What happened to code_review / review_team", show_lines=False)
    for column in ("", "plan", "runs", "median", "success"):
        table.add_column(column)
    for label, plan, group in (
        ("before", "sequential, as configured", before),
        ("after the promotion", promoted.plan_after.describe(), after),
        ("after the regression", promoted.plan_after.describe(), broken),
        ("after the rollback", "sequential, as configured", restored),
    ):
        table.add_row(label, plan, str(len(group)), _median(group), _success(group))
    console.print(table)
    return _evidence(experiment, promoted, rolled_back, len(broken), rolled_back.at - injected_at, looked_at)


def _evidence(
    experiment: Experiment, promoted: Change, rolled_back: Change, runs: int, seconds: float, looked_at: str
) -> Table:
    table = Table(title="Why", show_header=False)
    table.add_column("", style="bold")
    table.add_column("")
    verdict = promoted.evidence
    low, high = verdict["interval"]
    table.add_row("verdict of the test", f"passed after {sum(verdict['runs'].values())} runs")
    table.add_row("", promoted.reason)
    table.add_row(
        "effect on the duration", f"{percent(verdict['effect'])}, 95 % interval {percent(low)} to {percent(high)}"
    )
    table.add_row("data flow", looked_at)
    table.add_row("guarantee", f"at most {percent(experiment.policy.alpha)} wrong verdicts, looking after every run")
    table.add_row("rollback", rolled_back.reason)
    table.add_row("time of detection", f"{runs} runs, {seconds:.0f} s after the regression began")
    table.add_row("live plan now", rolled_back.plan_after.describe())
    return table


def data_flow(project: Path) -> str:
    """Return who was found to use whose work: only members that use nothing of each other may run in parallel."""
    from victor_autotune_plugin import PerformanceAutotuner

    with PerformanceAutotuner(project=project) as autotuner:
        found = autotuner.data_flow(TEAM[1], workflow=TEAM[0])
    return f"{found['graph']}. {found['because']}"


def _median(runs: Sequence[TeamRun]) -> str:
    return f"{median(run.duration_seconds for run in runs):.2f} s" if runs else "—"


def percent(share: float) -> str:
    """Return a share as the plugin's own screens show it, with a minus sign and a space."""
    return f"{100 * share:.0f} %".replace("-", "−")


def _success(runs: Sequence[TeamRun]) -> str:
    return percent(sum(run.success for run in runs) / len(runs)) if runs else "—"


async def tell(model: ScriptedModel, project: Path) -> int:
    """Tell the story.

    Args:
        model: The scripted model.
        project: The sandbox's project.

    Returns:
        The exit code.
    """
    shutil.copy(WORKFLOW, project)
    console.print("Starting Victor …")
    from victor_autotune_plugin import health, make_orchestrator, read_workflows, settle
    from victor_autotune_plugin.storage import Store, default_url

    orchestrator = await make_orchestrator("openai", "scripted", None)
    if not health()["active"]:
        console.print("Victor did not load the plugin. Is it installed in this environment?", style="red")
        return 1
    definition = read_workflows(project / WORKFLOW.name).workflow(None)
    store = Store.open(default_url(project))
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console) as progress:
        demo = Demo(store, orchestrator, definition, progress)
        started = await demo.until("1 observing", "started", MOST_RUNS)
        looked_at = data_flow(project)
        promoted = await demo.until("2 A/B test", "promoted", MOST_RUNS) if started else None
        if started is None or promoted is None:
            console.print("The plugin found no better plan; that should not happen here.", style="red")
            return 1
        await demo.until("3 promoted", None, QUIET_RUNS)
        model.script = crowded()
        injected_at = time.time()
        rolled_back = await demo.until("4 regression", "rolled_back", MOST_RUNS)
        if rolled_back is None:
            console.print("The plugin did not notice the regression; that should not happen here.", style="red")
            return 1
        await demo.until("5 rolled back", None, 5)
    await settle()
    console.print(closing_table(store, promoted, injected_at, rolled_back, looked_at))
    store.close()
    return 0


def main() -> int:
    """Run the demo; return the exit code."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with ScriptedModel(healthy()) as model, victor_sandbox(model.base_url, quiet=True) as sandbox:
        return asyncio.run(tell(model, sandbox.project))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
