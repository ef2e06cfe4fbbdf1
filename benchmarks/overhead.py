"""What the plugin adds to a team run: the same run on real Victor with and without it, in pairs.

A scripted model that answers at once serves a team of three in parallel. Within a pair the order is drawn, so that
neither side has the warmer machine. The plugin is in mode `auto`, with an experiment open, and records to SQLite.

    python benchmarks/overhead.py --pairs 200
"""

from __future__ import annotations

import asyncio
import random
import time
from statistics import median

from _report import parser, percentile, show

from victor_autotune_plugin.scripted import ScriptedModel, scripts
from victor_autotune_plugin.scripted.sandbox import victor_sandbox


async def measure(pairs: int, seed: int) -> tuple[list[float], list[float]]:
    """Run pairs; return the seconds with the plugin and without, in the order of the pairs."""
    from victor.core.shared_types import SubAgentRole
    from victor.teams import TeamConfig, TeamFormation, TeamMember, UnifiedTeamCoordinator

    from victor_autotune_plugin import runtime
    from victor_autotune_plugin.host import seams
    from victor_autotune_plugin.host.workflows import make_orchestrator, settle
    from victor_autotune_plugin.runtime import Runtime

    orchestrator = await make_orchestrator("openai", "scripted", None)
    owner = Runtime(runtime.project_folder(), overrides={"mode": "auto", "experiment.max_runs_per_arm": 2000})
    runtime.use(owner)

    async def one_run() -> float:
        members = [TeamMember(f"m{n}", SubAgentRole.RESEARCHER, f"M{n}", "Look.") for n in range(3)]
        config = TeamConfig("bench", "Look at the notes.", members, formation=TeamFormation.PARALLEL)
        begun = time.perf_counter()
        result = await UnifiedTeamCoordinator(orchestrator).execute_team_config(config)
        seconds = time.perf_counter() - begun
        if not result.success:
            raise SystemExit(f"the team failed: {result.member_results}")
        return seconds

    for _ in range(10):
        await one_run()
    draw = random.Random(seed)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(pairs):
        first = draw.random() < 0.5
        for with_plugin in (first, not first):
            (seams.install if with_plugin else seams.uninstall)()
            seconds[with_plugin].append(await one_run())
    owner.close()
    await settle()
    return seconds[True], seconds[False]


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
    with ScriptedModel(scripts.succeed_at_once()) as model, victor_sandbox(model.base_url, quiet=True):
        with_plugin, without = asyncio.run(measure(options.pairs, options.seed))
    differences = [1000 * (a - b) for a, b in zip(with_plugin, without, strict=True)]
    low, high = interval(differences, options.seed)
    run = 1000 * median(without)
    row = {
        "pairs": len(differences),
        "run without ms": round(run, 1),
        "run with ms": round(1000 * median(with_plugin), 1),
        "median difference ms": round(median(differences), 2),
        "95 % interval ms": f"{low:.2f} to {high:.2f}",
        "share of the run %": round(100 * median(differences) / run, 2),
    }
    show("Overhead of the plugin per team run", [row], options.json, "to reach: median ≤ 2 ms and ≤ 1 % of the run")


if __name__ == "__main__":
    main()
