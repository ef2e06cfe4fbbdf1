"""What tuning brings real teams: teams of different truths run in mode `auto` on real Victor, with shipped settings.

Each team runs 80 times, and what the plugin does is noted after every run: the first test, when a plan goes live on
probation and when by proof, how tests end. Then the plan as configured, the plan of the end and the best one there is
by construction take turns on the same new tasks; a gain is that of the mean duration. Answers of runs under a changed
layout are compared with what the team as configured answers to the same task. Teams with changes of the work have
a `command` scorer, whose ten checks each pass in nine of ten runs; they run once more without it.

    python benchmarks/tuning_on_victor.py

Settings are those shipped, but for `mode: auto` and the scorer. A task slows a run's calls alike (log sd .5), every
call has its own noise (log sd .35), and a fifth of the runs fail as configured, at random. An ordinary call takes .3 s
where a real one takes 5 to 20 s; the column *idle* says in what share of a run as configured no call of the model was
under way, which is what Victor's own work takes: about OVERHEAD. Each team runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random
from statistics import fmean, median
from typing import Any, Final

from _report import parser, show
from _victor import Victor, running, sandboxed, team_workflow
from attrs import evolve, field, frozen

from victor_autotune_plugin._model.experiment import Experiment, TeamState
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_testing.scripted.server import Call
from victor_autotune_testing.scripted.true_teams import TRUE_TEAMS, DrawnTask, TrueTeam

UNSCORED: Final = " without a scorer"
TEAMS: Final = {
    team.name: team
    for team in (*TRUE_TEAMS, *(evolve(one, name=one.name + UNSCORED, scored=()) for one in TRUE_TEAMS if one.scored))
}
LEFT_ALONE: Final = ("pipeline", "already optimal", *(name for name in TEAMS if name.endswith(UNSCORED)))
ROOM_PERCENT, WANTED_MEDIAN, WANTED_WIDE, WIDE_RUNS = 10.0, 25.0, 35.0, 60
SETTLED_SECONDS: Final = 60.0

SCORERS: Final = "VICTOR_AUTOTUNE_QUALITY__SCORERS"
CHECKS: Final = """
import os, random, sys
text, wanted = sys.stdin.read(), {wanted}
share = 0.9 * sum(f"{{role}}:" in text for role in wanted) / len(wanted)
draw = random.Random(os.environ["VICTOR_AUTOTUNE_RUN_ID"])
print(sum(draw.random() < share for _ in range(10)) / 10)
"""


def scored_by(team: TrueTeam) -> None:
    """Have the runs of a team scored; a command in a settings file would wait until somebody trusts it."""
    if team.scored:
        code = CHECKS.format(wanted=team.scored)
        os.environ[SCORERS] = json.dumps({"checks": {"command": [sys.executable, "-c", code]}})


def is_layout(plan: TeamPlan) -> bool:
    """Return whether a plan changes how the members work together, and nothing of what they do."""
    return plan.members is None and plan.tool_budget is None and plan.member_budgets is None and plan != EMPTY_PLAN


def idle_share(run: TeamRun, calls: Sequence[Call]) -> float:
    """Return the share of a run in which no call of the model was under way."""
    busy = end = 0.0
    for call in sorted(calls, key=lambda one: one.started):
        busy += max(0.0, call.ended - max(call.started, end))
        end = max(end, call.ended)
    return 1 - busy / run.duration_seconds


@frozen
class Noted:
    """What the plugin had done after each run.

    Attributes:
        states: The team's state after each run.
        tests: All tests after the last run.
        statuses: The status of each test after each run, by its id.
    """

    states: list[TeamState] = field(factory=list)
    tests: list[Experiment] = field(factory=list)
    statuses: list[dict[str, str]] = field(factory=list)

    def first(self, *wanted: str) -> int | None:
        """Return after which run a test was first in one of these states; in any, without one named."""
        runs = (n for n, seen in enumerate(self.statuses, 1) if any(not wanted or s in wanted for s in seen.values()))
        return next(runs, None)


class Played:
    """A team on real Victor, in this process.

    Args:
        victor: Runs it.
        team: The team.
        options: The command line's.
    """

    def __init__(self, victor: Victor, team: TrueTeam, options: Namespace) -> None:
        self._victor, self._team, self._options = victor, team, options
        self._workflow = team_workflow(team.name, "do the work", team.formation, team.members, team.step)
        self._draw = Random(f"{options.seed} {team.name.removesuffix(UNSCORED)}")
        self._tasks = 0

    def task(self) -> DrawnTask:
        """Return the next task."""
        self._tasks += 1
        return DrawnTask.drawn(self._tasks, self._draw)

    async def run(self, task: DrawnTask, plan: TeamPlan | None) -> tuple[TeamRun, str]:
        """Run the team, and return the run and what it delivered, with the task's number left out."""
        self._victor.play(self._team.script(self._options.call_seconds, task))
        run = await self._victor.run(self._workflow, plan)
        return run, self._victor.output.replace(f"umber {task.number} ", "umber ? ")

    async def tune(self, owner: Any) -> tuple[Noted, list[tuple[TeamRun, str]]]:
        """Let the plugin tune the team; return what it did, and the runs with what they delivered."""
        noted, runs = Noted(), list[tuple[TeamRun, str]]()
        for number in range(1, self._options.runs + 1):
            runs.append(await self.run(self.task(), None))
            if not await owner.settled(SETTLED_SECONDS):
                raise SystemExit(f"a run of {self._team.name} was not judged in {SETTLED_SECONDS:g} s")
            with owner.store().reading() as transaction:
                state = transaction.team(self._team.name, "team")
                tests = transaction.experiments_of(self._team.name, "team")
            noted.states.append(state)
            noted.tests[:] = tests
            noted.statuses.append({one.id: one.status for one in tests})
            if number % 10 == 0 or noted.statuses[-2:-1] != noted.statuses[-1:]:
                told = ", ".join(f"{one.treatment.describe()} {one.status}" for one in tests) or "no test"
                print(f"{self._team.name}: {number} runs, {told}", file=sys.stderr, flush=True)
        return noted, runs

    async def compare(self, plans: Sequence[TeamPlan]) -> tuple[dict[TeamPlan, list[tuple[TeamRun, str]]], float]:
        """Let plans take turns on the same tasks; return their runs, and how long Victor itself took of the first's."""
        found: dict[TeamPlan, list[tuple[TeamRun, str]]] = {plan: [] for plan in plans}
        idle = []
        for number in range(self._options.rounds):
            task, first = self.task(), number % len(plans)
            for plan in (*plans[first:], *plans[:first]):
                found[plan].append(await self.run(task, plan))
                if plan == plans[0]:
                    idle.append(idle_share(found[plan][-1][0], self._victor.model.calls))
        return found, fmean(idle)


