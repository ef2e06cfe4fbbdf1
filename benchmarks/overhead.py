"""What the plugin adds to a team run: the same run on real Victor with and without it, in pairs.

A scripted model that answers at once, in a process of its own, serves a team of three in parallel. Within a pair the
order is drawn, so that neither side has the warmer machine. The plugin is in mode `auto`, with an experiment open
whose two plans run alike, and records to SQLite. Victor leaves so much garbage that its collection is most of the
noise; so the collector runs between the runs of both sides and not in them. Beside the wall clock stands the processor
time of the thread that Victor runs in, which other programs on the machine disturb less.

    python benchmarks/overhead.py --pairs 200
"""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from _report import parser, percentile, show
from rich.progress import track

from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_plugin.model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin.scripted.sandbox import victor_sandbox
from victor_autotune_plugin.strategies.base import OptimizationStrategy

MOST_MS = 2.0
MOST_SHARE = 1.0
"""Percent of the run."""

SETTINGS = "{mode: auto, strategies: [alike], experiment: {max_runs_per_arm: 2000}}"


class Alike(OptimizationStrategy):
    """Suggests a budget that no run of this benchmark comes near, so that both arms of the experiment run alike."""

    name = "alike"

    def suggest(self, insights: Sequence[Any], current_config: Mapping[str, Any]) -> list[OptimizationSuggestion]:
        """Suggest it, whatever the runs show."""
        del insights
        wanted = {"tool_budget": 100_000}
        text = "Allow more tool calls than there are."
        return [OptimizationSuggestion("alike", OptimizationPriority.LOW, text, current_config, wanted, 10.0, 0.9, 0.0)]

    @hookimpl
    def add_strategies(self) -> list[Any]:
        """Offer the strategy to the plugin."""
        return [self]


Seconds = tuple[float, float]
"""Of the wall clock, and of the thread's processor time."""


async def measure(pairs: int, seed: int) -> tuple[list[Seconds], list[Seconds], int]:
    """Run pairs; return what runs with the plugin took and those without, and how many were in the test."""
    from victor.core.shared_types import SubAgentRole
    from victor.teams import TeamConfig, TeamFormation, TeamMember, UnifiedTeamCoordinator

    from victor_autotune_plugin import runtime
    from victor_autotune_plugin.host import seams
    from victor_autotune_plugin.host.workflows import make_orchestrator, settle
    from victor_autotune_plugin.runtime import Runtime

    orchestrator = await make_orchestrator("openai", "scripted", None)
    owner = Runtime(runtime.project_folder())
    owner.hooks.register(Alike(), "benchmark")
    settings = owner.project / ".victor" / "autotune.yaml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(SETTINGS, encoding="utf-8")
    runtime.use(owner)

    async def one_run() -> Seconds:
        members = [TeamMember(f"m{n}", SubAgentRole.RESEARCHER, f"M{n}", "Look.") for n in range(3)]
        config = TeamConfig("bench", "Look at the notes.", members, formation=TeamFormation.PARALLEL)
        gc.collect()
        gc.disable()
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        result = await UnifiedTeamCoordinator(orchestrator).execute_team_config(config)
        seconds = time.perf_counter() - begun, time.thread_time() - begun_cpu
        gc.enable()
        if not result.success:
            raise SystemExit(f"the team failed: {result.member_results}")
        return seconds

    for _ in range(10):
        await one_run()
    gc.collect()
    gc.freeze()
    draw = random.Random(seed)
    seconds: dict[bool, list[Seconds]] = {True: [], False: []}
    for _ in track(range(pairs), description="pairs of runs"):
        first = draw.random() < 0.5
        for with_plugin in (first, not first):
            (seams.install if with_plugin else seams.uninstall)()
            seconds[with_plugin].append(await one_run())
    tested = sum(record.run is not None and record.run.arm is not None for record in owner.open_store().runs())
    owner.close()
    await settle()
    return seconds[True], seconds[False], tested


@contextmanager
def scripted_model() -> Iterator[str]:
    """Serve a model that answers at once from a process of its own, as a real one would be; yield its URL.

    In a thread of this process it would wait for the interpreter whenever the plugin does not, and the other way round.
    """
    command = [sys.executable, "-m", "victor_autotune_plugin.scripted"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise SystemExit("the scripted model has no output to read its URL from")
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            process.communicate()


def interval(differences: list[float], seed: int) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the median (percentile method, 2,000 resamples)."""
    draw = random.Random(seed)
    medians = [median(draw.choices(differences, k=len(differences))) for _ in range(2000)]
    return percentile(medians, 0.025), percentile(medians, 0.975)


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--pairs", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    with scripted_model() as base_url, victor_sandbox(base_url, quiet=True):
        with_plugin, without, tested = asyncio.run(measure(options.pairs, options.seed))
    rows = []
    for which, clock in enumerate(("wall clock", "processor")):
        on = [1000 * seconds[which] for seconds in with_plugin]
        off = [1000 * seconds[which] for seconds in without]
        differences = [a - b for a, b in zip(on, off, strict=True)]
        low, high = interval(differences, options.seed)
        added, share = median(differences), 100 * median(differences) / median(off)
        rows.append(
            {
                "clock": clock,
                "pairs": len(differences),
                "tested": tested,
                "off ms": round(median(off), 1),
                "on ms": round(median(on), 1),
                "added ms": round(added, 2),
                "95 % interval": f"{low:.2f}…{high:.2f}",
                "share %": round(share, 2),
                "reached": "yes" if added <= MOST_MS and share <= MOST_SHARE else "no",
            }
        )
    note = f"added: median of the paired differences; to reach: ≤ {MOST_MS:g} ms and ≤ {MOST_SHARE:g} % of the run"
    show("Overhead of the plugin per team run", rows, options.json, note)


if __name__ == "__main__":
    main()
