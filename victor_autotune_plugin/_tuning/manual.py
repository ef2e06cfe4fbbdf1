"""What a person or a program asks for: test a plan on a team's runs, apply it, roll it back, or pause the tuning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .._model.experiment import TAKES_BACK, Change, ChangeAction, Experiment, ExperimentStatus, TeamState
from .._model.optimization import OptimizationSuggestion
from .._model.plan import TeamPlan
from ..errors import AutotuneError
from .changes import Changes
from .suggestions import TASK_RUNS, comparable, new_experiment, observed

if TYPE_CHECKING:
    from .._settings import Settings
    from ..storage import Store, Transaction
    from .hookmanager import HookManager


REFERENCE_RUNS: Final = 200
"""How many of a team's last runs the watch over an applied plan compares with."""


class ManualChanges:
    """Changes of a team's plan that a person or a program asks for; each is one transaction of the store.

    Args:
        store: Gives the store.
        hooks: Are told of the change.
        clock: Unix seconds.
        on_change: Called once a change is in the store.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        hooks: HookManager,
        clock: Callable[[], float] = time.time,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._hooks = hooks
        self._on_change = on_change
        self._clock = clock

    def start_test(
        self, key: tuple[str, str], suggestion: OptimizationSuggestion, settings: Settings, evidence: Mapping[str, Any]
    ) -> Experiment:
        """Start the A/B test of a suggestion: the team's next runs take part in it.

        Args:
            key: `(workflow, team_id)`.
            evidence: What the history keeps beside it.

        Returns:
            The test: the one that is open, whatever it tests, where the team has one already.

        Raises:
            AutotuneError: A watch is open, or the change changes nothing.
            StoreError: If the store can't be used.
        """
        store_id = self._store().identity().id
        with self._open() as (transaction, changes):
            state = transaction.team(*key)
            known = transaction.experiment(state.experiment_id) if state.experiment_id else None
            if known is not None and known.status in ("draft", "running"):
                return known
            if state.experiment_id is not None:
                raise AutotuneError(
                    f"experiment {state.experiment_id} of team {key[1]!r} is open",
                    hint="Wait for its end, or end it: victor autotune rollback",
                )
            treatment = _changed(state, suggestion.plan)
            number = len(transaction.experiments_of(*key))
            runs = comparable(transaction.runs_of(*key, TASK_RUNS), state)
            now = self._clock()
            experiment = new_experiment(
                state, number, treatment, suggestion, settings, now, runs, store_id=store_id, allowed_by="person"
            )
            changes.apply(
                evolve(state, experiment_id=experiment.id),
                "started",
                suggestion.description,
                before=state,
                experiment=experiment,
                actor="person",
                evidence={**suggestion.to_dict(), **evidence},
            )
        return experiment

    def apply(
        self,
        key: tuple[str, str],
        plan: TeamPlan,
        reason: str,
        *,
        evidence: Mapping[str, Any],
        improvement_percent: float | None = None,
        watched: tuple[OptimizationSuggestion, Settings] | None = None,
    ) -> Change:
        """Make a plan the team's live plan; what it does not set stays.

        A running test ends, with a line of its own. The plan is watched like a promoted one, against the team's runs
        under the plan before; changes that follow one another are watched together, against the plan before all.

        Args:
            key: `(workflow, team_id)`.
            plan: The knobs to change; empty where the change was made elsewhere, such as in a file, and is only noted.
            evidence: What it rests on, and what restores the state before.
            improvement_percent: Proven improvement, or None.
            watched: What is applied, and the team's settings, by which it is watched; None for no watch.

        Returns:
            The line in the history.

        Raises:
            AutotuneError: A watch is open: the plan under it was promoted and is still to be judged.
            StoreError: If the store can't be used.
        """
        store_id = self._store().identity().id
        with self._open() as (transaction, changes):
            state = transaction.team(*key)
            before = transaction.experiment(state.experiment_id) if state.experiment_id else None
            if before is not None:
                state = self._ended(changes, state, before)
            watch = None
            if watched is not None and not plan.is_empty:
                watch = self._watch(transaction, state, plan, before, *watched, store_id)
            changes.apply(
                evolve(state, plan=state.plan.merged(plan), experiment_id=None if watch is None else watch.id),
                "promoted",
                reason,
                before=state,
                experiment=watch,
                actor="person",
                evidence=evidence,
                rollback_plan=state.plan,
                improvement_percent=improvement_percent,
            )
        return changes.made[-1][0]

    def _watch(
        self,
        transaction: Transaction,
        state: TeamState,
        plan: TeamPlan,
        before: Experiment | None,
        suggestion: OptimizationSuggestion,
        settings: Settings,
        store_id: str,
    ) -> Experiment | None:
        """Return the watch over a plan that is applied; None where watching is off or there are no runs to compare."""
        treatment = state.plan.merged(plan)
        if not settings.watch.enabled or state.spec is None or treatment == state.plan:
            return None
        number, now = len(transaction.experiments_of(*state.key)), self._clock()
        made = new_experiment(
            state, number, treatment, suggestion, settings, now, store_id=store_id, allowed_by="person"
        )
        if before is not None and before.is_untested:
            control, reference = before.control, before.reference
        else:
            control, reference = state.plan, ()
            runs = comparable(transaction.runs_of(*state.key, TASK_RUNS), state)[:REFERENCE_RUNS]
            reference = tuple(observed(reversed(runs)))
        if not reference or treatment == control:
            return None
        return evolve(made, control=control, status="watched", promoted_at=now, reference=reference)

    def note(self, key: tuple[str, str], action: ChangeAction, reason: str, *, evidence: Mapping[str, Any]) -> Change:
        """Add a line to a team's history; its plan and its test stay.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._open() as (transaction, changes):
            state = transaction.team(*key)
            changes.apply(state, action, reason, before=state, actor="person", evidence=evidence)
        return changes.made[-1][0]

    def roll_back(
        self, workflow: str, team_id: str, reason: str = "Rolled back by hand.", *, change_id: int | None = None
    ) -> Change:
        """Roll back a promotion exactly, with those made on top of it, and end the experiment that is open.

        While a test is running and no promotion is named, only the test is ended.

        Args:
            change_id: Id of the promotion in the history, one of `in_effect`; None for the latest.

        Returns:
            The line in the history.

        Raises:
            AutotuneError: If there is nothing to roll back, or that change is not in effect.
            StoreError: If the store can't be used.
        """
        key = (workflow, team_id)
        with self._open() as (transaction, changes):
            state = transaction.team(*key)
            promoted = in_effect(transaction.changes_of(*key), state.plan)
            experiment = transaction.experiment(state.experiment_id) if state.experiment_id else None
            if change_id is not None and change_id not in [change.id for change in promoted]:
                raise AutotuneError(
                    f"change {change_id} of team {key[1]!r} is not in effect",
                    hint="victor autotune rollback --list shows what can be rolled back",
                )
            if not promoted and experiment is None:
                raise AutotuneError(
                    f"team {key[1]!r} of workflow {key[0]!r} has no change to roll back",
                    hint="victor autotune history shows what was changed",
                )
            if experiment is not None:
                status: ExperimentStatus = "rolled_back" if experiment.status == "watched" else "aborted"
                experiment = evolve(experiment, status=status, ended_at=self._clock())
            if change_id is None:
                running_only = experiment is not None and experiment.status == "aborted"
                taken = [] if running_only else promoted[-1:]
            else:
                taken = [change for change in promoted if change.id is not None and change.id >= change_id]
            plan = state.plan if not taken or taken[0].rollback_plan is None else taken[0].rollback_plan
            changes.apply(
                evolve(state, plan=plan, experiment_id=None),
                "rolled_back" if taken else "aborted",
                reason,
                before=state,
                experiment=experiment,
                actor="person",
                evidence={TAKES_BACK: [change.id for change in taken]} if taken else None,
            )
        return changes.made[-1][0]

    def set_paused(self, workflow: str, team_id: str, paused: bool) -> TeamState:
        """Pause the tuning of a team, or resume it; return the new state, unchanged when it was so before.

        While it is paused, runs keep the live plan and no experiment takes part or is judged.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._open() as (transaction, changes):
            state = transaction.team(workflow, team_id)
            if state.paused == paused:
                return state
            action: ChangeAction = "paused" if paused else "resumed"
            after = evolve(state, paused=paused)
            return changes.apply(after, action, f"{action.capitalize()} by hand.", before=state, actor="person")

    def pause_all(self, paused: bool) -> bool:
        """Pause all tuning, in every environment and process, or let it go on; return whether that changes anything.

        Processes notice within a second while teams run. Each team keeps its live plan meanwhile.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._store().transaction() as transaction:
            changed = transaction.pause_all(paused)
        self._on_change()
        return changed

    @contextmanager
    def _open(self) -> Iterator[tuple[Transaction, Changes]]:
        """Open a transaction, which locks the team when it is read; at its end the changes are written, and told."""
        changes = Changes(self._clock)
        with self._store().transaction() as transaction:
            yield transaction, changes
            changes.write(transaction)
        self._on_change()
        for change, experiment in changes.made:
            self._hooks.plan_changed(change, experiment)

    def _ended(self, changes: Changes, state: TeamState, experiment: Experiment) -> TeamState:
        """End the test that is open, or the watch over a plan that a person applied; return the team's state."""
        if experiment.status == "watched" and not experiment.is_untested:
            raise AutotuneError(
                f"the promotion of experiment {experiment.id} of team {state.team_id!r} is still watched",
                hint="Wait for the end of the watch, or roll it back: victor autotune rollback",
            )
        ended = evolve(experiment, status="aborted", ended_at=self._clock())
        if experiment.is_untested:  # what it watched stays, under the watch that follows
            changes.save_experiment(ended)
            return state
        reason = "A person applied another change, which ended the test."
        after = evolve(state, experiment_id=None)
        return changes.apply(after, "aborted", reason, before=state, experiment=ended, actor="person")


def _changed(state: TeamState, plan: TeamPlan) -> TeamPlan:
    treatment = state.plan.merged(plan)
    if treatment == state.plan:
        raise AutotuneError(f"the change changes nothing: team {state.team_id!r} already runs this plan")
    return treatment


def in_effect(changes: Sequence[Change], plan: TeamPlan) -> list[Change]:
    """Return the promotions that led to a team's live plan and were not rolled back, oldest first.

    It walks back from the live plan: each promotion led from the plan it replaced to the plan it made. So a history
    that was imported, or that a changed definition of the team made void, is not in effect.

    Args:
        changes: The team's history, oldest first.
    """
    taken_back = {number for change in changes for number in change.takes_back}
    chain: list[Change] = []
    for change in reversed(changes):
        if (
            change.action == "promoted"
            and change.id not in taken_back
            and change.rollback_plan is not None
            and change.rollback_plan != change.plan_after  # else it was made elsewhere, and is only noted
            and change.plan_after == plan
        ):
            chain.append(change)
            plan = change.rollback_plan
    return chain[::-1]
