"""What tuning brings real teams: workflows of different truths run in mode `auto` on real Victor until nothing is left.

Each workflow runs until no test is open and nothing more is proposed for a while. Then the plan it started with, the
plan that tuning arrived at, and further candidates take turns, all on the same tasks; the fastest that succeeds as
often as the untuned one is the best possible. A wrong turn is a promotion that had to be taken back, or a plan at the
end that is more than 5 % slower, or succeeds less often, than the untuned one. Runs lost are those that tests spent on
plans that were worse.

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
from rich.progress import Progress

from victor_autotune_plugin.model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin.model.run import TeamRun
from victor_autotune_plugin.model.state import Change, Experiment, TeamState
from victor_autotune_plugin.scripted.truths import TRUE_TEAMS, TrueTeam
from victor_autotune_plugin.storage import Store

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


def success(runs: Sequence[TeamRun]) -> float:
    """Return the share of runs that succeeded."""
    return fmean(run.success for run in runs)


def seconds(runs: Sequence[TeamRun]) -> float:
    """Return the mean duration."""
    return fmean(run.duration_seconds for run in runs)


def is_worse(runs: Sequence[TeamRun], untuned: Sequence[TeamRun]) -> bool:
    """Return whether runs of a plan are clearly slower, or succeed less often."""
    return seconds(runs) > SLOWER * seconds(untuned) or success(runs) < success(untuned)


async def one_workflow(
    victor: Victor, store: Store, team: TrueTeam, options: Namespace, progress: Progress
) -> dict[str, Any]:
    """Tune one workflow, find out what was possible, and return the row of the table."""
    tuned = Tuned(victor, store, team, options.call_seconds)
    runs = await tuned.settle(options.most_runs, progress)
    final, tested = tuned.state.plan, [experiment.treatment for experiment in tuned.experiments]
    plans = list({plan.id: plan for plan in (EMPTY_PLAN, final, *team.candidates, *tested)}.values())
    found = await tuned.compare(plans, options.rounds, progress)
    untuned, at_the_end = found[EMPTY_PLAN.id], found[final.id]
    sound = [plan for plan in plans if success(found[plan.id]) >= success(untuned)]
    best = min(sound, key=lambda plan: seconds(found[plan.id]))
    rolled_back = sum(change.action == "rolled_back" for change in tuned.changes)
    return {
        "workflow": team.name,
        "truth": team.truth,
        "untuned s": round(seconds(untuned), 2),
        "tuned s": round(seconds(at_the_end), 2),
        "best s": round(seconds(found[best.id]), 2),
        "gain %": _gain(at_the_end, untuned),
        "possible %": _gain(found[best.id], untuned),
        "success %": f"{100 * success(untuned):.0f}→{100 * success(at_the_end):.0f}",
        "runs": len(runs),
        "lost": sum(run.arm == "treatment" and is_worse(found[run.plan_asked.id], untuned) for run in runs),
        "wrong turns": rolled_back + is_worse(at_the_end, untuned),
        "tuned plan": final.describe(),
        "best plan": best.describe(),
        "tests": [f"{one.treatment.describe()}: {one.status}" for one in tuned.experiments],
    }


def _gain(runs: Sequence[TeamRun], untuned: Sequence[TeamRun]) -> float:
    return round(100 * (1 - seconds(runs) / seconds(untuned)), 1)


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
