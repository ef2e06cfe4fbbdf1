"""What a person or a program asks for: put a plan in place, or have it tested on the team's next runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from .._model.experiment import Change, ChangeAction, TeamState
from .._model.optimization import OptimizationSuggestion
from .._model.plan import TeamPlan
from ..errors import AutotuneError
from .changes import Changes, open_changes
from .proposals import TASK_RUNS, comparable, new_experiment

if TYPE_CHECKING:
    from .._settings import Settings
    from .hookmanager import HookManager
    from .recorder import Recorder


class ManualChanges:
    """Changes of a team's plan that somebody asks for; each is one transaction of the store.

    Args:
        recorder: Gives the transaction.
        hooks: Are told of the change.
        clock: Unix seconds.
    """

    def __init__(self, recorder: Recorder, hooks: HookManager, clock: Callable[[], float] = time.time) -> None:
        self._recorder = recorder
        self._hooks = hooks
        self._clock = clock

    def start_test(
        self, key: tuple[str, str], suggestion: OptimizationSuggestion, settings: Settings, evidence: Mapping[str, Any]
    ) -> Change:
        """Start the A/B test of a suggestion: the team's next runs take part in it.

        Args:
            key: `(workflow, team_id)`.
            suggestion: The change to test.
            settings: The team's settings.
            evidence: What belongs into the history beside it.

        Returns:
            The line in the history.

        Raises:
            AutotuneError: A test or a watch is open, or the change changes nothing.
            StoreError: If the store can't be used.
        """
        with open_changes(self._recorder, self._hooks, self._clock) as changes:
            state = changes.transaction.team(*key)
            if state.experiment_id is not None:
                raise AutotuneError(
                    f"experiment {state.experiment_id} of team {key[1]!r} is open",
                    hint="Wait for its end, or end it: victor autotune rollback",
                )
            treatment = _changed(state, suggestion.plan)
            number = len(changes.transaction.experiments_of(*key))
            runs = comparable(changes.transaction.runs_of(*key, TASK_RUNS), state)
            experiment = new_experiment(state, number, treatment, suggestion, settings, self._clock(), runs)
            return changes.apply_change(
                evolve(state, experiment_id=experiment.id),
                "started",
                suggestion.description,
                before=state,
                experiment=experiment,
                actor="person",
                evidence={**suggestion.to_dict(), **evidence},
            )

    def put_in_place(
        self,
        key: tuple[str, str],
        plan: TeamPlan,
        reason: str,
        *,
        evidence: Mapping[str, Any],
        improvement_percent: float | None = None,
    ) -> Change:
        """Make a plan the team's live plan; what it does not set stays. A running test ends.

        Args:
            key: `(workflow, team_id)`.
            plan: The knobs to change; empty where the change is made elsewhere, such as in a file, and is only noted.
            reason: Why, for the history.
            evidence: What it rests on, and what restores the state before.
            improvement_percent: Improvement that was proven, or None.

        Returns:
            The line in the history.

        Raises:
            AutotuneError: A watch is open: the plan under it was promoted and is still to be judged.
            StoreError: If the store can't be used.
        """
        with open_changes(self._recorder, self._hooks, self._clock) as changes:
            state = changes.transaction.team(*key)
            self._end_test(changes, state)
            return changes.apply_change(
                evolve(state, plan=state.plan.merged(plan), experiment_id=None),
                "promoted",
                reason,
                before=state,
                actor="person",
                evidence=evidence,
                rollback_plan=state.plan,
                improvement_percent=improvement_percent,
            )

    def note(self, key: tuple[str, str], action: ChangeAction, reason: str, *, evidence: Mapping[str, Any]) -> Change:
        """Add a line to a team's history; its plan and its test stay.

        Args:
            key: `(workflow, team_id)`.
            action: What happened.
            reason: Why.
            evidence: What it rests on.

        Raises:
            StoreError: If the store can't be used.
        """
        with open_changes(self._recorder, self._hooks, self._clock) as changes:
            state = changes.transaction.team(*key)
            return changes.apply_change(state, action, reason, before=state, actor="person", evidence=evidence)

    def _end_test(self, changes: Changes, state: TeamState) -> None:
        experiment = changes.transaction.experiment(state.experiment_id) if state.experiment_id else None
        if experiment is None:
            return
        if experiment.status == "watched":
            raise AutotuneError(
                f"the promotion of experiment {experiment.id} of team {state.team_id!r} is still watched",
                hint="Wait for the end of the watch, or take it back: victor autotune rollback",
            )
        changes.transaction.save_experiment(evolve(experiment, status="aborted", ended_at=self._clock()))


def _changed(state: TeamState, plan: TeamPlan) -> TeamPlan:
    treatment = state.plan.merged(plan)
    if treatment == state.plan:
        raise AutotuneError(f"the change changes nothing: team {state.team_id!r} runs so already")
    return treatment
