"""The threads of the plugin; nothing else makes one.

All are daemons, so that whatever hangs in one never keeps the process from ending, and each works alone: it is woken,
does a step, and sleeps until the step's next time.
"""

from __future__ import annotations

import _thread
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from .. import failsafe

BREATH_SECONDS: Final = 0.0004
"""How long a background thread computes before it lets others go first."""

_PAUSE_SECONDS: Final = 0.00005
# Long enough that another thread gets the interpreter: after a sleep of 0, this one would take it again at once.

_FAILED_SECONDS: Final = 1.0


class Worker:
    """A daemon thread that calls a step when it is woken, or when the step asked to be called again.

    Args:
        name: Name of the thread.
        step: Does what is due at a time in monotonic seconds; returns after how many seconds to call it again at the
            latest, or None to wait for a wake-up.
        clock: Monotonic seconds.
        at_end: Called in the thread before it ends.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[float], float | None],
        clock: Callable[[], float] = time.monotonic,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self._name = name
        self._at_end = at_end
        self._step = step
        self._clock = clock
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._is_woken = False
        self._wakes_at = math.inf
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the step called soon. Never blocks, and may be called from a signal handler."""
        if not self._is_woken:  # else the wake-up before is still to be taken, and a step follows it
            self._is_woken = True
            self._wakes.put(None)

    def wake_within(self, seconds: float) -> None:
        """Have the step called within so many seconds; costs next to nothing where it will be anyway."""
        if self._wakes_at > self._clock() + seconds:
            self.wake()

    def stop(self, seconds: float) -> bool:
        """End the thread after the step that it is in, and return whether it has ended in time."""
        self._stopped = True
        self.wake()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(max(0.0, seconds))
        return not thread.is_alive()

    def _run(self) -> None:
        pause: float | None = 0.0
        while not self._stopped:
            self._sleep(pause)
            if self._stopped:
                break
            self._wakes_at = math.inf  # what the step leaves out must wake it again
            try:
                pause = self._step(self._clock())
            except Exception as error:  # a step guards what it does; whatever is left must not end the thread
                failsafe.report(self._name, error)
                pause = _FAILED_SECONDS
        if self._at_end is not None:
            with failsafe.guard(self._name):
                self._at_end()

    def _sleep(self, seconds: float | None) -> None:
        with suppress(Empty):
            if seconds is None or seconds > 0:
                self._wakes_at = math.inf if seconds is None else self._clock() + seconds
                self._wakes.get(timeout=seconds)
            while True:
                self._wakes.get_nowait()
        self._is_woken = False  # after the last wake-up was taken: one that comes now is seen by the step


def before_exit(job: Callable[[], None]) -> None:
    """Have a method called when the process begins to end, unless its object is gone by then.

    By the time that `atexit` calls, Python's thread pools take no more work, so that an event loop can't even look up a
    host: scorers that are under way would fail. Where Python has no earlier moment, nothing is called.
    """
    import concurrent.futures.thread  # noqa: F401 - the last that is registered is called first: pools end after this

    method = weakref.WeakMethod(job)

    def call() -> None:
        found = method()
        if found is not None:
            with failsafe.guard("end of the process"):
                found()

    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with suppress(RuntimeError):  # the process ends already
            register(call)


_is_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Let none go first meanwhile: one thread does everything, as in a simulation, whose work takes a sixth less."""
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


class Breather:
    """Lets other threads go first now and then: what computes in pieces calls it between them.

    Giving the interpreter up costs more than many a piece does, so that it happens once enough of them are done.
    """

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def __call__(self) -> None:
        """Give the interpreter up for a moment, unless that was just now, or no other thread wants it."""
        if not _is_alone and time.perf_counter() - self._last > BREATH_SECONDS / 2:
            time.sleep(_PAUSE_SECONDS)
            self._last = time.perf_counter()


@contextmanager
def breathing() -> Iterator[None]:
    """Let other threads go first all the time while this one computes.

    A thread that computes keeps the interpreter for 5 ms whenever another one wants it, which an event loop feels at
    every wake-up. So this one gives it up by itself every `BREATH_SECONDS`, at the next call or return of a function.
    A profile function is what Python offers to act there; it is this thread's alone. It makes what calls many functions
    half as slow again, so it is for what takes milliseconds at a time; see `Breather` for the rest.
    """
    before = sys.getprofile()
    if _is_alone or before is not None:  # someone profiles this thread, and gets true figures
        yield
        return
    now, pause = time.perf_counter, time.sleep
    last = now()

    def breathe(_frame: Any, _event: str, _argument: Any) -> None:
        nonlocal last
        if now() - last > BREATH_SECONDS:
            pause(_PAUSE_SECONDS)
            last = now()

    sys.setprofile(breathe)
    try:
        yield
    finally:
        sys.setprofile(None)


class Lane:
    """Jobs that are done one after the other on a daemon thread, which is made for the first one.

    One whose job hangs costs this one thread, and never keeps the process from ending.

    Args:
        name: What faults of its jobs are reported under.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._started = False
        self._starting = threading.Lock()

    def put(self, job: Callable[[], None]) -> None:
        """Have a job done behind; never waits."""
        self._jobs.put(job)
        with self._starting:
            if self._started:
                return
            self._started = True
        # `threading.Thread.start` would wait until the thread runs, and an event loop with it.
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except BaseException as error:  # no Ctrl-C comes here, and nothing must end the thread
                failsafe.report(self._name, error)


def start_once(name: str, job: Callable[[], None]) -> None:
    """Do a job on a daemon thread of its own. Returns before the thread runs."""

    def run() -> None:
        with failsafe.guard(name):
            job()

    _thread.start_new_thread(run, ())  # which, unlike `Thread.start`, waits for nothing
