"""What users feel when the store or a hook misbehaves: how long the event loop is held, and what a run waits.

Each scene is a process of its own with a time limit, which has loaded Victor's teams as one that runs them has. First
a ticking task and teams that sleep 20 ms run without the plugin; then the same with it, in a healthy project, and, once
the store is stopped (PostgreSQL, SIGSTOP), killed (PostgreSQL, SIGKILL), silent (an address that accepts and never
answers), locked (SQLite, an exclusive lock of another process), full or read-only (a small tmpfs, with the journal on
it as well), in that state. Silent, locked and read-only stores are so from the first run on. Hooks of a third party
sleep 3 s, answer nonsense, or raise SystemExit, one by one, in mode `auto`, where a test is decided meanwhile. Further
scenes judge, import everything, and drain the journal of a dead process with 5,000 runs.

Held is the latest tick with the plugin less the latest one without it in the same process; a run's delay is its time
less the median without the plugin. Ticks count as late without the passes of Python's collector, which have a column
of their own, and on Linux without the time in which other programs had the processor.

    python benchmarks/stall.py --scenes stopped hooks --modes auto
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from _loop import SPEC, STAYS_OPEN, SimulatedTeam, new_runtime, run_team, start_test
from _report import parser, show, with_compiled_modules
from attrs import define, field, frozen

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin._model.run import RunStart, TeamRun
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_plugin.storage.journal import FOLDER_NAME, EndEntry, Journal

MODES = ("off", "observe", "suggest", "approve", "auto")
STORES = ("healthy", "stopped", "killed", "silent", "locked", "full", "read-only")
HOOKS = (
    "plan_team_run",
    "before_team_run",
    "team_run_started",
    "score_team_run",
    "price_team_run",
    "after_team_run",
    "plan_changed",
    "approve_change",
    "add_strategies",
)
FAULTS = ("asleep", "wrong", "exiting")
BUSY = ("judging", "importing", "draining")

TRACE: Final = float(os.environ.get("STALL_TRACE", "0"))
"""Milliseconds after which a late tick has all threads' stacks printed; 0 for never."""

IMPORTED: Final = {"sqlalchemy.engine", "victor_autotune_plugin._tuner"}

TEAM_SECONDS: Final = 0.02
TICK_SECONDS: Final = 0.001
STREAMS: Final = 4
"""Runs at a time."""

WITHOUT_SECONDS: Final = 1.0
HEALTHY_SECONDS: Final = 0.5
FAULTY_SECONDS: Final = 2.5
BACKLOG: Final = 5000
LIMIT_SECONDS: Final = 60.0
"""Of a scene."""

MOST_HELD_MS = 20.0
MOST_LATER_MS = 0.5
MOST_FIRST_MS = 400.0
MOST_DELAY_MS = 150.0
MOST_EXIT_MS = 2000.0


@define
class Collector:
    """How long Python's garbage collector works.

    It holds every thread, whichever allocated, the longer the more objects the application has. So it has a column of
    its own, and ticks count as late without it.

    Attributes:
        seconds: All its passes so far.
        longest: The longest one.
    """

    seconds: float = 0.0
    longest: float = 0.0
    _begun: float = 0.0

    def __call__(self, phase: str, _details: object) -> None:
        """Be told by the collector."""
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            took, self._begun = time.perf_counter() - self._begun, 0.0
            self.seconds, self.longest = self.seconds + took, max(self.longest, took)

    def so_far(self) -> float:
        """Return for how many seconds it worked, a pass that is not told to be over included."""
        return self.seconds + (time.perf_counter() - self._begun if self._begun else 0.0)


COLLECTOR: Final = Collector()


def _scheduled() -> int | None:
    """Open what Linux tells of the scheduling of this thread, the loop's; None elsewhere."""
    try:
        return os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        return None


_SCHEDULED: Final = _scheduled()


def waited_for_a_processor() -> float:
    """Return for how many seconds other programs kept the loop's thread from running, as far as the system tells."""
    return 0.0 if _SCHEDULED is None else int(os.pread(_SCHEDULED, 100, 0).split()[1]) / 1e9


