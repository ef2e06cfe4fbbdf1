"""The settings, store, hooks and tuning loop of this process: made behind, as soon as a team is near."""

from __future__ import annotations

import _thread
import atexit
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from .. import failsafe
from .._model.quantities import DEFAULT_ENVIRONMENT
from .._settings import Settings, SettingsResolver, public_prices
from .._settings.environment import can_tune, environment_of
from ..storage.location import file_of_url
from ..storage.snapshot_file import folder_of
from .hookmanager import HookManager
from .threads import Worker, before_exit, breathing, start_once
from .waiting import Signal

if TYPE_CHECKING:
    from random import Random

    from .._model.plan import TeamSpec
    from ..storage import Store
    from .loop import TuningLoop
    from .manual import ManualChanges

FIRST_RUN_SECONDS: Final = 0.25
"""How long the first run of a process waits for settings and snapshot."""

EXIT_SECONDS: Final = 2.0
"""How long the end of a process may take longer."""

_LOOK_SECONDS: Final = 1.0
"""How often the file thread looks for edited settings."""

_SHARE_TO_SETTLE: Final = 0.75
# Of the time at the end, the rest is for giving back what the process holds.

_POLL_SECONDS: Final = 0.002
_LONGEST_POLL_SECONDS: Final = 0.05
# Each look wakes the threads, and many hosts on one machine that end together would do little else.
_AGAIN_SECONDS: Final = 1.0
# Settings that can't be read are read again, since a person may have mended them.

_WRITER_PATIENCE_SECONDS: Final = 2.0
# The threads can wait for other writers of an SQLite file; what can't wait goes to the journal meanwhile.


