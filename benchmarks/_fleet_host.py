"""One host of a fleet: a process that runs teams at a fixed rate, and says what that took."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from _loop import Held, SimulatedTeam, new_runtime, started

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host.interception import intercept
from victor_autotune_plugin._model.assignment import assign, shares_of_stream
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import TeamRun, hookimpl

MEMBERS: Final = [MemberSpec(name, "researcher") for name in "abcd"]
TEAM_SECONDS: Final = 0.02

OVERRIDES: Final[dict[str, object]] = {"environment": "fleet", "tuner.risk": "off", "strategies": []}
"""A host starts no test of its own: those that the benchmark opens take as many runs in every run of it."""

WARM_UP: Final = 900
"""Numbers of the teams that run before anything is measured."""

SETTLE_SECONDS: Final = 120.0

ALONE_SECONDS: Final = 2.0
"""How long a host runs teams without the plugin, to tell what they take themselves."""

FACTORS: Final = (0.6, 1.0, 1.6)
"""How much of the usual time the treatment of a team takes: one team in three gains, one gains nothing, one loses."""


def spec_of(number: int) -> TeamSpec:
    """Return a team by its number."""
    return TeamSpec("fleet", f"team-{number:03}", "sequential", list(MEMBERS))


class FleetTeam(SimulatedTeam):
    """A team that takes another time in parallel.

    Args:
        number: Its number.
        rng: What its time is drawn from.
    """

    def __init__(self, number: int, rng: random.Random) -> None:
        super().__init__(TEAM_SECONDS * rng.lognormvariate(0.0, 0.3))
        self.number = number

    def spec(self) -> TeamSpec:
        """Return the team, made new as Victor's are."""
        found = spec_of(self.number)
        self.ids = {member.id: member.id for member in found.members}
        return found

    async def _work(self) -> str:
        if self.plan is not None and self.plan.formation == "parallel":
            self.seconds *= FACTORS[self.number % len(FACTORS)]
        return await super()._work()


class ReturnedRuns:
    """Remembers the runs whose results were handed over."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        """Note which run ended."""
        self.ids.append(run.run_id)


def processor_by_thread() -> dict[str, float]:
    """Return what each thread that Python started has used so far, seconds of the processor by its name."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
    }


async def serve(owner: Runtime, rate: float, seconds: float, teams: int, rng: random.Random) -> dict[str, Any]:
    """Run teams at a rate; return what the runs waited for and how old their snapshots were."""
    ages: list[float] = []
    held_ms: list[float] = []
    processor_ms: list[float] = []
    late_ms: list[float] = []

    async def one() -> None:
        call, held = FleetTeam(rng.randrange(teams), rng), Held()
        ages.append(owner.loop.memory.age)
        begun = time.perf_counter()
        await held.steps(intercept(lambda: call, call.call))
        late_ms.append(1000 * (time.perf_counter() - begun - call.seconds))
        held_ms.append(1000 * held.total[0])
        processor_ms.append(1000 * held.total[1])

    async with asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        for number in range(round(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one())
    return {"ages": ages, "held": held_ms, "processor": processor_ms, "delays": late_ms}


async def alone(rate: float, teams: int, rng: random.Random) -> float:
    """Return what a run takes of the event loop's thread without the plugin, in milliseconds of the processor.

    The loop, the timers and the team that sleeps are the benchmark's own, and would be Victor's.
    """

    async def one() -> None:
        call, held = FleetTeam(rng.randrange(teams), rng), Held()
        await held.steps(call.call())

    runs = round(rate * ALONE_SECONDS)
    begun = time.thread_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(runs):
            await asyncio.sleep(1 / rate)
            group.create_task(one())
    return 1000 * (time.thread_time() - begun) / runs


async def warm_up(owner: Runtime, seed: int) -> None:
    """Run another team a few times and decide a test, so that what is loaded and worked out once in a process is there.

    That is numpy, the engine and its tables: about half a second of the processor.
    """
    from victor_autotune_plugin.experiment import Judge, Observation, Policy

    for _ in range(10):
        call = FleetTeam(WARM_UP + seed, random.Random(seed))
        await intercept(lambda call=call: call, call.call)  # type: ignore[misc]
    judge, rng = Judge(Policy()), random.Random(seed)
    for index in range(200):
        arm = assign("", index, shares_of_stream("0"), stream="0")
        seconds = rng.lognormvariate(0.0, 0.3) * (0.5 if arm == "treatment" else 1.0)
        judge.observe(Observation(index=index, stream="0", arm=arm, duration_seconds=seconds, success=True, score=1.0))
    judge.verdict()
    await owner.settled(SETTLE_SECONDS)


async def host(folder: Path, rate: float, seconds: float, teams: int, seed: int) -> dict[str, Any]:
    """Be a host: get ready, wait for the word to start, run teams, and settle."""
    owner = await started(new_runtime(folder, **OVERRIDES))
    await warm_up(owner, seed)
    returned = ReturnedRuns()
    owner.hooks.register(returned, "autotune.fleet")
    teams_ms = await alone(rate, teams, random.Random(seed))
    print("ready", flush=True)
    start_at = float(await asyncio.to_thread(sys.stdin.readline))
    await asyncio.sleep(max(0.0, start_at - time.time()))
    before, threads_before = resource.getrusage(resource.RUSAGE_SELF), processor_by_thread()
    found = await serve(owner, rate, seconds, teams, random.Random(seed))
    served_at = time.time()
    settled = await owner.settled(SETTLE_SECONDS)
    after, threads = resource.getrusage(resource.RUSAGE_SELF), processor_by_thread()
    found |= {
        "teams_ms": teams_ms,
        "served_at": served_at,
        "settled_at": time.time(),
        "settled": settled,
        "processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "threads": {name: seconds - threads_before.get(name, 0.0) for name, seconds in threads.items()},
        "runs": returned.ids,
        "journaled": owner.loop.files.journal_lines,
        "faults": [f"{one.where}: {one.error} ({one.count})" for one in failsafe.seen()],
    }
    owner.close()
    return found


def main() -> None:
    """Be the host that the arguments describe, and print what it found as JSON."""
    folder, rate, seconds, teams, seed = sys.argv[1:6]
    print(json.dumps(asyncio.run(host(Path(folder), float(rate), float(seconds), int(teams), int(seed)))))


if __name__ == "__main__":
    main()
