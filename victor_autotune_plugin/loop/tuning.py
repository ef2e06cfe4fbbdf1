"""The loop: which plan the next run gets, and what follows from a finished one.

```
suggestion ──▶ draft ──approved──▶ running ──passed──▶ watched ──no harm──▶ settled
                                      │ failed, inconclusive   │ harm
                                      ▼                        ▼
                                plan stays              rolled back to the plan before
```

A draft waits for its approval, which in mode `auto` is given at once. A person may abort or pause at every point.

Every step of it is one transaction of the store: what a team's next run gets, the experiment's status and the
line in the history change together or not at all, whoever else shares the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve

from .. import faults
from ..errors import AutotuneError, StoreError
from ..hookmanager import HookManager
from ..hookspecs import PlannedRun, TeamRunStarting
from ..model.plan import EMPTY_PLAN, TeamSpec
from ..model.state import Assignment, Change, ChangeAction, Experiment, ExperimentStatus, Phase, TeamState
from ..recorder import Recorder
from .challengers import Challengers
from .changes import Changes, open_changes
from .evidence import Evidence
from .proposals import TASK_RUNS, comparable, may_be_retried, new_experiment, suggestions
from .rollback import TAKES_BACK, in_effect

if TYPE_CHECKING:
    from ..model.optimization import OptimizationSuggestion
    from ..model.run import TeamRun
    from ..settings import Settings
    from ..storage import Transaction
    from ..tuner import TestOutlook

HISTORY_RUNS: Final = 50
"""How many of a team's last runs a suggestion is made from, and after how many an aborted test may be repeated."""

SUGGEST_EVERY: Final = 5
"""A team without an experiment is looked at again after this many runs."""

OUTLOOK_EVERY: Final = 5
"""After how many runs of an experiment the tuner is asked for its outlook."""

_TESTING: Final = ("approve", "auto")
"""The modes in which runs take part in experiments."""


