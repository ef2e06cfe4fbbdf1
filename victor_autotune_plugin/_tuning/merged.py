"""Carries a live plan over to a definition that has taken it over, as when a proposal was merged.

The team runs as before, so what was proven holds: the plan stays live, a new experiment verifies it against the plan
before, as that is written for the new definition, and a rollback leads there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from .._model.merged_definition import is_merged, replaced_by
from .manual import in_effect
from .new_experiment import experiment_of, policy_of
from .suggestions import TASK_RUNS
from .verification import reference_of

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._model.plan import TeamPlan
    from .._model.run import TeamRun
    from .._settings import Settings
    from .changes import Changes
    from .record import Record

REASON = "The team's own definition has taken the live plan over, so what was proven holds."


def carried_over(record: Record, changes: Changes, run: TeamRun, settings: Settings) -> TeamState | None:
    """Have the live plan carried over to a run's definition.

    Args:
        record: What is known of the team.
        changes: The conclusions.
        run: The first run of the new definition.
        settings: The team's settings.

    Returns:
        The team's new state; None, and nothing changes, where the definition did not take over a plan that is live for
        good, or nothing leads back from it.
    """
    state, spec = record.state, run.spec
    if state.spec is None or state.fingerprint is None or not is_merged(state.spec, state.plan, spec):
        return None
    test = record.experiment(state.experiment_id) if state.experiment_id else None
    if test is not None and test.status == "probation":
        return None
    live = record.experiment(state.live_id) if state.live_id else None
    made = in_effect(record.changes, state.plan)
    before = live.control if live is not None and not live.has_ended else made[-1].rollback_plan if made else None
    if before is None:
        return None
    way_back = replaced_by(state.spec, spec, before)
    if way_back == state.plan:
        return None
    after = evolve(state, fingerprint=spec.fingerprint(), spec=spec, experiment_id=None)
    verifies = _verifier(record, after, live, before, way_back, run, settings)
    if live is not None and not live.has_ended:
        changes.save_experiment(evolve(live, status="superseded", ended_at=run.ended_at))
    if test is not None and not test.has_ended:  # it compared with the plan as the definition before needed it
        changes.save_experiment(evolve(test, status="aborted", ended_at=run.ended_at, asks_for=None))
    return changes.apply(
        evolve(after, live_id=None if verifies is None else verifies.id),
        "merged",
        REASON,
        before=state,
        experiment=verifies,
        rollback_plan=way_back,
        improvement_percent=made[-1].improvement_percent if made else None,
    )


def _verifier(
    record: Record,
    state: TeamState,
    live: Experiment | None,
    before: TeamPlan,
    way_back: TeamPlan,
    run: TeamRun,
    settings: Settings,
) -> Experiment | None:
    """Return what verifies the plan from now on, by the runs under the definition before; None without such runs."""
    known = [one for one in record.runs(TASK_RUNS) if one.spec.fingerprint() == record.state.fingerprint]
    reference = reference_of(known, before, state.plan)
    if live is None or not reference:
        return None
    made = experiment_of(
        state,
        len(record.experiments),
        way_back,
        state.plan,
        settings,
        run.ended_at,
        strategy=live.strategy,
        description=live.description,
        policy=policy_of(settings, live.policy.metric, is_scored=bool(state.gates)),
        store_id=record.store_id,
        promoted_at=live.promoted_at or run.ended_at,
        reference=reference,
        allowed_by=live.allowed_by,
        proven_by=live.proven_by or (live.id if live.verdict else None),
    )
    return evolve(made, status="proven")
