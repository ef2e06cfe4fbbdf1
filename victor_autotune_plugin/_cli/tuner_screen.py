"""What the tuner says, on the screen: the plan it would test next, or why none, and what it thinks of an open test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import rendering as show

if TYPE_CHECKING:
    from .._tuner import Outlook, Proposal
    from .._tuning.next_test import Advice

_KNOBS: Final = {"tool_budget": "tool budget", "timeout_seconds": "timeout"}
"""Names of knobs for people, where they differ."""


def print_advice(advice: Advice) -> None:
    """Print what the tuner says of a team; nothing where it was not asked, is off, or failed.

    Args:
        advice: What it says.
    """
    console = show.out()
    if advice.outlook is not None:
        console.print("What the tuner says of it", style="bold")
        console.print(show.text(advice.outlook.reason))
        console.print(show.pairs(_rows(advice.outlook.outlook)))
        console.print()
    if advice.proposal is not None:
        _print_proposal(advice.proposal)


def _print_proposal(proposal: Proposal) -> None:
    """Print what the tuner would test next, or why nothing, and why not the other plans."""
    console = show.out()
    console.print("What the tuner would test next", style="bold")
    chosen = proposal.chosen
    if chosen is None:
        console.print(show.text(f"Nothing. {proposal.nothing_because}"))
    else:
        rows = [("Plan", show.plan_text(chosen.plan)), *_rows(chosen), ("Suggested by", chosen.source)]
        console.print(show.pairs(rows))
    if proposal.reasons:
        ruled_out = ", ".join(f"{reason} ({number})" for reason, number in proposal.reasons.items())
        console.print(show.text(f"Plans ruled out: {ruled_out}."))
    console.print()
    if proposal.not_chosen:
        console.print("Why not another plan", style="bold")
        table = show.table("Plan", "Expected", "From", "Why not", right=("Expected",))
        for other in proposal.not_chosen:
            expected = show.DASH if other.improvement is None else _percent(other.improvement)
            table.add_row(
                show.text(show.plan_text(other.plan)), expected, show.text(other.source), show.text(other.reason)
            )
        console.print(table)
    if proposal.sensitivity:
        console.print("How much each knob matters, changed alone", style="bold")
        table = show.table("Knob", "Best", "Worst", "Settings", "Best setting", right=("Best", "Worst", "Settings"))
        for knob in proposal.sensitivity:
            name, plan = _KNOBS.get(knob.knob, knob.knob), show.text(show.plan_text(knob.best_plan))
            table.add_row(name, _percent(knob.best), _percent(knob.worst), str(knob.settings), plan)
        console.print(table)


def _rows(outlook: Outlook) -> list[tuple[str, object]]:
    needed = "unknown: no improvement is expected"
    if outlook.runs_needed is not None:
        needed = f"{show.count(outlook.runs_needed, 'run')} in each arm, for a proof with probability 0.8"
    return [
        ("Improvement", f"{_percent(outlook.improvement)} expected, {_interval(outlook.interval)}"),
        ("P(better)", f"{show.percent(outlook.p_better)}; P(harm) {show.percent(outlook.p_harm)}"),
        (
            "Success",
            f"{_points(outlook.success_change)} ({_points(outlook.success_interval[0])} to "
            f"{_points(outlook.success_interval[1])}), kept with {show.percent(outlook.p_success_kept)}",
        ),
        ("Rests on", f"{show.count(outlook.runs_behind, 'run')} of it, {outlook.runs_of_live} of the plan it replaces"),
        ("Prior said", f"{_percent(outlook.prior_improvement)}, {_interval(outlook.prior_interval)}"),
        ("Needs", needed),
        ("P(promotion)", f"{show.percent(outlook.p_pass)} that a test proves it better and safe in time"),
    ]


def _percent(share: float) -> str:
    return f"{round(100 * share):+d} %".replace("-", "−")


def _interval(ends: tuple[float, float]) -> str:
    return f"90 % interval {_percent(ends[0])} to {_percent(ends[1])}"


def _points(share: float) -> str:
    return f"{round(100 * share):+d} points".replace("-", "−")
