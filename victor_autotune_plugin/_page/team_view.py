"""All that is known of one team: its story, its tests with their evidence, its data flow, plans and history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final

from .._model.run import TREATMENT
from .._model.text import TITLES, plan_text, rounded, state_text, who
from ..storage.run_listing import plan_of
from .run_series import measured, short

if TYPE_CHECKING:
    from .._dataflow.flow_facts import FlowFacts
    from .._model.experiment import Change, Experiment
    from .._model.plan import TeamPlan, TeamSpec
    from ..storage.run_listing import ListedRun

MOST_CHANGES: Final = 300
_MOST_PLANS: Final = 30

_AS_DECLARED: Final = "as declared"


def definition(spec: TeamSpec | None) -> dict[str, Any] | None:
    """Return a team as its workflow declares it."""
    if spec is None:
        return None
    return {
        "formation": spec.formation,
        "tool_budget": spec.tool_budget,
        "timeout": spec.timeout_seconds,
        "members": [{"id": one.id, "role": one.role, "tool_budget": one.tool_budget} for one in spec.members],
    }


def experiment_view(
    one: Experiment, spec: TeamSpec | None, told: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
) -> dict[str, Any]:
    """Return an experiment with what its test and its watch say now.

    Args:
        spec: Its team as configured, or None.
        told: The test's verdict and the watch's, as plain data.
    """
    verdict, watch = told
    return {
        "id": one.id,
        "description": one.description,
        "strategy": one.strategy,
        "status": one.status,
        "title": state_text(one.status),
        "before": plan_text(one.control),
        "after": plan_text(one.treatment),
        "knobs": [{"knob": name, "before": a, "after": b} for name, a, b in knobs(one.control, one.treatment, spec)],
        "created_at": one.created_at,
        "decided_at": one.decided_at,
        "promoted_at": one.promoted_at,
        "ended_at": one.ended_at,
        "untested": one.is_untested,
        "min_runs": one.policy.min_runs_per_arm,
        "max_runs": one.policy.max_runs_per_arm,
        "verdict": None if verdict is None or one.is_untested else _verdict(verdict, one.policy.metric),
        "watch": None if watch is None else _watch(watch, one.policy.metric),
    }


def _verdict(said: Mapping[str, Any], metric: str) -> dict[str, Any]:
    names = ("status", "reason", "metric", "runs", "missing", "effect", "interval", "runs_needed", "chance_better")
    guardrails = [
        {**_guardrail(one, metric), "before": one["control"], "after": one["treatment"], "margin": one["margin"]}
        for one in said.get("guardrails") or ()
    ]
    return {**{name: said.get(name) for name in names}, "guardrails": guardrails}


def _watch(said: Mapping[str, Any], metric: str) -> dict[str, Any]:
    names = ("status", "reason", "runs", "alarm", "p95", "pairs")
    harms = [
        {**_guardrail(one, metric), "before": one["reference"], "after": one["promoted"], "margin": one["threshold"]}
        for one in said.get("evidence") or ()
    ]
    return {**{name: said.get(name) for name in names}, "guardrails": harms}


def _guardrail(one: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return what is known of a guardrail; `unit` is the metric that its figures are of."""
    name = one["name"]
    if name in ("below_baseline", "lost_gain"):
        unit, title = metric, f"typical {TITLES[metric]}" if name == "below_baseline" else f"gain in {TITLES[metric]}"
    else:
        unit, title = "duration" if name in ("p95", "mean") else name, TITLES.get(name, name.replace("_", " "))
    return {"name": name, "title": title, "unit": unit, "change": one["change"], "status": one["status"]}


def knobs(before: TeamPlan, after: TeamPlan, spec: TeamSpec | None) -> Iterator[tuple[str, str, str]]:
    """Give each knob in which two plans differ, and its values in words; what a plan leaves is as the team declares."""
    one, other = before.to_dict(), after.to_dict()
    declared = (
        {}
        if spec is None
        else {
            "formation": spec.formation,
            "members": spec.member_ids,
            "tool_budget": spec.tool_budget,
            "timeout_seconds": spec.timeout_seconds,
        }
    )
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            a, b = (_knob(plan.get(name, declared.get(name))) for plan in (one, other))
            yield name.removesuffix("_seconds").replace("_", " "), a, b


def _knob(value: object) -> str:
    if value is None:
        return _AS_DECLARED
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {calls}" for name, calls in value.items())
    if isinstance(value, list | tuple):
        return " | ".join(_knob(item) if isinstance(item, list | tuple) else str(item) for item in value)
    return rounded(value) if isinstance(value, int | float) else str(value)


def change_view(one: Change) -> dict[str, Any]:
    """Return a line of the history."""
    differ = one.plan_before != one.plan_after
    return {
        "id": one.id,
        "at": one.at,
        "action": one.action,
        "title": state_text(one.action),
        "who": who(one),
        "reason": one.reason,
        "experiment": one.experiment_id,
        "improvement": one.improvement_percent,
        "before": plan_text(one.plan_before) if differ else None,
        "after": plan_text(one.plan_after) if differ else None,
    }


def plans_view(runs: Sequence[ListedRun]) -> list[dict[str, Any]]:
    """Return what the runs of each plan were, the one that ran last first. They are of different times: no comparison.

    Args:
        runs: Runs of a team, oldest first.
    """
    by_plan: dict[str, list[ListedRun]] = {}
    for run in runs:
        by_plan.setdefault(run.plan_asked, []).append(run)
    found = []
    for text, own in sorted(by_plan.items(), key=lambda pair: -pair[1][-1].started_at)[:_MOST_PLANS]:
        ended = measured(own)
        times = sorted(run.seconds for run in ended if run.seconds is not None)
        costs = [run.cost_usd for run in ended if run.cost_usd is not None]
        scores = [run.score for run in ended if run.score is not None]
        found.append(
            {
                "plan": plan_text(plan_of(text)),
                "runs": len(own),
                "tested": sum(run.arm == TREATMENT and run.phase == "test" for run in own),
                "median": short(median(times)) if times else None,
                "p95": short(times[min(len(times) - 1, int(0.95 * len(times)))]) if times else None,
                "success": short(sum(bool(run.succeeded) for run in ended) / len(ended)) if ended else None,
                "usd": short(median(costs)) if costs else None,
                "score": short(fmean(scores)) if scores else None,
                "last_at": own[-1].started_at,
            }
        )
    return found


def flow_view(flow: FlowFacts | None) -> dict[str, Any] | None:
    """Return who uses whose work: the members in order, the uses between them, and what follows."""
    if flow is None:
        return None
    known = flow.knowledge
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    for one in flow.edges:
        edge = one.edge
        drawn = pairs.setdefault(
            (edge.source, edge.target),
            {"source": edge.source, "target": edge.target, "sure": False, "runs": 0, "through": []},
        )
        drawn["sure"] = drawn["sure"] or edge.sure
        drawn["runs"] = max(drawn["runs"], one.runs)
        if edge.channel not in drawn["through"]:
            drawn["through"].append(edge.channel)
    return {
        "members": list(known.spec.member_ids),
        "edges": list(pairs.values()),
        "open": [{"member": name, "why": why} for name, why in flow.open],
        "graph": flow.graph,
        "verdict": known.verdict,
        "because": known.because,
        "missing": known.missing,
        "looked_at": flow.looked_at,
        "follows": [said.replace("`", "") for said in flow.consequences()],
        "rows": [list(row) for row in flow.rows(60)],
    }
