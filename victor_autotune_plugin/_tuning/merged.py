"""Notes that a definition has taken a live plan over, as when a proposal was merged.

The team runs as before, so nothing is carried anywhere: from then on the runs of that definition are told in the terms
of the one before, and proof, watch, way back and open tests hold for them as for any other. So it does not matter for
how long machines with the file before and with the merged one run side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from .._model.merged_definition import takes_over
from .manual import in_effect

if TYPE_CHECKING:
    from .._model.plan import TeamSpec
    from .changes import Changes
    from .record import Record

REASON: Final = (
    "The team's own definition says the plan now. Proof, watch and way back hold on; as configured still means as the "
    "definition before."
)


def is_merged(record: Record, spec: TeamSpec) -> bool:
    """Return whether a definition is a team's own with one of the plans in it that led to the live one.

    Args:
        record: What is known of the team.
        spec: The definition, another one than the team's own.
    """
    state = record.state
    if state.spec is None:
        return False
    if spec.fingerprint() in state.merged:
        return True
    plans = [state.plan, *(one.plan_after for one in in_effect(record.changes, state.plan))]
    return any(takes_over(state.spec, plan, spec) for plan in plans)


def note_merged(record: Record, changes: Changes, spec: TeamSpec) -> None:
    """Have a definition that `is_merged` known to all processes, with one line in the history."""
    state, fingerprint = record.state, spec.fingerprint()
    if fingerprint in state.merged:
        return
    changes.apply(
        evolve(state, merged=(*state.merged, fingerprint)),
        "merged",
        REASON,
        before=state,
        experiment=record.experiment(state.live_id) if state.live_id else None,
        evidence={"definition": spec.to_dict()},
    )
