"""What the runs of a live plan lead to: a re-verification, its confirmation, or a rollback; and who verifies it.

Whatever made a plan live, it is verified from then on: by the experiment whose test proved it, or by one that is made
for it where a person applied it, an earlier version of the plugin left it, or a rollback came back to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from .._model.experiment import Experiment
from .._model.plan import EMPTY_PLAN, TeamPlan
from .._model.run import CONTROL, TREATMENT, Observation
from .judges import Judges
from .new_experiment import experiment_of, policy_of
from .suggestions import TASK_RUNS
from .transitions import Steps, Why
from .verdicts import over_cost_cap

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .next_test import RunContext

REFERENCE_RUNS: Final = 200
"""How many of a team's last runs the watch over a plan that no test proved compares with."""


class Verification:
    """Verifies the live plans of the teams that this process judges."""

    def __init__(self, judges: Judges) -> None:
        self._judges = judges

    def conclude(self, context: RunContext, live: Experiment, test: Experiment | None) -> bool:
        """Draw the conclusions from a run for the plan that is live.

        Args:
            live: The experiment behind it.
            test: The test that goes on over it, or None. It ends where its control is no longer what it was.

        Returns:
            Whether anything was changed.
        """
        if over := over_cost_cap(context, live):
            self._roll_back(context, live, test, Why(*over))
            return True
        watch = self._judges.watch(context.record, live)
        if watch.is_final:
            verdict = watch.verdict()
            ended = evolve(live, watch_verdict=verdict.to_dict(), decided_at=live.decided_at or context.now)
            self._roll_back(context, ended, test, Why(verdict.reason, verdict.to_dict()))
            return True
        # The watch may see many runs at once, where its process did not verify for a while.
        if watch.status == "reverifying" and (live.status == "proven" or live.rounds != watch.rounds):
            verdict = watch.verdict()
            steps = self._end_test(context, test, verdict.alarm)
            steps.reverify(live, watch.rounds, Why(verdict.alarm, verdict.to_dict()))
            return True
        if watch.status == "watching" and live.status == "reverifying":
            verdict = watch.verdict()
            context.steps.confirm(live, Why(verdict.reason, verdict.to_dict()))
            return True
        return False

    def _roll_back(self, context: RunContext, live: Experiment, test: Experiment | None, why: Why) -> None:
        self._end_test(context, test, why.reason).roll_back(live, why)

    @staticmethod
    def _end_test(context: RunContext, test: Experiment | None, reason: str) -> Steps:
        steps = context.steps
        if test is None:
            return steps
        why = Why(f"The plan that this test compares with is verified again. {reason}")
        return evolve(steps, state=steps.end_test(test, "aborted", why))


def adopted(context: RunContext) -> Experiment | None:
    """Return an experiment that verifies the live plan, where none does yet; None where there is nothing to compare.

    Its plan before is what the live plan replaced, by the team's history.
    """
    state, record = context.state, context.record
    live = state.plan
    if live.is_empty or state.live_id is not None or state.experiment_id is not None:
        return None
    if state.spec is not None and live == state.spec.start_from:  # nothing was replaced
        return None
    before, made = _origin(context, live)
    runs = [run for run in record.runs(TASK_RUNS) if run.spec.fingerprint() == state.fingerprint]
    reference = reference_of(runs, before, live)
    if before == live or not any(run.arm == TREATMENT for run in reference):
        return None
    settings = context.settings
    return experiment_of(
        state,
        len(record.experiments),
        before,
        live,
        settings,
        context.now,
        strategy="applied" if made is None else made.strategy,
        description="The live plan is verified." if made is None else made.description,
        policy=policy_of(settings, None if made is None else made.policy.metric, is_scored=bool(state.gates)),
        store_id=record.store_id,
        promoted_at=context.now,
        reference=reference,
        allowed_by=None if made is None else made.allowed_by,
        proven_by=None if made is None else made.proven_by or (made.id if made.verdict else None),
    )


def reference_of(runs: Sequence[TeamRun], before: TeamPlan, live: TeamPlan) -> tuple[Observation, ...]:
    """Return what the watch over a plan compares with: the last runs under it and under the one before, oldest first.

    Args:
        runs: Finished runs of the team, newest first.
        before: The plan before.
        live: The live plan.
    """
    known = [
        (run, TREATMENT if run.plan_asked == live else CONTROL)
        for run in runs
        if not run.cancelled and not run.owners and run.plan_asked in (before, live)
    ]
    return tuple(
        Observation.of(run, index=index, arm=arm) for index, (run, arm) in enumerate(reversed(known[:REFERENCE_RUNS]))
    )


def _origin(context: RunContext, live: TeamPlan) -> tuple[TeamPlan, Experiment | None]:
    """Return the plan before the live one, and the experiment that made it live."""
    for change in reversed(context.record.changes):
        before = change.rollback_plan
        if change.plan_after == live and before is not None and before != live:
            return before, context.record.experiment(change.experiment_id) if change.experiment_id else None
    return EMPTY_PLAN, None
