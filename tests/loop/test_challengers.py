"""The tuner in the loop: what it chooses is tested, what is hopeless ends, and what fails in it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._settings import STRATEGIES
from victor_autotune_plugin._tuner import TestOutlook, Tuner
from victor_autotune_plugin._tuning.next_test import Advice, Challengers, advice
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin._tuning.tuner_cache import TeamRecord, TunerCache
from victor_autotune_testing.simulated import SPEC, Simulation, no_difference
from victor_autotune_testing.stepped import scored_rules

from .test_loop import Approver

LOW = {"tuner.risk": "low"}
PARALLEL = TeamPlan(formation="parallel")


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Nothing may go wrong behind the scenes, but where a test says so."""
    yield
    assert failsafe.seen() == ()


Start = Callable[..., Simulation]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a simulated team with the tuner at risk `low`, in a project of its own or a named one."""
    made: list[Simulation] = []

    def start(project: str = "p", **options: Any) -> Simulation:
        (tmp_path / project).mkdir(exist_ok=True)
        made.append(Simulation(tmp_path / project, **{**LOW, **options}))
        return made[-1]

    yield start
    for one in made:
        one.close()


def suggesting(monkeypatch: pytest.MonkeyPatch, *suggestions: OptimizationSuggestion) -> None:
    """Let the strategies suggest this, whatever the runs say."""
    monkeypatch.setattr("victor_autotune_plugin._tuning.next_test.suggestions", lambda *_: list(suggestions))


def suggestion(kind: str, change: TeamPlan, **metadata: object) -> OptimizationSuggestion:
    return OptimizationSuggestion(
        type=kind,
        priority=OptimizationPriority.MEDIUM,
        description=f"Try {change.describe()}.",
        current_config={},
        suggested_config=change.to_dict(),
        expected_improvement=20.0,
        confidence=0.8,
        risk_level=0.2,
        metadata=metadata,
    )


def slower(plan: TeamPlan, members: list[float]) -> float:
    """The truth in which every change makes a run 15 % slower."""
    return sum(members) * (1 if plan.is_empty else 1.15)


def only_parallel(plan: TeamPlan, members: list[float]) -> float:
    """The truth in which no other formation than parallel changes anything."""
    return max(members) if plan.formation == "parallel" else sum(members)


def advised(team: Simulation) -> Advice:
    settings = team.runtime.settings(team.spec)
    return advice(team.store, team.state(), settings, team.runtime.hooks)


# --- the way of a change


def test_a_good_change_is_proposed_tested_and_promoted(start: Start) -> None:
    team = start()
    started = team.run_until("started")
    chosen = started.evidence["metadata"]["proposal"]["chosen"]
    assert chosen["improvement"] > 0.2
    assert chosen["p_harm"] < 0.65
    assert chosen["runs_of_live"] >= 5
    promoted = team.run_until("promoted", most=150)
    assert promoted.improvement_percent is not None
    assert promoted.improvement_percent > 5
    assert team.state().plan == team.experiments()[0].treatment != EMPTY_PLAN


def test_the_tuner_finds_a_change_that_no_strategy_suggests(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    suggesting(monkeypatch)
    team = start()
    team.run_until("promoted")
    assert {one.strategy for one in team.experiments()} == {"tuner"}


def test_a_hopeless_test_is_stopped_early_and_not_tried_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Tuner.outlook
    monkeypatch.setattr(Tuner, "outlook", lambda self, plan, metric=None: evolve(told(self, plan), stop=True))
    team = start(truth=slower)
    change = team.run_until("inconclusive")
    assert change.reason.startswith("Stopped as hopeless. After ")
    assert change.evidence["stop"] is True
    assert change.evidence["outlook"]["runs_behind"] < 30
    (first,) = team.experiments()
    assert (first.status, first.verdict, team.state().plan) == ("inconclusive", None, EMPTY_PLAN)
    for _ in range(120):
        team.run()
    tried = [one.treatment for one in team.experiments()]
    assert len(tried) == len(set(tried))
    assert team.state().plan == EMPTY_PLAN


def test_a_test_of_another_metric_gives_way_by_that_metric(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = TeamPlan(tool_budget=20)
    suggesting(monkeypatch, suggestion("tool_budget", smaller, metric="tool_calls", interval_percent=[10, 30]))
    told, asked = Tuner.outlook, list[str | None]()

    def listening(self: Tuner, plan: TeamPlan, metric: str | None = None) -> TestOutlook:
        asked.append(metric)
        return evolve(told(self, plan, metric), stop=metric == "tool_calls")

    monkeypatch.setattr(Tuner, "outlook", listening)
    team = start(truth=no_difference, strategies=["tool_budget"])  # the tuner leaves the budget to it
    test = team.run_until("started")
    assert test.evidence["suggested_config"] == {"tool_budget": 20}
    change = team.run_until("inconclusive")
    assert change.reason.startswith("Stopped as hopeless. After ")
    assert set(asked) == {"tool_calls"}
    assert team.experiments()[0].policy.metric == "tool_calls"


def test_what_the_tuner_stopped_replays(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Tuner.outlook
    monkeypatch.setattr(Tuner, "outlook", lambda self, plan, metric=None: evolve(told(self, plan), stop=True))
    team = start(truth=slower)
    team.run_until("inconclusive")
    late = [team.start() for _ in range(4)]
    for event, planned in late:
        team.finish(event, planned)
    assert all(one.same for one in replay_all(team.store, team.experiments()))


def test_the_engine_alone_decides_on_proof(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwilling(self: Tuner, plan: TeamPlan, metric: str | None = None) -> TestOutlook:
        outlook = told(self, plan, metric)
        return evolve(outlook, stop=False, outlook=evolve(outlook.outlook, p_better=0.0, p_gain=0.0, p_harm=1.0))

    told = Tuner.outlook
    monkeypatch.setattr(Tuner, "outlook", unwilling)
    team = start()
    team.run_until("promoted")
    assert team.experiments()[-1].status == "proven"


def lossy(team: Simulation, share: float) -> None:
    """Run once, with a share of the runs of the changed plan failing."""
    event, planned = team.start()
    good = planned.plan.is_empty or team._random.random() >= share
    team.finish(event, planned, success=good, member_success_share=float(good))


def test_a_promotion_that_loses_success_is_rolled_back_and_replays(start: Start) -> None:
    team = start()
    team.flow = None
    team.run_until("promoted")
    promoted = team.state().plan
    for _ in range(120):
        lossy(team, 0.5)
        if team.changes()[-1].action == "rolled_back":
            break
    change = team.changes()[-1]
    assert (change.action, change.plan_before, change.plan_after) == ("rolled_back", promoted, EMPTY_PLAN)
    assert all(one.same for one in replay_all(team.store, team.experiments()))
    for _ in range(60):
        team.run()
    assert [one.treatment for one in team.experiments()].count(promoted) == 1


def test_a_promotion_that_keeps_success_is_not_given_up(start: Start) -> None:
    team = start(seed=4, promotion="proof", **{"limits.max_bad_runs_per_week": 1000})
    team.flow = None
    team.success = 0.9
    team.run_until("promoted")
    for _ in range(200):
        team.run()
    assert "rolled_back" not in [change.action for change in team.changes()]


# --- what else is suggested


def test_a_suggestion_for_another_metric_is_tested_when_the_tuner_has_nothing_better(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = suggestion("tool_budget", TeamPlan(tool_budget=6), metric="tool_calls", interval_percent=(5, 30))
    suggesting(monkeypatch, budget)
    team = start(strategies=("tool_budget",))
    team.run_until("started")
    (experiment,) = team.experiments()
    assert (experiment.strategy, experiment.policy.metric) == ("tool_budget", "tool_calls")
    # The calls are the same in every run, which the test itself finds out: the tuner knows nothing of this metric.
    ended = team.run_until("inconclusive", most=60)
    assert "the number of tool calls is 0 % lower" in ended.reason


@pytest.mark.parametrize("metadata", [{}, {"metric": "duration", "interval_percent": (-300, -100)}])
def test_a_third_partys_suggestion_is_tested_even_where_the_tuner_thinks_little_of_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, metadata: dict[str, object]
) -> None:
    suggesting(monkeypatch, suggestion("own", TeamPlan(formation="consensus"), **metadata))
    team = start(strategies=("tool_budget",))  # no knob of the tuner's own
    team.run_until("started")
    assert team.experiments()[0].strategy == "own"


def test_what_the_tuner_thinks_more_of_comes_before_what_was_suggested(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggesting(monkeypatch, suggestion("own", TeamPlan(timeout_seconds=500.0)))
    team = start()
    team.run_until("started")
    assert team.experiments()[0].strategy == "tuner"


# --- what it learns from


def test_an_aborted_test_gives_way_to_another_and_may_be_tried_again(start: Start) -> None:
    settings = {"experiment.max_runs_per_arm": 12, "strategies": ("formation_selection", "parallelization")}
    team = start(truth=no_difference, **settings)
    team.run_until("started")
    team.runtime.manual.roll_back(*SPEC.key)
    (aborted,) = team.experiments()
    team.run_until("started", most=30)
    assert team.experiments()[0].treatment != aborted.treatment
    team.truth = only_parallel
    for _ in range(200):
        team.run()
        again = [one for one in team.experiments() if one.treatment == aborted.treatment]
        if len(again) == 2:
            break
    assert [one.status for one in again] == ["canary", "aborted"]


def test_another_definition_starts_the_tuner_anew(start: Start) -> None:
    team = start(mode="suggest")
    for _ in range(30):
        team.run()
    proposal = advised(team).proposal
    assert proposal is not None
    assert proposal.chosen is not None
    assert proposal.chosen.runs_of_live == 30
    team.spec = evolve(SPEC, members=[*SPEC.members[:3], MemberSpec("z", "researcher")])
    for _ in range(8):
        team.run()
    proposal = advised(team).proposal
    assert proposal is not None
    assert proposal.chosen is not None
    assert proposal.chosen.runs_of_live == 8


def kept(team: Simulation) -> Tuner:
    """The tuner that the process keeps of its team."""
    ((_, known),) = team.runtime.loop.judge_work._starter._challengers.tuners._known.items()
    return known.tuner


def test_what_other_processes_recorded_is_learnt(start: Start) -> None:
    options = {"truth": no_difference, "strategies": ("tool_budget",)}  # nothing to test
    one, other = start(**options), start(seed=2, **options)
    for _ in range(10):
        one.run()
    assert kept(one)._model.total == 10
    for _ in range(120):
        other.run()
    for _ in range(5):
        one.run()
    assert kept(one)._model.total == 135


def test_others_need_not_wait_while_a_process_learns_from_a_long_history(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = start(truth=no_difference, mode="suggest")
    for _ in range(100):
        before.run()
    before.runtime.loop.judge_work.close()  # the other process may judge the team
    team, learnt = start(seed=2, truth=no_difference, strategies=("tool_budget",)), 0
    observe = Tuner.observe

    def watched(tuner: Tuner, run: TeamRun) -> None:
        nonlocal learnt
        with before.store.transaction():  # raises where another process holds the lock
            learnt += 1
        observe(tuner, run)

    monkeypatch.setattr(Tuner, "observe", watched)
    for _ in range(5):  # until it is time to look for a test
        team.run()
    assert learnt == 105


def test_the_same_history_gives_the_same_proposal(start: Start) -> None:
    team = start("one", truth=no_difference, strategies=("formation_selection",))
    for _ in range(60):
        team.run()
    store, state, settings = team.store, team.state(), team.runtime.settings(team.spec)
    experiments = store.experiments(*SPEC.key)[::-1]
    assert experiments

    def read(limit: int) -> list[TeamRun]:
        return list(store.finished_runs(*SPEC.key, limit=limit))

    rules = scored_rules(SPEC, settings, store.data_flow(*SPEC.key))

    def proposed(challengers: Challengers) -> object:
        challenge = challengers.choose(TeamRecord(state, SPEC, settings, experiments, read, rules), [], [])
        assert challenge.proposal is not None
        return challenge.proposal.to_dict()

    fresh = proposed(Challengers())
    assert proposed(Challengers()) == fresh
    assert proposed(team.runtime.loop.judge_work._starter._challengers) == fresh  # which learnt it run by run


def test_a_tuner_made_after_a_promotion_starts_from_the_promoted_plan(start: Start) -> None:
    team = start()
    team.run_until("promoted")
    state, settings = team.state(), team.runtime.settings(team.spec)
    record = TeamRecord(
        state,
        team.spec,
        settings,
        team.experiments(),
        lambda limit: list(team.store.finished_runs(*SPEC.key, limit=limit)),
        scored_rules(team.spec, settings),
    )
    tuner = TunerCache().of(record)
    assert tuner.live == state.plan
    assert not tuner._open


def test_a_run_that_can_t_be_learnt_from_holds_up_no_other(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    observe = Tuner.observe

    def choosy(self: Tuner, run: TeamRun) -> None:
        if run.duration_seconds == 99:
            raise ValueError("the figures are impossible")
        observe(self, run)

    monkeypatch.setattr(Tuner, "observe", choosy)
    team = start(truth=no_difference, strategies=("tool_budget",))
    for number in range(10):
        team.run(**({"duration_seconds": 99.0} if number == 3 else {}))
    assert kept(team)._model.total == 9
    assert [(fault.where, fault.count) for fault in failsafe.seen()] == [("learning from a run", 1)]
    failsafe.forget()


# --- whoever is asked, and whatever fails


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("the tuner is broken")


def test_a_fault_in_the_tuner_leaves_the_choice_to_the_strategies(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("propose", "outlook", "started"):
        monkeypatch.setattr(Tuner, name, broken)
    team = start()
    team.run_until("promoted")
    assert team.state().plan == PARALLEL
    assert team.experiments()[0].strategy == "formation_selection"
    where = {fault.where for fault in failsafe.seen()}
    assert where == {"choice of a challenger", "outlook of a test", "learning from a run"}
    failsafe.forget()


def test_a_draft_of_the_tuners_waits_for_approval_and_starts_with_its_reasons(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggesting(monkeypatch)
    team = start(mode="approve")
    approver = Approver()
    team.runtime.hooks.register(approver, "approver")
    for _ in range(12):
        team.run()
    (draft,) = team.experiments()
    assert (draft.status, draft.strategy, [one.action for one in team.changes()]) == (
        "awaits_approval",
        "tuner",
        ["awaits_approval"],
    )
    approver.answers["start"] = True
    started = team.run_until("started", most=10)
    assert started.experiment_id == draft.id
    assert started.evidence["metadata"]["proposal"]["chosen"]["source"] == "tuner"
    team.run_until("awaits_promotion")
    assert team.state().plan == EMPTY_PLAN
    approver.answers["promote"] = True
    team.run_until("promoted", most=2)
    assert team.state().plan == draft.treatment


def test_a_refused_test_of_the_tuners_gives_way_to_another(start: Start) -> None:
    team = start(mode="approve")
    approver = Approver()
    approver.answers["start"] = False
    team.runtime.hooks.register(approver, "approver")
    for _ in range(30):
        team.run()
    refused = [one.treatment for one in team.experiments()]
    assert len(refused) >= 2
    assert len(set(refused)) == len(refused)


# --- what is said of it


def test_advice_is_what_the_loop_does_next_and_writes_nothing(start: Start) -> None:
    team = start(mode="suggest")
    for _ in range(20):
        team.run()
    before = team.state(), team.changes(), team.experiments()
    said = advised(team)
    assert (team.state(), team.changes(), team.experiments()) == before
    assert said.challenge.treatment is not None
    assert said.to_dict()["outlook"] is None
    team.close()
    tuned = start(mode="auto", seed=3)
    for _ in range(5):  # until it is time to look for a test
        tuned.run()
    assert tuned.experiments()[0].treatment == said.challenge.treatment


def test_of_an_open_test_advice_says_what_the_tuner_thinks(start: Start) -> None:
    team = start()
    team.run_until("started")
    runs = [team.run() for _ in range(12)]
    said = advised(team)
    assert said.proposal is None
    assert said.outlook is not None
    assert said.outlook.outlook.runs_behind == sum(run.arm == "treatment" for run in runs)
    assert said.outlook.outlook.plan == team.experiments()[0].treatment


def test_advice_says_why_nothing_is_proposed(start: Start) -> None:
    team = start(mode="suggest", strategies=("tool_budget",))
    for _ in range(10):
        team.run()
    proposal = advised(team).proposal
    assert proposal is not None
    assert proposal.plan is None
    assert proposal.nothing_because is not None
    assert "allow no other plan" in proposal.nothing_because


def test_with_the_tuner_off_advice_holds_what_the_strategies_suggest(start: Start) -> None:
    team = start(mode="suggest", **{"tuner.risk": "off"})
    for _ in range(10):
        team.run()
    said = advised(team)
    assert (said.proposal, said.challenge.treatment) == (None, PARALLEL)
    assert set(STRATEGIES) >= {str(one.type) for one in said.challenge.suggested}


def test_advice_says_why_not_the_plans_that_are_nearly_as_good(start: Start) -> None:
    team = start(mode="suggest")
    for _ in range(12):
        team.run()
    proposal = advised(team).proposal
    assert proposal is not None
    assert len(proposal.not_chosen) >= 2
    assert proposal.plan not in [other.plan for other in proposal.not_chosen]
    assert all(other.reason.endswith(".") for other in proposal.not_chosen)
    assert len({other.plan for other in proposal.not_chosen}) == len(proposal.not_chosen)
