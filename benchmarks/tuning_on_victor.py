"""What tuning brings real teams: teams of different truths run in mode `auto` on real Victor, with shipped settings.

Each team runs 80 times, and what the plugin does is noted after every run: the first test, when a plan goes live on
probation and when by proof, how tests end. Then the plan as configured, the plan of the end and the best one there is
by construction take turns on the same new tasks; a gain is that of the mean duration. Answers of runs under a changed
layout are compared with what the team as configured answers to the same task. Teams with changes of the work have
a `command` scorer, whose ten checks each pass in nine of ten runs; they run once more without it.

    python benchmarks/tuning_on_victor.py

Settings are those shipped, but for `mode: auto` and the scorer. A task slows a run's calls alike (log sd .5), every
call has its own noise (log sd .35), and a fifth of the runs fail as configured, at random. An ordinary call takes .4 s
where a real one takes 5 to 20 s; the column *idle* says in what share of a run as configured no call of the model was
under way, which is what Victor's own work takes: 17 to 33 % on a shared machine, far more than with a real model, so
that what a layout saves is understated. Each team is tuned in a process of its own and
compared in another: Victor 0.9.5 keeps 7 MB for every member that ever ran.
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

from victor_autotune_plugin._model.experiment import Experiment
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_testing.scripted.server import Call
from victor_autotune_testing.scripted.true_teams import TRUE_TEAMS, DrawnTask, TrueTeam

UNSCORED: Final = " without a scorer"
TEAMS: Final = {
    team.name: team
    for team in (*TRUE_TEAMS, *(evolve(one, name=one.name + UNSCORED, scored=()) for one in TRUE_TEAMS if one.scored))
}
NOT_TESTED: Final = ("pipeline", *(name for name in TEAMS if name.endswith(UNSCORED)))
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


Delivered = tuple[TeamRun, str]
"""A run, and what it delivered with the task's number left out."""


@frozen
class Tuned:
    """What the plugin made of a team.

    Attributes:
        runs: The runs.
        plans: The live plan after each run.
        statuses: The status of each test after each run, by its id.
        tests: All tests after the last run.
        history: The team's history, and what the tuner says at the end, as plain data.
    """

    runs: list[Delivered] = field(factory=list)
    plans: list[TeamPlan] = field(factory=list)
    statuses: list[dict[str, str]] = field(factory=list)
    tests: list[Experiment] = field(factory=list)
    history: dict[str, Any] = field(factory=dict)

    def first(self, *wanted: str) -> int | None:
        """Return after which run a test was first in one of these states; in any, without one named."""
        runs = (n for n, seen in enumerate(self.statuses, 1) if any(not wanted or s in wanted for s in seen.values()))
        return next(runs, None)


class Played:
    """A team on real Victor, in this process.

    Args:
        victor: Runs it.
        name: Name of the team.
        options: The command line's.
        part: What its tasks are drawn for.
    """

    def __init__(self, victor: Victor, name: str, options: Namespace, part: str) -> None:
        self._victor, self._team, self._options = victor, TEAMS[name], options
        team = self._team
        self._workflow = team_workflow(name, "do the work", team.formation, team.members, team.step)
        self._draw = Random(f"{options.seed} {name.removesuffix(UNSCORED)} {part}")
        self._tasks = 0

    def task(self) -> DrawnTask:
        """Return the next task."""
        self._tasks += 1
        return DrawnTask.drawn(self._tasks, self._draw)

    async def run(self, task: DrawnTask, plan: TeamPlan | None) -> Delivered:
        """Run the team."""
        self._victor.play(self._team.script(self._options.call_seconds, task))
        run = await self._victor.run(self._workflow, plan)
        return run, self._victor.output.replace(f"umber {task.number} ", "umber ? ")

    async def tune(self, owner: Any) -> Tuned:
        """Let the plugin tune the team."""
        from victor_autotune_plugin._tuning.next_test import advice

        tuned, name = Tuned(), self._team.name
        for number in range(1, self._options.runs + 1):
            tuned.runs.append(await self.run(self.task(), None))
            if not await owner.settled(SETTLED_SECONDS):
                raise SystemExit(f"a run of {name} was not judged in {SETTLED_SECONDS:g} s")
            with owner.store().reading() as transaction:
                state = transaction.team(name, "team")
                tuned.tests[:] = transaction.experiments_of(name, "team")
            tuned.plans.append(state.plan)
            tuned.statuses.append({one.id: one.status for one in tuned.tests})
            if number % 10 == 0 or tuned.statuses[-2:-1] != tuned.statuses[-1:]:
                told = ", ".join(f"{one.treatment.describe()} {one.status}" for one in tuned.tests) or "no test"
                print(f"{name}: {number} runs, {told}", file=sys.stderr, flush=True)
        changes = [change.to_dict() for change in owner.store().changes(name, "team")]
        said = advice(owner.store(), state, owner.settings(tuned.runs[-1][0].spec), owner.hooks)
        tuned.history.update(changes=changes, advice=said.to_dict(), verdicts=[one.verdict for one in tuned.tests])
        return tuned

    async def compare(self, plans: Sequence[TeamPlan]) -> tuple[dict[TeamPlan, list[Delivered]], float]:
        """Let plans take turns on the same tasks; return their runs, and the share in which the first one was idle."""
        found: dict[TeamPlan, list[Delivered]] = {plan: [] for plan in plans}
        idle = []
        for number in range(self._options.rounds):
            task, first = self.task(), number % len(plans)
            for plan in (*plans[first:], *plans[:first]):
                found[plan].append(await self.run(task, plan))
                if plan == plans[0]:
                    idle.append(idle_share(found[plan][-1][0], self._victor.model.calls))
        print(f"{self._team.name}: {len(plans)} plans compared", file=sys.stderr, flush=True)
        return found, fmean(idle)


