"""A definition that takes the live plan over keeps its proof, its sentinel and its way back, and tuning goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._apply.optimizations import recorded
from victor_autotune_plugin._model.optimization import (
    OptimizationPriority,
    OptimizationSuggestion,
    OptimizationType,
)
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan, TeamSpec
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin._tuning.snapshot import PLAN_SECONDS
from victor_autotune_testing.simulated import SPEC, Simulation

MERGED = evolve(SPEC, formation="parallel")
PARALLEL = TeamPlan(formation="parallel")
BUDGET = TeamPlan(member_budgets={"a": 3})
BY_KNOB = {
    "formation": (PARALLEL, MERGED),
    "order of members": (TeamPlan(members="dcba"), evolve(SPEC, members=SPEC.members[::-1])),
    "fewer members": (TeamPlan(members="ab"), evolve(SPEC, start_from=TeamPlan(members="ab"))),
    "tool budget": (TeamPlan(tool_budget=9), evolve(SPEC, tool_budget=9, start_from=TeamPlan(tool_budget=9))),
    "budgets of members": (BUDGET, evolve(SPEC, start_from=BUDGET)),
    "timeout": (TeamPlan(timeout_seconds=60), evolve(SPEC, start_from=TeamPlan(timeout_seconds=60))),
    "sub-teams": (TeamPlan(sub_teams=["ab", "cd"]), evolve(SPEC, start_from=TeamPlan(sub_teams=["ab", "cd"]))),
    "reflection": (TeamPlan(formation="reflection"), evolve(SPEC, start_from=TeamPlan(formation="reflection"))),
}


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Nothing may go wrong behind the scenes in these tests."""
    yield
    assert failsafe.seen() == ()


