"""A test does not start on little while better evidence is near."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._tuning.next_test import advice
from victor_autotune_plugin._tuning.suggestions import EVIDENCE_RUNS, reason_to_wait
from victor_autotune_testing.simulated import SPEC, Simulation

FLAKY = evolve(SPEC, formation="parallel", members=[MemberSpec(name, "researcher", tool_budget=15) for name in "abcd"])
REST = ("a", "b", "c")


@pytest.fixture(params=["off", "low"])
def flaky(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A team side by side whose last member takes twice as long and never succeeds; nobody calls a tool."""
    settings = {"tuner.risk": request.param, "experiment.max_runs_per_arm": 40}
    team = Simulation(tmp_path, truth=lambda plan, members: max(members), **settings)
    team.spec = FLAKY
    yield team
    assert failsafe.seen() == ()
    team.close()


def run_flaky(team: Simulation) -> TeamRun:
    event, planned = team.start()
    seconds = [team._random.lognormvariate(0, 0.1) for _ in REST]
    members = [_outcome(name, True, took) for name, took in zip(REST, seconds, strict=True)]
    if planned.plan.members is None:
        members.append(_outcome("d", False, 2 * team._random.lognormvariate(0, 0.1)))
    good = all(member.success for member in members)
    return team.finish(
        event,
        planned,
        members=members,
        duration_seconds=max(member.duration_seconds for member in members),
        success=good,
        member_success_share=sum(member.success for member in members) / len(members),
        cost_usd=0.001 * len(members),
    )


def _outcome(name: str, good: bool, seconds: float) -> MemberOutcome:
    return MemberOutcome(name, "researcher", good, True, seconds, 0, 0, 1 if good else 3, 900, 200)


def test_a_member_that_never_succeeds_is_the_first_that_is_tested_and_leaves_the_team(flaky: Simulation) -> None:
    for _ in range(70):
        run_flaky(flaky)
    first = flaky.experiments()[-1]
    assert (first.treatment, first.status) == (TeamPlan(members=REST), "proven")
    assert flaky.state().plan.members == REST
    assert flaky.changes()[0].action == "started"


# --- single suggestions


def suggested(
    percent: float, priority: str = "medium", kind: str = "tool_budget", **metadata: Any
) -> OptimizationSuggestion:
    interval = [percent - 5, percent + 5]
    return OptimizationSuggestion(
        type=kind,
        priority=OptimizationPriority(priority),
        description="Try it.",
        current_config={},
        suggested_config={"tool_budget": 6},
        expected_improvement=percent,
        confidence=0.8,
        risk_level=0.2,
        metadata={"metric": "duration", "interval_percent": interval, **metadata},
    )


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[TeamRun]]:
    """As many as every strategy needs, with a log standard deviation of 0.8."""
    team = Simulation(tmp_path, mode="observe", seed=4, truth=lambda plan, members: members[0] ** 2)
    yield [team.run() for _ in range(EVIDENCE_RUNS)]
    team.close()


def test_what_is_not_urgent_waits_until_every_strategy_could_have_spoken(runs: list[TeamRun]) -> None:
    early = runs[1:]
    assert "not urgent" in (reason_to_wait(suggested(30), early) or "")
    assert reason_to_wait(suggested(30), runs) is None
    assert reason_to_wait(suggested(30, "high"), early) is None
    assert reason_to_wait(suggested(30, "low", kind="own"), early) is None


def test_what_changes_nothing_is_not_tested(runs: list[TeamRun]) -> None:
    reason = reason_to_wait(suggested(30, "high", changes_nothing=True), runs)
    assert reason is not None
    assert "nothing to prove" in reason


def test_advice_says_what_waits_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = suggested(6, metric="tool_calls")
    monkeypatch.setattr("victor_autotune_plugin._tuning.next_test.suggestions", lambda *_: [small])
    team = Simulation(tmp_path, mode="suggest")
    for _ in range(10):
        team.run()
    said = advice(team.store, team.state(), team.runtime.settings(team.spec), team.runtime.hooks)
    assert said.challenge.suggested == (small,)
    assert said.challenge.treatment is None
    assert "not urgent" in (said.challenge.waits_because(small) or "")
    team.close()
