"""Teams whose work is scored: what decides in their tests, and what happens when a scorer decides no more."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._settings.team_settings import QualitySettings
from victor_autotune_plugin._tuning.going_live import kept_by
from victor_autotune_plugin._tuning.next_test import advice
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation
from victor_autotune_testing.stepped import by_hook

FEWER = TeamPlan(members=("a", "b", "c"))
JUDGE = ScorerSettings("judge", "rubric", ("Is it short?",))
REVIEW = ScorerSettings("review", "external", True)

Start = Callable[..., Simulation]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a simulated team in memory whose strategies suggest to leave out a member, or what they are given."""
    made: list[Simulation] = []

    def start(**options: Any) -> Simulation:
        made.append(Simulation(tmp_path, in_memory=True, **{"truth": by_members, **options}))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def _suggest(monkeypatch: pytest.MonkeyPatch) -> None:
    suggest(monkeypatch, FEWER)


def suggest(monkeypatch: pytest.MonkeyPatch, *plans: TeamPlan) -> None:
    """Let the strategies suggest these plans, whatever the runs say."""
    found = [
        OptimizationSuggestion(
            type="member_selection",
            priority=OptimizationPriority.CRITICAL,
            description=f"Try {plan.describe()}.",
            current_config={},
            suggested_config=plan.to_dict(),
            expected_improvement=25.0,
            confidence=0.8,
            risk_level=0.2,
            metadata={"metric": "duration"},
        )
        for plan in plans
    ]
    monkeypatch.setattr("victor_autotune_plugin._tuning.next_test.suggestions", lambda *_: list(found))


def by_members(plan: TeamPlan, members: list[float]) -> float:
    """The truth in which a run without the last member takes half as long."""
    return sum(members) * (0.5 if plan.members else 1.0)


def graded(run: TeamRun, full: float, fewer: float) -> float:
    """Return the score of a run: about `full`, and without a member about `fewer`."""
    rng = random.Random(f"{run.plan_asked.id}{run.duration_seconds}")
    return min(max(rng.gauss(fewer if run.plan_asked == FEWER else full, 0.08), 0.0), 1.0)


def ended(team: Simulation, most: int = 500) -> str:
    """Run until the first test has ended, and return how."""
    ends = ("promoted", "failed", "inconclusive", "aborted")
    for _ in range(most):
        team.run()
        found = [change.action for change in team.changes() if change.action in ends]
        if found:
            return found[0]
    raise AssertionError("no test ended")


def replays(team: Simulation) -> None:
    """Check that all tests and watches of a team replay bit for bit."""
    found = replay_all(team.store, team.experiments())
    assert found
    assert all(one.same for one in found), found


@pytest.mark.parametrize("seed", [1, 2])
def test_leaving_out_a_member_that_lowers_the_score_from_9_to_7_is_kept_out(start: Start, seed: int) -> None:
    team = start(seed=seed)
    team.score = lambda run: graded(run, 0.9, 0.7)
    assert ended(team) in ("failed", "inconclusive")
    assert team.state().plan == EMPTY_PLAN
    (test,) = team.experiments()
    assert (test.allowed_by, test.policy.scored, test.gates) == ("score", True, (Gate("simulated", is_hook=True),))
    replays(team)


def test_leaving_out_a_member_that_keeps_the_score_is_promoted_and_watched_by_it(start: Start) -> None:
    team = start()
    team.score = lambda run: graded(run, 0.9, 0.9)
    assert ended(team) == "promoted"
    (test,) = team.experiments()
    assert test.decided_order == max(one.order for one in team.store.observations(test.id, "test"))
    team.score = lambda run: graded(run, 0.9, 0.5)
    team.run_until("rolled_back")
    replays(team)


def twice_as_fast(plan: TeamPlan, members: list[float]) -> float:
    """The truth in which any other plan takes half as long."""
    return sum(members) * (1.0 if plan.is_empty else 0.5)


@pytest.mark.parametrize(("promotion", "goes"), [("probation", True), ("proof", False)])
def test_a_score_lets_a_layout_go_on_probation_and_nothing_that_members_do(
    start: Start, monkeypatch: pytest.MonkeyPatch, promotion: str, goes: bool
) -> None:
    suggest(monkeypatch, TeamPlan("parallel"))
    team = start(truth=twice_as_fast, promotion=promotion, **{"tuner.risk": "low"})
    team.score = lambda run: graded(run, 0.9, 0.9)
    assert ended(team) == "promoted"
    first = team.experiments()[-1]
    assert (first.treatment, first.allowed_by) == (TeamPlan("parallel"), "score")
    assert ("probation" in [change.action for change in team.changes()]) is goes
    assert (kept_by(first) == "score") is goes
    assert kept_by(evolve(first, treatment=FEWER)) is None
    assert kept_by(evolve(first, allowed_by="person")) is None
    assert kept_by(evolve(first, gates=())) is None