@define
class _Approval:
    """Whether a change may be made, and if nobody was asked yet, what to ask.

    Attributes:
        given: Whether it is approved.
        by: Who answered, or None before anybody was asked.
        asked: The experiment and its step that wait for an answer.
    """

    given: bool = False
    by: str | None = None
    asked: tuple[Experiment, str] | None = None


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
        self._metadata: dict[tuple[str, str], Any] = {}
        self._runs_seen: dict[tuple[str, str], int] = {}

    # --- before a run

    def plan(self, event: TeamRunStarting) -> PlannedRun:
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
                return self._planned(changes, event, settings)
        except StoreError as error:
            faults.report("choice of a plan", error)
            return PlannedRun(mode=settings.mode)

    def _planned(self, changes: Changes, event: TeamRunStarting, settings: Settings) -> PlannedRun:
        transaction = changes.transaction
        state = self._kept_up(changes, event.spec)
        takes_part = state.experiment_id is not None and not state.paused and settings.mode in _TESTING
        experiment = transaction.experiment(state.experiment_id) if takes_part and state.experiment_id else None
        if experiment is None or not experiment.is_open:
            return PlannedRun(state.plan, settings.mode, source="configured" if state.plan.is_empty else "live")
        assignment = self._assigned(transaction, experiment, event)
        plan = experiment.treatment if assignment.arm == "treatment" else experiment.control
        source = "watch" if assignment.phase == "watch" else "experiment"
        return PlannedRun(plan, settings.mode, assignment, source)

    def _assigned(self, transaction: Transaction, experiment: Experiment, event: TeamRunStarting) -> Assignment:
        """Return the place of a run in the open phase of an experiment; a task keeps its arm."""
        from ..experiment import CONTROL, TREATMENT, assign

        phase: Phase = "watch" if experiment.status == "watched" else "test"
        unit = event.task_key or event.run_id
        known = transaction.assignment_of_unit(experiment.id, phase, unit)
        if known is not None:
            return known
        index = transaction.next_index(experiment.id, phase)
        weights = None
        if phase == "watch":
            holdback = float(experiment.watch_policy["holdback"])
            weights = {CONTROL: holdback, TREATMENT: 1 - holdback}
        arm = assign(f"{experiment.seed}:{phase}", index, weights)
        if phase == "watch" and self._evidence.watch(transaction, experiment).wants_control:
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

    def judge(self, run: TeamRun) -> None:
        """Draw the conclusions from a finished run: promote, reject, roll back, or start a test.

        Args:
            run: The run; its observation is in the store already.

        Raises:
            StoreError: If the store can't be used. The next run's judgement catches up.
        """
        spec = run.spec
        settings = self._settings(spec, self._metadata.get(spec.key))
        if settings.mode not in _TESTING or settings.plan is not None or run.cancelled:
            return
        if run.experiment_id is None and not self._is_due(spec.key, settings.experiment.min_history):
            return
        approval = _Approval() if settings.mode == "approve" else _Approval(given=True)
        with self._changes() as changes:
            self._conclude(changes, run, settings, approval)
        if approval.asked is None:
            return
        experiment, step = approval.asked
        answer = self._hooks.first("approve_change", experiment=experiment, step=step)
        if answer is not None:
            with self._changes() as changes:
                self._conclude(changes, run, settings, _Approval(given=answer.value is True, by=answer.by))

    def _conclude(self, changes: Changes, run: TeamRun, settings: Settings, approval: _Approval) -> None:
        state = changes.transaction.team(*run.spec.key)
        if state.paused or state.fingerprint != run.spec.fingerprint():
            return
        experiment = changes.transaction.experiment(state.experiment_id) if state.experiment_id else None
        if experiment is None:
            self._propose(changes, state, run, settings, approval)
        elif _crosses_cost_cap(run, experiment, settings):
            self._stop_for_cost(changes, state, experiment, run, settings)
        elif experiment.status == "running":
            self._judge_test(changes, state, run, experiment, settings, approval)
        elif experiment.status == "watched":
            self._judge_watch(changes, state, run, experiment, settings)

    def _is_due(self, key: tuple[str, str], min_history: int) -> bool:
        """Count a run outside an experiment, and say whether it is time to look for something to test.

        It is at the first run of the process, since the store may hold a history; when the process has seen enough for
        one; and now and then.
        """
        runs = self._runs_seen.get(key, 0) + 1
        self._runs_seen[key] = runs
        return runs in (1, min_history) or runs % SUGGEST_EVERY == 0

    def _judge_test(
        self,
        changes: Changes,
        state: TeamState,
        run: TeamRun,
        experiment: Experiment,
        settings: Settings,
        approval: _Approval,
    ) -> None:
        judge = self._evidence.judge(changes.transaction, experiment)
        passed = judge.is_final and judge.verdict().status == "passed"
        ended_otherwise = judge.is_final and not passed
        outlook = None if ended_otherwise else self._outlook(changes, state, run, experiment, settings, always=passed)
        if outlook is not None and outlook.stop:
            self._give_up(changes, state, experiment, outlook, passed)
            return
        if not judge.is_final or (outlook is not None and outlook.veto):
            return
        verdict = judge.verdict()
        now, evidence = self._clock(), verdict.to_dict()
        decided = evolve(experiment, verdict=evidence, decided_at=now)
        if verdict.status != "passed":
            failed = verdict.status == "failed"
            ended = evolve(decided, status="failed" if failed else "inconclusive", ended_at=now)
            action: ChangeAction = "rejected" if failed else "inconclusive"
            after = evolve(state, experiment_id=None)
            changes.apply(after, action, verdict.reason, before=state, experiment=ended, evidence=evidence)
            return
        if not approval.given:
            if approval.by is None:
                approval.asked = decided, "promote"
                return
            ended = evolve(decided, status="aborted", ended_at=now)
            reason = f"The hook of {approval.by!r} did not approve the promotion."
            changes.apply(
                evolve(state, experiment_id=None), "aborted", reason, before=state, experiment=ended, actor="person"
            )
            return
        watched = evolve(decided, status="watched", promoted_at=now)
        after = evolve(state, plan=experiment.treatment)
        if not settings.watch.enabled:
            changes.transaction.save_experiment(watched)
            watched = evolve(watched, status="settled", ended_at=now)
            after = evolve(after, experiment_id=None)
        improvement = 100 * verdict.effect * (1 if experiment.policy["metric"] == "score" else -1)
        changes.apply(
            after,
            "promoted",
            verdict.reason,
            before=state,
            experiment=watched,
            evidence=evidence,
            rollback_plan=experiment.control,
            improvement_percent=improvement,
        )

    def _outlook(
        self,
        changes: Changes,
        state: TeamState,
        run: TeamRun,
        experiment: Experiment,
        settings: Settings,
        *,
        always: bool = False,
    ) -> TestOutlook | None:
        """Return what the tuner says of an experiment; now and then, since a look costs milliseconds, or always."""
        due = run.experiment_id == experiment.id and run.index is not None and (run.index + 1) % OUTLOOK_EVERY == 0
        if not (due or always):
            return None
        transaction = changes.transaction
        experiments = transaction.experiments_of(*state.key)
        read_runs = partial(transaction.runs_of, *state.key)
        return self._challengers.outlook(state, run.spec, settings, experiments, experiment, read_runs)

    def _give_up(
        self, changes: Changes, state: TeamState, experiment: Experiment, outlook: TestOutlook, passed: bool
    ) -> None:
        """End a test that is not worth going on with, by what the tuner says."""
        now = self._clock()
        reason = f"{'Passed, and not promoted' if passed else 'Stopped as hopeless'}. {outlook.reason}"
        ended = evolve(experiment, status="inconclusive", decided_at=now, ended_at=now)
        after = evolve(state, experiment_id=None)
        changes.apply(after, "inconclusive", reason, before=state, experiment=ended, evidence=outlook.to_dict())

    def _judge_watch(
        self, changes: Changes, state: TeamState, run: TeamRun, experiment: Experiment, settings: Settings
    ) -> None:
        watch = self._evidence.watch(changes.transaction, experiment)
        if not watch.is_final:
            outlook = self._outlook(changes, state, run, experiment, settings)
            if outlook is not None and outlook.stop:
                ended = evolve(experiment, status="rolled_back", ended_at=self._clock())
                after = evolve(state, experiment_id=None, plan=experiment.control)
                reason, evidence = f"Given up. {outlook.reason}", outlook.to_dict()
                changes.apply(after, "rolled_back", reason, before=state, experiment=ended, evidence=evidence)
            return
        verdict = watch.verdict()
        evidence = verdict.to_dict()
        harmed = verdict.status == "rolled_back"
        action: ChangeAction = "rolled_back" if harmed else "settled"
        ended = evolve(
            experiment, watch_verdict=evidence, status="rolled_back" if harmed else "settled", ended_at=self._clock()
        )
        after = evolve(state, experiment_id=None, plan=experiment.control if harmed else state.plan)
        changes.apply(after, action, verdict.reason, before=state, experiment=ended, evidence=evidence)

    def _stop_for_cost(
        self, changes: Changes, state: TeamState, experiment: Experiment, run: TeamRun, settings: Settings
    ) -> None:
        """End a plan that crossed the cost cap; one run is enough, since the cap is a hard limit."""
        cap = settings.limits.max_cost_usd_per_run
        reason = (
            f"A run of the changed plan cost {run.cost_usd:.4f} USD, more than limits.max_cost_usd_per_run, {cap:g}."
        )
        watched = experiment.status == "watched"
        ended = evolve(experiment, status="rolled_back" if watched else "failed", ended_at=self._clock())
        after = evolve(state, experiment_id=None, plan=experiment.control if watched else state.plan)
        action: ChangeAction = "rolled_back" if watched else "rejected"
        changes.apply(after, action, reason, before=state, experiment=ended, evidence={"cost_usd": run.cost_usd})

    def _propose(
        self, changes: Changes, state: TeamState, run: TeamRun, settings: Settings, approval: _Approval
    ) -> None:
        """Start a test of the best suggestion that was not tried before, if there is one.

        Until it is approved it is a draft, which takes part in nothing and can be looked at.
        """
        least = settings.experiment.min_history
        runs = comparable(changes.transaction.runs_of(*state.key, max(HISTORY_RUNS, least)), state)
        if len(runs) < least:
            return
        experiments = changes.transaction.experiments_of(*state.key)
        found: dict[str, OptimizationSuggestion] = {}
        for suggestion in suggestions(run.spec, state.plan, runs[:HISTORY_RUNS], settings, self._hooks):
            found.setdefault(state.plan.merged(suggestion.plan).id, suggestion)
        draft = self._draft(changes, state, experiments, settings)
        chosen = draft or self._next_test(changes, state, run.spec, runs[:HISTORY_RUNS], experiments, settings, found)
        if chosen is None:
            return
        if approval.given:
            after, started = evolve(state, experiment_id=chosen.id), evolve(chosen, status="running")
            suggested = found.get(chosen.treatment.id)
            evidence = None if suggested is None else suggested.to_dict()
            changes.apply(after, "started", chosen.description, before=state, experiment=started, evidence=evidence)
        elif approval.by is None:
            if draft is None:
                changes.transaction.save_experiment(chosen)
            approval.asked = chosen, "start"
        else:
            refused = evolve(chosen, status="aborted", ended_at=self._clock())
            reason = f"The hook of {approval.by!r} did not approve the test."
            changes.apply(state, "aborted", reason, before=state, experiment=refused, actor="person")

    def _draft(
        self, changes: Changes, state: TeamState, experiments: Sequence[Experiment], settings: Settings
    ) -> Experiment | None:
        """Return the draft that waits for its approval; abort those that the team has grown out of."""
        standing = None
        others = {one.treatment.id for one in experiments if one.status not in ("draft", "aborted")}
        for draft in experiments:
            if draft.status != "draft":
                continue
            holds = draft.fingerprint == state.fingerprint and draft.control == state.plan
            if holds and draft.treatment.id not in others and not settings.limits.crossed_by(draft.treatment):
                standing = draft
            else:
                changes.transaction.save_experiment(evolve(draft, status="aborted", ended_at=self._clock()))
        return standing

    def _next_test(
        self,
        changes: Changes,
        state: TeamState,
        spec: TeamSpec,
        runs: Sequence[TeamRun],
        experiments: Sequence[Experiment],
        settings: Settings,
        found: dict[str, OptimizationSuggestion],
    ) -> Experiment | None:
        """Return a new draft of a test of the best change that was not tried before, or None.

        A change of the tuner's own is added to what was `found`.
        """
        tried = {
            experiment.treatment.id
            for experiment in experiments
            if experiment.fingerprint == state.fingerprint and not may_be_retried(experiment, runs, HISTORY_RUNS)
        }
        transaction = changes.transaction
        challenge = self._challengers.choose(
            state, spec, settings, list(found.values()), experiments, tried, partial(transaction.runs_of, *state.key)
        )
        if challenge.suggestion is None or challenge.treatment is None:
            return None
        if settings.limits.crossed_by(challenge.treatment):
            return None
        known = comparable(transaction.runs_of(*state.key, TASK_RUNS), state)
        test = new_experiment(
            state, len(experiments), challenge.treatment, challenge.suggestion, settings, self._clock(), known
        )
        found.setdefault(test.treatment.id, challenge.suggestion)
        return evolve(test, status="draft")

    # --- what a person does

    def roll_back(
        self, workflow: str, team_id: str, reason: str = "Taken back by hand.", *, change_id: int | None = None
    ) -> Change:
        """Take back a promotion exactly, with those made on top of it, and end the experiment that is open.

        While a test is running and no promotion is named, only the test is ended.

        Args:
            workflow: Workflow name.
            team_id: Team id.
            reason: Why, for the history.
            change_id: Id of the promotion in the history, one of `rollback.in_effect`; None for the latest.

        Returns:
            The change made.

        Raises:
            AutotuneError: If there is nothing to take back, or that change is not in effect.
            StoreError: If the store can't be used.
        """
        with self._changes() as changes:
            transaction = changes.transaction
            state = transaction.team(workflow, team_id)
            promoted = in_effect(transaction.changes_of(workflow, team_id), state.plan)
            experiment = transaction.experiment(state.experiment_id) if state.experiment_id else None
            if change_id is not None and change_id not in [change.id for change in promoted]:
                raise AutotuneError(
                    f"change {change_id} of team {team_id!r} is not in effect",
                    mend="victor autotune rollback --list shows what can be taken back",
                )
            if not promoted and experiment is None:
                raise AutotuneError(
                    f"team {team_id!r} of workflow {workflow!r} has no change to take back",
                    mend="victor autotune history shows what was changed",
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
            return changes.apply_change(
                evolve(state, plan=plan, experiment_id=None),
                "rolled_back" if taken else "aborted",
                reason,
                before=state,
                experiment=experiment,
                actor="person",
                evidence={TAKES_BACK: [change.id for change in taken]} if taken else None,
            )

    def set_paused(self, workflow: str, team_id: str, paused: bool) -> TeamState:
        """Pause the tuning of a team, or resume it.

        While it is paused, runs keep the live plan and no experiment takes part or is judged.

        Args:
            workflow: Workflow name.
            team_id: Team id.
            paused: Whether to pause.

        Returns:
            The new state; unchanged when it was so before.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._changes() as changes:
            state = changes.transaction.team(workflow, team_id)
            if state.paused == paused:
                return state
            action: ChangeAction = "paused" if paused else "resumed"
            after = evolve(state, paused=paused)
            return changes.apply(after, action, f"{action.capitalize()} by hand.", before=state, actor="person")

    def _changes(self) -> AbstractContextManager[Changes]:
        return open_changes(self._recorder, self._hooks, self._clock)


def _crosses_cost_cap(run: TeamRun, experiment: Experiment, settings: Settings) -> bool:
    cap = settings.limits.max_cost_usd_per_run
    over = cap is not None and run.cost_usd is not None and run.cost_usd > cap
    return over and run.experiment_id == experiment.id and run.arm == "treatment"
