"""Kills processes at random moments while they run teams, and looks for results that were returned and not recorded.

Two processes at a time run a team of which a test is open, as fast as they can, on one store. A third one holds the
store's lock now and then. Each process is killed (SIGKILL) at a random moment; what it printed until then is what its
callers got. At the end a last process drains the journals, and every run that was returned must be in the store, once.

    python benchmarks/kills.py --kills 500
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from _loop import STAYS_OPEN, new_runtime, run_team, start_test, started
from _report import parser, show

from victor_autotune_plugin.hookspecs import PlannedRun, TeamRun, hookimpl
from victor_autotune_plugin.storage import Store, default_url

LONGEST_LIFE_SECONDS = 0.4
LONGEST_LOCK_SECONDS = 0.3


class Teller:
    """Remembers the run that goes on, and tells of runs with an arm when their team begins."""

    run_id = ""
    arm: str | None = None

    @hookimpl(trylast=True)
    def team_run_started(self, planned: PlannedRun) -> None:
        """Note whether the run has an arm."""
        self.arm = planned.arm

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        """Note which run ended."""
        self.run_id = run.run_id


async def work(folder: Path) -> None:
    """Run teams until the kill; a line for every result that was returned."""
    owner = new_runtime(folder, **STAYS_OPEN)
    teller = Teller()
    owner.hooks.register(teller, "autotune.kills")
    await started(owner)
    while True:
        await run_team(0.001)
        sys.stdout.write(f"{teller.run_id} {teller.arm or '-'}\n")
        sys.stdout.flush()


def lines_of(process: subprocess.Popen[bytes]) -> list[str]:
    """Return what a killed process printed; a line that it did not end was never read by anybody."""
    out = process.communicate()[0].decode()
    return out[: out.rfind("\n") + 1].split("\n")[:-1]


class Locker:
    """Holds the write lock of the store for random times."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._connection = sqlite3.connect(folder / ".victor" / "autotune.db", isolation_level=None)
        self._rng = rng
        self._until = 0.0

    def step(self, now: float) -> None:
        """Take the lock, or let it go."""
        if self._connection.in_transaction:
            if now >= self._until:
                self._connection.execute("ROLLBACK")
                self._until = now + self._rng.uniform(0.0, 2 * LONGEST_LOCK_SECONDS)
        elif now >= self._until:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return
            self._until = now + self._rng.uniform(0.0, LONGEST_LOCK_SECONDS)

    def close(self) -> None:
        """Let it go for good."""
        self._connection.close()


def kill_many(folder: Path, kills: int, seed: int) -> list[str]:
    """Kill that many processes; return the lines that they printed."""
    rng = random.Random(seed)
    locker = Locker(folder, rng)
    command = [sys.executable, __file__, "--worker", str(folder)]
    running: list[tuple[subprocess.Popen[bytes], float]] = []
    printed: list[str] = []
    begun = killed = 0
    while killed < kills:
        now = time.monotonic()
        locker.step(now)
        while len(running) < 2 and begun < kills:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            running.append((process, 0.0))
            begun += 1
        for place, (process, dies_at) in enumerate(running):
            if not dies_at:
                assert process.stdout is not None
                if select.select([process.stdout], [], [], 0)[0]:  # it has returned a first result
                    running[place] = process, now + rng.uniform(0.0, LONGEST_LIFE_SECONDS)
            elif now >= dies_at:
                process.send_signal(signal.SIGKILL)
                printed += lines_of(process)
                del running[place]
                killed += 1
                break
        time.sleep(0.002)
    locker.close()
    return printed


def examine(folder: Path, printed: list[str]) -> dict[str, Any]:
    """Drain what is in journals, and compare the store with what was printed."""
    returned = Counter(line.split()[0] for line in printed)
    arms = {line.split()[0]: line.split()[1] for line in printed}
    owner = new_runtime(folder, mode="observe")
    owner.start(30)
    settled = owner.settle(120)
    store = owner.store()
    stored = {run.run_id: run for run in store.runs()}
    waiting = len(list((folder / ".victor" / "autotune-journal").glob("*.journal")))
    observed = Counter(
        one.run_id for experiment in store.experiments() for one in store.observations(experiment.id, "test")
    )
    owner.close()
    ended = {name for name, run in stored.items() if run.status in ("finished", "late")}
    for name in sorted(set(returned) - ended):
        known = stored.get(name)
        print(f"lost: {name}, {'no row' if known is None else known.status}, arm {arms[name]}", file=sys.stderr)
    return {
        "returned": len(returned),
        "in_a_test": sum(arm != "-" for arm in arms.values()),
        "lost": len(set(returned) - ended),
        "doubled": sum(count > 1 for count in observed.values()),
        "wrong_arm": sum(name in stored and (stored[name].arm or "-") != arm for name, arm in arms.items()),
        "stored": len(stored),
        "unfinished": sum(run.status in ("running", "lost") for run in stored.values()),
        "journals_left": waiting,
        "settled": settled,
    }


def main() -> int:
    """Run the harness; the exit code is 1 when a result was lost or counted twice."""
    made = parser("Kill processes at random moments, and look for results that were returned and not recorded.")
    made.add_argument("--kills", type=int, default=500, help="how many processes are killed")
    made.add_argument("--seed", type=int, default=1, help="of the moments")
    made.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.worker is not None:
        asyncio.run(work(options.worker))
        return 0
    folder = Path(tempfile.mkdtemp())
    prepare(folder)
    found = {"kills": options.kills, **examine(folder, kill_many(folder, options.kills, options.seed))}
    show("Processes that were killed at random moments", [found], options.json)
    is_bad = bool(found["lost"] or found["doubled"] or found["wrong_arm"] or found["journals_left"])
    if is_bad:
        print(f"What is left is in {folder}.")
    else:
        shutil.rmtree(folder)
    return int(is_bad)


def prepare(folder: Path) -> None:
    """Make a store in which a test of the team is open."""

    async def first_run() -> None:
        owner = new_runtime(folder, **STAYS_OPEN)
        await started(owner)
        await run_team()
        owner.settle(30)
        start_test(owner)
        owner.close()

    asyncio.run(first_run())
    with Store.open(default_url(folder)) as store:
        assert store.counts()["experiments_open"] == 1
    os.sync()


if __name__ == "__main__":
    raise SystemExit(main())
