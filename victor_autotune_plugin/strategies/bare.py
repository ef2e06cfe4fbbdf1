"""Insights that somebody made by hand, with nothing but their figures: what a strategy may still say about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from .._model.optimization import Bottleneck, PerformanceInsight

_NO_RUNS: Final[Mapping[str, Any]] = {"runs": 0, "members": {}, "member_durations": {}, "cost_is_known": False}


def completed(insight: PerformanceInsight) -> PerformanceInsight:
    """Return an insight whose evidence has every key that the strategies read.

    What the evidence does not tell is not known, no run stands behind it, and so what such a change usually brings is
    all that can be expected.

    Args:
        insight: Any insight; the analysis's own come back as they are.
    """
    known = insight.evidence
    if "runs" in known:
        return insight
    return evolve(insight, evidence={**_NO_RUNS, **_figures(insight), **known})


def _figures(insight: PerformanceInsight) -> dict[str, Any]:
    now, usual, name = insight.current_value, insight.baseline_value, insight.bottleneck
    if name == Bottleneck.OVERSIZED_TEAM:
        return {"size": int(now), "formation": "parallel", "smaller_sizes": None}
    if name == Bottleneck.EXCESSIVE_TOOL_USAGE:
        return {"needed_tool_calls": None, "tool_budget": None, "most_tool_calls": now, "saved_by_budget": []}
    if name == Bottleneck.HIGH_LATENCY_OUTLIERS:
        return {"p95_seconds": {"value": now}, "saved_by_timeout": []}
    if name == Bottleneck.SERIAL_INDEPENDENT_WORK:
        return {"formation": "sequential"}
    if name == Bottleneck.UNDERPERFORMING_MEMBER:
        return {"formation": "parallel", "useless": [], "idle": [], "weak": [], "strong": []}
    if name == Bottleneck.UNDERSIZED_BUDGET:
        nothing = {"value": 0.0, "interval": [0.0, 0.0], "runs": 0}
        return {"tool_budget": None, "spent_share": nothing, "failing_share": nothing, "difference": None}
    if name.startswith(Bottleneck.SUBOPTIMAL_FORMATION):
        gain = 100 * (1 - usual / now) if now > 0 else 0.0
        better = {"source": "prior", "value": gain, "interval": [gain, gain], "runs": 0}
        return {"candidates": [{"formation": "parallel", **better}, {"formation": "pipeline", **better}]}
    return {}
