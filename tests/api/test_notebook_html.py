"""A notebook shows findings, suggestions, results and verdicts as tables, and what they hold can't become markup."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import OptimizationPriority, OptimizationResult, OptimizationSuggestion, PerformanceInsight
from victor_autotune_plugin.experiment import Judge, Observation, Policy, Watch, WatchPolicy, assign

HOSTILE = "<script>alert('1')</script>\x1b[31m"


def suggestion(**changes: Any) -> OptimizationSuggestion:
    whole = OptimizationSuggestion(
        type="formation_selection",
        priority=OptimizationPriority.HIGH,
        description="Run the members side by side.",
        current_config={"formation": "sequential", "members": ["a", "b"]},
        suggested_config={"formation": "parallel", "tool_budget": 12},
        expected_improvement=40.0,
        confidence=0.8,
        risk_level=0.3,
        metadata={"metric": "duration", "interval_percent": [-55.0, 5.0]},
    )
    return evolve(whole, **changes)


def result(**changes: Any) -> OptimizationResult:
    whole = OptimizationResult(
        success=True,
        team_id="reviewers",
        optimization=suggestion(),
        before_metrics={"runs": 12, "median_seconds": 0.9, "success_rate": 1.0},
        after_metrics={"runs": 12, "median_seconds": 0.5, "success_rate": 0.75, "mean_cost_usd": 0.002},
        improvement_percentage=44.4,
        validation_status="passed",
        rollback_config={"formation": "sequential", "tool_budget": None},
        applied_config={"formation": "parallel", "tool_budget": None},
        message="Applied to the live plan.",
    )
    return evolve(whole, **changes)


def verdict() -> Any:
    judge = Judge(Policy())
    for index in range(40):
        arm = assign("a seed", index)
        seconds = (12.0 if arm == "treatment" else 20.0) + index * 7 % 11
        judge.observe(Observation(index=index, arm=arm, duration_seconds=seconds, success=True))
    return judge.verdict()


class Page(HTMLParser):
    """Checks that every element is closed in order, and gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}|"


def shown(value: Any) -> str:
    page = Page()
    page.feed(value._repr_html_())
    assert page.open == []
    return page.text


def test_a_suggestion_says_that_its_gain_is_an_estimate_and_shows_each_knob() -> None:
    text = shown(suggestion())
    assert "40 % better duration (−55 % to +5 %); an estimate, not a proof" in text
    assert "formation|sequential|parallel|" in text
    assert "tool_budget|–|12|" in text


def test_a_result_shows_what_was_measured_and_the_knobs_that_changed() -> None:
    text = shown(result())
    assert "passed|Applied to the live plan.|" in text
    assert "Measured improvement|44 %|" in text
    assert "median seconds|0.90 s|0.50 s|" in text
    assert "success rate|100 %|75 %|" in text
    assert "mean cost usd|–|0.0020 USD|" in text
    assert "formation|sequential|parallel|" in text
    assert "tool_budget" not in text


def test_a_result_without_runs_shows_no_improvement() -> None:
    assert "improvement" not in shown(result(before_metrics={}, after_metrics={}, improvement_percentage=0.0))
    assert "no such team" in shown(result(error="no such team"))


def test_a_verdict_shows_effect_runs_and_guardrails() -> None:
    found = verdict()
    text = shown(found)
    assert text.startswith(f"{found.status}|{found.reason}|")
    assert re.search(r"Change of the duration\|−\d+ % \(95 % interval .* to .*\)\|", text)
    assert "Runs|control 20, treatment 20|" in text
    assert "success share|100 %|100 %|" in text


def test_a_verdict_without_data_shows_no_number() -> None:
    assert "Change of the duration|no data yet|" in shown(Judge(Policy()).verdict())
    assert "nan" not in shown(Judge(Policy()).verdict())


def test_the_watch_of_a_live_plan_shows_what_it_looks_at() -> None:
    text = shown(Watch(WatchPolicy(), reference=()).verdict())
    assert "watching|" in text
    assert "Runs since the promotion|control 0, treatment 0|" in text


def test_a_finding_shows_what_to_do() -> None:
    found = PerformanceInsight("slow_execution", 0.5, 75.0, 30.0, 1.0, "Run them side by side.", ("a", "b"))
    assert shown(found) == ("slow_execution|Run them side by side.|Severity|50 %|Value|75, baseline 30|Concerns|a, b|")


@pytest.mark.parametrize(
    "value",
    [
        suggestion(type=HOSTILE, description=HOSTILE, suggested_config={HOSTILE: [HOSTILE]}),
        result(team_id=HOSTILE, error=HOSTILE, before_metrics={HOSTILE: 1.0}, validation_status=HOSTILE),
        PerformanceInsight(HOSTILE, math.nan, math.inf, 0.0, 0.0, HOSTILE, (HOSTILE,)),
        evolve(verdict(), reason=HOSTILE, missing={HOSTILE: 3}),
    ],
    ids=["suggestion", "result", "finding", "verdict"],
)
def test_names_of_others_never_become_markup(value: Any) -> None:
    html = value._repr_html_()
    assert "<script" not in html
    assert "\x1b" not in html
    assert "&lt;script" in html
    shown(value)
