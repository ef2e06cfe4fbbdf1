"""Keeps a team's gates up to date, and ends the tests that rest on one that is no longer in force."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .gates import (
    LAST_RUNS,
    LOOKED_AT,
    MOST_LABELS,
    GatesInForce,
    ScorerStatus,
    alike,
    gates_in_force,
    lost_gate,
    may_change,
    still_set,
)
from .threads import breathing
from .transitions import Why

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._model.run import TeamRun
    from .._settings import Settings
    from .changes import Changes
    from .next_test import RunContext
    from .record import Record

LOOK_EVERY: Final = 5
"""After how many runs the scores are read again; of a team's first ones after each."""

Reasons = Mapping[str, str]
"""Why gates are no longer in force, by name, in a clause."""


def keep_gates(
    record: Record, changes: Changes, state: TeamState, run: TeamRun, settings: Settings
) -> tuple[TeamState, Reasons]:
    """Bring a team's gates up to date.

    What the settings say is looked at with each run. The scores are read after some runs only, and where they may tell
    of other gates; which runs these are follows from their numbers, so that it does not matter who judges them.

    Args:
        record: What the store holds up to the run.
        changes: The conclusions.
        state: The team's state.
        run: The run.
        settings: The team's settings.

    Returns:
        The state, and why gates went.
    """
    now = still_set(settings, state.gates)
    number = run.number or 0
    is_due = number <= LAST_RUNS or number % LOOK_EVERY == 0
    if is_due and (may_change(settings, now.gates) or _is_scored_by_hook(record)):
        judged = partial(record.judged_runs, limit=MOST_LABELS)
        with breathing():
            now = gates_in_force(settings, state.gates, record.scores(LOOKED_AT), judged)
    reasons = {gate.name: reason for gate, reason in now.gone}
    if alike(now.gates, state.gates):
        return state, reasons
    return _told(changes, state, now), reasons


def _is_scored_by_hook(record: Record) -> bool:
    return "hook" in record.score_sources(LAST_RUNS)


def _told(changes: Changes, state: TeamState, now: GatesInForce) -> TeamState:
    """Have the gates written; that a judge came or went is a line in the history."""
    for gate, reason in now.gone:
        if gate.judge:
            rest = [one for one in state.gates if one != gate]
            said = f"The judge {gate.name!r} decides no more: {reason}."
            evidence = _evidence(now.of(gate), gate.judge)
            after = evolve(state, gates=rest)
            state = changes.apply(after, "judge_distrusted", said, before=state, evidence=evidence)
    for one in now.scorers:
        new = one.gate
        if new is not None and new.judge and new.identity not in {known.identity for known in state.gates}:
            after = evolve(state, gates=[*state.gates, new])
            said, evidence = f"The judge {new.name!r} decides from now on: {one.why}.", _evidence(one, new.judge)
            state = changes.apply(after, "judge_trusted", said, before=state, evidence=evidence)
    return state if alike(state.gates, now.gates) else changes.save_team(evolve(state, gates=now.gates))


def _evidence(known: ScorerStatus | None, judge: str) -> dict[str, Any]:
    """Return how far a judge agreed with labels, as plain data."""
    if known is None or known.trust is None or known.judge != judge:
        return {"judge": judge}
    return {"judge": judge, **known.trust.agreement.to_dict(), "recent": known.trust.recent.to_dict()}


def ends_what_lost_its_gate(context: RunContext, test: Experiment | None, reasons: Reasons) -> bool:
    """End the open test, and what awaits its approval, if a scorer that it rests on no longer decides.

    The watch over a live plan goes on without scores.

    Args:
        context: The run after which it is looked at.
        test: The open test, or None.
        reasons: Why gates went.

    Returns:
        Whether anything was ended.
    """
    steps, gates = context.steps, context.state.gates
    asked = [one for one in context.record.experiments if one.status == "awaits_approval"] if reasons else []
    ended = False
    for one in (test, *asked):
        gate = None if one is None or one.has_ended else lost_gate(one, gates)
        if one is None or gate is None:
            continue
        because = f": {reasons[gate.name]}" if gate.name in reasons else ""
        why = Why(
            f"The scorer {gate.name!r}, which this test rests on, decides no more{because}.",
            {"scorer": gate.name, "judge": gate.judge},
        )
        steps = evolve(steps, state=steps.end_test(one, "inconclusive", why))
        ended = True
    return ended
