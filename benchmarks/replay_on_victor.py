"""How well replay foretells another layout: real Victor teams, sequential as configured, that are run in parallel, too.

Every run has a task that slows or speeds all members alike (log sd .5), and every call of the model its own noise (log
sd .35). The truth is the ratio of geometric means over `--runs` runs of each layout, in turn, on the same tasks. Of
every 20 runs the tuner is told 12 sequential ones, and asked; then 8 parallel ones, of other tasks, and asked again. It
knows that no member uses another's work, as ten looks at runs tell the plugin. Beside its errors stands that of the
ratio of 8 parallel runs to 8 sequential ones, which needs no model.

    python benchmarks/replay_on_victor.py --runs 300 --call-seconds 0.5 --processes 4
"""

from __future__ import annotations

import asyncio
import gc
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import exp, log, sqrt
from multiprocessing import get_context
from random import Random
from statistics import fmean, geometric_mean, median, stdev
from typing import Any, Final, TypeAlias

from _report import parser, show
from _victor import Victor, running, sandboxed, team_workflow
from attrs import field, frozen
from rich.progress import Progress

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_testing.scripted import Lognormal, Rule, Script, ToolTurns
from victor_autotune_testing.scripted.script import Crowding
from victor_autotune_testing.scripted.scripts import SATISFIED_ANSWER
from victor_autotune_testing.scripted.true_teams import CALL_SD, TASK_SD

PARALLEL: Final = TeamPlan("parallel")

Both: TypeAlias = tuple[list[TeamRun], list[TeamRun]]
"""Sequential and parallel runs."""

BEFORE: Final = 12
"""Sequential runs that are told before the first question."""

AFTER: Final = 8
"""Parallel runs that are told before the second."""

PART: Final = 40
"""Runs of each layout in one process."""

WANTED_BEFORE, WANTED_AFTER, WANTED_HELD = 15.0, 5.0, 85.0
"""Median errors and share of intervals that hold the truth, percent, to reach."""


ROLES: Final = {"r": "researcher", "p": "planner", "e": "executor", "v": "reviewer"}


@frozen
class Pace:
    """What members of one role do.

    Attributes:
        times: Median of a call, in ordinary calls.
        calls: Calls of the model; between two of them a tool runs.
    """

    times: float
    calls: int = 1


def _roles(letters: str) -> tuple[str, ...]:
    return tuple(ROLES[letter] for letter in letters)


def _paces(by_letter: Mapping[str, tuple[float, int] | tuple[float]]) -> dict[str, Pace]:
    return {ROLES[letter]: Pace(*pace) for letter, pace in by_letter.items()}


@frozen
class ReplayedTeam:
    """A team whose members need nobody's work.

    Attributes:
        name: What is special about it.
        roles: Of its members, in order. Members of one role have one pace, because Victor names only roles to models.
        paces: By role.
        crowding: How the provider slows down, or None.
    """

    name: str
    roles: tuple[str, ...] = field(converter=_roles)
    paces: dict[str, Pace] = field(converter=_paces)
    crowding: Crowding | None = None

    def script(self, call_seconds: float, factor: float, seed: int) -> Script:
        """Return what the model does in one run, whose task takes `factor` times as long as usual."""
        rules = [
            Rule(
                role,
                role=role,
                latency=Lognormal(pace.times * call_seconds * factor, CALL_SD),
                tools=[ToolTurns(pace.calls - 1)] if pace.calls > 1 else [],
                answer=SATISFIED_ANSWER,
                crowding=self.crowding,
            )
            for role, pace in self.paces.items()
        ]
        return Script(rules, seed=seed)


_SOME: Final[Mapping[str, tuple[float, int] | tuple[float]]] = {
    "r": (1.0, 2),
    "p": (0.7, 1),
    "e": (1.4, 2),
    "v": (0.8, 1),
}

