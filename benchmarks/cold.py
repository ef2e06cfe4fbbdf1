"""Processes of one run each: does each get the live plan and take part in the test, and do their arms fill blocks?

Each process is new, finds the snapshot that an earlier one left, and runs a team as soon as the plugin is asked to
load. That is harder than with Victor, which takes seconds from the first agent to the first team. The team has a live
plan and a test that stays open. A pair is complete when both of its runs are in the record with different arms.

    python benchmarks/cold.py --processes 200 --database sqlite postgresql --at-once 1 2

`ready` is from the moment at which the plugin begins to load until it can decide: settings read, hook packages looked
up, snapshot read. `file` is the part of the snapshot's file, `planned` what the run then waits until its team begins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Final

from _loop import DATABASES, SPEC, STAYS_OPEN, database, new_runtime, run_team, start_test, started
from _report import parser, percentile, show, with_compiled_modules

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._tuning import loop, runtime
from victor_autotune_plugin._tuning.file_work import FileWork
from victor_autotune_plugin.hookspecs import PlannedRun, TeamRun, hookimpl

LIVE: Final = TeamPlan(formation="pipeline")

MOST_FILE_MS: Final = 20.0


class Stamps:
    """What happened in this process, and when."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.found: dict[str, Any] = {"file": None, "heavy": True}

    def ms(self) -> float:
        """Return the milliseconds since the plugin began to load."""
        return 1000 * (time.perf_counter() - self.begun)

    @hookimpl(trylast=True)
    def team_run_started(self, planned: PlannedRun) -> None:
        """Note what the run got."""
        arm, plan = planned.arm, planned.plan
        expected = LIVE.formation if arm == "control" else "parallel"
        self.found |= {"arm": arm, "live": plan.formation == expected, "planned": self.ms() - self.found["ready"]}
        self.found["source"] = planned.source

    def watch_file(self) -> None:
        """Note how long the snapshot's file takes, and whether SQLAlchemy was loaded before it."""
        load = FileWork.load_snapshot

        def timed(work: FileWork) -> None:
            begun = self.ms()
            load(work)
            self.found |= {"file": self.ms() - begun, "heavy": "sqlalchemy" in sys.modules}

        FileWork.load_snapshot = timed  # type: ignore[method-assign]


async def work(patience: float | None) -> dict[str, Any]:
    """Run one team in this process."""
    if patience is not None:
        runtime.FIRST_RUN_SECONDS = loop.SLOT_SECONDS = patience  # type: ignore[misc]
    stamps = Stamps()
    stamps.watch_file()
    runtime.warm_up()
    owner = await runtime.current()
    if owner is None:
        return stamps.found
    owner.hooks.register(stamps, "autotune.stamps")
    await runtime.ready(owner)
    stamps.found["ready"] = stamps.ms()
    await run_team(0.001)
    stamps.found["faults"] = [f"{one.where}: {one.error}" for one in failsafe.seen()]
    return stamps.found


def prepare(project: Path) -> None:
    """Make a project whose team has a live plan and an open test."""

    async def first_run() -> None:
        owner = await started(new_runtime(project, **STAYS_OPEN))
        owner.manual.apply(SPEC.key, LIVE, "the live plan", evidence={})
        start_test(owner)
        owner.loop.store_work.wants_refresh = True  # so that the processes find both in the snapshot's file
        owner.settle(30)
        owner.close()

    asyncio.run(first_run())
    settings = {"mode": "auto", "experiment": {}, "tuner": {}}
    for name, value in STAYS_OPEN.items():
        section, key = name.split(".")
        settings[section][key] = value  # type: ignore[index]
    (project / ".victor" / "autotune.yaml").write_text(json.dumps(settings), encoding="utf-8")


