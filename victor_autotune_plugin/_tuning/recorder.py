"""Writes runs, and changes of teams' plans, to the store, without ever making a run wait for it.

A store that is locked, full or gone is tried again only after a pause; until then finished runs are kept in memory
and written with the next success, or at the end of the process. In a change, the team's state, the experiment and the
line in the history change together or not at all.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .. import failsafe
from .._model.experiment import Actor, Change, ChangeAction, Experiment, TeamState
from .._model.plan import TeamPlan
from .._model.run import Observation
from ..errors import StoreError, StoreUnavailableError, StoreVersionError

if TYPE_CHECKING:
    from .._model.run import PlannedRun, RunStart, TeamRun
    from ..storage import Store, Transaction
    from .hookmanager import HookManager

PAUSE_SECONDS: Final = 5.0
"""How long a store that failed is left alone."""

MOST_WAITING: Final = 10_000
"""How many finished runs are kept in memory while the store is away; the oldest go first."""


class Recorder:
    """Writes runs and their observations.

    Args:
        open_store: Opens the store; called at the first use and again after a failure to open.
        clock: Monotonic seconds.
    """

    def __init__(self, open_store: Callable[[], Store], clock: Callable[[], float] = time.monotonic) -> None:
        self._open = open_store
        self._clock = clock
        self._store: Store | None = None
        self._waiting: deque[TeamRun] = deque(maxlen=MOST_WAITING)
        self._not_before = 0.0
        self._lock = threading.RLock()
        self._known_faults: dict[tuple[str, str], int] = {}
        atexit.register(self.close)

    @property
    def is_ready(self) -> bool:
        """Whether the store is to be used now: it did not fail a moment ago."""
        return self._clock() >= self._not_before

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction, unless the store failed a moment ago.

        Yields:
            The transaction; it is committed at the end of the block.

        Raises:
            StoreUnavailableError: If the store can't be used now.
        """
        if not self.is_ready:
            raise StoreUnavailableError("the store failed a moment ago and is left alone for a while")
        try:
            with self._opened().transaction() as transaction:
                yield transaction
        except StoreUnavailableError:
            self._not_before = self._clock() + PAUSE_SECONDS
            raise

    def started(self, start: RunStart, planned: PlannedRun) -> None:
        """Write that a run started, so that it is missed if its process dies.

        Raises:
            StoreUnavailableError: If it could not be written; the finished run will be, all the same.
        """
        with self.transaction() as transaction:
            transaction.start_run(start, planned)

    def finished(self, run: TeamRun) -> None:
        """Take in a finished run; `finishing` writes it with what follows from it, or else `flush` does."""
        self._waiting.append(run)

    @contextmanager
    def finishing(self, run: TeamRun) -> Iterator[Transaction]:
        """Open a transaction that writes a finished run first, so that what follows from it is written with it.

        What waited longer is written before, by itself. When the transaction fails, in the block or at its end, the run
        is written without what followed, or waits.

        Raises:
            StoreUnavailableError: If the store can't be used now.
            StoreError: If the run has impossible figures.
        """
        with self._lock, suppress(ValueError):  # `flush` of another run may have written it
            self._waiting.remove(run)
        try:
            self.flush()
            with self.transaction() as transaction:
                _write(transaction, run)
                yield transaction
        except BaseException:
            self.finished(run)
            with suppress(StoreError):  # the first failure tells more
                self.flush()
            raise

    def flush(self) -> None:
        """Write what waits.

        Raises:
            StoreUnavailableError: If the store can't be used now; everything still waits.
            StoreError: If a run has impossible figures. It is left out, so that it does not block the others.
        """
        with self._lock:
            while self._waiting:
                run = self._waiting[0]
                try:
                    with self.transaction() as transaction:
                        _write(transaction, run)
                except StoreError as error:
                    if not isinstance(error, StoreUnavailableError | StoreVersionError):
                        self._waiting.popleft()
                    raise
                self._waiting.popleft()
            self._keep_faults()

    def close(self) -> None:
        """Write what waits, with patience, and close the store."""
        atexit.unregister(self.close)
        if self._waiting:
            self._not_before = 0.0
            with failsafe.guard("writing of the last runs"):
                self.flush()
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _keep_faults(self) -> None:
        """Write the faults of this process that are not in the store yet, for `victor autotune doctor`."""
        for fault in failsafe.seen():
            key = (fault.where, fault.error)
            new = fault.count - self._known_faults.get(key, 0)
            if new > 0:
                self._known_faults[key] = fault.count
                with self.transaction() as transaction:
                    transaction.record_fault(fault.where, fault.error, fault.last_at, new)

    def _opened(self) -> Store:
        with self._lock:
            if self._store is None:
                store = self._open()
                for run_id in store.mark_lost_runs():
                    failsafe.logger.info("autotune: run %s is marked as lost: its process died before it ended", run_id)
                self._store = store
            return self._store


