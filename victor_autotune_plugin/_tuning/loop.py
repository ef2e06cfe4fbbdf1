"""The loop: which plan the next run gets, and what follows from a finished one.

```
suggestion ──▶ draft ──approved──▶ running ──passed──▶ watched ──no harm──▶ settled
                                      │ failed, inconclusive   │ harm
                                      ▼                        ▼
                                plan stays              rolled back to the plan before
```

A draft waits for its approval, which in mode `auto` is given at once. A person may abort or pause at every point.

Every step of it is one transaction of the store: what a team's next run gets, the experiment's status and the
line in the history change together or not at all, whoever else shares the store. A run takes two: its
plan and its start, its end and what follows from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .. import failsafe
from .._model.plan import EMPTY_PLAN, TeamSpec
from .._model.run import PlannedRun, RunStart
from .._model.experiment import Assignment, Change, ChangeAction, Experiment, Phase, TeamState
from ..errors import StoreError
from .challengers import Challengers
from .changes import Changes, open_changes
from .evidence import Evidence
from .hookmanager import HookManager
from .proposals import comparable, load_strategies
from .recorder import Recorder
from .rollback import take_back
from .run_context import Approval, Case
from .starting import Starting
from .tuner_cache import LEARN_RUNS
from .verdicts import Verdicts

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import Settings

SUGGEST_EVERY: Final = 5
"""A team without an experiment is looked at again after this many runs."""

_TESTING: Final = ("approve", "auto")
"""The modes in which runs take part in experiments."""


class TuningLoop:
    """Chooses plans, runs experiments, promotes and takes back.

    Args:
        settings: Gives the settings of a team; its second argument is the workflow's own `metadata.autotune`.
        recorder: Gives transactions of the store.
        hooks: Are asked for approval and strategies, and told of changes.
        clock: Unix seconds.
    """

    def __init__(
        self,
        settings: Callable[[TeamSpec, Any], Settings],
        recorder: Recorder,
        hooks: HookManager,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._hooks = hooks
        self._clock = clock
        self._evidence = Evidence()
        self._challengers = Challengers()
        self._verdicts = Verdicts(self._evidence, self._challengers, clock)
        self._starting = Starting(self._challengers, hooks, clock)
        self._metadata: dict[tuple[str, str], Any] = {}
        self._states: dict[tuple[str, str], TeamState] = {}
        self._runs_seen: dict[tuple[str, str], int] = {}

    # --- before a run

    def plan(self, event: RunStart) -> PlannedRun:
        """Choose the plan of a run.

        Args:
            event: The run that is about to start.

        Returns:
            The plan. If the store can't be used, the run stays as configured.
        """
        settings = self._settings(event.spec, event.metadata)
        self._metadata[event.spec.key] = event.metadata
        if settings.mode == "observe":
            return PlannedRun(mode=settings.mode)
        if settings.plan is not None:
            return PlannedRun(settings.plan, settings.mode, source="settings")
        try:
            with self._changes() as changes:
                planned = self._planned(changes, event, settings)
                changes.transaction.start_run(event, planned)
            return planned
        except StoreError as error:
            failsafe.report("choice of a plan", error)
            return PlannedRun(mode=settings.mode)

    def _planned(self, changes: Changes, event: RunStart, settings: Settings) -> PlannedRun:
        """Return the plan of a run, which is to be written in the same transaction."""
        transaction = changes.transaction
        state = self._states[event.spec.key] = self._kept_up(changes, event.spec)
        takes_part = state.experiment_id is not None and not state.paused and settings.mode in _TESTING
        experiment = transaction.experiment(state.experiment_id) if takes_part and state.experiment_id else None
        if experiment is None or not experiment.is_open:
            source = "configured" if state.plan.is_empty else "live"
            return PlannedRun(state.plan, settings.mode, None, source, is_recorded=True)
        assignment = self._assigned(changes, experiment, event)
        plan = experiment.treatment if assignment.arm == "treatment" else experiment.control
        source = "watch" if assignment.phase == "watch" else "experiment"
        return PlannedRun(plan, settings.mode, assignment, source, is_recorded=True)

    def _assigned(self, changes: Changes, experiment: Experiment, event: RunStart) -> Assignment:
        """Return the place of a run in the open phase of an experiment; a task keeps its arm."""
        from ..experiment import CONTROL, TREATMENT, assign

        transaction = changes.transaction
        phase: Phase = "watch" if experiment.status == "watched" else "test"
        unit = event.task_key or event.run_id
        # A run without a task is a unit of its own, which nobody has assigned.
        known = transaction.assignment_of_unit(experiment.id, phase, unit) if event.task_key else None
        if known is not None:
            return known
        index = transaction.next_index(experiment.id, phase)
        weights = None
        if phase == "watch":
            holdback = float(experiment.watch_policy["holdback"])
            weights = {CONTROL: holdback, TREATMENT: 1 - holdback}
        arm = assign(f"{experiment.seed}:{phase}", index, weights)
        if phase == "watch" and self._evidence.watch(changes, experiment).wants_control:
            arm = CONTROL
        assignment = Assignment(experiment.id, phase, index, arm, unit, event.run_id)
        transaction.add_assignment(assignment)
        return assignment

    def _kept_up(self, changes: Changes, spec: TeamSpec) -> TeamState:
        """Return the state of a team; what was learnt of another definition of it no longer holds."""
        state = changes.transaction.team(*spec.key)
        fingerprint = spec.fingerprint()
        if state.fingerprint == fingerprint:
            return state
        known = state.fingerprint is not None
        fresh = evolve(state, fingerprint=fingerprint, spec=spec)  # keeps what was asked for before its first run
        if known:
            fresh = evolve(fresh, plan=EMPTY_PLAN, experiment_id=None)
        if known and (state.experiment_id is not None or not state.plan.is_empty):
            experiment = changes.transaction.experiment(state.experiment_id) if state.experiment_id else None
            if experiment is not None and not experiment.has_ended:
                experiment = evolve(experiment, status="aborted", ended_at=self._clock())
            reason = "The definition of the team changed, so what was learnt before no longer holds."
            return changes.apply(fresh, "aborted", reason, before=state, experiment=experiment)
        return changes.transaction.save_team(evolve(fresh, updated_at=self._clock()))

    # --- after a run

    def finished(self, run: TeamRun) -> None:
        """Write a finished run, and draw the conclusions from it: promote, reject, roll back, or start a test.

        Args:
            run: The run. It is written even if the conclusions fail.

        Raises:
            StoreError: If the store can't be used; the run waits in memory, and the next one's judgement catches up.
        """
        try:
            settings = self._settings_to_judge_by(run)
            if settings is not None:
                self._learn_ahead(run, settings)
        except Exception:
            self._recorder.finished(run)
            raise
        if settings is None:
            self._recorder.finished(run)
            return
        approval = Approval() if settings.mode == "approve" else Approval(given=True)
        with open_changes(self._recorder, self._hooks, self._clock, run) as changes:
            self._conclude(changes, run, settings, approval)
        if approval.asked is None:
            return
        experiment, step = approval.asked
        answer = self._hooks.first("approve_change", experiment=experiment, step=step)
        if answer is not None:
            with self._changes() as changes:
                self._conclude(changes, run, settings, Approval(given=answer.value is True, by=answer.by))

    def _settings_to_judge_by(self, run: TeamRun) -> Settings | None:
        """Return the team's settings, or None when nothing follows from the run."""
        settings = self._settings(run.spec, self._metadata.get(run.spec.key))
        if settings.mode not in _TESTING or settings.plan is not None or run.cancelled:
            return None
        if run.experiment_id is None and not self._is_due(run.spec.key, settings.experiment.min_history):
            return None
        return settings

    def _conclude(self, changes: Changes, run: TeamRun, settings: Settings, approval: Approval) -> None:
        state = changes.transaction.team(*run.spec.key)
        if state.paused or state.fingerprint != run.spec.fingerprint():
            return
        experiment = changes.transaction.experiment(state.experiment_id) if state.experiment_id else None
        case = Case(changes, state, run, settings, approval)
        if experiment is None:
            self._starting.start(case)
        else:
            self._verdicts.conclude(case, experiment)

    def _learn_ahead(self, run: TeamRun, settings: Settings) -> None:
        """Make the team's tuner before the transaction that asks it, where it is not there yet.

        To import it and to learn from hundreds of runs takes longer than other processes wait for the store's lock, so
        the run is written before.
        """
        state = self._states.get(run.spec.key)
        if state is None or state.paused or settings.tuner.risk == "off":
            return
        tuners = self._challengers.tuners
        if tuners.has(state, settings):
            return
        self._recorder.finished(run)
        with self._recorder.transaction() as transaction:
            experiments, runs = transaction.experiments_of(*state.key), transaction.runs_of(*state.key, LEARN_RUNS)
        if state.experiment_id is None and len(comparable(runs, state)) < settings.experiment.min_history:
            return
        with failsafe.guard("learning from past runs"):
            load_strategies()
            tuners.of(state, run.spec, settings, experiments, lambda most: runs[:most])

    def _is_due(self, key: tuple[str, str], min_history: int) -> bool:
        """Count a run outside an experiment, and say whether it is time to look for something to test.

        It is at the first run of the process, since the store may hold a history; when the process has seen enough for
        one; and now and then.
        """
        runs = self._runs_seen.get(key, 0) + 1
        self._runs_seen[key] = runs
        return runs in (1, min_history) or runs % SUGGEST_EVERY == 0

    def _changes(self) -> AbstractContextManager[Changes]:
        return open_changes(self._recorder, self._hooks, self._clock)
