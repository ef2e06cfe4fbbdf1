"""`PerformanceAnalyzer`: runs from everywhere, and the insights of one team."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import PerformanceAnalyzer
from victor_autotune_plugin.errors import MetricsError
from victor_autotune_testing.made_runs import metric_rows
from victor_autotune_testing.simulated import Simulation


def names(analyzer: PerformanceAnalyzer, team: str) -> list[str]:
    return [insight.bottleneck for insight in analyzer.analyze_team_workflow(team)]


def test_it_finds_what_the_documented_rules_find(metrics: list[dict[str, Any]]) -> None:
    analyzer = PerformanceAnalyzer(metrics_history=metrics)
    found = {insight.bottleneck: insight for insight in analyzer.analyze_team_workflow(team_id="review")}
    assert {"slow_execution", "high_latency_outliers", "low_success_rate", "excessive_tool_usage"} <= set(found)
    slow = found["slow_execution"]
    assert (slow.severity, slow.baseline_value) == (1.0, 30.0)
    assert slow.current_value == pytest.approx(86.25)
    severities = [insight.severity for insight in found.values()]
    assert severities == sorted(severities, reverse=True)
    assert "oversized_team" in names(analyzer, "research")
    assert "suboptimal_formation_consensus" in names(analyzer, "research")
    keys = {"bottleneck", "severity", "current_value", "baseline_value", "impact_magnitude", "recommendation"}
    assert keys | {"affected_components"} <= set(slow.to_dict())
    json.dumps(slow.to_dict())


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_a_metrics_file_says_the_same_in_every_form(metrics: list[dict[str, Any]], form: str, here: Path) -> None:
    path = here / f"metrics.{form}"
    if form == "json":
        path.write_text(json.dumps(metrics))
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in metrics))
    else:
        lines = [",".join(metrics[0]), *(",".join(str(value) for value in row.values()) for row in metrics)]
        path.write_text("\n".join(lines) + "\n")
    analyzer = PerformanceAnalyzer()
    assert analyzer.load_metrics_from_file(path) == len(metrics)
    assert len(analyzer.metrics_history) == len(metrics)
    assert names(analyzer, "review") == names(PerformanceAnalyzer(metrics), "review")


def test_files_add_up(metrics: list[dict[str, Any]], here: Path) -> None:
    (here / "a.json").write_text(json.dumps(metrics[:4]))
    (here / "b.json").write_text(json.dumps(metrics[4:]))
    analyzer = PerformanceAnalyzer()
    analyzer.load_metrics_from_file("a.json")
    assert analyzer.load_metrics_from_file(str(here / "b.json")) == 3
    assert [(key[1], count) for key, count in analyzer.teams.items()] == [("review", 4), ("research", 3)]


def test_a_bad_row_is_named_or_skipped(metrics: list[dict[str, Any]], here: Path) -> None:
    metrics[1]["duration_seconds"] = "fast"
    (here / "m.json").write_text(json.dumps(metrics, indent=0))
    analyzer = PerformanceAnalyzer()
    with pytest.raises(MetricsError, match=r"m\.json:\d+: duration_seconds"):
        analyzer.load_metrics_from_file("m.json")
    assert len(analyzer.metrics_history) == 0
    assert analyzer.load_metrics_from_file("m.json", skip_bad=True) == len(metrics) - 1
    assert (analyzer.skipped, len(analyzer.problems)) == (1, 1)
    with pytest.raises(MetricsError, match="run 1: duration_seconds"):
        PerformanceAnalyzer(metrics)


def test_a_store_is_a_collector(here: Path) -> None:
    simulation = Simulation(here, mode="observe")
    for _ in range(6):
        simulation.run()
    analyzer = PerformanceAnalyzer()
    assert analyzer.load_metrics_from_collector(simulation.store) == 6
    assert list(analyzer.teams) == [("flow", "team")]
    assert "suboptimal_formation_sequential" in names(analyzer, "team")
    simulation.close()
    with pytest.raises(MetricsError, match="a int holds no runs"):
        PerformanceAnalyzer().load_metrics_from_collector(3)


def test_nothing_known_is_nothing_found(metrics: list[dict[str, Any]]) -> None:
    assert PerformanceAnalyzer().analyze_team_workflow("review") == []
    assert PerformanceAnalyzer().summary() is None
    assert PerformanceAnalyzer(metrics).analyze_team_workflow("reviewers") == []


def test_several_teams_need_a_name(metrics: list[dict[str, Any]]) -> None:
    with pytest.raises(MetricsError, match="2 teams"):
        PerformanceAnalyzer(metrics).analyze_team_workflow()
    twice = [{**row, "workflow": name} for name in ("a", "b") for row in metrics]
    with pytest.raises(MetricsError, match="2 teams with the id 'review'"):
        PerformanceAnalyzer(twice).analyze_team_workflow("review")
    assert PerformanceAnalyzer(twice).analyze_team_workflow("review", workflow="a")


def test_baselines_of_the_caller_count(metrics: list[dict[str, Any]]) -> None:
    found = PerformanceAnalyzer(metrics, baseline_metrics={"avg_duration": 200.0}).analyze_team_workflow("review")
    assert "slow_execution" not in [insight.bottleneck for insight in found]
    with pytest.raises(MetricsError, match="'speed' is not a known figure"):
        PerformanceAnalyzer(metrics, baseline_metrics={"speed": 1.0}).analyze_team_workflow("review")


def test_a_benchmark_tells_which_formation_is_faster() -> None:
    fast = metric_rows("quick", [10.0, 11.0, 9.0, 10.0], formation="pipeline", calls=5)
    assert PerformanceAnalyzer(fast).analyze_team_workflow() == []
    analyzer = PerformanceAnalyzer(fast, benchmark_data={"pipeline": 20.0, "parallel": {"avg_duration": 10.0}})
    (insight,) = analyzer.analyze_team_workflow()
    assert insight.bottleneck == "suboptimal_formation_pipeline"
    assert insight.evidence["formation"] == "parallel"


@pytest.mark.parametrize("wrong", [{"paralel": 1.0}, {"parallel": 0}, {"parallel": "fast"}, {"parallel": {}}])
def test_a_benchmark_that_can_t_be_used_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(MetricsError, match="benchmark_data: "):
        PerformanceAnalyzer(benchmark_data=wrong)


def test_a_summary_has_the_figures(metrics: list[dict[str, Any]]) -> None:
    summary = PerformanceAnalyzer(metrics).summary("review")
    assert summary is not None
    assert summary["runs"] == 4
    assert summary["figures"]["success_rate"]["value"] == 0.75


def test_it_reads_from_any_iterable_once(metrics: list[dict[str, Any]]) -> None:
    counted: list[int] = []
    source: Callable[[], Any] = lambda: (counted.append(1) or row for row in metrics)  # noqa: E731
    analyzer = PerformanceAnalyzer()
    assert analyzer.load_metrics_from_collector(source()) == len(counted) == len(metrics)
