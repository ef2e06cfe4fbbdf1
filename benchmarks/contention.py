"""Eight processes write to one SQLite file: do all their runs take part in the test, and are all recorded?

Each process runs simulated teams that start at a fixed rate, through the plugin's whole way of a run, in mode `auto`
with a test open all the time. A run is outside the loop when it has no arm, or when the store does not hold it as
finished after all processes have ended. One that the store did not take in time went through the journal.

    python benchmarks/contention.py --processes 8 --rate 500 --seconds 7
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any, Final

from _loop import SPEC, STAYS_OPEN, new_runtime, run_team, start_test, started
from _report import parser, percentile, show, with_compiled_modules

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.storage.journal import FOLDER_NAME

TEAM_SECONDS: Final = 0.005


async def work(project: Path, rate: float, start_at: float, seconds: float) -> dict[str, Any]:
    """Run teams in this process; return what each was delayed by, and how many records went to the journal."""
    owner = await started(new_runtime(project, **STAYS_OPEN))
    await asyncio.sleep(start_at - time.time())
    delays: list[float] = []

    async def one() -> None:
        begun = time.perf_counter()
        await run_team(TEAM_SECONDS)
        delays.append(1000 * (time.perf_counter() - begun - TEAM_SECONDS))

    async with asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(begun + number / rate - time.perf_counter())
            group.create_task(one())
    took = time.perf_counter() - begun
    journaled = owner.loop.files.journal_lines
    owner.close()
    faults = [f"{one.where}: {one.error} ({one.count})" for one in failsafe.seen()]
    return {"delays": delays, "journaled": journaled, "seconds": took, "faults": faults}


async def drained(project: Path) -> list[TeamRun]:
    """Return the runs that are in the store, and have the next process drain the journals that are left."""
    with Store.open(default_url(project)) as store:
        runs = list(store.finished_runs())
    owner = await started(new_runtime(project, **STAYS_OPEN))
    deadline = time.monotonic() + 20
    while any((project / ".victor" / FOLDER_NAME).glob("*.journal")) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    owner.close()
    return runs


def measure(processes: int, rate: float, seconds: float) -> dict[str, Any]:
    """Let processes work, and count."""
    with tempfile.TemporaryDirectory() as name:
        project = Path(name, "project")
        owner = new_runtime(project, **STAYS_OPEN)
        start_test(owner)
        owner.close()
        start_at = time.time() + 3.0
        command = [sys.executable, __file__, "--work", project, str(rate / processes), str(start_at), str(seconds)]
        environment = with_compiled_modules(Path(name, "compiled"))
        workers = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)
        ]
        answers = [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]
        recorded_at_once = len(asyncio.run(drained(project)))
        with Store.open(default_url(project)) as store:
            runs = list(store.finished_runs())
            (experiment,) = store.experiments(*SPEC.key)
            observed = len(store.observations(experiment.id, "test"))
    delays = [delay for answer in answers for delay in answer["delays"]]
    arms = Counter(run.arm for run in runs)
    outside = len(delays) - sum(arms[arm] for arm in ("control", "treatment"))
    return {
        "processes": processes,
        "runs": len(delays),
        "runs a second": round(sum(len(answer["delays"]) / answer["seconds"] for answer in answers)),
        "recorded": len(runs),
        "of them by a later process": len(runs) - recorded_at_once,
        "outside the loop": outside,
        "observed": observed,
        "control": arms["control"],
        "treatment": arms["treatment"],
        "journal lines": sum(answer["journaled"] for answer in answers),
        "delay median ms": round(median(delays), 1),
        "p99 ms": round(percentile(delays, 0.99), 1),
        "max ms": round(max(delays), 1),
        "reached": "yes" if outside == 0 and len(runs) == len(delays) else "no",
        "faults": sorted({fault for answer in answers for fault in answer["faults"]}),
    }


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--processes", type=int, default=8)
    arguments.add_argument("--rate", type=float, default=500.0, help="runs a second of all processes together")
    arguments.add_argument("--seconds", type=float, default=7.0)
    arguments.add_argument("--work", nargs=4, metavar=("PROJECT", "RATE", "START", "SECONDS"), help="be one of them")
    options = arguments.parse_args()
    if options.work:
        project, *numbers = options.work
        rate, start_at, seconds = map(float, numbers)
        print(json.dumps(asyncio.run(work(Path(project), rate, start_at, seconds))))
        return
    rows = [measure(options.processes, options.rate, options.seconds)]
    note = "to reach: no run outside the loop, all recorded"
    show("Processes on one SQLite file", rows, options.json, note, only_json=["faults"])


if __name__ == "__main__":
    main()