def _write(transaction: Transaction, run: TeamRun) -> None:
    transaction.finish_run(run)
    if run.experiment_id is None or run.index is None or run.cancelled:
        return
    try:
        observation = Observation.of(run)
    except ValueError as error:
        raise StoreError(f"the observation of run {run.run_id} can't be stored: {error}") from error
    transaction.add_observation(run.experiment_id, "watch" if run.phase == "watch" else "test", observation)


class Changes:
    """One transaction, and the changes to a team's plan made in it.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, transaction: Transaction, clock: Callable[[], float]) -> None:
        self.transaction = transaction
        self.made: list[tuple[Change, Experiment | None]] = []
        """The lines added to the history, each with the experiment behind it, for the hooks."""
        self.once_durable: list[Callable[[], None]] = []
        """What to call when the transaction is committed; when it is not, nothing of it may be remembered."""
        self._clock = clock

    def apply(self, after: TeamState, action: ChangeAction, reason: str, **details: Any) -> TeamState:
        """Save a team's new state, the experiment behind it, and the line in the history; return the saved state."""
        self.apply_change(after, action, reason, **details)
        return self.transaction.team(*after.key)

    def apply_change(
        self,
        after: TeamState,
        action: ChangeAction,
        reason: str,
        *,
        before: TeamState,
        experiment: Experiment | None = None,
        actor: Actor = "auto",
        evidence: Mapping[str, Any] | None = None,
        rollback_plan: TeamPlan | None = None,
        improvement_percent: float | None = None,
    ) -> Change:
        """Do what `apply` does; return the line in the history."""
        now = self._clock()
        if experiment is not None:
            self.transaction.save_experiment(experiment)
        self.transaction.save_team(evolve(after, updated_at=now))
        change = Change(
            id=None,
            at=now,
            workflow=after.workflow,
            team_id=after.team_id,
            action=action,
            actor=actor,
            reason=reason,
            experiment_id=None if experiment is None else experiment.id,
            plan_before=before.plan,
            plan_after=after.plan,
            rollback_plan=rollback_plan,
            improvement_percent=improvement_percent,
            evidence=dict(evidence or {}),
        )
        change = evolve(change, id=self.transaction.add_change(change))
        self.made.append((change, experiment))
        return change


@contextmanager
def open_changes(
    recorder: Recorder, hooks: HookManager, clock: Callable[[], float], finished: TeamRun | None = None
) -> Iterator[Changes]:
    """Open a transaction; once it is committed, its changes are told to the hook `plan_changed`.

    A finished run is written in it before the changes that follow from it, and is written even if those fail.

    Raises:
        StoreError: If the store can't be used; then nothing has changed and no hook is called.
    """
    with recorder.transaction() if finished is None else recorder.finishing(finished) as transaction:
        changes = Changes(transaction, clock)
        yield changes
    for keep in changes.once_durable:
        keep()
    for change, experiment in changes.made:
        hooks.plan_changed(change, experiment)
