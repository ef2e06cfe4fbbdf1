"""What the store thread does: it commits what was submitted, refreshes the snapshot, and drains journals.

Each step does what is due and says when it wants to be called again. Fresh runs come before everything else, and what
waits in journals is drained in small pieces between them, so that no run waits for a backlog.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .. import failsafe
from .._model.assignment import block_length, stream_of
from .._model.plan import EMPTY_PLAN
from .._model.text import clean, plan_text
from ..errors import StoreBusyError, StoreError, StoreUnavailableError, StoreVersionError
from ..storage.journal import (
    EndEntry,
    Entry,
    FlowEntry,
    Journal,
    JournalError,
    OrphanJournal,
    PriceEntry,
    orphans,
    read,
)
from ..storage.journal_entries import run_of
from .prune_work import PruneWork
from .snapshot import CANARY_WAITS, Memory, Snapshot, needs_arms, shares_of, stream_key
from .streams import Slot, StreamKey
from .waiting import Signal
from .writer import GATHER_SECONDS, Item, WriterCore

if TYPE_CHECKING:
    from .._model.experiment import Experiment
    from .._model.process import ProcessId
    from ..storage import Store

REFRESH_SECONDS: Final = 0.75
"""How often the store is asked for something newer while teams run; a busy host gets its answer a little later."""

IDLE_SECONDS: Final = 60.0
"""After how long without a run the process counts as idle, and asks with the heartbeat only."""

BEAT_SECONDS: Final = 10.0
"""How often the process says that it lives."""

BACKLOG_ROWS: Final = 50
"""Entries of a journal in one transaction: a few milliseconds, for which a fresh run may have to wait."""

NOTE_SECONDS: Final = 1.0
"""How often the store is told up to which line the journal is drained, and the file removed if that is all of it."""

ORPHANS_SECONDS: Final = 30.0
"""How often journals of dead processes are looked for."""

_MOST_BATCHES: Final = 8
# A busy host submits as fast as the store takes it, and the snapshot is not to grow old meanwhile.

RESERVED_BLOCKS: Final = 16
"""Blocks of a stream that a process may use before it asks the store for more.

