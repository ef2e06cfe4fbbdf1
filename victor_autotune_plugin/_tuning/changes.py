"""A change of a team's plan: the state, the experiment and the line in the history change together or not at all.

And the finished run that a change follows from, with the approval that it may need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, frozen

from .._model.experiment import Actor, Change, ChangeAction, Experiment, TeamState
from .._model.plan import TeamPlan
from .tuner_cache import TeamRecord

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import Settings
    from ..storage import Transaction
    from .hookmanager import HookManager
    from .recorder import Recorder
    from .tuner_cache import ReadRuns


class Changes:
    """One transaction, and the changes to a team's plan made in it.

    Args:
        transaction: The transaction.
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


@define
class Approval:
    """Whether a change may be made, and what to ask as long as there is no answer.

    Attributes:
        given: Whether it is approved.
        by: Who answered, or None before the hook was called.
        asked: The experiment and its step that wait for an answer.
    """

    given: bool = False
    by: str | None = None
    asked: tuple[Experiment, str] | None = None


@frozen
class RunContext:
    """A finished run, inside the transaction that the conclusions from it are drawn in.

    Attributes:
        changes: The transaction, and the changes made in it.
        state: The team's state.
        run: The run.
        settings: The team's settings.
        approval: Whether a change may follow.
    """

    changes: Changes
    state: TeamState
    run: TeamRun
    settings: Settings
    approval: Approval

    @cached_property
    def read_runs(self) -> ReadRuns:
        """Reads the team's last runs, newest first; what was read in the transaction is not read again."""
        return _remembering(partial(self.changes.transaction.runs_of, *self.state.key))

    @cached_property
    def team(self) -> TeamRecord:
        """What the settings and the store say of the team."""
        experiments = self.changes.transaction.experiments_of(*self.state.key)
        return TeamRecord(self.state, self.run.spec, self.settings, experiments, self.read_runs)


def _remembering(read: ReadRuns) -> ReadRuns:
    known: Sequence[TeamRun] = ()
    most = 0

    def read_or_recall(limit: int) -> Sequence[TeamRun]:
        nonlocal known, most
        if limit > most:
            known, most = read(limit), limit
        return known[:limit]

    return read_or_recall