def tuned_team(name: str, options: Namespace) -> Tuned:
    """Tune a team in this process."""

    async def tune(victor: Victor) -> Tuned:
        async with running(victor) as owner:
            return await Played(victor, name, options, "tuned").tune(owner)

    with sandboxed("mode: auto\n") as victor:
        scored_by(TEAMS[name])
        return asyncio.run(tune(victor))


def row_of(name: str, tuned: Tuned, options: Namespace) -> dict[str, Any]:
    """Compare the plans of a team in this process, and return its row."""
    team, final = TEAMS[name], tuned.plans[-1]

    async def compare(victor: Victor) -> tuple[dict[TeamPlan, list[Delivered]], float]:
        plans = dict.fromkeys((EMPTY_PLAN, final, team.best, *(one.treatment for one in tuned.tests)))
        async with running(victor):
            return await Played(victor, name, options, "compared").compare(list(plans))

    with sandboxed("mode: auto\n") as victor:
        found, idle = asyncio.run(compare(victor))
    usual = next((text for run, text in tuned.runs if run.success and run.plan_asked == EMPTY_PLAN), "")
    changed = sum(is_layout(run.plan_asked) and run.success and text != usual for run, text in tuned.runs)
    changed += sum(
        is_layout(plan) and run.success and before.success and text != told
        for plan in found
        for (before, told), (run, text) in zip(found[EMPTY_PLAN], found[plan], strict=True)
    )

    def gain(plan: TeamPlan) -> float:
        took, before = (fmean(run.duration_seconds for run, _ in found[one]) for one in (plan, EMPTY_PLAN))
        return round(100 * (1 - took / before), 1)

    def success(plan: TeamPlan) -> str:
        shares = (fmean(run.success for run, _ in found[one]) for one in (EMPTY_PLAN, plan))
        return "→".join(f"{100 * share:.0f}" for share in shares)

    def told_of(test: Experiment) -> str:
        plan = test.treatment
        return f"{plan.describe()}: {test.status} (really {gain(plan):g} % less, success {success(plan)} %)"

    return {
        "team": name,
        "first test": tuned.first() or "-",
        "probation": tuned.first("probation") or "-",
        "proven": tuned.first("proven") or "-",
        "gain %": gain(final),
        "possible %": gain(team.best),
        "success %": success(final),
        "idle %": round(100 * idle),
        "treated": sum(run.arm == "treatment" for run, _ in tuned.runs),
        "answers changed": changed,
        "tests": "; ".join(map(told_of, tuned.tests)) or "none",
        "live": next((n for n, plan in enumerate(tuned.plans, 1) if plan != EMPTY_PLAN), None),
        "plan": final.describe(),
        "seconds": {plan.describe(): [run.duration_seconds for run, _ in pairs] for plan, pairs in found.items()},
        **tuned.history,
    }


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
        reached = harm["plan"] == EMPTY_PLAN.describe() and harm["proven"] == "-"
        judge("subtle harm at most on probation, and gone at the end", reached, harm["tests"])
    for name in NOT_TESTED:
        if row := by_name.get(name):
            judge(f"{name} never tested", row["first test"] == "-", row["tests"])
    if optimal := by_name.get("already optimal"):
        told = f"{optimal['treated']} runs of tests; {optimal['tests']}"
        judge("already optimal left alone, no other plan ever live", optimal["live"] is None, told)
    room = [row["gain %"] for row in rows if row["possible %"] >= ROOM_PERCENT and row["team"] not in NOT_TESTED]
    if room:
        judge(f"median gain of those with room ≥ {WANTED_MEDIAN:g} %", median(room) >= WANTED_MEDIAN, room)
    changed = sum(row["answers changed"] for row in rows)
    judge("0 answers changed by a layout", changed == 0, changed)
    return lines


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--call-seconds", type=float, default=0.4, help="what an ordinary call of the model takes")
    arguments.add_argument("--runs", type=int, default=80, help="runs that tuning has")
    arguments.add_argument("--rounds", type=int, default=30, help="runs of each plan that is compared at the end")
    arguments.add_argument("--only", nargs="+", choices=TEAMS, help="some teams")
    arguments.add_argument("--processes", type=int, default=4, help="teams at a time")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    spawn = multiprocessing.get_context("spawn")
    names = options.only or list(TEAMS)
    with ProcessPoolExecutor(options.processes, spawn, max_tasks_per_child=1) as pool:
        tuned = list(pool.map(partial(tuned_team, options=options), names))
        rows = list(pool.map(partial(row_of, options=options), names, tuned))
    hidden = ("tests", "live", "plan", "seconds", "changes", "advice", "verdicts")
    note = "\n".join([*(f"{row['team']}: {row['tests']}" for row in rows), "", *verdicts(rows)])
    show("Teams tuned on real Victor, shipped settings with mode auto", rows, options.json, note, only_json=hidden)


if __name__ == "__main__":
    main()
