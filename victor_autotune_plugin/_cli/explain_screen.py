"""What `explain` shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from .._tuning.next_test import HISTORY_RUNS
from ..experiment.words import TITLES, evidence_in_words
from . import rendering as show
from .tuner_screen import print_advice

if TYPE_CHECKING:
    from .._model.optimization import OptimizationSuggestion
    from .explanation import Explanation

_TESTED: Final = {
    "draft": "Its test waits for an approval.",
    "running": "It is being tested now.",
    "watched": "It passed, and is being watched now.",
    "settled": "It was tested before, and passed.",
    "failed": "It was tested before, and failed.",
    "inconclusive": "It was tested before, without proof.",
    "rolled_back": "It was promoted before, and taken back.",
    "aborted": f"Its test was aborted; it may be tested again {HISTORY_RUNS} runs after that.",
}
"""What became of a suggestion that an experiment tried, by the experiment's status."""


def print_explanation(found: Explanation) -> None:
    """Print why a team runs with its plan."""
    state, figures = found.facts.state, found.facts.figures
    console = show.out()
    console.print(show.text(f"{state.team_id} ({state.workflow})", "bold"))
    since = "no change was promoted"
    if found.source is not None:
        since = show.step(found.source)
    if found.facts.fixed:
        since = "fixed by the settings below"
    rows: list[tuple[str, object]] = [("Live plan", show.plan_text(found.facts.plan)), ("Comes from", since)]
    if state.spec is not None:
        members = ", ".join(state.spec.member_ids)
        rows.append(("Configured", f"{state.spec.formation}, {len(state.spec.members)} members: {members}"))
    rows.append(("Mode", f"{found.facts.mode}{', paused' if state.paused else ''}"))
    rows.append(
        (
            "Runs",
            f"{figures.runs}, {show.percent(figures.success_rate)} succeeded, "
            f"median {show.seconds(figures.median_seconds)}, P95 {show.seconds(figures.p95_seconds)}"
            if figures.runs
            else "none yet",
        )
    )
    console.print(show.pairs(rows))
    _print_experiment(found)
    console.print()
    console.print("What would change it", style="bold")
    console.print(show.bullets(found.outlook))
    console.print()
    print_advice(found.advice)
    console.print("What the strategies suggest", style="bold")
    if not found.suggestions:
        console.print(f"Nothing, after {show.count(found.advice.compared, 'comparable run')}.")
    console.print(show.bullets(_suggestion(*suggested) for suggested in found.suggestions))
    console.print()
    console.print("Settings", style="bold")
    table = show.table("Setting", "Value", "From")
    for key, value, source in found.settings:
        style = "dim" if source == "default" else ""
        table.add_row(show.text(key, style), show.text(_value(value), style), show.text(source, style))
    console.print(table)
    if found.note is not None:
        show.note(found.note)


def _suggestion(suggestion: OptimizationSuggestion, tested: str | None, waits: str | None) -> str:
    after = "" if waits is None else f" It waits: {waits}."
    if tested is not None:
        after = f" {_TESTED.get(tested, 'It was tested before.')}"
    return (
        f"{suggestion.description} Expected: {suggestion.expected_improvement:.0f} % better, confidence "
        f"{suggestion.confidence:.2f}, risk {suggestion.risk_level:.2f} ({suggestion.type}).{after}"
    )


