"""Kills processes at random moments while they run teams, and looks for results that were returned and not recorded.

Two processes at a time run a team of which a test is open, as fast as they can, on one store. A third one holds the
store's lock now and then. Each process is killed (SIGKILL) at a random moment, every third one early: while the plugin
is loaded, the store is opened, and the first run is under way. What a process printed until then is what its callers
got. At the end a last process drains the journals. Every run that was returned must be in the store, once, and every
run with an arm whose team began must have left its start, which says what killed the process.

    python benchmarks/kills.py --kills 500 --database postgresql
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from _loop import DATABASES, STAYS_OPEN, SimulatedTeam, database, new_runtime, run_team, start_test, started
from _report import parser, show

from victor_autotune_plugin._host import interception
from victor_autotune_plugin._host.meters import current_run
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin.hookspecs import PlannedRun, TeamRun, hookimpl

LONGEST_LIFE_SECONDS = 0.4
LONGEST_START_SECONDS = 0.25
EARLY = 3
"""Every so-manieth process is killed early."""

LONGEST_LOCK_SECONDS = 0.3


class Teller:
    """Remembers the run that goes on."""

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


teller = Teller()


def say(what: str, run_id: str) -> None:
    """Print a line at once; a line that is not whole when the process is killed was never read by anybody."""
    os.write(1, f"{what} {run_id} {teller.arm or '-'}\n".encode())


class TellingTeam(SimulatedTeam):
    """A team that says when it begins."""

    async def _work(self) -> str:
        run = current_run.get()
        if run is not None:
            say("began", run.run_id)
        return await super()._work()


async def work(folder: Path, patience: float | None) -> None:
    """Run teams until the kill; a line for every team that began, and for every result that was returned."""
    if patience is not None:
        interception.START_SECONDS = interception.END_SECONDS = patience  # type: ignore[misc]
    say("up", "-")
    owner = new_runtime(folder, **STAYS_OPEN)
    owner.hooks.register(teller, "autotune.kills")
    runtime.use(owner)
    while True:
        await run_team(0.001, TellingTeam)
        if teller.run_id:
            say("returned", teller.run_id)


class Locker:
    """Holds the write lock of the store for random times.

    Args:
        folder: The project.
        url: Of a PostgreSQL server; None for the project's SQLite file.
    """

    def __init__(self, folder: Path, url: str | None, rng: random.Random) -> None:
        self._connection: Any
        self._refused: type[Exception]
        if url is None:
            self._connection = sqlite3.connect(folder / ".victor" / "autotune.db", isolation_level=None, timeout=0.02)
            self._take, self._refused = ("BEGIN IMMEDIATE",), sqlite3.OperationalError
        else:
            import psycopg

            self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
            self._connection.execute("SET lock_timeout = 20")
            self._take = ("BEGIN", "LOCK TABLE autotune_run IN EXCLUSIVE MODE")
            self._refused = psycopg.errors.LockNotAvailable
        self._rng = rng
        self._holds = False
        self._until = 0.0

    def step(self, now: float) -> None:
        """Take the lock, or let it go."""
        if now < self._until:
            return
        if self._holds:
            self._connection.execute("ROLLBACK")
            self._holds = False
            self._until = now + self._rng.uniform(0.0, 2 * LONGEST_LOCK_SECONDS)
            return
        try:
            for statement in self._take:
                self._connection.execute(statement)
        except self._refused:
            if len(self._take) > 1:
                self._connection.execute("ROLLBACK")
            return
        self._holds = True
        self._until = now + self._rng.uniform(0.0, LONGEST_LOCK_SECONDS)

    def close(self) -> None:
        """Let it go for good."""
        self._connection.close()


class Victim:
    """A process that is to be killed.

    Args:
        command: What starts it.
        is_early: Whether it is killed within a random time of its start, and not of its first result.
    """

    def __init__(self, command: list[str], rng: random.Random, *, is_early: bool) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._out, False)
        self._printed = b""
        self._awaited = b"up" if is_early else b"returned"
        self._life = rng.uniform(0.0, LONGEST_START_SECONDS if is_early else LONGEST_LIFE_SECONDS)
        self._dies_at = float("inf")

    def is_killed(self, now: float) -> bool:
        """Kill it if it is time, and return whether it was."""
        with suppress(BlockingIOError):
            self._printed += os.read(self._out, 1 << 20)
        if self._dies_at == float("inf") and self._awaited in self._printed:
            self._dies_at = now + self._life
        if now < self._dies_at:
            assert self._process.poll() is None, "a process ended by itself"
            return False
        self._process.kill()
        self._process.wait()
        os.set_blocking(self._out, True)
        self._printed += self._process.communicate()[0]
        return True

    @property
    def lines(self) -> list[str]:
        """What it printed, without a last line that is not whole."""
        return self._printed.decode().split("\n")[:-1]


def kill_many(folder: Path, kills: int, seed: int, url: str | None, patience: float | None) -> list[list[str]]:
    """Kill that many processes; return the lines that each printed."""
    rng = random.Random(seed)
    locker = Locker(folder, url, rng)
    command = [sys.executable, __file__, "--worker", str(folder)]
    command += [] if patience is None else ["--patience", str(patience)]
    running: list[Victim] = []
    killed: list[Victim] = []
    while len(killed) < kills:
        now = time.monotonic()
        locker.step(now)
        while len(running) < 2 and len(running) + len(killed) < kills:
            running.append(Victim(command, rng, is_early=(len(running) + len(killed)) % EARLY == 0))
        for one in [one for one in running if one.is_killed(now)]:
            running.remove(one)
            killed.append(one)
        time.sleep(0.002)
    locker.close()
    return [one.lines for one in killed]


def examine(folder: Path, printed: list[list[str]]) -> dict[str, Any]:
    """Drain what is in journals, and compare the store with what was printed."""
    lines = [tuple(line.split()) for of_one in printed for line in of_one]
    returned = {run_id for what, run_id, _ in lines if what == "returned"}
    arms = {run_id: arm for what, run_id, arm in lines if what != "up"}
    owner = new_runtime(folder, mode="observe")
    owner.start(30)
    settled = owner.settle(120)
    store = owner.store()
    stored = {run.run_id: run for run in store.runs()}
    waiting = len(list((folder / ".victor").rglob("*.journal")))
    observed = Counter(
        one.run_id for experiment in store.experiments() for one in store.observations(experiment.id, "test")
    )
    owner.close()
    ended = {name for name, run in stored.items() if run.status in ("finished", "late")}
    without_a_trace = {name for name, arm in arms.items() if arm != "-" and name not in stored}
    for name in sorted((returned - ended) | without_a_trace):
        known = stored.get(name)
        print(f"lost: {name}, {'no row' if known is None else known.status}, arm {arms[name]}", file=sys.stderr)
    return {
        "killed before a result": sum(not any(line.startswith("returned") for line in of_one) for of_one in printed),
        "returned": len(returned),
        "in a test": sum(arms[name] != "-" for name in returned),
        "lost": len(returned - ended),
        "starts lost": len(without_a_trace),
        "doubled": sum(count > 1 for count in observed.values()),
        "wrong arm": sum(name in stored and (stored[name].arm or "-") != arm for name, arm in arms.items()),
        "stored": len(stored),
        "unfinished": sum(run.status in ("running", "lost") for run in stored.values()),
        "journals left": waiting,
        "settled": settled,
    }


def main() -> int:
    """Run the harness; the exit code is 1 when a result was lost or counted twice."""
    made = parser("Kill processes at random moments, and look for results that were returned and not recorded.")
    made.add_argument("--kills", type=int, default=500, help="how many processes are killed")
    made.add_argument("--seed", type=int, default=1, help="of the moments")
    made.add_argument("--database", default=DATABASES[0], choices=DATABASES)
    made.add_argument("--patience", type=float, help="seconds that a run waits for its record, on a busy machine")
    made.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.worker is not None:
        asyncio.run(work(options.worker, options.patience))
        return 0
    folder = Path(tempfile.mkdtemp())
    with database(options.database) as url:
        prepare(folder)
        printed = kill_many(folder, options.kills, options.seed, url, options.patience)
        found = {"database": options.database, "kills": options.kills, **examine(folder, printed)}
    show("Processes that were killed at random moments", [found], options.json)
    is_bad = any(found[name] for name in ("lost", "starts lost", "doubled", "wrong arm", "journals left"))
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
        owner.loop.store_work.wants_refresh = True  # so that the processes find the test in the snapshot's file
        owner.settle(30)
        assert owner.store().counts()["experiments_open"] == 1
        owner.close()

    asyncio.run(first_run())
    os.sync()


if __name__ == "__main__":
    raise SystemExit(main())