def run_all(
    project: Path, processes: int, at_once: int, environment: dict[str, str], patience: float | None
) -> list[dict[str, Any]]:
    """Start so many processes, so many of them at a time, and return what each noted."""
    command = [sys.executable, str(Path(__file__).resolve()), "--work"]
    command += [] if patience is None else ["--patience", str(patience)]

    def one(_: int) -> dict[str, Any]:
        done = subprocess.run(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        return answer

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, range(processes)))


def recorded(project: Path) -> list[TeamRun]:
    """Return the runs of the test that are in the record, once what is left in journals was drained."""
    owner = new_runtime(project, mode="observe")
    owner.start(30)
    owner.settle(60)
    found = [run for run in owner.store().finished_runs() if run.arm is not None]
    owner.close()
    return found


def complete_pairs(runs: Iterable[TeamRun]) -> int:
    """Return how many pairs of places of a stream hold a run of each arm."""
    pairs: dict[tuple[str | None, int], set[str | None]] = defaultdict(set)
    for run in runs:
        pairs[run.stream, (run.index or 0) // 2].add(run.arm)
    return sum(len(arms) == 2 for arms in pairs.values())


def measure(name: str, processes: int, at_once: int, patience: float | None = None) -> dict[str, Any]:
    """Run the processes on a database, and count.

    Args:
        name: Of the database.
        processes: How many.
        at_once: How many of them at a time.
        patience: How long a run waits for the plugin, in seconds, where the machine is too busy for the plugin's own
            limits; None for these.
    """
    with tempfile.TemporaryDirectory() as folder, database(name):
        project = Path(folder, "project")
        prepare(project)
        environment = {**with_compiled_modules(Path(folder, "compiled")), "HOME": folder}
        run_all(project, 2, 1, environment, patience)  # leave the modules compiled
        before = recorded(project)
        found = run_all(project, processes, at_once, environment, patience)
        runs = recorded(project)
    in_time = [one for one in found if "planned" in one]
    live = sum(one.get("live", False) for one in found) / processes
    in_test = sum(one.get("arm") is not None for one in found) / processes
    per_hundred = 100 * (complete_pairs(runs) - complete_pairs(before)) / processes
    files = [one["file"] for one in in_time] or [float("nan")]
    file_p90 = percentile(files, 0.9)
    reached = min(live, in_test) >= 0.99 and per_hundred >= 45 and median(files) <= MOST_FILE_MS
    return {
        "database": name,
        "at a time": at_once,
        "processes": processes,
        "live plan": f"{live:.1%}",
        "in the test": f"{in_test:.1%}",
        "recorded": len(runs) - len(before),
        "complete pairs per 100": round(per_hundred, 1),
        "in time": len(in_time),
        "SQLAlchemy before": sum(one["heavy"] for one in in_time),
        "file ms": round(median(files), 1),
        "file p90 ms": round(file_p90, 1),
        "ready ms": round(median(one["ready"] for one in in_time), 1) if in_time else None,
        "planned ms": round(median(one["planned"] for one in in_time), 1) if in_time else None,
        "reached": "yes" if reached else "no",
        "missed": [one for one in found if one.get("arm") is None],
    }


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--processes", type=int, default=200)
    arguments.add_argument("--database", nargs="+", default=DATABASES, choices=DATABASES)
    arguments.add_argument("--at-once", type=int, nargs="+", default=[1, 2], help="processes at a time")
    arguments.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments.add_argument("--patience", type=float, help="seconds that a run waits, on a busy machine")
    options = arguments.parse_args()
    if options.work:
        print(json.dumps(asyncio.run(work(options.patience))))
        return
    rows = [
        measure(name, options.processes, many, options.patience)
        for name in options.database
        for many in options.at_once
    ]
    note = (
        f"to reach: ≥ 99 % with the live plan and in the test, ≥ 45 complete pairs, file ≤ {MOST_FILE_MS:g} ms (median)"
    )
    show("Cold processes of one run each", rows, options.json, note, only_json=["missed"])


if __name__ == "__main__":
    main()
