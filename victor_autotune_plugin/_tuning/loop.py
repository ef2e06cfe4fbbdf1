"""The loop of a team's runs: the plan of the next one from memory, and what it was, behind.

```
draft ─▶ awaits_approval ─▶ canary ─▶ testing ─▶ (probation) ─▶ (awaits_promotion) ─▶ proven ◀─▶ reverifying
              │                └──────────┴───────────┴─▶ failed, inconclusive            └─▶ rolled_back, superseded
              ▼
           aborted
```

`_model.experiment.STATES` is the table. In mode `auto` no person is asked. A person may end or pause at every point.

On the event loop a run only reads memory and hands over what to write. Threads, or a simulator in their place, commit
it (`store_work`), keep what can't be committed in a journal (`file_work`), and judge it (`judge_work`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any, Final

from .. import failsafe
from .._model.plan import TeamSpec
from .._model.process import ProcessId
from .._model.quantities import DEFAULT_ENVIRONMENT
from .._model.run import PlannedRun, RunStart, TeamRun
from .._settings import public_prices
from ..storage.journal import FOLDER_NAME, EndEntry, FlowEntry, Journal, PriceEntry, ScoreEntry, StartEntry
from ..storage.kept_outputs import KeptOutputs
from ..storage.snapshot_file import SnapshotFile
from ..storage.stream_slots import StreamSlots
from .file_work import FileWork, NoFiles
from .flow_work import FlowWork, TracedRun
from .hookmanager import HookManager
from .judge_work import JudgeWork
from .notice_work import NoticeWork
from .notices import notice_of_cap
from .prune_work import PruneWork
from .score_work import IS_SCORING
from .scoring import EndedRun, Scoring
from .snapshot import PLAN_SECONDS, TESTING, Memory, choose, needs_arms, stream_key
from .store_work import SlotRequest, StoreWork
from .waiting import Signal
from .writer import (
    END_COMMIT_SECONDS,
    GATHER_SECONDS,
    NEVER,
    PART_COMMIT_SECONDS,
    START_COMMIT_SECONDS,
    CircuitBreaker,
    Item,
    WriterCore,
)

if TYPE_CHECKING:
    from .._dataflow.trace import RunTrace
    from .._model.data_flow import RunFlow
    from .._model.notice import Webhook
    from .._model.score import Score
    from .._settings import Settings
    from ..storage import Store

START_SECONDS: Final = 0.03
"""How long a run with an arm waits until its start is durable."""

END_SECONDS: Final = 0.07
"""How long a result waits until its record is durable: 50 ms for the store, then 20 ms for the journal."""

SLOT_SECONDS: Final = 0.03
"""How long the first run of a test waits for a stream of arms."""

_MOST_STEPS: Final = 100_000

GRADE_SECONDS: Final = 30.0
"""How long the judge waits for the grade and the data flow of a run; a process that dies meanwhile leaves it with the
built-in grade and without a data flow."""


class TuningLoop:
    """What the hooks of a run call, and the work that threads do behind it.

    Args:
        settings: Resolves a team's settings, for runs that start without; its second argument is the workflow's own
            `metadata.autotune`.
        open_store: Opens the store.
        folder: Victor's folder of the project, for the journal and the snapshot; None to write no files.
        options: Gives the settings of the process, with the sections `store`, `retention` and `journal`.
        ready: Set when there is a snapshot of the store.
        clock: Monotonic seconds.
        wall_clock: Unix seconds.
        random: What ids and pauses are drawn from; None for the system's randomness.
        project: Folder that the runs work in.
    """

    def __init__(
        self,
        settings: Callable[[TeamSpec, Any], Settings],
        open_store: Callable[[], Store],
        hooks: HookManager,
        folder: Path | None,
        options: Callable[[], Settings],
        ready: Signal,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Random | None = None,
        project: Path | None = None,
    ) -> None:
        random = random or SystemRandom()  # the user's own sequence of random numbers is not disturbed
        self.memory = Memory(clock, random)
        self.process = ProcessId.new(random, wall_clock())
        self.wake_store: Callable[[], None] = _no_thread
        self.wake_store_within: Callable[[float], None] = _no_thread_within
        self.wake_files: Callable[[], None] = _no_thread
        self.wake_files_within: Callable[[float], None] = _no_thread_within
        self.wake_judge: Callable[[], None] = _no_thread
        self.wake_flow_within: Callable[[float], None] = _no_thread_within
        self._settings = settings
        self._hooks = hooks
        self._options = options
        self._clock = clock
        self._items: dict[str, Item] = {}
        self._traces: dict[str, RunTrace] = {}
        self._awaited: dict[str, set[str]] = {}
        """What is still to come of runs that ended: `grade`, `flow`."""
        self._settling = threading.Lock()  # never taken on an event loop
        self.core = WriterCore(CircuitBreaker(random.random), self._lost)
        own = options()
        journal: Journal | None = None
        self.files: FileWork | NoFiles = NoFiles(self.core)
        if folder is not None:
            most_bytes = round(own.journal.max_megabytes * 1e6)
            journal = Journal(folder / FOLDER_NAME, self.process, most_bytes=most_bytes, fsync=own.journal.fsync)
            self.files = FileWork(
                self.core,
                self.memory,
                self.process,
                journal,
                SnapshotFile(folder),
                StreamSlots(folder, random_bytes=random.randbytes),
                wall_clock,
                KeptOutputs.of(folder.parent if project is None else project),
            )
        self.flow_work = FlowWork(self._flowed)
        self.store_work = StoreWork(
            open_store,
            self.core,
            self.memory,
            self.process,
            journal,
            on_commit=self._committed,
            on_snapshot=self._new_snapshot,
            on_look=self._tell_awaiting,
            remove_journal=self._remove_journal,
            silent_seconds=own.store.silent_after,
            ready=ready,
            pruning=PruneWork(self.memory, lambda: options().retention),
            before_commit=self.flow_work.before_commit,
        )
        self.scoring = Scoring(
            self.memory,
            hooks,
            settings,
            project or Path(),
            self._scored,
            lambda: self.store_work.store,
            clock,
            wall_clock,
        )
        self.score_work = self.scoring.work
        self.judge_work = JudgeWork(
            lambda: self.store_work.store,
            self.memory,
            hooks,
            self.process.id,
            on_change=self._changed,
            breaker=CircuitBreaker(random.random),
            webhooks=self._webhooks,
        )
        self.notice_work = NoticeWork(lambda: self.store_work.store, self._webhooks, CircuitBreaker(random.random))
        self._wall_clock = wall_clock
        self.score_work.on_cap = self._cap_reached

    # --- on the event loop

    def want_store(self) -> None:
        """Have the store opened: a team runs here."""
        if not self.store_work.is_wanted:
            self.store_work.is_wanted = True
            self.wake_store()

    async def prepare(self, event: RunStart) -> None:
        """Get a stream of arms for a run that takes part in a test, if the process has none for it yet."""
        request = self.missing_stream(event)
        if request is None:
            return
        if self.core.store_answers:
            self.store_work.slot_requests.append(request)
            self.wake_store()
        else:
            self.files.slot_requests.append(request)
            self.wake_files()
        await request.served.wait(SLOT_SECONDS)

    def missing_stream(self, event: RunStart) -> SlotRequest | None:
        """Return the request for the stream of arms that a run needs and the process does not have, or None."""
        settings = self._settings_of(event)
        experiment = self.memory.snapshot.open_experiment(event.spec.key) if settings.mode in TESTING else None
        if experiment is None or not needs_arms(experiment, settings):
            return None
        if self.memory.streams.has(stream_key(experiment)):
            return None
        return SlotRequest.of(experiment)

    def known_spec(self, spec: TeamSpec, settings: Settings) -> TeamSpec:
        """Return in the terms of which definition a run of a team is told.

        Args:
            spec: The definition that the team has.
            settings: Its settings. A plan that they fix is for the definition as it stands.
        """
        memory = self.memory
        if settings.mode == "observe" or settings.plan is not None or memory.age > PLAN_SECONDS:
            return spec
        return memory.snapshot.known_spec(spec)

    def plan(self, event: RunStart) -> PlannedRun:
        """Choose the plan of a run, from memory."""
        memory = self.memory
        settings = self._settings_of(event)
        memory.remember(event.spec.key, settings)
        return choose(
            memory.snapshot,
            event,
            settings,
            memory.age,
            memory.streams,
            test_seconds=self._options().store.snapshot_ttl,
            held=memory.held,
        )

    def started(self, event: RunStart, planned: PlannedRun) -> None:
        """Hand over that a run starts; the end tells all of it again, but that it had an arm when its process died."""
        after = NEVER if planned.assignment is None else START_COMMIT_SECONDS
        patience = GATHER_SECONDS if after == NEVER else 0.0
        entry = StartEntry(event, planned, self.process.id)
        self._submit(event.run_id, Item(entry, self._clock(), after, patience=patience))

    def traced(self, run_id: str, trace: RunTrace) -> None:
        """Hand over what was noted of a run's data flow, before the run itself is handed over."""
        self._traces[run_id] = trace

    def wants_outputs(self, spec: TeamSpec, settings: Settings) -> bool:
        """Return whether anything looks at what a team delivers, so that it is to be handed over to `to_score`."""
        quality = settings.quality
        if quality.scorers or quality.keep_outputs is not None or self._hooks.scores_runs:
            return not IS_SCORING.get()
        state = self.memory.snapshot.teams.get(spec.key)  # a run that delivered nothing has its score by that
        return state is not None and bool(state.gates) and not IS_SCORING.get()

    def to_score(self, run: TeamRun, text: str, members: Mapping[str, str]) -> None:
        """Hand over what a run delivered, blank for nothing, before the run itself is handed over."""
        self.scoring.to_score(run, text, members)

    def finished(self, run: TeamRun) -> None:
        """Hand over what a run was."""
        trace = self._traces.pop(run.run_id, None)
        if self.flow_work.is_full:
            trace = None
        graders = self._hooks.has_graders
        # The first runs of a process may end before the public prices are loaded, and wait for no import.
        unpriced = run.cost_usd is None and bool(run.tokens) and not public_prices.is_loaded
        unpriced = unpriced and self._options().public_prices
        awaited = {"grade"} if graders or unpriced else set()
        if trace is not None:
            awaited.add("flow")
        if awaited:
            self._awaited[run.run_id] = awaited
        ended = EndedRun(run, is_to_score=False)
        with failsafe.guard("score of a run"):
            settings = self.memory.settings.get(run.spec.key)
            if settings is None or self.wants_outputs(run.spec, settings):
                ended = self.scoring.ended(run)
        entry = EndEntry(ended.run, GRADE_SECONDS if awaited else None, ended.gates, ended.score_seconds)
        now = self._clock()
        patience = self.core.patience_at_end(now, run.duration_seconds)
        item = self._items[run.run_id] = Item(entry, now, END_COMMIT_SECONDS, run.spec.key, patience)
        self.core.submit(item)
        if trace is not None:  # behind the end, and before the store thread is woken to commit both
            self.wake_flow_within(self.flow_work.submit(TracedRun(run, trace, now)))
        self._wake_for(item)
        if ended.is_to_score:
            with failsafe.guard("score of a run"):
                self._score(ended)
        if unpriced and not graders:
            self._hooks.behind(lambda: self.graded(self._hooks.valued(run)))

    def _score(self, ended: EndedRun) -> None:
        self.scoring.submit(ended)
        if ended.output is None:
            return
        seconds = self.scoring.settings_of(ended.run).quality.keep_outputs
        if seconds is not None:
            self.files.keep_output(ended.run.run_id, ended.output.text, ended.run.ended_at + seconds)
            self.wake_files()

    async def durable(self, run_id: str, seconds: float) -> None:
        """Wait until what was handed over last of a run survives the death of the process."""
        item = self._items.pop(run_id, None)
        # Where both failed at the last try, a run would only lose the time.
        if item is not None and (self.core.store_answers or self.core.journal_answers):
            await item.settled.wait(seconds)

    def graded(self, run: TeamRun) -> None:
        """Hand over the cost of a run, which hooks gave behind it; called by a hook thread."""
        is_last = self._came(run.run_id, "grade")
        self._complete(run, PriceEntry(run.run_id, run.cost_usd, is_last))

    def _flowed(self, run: TeamRun, flow: RunFlow | None) -> None:
        """Hand over the data flow of a run; called by the data-flow thread."""
        is_last = self._came(run.run_id, "flow")
        self._complete(run, FlowEntry(run.run_id, flow, is_last))

    def _came(self, run_id: str, part: str) -> bool:
        """Note that a part of a run came, and return whether it was the last one."""
        with self._settling:
            awaited = self._awaited.get(run_id, set())
            awaited.discard(part)
            if not awaited:
                self._awaited.pop(run_id, None)
            return not awaited

    def _scored(self, run: TeamRun, score: Score) -> Callable[[], bool]:
        """Hand over a score of a run; called by scoring threads. Return what tells whether it is written."""
        item = self._complete(run, ScoreEntry(score))
        if score.value is not None:
            from .._telemetry import metrics

            metrics.record_score(score.value, score.name, run.spec.workflow, run.spec.team_id)
        return lambda: item.settled.is_set

    def _complete(self, run: TeamRun, entry: PriceEntry | FlowEntry | ScoreEntry) -> Item:
        item = Item(entry, self._clock(), PART_COMMIT_SECONDS, run.spec.key, GATHER_SECONDS)
        self.core.submit(item)
        if self.flow_work.is_before_commit:  # the store thread takes it in a moment
            self.wake_files_within(item.journal_after)
        else:
            self._wake_for(item)
        return item

    def _settings_of(self, event: RunStart) -> Settings:
        return event.settings or self._settings(event.spec, event.metadata)

    def _submit(self, run_id: str, item: Item) -> None:
        self._items[run_id] = item
        self.core.submit(item)
        self._wake_for(item)

    def _wake_for(self, item: Item) -> None:
        self.wake_store_within(item.patience)
        if item.journal_after != NEVER:
            self.wake_files_within(item.journal_after if self.core.store_answers else 0.0)

    # --- between the threads

    def _committed(self, keys: Any) -> None:
        self.judge_work.touch(keys)
        self.wake_judge()

    def _new_snapshot(self, snapshot: Any) -> None:
        self.files.save_snapshot(snapshot)
        self.wake_files()

    def _remove_journal(self, last_line: int) -> None:
        self.files.remove_journal(last_line)
        self.wake_files()

    def _tell_awaiting(self, store: Store) -> None:
        """Record what awaits a person of the teams that run here."""
        from .._telemetry import metrics

        if not (self.memory.settings and metrics.are_recorded()):
            return
        with failsafe.guard("telemetry.awaiting"):
            waiting = Counter((one.workflow, one.team_id) for one in store.experiments_that_await())
            for key in tuple(self.memory.settings):
                metrics.record_awaiting(waiting[key], *key)

    def _changed(self) -> None:
        self.store_work.wants_refresh = True
        self.wake_store()
        self.notice_work.wake()

    def _webhooks(self) -> tuple[Webhook, ...]:
        return self._options().notify

    def _cap_reached(self, day: float, cap: float) -> None:
        store = self.store_work.store
        if store is not None:
            self.notice_work.submit(
                notice_of_cap(self._wall_clock(), day, cap, store.environment or DEFAULT_ENVIRONMENT)
            )

    @staticmethod
    def _lost(count: int) -> None:
        failsafe.report("runs lost", RunsLostError(f"neither the store nor the journal took {count} records"))

    # --- in place of the threads

    def run_until_idle(self) -> None:
        """Do what the threads would do, here and now, until nothing is left; for a simulator."""
        self.store_work.is_wanted = True
        for _ in range(_MOST_STEPS):
            now = self._clock()
            self.store_work.is_hurried = True
            self.store_work.step(now)
            self.files.step(now)
            self.flow_work.step(now)
            self.score_work.step(now)
            self.judge_work.is_hurried = True
            self.judge_work.step(now)
            self.notice_work.step(now)
            if self.is_idle:
                return
        raise RuntimeError(f"there was still something to do after {_MOST_STEPS} steps")

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left that the threads could do now: what waits for a store that is away is journaled."""
        if not self.score_work.is_idle or not self.core.is_settled or not self.flow_work.is_idle:
            return False
        if self.core.breaker.is_open:
            return True
        return self.store_work.is_idle and self.judge_work.is_idle and not self.store_work.wants_refresh

    def close(self) -> None:
        """Give back what the process holds."""
        self.judge_work.close()
        self.files.close()
        self.store_work.close()


class RunsLostError(Exception):
    """Records of runs are lost, since the store and the journal failed together."""


def _no_thread() -> None:
    """Wake no thread: a simulator calls the steps itself."""


def _no_thread_within(_seconds: float) -> None:
    """Wake no thread."""
