"""The threads of the plugin; nothing else makes one.

All are daemons, so that whatever hangs in one never keeps the process from ending, and each works alone: it is woken,
does a step, and sleeps until the step's next time.
"""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections import deque
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

_MOST_IDLE: Final = 8
# Threads that wait for the next job; more are made while more hooks are at work at once, and end again.


class Worker:
    """A daemon thread that calls a step when it is woken, or when the step asked to be called again.

    Args:
        name: Name of the thread.
        step: Does what is due at a time in monotonic seconds; returns after how many seconds to call it again at the
            latest, or None to wait for a wake-up.
        clock: Monotonic seconds.
    """

    def __init__(
        self, name: str, step: Callable[[float], float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._step = step
        self._clock = clock
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the step called soon. Never blocks, and may be called from a signal handler."""
        self._wakes.put(None)

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
                return
            try:
                pause = self._step(self._clock())
            except Exception as error:  # a step guards what it does; whatever is left must not end the thread
                failsafe.report(self._name, error)
                pause = _FAILED_SECONDS

    def _sleep(self, seconds: float | None) -> None:
        with suppress(Empty):
            if seconds is None or seconds > 0:
                self._wakes.get(timeout=seconds)
            while True:
                self._wakes.get_nowait()


@contextmanager
def breathing() -> Iterator[None]:
    """Let other threads go first all the time while this one computes.

    A thread that computes keeps the interpreter for 5 ms whenever another one wants it, which an event loop feels at
    every wake-up. So this one gives it up by itself every `BREATH_SECONDS`, at the next call or return of a function.
    A profile function is what Python offers to act there; it is this thread's alone.
    """
    before = sys.getprofile()
    if before is not None:  # someone profiles this thread, and gets true figures
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

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._left = 0
        self._started = False
        self._starting = threading.Lock()

    def put(self, job: Callable[[], None]) -> None:
        """Have a job done behind."""
        with self._starting:
            self._left += 1
            if not self._started:
                self._started = True
                _thread.start_new_thread(self._run, ())
        self._jobs.put(job)

    def flush(self, seconds: float) -> bool:
        """Wait until all jobs are done, at most so many seconds; return whether they are."""
        if not self._left:
            return True
        done: SimpleQueue[None] = SimpleQueue()
        self.put(lambda: done.put(None))
        with suppress(Empty):
            done.get(timeout=seconds)
            return True
        return False

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            with failsafe.guard(self._name):
                job()
            with self._starting:
                self._left -= 1


class HookThreads:
    """Threads for code of third parties: one that hangs is left behind, and another takes its place."""

    def __init__(self) -> None:
        self._idle: deque[SimpleQueue[Callable[[], None]]] = deque(maxlen=_MOST_IDLE)

    def run(self, job: Callable[[], None]) -> None:
        """Have a job done on a thread that has nothing else to do."""
        try:
            jobs = self._idle.pop()
        except IndexError:
            jobs = SimpleQueue()
            _thread.start_new_thread(self._work, (jobs,))
        jobs.put(job)

    def _work(self, jobs: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            job = jobs.get()
            with suppress(BaseException):  # a job reports what it catches; what it does not must not end the thread
                job()
            if len(self._idle) >= _MOST_IDLE:
                return
            self._idle.append(jobs)
