"""Puts what an archive holds into a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve

from .._model.experiment import TAKES_BACK, Change, TeamState
from .._model.run import TeamRun
from .archive import ArchiveError, ExperimentRecord, Item

if TYPE_CHECKING:
    from . import Store, Transaction

BATCH: Final = 200
"""Lines that are imported in one transaction."""


@define
class Imported:
    """What an import did.

    Attributes:
        runs: Runs that are new.
        changes: Changes that are new.
        experiments: Experiments that are new.
        teams: Teams whose state is new.
        duplicate_runs: Runs that were there.
        duplicate_changes: Changes that were there.
        duplicate_experiments: Experiments that were there.
        duplicate_teams: Teams that have a state of their own here.
        open_experiments: Experiments left out because they are open, and their team has a state of its own here.
        skipped: Lines that can't be used.
    """

    runs: int = 0
    changes: int = 0
    experiments: int = 0
    teams: int = 0
    duplicate_runs: int = 0
    duplicate_changes: int = 0
    duplicate_experiments: int = 0
    duplicate_teams: int = 0
    open_experiments: int = 0
    skipped: int = 0


def write(store: Store, items: Iterable[Item | None]) -> Imported:
    """Put the items of an archive into a store. What is there already stays as it is.

    A run and an experiment are known by their id, a change by its time, team, action and reason. Ids of changes that a
    rollback names become those of the store. A team that has no state here gets the archive's: its live plan, and its
    open experiment. One that has keeps its own, and no open experiment joins it.

    Args:
        store: The store.
        items: What `archive.read` yields.

    Raises:
        ArchiveError: If a run of an experiment was observed in another one.
        StoreError: If the store can't be used. Whole batches before that are kept; importing again is harmless.
    """
    writer = _Writer(store)
    for item in items:
        if item is not None:
            writer.add(item)
    writer.finish()
    return writer.done


class _Writer:
    """Writes items in batches.

    Args:
        store: Where to.

    Attributes:
        done: What was done so far.
    """

    def __init__(self, store: Store) -> None:
        self.done = Imported()
        self._store = store
        self._known = {_identity(change): change.id for change in store.changes()}
        self._new_ids: dict[int | None, int | None] = {}
        self._batch: list[Item] = []
        self._team: tuple[str, str] | None = None  # of the batch: a transaction is about one team
        self._teams: set[tuple[str, str]] = set()

    def add(self, item: Item) -> None:
        """Add an item; it is written with its batch."""
        if not isinstance(item, TeamRun):
            about = item.experiment if isinstance(item, ExperimentRecord) else item
            team = about.workflow, about.team_id
            if self._team not in (None, team):
                self.flush()
            self._team = team
        self._batch.append(item)
        if len(self._batch) >= BATCH or isinstance(item, ExperimentRecord):  # which may be long, and is one transaction
            self.flush()

    def flush(self) -> None:
        """Write the batch in one transaction, and empty it."""
        with self._store.transaction() as transaction:
            for item in self._batch:
                if isinstance(item, TeamRun):
                    new = transaction.import_run(item)
                    self._teams.add(item.spec.key)
                    self.done.runs += new
                    self.done.duplicate_runs += not new
                elif isinstance(item, Change):
                    self._change(transaction, item)
                elif isinstance(item, ExperimentRecord):
                    self._experiment(transaction, item)
                else:
                    self._state(transaction, item)
        self._batch.clear()
        self._team = None

    def finish(self) -> None:
        """Write the last batch, and number the runs, oldest first, whatever their order in the archive."""
        self.flush()
        for workflow, team_id in sorted(self._teams):
            numbered = BATCH
            while numbered == BATCH:
                with self._store.transaction() as transaction:
                    numbered = transaction.number_runs(workflow, team_id, BATCH)

    def _change(self, transaction: Transaction, change: Change) -> None:
        identity = _identity(change)
        if identity in self._known:
            self.done.duplicate_changes += 1
        else:
            self.done.changes += 1
            self._known[identity] = transaction.add_change(_renumbered(change, self._new_ids))
        self._new_ids[change.id] = self._known[identity]

    def _experiment(self, transaction: Transaction, record: ExperimentRecord) -> None:
        experiment = record.experiment
        state = transaction.team(experiment.workflow, experiment.team_id)
        if transaction.experiment(experiment.id) is not None:
            self.done.duplicate_experiments += 1
            return
        if state.version and not experiment.has_ended:
            self.done.open_experiments += 1
            return
        transaction.save_experiment(experiment)
        for phase, observations in record.observations.items():
            for observation in observations:
                transaction.add_observation(experiment.id, phase, observation)
            kept = {one.run_id for one in transaction.observations(experiment.id, phase)}
            for observation in observations:
                if observation.run_id not in kept:
                    raise ArchiveError(
                        f"run {observation.run_id} was observed in another experiment",
                        where=f"experiment {experiment.id}",
                        hint="Import into a store without that other experiment.",
                    )
        self.done.experiments += 1

    def _state(self, transaction: Transaction, state: TeamState) -> None:
        if transaction.team(*state.key).version:
            self.done.duplicate_teams += 1
            return
        opened = transaction.experiment(state.experiment_id) if state.experiment_id is not None else None
        kept = state.experiment_id if opened is not None and not opened.has_ended else None
        transaction.save_team(evolve(state, version=0, experiment_id=kept))
        self.done.teams += 1


def _renumbered(change: Change, new_ids: Mapping[int | None, int | None]) -> Change:
    if not change.takes_back:
        return change
    taken = [new_ids[one] for one in change.takes_back if one in new_ids]
    return evolve(change, evidence={**change.evidence, TAKES_BACK: taken})


def _identity(change: Change) -> tuple[Any, ...]:
    return (change.at, change.workflow, change.team_id, change.action, change.reason, change.experiment_id)
