"""Which changes of a team's plan are in effect, and so can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..model.plan import TeamPlan
from ..model.state import Change

TAKES_BACK: Final = "takes_back"
"""Key in a rollback's evidence: the ids of the changes that it took back."""


def in_effect(changes: Sequence[Change], plan: TeamPlan) -> list[Change]:
    """Return the promotions that led to a team's live plan and were not taken back, oldest first.

    It walks back from the live plan: each promotion led from the plan it replaced to the plan it made. So a history
    that was imported from elsewhere, or that a changed definition of the team made void, is not in effect.

    Args:
        changes: The team's history, oldest first.
        plan: Its live plan.
    """
    taken_back = {number for change in changes for number in change.evidence.get(TAKES_BACK, ())}
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
