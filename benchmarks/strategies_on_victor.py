"""What each of the six strategies really brings: a team with the fault it is for, on real Victor, untuned and changed.

Each team first runs untuned, and the strategy's suggestion is computed from those recorded runs. Then untuned runs and
runs with the suggested plan take turns, each pair with the same task. The model is scripted, so the fault is known,
and everything else is real: Victor runs the team, and the plugin enforces the plan and measures. The tool budget's
gain is that of the tokens' price; the deadline's is the share of runs that are over by then, in percentage points.

    python benchmarks/strategies_on_victor.py --runs 15
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from itertools import cycle
from math import expm1, fsum, log, sqrt
from random import Random
from statistics import fmean, stdev
from typing import Any

from _report import parser, percentile, show
from _victor import Victor, running, sandboxed, team_workflow
from rich.progress import Progress

from victor_autotune_plugin._model.optimization import OptimizationSuggestion, current_config
from victor_autotune_plugin._model.plan import EMPTY_PLAN
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_testing.scripted.teams import FAULTY_TEAMS, IN_TIME, FaultyTeam


def suggestion_for(team: FaultyTeam, runs: Sequence[TeamRun], call_seconds: float) -> OptimizationSuggestion:
    """Return what the team's strategy suggests.

    Args:
        team: The team.
        runs: Its untuned runs.
        call_seconds: What an ordinary call takes.

    Raises:
        SystemExit: It suggests nothing.
    """
    from victor_autotune_plugin._analysis.bottlenecks import analyze
    from victor_autotune_plugin.strategies import BUILT_IN
    from victor_autotune_plugin.strategies.base import rank

    spec = runs[-1].spec
    facts = list(runs)
    insights = analyze(facts, spec=spec, baseline_metrics=team.baseline_metrics(call_seconds))
    found = rank(BUILT_IN, insights, current_config(spec, EMPTY_PLAN), names=[team.strategy])
    if not found:
        raise SystemExit(f"{team.strategy} suggests nothing: {[insight.bottleneck for insight in insights]}")
    return found[0]


def measured(
    team: FaultyTeam, deadline: float | None, untuned: Sequence[TeamRun], changed: Sequence[TeamRun], seed: int
) -> tuple[float, float, float]:
    """Return the gain in percent with its 95 % interval.

    Args:
        team: The team.
        deadline: Deadline of the changed plan, seconds, or None.
        untuned: Runs as configured.
        changed: Runs with the suggested plan.
        seed: Seed of the bootstrap.
    """
    from victor_autotune_plugin.experiment.fixed_sample import two_proportions

    if team.metric == IN_TIME:
        # What stopping takes comes on top of the deadline.
        limit = 1.1 * (deadline or 0.0)
        hits = [sum(run.duration_seconds <= limit for run in runs) for runs in (untuned, changed)]
        found = two_proportions(hits[0], len(untuned), hits[1], len(changed))
        return 100 * found.estimate, 100 * found.low, 100 * found.high
    if team.metric == "cost":
        costs = [(one.cost_usd or 0.0, other.cost_usd or 0.0) for one, other in zip(untuned, changed, strict=True)]
        return _saved(costs, seed)
    return _faster(
        [(one.duration_seconds, other.duration_seconds) for one, other in zip(untuned, changed, strict=True)]
    )


def _faster(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return by how much the second of a pair takes less, percent: geometric mean, with the t interval over pairs.

    The runs of a pair followed each other, so what slows the machine down for a while hits both.
    """
    from scipy import stats

    logs = [log(after / before) for before, after in pairs]
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * stdev(logs) / sqrt(len(logs))
    middle = fmean(logs)
    return -100 * expm1(middle), -100 * expm1(middle + half), -100 * expm1(middle - half)


def _saved(pairs: Sequence[tuple[float, float]], seed: int) -> tuple[float, float, float]:
    """Return by how much the second sum of pairs is below the first, percent, with the bootstrap interval over pairs.

    A pair ran the same task, and tasks differ in cost far more than plans do.
    """

    def share(sample: Sequence[tuple[float, float]]) -> float:
        return 100 * (1 - fsum(after for _, after in sample) / fsum(before for before, _ in sample))

    draw = Random(seed)
    drawn = [share(draw.choices(pairs, k=len(pairs))) for _ in range(4000)]
    return share(pairs), percentile(drawn, 0.025), percentile(drawn, 0.975)


async def one_team(victor: Victor, team: FaultyTeam, options: Namespace, progress: Progress) -> dict[str, Any]:
    """Run one team untuned, ask its strategy, run both in turn, and return the row of the table."""
    call_seconds, runs = options.call_seconds, options.runs
    task = progress.add_task(team.strategy, total=options.history + 2 * runs)
    victor.play(team.script(call_seconds))
    workflows = [
        team_workflow(team.strategy, goal, team.formation, team.members, team.step_fields(call_seconds))
        for goal in team.goals
    ]

    async def run_with(plan: Any, workflow: Any) -> TeamRun:
        run = await victor.run(workflow, plan)
        progress.advance(task)
        return run

    turns = cycle(workflows)
    before = [await run_with(EMPTY_PLAN, next(turns)) for _ in range(options.history)]
    suggestion = suggestion_for(team, before, call_seconds)
    untuned, changed = [], []
    for number, workflow in zip(range(runs), cycle(workflows), strict=False):
        for is_changed in (number % 2 == 0, number % 2 == 1):
            (changed if is_changed else untuned).append(
                await run_with(suggestion.plan if is_changed else EMPTY_PLAN, workflow)
            )
    gain, low, high = measured(team, suggestion.plan.timeout_seconds, untuned, changed, options.seed)
    return {
        "strategy": team.strategy,
        "change": suggestion.plan.describe(),
        "gain in": team.metric,
        "expected %": f"{team.expected[0]:g}–{team.expected[1]:g}",
        "predicted %": round(suggestion.expected_improvement, 1),
        "measured %": round(gain, 1),
        "95 % interval": f"{low:.1f}…{high:.1f}",
        "success %": f"{_success(untuned)}→{_success(changed)}",
        "runs": f"{len(untuned)}+{len(changed)}",
    }


def _success(runs: Sequence[TeamRun]) -> int:
    return round(100 * fmean(run.success for run in runs))


async def measure(victor: Victor, options: Namespace) -> list[dict[str, Any]]:
    """Return the row of each team, and one for all."""
    rows = []
    async with running(victor):
        with Progress() as progress:
            for team in (one for one in FAULTY_TEAMS if options.only in (None, one.strategy)):
                row = await one_team(victor, team, options, progress)
                progress.console.print(f"{team.strategy}: {team.fault}; suggested: {row['change']}", style="dim")
                rows.append(row)
    gains = [row["measured %"] for row in rows]
    every = dict.fromkeys(rows[0], "")
    return [*rows, every | {"strategy": "overall", "expected %": "10–20", "measured %": round(fmean(gains), 1)}]


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--runs", type=int, default=12, help="runs of each plan")
    arguments.add_argument("--history", type=int, default=20, help="untuned runs that the suggestion is made of")
    arguments.add_argument("--call-seconds", type=float, default=0.4, help="what an ordinary call of the model takes")
    arguments.add_argument("--only", choices=[team.strategy for team in FAULTY_TEAMS], help="one strategy")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    with sandboxed("mode: auto\n") as victor:
        rows = asyncio.run(measure(victor, options))
    title = "Gain of each strategy on real Victor: expected and measured"
    show(title, rows, options.json, "overall: mean of the measured gains", only_json=("change", "runs"))


if __name__ == "__main__":
    main()
