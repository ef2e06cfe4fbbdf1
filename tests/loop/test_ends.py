"""However a process ends, and whatever loops and threads it had: what it returned is recorded, and it does end."""

from __future__ import annotations

import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.storage import Store, create_schema, default_url
from victor_autotune_testing.postgres import URL_VARIABLE, send, server_process, server_url

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

HEAD = """
import asyncio, os, signal, sys, threading
from pathlib import Path
from _loop import new_runtime, run_team, started
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin.hookspecs import hookimpl

class Teller(threading.local):
    @hookimpl
    def after_team_run(self, run):
        self.last = run.run_id

owner = new_runtime(Path(sys.argv[1]), mode="auto")
teller = Teller()
owner.hooks.register(teller, "autotune.teller")

async def run(times=1):
    for _ in range(times):
        await run_team(0.001)
        os.write(1, f"{teller.last}\\n".encode())  # at once, since a child writes beside its parent

async def first(times=1):
    await started(owner)
    await run(times)

"""

ENDS = {
    "the loop ends": "asyncio.run(first(3))",
    "the process is gone": "asyncio.run(first(3)); os._exit(3)",
    "it is gone in the middle": """
async def gone():
    await first(2)
    os._exit(3)
asyncio.run(gone())
""",
    "sigterm": "asyncio.run(first(3)); os.kill(os.getpid(), signal.SIGTERM); signal.pause()",
    "ctrl-c": """
async def interrupted():
    await first(2)
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)
asyncio.run(interrupted())
""",
    "ctrl-c twice": """
async def interrupted():
    await first(2)
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await run_team(60)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
asyncio.run(interrupted())
""",
    "ctrl-c, and again while the process ends": """
async def interrupted():
    await first(2)
    os.kill(os.getpid(), signal.SIGINT)
    await run_team(60)
settle = owner.settle
def again(seconds):
    os.kill(os.getpid(), signal.SIGINT)
    return settle(seconds)
owner.settle = again
asyncio.run(interrupted())
""",
    "exit in another thread": """
asyncio.run(first(2))
thread = threading.Thread(target=sys.exit)
thread.start()
thread.join()
""",
    "loops one after the other": "asyncio.run(first(2)); asyncio.run(run(2)); asyncio.run(run(1))",
    "loops at once": """
asyncio.run(first(1))
threads = [threading.Thread(target=lambda: asyncio.run(run(5))) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
    "a fork": """
asyncio.run(first(2))
child = os.fork()
if child == 0:
    asyncio.run(run(3))
    os._exit(0)
asyncio.run(run(2))
assert os.waitpid(child, 0)[1] == 0
asyncio.run(run(1))
""",
    "a fork in a thread of a pool": """
import multiprocessing
asyncio.run(first(2))
def child():
    asyncio.run(run(2))
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
asyncio.run(run(1))
""",
}


def program(folder: Path, code: str) -> dict[str, Any]:
    """Return the arguments that start a program which runs teams."""
    environment = {**os.environ, "PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return {"args": [sys.executable, "-c", HEAD + code, str(folder)], "env": environment, "text": True}


def in_a_process(folder: Path, code: str) -> tuple[list[str], int]:
    """Run a program; return the ids of the runs whose results it got, and how it ended."""
    done = subprocess.run(**program(folder, code), capture_output=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr or "KeyboardInterrupt" in done.stderr, done.stderr
    return done.stdout.split(), done.returncode


def recorded(folder: Path) -> set[str]:
    """Return the ids of the runs that are stored once a later process has drained what was left."""
    later = Runtime(folder, overrides={"mode": "observe"}, with_entry_points=False)
    later.start(30)
    assert later.settle(60)
    found = {run.run_id for run in later.store().runs() if run.status in ("finished", "late")}
    later.close()
    return found


@pytest.mark.parametrize("name", ENDS)
def test_what_was_returned_is_recorded(name: str, tmp_path: Path) -> None:
    returned, _ = in_a_process(tmp_path, ENDS[name])
    assert returned
    assert set(returned) <= recorded(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_on_uvloop(tmp_path: Path) -> None:
    returned, code = in_a_process(tmp_path, "import uvloop; uvloop.run(first(3))")
    assert (len(returned), code) == (3, 0)
    assert set(returned) <= recorded(tmp_path)


def test_a_process_ends_although_another_one_holds_the_store(tmp_path: Path) -> None:
    """It leaves its journal, which a later process drains."""
    in_a_process(tmp_path, "asyncio.run(first(1))")
    holder = sqlite3.connect(tmp_path / ".victor" / "autotune.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        returned, code = in_a_process(
            tmp_path,
            """
asyncio.run(first(3))
import atexit
ends = []
close = owner.close
atexit.unregister(close)
atexit.register(lambda: print(close.__self__._clock() - begun < 5.0, flush=True))
atexit.register(close)
begun = owner._clock()
""",
        )
    finally:
        holder.rollback()
        holder.close()
    *returned, in_time = returned
    assert (len(returned), in_time, code) == (3, "True", 0)
    with Store.open(default_url(tmp_path)) as store:
        assert not set(returned) & {run.run_id for run in store.runs()}
    assert set(returned) <= recorded(tmp_path)


ENDS_WITH_A_STOPPED_SERVER = """
import atexit
from victor_autotune_testing.postgres import send
asyncio.run(first(3))
send(int(sys.argv[2]), signal.SIGSTOP)
asyncio.run(run(2))

waits = []
sleep, join, close = runtime.time.sleep, threading.Thread.join, owner.close

def counted_sleep(seconds):
    if threading.current_thread() is threading.main_thread():
        waits.append(seconds)
    sleep(seconds)

def counted_join(thread, timeout=None):
    join(thread, timeout)
    if thread.is_alive():
        waits.append(timeout)

runtime.time.sleep, threading.Thread.join = counted_sleep, counted_join
atexit.unregister(close)
atexit.register(lambda: print(round(sum(waits), 3), all(one.daemon for one in threading.enumerate()[1:]), flush=True))
atexit.register(close)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a server's processes are found in /proc")
@pytest.mark.skipif(URL_VARIABLE in os.environ, reason="another one's server is not stopped")
def test_a_process_ends_although_its_server_has_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for no more than its 2 s, leaves no thread that would be waited for, and its journal."""
    with server_url() as url:
        create_schema(url)
        monkeypatch.setenv("VICTOR_AUTOTUNE_DATABASE_URL", url)
        server = server_process(url)
        arguments = program(tmp_path, ENDS_WITH_A_STOPPED_SERVER)
        arguments["args"].append(str(server))
        try:
            done = subprocess.run(**arguments, capture_output=True, timeout=120, check=False)
        finally:
            send(server, signal.SIGCONT)
        *returned, asked, are_daemons = done.stdout.split()
        assert (len(returned), done.returncode, are_daemons) == (5, 0, "True"), done.stderr
        assert 0 < float(asked) <= 2.0
        assert set(returned) <= recorded(tmp_path)


SCORED = """
from victor_autotune_testing.scored import Adding, Scorer, have_quality

asked, ending = threading.Event(), threading.Event()

def have(scorer, **quality):
    owner.hooks.register(Adding(Scorer("check", scorer)), "their")
    have_quality(owner, **quality)

def hang(output):
    asked.set()
    threading.Event().wait()

async def scored():
    await first(1)
    await asyncio.to_thread(asked.wait)

"""

SCORED_ENDS = {
    "it waits for the scorer, which can still use thread pools": (
        """
async def slow(output):
    asked.set()
    await asyncio.to_thread(ending.wait)
    await asyncio.to_thread(os.getpid)
    return .75

have(slow, exit_wait=100.0)
asyncio.run(scored())
threading._register_atexit(ending.set)  # called before what was registered earlier
""",
        (0.75, ""),
    ),
    "a ctrl-c ends the wait": (
        """
have(hang, exit_wait=100.0)
asyncio.run(scored())
sleep = runtime.time.sleep

def interrupted(seconds):
    runtime.time.sleep = sleep
    os.kill(os.getpid(), signal.SIGINT)
    sleep(100)

def ends():
    runtime.time.sleep = interrupted

threading._register_atexit(ends)
""",
        (None, "output lost"),
    ),
    "it is not to wait, ends its command, and a forked child has nothing to wait for": (
        """
begun = "import os, time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'begun'); time.sleep(600)"
have_quality(owner, exit_wait=0.0, scorers={"check": {"command": [sys.executable, "-c", begun]}})

async def scored():
    await first(1)
    while not Path(sys.argv[1], "begun").exists():
        await asyncio.sleep(0.01)

asyncio.run(scored())
child = os.fork()
if child == 0:
    os._exit(0 if owner.loop.score_work.is_idle else 1)
assert os.waitpid(child, 0)[1] == 0
assert not owner.loop.score_work.is_idle
""",
        (None, "output lost"),
    ),
}


@pytest.mark.parametrize("name", SCORED_ENDS)
def test_the_end_of_a_process_waits_for_scorers_as_long_as_it_may(name: str, tmp_path: Path) -> None:
    code, wanted = SCORED_ENDS[name]
    (returned,), ended = in_a_process(tmp_path, SCORED + code)
    assert ended == 0
    with Store.open(default_url(tmp_path)) as store, store.reading() as transaction:
        assert [(one.value, one.why) for one in transaction.scores_of(returned)] == [wanted]
    command = tmp_path / "begun"
    assert not command.exists() or not is_alive(int(command.read_text()))


def is_alive(process: int) -> bool:
    """Return whether a process is there that has not ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")  # one that ended may wait for its parent
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


SUSPENDED = """
from _loop import SimulatedTeam
from victor_autotune_plugin._host.meters import current_run

class Waiting(SimulatedTeam):
    async def _work(self):
        os.write(1, f"{current_run.get().run_id}\\n".encode())
        await asyncio.to_thread(sys.stdin.readline)
        return await super()._work()

async def suspended():
    await started(owner)
    await run_team(0.001, Waiting)
    await run(1)
asyncio.run(suspended())
"""


def test_a_run_that_was_suspended_until_it_counted_as_lost_ends_late(tmp_path: Path) -> None:
    """A laptop that is closed for an hour: its sign of life is made old, since the test has no hour."""
    process = subprocess.Popen(**program(tmp_path, SUSPENDED), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        suspended = process.stdout.readline().strip()
        with Store.open(default_url(tmp_path)) as store:
            for _ in range(6000):  # its start is written behind
                if store.run(suspended) is not None:
                    break
                time.sleep(0.01)
            make_silent(process.pid, tmp_path / ".victor" / "autotune.db")
            other = Runtime(tmp_path, overrides={"mode": "auto"}, with_entry_points=False)
            other.start(30)
            assert other.settle(60)
            other.close()
            lost = store.run(suspended)
            assert lost is not None
            assert lost.status == "lost"
            process.send_signal(signal.SIGCONT)
            after = process.communicate("go on\n", timeout=120)[0].strip()
            assert process.returncode == 0
            ended = {run.run_id: run.status for run in store.runs()}
        assert (ended[suspended], ended[after]) == ("late", "finished")
    finally:
        process.kill()
        process.communicate()


def make_silent(process: int, database: Path) -> None:
    """Suspend a process, but not while it holds the lock of the store, and let its last sign of life be an hour old."""
    for _ in range(100):
        os.kill(process, signal.SIGSTOP)
        connection = sqlite3.connect(database, timeout=0.5)
        try:
            with connection:
                connection.execute("UPDATE autotune_process SET beat_at = beat_at - 3600 WHERE pid = ?", (process,))
            return
        except sqlite3.OperationalError:
            os.kill(process, signal.SIGCONT)
        finally:
            connection.close()
    raise AssertionError("the process held the lock of the store whenever it was suspended")
