"""What tuning brings real teams: workflows of different truths run in mode `auto` on real Victor until nothing is left.

Each workflow runs until no test is open and nothing more is proposed for a while. Then the plan it started with, the
plan that tuning arrived at, and further candidates take turns, all on the same tasks. What a plan takes is the median
for each task, and the mean of those, since a busy machine makes single runs far slower. The best possible is the
fastest that succeeds as often as the untuned one. A wrong turn is a promotion that had to be taken back, or a plan at
the end that is more than 5 % slower, or succeeds less often, than the untuned one. Runs lost are those that tests spent
on plans that were worse.

    python benchmarks/tuning_on_victor.py --call-seconds 0.25
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import fmean, median
from typing import Any

from _report import parser, show
from _victor import Victor, running, sandboxed, team_workflow
from attrs import frozen
from rich.progress import Progress

from victor_autotune_plugin._model.experiment import Change, Experiment, TeamState
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.scripted.teams import TRUE_TEAMS, TrueTeam

SETTINGS = "mode: auto\nexperiment: {max_runs_per_arm: 40}\nwatch: {max_runs: 20}\n"
"""A test that finds nothing ends sooner than by default, and so does the watch, which keeps the next test waiting."""

LEAST_RUNS = 24
QUIET_RUNS = 6
"""Runs without a test after which a workflow counts as settled."""

SLOWER = 1.05
ROOM_PERCENT = 10.0
WANTED_PERCENT = 20.0


class Tuned:
    """A workflow that the plugin tunes.

    Args:
        victor: Runs it.
        store: The plugin's store.
        team: Its team.
        call_seconds: What an ordinary call of the model takes.
    """

    def __init__(self, victor: Victor, store: Store, team: TrueTeam, call_seconds: float) -> None:
        self._victor = victor
        self._store = store
        self._team = team
        fields = {"timeout_seconds": 60.0, **team.step}
        goals = (team_workflow(team.name, goal, team.formation, team.members, fields) for goal in team.goals)
        self.workflows = list(goals)
        victor.play(team.script(call_seconds))

    @property
    def state(self) -> TeamState:
        """The team's state in the store."""
        with self._store.transaction() as transaction:
            return transaction.team(self._team.name, "team")

    @property
    def changes(self) -> list[Change]:
        """All changes, oldest first."""
        return sorted(self._store.changes(self._team.name, "team"), key=lambda change: change.id or 0)

    @property
    def experiments(self) -> list[Experiment]:
        """All experiments."""
        with self._store.transaction() as transaction:
            return list(transaction.experiments_of(self._team.name, "team"))

    async def settle(self, most: int, progress: Progress) -> list[TeamRun]:
        """Run the workflow until nothing is left to test; return the runs it took."""
        task = progress.add_task(self._team.name, total=None)
        runs: list[TeamRun] = []
        quiet = 0
        for workflow in cycle(self.workflows):
            runs.append(await self._victor.run(workflow, None))
            quiet = quiet + 1 if self.state.experiment_id is None else 0
            arm = f"{runs[-1].arm} of a {runs[-1].phase}, " if runs[-1].arm else ""
            note = f"{arm}{runs[-1].plan_asked.describe()}"
            progress.update(task, description=f"{self._team.name}: {note}", completed=len(runs))
            if len(runs) >= most or (quiet >= QUIET_RUNS and len(runs) >= LEAST_RUNS):
                break
        progress.update(task, description=self._team.name, total=len(runs))
        return runs

    async def compare(self, plans: Sequence[TeamPlan], rounds: int, progress: Progress) -> dict[str, list[TeamRun]]:
        """Let plans take turns on the same tasks; return their runs by the plan's id."""
        task = progress.add_task(f"{self._team.name}: best possible", total=rounds * len(plans))
        found: dict[str, list[TeamRun]] = {plan.id: [] for plan in plans}
        for number, workflow in zip(range(rounds), cycle(self.workflows), strict=False):
            first = number % len(plans)
            for plan in (*plans[first:], *plans[:first]):
                found[plan.id].append(await self._victor.run(workflow, plan))
                progress.advance(task)
        return found


