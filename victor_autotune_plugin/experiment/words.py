"""Numbers of a verdict in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from .._model.policy import E_RULES, GuardrailEvidence
from .._model.run import ARMS
from .primary import Effect

TITLES: Final = {
    "duration": "duration",
    "cost": "cost",
    "tool_calls": "number of tool calls",
    "score": "score",
    "success": "success share",
    "p95": "P95 of the duration",
    "mean": "mean duration",
}
"""Names of metrics and guardrails for people."""


def amount(share: float) -> str:
    """Return a share as a percentage: `0.123` is `12 %`."""
    if math.isnan(share):
        return "unknown"
    if math.isinf(share):
        return "unbounded"
    percent = 100 * share
    return f"{percent:.1f} %" if abs(percent) < 10 and abs(percent) >= 0.05 else f"{percent:.0f} %"


def runs_in_words(runs: Mapping[str, int]) -> str:
    """Return the runs per arm: `23 + 24 runs`."""
    return f"{' + '.join(str(runs[arm]) for arm in ARMS)} runs"


def change_in_words(metric: str, change: float) -> str:
    """Return a change of a metric: `duration is 32 % lower`."""
    return f"{TITLES[metric]} is {amount(abs(change))} {'higher' if change > 0 else 'lower'}"


def effect_in_words(metric: str, effect: Effect) -> str:
    """Return a change with its interval: `duration is 32 % lower (interval -45 % to -12 %)`."""
    low, high = (f"{'+' if end > 0 else ''}{amount(end)}" for end in (effect.low, effect.high))
    return f"{change_in_words(metric, effect.estimate)} (interval {low} to {high})"


def evidence_in_words(rule: str, statistic: float, boundary: float | None) -> str:
    """Return how far the evidence is: `z = 2.10, boundary 2.95`, or for an e-process its e-value.

    Args:
        rule: One of `policy.ALL_RULES`.
        statistic: As in the verdict.
        boundary: As in the verdict; None before there is one.
    """
    if rule in E_RULES:
        shown = f"e-value = {math.exp(statistic):.3g}"
        return shown if boundary is None else f"{shown}, boundary {math.exp(boundary):.3g}"
    return f"z = {statistic:.2f}" if boundary is None else f"z = {statistic:.2f}, boundary {boundary:.2f}"


def guardrail_in_words(evidence: GuardrailEvidence) -> str:
    """Return a harmed guardrail as the start of a sentence."""
    title = TITLES[evidence.name]
    if evidence.name in ("success", "score"):
        return f"The {title} fell from {evidence.control:.2f} to {evidence.treatment:.2f}"
    return f"The {title} rose by {amount(evidence.change)}"
