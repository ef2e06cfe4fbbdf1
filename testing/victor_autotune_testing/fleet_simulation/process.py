"""A process of a host: the real tuning loop with its steps, which the agenda calls in place of threads."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

from attrs import evolve

from victor_autotune_hooks import built_in
from victor_autotune_plugin._settings import Settings, SettingsResolver
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin._tuning.loop import TuningLoop
from victor_autotune_plugin._tuning.waiting import Signal
from victor_autotune_plugin.storage import Store

from .agenda import Agenda
from .network import KilledError, Link

TTL_SECONDS: Final = 15.0
"""`store.snapshot_ttl` of every fleet."""

SILENT_SECONDS: Final = 20.0
"""`store.silent_after` of every fleet."""


@cache
def resolver() -> SettingsResolver:
    """Return the settings of every fleet, as a project would have them."""
    with TemporaryDirectory() as empty:
        return SettingsResolver.load(
            Path(empty),
            overrides={
                "mode": "auto",
                "tuner.risk": "off",
                "public_prices": False,
                "store.snapshot_ttl": TTL_SECONDS,
                "store.silent_after": SILENT_SECONDS,
            },
            extra_strategies=(),
            scored_by_hooks=False,
        )


@cache
def settings(mode: str = "auto") -> Settings:
    """Return the settings of every team: the least evidence that a policy may ask for, so that tests end soon."""
    known = evolve(resolver().for_team("", ""), mode=mode)
    small = evolve(known.experiment, min_runs_per_arm=4, alpha=0.15, min_history=6, success_margin=0.9, p95_margin=9.0)
    return evolve(known, experiment=small)


def _nothing(_job: Callable[[], object]) -> None:
    """Leave a job undone: those of the hooks that decide and record have none."""


class ReusedHooks:
    """The built-in hooks of a process, and once that is gone of another one: pluggy takes long to look at them.

    Attributes:
        manager: Holds them, and has no state of a process.
        loop: What they lead to now.
    """

    def __init__(self) -> None:
        self.manager = HookManager()
        self.loop: TuningLoop | None = None
        for hook, plugin in built_in(self._loop, resolver, _nothing):
            if hook in ("autotune.plan", "autotune.record"):  # the others price and count, and change nothing here
                self.manager.register(plugin, hook)

    def _loop(self) -> TuningLoop:
        assert self.loop is not None
        return self.loop


_HOOKS: Final[defaultdict[int, ReusedHooks]] = defaultdict(ReusedHooks)
# By the number of the process in its fleet; one fleet lives at a time.


class Process:
    """A process that runs teams.

    Args:
        number: How many the fleet has had with it.
        name: Its name in the trace.
        folder: Victor's folder of its project, which the processes before and after it have, too.
        link: Its way to the database.
        agenda: What calls its steps.
        random: What it draws from.
        wall_clock: The clock of its host, Unix seconds.
        after_step: Called after each step with the name of the work.
        mode: Whether a person is asked.

    Attributes:
        settings: Those of its teams.
        stalled_until: True time until which it does not get the processor.
        is_dead: Whether it was killed, or has ended.
        confirmed_at: True time at which the database said what the process now decides by; None for never.
        slack: Seconds by which its host's clock was set back since what it read in the snapshot's file was written.
    """

    def __init__(
        self,
        number: int,
        name: str,
        folder: Path,
        link: Link,
        agenda: Agenda,
        random: Random,
        wall_clock: Callable[[], float],
        after_step: Callable[[Process, str], None],
        mode: str,
    ) -> None:
        self.settings = own = settings(mode)
        self.name = name
        self.folder = folder
        self.link = link
        self.random = random
        self.stalled_until = 0.0
        self.is_dead = False
        self.slack = 0.0
        self.read_from_file_at: float | None = None
        self._agenda = agenda
        self._after_step = after_step
        self._started_at = agenda.now
        reused = _HOOKS[number]
        self.hooks = hooks = reused.manager
        self.loop = reused.loop = loop = TuningLoop(
            lambda _spec, _metadata: own,
            lambda: Store(link, loop.process, "default"),  # type: ignore[arg-type]  # a link is what connections are
            hooks,
            folder,
            lambda: own,
            Signal(),
            self.clock,
            wall_clock,
            random,
            folder.parent,
        )
        link.process_id = loop.process.id
        self._works: dict[str, Callable[[float], float | None]] = {
            "store": loop.store_work.step,
            "files": loop.files.step,
            "judge": loop.judge_work.step,
        }
        self._due: dict[str, tuple[float, int]] = {}
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._turns = 0
        loop.wake_store = lambda: self.wake("store")
        loop.wake_store_within = lambda seconds: self.wake("store", seconds)
        loop.wake_files = lambda: self.wake("files")
        loop.wake_files_within = lambda seconds: self.wake("files", seconds)
        loop.wake_judge = lambda: self.wake("judge")

    def clock(self) -> float:
        """Return monotonic seconds, which begin anywhere and go on while the process is stalled."""
        return self._agenda.now - self._started_at + 1000.0

    @property
    def confirmed_at(self) -> float | None:
        """True time at which the database said what the process now decides by; None for never."""
        return self.read_from_file_at if self.link.read_at is None else self.link.read_at

    def start(self) -> None:
        """Begin, as the threads do."""
        self.loop.files.load_snapshot()
        self.loop.want_store()
        self.wake_up()

    def wake(self, work: str, seconds: float = 0.0) -> None:
        """Have a step of a work done soon."""
        self._call_at(work, self._agenda.now + seconds + self.random.random() * 0.004)

    def wake_up(self) -> None:
        """Get the processor again."""
        self.stalled_until = 0.0
        for work in self._works:
            self.wake(work)

    def die(self) -> None:
        """Be killed: nothing of it goes on, and the kernel closes its files."""
        self.is_dead = self.link.is_dead = True
        loop: Any = self.loop
        journal, slots, orphan = loop.files._journal, loop.files._slots, loop.store_work._orphan
        journal.close()
        descriptor, slots._descriptor = slots._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        if orphan is not None:
            orphan[0].close()

    def end(self) -> None:
        """End as it should."""
        with suppress(KilledError):
            self.loop.files.step(self.clock())
            self.loop.close()
        self.is_dead = self.link.is_dead = True
        loop: Any = self.loop
        loop.files._journal.close()
        if loop.store_work._orphan is not None:
            loop.store_work._orphan[0].close()

    @property
    def is_at_work(self) -> bool:
        """Whether it is in the middle of a step."""
        return bool(self._busy)

    def _call_at(self, work: str, time: float) -> None:
        time = max(time, self.stalled_until)
        known = self._due.get(work)
        if known is not None and known[0] <= time:
            return
        self._turns += 1
        turn = self._turns
        self._due[work] = time, turn
        self._agenda.at(time, lambda: self._step(work, turn))

    def _step(self, work: str, turn: int) -> None:
        if self.is_dead or self._due.get(work, (0.0, 0))[1] != turn:
            return
        del self._due[work]
        if work in self._busy:
            self._again.add(work)
            return
        if self._agenda.now < self.stalled_until:
            self._call_at(work, self.stalled_until)
            return
        self._busy.add(work)
        pause: float | None = None
        try:
            pause = self._works[work](self.clock())
        except KilledError:
            return
        finally:
            self._busy.discard(work)
        if work in self._again:  # it was woken meanwhile
            self._again.discard(work)
            pause = 0.0
        if pause is not None and not self.is_dead:
            self._call_at(work, self._agenda.now + max(pause, 0.0005))
        self._after_step(self, work)
