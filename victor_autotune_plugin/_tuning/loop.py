"""The loop: which plan the next run gets, and what follows from a finished one.

```
suggestion ──▶ draft ──approved──▶ running ──passed──▶ watched ──no harm──▶ settled
                                      │ failed, inconclusive   │ harm
                                      ▼                        ▼
                                plan stays              rolled back to the plan before
```

A draft waits for its approval, which in mode `auto` is given at once. A person may abort or pause at every point.

Every step of it is one transaction of the store: what a team's next run gets, the experiment's status and the
line in the history change together or not at all, whatever other process shares the store. A run takes two: its
plan and its start, its end and what follows from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .. import failsafe
from .._model.experiment import Assignment, Experiment, Phase, TeamState
from .._model.plan import EMPTY_PLAN, TeamSpec
from .._model.run import PlannedRun, RunStart
from ..errors import StoreError
from .hookmanager import HookManager
from .judges import Judges, Verdicts
from .next_test import Approval, Challengers, RunContext, Starter
from .recorder import Changes, Recorder, open_changes
from .suggestions import comparable, load_strategies
from .tuner_cache import LEARN_RUNS, TeamRecord

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import Settings

SUGGEST_EVERY: Final = 5
"""A team without an experiment is looked at again after this many runs."""

_TESTING: Final = ("approve", "auto")
"""The modes in which runs take part in experiments."""

_MOST_STARTED: Final = 10_000
"""Runs whose settings are kept until they end; the oldest go first, as those that never end."""


class TuningLoop:
    """Chooses plans, runs experiments, promotes and rolls back.

    Args:
        settings: Resolves a team's settings, for runs that start without; its second argument is the workflow's own
            `metadata.autotune`.
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
        self._judges = Judges()
        self._challengers = Challengers()
        self._verdicts = Verdicts(self._judges, self._challengers, clock)
        self._starter = Starter(self._challengers, hooks, clock)
        self._started: dict[str, Settings] = {}
        self._states: dict[tuple[str, str], TeamState] = {}
        self._learnt: dict[tuple[str, str], tuple[Any, ...]] = {}
        """What the tuner of each team was made for."""
        self._runs_seen: dict[tuple[str, str], int] = {}

    # --- before a run

    def plan(self, event: RunStart) -> PlannedRun:
        """Choose the plan of a run; if the store can't be used, the run stays as configured."""
        settings = self._settings_of(event)
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

    def started(self, event: RunStart) -> None:
        """Keep the settings of a run that starts, for its judgement."""
        self._started[event.run_id] = self._settings_of(event)
        if len(self._started) > _MOST_STARTED:
            del self._started[next(iter(self._started))]

    def _settings_of(self, event: RunStart) -> Settings:
        return event.settings or self._settings(event.spec, event.metadata)

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
        """Return the assignment of a run in the open phase of an experiment; a task keeps its arm."""
        from .._model.run import CONTROL, TREATMENT
        from ..experiment import assign

        transaction = changes.transaction
        phase: Phase = "watch" if experiment.status == "watched" else "test"
        unit = event.task_key or event.run_id
        # A run without a task is a unit of its own, which has no assignment yet.
        known = transaction.assignment_of_unit(experiment.id, phase, unit) if event.task_key else None
        if known is not None:
            return known
        index = transaction.next_index(experiment.id, phase)
        weights = None
        if phase == "watch":
            holdback = experiment.watch_policy.holdback
            weights = {CONTROL: holdback, TREATMENT: 1 - holdback}
        arm = assign(f"{experiment.seed}:{phase}", index, weights)
        if phase == "watch" and self._judges.watch(changes, experiment).wants_control:
            arm = CONTROL
        assignment = Assignment(experiment.id, phase, index, arm, unit, event.run_id)
        transaction.add_assignment(assignment)
        return assignment

    def _kept_up(self, changes: Changes, spec: TeamSpec) -> TeamState:
        """Return the state of a team, reset where the team's definition has changed."""
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

    def judge(self, run: TeamRun) -> None:
        """Draw the conclusions from a finished run that the recorder has: promote, reject, roll back, or start a test.

        They are written in one transaction with the run.

        Raises:
            StoreError: If the store can't be used; the judgement after the next run catches up.
        """
        settings = self._settings_to_judge_by(run)
        if settings is None:
            return
        self._learn_ahead(run, settings)
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
        settings = self._started.pop(run.run_id, None) or self._settings(run.spec, None)
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
        context = RunContext(changes, state, run, settings, approval)
        if experiment is None:
            self._starter.start(context)
        else:
            self._verdicts.conclude(context, experiment)

    def _learn_ahead(self, run: TeamRun, settings: Settings) -> None:
        """Make the team's tuner, where there is none yet, before the transaction that asks it.

        To import it and to learn from hundreds of runs takes longer than other processes wait for the store's lock, so
        the run is written before.
        """
        state = self._states.get(run.spec.key)
        if state is None or state.paused or settings.tuner.risk == "off":
            return
        made_for = (state.fingerprint, state.plan, settings)
        if self._learnt.get(state.key) == made_for:
            return
        self._recorder.flush()
        with self._recorder.transaction() as transaction:
            experiments, runs = transaction.experiments_of(*state.key), transaction.runs_of(*state.key, LEARN_RUNS)
        if state.experiment_id is None and len(comparable(runs, state)) < settings.experiment.min_history:
            return
        with failsafe.guard("learning from past runs"):
            load_strategies()
            self._challengers.tuners.of(TeamRecord(state, run.spec, settings, experiments, lambda most: runs[:most]))
            self._learnt[state.key] = made_for

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
