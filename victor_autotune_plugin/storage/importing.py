"""Puts what an archive holds into a store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from attrs import define, evolve

from .._model.converter import from_plain
from .._model.day_totals import DayTotals, date_of
from .._model.experiment import TAKES_BACK, Change, Experiment, Phase, TeamState
from .._model.plan import ADHOC_WORKFLOW, TeamSpec, adhoc_team_id, adhoc_team_name
from .._model.run import TeamRun
from .._model.score import Score
from .archive import ArchiveError, ExperimentRecord, Item
from .former_states import LIVE, REASON, verifying

if TYPE_CHECKING:
    from . import Store, Transaction

BATCH: Final = 200
"""Lines that are imported in one transaction."""

_HOLDER: Final = "import"
_LEASE_SECONDS: Final = 5.0


@define
class Imported:
    """What an import did.

    Attributes:
        runs: Runs that are new.
        scores: Scores that are new.
        changes: Changes that are new.
        experiments: Experiments that are new.
        teams: Teams whose state is new.
        days: Days of which the totals are new.
        duplicate_runs: Runs that were there.
        duplicate_scores: Scores of runs that had one of the same name.
        duplicate_changes: Changes that were there.
        duplicate_experiments: Experiments that were there.
        duplicate_teams: Teams that have a state of their own here.
        duplicate_days: Days of which there are totals or runs here.
        old_runs: Runs left out since they are from a time of which runs are no longer kept in full here: the totals may
            hold them.
        open_experiments: Experiments left out because they are open, and their team has a state of its own here.
        skipped: Lines that can't be used.
    """

    runs: int = 0
    scores: int = 0
    changes: int = 0
    experiments: int = 0
    teams: int = 0
    days: int = 0
    duplicate_runs: int = 0
    duplicate_scores: int = 0
    duplicate_changes: int = 0
    duplicate_experiments: int = 0
    duplicate_teams: int = 0
    duplicate_days: int = 0
    old_runs: int = 0
    open_experiments: int = 0
    skipped: int = 0


class EarlierNames:
    """Names the ad-hoc teams of an archive of 0.1 as this version does, by their members.

    What such an archive holds of a name belongs to the member set that ran last. Show it the whole archive with `note`
    first.
    """

    def __init__(self) -> None:
        self._newest: dict[str, tuple[float, str]] = {}
        self._fingerprints: dict[str, str] = {}

    def note(self, item: Item | None) -> None:
        """See an item."""
        if isinstance(item, TeamRun):
            self._see(item.spec, item.started_at)
        elif isinstance(item, TeamState) and item.spec is not None:
            self._see(item.spec, -1.0)

    def _see(self, spec: TeamSpec, at: float) -> None:
        name = spec.team_id
        if spec.workflow != ADHOC_WORKFLOW or adhoc_team_id(adhoc_team_name(name), spec.member_ids) == name:
            return
        if at > self._newest.get(name, (-2.0, ""))[0]:
            self._newest[name] = at, adhoc_team_id(name, spec.member_ids)

    def renamed(self, item: Item | None) -> Item | None:
        """Return an item with its team's new name."""
        if item is None or isinstance(item, Score):
            return item
        if isinstance(item, TeamRun):
            return evolve(item, spec=self._spec(item.spec))
        about = item.experiment if isinstance(item, ExperimentRecord) else item
        if about.workflow != ADHOC_WORKFLOW or about.team_id not in self._newest:
            return item
        new_id = self._newest[about.team_id][1]
        if isinstance(item, ExperimentRecord):
            fingerprint = self._fingerprints.get(item.experiment.fingerprint, item.experiment.fingerprint)
            return evolve(item, experiment=evolve(item.experiment, team_id=new_id, fingerprint=fingerprint))
        if isinstance(item, TeamState):
            spec = None if item.spec is None else self._spec(item.spec)
            known = item.fingerprint and self._fingerprints.get(item.fingerprint, item.fingerprint)
            return evolve(item, team_id=new_id, spec=spec, fingerprint=known)
        return evolve(item, team_id=new_id)

    def _spec(self, spec: TeamSpec) -> TeamSpec:
        if spec.workflow != ADHOC_WORKFLOW or spec.team_id not in self._newest:
            return spec
        new = evolve(spec, team_id=self._newest[spec.team_id][1])
        self._fingerprints[spec.fingerprint()] = new.fingerprint()
        return new


