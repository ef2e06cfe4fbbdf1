"""The guard of tests against what blocks on the loop's thread catches that, and nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from victor_autotune_testing.nonblocking import BlockedError, nothing_blocks

SOURCE = """
import os, socket, sqlite3, threading, time

def sleep(folder): time.sleep(0)
def read(folder):
    with open(folder / "file", "w"): pass
def low_level_open(folder): os.close(os.open(folder / "file", os.O_CREAT | os.O_WRONLY))
def connect(folder):
    with socket.socket() as one:
        one.settimeout(0.01)
        one.connect_ex(("127.0.0.1", 1))
def use_sqlite(folder): sqlite3.connect(folder / "file.db").close()
def take_a_held_lock(folder):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=0.001)
def wait_for_an_event(folder): threading.Event().wait(0.001)
def wait_for_a_condition(folder):
    condition = threading.Condition()
    with condition: condition.wait(0.001)
def list_a_folder(folder): os.listdir(folder)

def take_a_free_lock(folder):
    with threading.Lock(): pass
def look_at_a_held_lock(folder):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(blocking=False)
def import_a_module(folder):
    import this_is_not_a_module
def set_event(folder):
    event = threading.Event()
    event.set()
    event.wait(1)
def call(function, folder): function(folder)
"""


def module(name: str) -> Any:
    made: Any = ModuleType(name)
    exec(compile(SOURCE, name, "exec"), made.__dict__)
    return made


PLUGIN = module("victor_autotune_plugin.made_up")
VICTOR = module("victor.made_up")
BLOCKING = (
    "sleep",
    "read",
    "low_level_open",
    "connect",
    "use_sqlite",
    "take_a_held_lock",
    "wait_for_an_event",
    "wait_for_a_condition",
    "list_a_folder",
)


@pytest.mark.parametrize("name", BLOCKING)
async def test_what_blocks_is_caught(name: str, tmp_path: Path) -> None:
    with pytest.raises(BlockedError, match=f"in {name}"), nothing_blocks():
        getattr(PLUGIN, name)(tmp_path)


@pytest.mark.parametrize("name", BLOCKING)
async def test_on_another_thread_it_may_block(name: str, tmp_path: Path) -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def work() -> None:
        getattr(PLUGIN, name)(tmp_path)
        loop.call_soon_threadsafe(ended.set_result, None)

    with nothing_blocks():
        threading.Thread(target=work, daemon=True).start()
        await ended


@pytest.mark.parametrize("name", BLOCKING)
def test_victor_may_block_also_when_the_plugin_called_it(name: str, tmp_path: Path) -> None:
    with nothing_blocks():
        getattr(VICTOR, name)(tmp_path)
        PLUGIN.call(getattr(VICTOR, name), tmp_path)


@pytest.mark.parametrize("name", BLOCKING)
def test_the_plugin_may_not_block_also_when_victor_called_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(BlockedError), nothing_blocks():
        VICTOR.call(getattr(PLUGIN, name), tmp_path)


@pytest.mark.parametrize("name", ["take_a_free_lock", "look_at_a_held_lock", "set_event"])
def test_what_does_not_block_passes(name: str, tmp_path: Path) -> None:
    with nothing_blocks():
        getattr(PLUGIN, name)(tmp_path)


def test_outside_of_the_block_nothing_is_watched(tmp_path: Path) -> None:
    with nothing_blocks():
        pass
    PLUGIN.read(tmp_path)
    assert isinstance(threading.Lock(), type(threading.Lock()))
    assert sqlite3.connect(":memory:").close() is None
