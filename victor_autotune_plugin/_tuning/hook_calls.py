"""Calls of third parties' hooks: each implementation on a thread of its own, one call at a time, with a deadline.

So one that hangs costs one thread, however many runs wait for it. It is not called again until it has returned; what it
says then is dropped, and what waited for its turn goes on without it.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import define, frozen

from .. import failsafe
from ..errors import HookTimeoutError
from .hook_answers import answer_of
from .threads import Lane, Worker

if TYPE_CHECKING:
    import pluggy

OFF_SECONDS: Final = 300.0
"""How long a hook is not called that was late twice within this time."""

HELD_SECONDS: Final = 0.1
"""How long all threads stand still before a hook that ran meanwhile is named."""

MOST_WAITING: Final = 1000
"""Calls that wait for their turn with one hook; what comes on top goes on without it."""

_LOOK_SECONDS: Final = 0.05
_LINGER_SECONDS: Final = 1.0


@frozen
class HookStatus:
    """How one implementation of a third party behaves.

    Attributes:
        plugin: Name of the plugin that holds it.
        hook: The hook.
        state: `ready`, `off`: it was late twice, or `hanging`: a call that ran out of time has not returned.
        calls: How often it was called.
        lates: How often it was late.
        last_seconds: How long its last call took, so far if it hangs.
        longest_seconds: The longest one.
        off_seconds: For how long it is still off.
        held_seconds: How long all threads of the process stood still at most while it ran.
    """

    plugin: str
    hook: str
    state: str
    calls: int
    lates: int
    last_seconds: float
    longest_seconds: float
    off_seconds: float
    held_seconds: float


@define(eq=False)
class Call:
    """One call of one implementation.

    Attributes:
        seconds: How long it may take from its start.
        start_by: If it started later, in monotonic seconds, others used up the time, and it is not to blame.
        then: Called once, with the answer or None, on the hook's thread or on the one that found the call late.
        since: When it started, in monotonic seconds; None while it waits for its turn.
        is_over: Whether `then` was called, or is about to be.
    """

    arguments: Mapping[str, Any]
    context: contextvars.Context
    seconds: float
    then: Callable[[Any], None]
    start_by: float = math.inf
    since: float | None = None
    is_over: bool = False


class Implementation:
    """One implementation of a hook by a third party.

    Args:
        clock: Monotonic seconds.
        began: Called on its thread when a call begins.
    """

    def __init__(
        self, hook: str, implementation: pluggy.HookImpl, clock: Callable[[], float], began: Callable[[], None]
    ) -> None:
        self.hook = hook
        self.plugin = implementation.plugin_name
        self.where = f"hook {hook} of {self.plugin!r}"
        self._implementation = implementation
        self._clock = clock
        self._began = began
        self._calls = 0
        self._lates = 0
        self._last_late = -math.inf
        self._off_until = -math.inf
        self._since = self._ended = -math.inf
        self._last_seconds = self._longest_seconds = self._held_seconds = 0.0
        self.renew()

    def is_of(self, implementation: pluggy.HookImpl) -> bool:
        """Return whether this is that implementation, and not one that was registered under its name before."""
        return self._implementation is implementation

    def renew(self) -> None:
        """Take a new thread and queue, as after a fork, where those of the parent are gone."""
        self._lock = threading.Lock()  # held for moments, never while foreign code runs
        self._lane = Lane(self.where)
        self._waiting: deque[Call] = deque()
        self._running: Call | None = None

    def put(self, call: Call) -> bool:
        """Have it called behind, and return whether it will be: it is not if it hangs or is off."""
        with self._lock:
            hangs = self._running is not None and self._running.is_over
            if hangs or self._clock() < self._off_until:
                return False
            full = len(self._waiting) >= MOST_WAITING
            if not full:
                self._waiting.append(call)
        if full:
            failsafe.report(self.where, HookTimeoutError(f"{MOST_WAITING} calls wait for it already"))
            return False
        self._lane.put(self._run)
        return True

    def expire(self, call: Call) -> None:
        """Go on without a call's answer, if there is none yet."""
        now = self._clock()
        dropped = [call]
        with self._lock:
            if call.is_over:
                return
            call.is_over = True
            runs = self._running is call
            if runs:
                dropped += self._take_waiting()
            elif call in self._waiting:
                self._waiting.remove(call)
        if runs:
            self._late(call, now)
        else:
            failsafe.report(f"{self.where} (busy)", HookTimeoutError("it was still at work for other runs"))
        for one in dropped:
            one.then(None)

    def give_up(self, call: Call) -> None:
        """Cancel a call that no run needs any more, unless it has begun: then it may still turn out late."""
        with self._lock:
            if call in self._waiting:
                self._waiting.remove(call)
                call.is_over = True

    def look(self, now: float) -> bool:
        """Expire the running call if its time is over, and return whether one runs that is not given up."""
        call = self._running
        if call is None or call.is_over or call.since is None:
            return False
        if now - call.since > call.seconds:
            self.expire(call)
            return False
        return True

    def ran_within(self, start: float, end: float) -> float:
        """Return for how many seconds of that time it ran."""
        ended = self._ended if self._running is None else end
        return max(0.0, min(end, ended) - max(start, self._since))

    def held(self, seconds: float) -> None:
        """Note that all threads of the process stood still while it ran."""
        self._held_seconds = max(self._held_seconds, seconds)
        error = HookTimeoutError(f"no other thread of the process could work for {seconds:.2f} s while it ran")
        failsafe.report(f"{self.where} (holds the interpreter lock)", error)

    @property
    def lates(self) -> int:
        """How often it was late."""
        return self._lates

    @property
    def is_ready(self) -> bool:
        """Whether it can be called now: it neither hangs nor is off."""
        return self.status().state == "ready"

    def status(self) -> HookStatus:
        """Return how it behaves."""
        now = self._clock()
        with self._lock:
            hangs = self._running is not None and self._running.is_over
            off = max(0.0, self._off_until - now)
            so_far = now - self._since if hangs else self._last_seconds
            return HookStatus(
                plugin=self.plugin,
                hook=self.hook,
                state="hanging" if hangs else "off" if off else "ready",
                calls=self._calls,
                lates=self._lates,
                last_seconds=so_far,
                longest_seconds=max(self._longest_seconds, so_far),
                off_seconds=off,
                held_seconds=self._held_seconds,
            )

    def _run(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            call = self._waiting.popleft()
            call.since = self._since = self._clock()
            self._running = call
            self._calls += 1
        self._began()
        value = call.context.run(answer_of, self.hook, self._implementation, call.arguments, BaseException)
        now = self._clock()
        with self._lock:
            took = now - self._since
            self._ended, self._running = now, None
            self._last_seconds, self._longest_seconds = took, max(took, self._longest_seconds)
            if call.is_over:
                return
            call.is_over = True
            late = took > call.seconds
            dropped = self._take_waiting() if late else []
        if late:
            value = None
            self._late(call, now)
        call.then(value)
        for one in dropped:
            one.then(None)

    def _take_waiting(self) -> list[Call]:
        """Take the calls that wait behind a late one: they would be late through no fault of theirs."""
        dropped = list(self._waiting)
        self._waiting.clear()
        for one in dropped:
            one.is_over = True
        return dropped

    def _late(self, call: Call, now: float) -> None:
        took = now - self._since
        if self._since > call.start_by:
            failsafe.report(f"{self.where} (no time left)", HookTimeoutError("others had used up the time of the run"))
            return
        with self._lock:
            self._lates += 1
            self._longest_seconds = max(self._longest_seconds, took)
            twice = now - self._last_late <= OFF_SECONDS
            self._last_late = -math.inf if twice else now
            if twice:
                self._off_until = now + OFF_SECONDS
        told = f"it took {took:.3g} s and more, where {call.seconds:.3g} s are allowed"
        failsafe.report(self.where, HookTimeoutError(told))
        if twice:
            failsafe.logger.warning(
                "autotune: %s was late twice and is off for %.0f min: %s", self.where, OFF_SECONDS / 60, told
            )
            failsafe.report(f"{self.where} (off for {OFF_SECONDS / 60:.0f} min)", HookTimeoutError(told), log=False)


class HookWatch:
    """Ends what is late behind the runs, and finds hooks that keep all other threads from working.

    It looks every 50 ms while hooks run and shortly after, and sleeps else. When it comes to look far later than it
    meant to, the hook that ran meanwhile holds the interpreter lock, unless the machine is overloaded.

    Args:
        implementations: Gives what to look at.
        clock: Monotonic seconds.
    """

    def __init__(self, implementations: Callable[[], Iterable[Implementation]], clock: Callable[[], float]) -> None:
        self._implementations = implementations
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """Take a new thread, as after a fork."""
        self._worker: Worker | None = None
        self._starting = threading.Lock()
        self._asleep = True
        self._expected: float | None = None
        self._linger_until = 0.0

    def began(self) -> None:
        """Wake up, since a hook begins to run."""
        if not self._asleep:
            return
        self._expected = self._clock()
        with self._starting:
            worker, made = self._worker, self._worker is None
            if worker is None:
                worker = self._worker = Worker("autotune-hook-watch", self.step, self._clock)
        if made:
            worker.start()
        worker.wake()

    def step(self, now: float) -> float | None:
        """Look, and return after how many seconds to look again, or None to sleep until a hook runs."""
        implementations = tuple(self._implementations())
        expected = self._expected
        if expected is not None and now - expected > HELD_SECONDS:
            self._blame(implementations, expected, now)
        self._asleep = True  # before it looks: what begins meanwhile wakes it
        runs = [one.look(now) for one in implementations]
        if any(runs):
            self._linger_until = now + _LINGER_SECONDS
        elif now >= self._linger_until:
            self._expected = None
            return None
        self._asleep = False
        self._expected = self._clock() + _LOOK_SECONDS
        return _LOOK_SECONDS

    @staticmethod
    def _blame(implementations: Sequence[Implementation], start: float, end: float) -> None:
        ran = [(one.ran_within(start, end), one) for one in implementations]
        seconds, worst = max(ran, key=lambda pair: pair[0], default=(0.0, None))
        if worst is not None and seconds > HELD_SECONDS:
            worst.held(seconds)
