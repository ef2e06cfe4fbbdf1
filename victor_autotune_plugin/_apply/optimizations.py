"""A team's history as a list of optimizations: what was changed or tested, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from .._model.experiment import Change, Experiment
from .._model.plan import EMPTY_PLAN, TeamPlan, is_called
from .._tuning.manual import in_effect

if TYPE_CHECKING:
    from ..storage import Store

OPTIMIZATION: Final = "optimization"
"""Key in a change's evidence: the suggestion, as plain data."""

VALIDATION: Final = "validation_status"
"""Key in a change's evidence: how it was validated, where no experiment of the store did it."""

ROLLBACK_CONFIG: Final = "rollback_config"
"""Key in a change's evidence: the config before."""

FILE: Final = "config_file"
"""Key in a change's evidence: the file that was changed, its backup, and the digest of what was written."""

_OUTCOMES: Final = {
    "awaits_promotion": "passed",
    "promoted": "passed",
    "failed": "failed",
    "inconclusive": "inconclusive",
    "aborted": "inconclusive",
    "rejected": "inconclusive",
}


@define
class Optimization:
    """One optimization in a team's history.

    Attributes:
        workflow: Workflow name.
        team_id: Team id.
        optimization: The suggestion, as `OptimizationSuggestion.to_dict` writes it as far as it is known.
        started_at: Unix time when it was started or applied.
        at: Unix time of what last happened to it.
        validation_status: `running`, `passed`, `failed`, `inconclusive` or `skipped`.
        success: Whether it was applied.
        in_effect: Whether it is in effect now.
        rolled_back: Whether it was rolled back.
        improvement_percentage: Measured improvement in percent; 0.0 where nothing was proven.
        before_metrics: Figures of the control's runs; empty where nothing was measured.
        after_metrics: Figures of the treatment's runs.
        rollback_config: What restores the state before.
        reason: What last happened, in a sentence.
        actor: Who did it, `auto` or `person`.
        experiment_id: The experiment behind it, or None.
        change_id: Id of the change that put it in place, or None.
        is_noted: Whether the change was made elsewhere, in a file or by the caller, and not in the live plan.
        file: What `FILE` holds, or None.
    """

    workflow: str
    team_id: str
    optimization: Mapping[str, Any]
    started_at: float
    at: float
    validation_status: str = "running"
    success: bool = False
    in_effect: bool = False
    rolled_back: bool = False
    improvement_percentage: float = 0.0
    before_metrics: Mapping[str, float] = field(factory=dict)
    after_metrics: Mapping[str, float] = field(factory=dict)
    rollback_config: Mapping[str, Any] = field(factory=dict)
    reason: str = ""
    actor: str = "auto"
    experiment_id: str | None = None
    change_id: int | None = None
    is_noted: bool = False
    file: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `timestamp` is when it was started, ISO 8601 in UTC."""
        return {
            "timestamp": datetime.fromtimestamp(self.started_at, UTC).isoformat(),
            "updated": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "workflow": self.workflow,
            "team_id": self.team_id,
            "success": self.success,
            "optimization": dict(self.optimization),
            "before_metrics": dict(self.before_metrics),
            "after_metrics": dict(self.after_metrics),
            "improvement_percentage": self.improvement_percentage,
            "validation_status": self.validation_status,
            "rollback_config": dict(self.rollback_config),
            "error": None,
            "in_effect": self.in_effect,
            "rolled_back": self.rolled_back,
            "reason": self.reason,
            "actor": self.actor,
            "experiment_id": self.experiment_id,
        }


def recorded(store: Store, workflow: str | None = None, team_id: str | None = None) -> list[Optimization]:
    """Return the optimizations of the teams of a store, or of those that are called so, oldest first."""
    changes = [one for one in store.changes(workflow) if is_called((one.workflow, one.team_id), team_id)]
    experiments = {one.id: one for one in store.experiments(workflow)}
    plans = {state.key: state.plan for state in store.teams()}
    found: list[Optimization] = []
    for key in dict.fromkeys((change.workflow, change.team_id) for change in changes):
        own = [change for change in changes if (change.workflow, change.team_id) == key]
        found += optimizations(own, experiments, plans.get(key, EMPTY_PLAN))
    return sorted(found, key=lambda one: one.started_at)


def optimizations(
    changes: Sequence[Change], experiments: Mapping[str, Experiment], plan: TeamPlan
) -> list[Optimization]:
    """Return a team's optimizations, oldest first.

    Args:
        changes: Its history, oldest first.
    """
    found: dict[str, Optimization] = {}
    by_change: dict[int | None, Optimization] = {}
    for change in changes:
        if change.action == "rolled_back":
            taken = [by_change[number] for number in change.takes_back if number in by_change]
            watched = found.get(change.experiment_id or "")
            for one in taken or ([] if watched is None else [watched]):
                one.rolled_back, one.reason, one.at, one.actor = True, change.reason, change.at, change.actor
        elif change.action == "rejected":
            if rejected := found.get(change.experiment_id or ""):
                rejected.reason, rejected.at, rejected.actor = change.reason, change.at, change.actor
        elif change.action in ("started", "probation", *_OUTCOMES):
            key = change.experiment_id or f"change {change.id}"
            one = found.setdefault(key, _new(change, experiments.get(change.experiment_id or "")))
            if change.action in _OUTCOMES:
                _decide(one, change)
            if change.action == "probation":  # live, while its test goes on
                one.success, one.change_id, one.at, one.reason = True, change.id, change.at, change.reason
            if one.success:
                by_change[change.id] = one
    live = {change.id for change in in_effect(changes, plan)}
    for one in found.values():
        one.in_effect = one.success and not one.rolled_back and (one.is_noted or one.change_id in live)
    return list(found.values())


def _new(change: Change, experiment: Experiment | None) -> Optimization:
    suggestion: Mapping[str, Any] = change.evidence.get(OPTIMIZATION) or {}
    if not suggestion and change.action == "started":
        suggestion = change.evidence
    if not suggestion:
        suggestion = {
            "type": "" if experiment is None else experiment.strategy,
            "description": change.reason if experiment is None else experiment.description,
            "current_config": change.plan_before.to_dict(),
            "suggested_config": (change.plan_after if experiment is None else experiment.treatment).to_dict(),
        }
    return Optimization(
        workflow=change.workflow,
        team_id=change.team_id,
        optimization=suggestion,
        started_at=change.at,
        at=change.at,
        reason=change.reason,
        actor=change.actor,
        experiment_id=change.experiment_id,
        rollback_config=change.evidence.get(ROLLBACK_CONFIG) or change.plan_before.to_dict(),
    )


def _decide(one: Optimization, change: Change) -> None:
    evidence = change.evidence
    one.at, one.reason, one.actor = change.at, change.reason, change.actor
    one.validation_status = evidence.get(VALIDATION) or _OUTCOMES[change.action]
    one.success = change.action == "promoted"
    one.change_id = change.id
    one.is_noted = one.success and change.rollback_plan == change.plan_after
    one.file = evidence.get(FILE)
    if change.improvement_percent is not None:
        one.improvement_percentage = change.improvement_percent
    before, after = metrics_of(evidence)
    if before:
        one.before_metrics, one.after_metrics = before, after


def metrics_of(verdict: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of control and treatment that a verdict holds.

    Args:
        verdict: A verdict, as `experiment.Verdict.to_dict` writes it; or the evidence of a trial, with `before_metrics`
            and `after_metrics`.
    """
    if "before_metrics" in verdict:
        return dict(verdict["before_metrics"]), dict(verdict.get("after_metrics") or {})
    guardrails = verdict.get("guardrails") or ()
    before, after = (
        {str(one["name"]): float(one[arm]) for one in guardrails if one.get(arm) is not None}
        for arm in ("control", "treatment")
    )
    return before, after