A process that was cut off, or slept, may be taken for dead while it goes on; its stream is then another's, behind what
was reserved, and so no place is used twice. One that dies leaves them unused.
"""

_VERSION_SECONDS: Final = 60.0
# A store of a newer version stays so; it is asked again in case a person went back.


@frozen
class SlotRequest:
    """A run needs a stream of arms.

    Attributes:
        key: Experiment, phase and stage.
        block: Length of a block, in runs.
        served: Set when it has one.
    """

    key: StreamKey
    block: int
    served: Signal

    @classmethod
    def of(cls, experiment: Experiment) -> SlotRequest:
        """Return the request for the open stage of an experiment."""
        key = stream_key(experiment)
        return cls(key, block_length(shares_of(experiment, stream_of(key[2], ""))), Signal())


def _completes(entry: Entry) -> bool:
    """Return whether an entry says something of a run that has ended, and nothing without its end."""
    return isinstance(entry, PriceEntry | FlowEntry)


class _Backlog:
    """A journal that is being drained: of a dead process, or this one's own."""

    def __init__(
        self,
        process_id: str,
        entries: Callable[[int], Iterator[tuple[int, Entry]]],
        on_commit: Callable[[Collection[tuple[str, str]]], None],
    ) -> None:
        self.process_id = process_id
        self.on_commit = on_commit
        self._read = entries
        self._entries: Iterator[tuple[int, Entry]] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is being read."""
        return self._entries is not None

    def drain(self, store: Store) -> bool:
        """Write the next entries, each once, and return whether there may be more; others may have drained some."""
        if self._entries is None:
            with store.transaction() as transaction:
                self._entries = self._read(transaction.drained(self.process_id))
        piece = list(islice(self._entries, BACKLOG_ROWS))
        if not piece:
            self._entries = None
            return False
        try:
            self._write(store, piece)
        except BaseException:
            self._entries = None  # read again from what was committed
            raise
        return True

    def _write(self, store: Store, piece: Sequence[tuple[int, Entry]]) -> None:
        try:
            with store.transaction() as transaction:
                transaction.write_entries([entry for _, entry in piece], self.process_id)
                transaction.set_drained(self.process_id, piece[-1][0])
            self.on_commit({entry.run.spec.key for _, entry in piece if isinstance(entry, EndEntry)})
        except (StoreUnavailableError, StoreVersionError):
            raise
        except StoreError as error:  # one entry that the store refuses must not hold up the others
            if len(piece) > 1:
                for one in piece:
                    self._write(store, [one])
                return
            failsafe.report("draining of a journal", error)
            with store.transaction() as transaction:
                transaction.set_drained(self.process_id, piece[-1][0])


class StoreWork:
    """The work of the store thread.

    Args:
        open_store: Opens the store; called again after a failure to open.
        journal: This process's journal, which the file thread writes; None where no files are written.
        on_commit: Called with the teams of which finished runs were committed.
        on_snapshot: Called with the snapshot whenever the store has confirmed or renewed it, to leave it in its file.
        remove_journal: Has the file thread remove the journal if nothing was added after this line.
        silent_seconds: After how long without a heartbeat a process's runs are lost.
        ready: Set when the snapshot has come from the store.
        pruning: Lets old runs go when nothing else is due.
        before_commit: Submits what can be added to what is about to be committed.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        core: WriterCore,
        memory: Memory,
        process: ProcessId,
        journal: Journal | None,
        *,
        on_commit: Callable[[Collection[tuple[str, str]]], None],
        on_snapshot: Callable[[Snapshot], None],
        on_look: Callable[[Store], None],
        remove_journal: Callable[[int], None],
        silent_seconds: float,
        ready: Signal,
        pruning: PruneWork,
        before_commit: Callable[[], None],
    ) -> None:
        self.store: Store | None = None
        self.slot_requests: deque[SlotRequest] = deque()
        self.wants_refresh = False
        self.is_hurried = False
        """Whether entries are not to wait for others in the next step."""
        self._open = open_store
        self._core = core
        self._memory = memory
        self._process = process
        self._journal = journal
        self._on_commit = on_commit
        self._on_snapshot = on_snapshot
        self._on_look = on_look
        self._remove_journal = remove_journal
        self._silent_seconds = silent_seconds
        self._ready = ready
        self._pruning = pruning
        self._before_commit = before_commit
        self._next_refresh = self._next_beat = self._next_orphans = float("-inf")
        self._own = _Backlog(process.id, self._own_entries, on_commit)
        self._drained = self._noted = self._own_until = 0
        self._next_note = float("-inf")
        self._orphan: tuple[OrphanJournal, _Backlog] | None = None
        self._orphans: Iterator[OrphanJournal] = iter(())
        self._known_faults: dict[tuple[str, str], int] = {}
        self._is_at_work = self._is_to_mark = False
        self._has_backlog = True  # of dead processes; unknown until the store was reached
        self.is_wanted = False
        """Whether a team runs here, so that the store is opened, and made where there is none."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to commit or to drain."""
        if not self.is_wanted:
            return True
        done = self._core.is_drained and not self._has_backlog and not self.slot_requests
        return done and not self._is_at_work and self._core.is_settled

    def step(self, now: float) -> float:
        """Do what is due.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds after which to call again at the latest; 0 for at once.
        """
        if not self.is_wanted:
            return BEAT_SECONDS
        left = self._core.breaker.seconds_left(now)
        if left > 0:
            return left
        self._is_at_work = True
        try:
            store = self._opened()
            self._keep_fresh(store)
            if now >= self._next_beat:
                self._beat(store)
                self._next_beat = now + BEAT_SECONDS
            commits = self.is_hurried or self._core.seconds_until_wanted(now) <= 0
            self.is_hurried = False
            if commits:
                self._commit(store, now)
                self._keep_fresh(store)
            self._serve_slots(store)
            self._has_backlog = self._drain(store, now)
            if self._is_to_mark and not self._has_backlog:
                self._mark_lost(store)
        except StoreBusyError as error:  # someone else is writing: no outage, and the journal keeps what can't wait
            failsafe.report("store", error)
            return 0.0
        except StoreVersionError as error:
            failsafe.report("store", error)
            self._core.breaker.failed(now + _VERSION_SECONDS)
            return _VERSION_SECONDS
        except StoreError as error:
            failsafe.report("store", error)
            self._core.breaker.failed(now)
            return self._core.breaker.seconds_left(now)
        finally:
            self._is_at_work = False
        wanted = self._core.seconds_until_wanted(self._memory.now())
        if self._has_backlog or wanted <= 0 or self.slot_requests or self.wants_refresh:
            return 0.0
        pause = self._pruning.step(store, now)
        pause = min(pause, wanted)
        if commits:  # and so what comes meanwhile need not wake the thread
            pause = min(pause, GATHER_SECONDS)
        if self._noted < self._drained:
            pause = min(pause, self._next_note - now)
        return max(0.0, min(self._next_beat - now, self._next_refresh - now, pause))

    def close(self) -> None:
        """Give back what the process holds, and close the store. Raises nothing."""
        store, self.store = self.store, None
        if store is None:
            return
        with failsafe.guard("end of the store"):
            with store.transaction() as transaction:
                for (experiment_id, phase, _), slot in self._memory.streams.held():
                    if slot.source == "store":
                        transaction.give_back_stream(experiment_id, phase, slot.name, slot.next_index)
                transaction.set_drained(self._process.id, self._core.drained_line(self._drained))
                transaction.end_process(self._process.id)
            store.close()

    def _opened(self) -> Store:
        if self.store is None:
            self.store = self._open()
            self._core.is_connected = True
        return self.store

    # --- what was submitted

    def _commit(self, store: Store, now: float) -> None:
        early: list[Item] = []
        for _ in range(_MOST_BATCHES):  # what is left comes at once, after what else is due
            self._before_commit()
            if not (batch := self._core.take(now)):
                break
            if self._core.line_to_read():  # the end of a run may be in the journal alone: to ask each time costs a trip
                ended = {item.entry.run.run_id for item in batch if isinstance(item.entry, EndEntry)}
                waiting = [item for item in batch if _completes(item.entry) and run_of(item.entry) not in ended]
                early += waiting
                batch = [item for item in batch if item not in waiting]
            try:
                homeless = self._write(store, batch)
            except StoreError:
                self._core.not_committed([*early, *batch])
                raise
            except BaseException:  # a fault of this code: the others go on, and these stay in the journal
                self._core.not_committed(early)
                self._core.left_to_journal(batch)
                raise
            if homeless and self._core.line_to_read():  # the end of that run may be in the journal alone
                early += homeless
                batch = [item for item in batch if item not in homeless]
            keys = tuple(dict.fromkeys(item.team for item in batch if item.team is not None))  # in one order always
            if keys:
                self._on_commit(keys)  # before it counts as done, or all would seem idle for a moment
            self._core.committed([item for item in batch if not item.given_up])
            later = self._memory.now()
            if self._core.seconds_until_wanted(later) > 0 or later >= self._next_refresh:
                break
        self._core.not_committed(early)

    def _write(self, store: Store, batch: Sequence[Item]) -> list[Item]:
        """Write entries, and return those that found no place."""
        if not batch:
            return []
        try:
            left = {id(entry) for entry in store.write_entries([item.entry for item in batch])}
            return [item for item in batch if id(item.entry) in left]
        except (StoreUnavailableError, StoreVersionError):
            raise
        except StoreError:  # one of them has impossible figures; it must not hold up the others
            return [item for item in batch if not self._write_one(store, item)]

    def _write_one(self, store: Store, item: Item) -> bool:
        try:
            with store.transaction() as transaction:
                return transaction.write_entry(item.entry)
        except (StoreUnavailableError, StoreVersionError):
            raise
        except StoreError as error:
            failsafe.report("writing of a run", error)
            self._core.refused(item)
            return True

    # --- the snapshot

    def _keep_fresh(self, store: Store) -> None:
        """Refresh the snapshot if that is due: behind each thing that takes long, so that it waits for one at most."""
        now = self._memory.now()
        if self.wants_refresh or now >= self._next_refresh:
            self.refresh(store, now)

    def refresh(self, store: Store, now: float) -> None:
        """Renew the snapshot, or note that it holds; `now` is in monotonic seconds."""
        self.wants_refresh = False
        known = self._memory.snapshot
        asked_at = self._memory.now()
        found = store.identity()
        if (found.id, found.revision) == (known.store_id, known.revision):
            self._memory.confirm(asked_at)
        else:
            after = known.revision if found.id == known.store_id else -1
            with store.reading() as transaction:
                teams = transaction.changed_teams(after)
                needed = [name for state in teams for name in (state.experiment_id, state.live_id) if name is not None]
                experiments = transaction.open_experiments(needed)
            snapshot = known.updated(found.id, found.revision, teams, experiments, paused=found.paused)
            self._memory.replace(snapshot, self._memory.now() - asked_at)
            if found.id == known.store_id:
                self._tell_changed(known, snapshot)
            self._memory.streams.drop_all_but(snapshot.experiments)
            self._ask_for_slots(snapshot)
        self._ask_for_places(self._memory.snapshot)
        self._memory.held = self._held_canaries(store)
        self._on_snapshot(self._memory.snapshot)
        self._ready.set()
        self._on_look(store)
        active = now - self._memory.last_run_at < IDLE_SECONDS
        self._next_refresh = now + (REFRESH_SECONDS if active else BEAT_SECONDS)

    def _tell_changed(self, before: Snapshot, after: Snapshot) -> None:
        """Log which teams that run here have another plan now."""
        for key in tuple(self._memory.settings):
            old, new = before.teams.get(key), after.teams.get(key)
            was, now = EMPTY_PLAN if old is None else old.plan, EMPTY_PLAN if new is None else new.plan
            if was != now:
                failsafe.logger.info(
                    "autotune: the plan of team %s of workflow %s is now: %s; before: %s. Why: victor autotune history",
                    clean(key[1]),
                    clean(key[0]),
                    plan_text(now),
                    plan_text(was),
                )

    def _held_canaries(self, store: Store) -> frozenset[str]:
        """Return the canaries of which so many runs wait for their scores that they take no further one."""
        found = self._memory.snapshot.experiments.values()
        scored = [one for one in found if one.status == "canary" and one.gates]
        if not scored:
            return frozenset()
        with store.reading() as transaction:
            return frozenset(one.id for one in scored if transaction.waiting_treatments(one) >= CANARY_WAITS)

    def _ask_for_slots(self, snapshot: Snapshot) -> None:
        """Take streams for the teams that run here, before their next run needs one."""
        for key, settings in tuple(self._memory.settings.items()):
            experiment = snapshot.open_experiment(key)
            if experiment is None or not needs_arms(experiment, settings):
                continue
            if not self._memory.streams.has(stream_key(experiment)):
                self.slot_requests.append(SlotRequest.of(experiment))

    def _ask_for_places(self, snapshot: Snapshot) -> None:
        """Have more places reserved of the streams that come to their ends."""
        for key, slot in self._memory.streams.held():
            experiment = snapshot.experiments.get(key[0])
            if slot.is_low and slot.source == "store" and experiment is not None and stream_key(experiment) == key:
                self.slot_requests.append(SlotRequest.of(experiment))

    def _serve_slots(self, store: Store) -> None:
        while self.slot_requests:
            request = self.slot_requests[0]
            experiment_id, phase, stage = request.key
            streams = self._memory.streams
            held, reserved = streams.of(request.key), RESERVED_BLOCKS * request.block
            if held is not None and held.source == "store" and held.end is not None and held.is_low:
                end = held.end + reserved
                with store.transaction() as transaction:
                    goes_on = transaction.reserve_stream(experiment_id, phase, held.name, end)
                if goes_on:
                    held.end = end
                held.reserved = reserved if goes_on else 0  # it is another's by now, but for the places that are left
            if not streams.has(request.key):
                with store.transaction() as transaction:
                    name, index = transaction.take_stream(
                        experiment_id, phase, block=request.block, reserved=reserved, stage=stage
                    )
                end = index // request.block * request.block + reserved
                # Unless a run took a fresh one meanwhile.
                if not streams.hold(request.key, Slot(name, index, "store", end, reserved)):
                    with store.transaction() as transaction:
                        transaction.give_back_stream(experiment_id, phase, name, index)
            self.slot_requests.popleft()
            request.served.set()
            self._keep_fresh(store)

    # --- the process, and those that died

    def _beat(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.beat(self._process)
            for fault in failsafe.seen():
                key = (fault.where, fault.error)
                new = fault.count - self._known_faults.get(key, 0)
                if new > 0:
                    transaction.record_fault(fault.where, fault.error, fault.last_at, new)
                    self._known_faults[key] = fault.count
        self._is_to_mark = True

    def _mark_lost(self, store: Store) -> None:
        """Mark the runs of dead processes as lost, once their journals are read: some may have ended after all.

        Those that had ended wait no longer for scores that only their process could have given.
        """
        with store.transaction() as transaction:
            lost = transaction.mark_lost(self._silent_seconds)
            transaction.release_scores(self._silent_seconds)
        self._is_to_mark = False
        for run_id in lost:
            failsafe.logger.info("autotune: run %s is marked as lost: its process fell silent before it ended", run_id)

    def _drain(self, store: Store, now: float) -> bool:
        """Write the next piece of this process's journal, or of a dead one's; return whether there may be more."""
        if self._journal is None:
            return False
        if self._drain_own(store, now):
            return True
        if self._orphan is None:
            self._orphan = self._next_orphan(now, self._journal.path.parent)
            if self._orphan is None:
                return False
        orphan, backlog = self._orphan
        if not backlog.drain(store):
            self._orphan = None
            orphan.remove()
            orphan.close()
        return True

    def _drain_own(self, store: Store, now: float) -> bool:
        """Read what is no longer in memory, and note what the store has; return whether there may be more to read."""
        if not self._own.is_open:
            self._drained = self._core.drained_line(self._drained)
            self._own_until = self._core.line_to_read()
        if self._own_until > self._drained:
            if self._own.drain(store):
                return True
            self._drained = self._core.drained_line(self._own_until)
        if self._noted < self._drained and now >= self._next_note:
            with store.transaction() as transaction:
                transaction.set_drained(self._process.id, self._drained)
            self._noted, self._next_note = self._drained, now + NOTE_SECONDS
            self._remove_journal(self._drained)
        return False

    def _own_entries(self, after: int) -> Iterator[tuple[int, Entry]]:
        if self._journal is None or not self._journal.path.exists():
            return iter(())
        entries = read(self._journal.path, max(after, self._drained))
        return takewhile(lambda numbered: numbered[0] <= self._own_until, entries)

    def _next_orphan(self, now: float, journals: Path) -> tuple[OrphanJournal, _Backlog] | None:
        orphan = next(self._orphans, None)
        if orphan is None and now >= self._next_orphans:
            self._next_orphans = now + ORPHANS_SECONDS
            self._orphans = orphans(journals, _report_journal)
            orphan = next(self._orphans, None)
        if orphan is None:
            return None
        return orphan, _Backlog(orphan.process, orphan.entries, self._on_commit)


def _report_journal(text: str) -> None:
    failsafe.report("journal of another process", JournalError(text))
