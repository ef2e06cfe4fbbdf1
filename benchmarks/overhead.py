"""What the plugin adds to a team run: the same run on real Victor with and without it, in pairs.

A scripted model that answers at once, in a process of its own, serves a team of three in parallel. Within a pair the
order is drawn, so that neither side has the warmer machine. The plugin is in mode `auto` and records to SQLite: first
with a test open all the time whose two plans run alike, then with the tuner as well, which looks at the test after
every fifth run; each scene in a process of its own. Victor leaves so much garbage that its collection is most of the
noise; so the collector runs between the runs of both sides and not in them. Beside the wall clock stands the processor
time of the thread that Victor runs in, which other programs on the machine disturb less.

    python benchmarks/overhead.py --pairs 150
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from _report import parser, percentile, show
from attrs import asdict, frozen
from rich.console import Console
from rich.progress import track

from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_plugin.strategies.base import OptimizationStrategy
from victor_autotune_testing.sandbox import victor_sandbox

MOST_MS = 1.0
MOST_SHARE = 1.0
"""Percent of the run."""

SCENES = {"a test open": "off", "tuner on": "low"}
"""The tuner's risk in each."""

SETTINGS = (
    "{{mode: auto, strategies: [alike], experiment: {{max_runs_per_arm: 2000, minimum_improvement: 0.0}}, "
    "tuner: {{risk: '{risk}'}}}}"
)


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


CLOCKS = ("wall clock", "processor")

Seconds = tuple[float, float]
"""By the `CLOCKS`; the processor time is the thread's."""


@frozen
class Measured:
    """What the pairs of a scene took.

    Attributes:
        scene: Its name.
        on: With the plugin.
        off: Without.
        tested: How many of the runs with the plugin took part in a test.
    """

    scene: str
    on: list[Seconds]
    off: list[Seconds]
    tested: int


def new_runtime(risk: str) -> Runtime:
    """Return the plugin with a strategy of its own; the settings that name it follow, since nobody knew it before."""
    settings = runtime.project_folder() / ".victor" / "autotune.yaml"
    settings.parent.mkdir(exist_ok=True)
    settings.unlink(missing_ok=True)
    owner = Runtime(runtime.project_folder())
    owner.hooks.register(Alike(), "benchmark")
    settings.write_text(SETTINGS.format(risk=risk), encoding="utf-8")
    owner.look_at_settings()
    return owner


async def measure(scene: str, pairs: int, seed: int) -> Measured:
    """Run the pairs of a scene in this process."""
    from victor_autotune_plugin import make_orchestrator, settle

    orchestrator = await make_orchestrator("openai", "scripted", None)
    measured = await measure_scene(scene, SCENES[scene], orchestrator, pairs, seed)
    await settle()
    return measured


def in_own_process(scene: str, pairs: int, seed: int) -> Measured:
    """Run the pairs of a scene in a process of its own."""
    command = [sys.executable, __file__, "--scene", scene, "--pairs", str(pairs), "--seed", str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


async def measure_scene(scene: str, risk: str, orchestrator: Any, pairs: int, seed: int) -> Measured:
    """Run the pairs of a scene, with a team of its own."""
    from victor.core.shared_types import SubAgentRole
    from victor.teams import TeamConfig, TeamFormation, TeamMember, UnifiedTeamCoordinator

    from victor_autotune_plugin._host import seams

    owner = new_runtime(risk)
    runtime.use(owner)

    async def one_run() -> Seconds:
        members = [TeamMember(f"m{n}", SubAgentRole.RESEARCHER, f"M{n}", "Look.") for n in range(3)]
        config = TeamConfig(scene, "Look at the notes.", members, formation=TeamFormation.PARALLEL)
        gc.collect()
        gc.disable()
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        result = await UnifiedTeamCoordinator(orchestrator).execute_team_config(config)
        seconds = time.perf_counter() - begun, time.thread_time() - begun_cpu
        gc.enable()
        if not result.success:
            raise SystemExit(f"the team failed: {result.member_results}")
        return seconds

    seams.install()
    for _ in range(20):
        await one_run()
    gc.collect()
    gc.freeze()
    draw = random.Random(seed)
    seconds: dict[bool, list[Seconds]] = {True: [], False: []}
    progress = Console(stderr=True)
    for _ in track(range(pairs), description=f"pairs of runs, {scene}", console=progress):
        first = draw.random() < 0.5
        for with_plugin in (first, not first):
            (seams.install if with_plugin else seams.uninstall)()
            seconds[with_plugin].append(await one_run())
    with owner.open_store() as store:
        latest = list(store.finished_runs(team_id=scene, limit=pairs))
    owner.close()
    return Measured(scene, seconds[True], seconds[False], sum(run.arm is not None for run in latest))


@contextmanager
def scripted_model() -> Iterator[str]:
    """Serve a model that answers at once from a process of its own, as a real one would be; yield its URL.

    In a thread of this process it would wait for the interpreter whenever the plugin does not, and the other way round.
    """
    command = [sys.executable, "-m", "victor_autotune_testing.scripted"]
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


def row(measured: Measured, which: int, seed: int) -> dict[str, Any]:
    """Return a line of the table, by one of the `CLOCKS`."""
    on, off = ([1000 * seconds[which] for seconds in side] for side in (measured.on, measured.off))
    differences = [a - b for a, b in zip(on, off, strict=True)]
    low, high = interval(differences, seed)
    added, share = median(differences), 100 * median(differences) / median(off)
    return {
        "scene": measured.scene,
        "clock": CLOCKS[which],
        "pairs": len(differences),
        "tested": measured.tested,
        "off ms": round(median(off), 1),
        "on ms": round(median(on), 1),
        "added ms": round(added, 2),
        "95 % interval": f"{low:.2f}…{high:.2f}",
        "share %": round(share, 2),
        "reached": "yes" if added <= MOST_MS and share <= MOST_SHARE else "no",
    }


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--pairs", type=int, default=150)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--scene", choices=SCENES, help="measure one scene in this process")
    options = arguments.parse_args()
    if options.scene is not None:
        with scripted_model() as base_url, victor_sandbox(base_url, quiet=True):
            print(json.dumps(asdict(asyncio.run(measure(options.scene, options.pairs, options.seed)))))
        return
    measured = [in_own_process(scene, options.pairs, options.seed) for scene in SCENES]
    rows = [row(scene, which, options.seed) for scene in measured for which in range(len(CLOCKS))]
    note = f"added: median of the paired differences; to reach: ≤ {MOST_MS:g} ms and ≤ {MOST_SHARE:g} % of the run"
    show("Overhead of the plugin per team run", rows, options.json, note)


if __name__ == "__main__":
    main()