@define
class Times:
    """What was measured in a stretch of time, in milliseconds.

    Attributes:
        late: How late the ticks were.
        runs: What each run took.
    """

    late: list[float] = field(factory=list)
    runs: list[float] = field(factory=list)

    async def stretch(self, seconds: float, run: Callable[[], Awaitable[object]]) -> None:
        """Run teams, several at a time, beside a ticking task."""
        end = time.perf_counter() + seconds
        ticking = asyncio.create_task(self._tick())
        await asyncio.gather(*(self._teams(end, run) for _ in range(STREAMS)))
        await self.stop(ticking)

    async def beside(self, work: Awaitable[object]) -> None:
        """Tick while something else happens."""
        ticking = asyncio.create_task(self._tick())
        await work
        await self.stop(ticking)

    async def stop(self, ticking: asyncio.Task[None]) -> None:
        """End the ticking task."""
        await asyncio.sleep(2 * TICK_SECONDS)
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking

    async def _tick(self) -> None:
        while True:
            if TRACE:
                faulthandler.dump_traceback_later(TRACE / 1000)
            others, due = COLLECTOR.so_far() + waited_for_a_processor(), time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            late = time.perf_counter() - due
            others = COLLECTOR.so_far() + waited_for_a_processor() - others
            self.late.append(1000 * max(0.0, late - others))

    async def _teams(self, end: float, run: Callable[[], Awaitable[object]]) -> None:
        while (begun := time.perf_counter()) < end:
            await run()
            self.runs.append(1000 * (time.perf_counter() - begun))


@frozen
class Fault:
    """How a store misbehaves.

    Attributes:
        url: The store's URL; None for the project's own file.
        begin: Makes it misbehave, after the first runs.
        first: The same, before the first run.
    """

    url: str | None = None
    begin: Callable[[], None] = lambda: None
    first: Callable[[], None] = lambda: None


@contextmanager
def fault_of(store: str, project: Path) -> Iterator[Fault]:
    """Prepare a store's misbehaviour, and clean up after it."""
    with ExitStack() as stack:
        if store in ("stopped", "killed"):
            from victor_autotune_testing.postgres import send, server_process, server_url

            url = stack.enter_context(server_url())
            server = server_process(url)
            if store == "stopped":
                stack.callback(lambda: send(server, signal.SIGCONT))
                yield Fault(url, begin=lambda: send(server, signal.SIGSTOP))
            else:
                yield Fault(url, begin=lambda: send(server, signal.SIGKILL))
        elif store == "silent":
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            yield Fault(f"postgresql+psycopg://user@127.0.0.1:{listening.getsockname()[1]}/none")
        elif store == "locked":
            yield Fault(first=lambda: stack.callback(lock(project / ".victor" / "autotune.db").kill))
        elif store in ("full", "read-only"):
            folder = project / ".victor"
            folder.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
            stack.callback(lambda: subprocess.run(["umount", "--lazy", folder], check=True))
            if store == "full":
                yield Fault(begin=lambda: fill(folder / "ballast"))
            else:
                remount = ["mount", "-o", "remount,ro", folder]
                yield Fault(first=lambda: subprocess.run(remount, check=True) and None)
        else:
            yield Fault()


