"""Values as HTML for notebooks: a title, a sentence, and tables, in the colours of the notebook.

Every text is escaped: descriptions and reasons hold names that workflow files and third parties give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from .quantities import ARMS
from .text import DASH, TITLES, change, clean, interval, percent, points, rounded, seconds, state_text, usd

if TYPE_CHECKING:
    from .optimization import OptimizationResult, OptimizationSuggestion, PerformanceInsight
    from .policy import GuardrailEvidence, Verdict, WatchVerdict

_IN_POINTS: Final = ("success", "member_success", "score", "loss")
"""Metrics whose change is told in points, since they are shares or scores."""

_UNITS: Final = {
    **dict.fromkeys(("duration", "p95", "mean", "seconds"), seconds),
    **dict.fromkeys(("success", "member_success", "loss", "rate", "share"), percent),
    **dict.fromkeys(("cost", "usd"), usd),
}
"""How to write a figure, by the name of its metric or the last word of it, as in `median_seconds`."""


def insight_html(insight: PerformanceInsight) -> str:
    """Return a finding: what it is, how bad, and what to do."""
    rows = {
        "Severity": percent(insight.severity),
        "Value": f"{rounded(insight.current_value)}, baseline {rounded(insight.baseline_value)}",
        "Concerns": ", ".join(insight.affected_components) or DASH,
    }
    return _card(insight.bottleneck, insight.recommendation, _facts(rows))


def suggestion_html(suggestion: OptimizationSuggestion) -> str:
    """Return a suggestion: the change knob by knob, and what to expect of it."""
    expected = percent(suggestion.expected_improvement / 100)
    if suggestion.metadata.metric is not None:
        expected += f" better {_titled(suggestion.metadata.metric)}"
    if suggestion.metadata.interval_percent is not None:
        low, high = suggestion.metadata.interval_percent
        expected += f" ({interval(low / 100, high / 100)})"
    rows = {
        "Expected": f"{expected}; an estimate, not a proof",
        "Confidence": percent(suggestion.confidence),
        "Risk": percent(suggestion.risk_level),
        "Priority": str(suggestion.priority),
    }
    knobs = [
        (name, _value(suggestion.current_config.get(name)), _value(value))
        for name, value in suggestion.suggested_config.items()
    ]
    return _card(suggestion.type, suggestion.description, _facts(rows) + _table(("Knob", "Is", "Would be"), knobs))


def result_html(result: OptimizationResult) -> str:
    """Return what came of a suggestion: its state, what was measured, and what the config is now."""
    said = result.error or result.message or (result.optimization.description if result.optimization else "")
    rows = {"Team": result.team_id}
    if result.before_metrics and result.after_metrics:
        rows["Measured improvement"] = percent(result.improvement_percentage / 100)
    metrics = [
        (_titled(name), _figure(name, result.before_metrics.get(name)), _figure(name, result.after_metrics.get(name)))
        for name in {**result.before_metrics, **result.after_metrics}
    ]
    knobs = [
        (name, _value(result.rollback_config.get(name)), _value(value))
        for name, value in result.applied_config.items()
        if result.rollback_config.get(name) != value
    ]
    body = _facts(rows) + _table(("Metric", "Before", "After"), metrics) + _table(("Knob", "Was", "Is"), knobs)
    return _card(state_text(result.validation_status), said, body)


def verdict_html(verdict: Verdict) -> str:
    """Return a verdict of a test: the effect and how sure it is, the runs, and the guardrails."""
    effect = "no data yet"
    if math.isfinite(verdict.effect):
        effect = f"{change(verdict.effect)} ({percent(1 - verdict.error_rate)} interval {interval(*verdict.interval)})"
    rows = {
        f"Change of the {_titled(verdict.metric)}": effect,
        "Runs": ", ".join(f"{arm} {verdict.runs.get(arm, 0)}" for arm in ARMS),
        "Evidence": f"{rounded(verdict.statistic)} of {rounded(verdict.boundary)}",
    }
    if sum(verdict.missing.values()):
        rows["Missing runs"] = ", ".join(f"{arm} {number}" for arm, number in verdict.missing.items())
    return _card(state_text(verdict.status), verdict.reason, _facts(rows) + _guardrails(verdict.guardrails))


def watch_html(verdict: WatchVerdict) -> str:
    """Return what the watch of a live plan knows."""
    rows = {
        "Runs since the promotion": ", ".join(f"{arm} {verdict.runs.get(arm, 0)}" for arm in ARMS),
        "Re-verifications": str(verdict.rounds),
    }
    if verdict.alarm:
        rows["Last alarm"] = verdict.alarm
    harms = [
        (_titled(one.name), rounded(one.reference), rounded(one.promoted), _worse(one.name, one.change), one.status)
        for one in verdict.evidence
    ]
    table = _table(("Watched", "Before", "Live", "Worse by", "State"), harms)
    return _card(state_text(verdict.status), verdict.reason, _facts(rows) + table)


def _guardrails(guardrails: Iterable[GuardrailEvidence]) -> str:
    rows = [
        (
            _titled(one.name),
            _figure(one.name, one.control),
            _figure(one.name, one.treatment),
            _worse(one.name, one.change),
            _worse(one.name, one.margin),
            one.status,
        )
        for one in guardrails
    ]
    return _table(("Guardrail", "Control", "Treatment", "Worse by", "Tolerated", "State"), rows)


def _worse(name: str, share: float) -> str:
    if not math.isfinite(share):
        return DASH
    return points(share) if name in _IN_POINTS else change(share)


def _titled(name: str) -> str:
    return TITLES.get(name, name.replace("_", " "))


def _figure(name: str, value: float | None) -> str:
    write = _UNITS.get(name) or _UNITS.get(name.rpartition("_")[2]) or rounded
    return write(value)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_value(one)}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_value, value))
    return DASH if value is None else str(value)


def _card(title: str, said: str, body: str) -> str:
    shown = f"<p>{_text(said)}</p>" if said else ""
    return f'<div class="victor-autotune"><p><strong>{_text(title)}</strong></p>{shown}{body}</div>'


def _facts(rows: Mapping[str, str]) -> str:
    shown = [f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>' for name, value in rows.items()]
    return f"<table>{''.join(shown)}</table>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{_text(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: str) -> str:
    return escape(clean(value))