@frozen
class Compared:
    """Runs of plans that took turns.

    Attributes:
        runs: By the plan's id, in the order of the rounds.
        tasks: Number of tasks, which come one a round, in turn.
        untuned: Id of the plan as configured.
    """

    runs: Mapping[str, Sequence[TeamRun]]
    tasks: int
    untuned: str

    def seconds(self, plan: str) -> float:
        """Return what a plan takes: the mean over tasks of the median."""
        runs = self.runs[plan]
        tasks = [runs[number :: self.tasks] for number in range(min(self.tasks, len(runs)))]
        return fmean(median(run.duration_seconds for run in task) for task in tasks)

    def success(self, plan: str) -> float:
        """Return the share of a plan's runs that succeeded."""
        return fmean(run.success for run in self.runs[plan])

    def gain(self, plan: str) -> float:
        """Return how much less time a plan takes than the untuned one, in percent."""
        return round(100 * (1 - self.seconds(plan) / self.seconds(self.untuned)), 1)

    def is_worse(self, plan: str) -> bool:
        """Return whether a plan is clearly slower, or succeeds less often, than the untuned one."""
        slower = self.seconds(plan) > SLOWER * self.seconds(self.untuned)
        return slower or self.success(plan) < self.success(self.untuned)

    def best(self) -> str:
        """Return the fastest plan that succeeds as often as the untuned one."""
        sound = [plan for plan in self.runs if self.success(plan) >= self.success(self.untuned)]
        return min(sound, key=self.seconds)


async def one_workflow(
    victor: Victor, store: Store, team: TrueTeam, options: Namespace, progress: Progress
) -> dict[str, Any]:
    """Tune one workflow, find out what was possible, and return the row of the table."""
    tuned = Tuned(victor, store, team, options.call_seconds)
    runs = await tuned.settle(options.most_runs, progress)
    final, tested = tuned.state.plan, [experiment.treatment for experiment in tuned.experiments]
    plans = list({plan.id: plan for plan in (EMPTY_PLAN, final, *team.candidates, *tested)}.values())
    found = Compared(await tuned.compare(plans, options.rounds, progress), len(team.goals), EMPTY_PLAN.id)
    best = found.best()
    rolled_back = sum(change.action == "rolled_back" for change in tuned.changes)
    return {
        "workflow": team.name,
        "truth": team.truth,
        "untuned s": round(found.seconds(EMPTY_PLAN.id), 2),
        "tuned s": round(found.seconds(final.id), 2),
        "best s": round(found.seconds(best), 2),
        "gain %": found.gain(final.id),
        "possible %": found.gain(best),
        "success %": f"{100 * found.success(EMPTY_PLAN.id):.0f}→{100 * found.success(final.id):.0f}",
        "runs": len(runs),
        "lost": sum(run.arm == "treatment" and found.is_worse(run.plan_asked.id) for run in runs),
        "wrong turns": rolled_back + found.is_worse(final.id),
        "tuned plan": final.describe(),
        "best plan": next(plan.describe() for plan in plans if plan.id == best),
        "tests": [f"{one.treatment.describe()}: {one.status}" for one in tuned.experiments],
    }


async def measure(victor: Victor, options: Namespace) -> list[dict[str, Any]]:
    """Return the row of each workflow."""
    rows = []
    async with running(victor) as owner:
        store = owner.open_store()
        with Progress() as progress:
            for team in (one for one in TRUE_TEAMS if options.only in (None, one.name)):
                row = await one_workflow(victor, store, team, options, progress)
                progress.console.print(
                    f"{team.name}: {team.truth}; {'; '.join(row['tests']) or 'no test'}", style="dim"
                )
                rows.append(row)
        store.close()
    return rows


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what was to be reached, and whether it was."""
    room = [row["gain %"] for row in rows if row["possible %"] >= ROOM_PERCENT]
    if not room:
        return "no workflow had room"
    reached = "reached" if median(room) >= WANTED_PERCENT else "not reached"
    return (
        f"median gain of the {len(room)} with room: {median(room):.1f} %; to reach: ≥ {WANTED_PERCENT:g} % ({reached})"
    )


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--call-seconds", type=float, default=0.25, help="what an ordinary call of the model takes")
    arguments.add_argument("--most-runs", type=int, default=200, help="runs after which tuning ends")
    arguments.add_argument("--rounds", type=int, default=10, help="runs of each plan that is compared at the end")
    arguments.add_argument("--only", choices=[team.name for team in TRUE_TEAMS], help="one workflow")
    options = arguments.parse_args()
    with sandboxed(SETTINGS) as victor:
        rows = asyncio.run(measure(victor, options))
    title = "Teams tuned on real Victor"
    hidden = ("truth", "tuned plan", "best plan", "tests")
    show(title, rows, options.json, verdict(rows), only_json=hidden)


if __name__ == "__main__":
    main()