async def measured(victor: Victor, team: TrueTeam, options: Namespace) -> dict[str, Any]:
    """Tune a team, compare what came of it, and return the row of the table."""
    from victor_autotune_plugin._tuning.next_test import advice

    async with running(victor) as owner:
        played = Played(victor, team, options)
        noted, runs = await played.tune(owner)
        final = noted.states[-1].plan
        changes = [change.to_dict() for change in owner.store().changes(team.name, "team")]
        said = advice(owner.store(), noted.states[-1], owner.settings(runs[-1][0].spec), owner.hooks).to_dict()
        found, idle = await played.compare(list(dict.fromkeys((EMPTY_PLAN, final, team.best))))
    usual = next(text for run, text in runs if run.success and run.plan_used == runs[0][0].plan_used)
    changed = sum(is_layout(run.plan_asked) and run.success and text != usual for run, text in runs)
    changed += sum(
        is_layout(plan) and run.success and before.success and text != told
        for plan in found
        for (before, told), (run, text) in zip(found[EMPTY_PLAN], found[plan], strict=True)
    )

    def gain(plan: TeamPlan) -> float:
        took, before = (fmean(run.duration_seconds for run, _ in found[one]) for one in (plan, EMPTY_PLAN))
        return round(100 * (1 - took / before), 1)

    def success(plan: TeamPlan) -> str:
        return f"{100 * fmean(run.success for run, _ in found[plan]):.0f}"

    return {
        "team": team.name,
        "first test": noted.first() or "-",
        "probation": noted.first("probation") or "-",
        "proven": noted.first("proven") or "-",
        "gain %": gain(final),
        "possible %": gain(team.best),
        "success %": f"{success(EMPTY_PLAN)}→{success(final)}",
        "idle %": round(100 * idle),
        "answers changed": changed,
        "tests": "; ".join(f"{one.treatment.describe()}: {one.status}" for one in noted.tests) or "none",
        "seconds": [round(fmean(run.duration_seconds for run, _ in pairs), 3) for pairs in found.values()],
        "live": next((n for n, state in enumerate(noted.states, 1) if state.plan != EMPTY_PLAN), None),
        "plan": final.describe(),
        "is proven": any(one.status == "proven" for one in noted.tests),
        "ends": [one.verdict for one in noted.tests],
        "changes": changes,
        "advice": said,
    }


