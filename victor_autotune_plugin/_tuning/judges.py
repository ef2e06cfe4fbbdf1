"""Judges the open experiment of a team: promote, reject, give up, settle, or roll back.

Each judge is fed from the store. The A/B engine and its watch decide. The tuner, which knows more than the runs of one
test, may only end what they have not decided yet, or hold a promotion back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .._model.experiment import ChangeAction, Experiment, Phase
from .._model.run import Observation
from .flow_guard import must_wait
from .next_test import Challengers, RunContext
from .record import Record

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import Settings
    from .._tuner import TestOutlook
    from ..experiment import Judge, Watch

_MOST_JUDGES: Final = 1000

PHASES: Final[tuple[Phase, ...]] = ("test", "watch")

OUTLOOK_EVERY: Final = 5
"""After how many runs of an experiment the tuner is asked for its outlook."""


class Judges:
    """Keeps a judge for each open experiment of the process.

    A judge is a function of the observations in the order of the store, so every process that shares the store
    comes to the same verdict, and a new one replays it.
    """

    def __init__(self) -> None:
        self._judges: dict[tuple[str, Phase], tuple[Any, int]] = {}

    def judge(self, record: Record, experiment: Experiment) -> Judge:
        """Return the judge of a test that has seen what the record holds."""
        judge: Judge = self._fed(record, experiment, "test", lambda: new_judge(experiment))
        return judge

    def watch(self, record: Record, experiment: Experiment) -> Watch:
        """Return the watch over a promoted plan that has seen what the record holds."""
        watch: Watch = self._fed(
            record, experiment, "watch", lambda: new_watch(experiment, record.observations(experiment.id, "test"))
        )
        return watch

    def forget(self, experiment_id: str) -> None:
        """Forget the judges of an experiment."""
        for phase in PHASES:
            self._judges.pop((experiment_id, phase), None)

    def _fed(self, record: Record, experiment: Experiment, phase: Phase, make: Callable[[], Any]) -> Any:
        key = (experiment.id, phase)
        judge, seen = self._judges.pop(key, (None, 0))
        if judge is None:
            judge = make()
        if not judge.is_final:
            seen = feed(judge, record.observations(experiment.id, phase, seen)) or seen
        self._judges[key] = judge, seen
        if len(self._judges) > _MOST_JUDGES:
            self._judges.pop(next(iter(self._judges)))
        return judge


class Verdicts:
    """Judges the open experiment of a team."""

    def __init__(self, judges: Judges, challengers: Challengers) -> None:
        self._judges = judges
        self._challengers = challengers

    def conclude(self, context: RunContext, experiment: Experiment) -> None:
        """Draw the conclusions from a finished run for an experiment that is tested or watched."""
        if _crosses_cost_cap(context.run, experiment, context.settings):
            self._stop_for_cost(context, experiment)
        elif experiment.status == "running":
            self._judge_test(context, experiment)
        elif experiment.status == "watched":
            self._judge_watch(context, experiment)

    def _judge_test(self, context: RunContext, experiment: Experiment) -> None:
        judge = self._judges.judge(context.record, experiment)
        passed = judge.is_final and judge.verdict().status == "passed"
        outlook = None
        if passed or not judge.is_final:
            outlook = self._outlook(context, experiment, judge.seen, passed=passed)
        if outlook is not None and (outlook.stop or (outlook.veto and self._is_full(context, experiment))):
            self._give_up(context, experiment, outlook, passed=passed)
        elif passed and must_wait(context, experiment) and not self._is_full(context, experiment):
            return
        elif passed and (outlook is None or not outlook.veto):
            self._promote(context, experiment, judge.verdict())
        elif judge.is_final and not passed:
            self._reject(context, experiment, judge.verdict())

    @staticmethod
    def _is_full(context: RunContext, experiment: Experiment) -> bool:
        """Return whether a test has used all its runs; what is unclear then stays so."""
        runs = len(context.record.observations(experiment.id, "test"))
        return runs >= 2 * experiment.policy.max_runs_per_arm

    def _outlook(
        self, context: RunContext, experiment: Experiment, seen: int, *, passed: bool = False
    ) -> TestOutlook | None:
        """Return what the tuner says: now and then, since a look costs milliseconds, and whenever a test has passed.

        None when it was not asked, is off, or failed.

        Args:
            seen: Observations that the judge has seen.
        """
        if not passed and (context.run.experiment_id != experiment.id or seen % OUTLOOK_EVERY):
            return None
        return self._challengers.outlook(context.team, experiment)

    def _give_up(self, context: RunContext, experiment: Experiment, outlook: TestOutlook, *, passed: bool) -> None:
        """End a test that the tuner thinks is not worth more runs."""
        now = context.now
        reason = f"{'Passed, and not promoted' if passed else 'Stopped as hopeless'}. {outlook.reason}"
        ended = evolve(experiment, status="inconclusive", decided_at=now, ended_at=now)
        after = evolve(context.state, experiment_id=None)
        context.changes.apply(
            after, "inconclusive", reason, before=context.state, experiment=ended, evidence=outlook.to_dict()
        )

    def _reject(self, context: RunContext, experiment: Experiment, verdict: Any) -> None:
        now, evidence = context.now, verdict.to_dict()
        failed = verdict.status == "failed"
        action: ChangeAction = "failed" if failed else "inconclusive"
        decided = evolve(experiment, verdict=evidence, decided_at=now)
        ended = evolve(decided, status="failed" if failed else "inconclusive", ended_at=now)
        after = evolve(context.state, experiment_id=None)
        context.changes.apply(after, action, verdict.reason, before=context.state, experiment=ended, evidence=evidence)

    def _promote(self, context: RunContext, experiment: Experiment, verdict: Any) -> None:
        """Promote the plan of a test that passed; ask first where a person has to approve."""
        now, evidence = context.now, verdict.to_dict()
        decided = evolve(experiment, verdict=evidence, decided_at=now)
        changes, state, approval = context.changes, context.state, context.approval
        if not approval.given:
            if approval.by is None:
                approval.asked = decided, "promote"
                return
            ended = evolve(decided, status="aborted", ended_at=now)
            reason = f"The hook of {approval.by!r} did not approve the promotion."
            after = evolve(state, experiment_id=None)
            changes.apply(after, "aborted", reason, before=state, experiment=ended, actor="person")
            return
        watched = evolve(decided, status="watched", promoted_at=now)
        after = evolve(state, plan=experiment.treatment)
        if not context.settings.watch.enabled:
            changes.save_experiment(watched)
            watched = evolve(watched, status="settled", ended_at=now)
            after = evolve(after, experiment_id=None)
        changes.apply(
            after,
            "promoted",
            verdict.reason,
            before=state,
            experiment=watched,
            evidence=evidence,
            rollback_plan=experiment.control,
            improvement_percent=100 * verdict.effect * (1 if experiment.policy.metric == "score" else -1),
        )

    def _judge_watch(self, context: RunContext, experiment: Experiment) -> None:
        watch = self._judges.watch(context.record, experiment)
        if not watch.is_final:
            outlook = self._outlook(context, experiment, watch.seen)
            if outlook is not None and outlook.stop:
                self._roll_back(context, experiment, outlook)
            elif watch.wants_control != context.state.wants_control:
                context.changes.save_team(evolve(context.state, wants_control=watch.wants_control))
            return
        verdict = watch.verdict()
        evidence = verdict.to_dict()
        harmed = verdict.status == "rolled_back"
        action: ChangeAction = "rolled_back" if harmed else "settled"
        ended = evolve(
            experiment, watch_verdict=evidence, status="rolled_back" if harmed else "settled", ended_at=context.now
        )
        after = evolve(context.state, experiment_id=None, plan=experiment.control if harmed else context.state.plan)
        context.changes.apply(after, action, verdict.reason, before=context.state, experiment=ended, evidence=evidence)

    def _roll_back(self, context: RunContext, experiment: Experiment, outlook: TestOutlook) -> None:
        """Roll back a promotion that the tuner is nearly sure loses success, before the watch has proven it."""
        ended = evolve(experiment, status="rolled_back", ended_at=context.now)
        after = evolve(context.state, experiment_id=None, plan=experiment.control)
        reason, evidence = f"Given up. {outlook.reason}", outlook.to_dict()
        context.changes.apply(after, "rolled_back", reason, before=context.state, experiment=ended, evidence=evidence)

    def _stop_for_cost(self, context: RunContext, experiment: Experiment) -> None:
        """End a plan that crossed the cost cap; one run is enough, since the cap is a hard limit."""
        cap, cost, state = context.settings.limits.max_cost_usd_per_run, context.run.cost_usd, context.state
        reason = f"A run of the changed plan cost {cost:.4f} USD, more than limits.max_cost_usd_per_run, {cap:g}."
        watched = experiment.status == "watched"
        ended = evolve(experiment, status="rolled_back" if watched else "failed", ended_at=context.now)
        after = evolve(state, experiment_id=None, plan=experiment.control if watched else state.plan)
        action: ChangeAction = "rolled_back" if watched else "failed"
        context.changes.apply(after, action, reason, before=state, experiment=ended, evidence={"cost_usd": cost})


def _crosses_cost_cap(run: TeamRun, experiment: Experiment, settings: Settings) -> bool:
    cap = settings.limits.max_cost_usd_per_run
    over = cap is not None and run.cost_usd is not None and run.cost_usd > cap
    return over and run.experiment_id == experiment.id and run.arm == "treatment"


def feed(judge: Judge | Watch, observations: Sequence[Observation]) -> int:
    """Let a judge see observations until it has decided.

    What comes after the decision is no part of it, so that the verdict does not depend on when it is asked for.

    Args:
        judge: A test's judge, or a watch.
        observations: The observations that follow those it has seen, in order.

    Returns:
        The order of the last one it saw, or 0 when it saw none.
    """
    seen = 0
    for observation in observations:
        if judge.is_final:
            break
        judge.observe(observation)
        seen = observation.order
    return seen


def new_judge(experiment: Experiment) -> Judge:
    """Return the judge of an experiment's test that has seen no run yet.

    Args:
        experiment: The experiment: its policy, and what was known of the tasks before.
    """
    from ..experiment import Judge

    return Judge(experiment.policy, task_effects=experiment.task_effects)


def new_watch(experiment: Experiment, test: Sequence[Observation]) -> Watch:
    """Return a watch over an experiment's promoted plan that has seen no run yet.

    It compares with the runs of the test, or where there was none with those that the experiment brings along.

    Args:
        test: All observations of its test, in order. Those that decided it are what the watch compares with.
    """
    from ..experiment import Watch

    last = feed(new_judge(experiment), test)
    reference = [observation for observation in test if observation.order <= last]
    return Watch(experiment.watch_policy, reference=[*experiment.reference, *reference])