class Runtime:
    """Settings, store, hooks and tuning loop of a project.

    Args:
        project: The project's folder.
        overrides: Settings from the command line, by dotted key.
        with_entry_points: Whether to look for hook packages of third parties.
        with_files: Whether journal, snapshot and streams of arms are kept in files, too.
        load_settings: Reads the settings from elsewhere than the project, the user's folder and the environment; it is
            called as `SettingsResolver.load`.
        open_store: Opens another store than the one that the settings name.
        clock: Monotonic seconds.
        wall_clock: Unix seconds.
        random: What ids and pauses are drawn from; None for the system's randomness.
        looks_only: Whether it is for a command that shows something: the loop, and the modules that it is made of, are
            there only if something asks for them.
    """

    def __init__(
        self,
        project: Path,
        *,
        overrides: Mapping[str, object] | None = None,
        with_entry_points: bool = True,
        with_files: bool = True,
        load_settings: Callable[..., SettingsResolver] = SettingsResolver.load,
        open_store: Callable[[], Store] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Random | None = None,
        looks_only: bool = False,
    ) -> None:
        self.project = project
        self.ready = Signal()
        """Set when there is a snapshot that came from the store."""
        self._overrides = dict(overrides or {})
        self._with_files = with_files
        self._read_settings = load_settings
        self._open_other = open_store
        self._random = random
        self._clock = clock
        self._wall_clock = wall_clock
        self._store: Store | None = None
        self._workers: tuple[Worker, ...] = ()
        self._prices_wanted = False
        self._opening = threading.Lock()
        self.hooks = HookManager()
        if with_entry_points:
            self.hooks.load_entry_points()
        self._resolver = self._load_settings()
        self.environment, self.environment_source = environment_of(self._options, os.environ)
        """Where the runs of the process belong, and what says so. It does not change while the process runs."""
        if not looks_only:
            self.loop = self._new_loop()
        self._register_hooks()

    @cached_property
    def loop(self) -> TuningLoop:
        """The tuning loop."""
        return self._new_loop()

    @cached_property
    def manual(self) -> ManualChanges:
        """What a person changes."""
        from .manual import ManualChanges

        return ManualChanges(
            self.store, self.hooks, self._wall_clock, self._changed_by_hand, lambda: self._options.notify
        )

    # --- settings

    @property
    def resolver(self) -> SettingsResolver:
        """The settings; while an edited file is wrong, the last good ones."""
        return self._resolver

    def look_at_settings(self) -> None:
        """Read the settings again when their files changed. The file thread does so now and then."""
        if self._resolver.changed():
            with failsafe.guard("reading of edited settings"):
                self._resolver = self._load_settings()

    def settings(self, spec: TeamSpec, metadata: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings of a team.

        Args:
            metadata: The workflow's own `metadata.autotune`, or None.

        Raises:
            SettingsError: If they are wrong.
        """
        return self._resolver.for_team(spec.workflow, spec.team_id, metadata)

    def _load_settings(self) -> SettingsResolver:
        answers = self.hooks.answers("add_strategies")
        names = [strategy.name for answer in answers for strategy in answer.value]
        resolver = self._read_settings(
            self.project,
            overrides=self._overrides,
            extra_strategies=names,
            scored_by_hooks=self.hooks.scores_runs,
        )
        self._options = resolver.for_team("", "")
        self.hooks.hook_seconds = self._options.hooks.plan_seconds
        return resolver

    def options(self) -> Settings:
        """Return the settings that hold for the whole process."""
        return self._options

    def want_prices(self) -> None:
        """Have the public prices loaded behind: a team runs here, and its models will be priced."""
        if self._options.public_prices and not self._prices_wanted:
            self._prices_wanted = True
            start_once("loading of public prices", _load_prices)

    # --- the store

    def store(self) -> Store:
        """Return the store that the settings name, opened at the first call; each thread has its own connection.

        Raises:
            StoreError: If it can't be used.
        """
        if self._store is None:
            with self._opening:
                if self._store is None:
                    self._store = self.open_store()
        return self._store

    def _store_behind(self) -> Store:
        """Return the store, opened on a thread; what that imports would hold the event loop for 5 ms at a time."""
        if self._store is not None:
            return self._store
        with breathing():
            return self.store()

    def open_store(self) -> Store:
        """Open the store that the settings name, another time.

        Raises:
            StoreError: If it can't be used.
        """
        if self._open_other is not None:
            return self._open_other().of(self.environment)
        from ..storage import Store, default_url

        url = self._resolver.database_url or default_url(self.project)
        return Store.open(
            url,
            busy_timeout_seconds=_WRITER_PATIENCE_SECONDS,
            environment=self.environment,
            process=self.loop.process,
        )

    def _changed_by_hand(self) -> None:
        """Have a change of the store in the snapshot and its file, which the next process goes by."""
        if self._workers:
            self.loop.store_work.wants_refresh = True
            self.loop.wake_store()
            self.loop.notice_work.wake()
            return
        with failsafe.guard("snapshot after a change by hand"):
            now = self._clock()
            self.loop.store_work.refresh(self.store(), now)
            self.loop.files.step(now)

    def open_existing_store(self) -> Store | None:
        """Open the store that the settings name, or return None while its file does not exist.

        For commands that only look, and so must neither create nor migrate one.

        Raises:
            StoreError: If there is one that can't be used.
        """
        from ..storage import Store, default_url
        from ..storage.location import target_of

        url = self._resolver.database_url or default_url(self.project)
        file = target_of(url).file
        return (
            None
            if file is not None and not file.exists()
            else Store.open(url, look_only=True, environment=self.environment)
        )

    # --- threads

    def start(self, seconds: float = 0.0) -> None:
        """Start the threads, unless they run.

        Args:
            seconds: How long at most to wait for a snapshot of the store; it blocks the thread.
        """
        self._start_threads()
        if seconds > 0:
            self.loop.want_store()
        deadline = time.monotonic() + seconds
        while not self.is_ready and not self.loop.core.breaker.is_open and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    @property
    def is_ready(self) -> bool:
        """Whether a run need not wait for the store: there is a snapshot of it, or one in the file that is not old.

        Where teams run once an hour, each in a new process, the file is always old.
        """
        memory = self.loop.memory
        return self.ready.is_set or (memory.is_known and memory.age <= self._options.store.snapshot_ttl)

    @property
    def has_threads(self) -> bool:
        """Whether threads do the work behind runs."""
        return bool(self._workers)

    def _start_threads(self) -> None:
        if self._workers:
            return
        if not self.ready.is_set:  # before anything else is at work: it takes 5 ms, and ten times that beside an import
            with failsafe.guard("snapshot from its file"):
                self.loop.files.load_snapshot()
        loop = self.loop
        store = Worker("autotune store", self._store_step, self._clock, at_end=loop.store_work.close)
        files = Worker("autotune files", self._files_step, self._clock, at_end=loop.files.close)
        judge = Worker("autotune judge", self._judge_step, self._clock, at_end=loop.judge_work.close)
        flow = Worker("autotune data flow", loop.flow_work.step, self._clock)
        scores = Worker("autotune scores", self._score_step, self._clock)
        notices = Worker("autotune notices", loop.notice_work.step, self._clock)
        self._workers = (notices, scores, flow, judge, files, store)
        loop.wake_store, loop.wake_files, loop.wake_judge = store.wake, files.wake, judge.wake
        loop.score_work.wake, loop.score_work.start = scores.wake, start_once
        loop.notice_work.wake, loop.notice_work.start = notices.wake, _start_breathing
        loop.wake_files_within, loop.wake_store_within = files.wake_within, store.wake_within
        loop.wake_flow_within = flow.wake_within
        for worker in (files, flow, judge, scores, store, notices):
            worker.start()
        before_exit(self.await_scores)
        atexit.register(self.close)

    def _store_step(self, now: float) -> float:
        if not self.loop.store_work.is_wanted:
            with breathing():  # an agent is near: what takes long to load is loaded
                from ..storage import Store  # noqa: F401
        return self.loop.store_work.step(now)

    def _files_step(self, now: float) -> float | None:
        self.look_at_settings()
        pause = self.loop.files.step(now)
        return _LOOK_SECONDS if pause is None else min(pause, _LOOK_SECONDS)

    def _score_step(self, now: float) -> float | None:
        with breathing():
            return self.loop.score_work.step(now)

    def _judge_step(self, now: float) -> float:
        return self.loop.judge_work.step(now)

    def settle(self, seconds: float | None = None) -> bool:
        """Wait until the runs so far are written, judged and told.

        It blocks the thread; on an event loop, await `settled`.

        Args:
            seconds: How long at most, also for a store that does not answer; None for `EXIT_SECONDS`, and not for such
                a store: what waits for it in the journal counts as written.

        Returns:
            Whether they are.
        """
        deadline = time.monotonic() + (EXIT_SECONDS if seconds is None else seconds)
        # In this order: a hook that ends leaves a grade to be written.
        pause = _POLL_SECONDS
        while not (self.hooks.is_flushed and self._is_settled(may_be_away=seconds is None)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(1.2 * pause, _LONGEST_POLL_SECONDS)
        return True

    async def settled(self, seconds: float | None = None) -> bool:
        """Do what `settle` does, without blocking the event loop."""
        deadline = time.monotonic() + (EXIT_SECONDS if seconds is None else seconds)
        pause = _POLL_SECONDS
        while not (self.hooks.is_flushed and self._is_settled(may_be_away=seconds is None)):
            if time.monotonic() >= deadline:
                return False
            import asyncio  # at hand where a loop runs; a command has none

            await asyncio.sleep(pause)
            pause = min(1.2 * pause, _LONGEST_POLL_SECONDS)
        return True

    def _is_settled(self, *, may_be_away: bool) -> bool:
        """Have the threads do what is left, and return whether nothing is."""
        if not self._workers or (self.loop.is_idle and (may_be_away or not self.loop.core.breaker.is_open)):
            return True
        self.loop.judge_work.is_hurried = self.loop.store_work.is_hurried = True
        for worker in self._workers:
            worker.wake()
        return False

    def await_scores(self) -> None:
        """Wait for scorers that are under way, at most `quality.exit_wait`, or until a Ctrl-C; then give them up.

        It blocks the thread.
        """
        work = self.loop.score_work
        deadline = time.monotonic() + work.exit_seconds
        try:
            while not work.is_idle and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            failsafe.logger.warning("autotune: the scorers that were still at work are not waited for")
        if not work.is_idle:
            from ..quality.command_scorer import end_commands

            work.give_up()
            end_commands()

    def close(self, seconds: float = EXIT_SECONDS) -> None:
        """Wait for scorers, let the threads end what they are at, at most so many seconds, and close the store."""
        if "loop" not in vars(self):
            return  # nothing worked, so nothing is open
        self.await_scores()
        deadline = time.monotonic() + seconds
        is_away = self.loop.core.breaker.is_open  # the journal keeps what waits, so the process ends
        self.settle(None if is_away else _SHARE_TO_SETTLE * seconds)
        workers, self._workers = self._workers, ()
        if workers:
            atexit.unregister(self.close)
            ended = [worker.stop(deadline - time.monotonic()) for worker in workers]
        else:
            self.loop.close()
            ended = []
        store, self._store = self._store, None
        if store is not None and all(
            ended
        ):  # a thread that still works keeps its connection, and ends with the process
            store.close()

    def after_fork(self) -> None:
        """Work in a forked child: threads, streams, journal and connections are its own, and its parent's stay."""
        snapshot, age = self.loop.memory.snapshot, self.loop.memory.age
        self.loop.files.forget_after_fork()
        self.hooks.forget_after_fork()
        self._workers = ()
        self._opening = threading.Lock()
        self._store = None
        self.loop = self._new_loop()
        self.loop.memory.replace(snapshot, age)

    def _new_loop(self) -> TuningLoop:
        from .loop import TuningLoop

        return TuningLoop(
            self.settings,
            self._store_behind,
            self.hooks,
            self._folder() if self._with_files and can_tune() else None,
            self.options,
            self.ready,
            self._clock,
            self._wall_clock,
            self._random,
            self.project,
        )

    def _folder(self) -> Path:
        """Return where journal and snapshot are: beside the store's file, or in a folder for each other store.

        Each environment but the default one has a folder of its own there.
        """
        url = self._resolver.database_url
        file = None if url is None else file_of_url(url)
        folder = folder_of(self.project) if file is None else file.parent
        others = [] if url is None or file is not None else [url]
        if self.environment != DEFAULT_ENVIRONMENT:
            others.append(self.environment)
        if not others:
            return folder
        return folder / f"autotune-{hashlib.sha256(chr(10).join(others).encode()).hexdigest()[:8]}"

    def _register_hooks(self) -> None:
        from victor_autotune_hooks import built_in

        for name, plugin in built_in(lambda: self.loop, lambda: self.resolver, self.hooks.behind):
            self.hooks.register(plugin, name)


@define(eq=False)
class _Start:
    """A runtime that is made and started on a thread of its own."""

    at: float
    over: Signal = field(factory=Signal)
    error: Exception | None = None
    waits_until: float | None = None
    """Until when runs wait for it, in monotonic seconds, once the first one does; later runs wait no more."""

    def seconds_left(self) -> float:
        """Return how long a run waits for it now."""
        now = time.monotonic()
        if self.waits_until is None:
            self.waits_until = now + FIRST_RUN_SECONDS
        return self.waits_until - now


_lock = threading.Lock()
_runtime: Runtime | None = None
_start: _Start | None = None


def runtime() -> Runtime:
    """Return the process's runtime; the first call makes it, for the project that Victor works on.

    It reads files, so an event loop calls `current` instead.

    Raises:
        SettingsError: If the settings are wrong.
    """
    global _runtime
    if _runtime is None:
        with _lock:
            if _runtime is None:
                _runtime = Runtime(project_folder())
    return _runtime


def made() -> Runtime | None:
    """Return the process's runtime, or None when no team has run yet."""
    return _runtime


def warm_up() -> None:
    """Have the runtime made and started behind, unless it is; a team is near. Costs microseconds."""
    global _start
    if _start is not None and (_start.error is None or time.monotonic() - _start.at < _AGAIN_SECONDS):
        return
    start = _start = _Start(time.monotonic())
    _thread.start_new_thread(_make_and_start, (start,))  # which, unlike `Thread.start`, waits for nothing


def _load_prices() -> None:
    with breathing():
        public_prices.load()


def _start_breathing(name: str, job: Callable[[], None]) -> None:
    def work() -> None:
        with breathing():  # what sends is imported with the first one
            job()

    start_once(name, work)


def _make_and_start(start: _Start) -> None:
    try:
        if start is _start:  # else another runtime was put in place before this thread ran
            with breathing():
                runtime().start()
    except Exception as error:
        start.error = error
    finally:
        start.over.set()


async def current() -> Runtime | None:
    """Return the process's runtime when it has read its settings; None when that takes too long for a run to wait.

    Raises:
        SettingsError: If the settings are wrong.
    """
    known = _runtime
    if known is not None and _start is not None and _start.over.is_set and _start.error is None:
        return known
    warm_up()
    start = _start
    if start is None or not await start.over.wait(start.seconds_left()):
        return None
    if start.error is not None:
        raise start.error
    return _runtime


async def ready(owner: Runtime) -> None:
    """Have the store opened, and wait a moment for a snapshot where this process has none yet, or an old one.

    Without one the run goes on as configured, with an old one under the live plan, and is recorded.
    """
    owner.loop.want_store()
    owner.want_prices()
    start = _start
    if not owner.is_ready and start is not None:
        await owner.ready.wait(start.seconds_left())


def use(replacement: Runtime | None) -> Runtime | None:
    """Replace the process's runtime.

    Args:
        replacement: The new one, or None to make one at the next run.

    Returns:
        The one before, still open, or None.
    """
    global _runtime, _start
    with _lock:
        before, _runtime = _runtime, replacement
        _start = None
    return before


def _after_fork() -> None:
    global _lock, _start
    _lock = threading.Lock()
    _start = None
    if _runtime is not None:
        with failsafe.guard("start of a forked process"):
            _runtime.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def project_folder() -> Path:
    """Return the project's folder: the one Victor works on when it is loaded, else the current one."""
    victor_settings = sys.modules.get("victor.config.settings")
    if victor_settings is not None:
        return Path(victor_settings.get_project_paths().project_root)
    return Path.cwd()
