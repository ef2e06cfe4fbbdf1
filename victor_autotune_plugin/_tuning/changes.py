"""A change of a team's plan: the state, the experiment and the line in the history change together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from .._model.plan import TeamPlan
from .._model.experiment import Actor, Change, ChangeAction, Experiment, TeamState

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from ..storage import Transaction
    from .hookmanager import HookManager
    from .recorder import Recorder

_TELLS: Final[Mapping[str, tuple[str, ...]]] = {
    "started": ("experiment_started",),
    "promoted": ("experiment_decided", "plan_promoted"),
    "failed": ("experiment_decided",),
    "inconclusive": ("experiment_decided",),
    "aborted": ("experiment_decided",),
    "rolled_back": ("plan_rolled_back",),
}


@frozen
class Told:
    """A change to tell the hooks about once it is committed.

    Attributes:
        experiment: The experiment behind it, or None.
        change: The line in the history.
    """

    experiment: Experiment | None
    change: Change


class Changes:
    """One transaction, and the changes to a team's plan made in it.

    Args:
        transaction: The transaction.
        clock: Unix seconds.
    """

    def __init__(self, transaction: Transaction, clock: Callable[[], float]) -> None:
        self.transaction = transaction
        self.told: list[Told] = []
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
        self.told.append(Told(experiment, change))
        return change


@contextmanager
def open_changes(
    recorder: Recorder, hooks: HookManager, clock: Callable[[], float], finished: TeamRun | None = None
) -> Iterator[Changes]:
    """Open a transaction that tells the hooks of its changes once it is committed.

    Args:
        recorder: Gives the transaction.
        hooks: Are told.
        clock: Unix seconds.
        finished: A finished run to be written in it, before the changes that follow from it; written even if those
            fail. None for no run.

    Yields:
        The changes to make.

    Raises:
        StoreError: If the store can't be used; then nothing has changed and nobody is told.
    """
    with recorder.transaction() if finished is None else recorder.finishing(finished) as transaction:
        changes = Changes(transaction, clock)
        yield changes
    for keep in changes.once_durable:
        keep()
    for told in changes.told:
        for hook in _TELLS.get(told.change.action, ()):
            if told.experiment is not None:
                hooks.tell(hook, experiment=told.experiment, change=told.change)


@define
class Approval:
    """Whether a change may be made, and if nobody was asked yet, what to ask.

    Attributes:
        given: Whether it is approved.
        by: Who answered, or None before anybody was asked.
        asked: The experiment and its step that wait for an answer.
    """

    given: bool = False
    by: str | None = None
    asked: tuple[Experiment, str] | None = None


@frozen
class Case:
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

    def experiments(self) -> Sequence[Experiment]:
        """Return all experiments of the team, oldest first."""
        return self.changes.transaction.experiments_of(*self.state.key)


def _remembering(read: ReadRuns) -> ReadRuns:
    known: Sequence[TeamRun] = ()
    most = 0

    def read_or_recall(limit: int) -> Sequence[TeamRun]:
        nonlocal known, most
        if limit > most:
            known, most = read(limit), limit
        return known[:limit]

    return read_or_recall
