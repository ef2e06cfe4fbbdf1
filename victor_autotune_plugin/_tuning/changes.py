"""Changes of a team's plan: collected while they are decided on, then written in one transaction.

The team's state, the experiment and the line in the history change together or not at all. What is decided rests on a
version of the team's state; if a person or another process changed it meanwhile, nothing is written, and it is decided
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from .._model.experiment import Actor, Change, ChangeAction, Experiment, TeamState
from .._model.plan import TeamPlan
from .notices import notice_of_asking, notices_of, write_notices

if TYPE_CHECKING:
    from .._model.notice import Webhook
    from ..storage import Transaction


@frozen
class _Line:
    after: TeamState
    experiment: Experiment | None
    change: Change


class Changes:
    """What is to change of one team.

    Args:
        clock: Unix seconds.
        webhooks: What is told of the changes.
    """

    def __init__(self, clock: Callable[[], float], webhooks: Iterable[Webhook] = ()) -> None:
        self.made: list[tuple[Change, Experiment | None]] = []
        """The lines that `write` added to the history, each with the experiment behind it, for the hooks."""
        self._clock = clock
        self._webhooks = tuple(webhooks)
        self._steps: list[_Line | TeamState | Experiment] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return not self._steps

    def save_experiment(self, experiment: Experiment) -> None:
        """Have an experiment written without a line in the history."""
        self._steps.append(experiment)

    def save_team(self, state: TeamState) -> TeamState:
        """Have a team's state written without a line in the history; return it with its new version."""
        self._steps.append(evolve(state, updated_at=self._clock()))
        return evolve(state, version=state.version + 1)

    def apply(
        self,
        after: TeamState,
        action: ChangeAction,
        reason: str,
        *,
        before: TeamState,
        experiment: Experiment | None = None,
        actor: Actor = "auto",
        by: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        rollback_plan: TeamPlan | None = None,
        improvement_percent: float | None = None,
    ) -> TeamState:
        """Have a team's new state, the experiment behind it, and a line in the history written.

        Returns:
            The state with its new version.
        """
        now = self._clock()
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
            environment=after.environment,
            by=by,
        )
        self._steps.append(_Line(evolve(after, updated_at=now), experiment, change))
        return evolve(after, version=after.version + 1)

    def write(self, transaction: Transaction) -> None:
        """Write everything, in order, and the notices of it; `made` then tells the lines with their ids.

        Raises:
            StaleStateError: A person or another process changed the team, or the experiment, since it was read.
            StoreError: If the store can't be used; then nothing has changed.
        """
        for step in self._steps:
            if isinstance(step, TeamState):
                transaction.save_team(step)
            elif isinstance(step, Experiment):
                transaction.save_experiment(step)
            else:
                if step.experiment is not None:
                    transaction.save_experiment(step.experiment)
                transaction.save_team(step.after)
                self.made.append((evolve(step.change, id=transaction.add_change(step.change)), step.experiment))
        # Last, as everywhere: who holds rows of the outbox waits for no other row.
        notices = [one for change, experiment in self.made for one in notices_of(change, experiment)]
        asking = [step for step in self._steps if isinstance(step, Experiment) and step.asks_for is not None]
        notices += [notice_of_asking(test, self._clock()) for test in asking]
        write_notices(transaction, self._webhooks, notices)