def _print_experiment(found: Explanation) -> None:
    experiment, verdict = found.facts.experiment, found.facts.verdict
    if experiment is None or verdict is None:
        return
    console = show.out()
    console.print()
    heading = "Open experiment" if experiment.is_open else "Last experiment"
    status = experiment.status.replace("_", " ")
    console.print(show.text(f"{heading} {experiment.id}: {status}", "bold"))
    runs = verdict["runs"]
    low, high = verdict["interval"]
    rows: list[tuple[str, object]] = [
        ("Change", experiment.description),
        ("Control", show.plan_text(experiment.control)),
        ("Treatment", show.plan_text(experiment.treatment)),
        ("Test says", verdict["reason"]),
        ("Runs", f"{runs['control']} control, {runs['treatment']} treatment"),
        (
            f"Effect on {TITLES[verdict['metric']]}",
            f"{_change(verdict['effect'])}, "
            + ("no interval yet" if None in (low, high) else f"interval {_change(low)} to {_change(high)}"),
        ),
        ("Evidence", _evidence(experiment.policy.get("rule", ""), verdict)),
    ]
    if found.facts.watch is not None:
        seen = found.facts.watch["runs"]
        rows.append(("Watch says", found.facts.watch["reason"]))
        rows.append(("Runs since", f"{seen['treatment']} promoted, {seen['control']} holdback"))
    if found.ending is not None:
        said = [one["reason"] for one in (verdict, found.facts.watch) if one is not None]
        rows.append(("Ended", show.step(found.ending, why=found.ending.reason not in said)))
    console.print(show.pairs(rows))
    table = show.table(
        "Guardrail", "Control", "Treatment", "Worse by", "Tolerated", "Status", right=("Control", "Treatment")
    )
    for guardrail in verdict["guardrails"]:
        name = guardrail["name"]
        table.add_row(
            show.text(TITLES[name]),
            _measured(name, guardrail["control"]),
            _measured(name, guardrail["treatment"]),
            _worse(name, guardrail["change"]),
            _worse(name, guardrail["margin"]),
            show.word(guardrail["status"]),
        )
    console.print(table)
    _print_statistics(found)


_EFFECT_SIZES: Final = {"mann-whitney": "P(faster) {:.2f}", "two proportions": "h {:+.2f}"}
"""How a method's effect size is shown; Hedges' g for the others."""


def _print_statistics(found: Explanation) -> None:
    """Print the runs by the methods that readers know; they describe, and the sequential test decides."""
    if not found.statistics:
        return
    table = show.table("As if looked at once", "Change", "95 % interval", "p", "Effect size", right=("Change", "p"))
    for one in found.statistics:
        absolute = one.method in ("welch", "two proportions")
        change, low, high = (_amount(value, absolute) for value in (one.estimate, one.low, one.high))
        what = f"{one.method} of success" if one.method == "two proportions" else one.method
        size = _EFFECT_SIZES.get(one.method, "g {:+.2f}").format(one.effect_size)
        table.add_row(
            show.text(what),
            change,
            f"{low} to {high}",
            show.DASH if math.isnan(one.p_value) else f"{one.p_value:.2g}",
            size.replace("-", "−"),
        )
    show.out().print(table)


def _amount(value: float, absolute: bool) -> str:
    if math.isinf(value):
        return "unbounded"
    return f"{value:+.2f}".replace("-", "−") if absolute else _change(value)


def _evidence(rule: str, verdict: Any) -> str:
    boundary, mismatch = verdict["boundary"], verdict["sample_ratio_p_value"]
    height = evidence_in_words(rule, verdict["statistic"], boundary) + (", no boundary yet" if boundary is None else "")
    ignored = ", ".join(f"{number} {name}" for name, number in verdict["ignored"].items() if number)
    return (
        f"{height}; a test of equal plans is decided wrongly with probability "
        f"{show.percent(verdict['error_rate'])} at most, although every run is looked at; "
        f"shares of the arms: p = {mismatch:.2g}" + (f"; not counted: {ignored}" if ignored else "")
    )


def _change(effect: float | None) -> str:
    return "unknown" if effect is None else f"{100 * effect:+.0f} %".replace("-", "−")


def _measured(name: str, value: float | None) -> str:
    if value is None:
        return show.DASH
    if name in ("p95", "mean"):
        return show.seconds(value)
    if name == "success":
        return show.percent(value)
    return f"{value:.4f} $" if name == "cost" else f"{value:.2f}"


def _worse(name: str, change: float | None) -> str:
    if change is None:
        return "–"
    if name in ("success", "score"):
        return f"{100 * change:+.0f} points".replace("-", "−")
    return _change(change)


def _value(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
