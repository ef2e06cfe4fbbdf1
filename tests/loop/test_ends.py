"""However a process ends, and whatever loops and threads it had: what it returned is recorded, and it does end."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.storage import Store, default_url

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


def in_a_process(folder: Path, code: str) -> tuple[list[str], int]:
    """Run a program; return the ids of the runs whose results it got, and how it ended."""
    environment = {**os.environ, "PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
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
