"""The public names: what they are, what importing them costs, and that documented programs run with another import."""

from __future__ import annotations

from typing import Any

import pytest

import victor_autotune_plugin as public
from victor_autotune_testing.imports import HEAVY, loaded_by, packages

DOCUMENTED = (
    "PerformanceAnalyzer",
    "PerformanceAutotuner",
    "OptimizationSuggestion",
    "OptimizationType",
    "OptimizationPriority",
    "OptimizationResult",
    "PerformanceInsight",
    "OptimizationStrategy",
    "TeamSizingStrategy",
    "FormationSelectionStrategy",
    "ToolBudgetStrategy",
    "TimeoutTuningStrategy",
    "MemberSelectionStrategy",
    "ParallelizationStrategy",
)


def test_all_documented_names_are_there() -> None:
    assert set(DOCUMENTED) <= set(public.__all__) <= set(dir(public))
    for name in public.__all__:
        assert getattr(public, name) is not None
    assert {kind.value for kind in public.OptimizationType} == {
        "team_sizing",
        "formation_selection",
        "tool_budget",
        "timeout_tuning",
        "member_selection",
        "parallelization",
    }


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'PerformanceTuner'"):
        public.PerformanceTuner  # noqa: B018


def test_importing_loads_nothing_heavy() -> None:
    assert not packages(loaded_by("import victor_autotune_plugin")) & HEAVY
    loaded = loaded_by("from victor_autotune_plugin import PerformanceAnalyzer, PerformanceAutotuner")
    assert not packages(loaded) & {"numpy", "scipy", "sqlalchemy", "victor", "typer"}


async def test_a_documented_program_from_analysis_to_rollback(
    metrics: list[dict[str, Any]], config: dict[str, Any]
) -> None:
    analyzer = public.PerformanceAnalyzer(metrics_history=metrics)
    assert analyzer.analyze_team_workflow("review")
    autotuner = public.PerformanceAutotuner(
        analyzer=analyzer, strategies=None, ab_test_threshold=5.0, enable_auto_rollback=True
    )
    suggestions = autotuner.suggest_optimizations(team_id="review", current_config=config)
    tested = await autotuner.apply_optimizations(
        team_id="review",
        optimizations=suggestions,
        workflow_config=config,
        enable_ab_testing=True,
        dry_run=False,
    )
    assert tested.success, tested.error
    assert tested.validation_status == "inconclusive"
    assert tested.rollback_config == config
    assert tested.improvement_percentage == 0.0
    applied = await autotuner.apply_optimizations(
        team_id="review", optimizations=suggestions, workflow_config=config, enable_ab_testing=False
    )
    assert applied.success, applied.error
    assert applied.validation_status == "skipped"
    history = autotuner.get_optimization_history(team_id="review")
    assert isinstance(history, list)
    for entry in history:
        assert f"{entry['timestamp']}: {entry['optimization']['description']}"
        assert f"{entry['improvement_percentage']:.1f} {entry['validation_status']}"
    assert await autotuner.rollback_optimization(team_id="review", rollback_index=-1)
    assert not await autotuner.rollback_optimization("nobody")


def test_results_have_the_documented_keys() -> None:
    suggestion = public.OptimizationSuggestion(
        type=public.OptimizationType.TEAM_SIZING,
        priority=public.OptimizationPriority.HIGH,
        description="Smaller.",
        current_config={"member_count": 8},
        suggested_config={"member_count": 5},
        expected_improvement=15.0,
        confidence=0.8,
        risk_level=0.2,
    )
    result = public.OptimizationResult(
        success=True,
        team_id="team",
        optimization=suggestion,
        before_metrics={"duration": 100.0},
        after_metrics={"duration": 90.0},
        improvement_percentage=10.0,
        validation_status="passed",
        rollback_config={},
        error=None,
    )
    assert (suggestion.type, suggestion.type.value) == (public.OptimizationType.TEAM_SIZING, "team_sizing")
    assert type(suggestion.to_dict()["type"]) is str
    documented = {
        "success",
        "team_id",
        "optimization",
        "before_metrics",
        "after_metrics",
        "improvement_percentage",
        "validation_status",
        "rollback_config",
        "error",
    }
    assert documented <= set(result.to_dict())
    assert public.TeamSizingStrategy().apply({"member_count": 8, "x": 1}, suggestion) == {"member_count": 5, "x": 1}


def test_strategies_suggest_from_insights_alone() -> None:
    cases: list[tuple[Any, str, float, float, str]] = [
        (public.TeamSizingStrategy(), "oversized_team", 8, 5, "member_count"),
        (public.FormationSelectionStrategy(), "suboptimal_formation_consensus", 150.0, 55.0, "formation"),
        (public.ToolBudgetStrategy(), "excessive_tool_usage", 50, 15, "tool_budget"),
        (public.TimeoutTuningStrategy(), "high_latency_outliers", 120.0, 60.0, "timeout_seconds"),
    ]
    for strategy, bottleneck, current, baseline, knob in cases:
        insight = public.PerformanceInsight(
            bottleneck=bottleneck,
            severity=0.7,
            current_value=current,
            baseline_value=baseline,
            impact_magnitude=0.6,
            recommendation="Change it.",
            affected_components=["team"],
        )
        (suggestion,) = strategy.suggest([insight], {})
        assert knob in suggestion.suggested_config
        assert suggestion.type == strategy.name


def test_the_hint_of_an_error_can_still_be_called_mend() -> None:
    from victor_autotune_plugin.errors import PlanError

    with pytest.warns(DeprecationWarning, match="it is called hint"):
        error = PlanError("is wrong", mend="Write it right.")
    assert error.hint == "Write it right."
    with pytest.warns(DeprecationWarning, match="it is called hint"):
        assert error.mend == error.hint