def write(store: Store, items: Iterable[Item | None]) -> Imported:
    """Put the items of an archive into a store. What is there already stays as it is.

    A run and an experiment are known by their id, a score by its run and name, a change by its time, team, action and
    reason. Totals of a day come in where the team has neither such nor runs of that time here, and no run comes in that
    totals here may hold, other than those that came from this archive. Ids of changes that a rollback names become
    those of the store. A team that has no state here gets the archive's: its live plan, and its open experiments. One
    that has keeps its own, and no open experiment joins it. A test that was open in 0.1 comes in aborted, and a plan
    that was live there with an experiment that verifies it.

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
        self._known = {_identity(change): change.id for change in store.of(None).changes()}
        self._pruned_until = store.pruned_until()
        # Days whose totals here are the archive's, which hold none of its runs: an import that was interrupted goes on.
        self._same_days: set[tuple[str, ...]] = set()
        self._new_ids: dict[int | None, int | None] = {}
        self._batch: list[Item] = []
        self._team: tuple[str, ...] | None = None  # of the batch: a transaction is about one team
        self._teams: set[tuple[str, str, str]] = set()

    def add(self, item: Item) -> None:
        """Add an item; it is written with its batch."""
        if not isinstance(item, TeamRun | Score):
            about = item.experiment if isinstance(item, ExperimentRecord) else item
            team = about.environment, about.workflow, about.team_id
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
                    self._run(transaction, item)
                elif isinstance(item, Score):
                    new = self._may_be_scored(item.run_id) and transaction.import_score(item)
                    self.done.scores += new
                    self.done.duplicate_scores += not new
                elif isinstance(item, DayTotals):
                    new = transaction.import_day(item)
                    if not new and transaction.has_day(item):
                        self._same_days.add(item.key)
                    self.done.days += new
                    self.done.duplicate_days += not new
                elif isinstance(item, Change):
                    self._change(transaction, item)
                elif isinstance(item, ExperimentRecord):
                    self._experiment(transaction, item)
                else:
                    self._state(transaction, item)
        self._batch.clear()
        self._team = None

    def finish(self) -> None:
        """Write the last batch, and number the runs, oldest first, whatever their order in the archive.

        What they show of a team's data flow counts, and conclusions from them were drawn where they come from.
        """
        self.flush()
        for environment, workflow, team_id in sorted(self._teams):
            numbered = BATCH
            while numbered == BATCH:
                with self._store.of(environment).transaction() as transaction:
                    numbered = transaction.number_runs(workflow, team_id, BATCH)
                    lease = transaction.take_lease(workflow, team_id, _HOLDER, _LEASE_SECONDS)
                    if lease is None:
                        continue  # its judge counts them
                    flow, judged = lease.flow, lease.judged
                    for run in transaction.runs_after(workflow, team_id, judged, 2 * BATCH):
                        flow = flow.after(run) if run.status == "finished" else flow
                        judged = run.number or judged
                    transaction.save_judged(workflow, team_id, judged, flow)
                    transaction.give_back_lease(workflow, team_id, _HOLDER, lease.fence)

    def _run(self, transaction: Transaction, run: TeamRun) -> None:
        key = run.environment, *run.spec.key
        is_of_that_time = run.started_at <= self._pruned_until.get(key, -math.inf)
        may_be_in_totals = is_of_that_time and (*key, date_of(run.started_at)) not in self._same_days
        if may_be_in_totals and self._store.of(None).run(run.run_id) is None:
            self.done.old_runs += 1
            return
        new = transaction.import_run(run)
        self._teams.add(key)
        self.done.runs += new
        self.done.duplicate_runs += not new

    def _may_be_scored(self, run_id: str) -> bool:
        return not self._pruned_until or self._store.of(None).run(run_id) is not None

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
        state = transaction.team(experiment.workflow, experiment.team_id, experiment.environment)
        if transaction.experiment(experiment.id) is not None:
            self.done.duplicate_experiments += 1
            return
        if state.version and not experiment.has_ended:
            self.done.open_experiments += 1
            return
        transaction.save_experiment(experiment)
        if record.was_open:
            transaction.add_change(_ended(experiment))
        # In their order whatever their phase: runs of a test that waited for their scores came after some of the watch.
        parts = [(phase, one) for phase, observations in record.observations.items() for one in observations]
        for phase, observation in sorted(parts, key=lambda part: part[1].order):
            transaction.add_observation(experiment.id, phase, observation)
        for phase, observations in record.observations.items():
            next_indexes: dict[str, int] = {}
            for observation in observations:
                name, index = observation.stream, observation.index
                next_indexes[name] = max(index + 1, next_indexes.get(name, 0))
            if not experiment.has_ended:
                transaction.continue_streams(experiment.id, phase, next_indexes)
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
        if transaction.team(*state.key, state.environment).version:
            self.done.duplicate_teams += 1
            return
        _verify(transaction, state.live_id)
        open_id, live_id = (_if_open(transaction, one) for one in (state.experiment_id, state.live_id))
        transaction.save_team(evolve(state, version=0, experiment_id=open_id, live_id=live_id))
        self.done.teams += 1


def _if_open(transaction: Transaction, experiment_id: str | None) -> str | None:
    found = None if experiment_id is None else transaction.experiment(experiment_id)
    return experiment_id if found is not None and not found.has_ended else None


def _verify(transaction: Transaction, live_id: str | None) -> None:
    """Write the experiment that verifies a live plan of 0.1, where it is to be and is not there yet."""
    if live_id is None or not live_id.endswith(LIVE) or transaction.experiment(live_id) is not None:
        return
    proof = transaction.experiment(live_id.removesuffix(LIVE))
    if proof is not None and proof.has_ended:
        phases = [[one.to_dict() for one in transaction.observations(proof.id, phase)] for phase in get_args(Phase)]
        transaction.save_experiment(from_plain(Experiment, verifying(proof.to_dict(), *phases)))


def _ended(experiment: Experiment) -> Change:
    return Change(
        None,
        experiment.ended_at or 0.0,
        experiment.workflow,
        experiment.team_id,
        "aborted",
        "auto",
        REASON,
        experiment.id,
        experiment.control,
        experiment.control,
        environment=experiment.environment,
    )


def _renumbered(change: Change, new_ids: Mapping[int | None, int | None]) -> Change:
    if not change.takes_back:
        return change
    taken = [new_ids[one] for one in change.takes_back if one in new_ids]
    return evolve(change, evidence={**change.evidence, TAKES_BACK: taken})


def _identity(change: Change) -> tuple[Any, ...]:
    return (
        *(change.at, change.environment, change.workflow, change.team_id),
        *(change.action, change.reason, change.experiment_id),
    )