TEAMS: Final = (
    ReplayedTeam("three alike", "rpv", {"r": (1.0,), "p": (1.0,), "v": (1.0,)}),
    ReplayedTeam("three, one slow", "rpv", {"r": (3.0,), "p": (0.6,), "v": (0.6,)}),
    ReplayedTeam("three, many calls", "rev", {"r": (0.8, 3), "e": (1.0, 3), "v": (0.5, 2)}),
    ReplayedTeam("four alike", "rpev", {"r": (1.0,), "p": (1.0,), "e": (1.0,), "v": (1.0,)}),
    ReplayedTeam("four, mixed", "rpev", _SOME),
    ReplayedTeam("four, two slow", "rpev", {"r": (2.0, 2), "p": (0.5,), "e": (2.0, 2), "v": (0.5,)}),
    ReplayedTeam("four, quick", "rpev", {"r": (0.3, 2), "p": (0.2,), "e": (0.4, 2), "v": (0.2,)}),
    ReplayedTeam("five, mixed", "rrpev", _SOME),
    ReplayedTeam("five, one slow", "rpvpe", {"r": (0.6,), "p": (0.6,), "v": (0.6,), "e": (2.0, 2)}),
    ReplayedTeam("six, mixed", "rrpeev", _SOME),
    ReplayedTeam("four, crowded", "rpev", _SOME, Crowding(free=1, slowdown=0.25)),
    ReplayedTeam("six, crowded", "rrpeev", _SOME, Crowding(free=3, slowdown=0.3)),
)


@frozen
class Asked:
    """What the tuner said of the parallel layout.

    Attributes:
        ratio: Expected duration of a parallel run, as a share of a sequential one's.
        low: Lower end of its 90 % interval.
        high: Upper end.
    """

    ratio: float
    low: float
    high: float

    def holds(self, truth: float) -> bool:
        """Return whether the interval holds the truth."""
        return self.low <= truth <= self.high


def ask(runs: Sequence[TeamRun]) -> Asked:
    """Tell a new tuner of runs, and ask it what the parallel layout would take."""
    from victor_autotune_plugin._dataflow.verdict import Knowledge, Rules
    from victor_autotune_plugin._tuner import Objective, plan_space
    from victor_autotune_plugin._tuner.tuner import Tuner

    spec = runs[0].spec
    tuner = Tuner(plan_space(spec), Objective("duration"))
    # What the plugin knows of such a team once it has looked at ten runs.
    tuner.rules = Rules(Knowledge(spec, "independent", "", None, (), {}, BEFORE, is_whole=True))
    for run in runs:
        tuner.observe(run)
    outlook = tuner.outlook(PARALLEL).outlook
    return Asked(1 - outlook.improvements["duration"], 1 - outlook.interval[1], 1 - outlook.interval[0])


def ratio_of(parallel: Sequence[TeamRun], sequential: Sequence[TeamRun]) -> float:
    """Return the ratio of the geometric means of durations."""
    means = [geometric_mean(run.duration_seconds for run in runs) for runs in (parallel, sequential)]
    return means[0] / means[1]


def off(ratio: float, truth: float) -> float:
    """Return by how many percent a ratio misses the truth."""
    return 100 * abs(ratio / truth - 1)


def judged(team: str, sequential: Sequence[TeamRun], parallel: Sequence[TeamRun]) -> dict[str, Any]:
    """Return the row of a team.

    Args:
        team: Its name.
        sequential: Its runs as configured.
        parallel: Those of the other layout; the same number, on the same tasks.
    """
    truth = ratio_of(parallel, sequential)
    pairs = [
        log(one.duration_seconds / other.duration_seconds) for one, other in zip(parallel, sequential, strict=True)
    ]
    told = BEFORE + AFTER
    before, after, means = [], [], []
    for start in range(0, max(1, len(pairs) - told + 1), told):
        first = sequential[start : start + BEFORE]
        # Runs of other tasks than the first, as in a test; fewer than 20 have to share them.
        then = parallel[start + BEFORE : start + told] if len(pairs) >= told else parallel[-AFTER:]
        before.append(ask(first))
        after.append(ask([*first, *then]))
        means.append(ratio_of(then, first[:AFTER]))
    return {
        "team": team,
        "ratio": round(truth, 3),
        "± %": round(100 * stdev(pairs) / sqrt(len(pairs)), 1),
        "off before %": round(median(off(one.ratio, truth) for one in before), 1),
        "off after %": round(median(off(one.ratio, truth) for one in after), 1),
        "means off %": round(median(off(one, truth) for one in means), 1),
        "held before %": round(100 * fmean(one.holds(truth) for one in before)),
        "held after %": round(100 * fmean(one.holds(truth) for one in after)),
        "asked": len(before),
        "success %": round(100 * fmean(run.success for run in (*sequential, *parallel))),
        "predictions": [[one.ratio, two.ratio, three] for one, two, three in zip(before, after, means, strict=True)],
    }


