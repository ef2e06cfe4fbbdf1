"""Which process runs a team, and whether it still lives."""

from __future__ import annotations

import os
import platform
from typing import Final

import psutil

from .plain import Values

_CLOCK_TOLERANCE_SECONDS: Final = 1.0
# A process's start time is counted from the boot, so two readers of it differ by the clock's adjustment in between.

_this: Values | None = None


def host() -> str:
    """Return the name of this host."""
    return platform.node() or "localhost"


def this_process() -> Values:
    """Return the columns that say which process this is: `host`, `pid`, `process_started_at` (Unix seconds)."""
    global _this
    pid = os.getpid()
    if _this is None or _this["pid"] != pid:
        _this = {"host": host(), "pid": pid, "process_started_at": psutil.Process(pid).create_time()}
    return _this


def is_alive(pid: int, started_at: float) -> bool:
    """Return whether a process of this host still lives.

    Args:
        pid: Its id.
        started_at: When it started, as `this_process` says it: a later process of the same id is another one.
    """
    this = this_process()
    if pid == this["pid"]:
        return bool(started_at == this["process_started_at"])
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started_at) <= _CLOCK_TOLERANCE_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