def row_of(name: str, options: Namespace) -> dict[str, Any]:
    """Play a team in this process, and return its row."""
    with sandboxed("mode: auto\n") as victor:
        scored_by(TEAMS[name])
        return asyncio.run(measured(victor, TEAMS[name], options))


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what was to be reached, and whether it was, a line each."""
    by_name = {row["team"]: row for row in rows}
    lines = []

    def judge(wanted: str, reached: bool, measured: object) -> None:
        lines.append(f"{'reached' if reached else 'NOT reached'}: {wanted} ({measured})")

    if wide := by_name.get("wide"):
        live = wide["live"]
        reached = live is not None and live <= WIDE_RUNS and wide["gain %"] >= WANTED_WIDE
        judge(f"wide live within {WIDE_RUNS} runs, ≥ {WANTED_WIDE:g} % less", reached, f"{live}; {wide['gain %']} %")
    if harm := by_name.get("subtle harm"):
        reached = harm["plan"] == EMPTY_PLAN.describe() and not harm["is proven"]
        judge("subtle harm at most on probation, and gone at the end", reached, harm["tests"])
    for name in LEFT_ALONE:
        if row := by_name.get(name):
            judge(f"{name} never tested", row["first test"] == "-", row["tests"])
    room = [row["gain %"] for row in rows if row["possible %"] >= ROOM_PERCENT and row["team"] not in LEFT_ALONE]
    if room:
        judge(f"median gain of those with room ≥ {WANTED_MEDIAN:g} %", median(room) >= WANTED_MEDIAN, room)
    changed = sum(row["answers changed"] for row in rows)
    judge("0 answers changed by a layout", changed == 0, changed)
    return lines


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--call-seconds", type=float, default=0.3, help="what an ordinary call of the model takes")
    arguments.add_argument("--runs", type=int, default=80, help="runs that tuning has")
    arguments.add_argument("--rounds", type=int, default=40, help="runs of each plan that is compared at the end")
    arguments.add_argument("--only", nargs="+", choices=TEAMS, help="some teams")
    arguments.add_argument("--processes", type=int, default=2, help="teams at a time")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawn, max_tasks_per_child=1) as pool:
        rows = list(pool.map(partial(row_of, options=options), options.only or TEAMS))
    hidden = ("tests", "seconds", "live", "plan", "is proven", "ends", "changes", "advice")
    note = "\n".join([*(f"{row['team']}: {row['tests']}" for row in rows), "", *verdicts(rows)])
    show("Teams tuned on real Victor, shipped settings with mode auto", rows, options.json, note, only_json=hidden)


if __name__ == "__main__":
    main()