async def run_both(victor: Victor, team: ReplayedTeam, options: Namespace, part: int) -> Both:
    """Return the runs of a part, sequential and parallel, which took turns on the same tasks."""
    members = [
        {"id": f"m{place}", "role": role, "name": f"M{place}", "goal": "do your part"}
        for place, role in enumerate(team.roles)
    ]
    workflow = team_workflow(team.name, "review the change", "sequential", members, {"timeout_seconds": 600.0})
    draw = Random(f"{options.seed} {team.name} {part}")
    runs: dict[TeamPlan, list[TeamRun]] = {EMPTY_PLAN: [], PARALLEL: []}
    async with running(victor):
        for number in range(min(PART, options.runs - part)):
            # Both runs of a task draw the same noise, which makes their ratio more precise.
            script = team.script(options.call_seconds, exp(draw.gauss(0.0, TASK_SD)), draw.getrandbits(32))
            for plan in (EMPTY_PLAN, PARALLEL) if number % 2 == 0 else (PARALLEL, EMPTY_PLAN):
                victor.play(script)
                # Looking for garbage among all that Victor keeps would take a third of a second of somebody's run.
                gc.collect()
                gc.freeze()
                runs[plan].append(await victor.run(workflow, plan))
    return runs[EMPTY_PLAN], runs[PARALLEL]


def run_part(team: ReplayedTeam, options: Namespace, part: int) -> Both:
    """Return the runs of a team from number `part` on, made in a Victor of their own."""
    with sandboxed("mode: auto\n") as victor:
        return asyncio.run(run_both(victor, team, options, part))


def measure(options: Namespace) -> list[dict[str, Any]]:
    """Return the row of each team."""
    chosen = [team for team in TEAMS if options.only in (None, team.name)]
    rows = []
    # A process for each part: Victor 0.9.5 keeps 8 MB of every member that ever ran.
    pool = ProcessPoolExecutor(options.processes, get_context("spawn"), max_tasks_per_child=1)
    with Progress() as progress, pool:
        asked = [
            (team, [pool.submit(run_part, team, options, part) for part in range(0, options.runs, PART)])
            for team in chosen
        ]
        for team, parts in asked:
            sequential: list[TeamRun] = []
            parallel: list[TeamRun] = []
            task = progress.add_task(team.name, total=options.runs)
            for part in parts:
                one, other = part.result()
                sequential += one
                parallel += other
                progress.update(task, completed=len(parallel))
            rows.append(judged(team.name, sequential, parallel))
    return rows


def verdict(sums: dict[str, Any]) -> str:
    """Return what was to be reached, and whether it was."""
    reached = (
        sums["off before %"] <= WANTED_BEFORE
        and sums["off after %"] <= WANTED_AFTER
        and min(sums["held before %"], sums["held after %"]) >= WANTED_HELD
    )
    wanted = f"≤ {WANTED_BEFORE:g} % before, ≤ {WANTED_AFTER:g} % after, intervals hold ≥ {WANTED_HELD:g} %"
    return f"to reach: {wanted} ({'reached' if reached else 'not reached'})"


def over_all(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of errors over teams, and the means of the shares of intervals that hold."""
    errors = {name: round(median(row[name] for row in rows), 1) for name in rows[0] if "off" in name}
    held = {name: round(fmean(row[name] for row in rows), 1) for name in rows[0] if name.startswith("held")}
    return {"teams": f"all {len(rows)}", **errors, **held, "asked": sum(row["asked"] for row in rows)}


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--runs", type=int, default=300, help="runs of each layout")
    arguments.add_argument("--call-seconds", type=float, default=0.1, help="what an ordinary call of the model takes")
    arguments.add_argument("--processes", type=int, default=1, help="teams, or parts of them, that run at a time")
    arguments.add_argument("--only", choices=[team.name for team in TEAMS], help="one team")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    if options.runs < 2:
        arguments.error("--runs must be at least 2")
    rows = measure(options)
    sums = over_all(rows)
    title = "What a parallel run takes, foretold from sequential ones on real Victor"
    show(title, rows, options.json, verdict(sums), only_json=("predictions",), sums=[sums])


if __name__ == "__main__":
    main()