class Tuned:
    """A team whose plan was promoted, to be merged."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.slower = 1.0
        self.team = Simulation(
            folder, in_memory=True, truth=self.truth, **{"strategies": ("formation_selection",), **settings}
        )
        self.team.run_until("promoted")
        self.proof = self.team.experiments()[0]
        assert self.team.state().plan == PARALLEL
        for _ in range(5):
            self.team.run()

    def truth(self, plan: TeamPlan, members: list[float]) -> float:
        formation = plan.formation or self.team.spec.formation
        return sum(members) if formation == "sequential" else max(members) * self.slower

    def merge(self, spec: TeamSpec = MERGED) -> None:
        self.team.spec = spec
        self.team.run()

    def actions(self) -> list[str]:
        return [one.action for one in self.team.changes()]


@pytest.fixture
def tuned(tmp_path: Path) -> Iterator[Tuned]:
    made = Tuned(tmp_path)
    yield made
    made.team.close()


def test_proof_watch_and_way_back_hold_on(tuned: Tuned) -> None:
    team, before = tuned.team, tuned.team.state()
    seen = len(team.store.live_observations(tuned.proof.id))
    tuned.merge()
    line, state = team.changes()[-1], team.state()
    assert (line.action, line.plan_before, line.plan_after) == ("merged", PARALLEL, PARALLEL)
    assert (state.plan, state.live_id, state.spec) == (PARALLEL, before.live_id, before.spec)
    assert team.experiments() == [tuned.proof]
    runs = [team.run() for _ in range(60)]
    assert {run.experiment_id for run in runs} == {tuned.proof.id}
    assert {run.plan_asked for run in runs} == {PARALLEL, EMPTY_PLAN}
    assert {run.plan_used.formation for run in runs} == {"parallel", "sequential"}
    assert len(team.store.live_observations(tuned.proof.id)) == seen + 60
    assert tuned.actions().count("merged") == 1
    (live,) = [one for one in recorded(team.store) if one.in_effect]
    assert live.improvement_percentage > 0
    assert all(one.same for one in replay_all(team.store, team.experiments()))


def test_the_sentinel_leads_back_to_what_ran_before(tuned: Tuned) -> None:
    tuned.merge()
    tuned.slower = 30.0
    tuned.team.run_until("rolled_back")
    assert tuned.team.run().plan_used.formation == "sequential"
    assert all(one.same for one in replay_all(tuned.team.store, tuned.team.experiments()))


def test_a_person_can_roll_it_back(tuned: Tuned) -> None:
    tuned.merge()
    tuned.team.runtime.manual.roll_back(*SPEC.key)
    tuned.slower = 1000.0
    run = tuned.team.run()
    assert run.plan_used.formation == "sequential"
    assert run.duration_seconds < 100


@pytest.mark.parametrize("knob", BY_KNOB)
def test_each_knob_is_recognised_and_tuning_goes_on(tmp_path: Path, knob: str) -> None:
    plan, merged = BY_KNOB[knob]
    team = Simulation(tmp_path, in_memory=True, **{"experiment.min_history": 12})
    try:
        for _ in range(6):
            team.run()
        team.runtime.manual.apply(SPEC.key, plan, "By hand.", evidence={})
        team.run()
        team.spec = merged
        team.settings = None if merged.start_from is None else Settings(mode="auto", start_from=merged.start_from)
        team.run()
        assert [one.action for one in team.changes()][-1] == "merged"
        run = team.run()
        assert (run.plan_asked, run.spec) == (plan, SPEC)
        team.runtime.manual.roll_back(*SPEC.key)
        assert team.run().plan_asked == EMPTY_PLAN
    finally:
        team.close()


def test_what_was_merged_is_tuned_further(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True, **{"experiment.min_history": 12, "tuner.risk": "off"})
    applied = BUDGET
    try:
        for _ in range(6):
            team.run()
        team.runtime.manual.apply(SPEC.key, applied, "By hand.", evidence={})
        team.run()
        team.spec = evolve(SPEC, start_from=applied)
        team.settings = evolve(team.runtime.settings(SPEC), start_from=applied)
        team.run_until("promoted")
        state = team.state()
        assert state.plan == TeamPlan(formation="parallel", member_budgets={"a": 3})
        assert team.store.experiment(state.live_id or "").control == applied
        team.spec = evolve(team.spec, formation="parallel")
        team.run()
        assert team.changes()[-1].action == "merged"
        assert team.state().plan == state.plan
    finally:
        team.close()


def test_an_open_test_of_a_further_plan_goes_on(tuned: Tuned) -> None:
    team = tuned.team
    further = OptimizationSuggestion(
        type=OptimizationType.FORMATION_SELECTION,
        priority=OptimizationPriority.HIGH,
        description="Try consensus.",
        current_config={"formation": "parallel"},
        suggested_config={"formation": "consensus"},
        expected_improvement=20.0,
        confidence=0.9,
        risk_level=0.2,
    )
    test = team.runtime.manual.start_test(SPEC.key, further, team.runtime.settings(SPEC), {})
    for _ in range(3):
        team.run()
    seen = len(team.store.observations(test.id, "test"))
    tuned.merge()
    assert team.state().experiment_id == test.id
    runs = [team.run() for _ in range(10)]
    assert {run.experiment_id for run in runs} == {test.id}
    assert {run.plan_used.formation for run in runs} == {"parallel", "consensus"}
    assert len(team.store.observations(test.id, "test")) == seen + 10
    assert tuned.actions()[-2:] == ["started", "merged"]


def test_a_plan_on_probation_may_be_merged_and_is_still_proven_or_taken_back(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True, scored=False)
    try:
        team.run_until("probation")
        (test,) = team.experiments()
        team.spec = MERGED
        team.truth = lambda plan, members: sum(members) if plan.formation == "sequential" else max(members)
        team.run_until("promoted")
        assert [one.id for one in team.experiments()] == [test.id]
        assert [one.action for one in team.changes()] == ["started", "probation", "merged", "promoted"]
    finally:
        team.close()


def test_machines_with_the_file_before_and_with_the_merged_one_run_side_by_side(tuned: Tuned, tmp_path: Path) -> None:
    team = tuned.team
    runs = []
    for number in range(40):
        team.spec = SPEC if number % 2 else MERGED
        runs.append(team.run())
    assert {run.plan_asked for run in runs[1:]} == {PARALLEL, EMPTY_PLAN}
    assert {run.experiment_id for run in runs[1:]} == {tuned.proof.id}
    assert tuned.actions().count("merged") == 1
    assert tuned.actions()[-1] == "merged"
    state = team.state()
    assert (state.plan, state.live_id) == (PARALLEL, tuned.proof.id)


def test_two_processes_with_a_file_each_share_one_plan(tmp_path: Path) -> None:
    before = Simulation(tmp_path, strategies=("formation_selection",))
    after = Simulation(tmp_path, strategies=("formation_selection",))
    try:
        before.run_until("promoted")
        after.spec = MERGED
        live = before.state().live_id
        after.run()
        runs = [team.run() for _ in range(30) for team in (before, after)]
        assert {run.experiment_id for run in runs[2:]} == {live}
        assert {run.spec for run in runs[2:]} == {SPEC}
        assert [one.action for one in before.changes()] == ["started", "promoted", "merged"]
        assert before.state().plan == PARALLEL
    finally:
        after.close()
        before.close()


def test_a_process_that_has_not_heard_of_the_merge_changes_nothing(tuned: Tuned) -> None:
    team = tuned.team
    tuned.merge()
    before = team.state()
    event, planned = team.start()
    late = evolve(event, spec=MERGED)
    team.finish(late, evolve(planned, plan=EMPTY_PLAN, assignment=None))
    assert (tuned.actions().count("merged"), tuned.actions()[-1]) == (1, "merged")
    assert evolve(team.state(), revision=0) == evolve(before, revision=0)


def test_a_plan_below_the_live_one_may_be_merged_late(tuned: Tuned) -> None:
    above = TeamPlan(tool_budget=30)
    tuned.team.runtime.manual.apply(SPEC.key, above, "By hand.", evidence={})
    live = tuned.team.state().plan
    assert live == PARALLEL.merged(above)
    tuned.merge()
    assert tuned.actions()[-1] == "merged"
    assert tuned.team.run().plan_asked == live


def test_a_plan_that_was_rolled_back_and_is_written_all_the_same_starts_over(tuned: Tuned) -> None:
    tuned.team.runtime.manual.roll_back(*SPEC.key)
    tuned.team.run()
    tuned.merge()
    assert "merged" not in tuned.actions()
    assert tuned.team.state().fingerprint == MERGED.fingerprint()


def test_a_plan_that_a_person_fixes_is_for_the_file_as_it_stands(tuned: Tuned) -> None:
    tuned.merge()
    fixed = TeamPlan(tool_budget=5)
    tuned.team.settings = evolve(tuned.team.runtime.settings(SPEC), plan=fixed)
    run = tuned.team.run()
    assert (run.spec, run.plan_asked, run.plan_used.formation) == (MERGED, fixed, "parallel")
    assert tuned.actions().count("merged") == 1


def test_without_word_from_the_store_for_a_day_the_team_runs_as_its_file_says(tuned: Tuned) -> None:
    tuned.merge()
    tuned.team.runtime.manual.roll_back(*SPEC.key)
    tuned.team.run()
    loop, settings = tuned.team.runtime.loop, tuned.team.runtime.settings(SPEC)
    assert loop.known_spec(MERGED, settings) == SPEC
    loop.memory.replace(loop.memory.snapshot, PLAN_SECONDS + 1)
    assert loop.known_spec(MERGED, settings) == MERGED


def test_another_definition_starts_over(tuned: Tuned) -> None:
    tuned.merge()
    tuned.merge(evolve(MERGED, tool_budget=50))
    state = tuned.team.state()
    assert (state.plan, state.merged) == (EMPTY_PLAN, ())
    assert tuned.actions()[-1] == "aborted"


def test_the_data_flow_that_was_seen_holds_on(tuned: Tuned) -> None:
    before = tuned.team.store.data_flow(*SPEC.key)
    tuned.merge()
    after = tuned.team.store.data_flow(*SPEC.key)
    assert after.fingerprint == before.fingerprint == SPEC.fingerprint()
    assert sum(after.runs.values()) >= sum(before.runs.values())


def test_a_store_that_never_saw_the_team_begins_with_what_it_starts_from(tmp_path: Path) -> None:
    start = TeamPlan(member_budgets={"a": 3})
    team = Simulation(tmp_path, in_memory=True)
    try:
        team.spec = evolve(SPEC, start_from=start)
        team.settings = evolve(team.runtime.settings(SPEC), start_from=start)
        event, planned = team.start()
        assert (planned.plan, planned.source) == (start, "settings")
        team.finish(event, planned)
        assert team.state().plan == start
        assert team.run().plan_asked == start
        team.run_until("started", most=60)
        assert team.experiments()[0].control == start
    finally:
        team.close()
