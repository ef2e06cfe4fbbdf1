"""Fails a test in which code of the plugin blocks on the thread that runs the event loop.

`nothing_blocks()` watches the thread that enters it. Whose call it is the stack says: the plugin's, when a frame of the
plugin is nearer than any of Victor's or the scripted model's. Imports are left out, which read files by nature, as are
reads of source lines for a traceback.
"""

from __future__ import annotations

import _thread
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from types import FrameType
from typing import Any, Final
from unittest import mock

from attrs import define, field

OURS: Final = ("victor_autotune_plugin", "victor_autotune_hooks")
THEIRS: Final = ("victor", "victor_contracts", "victor_sdk", "victor_autotune_testing")
_IMPORTS: Final = (
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "_frozen_importlib",
    "_frozen_importlib_external",
)
_LINES: Final = ("linecache", "traceback")
_EVENTS: Final = (
    "open",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.scandir",
    "os.system",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "sqlite3.connect",
    "subprocess.Popen",
    "fcntl.flock",
    "fcntl.lockf",
    "time.sleep",
)
_SOCKET_CALLS: Final = ("accept", "connect", "recv", "recv_into", "send", "sendall")
_SQLITE_CALLS: Final = ("execute", "executemany", "commit")


class BlockedError(AssertionError):
    """Code of the plugin blocked on the thread that runs the loop."""


@define
class Watch:
    """What was seen on one thread.

    Attributes:
        thread: Its identifier.
        ours: Names of the packages, or modules, whose code must not block.
        found: What blocked, and where it was called.
    """

    thread: int
    ours: tuple[str, ...]
    found: list[str] = field(factory=list)
    looking: bool = False

    def note(self, what: str) -> None:
        """Note that the running thread is about to do something that blocks, if it is the watched one and ours."""
        if self.looking or _thread.get_ident() != self.thread:
            return
        self.looking = True
        try:
            frame = _culprit(sys._getframe(1), self.ours)
            if frame is not None:
                self.found.append(
                    f"{what} at {frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_qualname}"
                )
        finally:
            self.looking = False


_watch: Watch | None = None
_installed = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch is not None and event in _EVENTS:
        _watch.note(f"{event} {arguments[:1]!r:.120}")


def _culprit(start: FrameType | None, ours: tuple[str, ...]) -> FrameType | None:
    """Return the frame of the plugin that a call comes from, or None if it comes from elsewhere."""
    frame = start
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name in _IMPORTS or name in _LINES:
            return None
        if name != __name__:
            if _is_in(name, ours):
                return frame
            if _is_in(name, THEIRS):
                return None
        frame = frame.f_back
    return None


def _is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _noting(
    what: str, method: Callable[..., Any], blocks: Callable[..., bool] = lambda *_, **__: True
) -> Callable[..., Any]:
    @wraps(method)
    def noted(*args: Any, **kwargs: Any) -> Any:
        if _watch is not None and blocks(*args, **kwargs):
            _watch.note(what)
        return method(*args, **kwargs)

    return noted


class WatchedLock:
    """A lock that tells when it is held while it is asked for; what `threading.Lock()` returns meanwhile."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._lock = make()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock."""
        if self._lock.acquire(False):
            return True
        if not blocking or timeout == 0:
            return False
        if _watch is not None:
            _watch.note("wait for a lock that is held")
        return bool(self._lock.acquire(True, timeout))

    def __enter__(self) -> bool:
        """Take the lock."""
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._lock.release()

    def __getattr__(self, name: str) -> Any:
        """Return what the lock itself has."""
        return getattr(self._lock, name)


@contextmanager
def nothing_blocks(*, ours: tuple[str, ...] = OURS) -> Iterator[Watch]:
    """Watch the current thread for the block, and fail at its end if code of the plugin blocked.

    Only locks that are made inside the block are watched.

    Args:
        ours: Names of the packages, or modules, whose code must not block.

    Raises:
        BlockedError: If it did; the message names each place.
    """
    global _watch, _installed
    if _watch is not None:
        raise RuntimeError("nothing_blocks can't be nested")
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)
    watch = Watch(threading.get_ident(), ours)
    with ExitStack() as undo:
        for patch in _guards():
            undo.enter_context(patch)
        _watch = watch
        try:
            yield watch
        finally:
            _watch = None
    if watch.found:
        raise BlockedError("blocked on the loop's thread:\n" + "\n".join(dict.fromkeys(watch.found)))


def _guards() -> Iterator[Any]:
    yield mock.patch.object(time, "sleep", _noting("time.sleep", time.sleep))
    yield mock.patch.object(threading, "Lock", partial(WatchedLock, threading.Lock))
    yield mock.patch.object(threading.Event, "wait", _noting("Event.wait", threading.Event.wait, _event_blocks))
    yield mock.patch.object(threading.Condition, "wait", _noting("Condition.wait", threading.Condition.wait))
    yield mock.patch.object(threading.Thread, "join", _noting("Thread.join", threading.Thread.join))
    for name in _SOCKET_CALLS:
        yield mock.patch.object(
            socket.socket, name, _noting(f"socket.{name}", getattr(socket.socket, name), _socket_blocks)
        )
    try:
        import psycopg
    except ImportError:
        return
    yield mock.patch.object(psycopg.Connection, "connect", _noting("psycopg.connect", psycopg.Connection.connect))
    yield mock.patch.object(psycopg.Connection, "wait", _noting("psycopg wait", psycopg.Connection.wait))


def _event_blocks(event: threading.Event, *_: Any, **__: Any) -> bool:
    return not event.is_set()


def _socket_blocks(one: socket.socket, *_: Any, **__: Any) -> bool:
    return one.gettimeout() != 0
