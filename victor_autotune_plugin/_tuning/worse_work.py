"""What speaks of worse work: in a test that goes on, and in what a team's history tells of its layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._model.experiment import Change, Experiment, TeamState
from .._model.text import TITLES, plan_text, points

if TYPE_CHECKING:
    from .._model.policy import GuardrailEvidence

LIKELY_HARM: Final = {"score": (2.5, 0.5), "success": (1.8, 1.0), "member_success": (1.8, 1.0)}
"""Evidence of worse work, a standard normal figure without any, and the drop in margins from which it counts.

One layout in twenty or so harms although the data flow shows no reason (an assumption). By Bayes' rule that is likelier
than chance from about 2.5 on, for drops of one to two margins with the error that 20 to 60 pairs leave of a score.
Success alone tells so little of a run that as much would take hundreds: there a false alarm is the lesser harm."""

REACHED: Final = "reached"
"""Key in the evidence of an end by a weekly limit: the limit's name."""

BAD: Final = "bad_runs"
FAILED: Final = "failed_runs"
"""Keys there: how many runs of treatments were bad, and how many of those were not merely slow."""

WORK: Final = ("success", "score", "member_success")
"""What tells how good the work is, by names of guardrails and harms."""

_ENDS: Final = ("failed", "aborted", "rolled_back")


def sign_of_worse_work(guardrails: Sequence[GuardrailEvidence], least: float | None = None) -> str | None:
    """Return how much worse the work looks in a test, or None.

    Args:
        guardrails: What is known of each.
        least: Standardised evidence from which it does; None for that of `LIKELY_HARM`.
    """
    scored = any(one.name == "score" for one in guardrails)
    told = ("score",) if scored else ("success", "member_success")
    for one in guardrails:
        is_open = one.name in told and one.status != "ok"  # what is proven to be within its margin is no harm
        if is_open and _is_worse(one.name, one.statistic, one.change, one.margin, least):
            fell = points(one.change).removeprefix("+")
            return f"The {TITLES[one.name]} is {fell} lower than under the plan before, which may be no accident."
    return None


def layout_with_worse_work(
    experiments: Iterable[Experiment], changes: Iterable[Change], state: TeamState
) -> str | None:
    """Return the layout under which the work of a team got worse, in words, or None.

    Members that read nothing of each other may still need each other: one that uses up what they share, or a provider
    that answers worse to many calls at a time. So one such layout speaks against the others of the same definition.
    """
    ended = {one.experiment_id for one in changes if one.action in _ENDS and _tells_worse_work(one.evidence)}
    for one in experiments:
        if one.id in ended and one.fingerprint == state.fingerprint and one.treatment.is_layout_of(one.control):
            return plan_text(one.treatment)
    return None


def _tells_worse_work(evidence: Mapping[str, Any]) -> bool:
    """Return whether the evidence of a change, a verdict of a test or of a watch, speaks of worse work."""
    mostly_failed = FAILED in evidence and 2 * evidence[FAILED] > evidence[BAD]
    if evidence.get("harm") in WORK or mostly_failed:
        return True
    return any(
        one["status"] == "harmed"
        or _is_worse(one["name"], one.get("statistic") or 0.0, one.get("change") or 0.0, one.get("margin") or 0.0)
        for one in evidence.get("guardrails") or ()
        if one["name"] in WORK and one["status"] != "ok"
    )


def _is_worse(name: str, statistic: float, change: float, margin: float, least: float | None = None) -> bool:
    evidence, margins = LIKELY_HARM[name]
    return statistic >= (least or evidence) and change > margins * margin
