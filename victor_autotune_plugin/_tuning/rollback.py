"""Which changes of a team's plan are in effect, and so can be taken back, and how they are."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from .._model.experiment import TAKES_BACK, Change, ExperimentStatus
from .._model.plan import TeamPlan
from ..errors import AutotuneError
from .changes import Changes


def in_effect(changes: Sequence[Change], plan: TeamPlan) -> list[Change]:
    """Return the promotions that led to a team's live plan and were not taken back, oldest first.

    It walks back from the live plan: each promotion led from the plan it replaced to the plan it made. So a history
    that was imported from elsewhere, or that a changed definition of the team made void, is not in effect.

    Args:
        changes: The team's history, oldest first.
        plan: Its live plan.
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


def take_back(changes: Changes, key: tuple[str, str], reason: str, now: float, change_id: int | None = None) -> Change:
    """Take back a promotion exactly, with those made on top of it, and end the experiment that is open.

    While a test is running and no promotion is named, only the test is ended.

    Args:
        changes: The transaction to do it in.
        key: `(workflow, team_id)`.
        reason: Why, for the history.
        now: Unix time, seconds.
        change_id: Id of the promotion in the history, one of `in_effect`; None for the latest.

    Returns:
        The change made.

    Raises:
        AutotuneError: If there is nothing to take back, or that change is not in effect.
        StoreError: If the store can't be used.
    """
    transaction = changes.transaction
    state = transaction.team(*key)
    promoted = in_effect(transaction.changes_of(*key), state.plan)
    experiment = transaction.experiment(state.experiment_id) if state.experiment_id else None
    if change_id is not None and change_id not in [change.id for change in promoted]:
        raise AutotuneError(
            f"change {change_id} of team {key[1]!r} is not in effect",
            hint="victor autotune rollback --list shows what can be taken back",
        )
    if not promoted and experiment is None:
        raise AutotuneError(
            f"team {key[1]!r} of workflow {key[0]!r} has no change to take back",
            hint="victor autotune history shows what was changed",
        )
    if experiment is not None:
        status: ExperimentStatus = "rolled_back" if experiment.status == "watched" else "aborted"
        experiment = evolve(experiment, status=status, ended_at=now)
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