def lock(file: Path) -> subprocess.Popen[str]:
    """Let another process lock an SQLite file."""
    code = (
        "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None); "
        "db.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    if process.stdout is None or process.stdout.readline() != "locked\n":
        raise SystemExit("the file could not be locked")
    return process


def fill(file: Path) -> None:
    """Fill a file system."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass


def faulty_hook(hook: str, fault: str) -> object:
    """Return a hook of a third party that misbehaves."""

    def asleep(self: object) -> None:
        del self
        time.sleep(3)

    def wrong(self: object) -> object:
        del self
        return "nonsense"

    def exiting(self: object) -> None:
        del self
        sys.exit(3)

    return type("Faulty", (), {hook: hookimpl({"asleep": asleep, "wrong": wrong, "exiting": exiting}[fault])})()


def write_backlog(project: Path) -> None:
    """Leave the journal of a dead process, with finished runs."""
    process = ProcessId.new()
    journal = Journal(project / ".victor" / FOLDER_NAME, process)
    now = time.time()
    entries = []
    for number in range(BACKLOG):
        event = RunStart(f"{number:032x}", SPEC, now - BACKLOG + number)
        entries.append(EndEntry(TeamRun(event.run_id, SPEC, event.started_at, 10.0, True, 1.0, mode="auto"), None))
    journal.append(entries)
    journal.forget_after_fork()  # which leaves the file as it is


def prepare(project: str, mode: str, url: str) -> None:
    """Leave a store with an open test."""
    from victor_autotune_plugin.storage.migrate import create_schema

    if url:
        create_schema(url)
    owner = new_runtime(Path(project), **{"mode": mode, **({"database_url": url} if url else {})})
    start_test(owner)
    owner.close()


async def play(scene: str, mode: str) -> dict[str, Any]:
    """Play a scene in this process, and return its figures."""
    gc.callbacks.append(COLLECTOR)
    kind, _, fault_name = scene.partition(" ")
    hook = kind if kind in HOOKS else None
    settings = {} if hook or kind == "judging" else STAYS_OPEN
    stack = ExitStack()
    with stack, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        project = Path(name)
        fault = stack.enter_context(fault_of(kind, project))
        overrides = {"mode": mode, "tuner.risk": "off", **settings}
        if fault.url is not None:
            overrides["database_url"] = fault.url
        (project / ".victor").mkdir(exist_ok=True)
        if mode in ("approve", "auto") and kind not in ("silent", "importing", "draining"):
            # In a process of its own, so that this one has everything still to import.
            command = [sys.executable, __file__, "--prepare", name, mode, fault.url or ""]
            subprocess.run(command, check=True)  # noqa: ASYNC221 - nothing is measured yet
        without = Times()
        team = SimulatedTeam(TEAM_SECONDS)
        await without.stretch(WITHOUT_SECONDS, team.call)
        fault.first()
        if kind == "draining":
            write_backlog(project)
        first, later = Times(), Times()
        healthy = Times()
        owner = new_runtime(project, **{**overrides, **({"tuner.risk": "low"} if kind in BUSY else {})})
        if hook:
            owner.hooks.register(faulty_hook(hook, fault_name), "third party")
        runtime.use(owner)

        async def run() -> None:
            await run_team(TEAM_SECONDS)

        async def first_run() -> None:
            begun = time.perf_counter()
            await run()
            first.runs.append(1000 * (time.perf_counter() - begun))

        await first.beside(first_run())
        if kind == "importing":
            while not IMPORTED.issubset(sys.modules):
                await later.stretch(0.02, run)
            await owner.settled(LIMIT_SECONDS)
        if fault.begin is not Fault().begin:
            await healthy.stretch(HEALTHY_SECONDS, run)
            fault.begin()
        await later.stretch(FAULTY_SECONDS, run)
        drained = ""
        if kind == "draining":
            while owner.loop.store_work.store is None or owner.loop.store_work._has_backlog:
                await later.stretch(0.1, run)
            await owner.settled(LIMIT_SECONDS)
            with owner.loop.store_work.store.reading() as transaction:
                runs = len(transaction.runs_of(*SPEC.key, 10 * BACKLOG))
            drained = runs - len(later.runs) - 1
        begun = time.perf_counter()
        owner.close()
        closing = 1000 * (time.perf_counter() - begun)
    usual = median(without.runs)
    later_by = max(median(one.late) for one in (first, later)) - median(without.late)
    late = [*first.late, *later.late]
    faulthandler.cancel_dump_traceback_later()
    if TRACE:
        print("first median", median(first.late), "without", median(without.late), file=sys.stderr)
        print("first", sorted(first.late)[-8:], "later", sorted(later.late)[-8:], file=sys.stderr)
    return {
        "held": max(late) - max(without.late),
        "held without": max(without.late),
        "later": later_by,
        "first": first.runs[0] - usual,
        "runs": len(later.runs),
        "delay median": median(later.runs) - usual,
        "delay": max(later.runs) - usual,
        "exit": closing,
        "collector": 1000 * COLLECTOR.longest,
        "drained": drained,
        "faults": [f"{one.where}: {one.error} ({one.count})" for one in failsafe.seen()],
    }


def scenes(wanted: list[str], modes: list[str]) -> list[tuple[str, str]]:
    """Return the scenes to play, as `(scene, mode)`."""
    found = [(store, mode) for store in STORES for mode in modes if store in wanted]
    if "hooks" in wanted:
        found += [(f"{hook} {fault}", "auto") for hook in HOOKS for fault in FAULTS]
    found += [(one, "auto") for one in BUSY if one in wanted]
    return found + [(one, "auto") for one in wanted if one.partition(" ")[0] in HOOKS]


def in_own_process(scene: str, mode: str, compiled: Path) -> dict[str, Any]:
    """Play a scene in processes of its own, and return its line of the table.

    One that misses a bound is played twice more, since other programs hold a shared machine, too; then the median of
    each figure counts.
    """
    played = [once(scene, mode, compiled)]
    if isinstance(played[0], dict) and line(scene, mode, played[0])["reached"] == "no":
        played += [once(scene, mode, compiled) for _ in range(2)]
    for one in played:
        if isinstance(one, str):
            return no_line(scene, mode, one)
    figures = [one for one in played if isinstance(one, dict)]
    middle = {
        name: median(one[name] for one in figures) if isinstance(value, int | float) else value
        for name, value in figures[0].items()
    }
    return {**line(scene, mode, middle), "times played": len(played)}


def once(scene: str, mode: str, compiled: Path) -> dict[str, Any] | str:
    """Play a scene in a process of its own, and return its figures, or what went wrong."""
    command = [sys.executable, __file__, "--play", scene, mode]
    environment = with_compiled_modules(compiled)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return "took too long"
    if done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr)
        return f"exit code {done.returncode}"
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


COLUMNS = (
    "runs",
    "held ms",
    "wake-ups later ms",
    "first run ms",
    "delay median ms",
    "delay max ms",
    "exit ms",
    "collector ms",
    "held without ms",
    "times played",
)


def no_line(scene: str, mode: str, problem: str) -> dict[str, Any]:
    """Return the line of a scene without figures."""
    return {"scene": scene, "mode": mode, **dict.fromkeys(COLUMNS, ""), "reached": f"no: {problem}", "faults": []}


def line(scene: str, mode: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the table."""
    kept = (
        figures["held"] <= MOST_HELD_MS
        and figures["later"] <= MOST_LATER_MS
        and figures["first"] <= MOST_FIRST_MS
        and figures["delay"] <= MOST_DELAY_MS
        and figures["exit"] <= MOST_EXIT_MS + 100
        and figures["drained"] in ("", BACKLOG)
    )
    return {
        "scene": scene,
        "mode": mode,
        "runs": round(figures["runs"]),
        "held ms": round(figures["held"], 1),
        "wake-ups later ms": round(figures["later"], 2),
        "first run ms": round(figures["first"], 1),
        "delay median ms": round(figures["delay median"], 1),
        "delay max ms": round(figures["delay"], 1),
        "exit ms": round(figures["exit"]),
        "collector ms": round(figures["collector"], 1),
        "held without ms": round(figures["held without"], 1),
        "times played": 1,
        "reached": "yes" if kept else "no",
        "faults": figures["faults"],
    }


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    everything = [*STORES, "hooks", *BUSY]
    arguments.add_argument("--scenes", nargs="+", default=everything, metavar="SCENE", help=", ".join(everything))
    arguments.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    arguments.add_argument("--play", nargs=2, metavar=("SCENE", "MODE"), help="play one scene in this process")
    arguments.add_argument("--prepare", nargs=3, metavar=("PROJECT", "MODE", "URL"), help="start a test there")
    options = arguments.parse_args()
    if options.prepare:
        prepare(*options.prepare)
        return
    if options.play:
        import victor.teams  # noqa: F401 - it loads pydantic, which would otherwise be loaded with the prices

        print(json.dumps(asyncio.run(play(*options.play))))
        sys.stdout.flush()
        os._exit(0)  # a hook that hangs is a daemon thread; nothing is left to be done
    with tempfile.TemporaryDirectory() as compiled:
        rows = []
        once("healthy", "auto", Path(compiled))  # compiles the modules, which those of an installed package are
        for scene, mode in scenes(options.scenes, options.modes):
            rows.append(in_own_process(scene, mode, Path(compiled)))
            figures = [f"{name} {value}" for name, value in rows[-1].items() if name != "faults"]
            print(*figures, sep=", ", file=sys.stderr)
    note = (
        f"to reach: held ≤ {MOST_HELD_MS:g} ms, wake-ups ≤ {MOST_LATER_MS:g} ms later (median), first run delayed "
        f"≤ {MOST_FIRST_MS:g} ms, others ≤ {MOST_DELAY_MS:g} ms, exit ≤ {MOST_EXIT_MS:g} ms"
    )
    show("What users feel of a store or a hook that misbehaves", rows, options.json, note, only_json=["faults"])


if __name__ == "__main__":
    main()