def test_a_layout_that_lowers_the_score_goes_on_no_probation(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    suggest(monkeypatch, TeamPlan("parallel"))
    team = start(truth=twice_as_fast, **{"tuner.risk": "low"})
    team.score = lambda run: graded(run, 0.9, 0.9) - (0.0 if run.plan_asked.is_empty else 0.2)
    assert ended(team) in ("failed", "inconclusive")
    assert "probation" not in [change.action for change in team.changes()]


def test_scores_that_are_missing_in_one_arm_only_promote_nothing(start: Start) -> None:
    team = start()
    rng = random.Random(1)
    team.score = lambda run: None if run.plan_asked == FEWER and rng.random() < 0.5 else graded(run, 0.9, 0.9)
    assert ended(team) == "failed"
    replays(team)


# --- without a scorer


@pytest.mark.parametrize(
    ("flow", "change"),
    [
        (RunFlow(), FEWER),
        (RunFlow(), TeamPlan(tool_budget=1)),
        (RunFlow(), TeamPlan(member_budgets={"a": 1})),
        (RunFlow(), TeamPlan(formation="reflection")),
        (None, TeamPlan(formation="parallel")),
    ],
)
def test_without_a_scorer_auto_tests_nothing_that_may_change_the_work_and_says_what_one_would_open(
    start: Start, monkeypatch: pytest.MonkeyPatch, flow: RunFlow | None, change: TeamPlan
) -> None:
    suggest(monkeypatch, change)
    team = start(scored=False)
    team.flow = flow
    for _ in range(25):
        team.run()
    assert team.experiments() == []
    told = advice(team.store, team.state(), team.runtime.settings(SPEC), team.runtime.hooks)
    (opened,) = told.opened_by_scorer
    assert (opened.plan, opened.improvement, opened.metric, opened.source) == (
        change,
        0.25,
        "duration",
        "member_selection",
    )
    assert opened.refusal == "it may change what the team delivers, and no scorer would tell"
    assert told.to_dict()["opened_by_scorer"] == [opened.to_dict()]


def test_what_keeps_the_work_is_no_matter_for_a_scorer(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    suggest(monkeypatch, TeamPlan(formation="parallel"))
    team = start(scored=False)
    team.run_until("started")
    told = advice(team.store, team.state(), team.runtime.settings(SPEC), team.runtime.hooks)
    assert told.opened_by_scorer == ()


def test_a_team_that_is_scored_is_told_of_nothing_that_a_scorer_would_open(start: Start) -> None:
    team = start()
    for _ in range(8):
        team.run()
    assert advice(team.store, team.state(), team.runtime.settings(SPEC), team.runtime.hooks).opened_by_scorer == ()


def test_a_third_partys_scores_decide_for_the_team_that_they_are_of_and_for_no_other(start: Start) -> None:
    team = start()
    team.score_rows = lambda run: [by_hook(run, 0.9)] if run.spec.team_id == "team" else []
    other = evolve(SPEC, team_id="other")
    for _ in range(30):
        for spec in (SPEC, other):
            team.spec = spec
            team.run()
    assert team.store.team(*other.key).gates == ()  # type: ignore[union-attr]
    assert team.store.experiments(*other.key) == []
    assert team.state().gates == (Gate("simulated", is_hook=True),)
    assert team.experiments() != []


# --- a model as judge


class Judged:
    """A team with a model as judge, whose runs a person labels.

    Attributes:
        agrees: Whether the judge says what the person says.
        digest: Of rubric, model and version.
    """

    def __init__(self, team: Simulation) -> None:
        self.team, self.agrees, self.digest = team, True, "j1"
        self._random = random.Random(3)
        team.settings = evolve(team.runtime.settings(SPEC), quality=QualitySettings((JUDGE,)))
        team.score_rows = self._rows

    def _rows(self, run: TeamRun) -> list[Score]:
        label = self._random.randint(1, 5) / 5
        judged = label if self.agrees else self._random.randint(0, 5) / 5
        at = run.ended_at + 60.0  # later than the word that no output was there to be scored
        return [
            Score(run.run_id, "judge", judged, "model", at, judge=self.digest),
            Score(run.run_id, "ann", label, "person", at),
        ]


def actions(team: Simulation) -> list[str]:
    return [change.action for change in team.changes()]


def test_a_judge_that_agrees_decides_from_20_labels_on_and_the_history_says_so(start: Start) -> None:
    team = start()
    Judged(team)
    for _ in range(19):
        team.run()
    assert actions(team) == []
    assert team.store.team(*SPEC.key).gates == ()  # type: ignore[union-attr]
    team.run_until("started", 10)
    line = team.changes()[0]
    assert (line.action, line.evidence["judge"], line.evidence["runs"]) == ("judge_trusted", "j1", 20)
    assert line.evidence["alpha"] == 1.0
    (test,) = team.experiments()
    assert (test.gates, test.policy.scored) == ((Gate("judge", judge="j1"),), True)


def test_a_judge_that_agrees_at_chance_never_decides(start: Start) -> None:
    team = start()
    Judged(team).agrees = False
    for _ in range(200):
        team.run()
    assert (actions(team), team.state().gates) == ([], ())


@pytest.mark.parametrize("what", ["agrees", "digest", "settings"])
def test_a_judge_that_is_trusted_no_more_ends_the_open_test_inconclusive(start: Start, what: str) -> None:
    team = start(**{"experiment.max_runs_per_arm": 200})
    judged = Judged(team)
    team.truth = lambda plan, members: sum(members)  # the test goes on for long
    team.run_until("started")
    if what == "settings":
        assert team.settings is not None
        team.settings = evolve(team.settings, quality=QualitySettings())
    else:
        setattr(judged, what, {"agrees": False, "digest": "j2"}[what])
    end = team.run_until("inconclusive", 60)
    assert end.reason.startswith("The scorer 'judge', which this test rests on, decides no more")
    lost = next(change for change in team.changes() if change.action == "judge_distrusted")
    assert lost.id < end.id  # type: ignore[operator]
    reason = {"agrees": "not trusted any more", "digest": "version changed", "settings": "name it no more"}[what]
    assert reason in lost.reason
    assert reason in end.reason
    assert (team.state().gates, team.state().experiment_id, team.state().plan) == ((), None, EMPTY_PLAN)
    (test,) = team.experiments()
    assert (test.status, test.decided_at) == ("inconclusive", None)
    replays(team)


@pytest.mark.parametrize("status", ["awaits_approval", "awaits_promotion"])
def test_what_awaits_a_person_ends_too_when_its_judge_is_trusted_no_more(start: Start, status: str) -> None:
    team = start(mode="approve", **{"experiment.min_history": 30})
    judged = Judged(team)
    team.run_until("awaits_approval")
    if status == "awaits_promotion":
        team.runtime.manual.approve(*SPEC.key, by="ann")
        team.run_until("awaits_promotion")
    judged.digest = "j2"
    end = team.run_until("inconclusive", 20)
    assert end.experiment_id == next(one.id for one in team.experiments() if one.status == "inconclusive")
    assert team.state().experiment_id is None


def test_a_plan_on_probation_goes_when_the_judge_of_its_test_is_trusted_no_more(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggest(monkeypatch, TeamPlan(formation="parallel"))
    team = start(truth=by_formation, **{"experiment.min_history": 30})
    team.flow = RunFlow()
    judged = Judged(team)
    team.run_until("probation")
    assert team.state().plan == TeamPlan(formation="parallel")
    judged.digest = "j2"
    end = team.run_until("inconclusive", 20)
    assert (end.plan_before, team.state().plan) == (TeamPlan(formation="parallel"), EMPTY_PLAN)


def test_the_watch_over_a_live_plan_goes_on_without_scores(start: Start) -> None:
    team = start()
    judged = Judged(team)
    judged.team.run_until("promoted")
    judged.digest = "j2"
    for _ in range(30):
        team.run()
    assert team.state().plan == FEWER
    assert team.experiments()[0].status == "proven"
    last = team.store.live_observations(team.experiments()[0].id)[-1]
    assert last.score is None
    replays(team)


# --- scores that come late


class Late:
    """A team whose scores come a number of runs after their run."""

    def __init__(self, team: Simulation, runs: int, fewer: float) -> None:
        self.team, self._late, self._fewer = team, runs, fewer
        self._waiting: list[TeamRun] = []
        team.settings = evolve(team.runtime.settings(SPEC), quality=QualitySettings((REVIEW,)))
        team.score_rows = lambda run: []

    def run(self) -> None:
        self._waiting.append(self.team.run())
        while len(self._waiting) > self._late:
            run = self._waiting.pop(0)
            value = graded(run, 0.9, self._fewer)
            with self.team.store.transaction() as transaction:
                transaction.record_score(Score(run.run_id, "review", value, "person", self.team.stepped.clock()))
            self.team.runtime.loop.judge_work.touch([SPEC.key])

    def verdict(self) -> str:
        for _ in range(900):
            self.run()
            found = [one for one in actions(self.team) if one in ("promoted", "failed", "inconclusive")]
            if found:
                return found[0]
        raise AssertionError(actions(self.team))


@pytest.mark.parametrize(("fewer", "verdict"), [(0.9, "promoted"), (0.6, "failed")])
def test_scores_that_come_50_runs_late_decide_as_those_that_come_at_once(
    start: Start, fewer: float, verdict: str
) -> None:
    found = []
    for late in (0, 50):
        team = start()
        assert Late(team, late, fewer).verdict() == verdict
        replays(team)
        (test,) = team.experiments()
        assert test.gates == (Gate("review", is_external=True),)
        found.append(test)
    assert found[0].treatment == found[1].treatment


def test_scores_of_a_test_that_come_after_its_verdict_are_seen_by_the_watch(start: Start) -> None:
    team = start()
    late = Late(team, 50, 0.9)
    assert late.verdict() == "promoted"
    (test,) = team.experiments()
    before = len(team.store.live_observations(test.id))
    for _ in range(60):
        late.run()
    seen = team.store.live_observations(test.id)
    assert len([one for one in seen if one.order > (test.decided_order or 0) and one.arm == "control"]) > 0
    assert len(seen) > before
    replays(team)
