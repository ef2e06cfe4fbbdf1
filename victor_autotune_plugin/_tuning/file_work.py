"""What the file thread does: the journal, the snapshot's file, and streams of arms before the store is reached.

It never touches the database, since it is needed exactly when the store thread is stuck there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .. import failsafe
from ..errors import StoreError
from ..storage.journal import Journal, JournalFullError
from ..storage.kept_outputs import KeptOutputs
from ..storage.snapshot_file import SnapshotFile
from ..storage.stream_slots import StreamSlots
from .snapshot import Memory, Snapshot
from .store_work import SlotRequest
from .streams import Slot
from .writer import WriterCore

if TYPE_CHECKING:
    from .._model.process import ProcessId

RETRY_SECONDS: Final = 1.0
"""How long a journal that failed is left alone."""

MOST_OUTPUTS: Final = 64
"""Outputs of runs that wait to be written at most; those of further runs are not kept."""

LOOK_SECONDS: Final = 60.0
"""How often outputs are looked for that have expired."""

SAVE_SECONDS: Final = 1.0
"""How often a snapshot that changes is left in the file: it costs more than all else that is done here."""

RENEW_SECONDS: Final = 30.0
"""After how long the file says again that a snapshot holds which has not changed: processes go by the file's age."""


class FileWork:
    """The work of the file thread.

    Args:
        wall_clock: Unix seconds, which a file's age is told by.
        outputs: The outputs that are kept for a person to rate.
    """

    def __init__(
        self,
        core: WriterCore,
        memory: Memory,
        process: ProcessId,
        journal: Journal,
        snapshot_file: SnapshotFile,
        slots: StreamSlots,
        wall_clock: Callable[[], float],
        outputs: KeptOutputs,
    ) -> None:
        self.slot_requests: deque[SlotRequest] = deque()
        self._core = core
        self._memory = memory
        self._process = process
        self._journal = journal
        self._file = snapshot_file
        self._slots = slots
        self._wall_clock = wall_clock
        self._kept = outputs
        self._outputs: deque[tuple[str, str, float]] = deque()
        self._next_look = float("-inf")
        self._tasks: deque[Callable[[], None]] = deque()
        self._unsaved: deque[tuple[Snapshot, float]] = deque(maxlen=1)
        self._next_save = float("-inf")
        self._journal_not_before = float("-inf")
        self._in_file: tuple[str, int, bool] | None = None
        self._in_file_since = 0.0

    @property
    def journal_lines(self) -> int:
        """How many entries this process has written to its journal."""
        return self._journal.last_line

    def load_snapshot(self) -> None:
        """Take the snapshot from its file, if there is one."""
        saved = self._file.load()
        if saved is None:
            return
        snapshot = Snapshot().updated(
            saved.store_id, saved.revision, saved.teams, saved.experiments, paused=saved.paused
        )
        self._in_file, self._in_file_since = (saved.store_id, saved.revision, saved.paused), saved.taken_at
        # A file from the future is as good as one of now; the store is asked in a moment.
        self._memory.replace(snapshot, max(0.0, self._wall_clock() - saved.taken_at))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Have a snapshot that holds now left in the file, unless it is in it; called by the store thread."""
        self._unsaved.append((snapshot, self._wall_clock() - self._memory.age))  # the file is written later

    def remove_journal(self, last_line: int) -> None:
        """Have the journal removed if nothing was added after this line; called by the store thread."""

        def remove() -> None:
            self._journal.remove(last_line)

        self._tasks.append(remove)

    def keep_output(self, run_id: str, text: str, until: float) -> None:
        """Have the output of a run kept until a Unix time; called by runs."""
        if len(self._outputs) < MOST_OUTPUTS:
            self._outputs.append((run_id, text, until))

    def step(self, now: float) -> float | None:
        """Do what is due.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds after which to call again; None to wait for something new.
        """
        self._write_journal(now)
        while self.slot_requests:
            with failsafe.guard("taking a stream of arms"):
                self._serve(self.slot_requests[0])
            self.slot_requests.popleft().served.set()
        self._do_tasks()
        if now >= self._next_save:
            self._save_last(now)
        self._keep_outputs(now)
        pause = self._core.seconds_until_due(now)
        if pause is not None:
            pause = max(pause, self._journal_not_before - now)
        if not self._unsaved:
            return pause
        until_save = max(0.0, self._next_save - now)
        return until_save if pause is None else min(pause, until_save)

    def close(self) -> None:
        """Leave the last snapshot, and give back what came from the file. Raises nothing."""
        if self._core.is_drained:
            self.remove_journal(self._journal.last_line)
        self._do_tasks()
        self._save_last(0.0)
        self._write_outputs()
        for (experiment_id, phase, _), slot in self._memory.streams.held():
            if slot.source == "file":
                self._slots.give_back(experiment_id, phase, slot.name, slot.next_index)
        self._slots.close()

    def forget_after_fork(self) -> None:
        """Close what a forked child has of its parent's files, without a trace in them."""
        self._journal.forget_after_fork()
        self._slots.forget_after_fork()

    def _do_tasks(self) -> None:
        while self._tasks:
            with failsafe.guard("file of the journal"):
                self._tasks[0]()
            self._tasks.popleft()

    def _save_last(self, now: float) -> None:
        if not self._unsaved:
            return
        snapshot, taken_at = self._unsaved.pop()
        saved = snapshot.store_id, snapshot.revision, snapshot.paused
        if saved == self._in_file and abs(taken_at - self._in_file_since) < RENEW_SECONDS:
            return
        self._next_save = now + SAVE_SECONDS
        with failsafe.guard("file of the snapshot"):
            teams, experiments = tuple(snapshot.teams.values()), tuple(snapshot.experiments.values())
            self._file.save(snapshot.store_id, snapshot.revision, taken_at, teams, experiments, paused=snapshot.paused)
            self._in_file, self._in_file_since = saved, taken_at
            self._slots.keep_only(frozenset(snapshot.experiments))

    def _keep_outputs(self, now: float) -> None:
        self._write_outputs()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            with failsafe.guard("removal of expired outputs"):
                self._kept.remove_expired(self._wall_clock())

    def _write_outputs(self) -> None:
        while self._outputs:
            with failsafe.guard("keeping of an output"):
                self._kept.keep(*self._outputs.popleft())

    def _write_journal(self, now: float) -> None:
        if now < self._journal_not_before:
            return
        items = self._core.due(now)
        if not items:
            return
        try:
            last_line = self._journal.append([item.entry for item in items])
        except StoreError as error:
            failsafe.report("journal", error)
            self._journal_not_before = now + RETRY_SECONDS
            self._core.not_journaled(items)
            return
        self._core.journaled(items, last_line)
        if self._journal.warns_of_bound():
            nearly = JournalFullError(
                "the journal is nearly full; beyond its bound the records of runs are lost",
                where=str(self._journal.path),
                hint="Make the store answer again, or raise journal.max_megabytes.",
            )
            failsafe.report("size of the journal", nearly)

    def _serve(self, request: SlotRequest) -> None:
        experiment_id, phase, stage = request.key
        streams = self._memory.streams
        if streams.has(request.key):
            return
        held = streams.of(request.key)
        if held is not None and held.source == "file" and held.end is not None:
            end = held.end + request.block
            if self._slots.reserve(experiment_id, phase, held.name, end):
                held.end = end
                return
        taken = self._slots.take_slot(experiment_id, phase, request.block, self._process, stage)
        if taken is not None:
            slot = Slot(taken.name, taken.next_index, "file", taken.end)
            if not streams.hold(request.key, slot):
                self._slots.give_back(experiment_id, phase, slot.name, slot.next_index)


class NoFiles:
    """In place of the work with files where none may be written, as in a simulation: runs wait for the store alone."""

    def __init__(self, core: WriterCore) -> None:
        self.slot_requests: deque[SlotRequest] = deque()
        self._core = core

    def load_snapshot(self) -> None:
        """Have none."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Leave it in memory."""

    def remove_journal(self, last_line: int) -> None:
        """Have none."""

    def keep_output(self, run_id: str, text: str, until: float) -> None:
        """Keep none."""

    def step(self, now: float) -> float | None:
        """Leave runs to the store, and let those without a stream of arms take a fresh one.

        Args:
            now: Monotonic seconds.
        """
        self._core.not_journaled(self._core.due(now))
        while self.slot_requests:
            self.slot_requests.popleft().served.set()
        return None

    def close(self) -> None:
        """Hold nothing."""

    forget_after_fork = close
