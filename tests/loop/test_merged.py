"""A definition that takes the live plan over keeps its proof, its sentinel and its way back, and tuning goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._apply.optimizations import recorded
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_testing.simulated import SPEC, Simulation

MERGED = evolve(SPEC, formation="parallel")
PARALLEL, SEQUENTIAL = TeamPlan(formation="parallel"), TeamPlan(formation="sequential")


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Nothing may go wrong behind the scenes in these tests."""
    yield
    assert failsafe.seen() == ()


class Tuned:
    """A team whose plan was promoted and then merged."""

    def __init__(self, folder: Path) -> None:
        self.slower = 1.0
        self.team = Simulation(folder, in_memory=True, truth=self.truth, strategies=("formation_selection",))
        self.team.run_until("promoted")
        self.proof = self.team.experiments()[0]
        assert self.team.state().plan == PARALLEL
        for _ in range(5):
            self.team.run()

    def truth(self, plan: TeamPlan, members: list[float]) -> float:
        formation = plan.formation or self.team.spec.formation
        return sum(members) if formation == "sequential" else max(members) * self.slower

    def merge(self) -> None:
        self.team.spec = MERGED
        self.team.run()


@pytest.fixture
def tuned(tmp_path: Path) -> Iterator[Tuned]:
    made = Tuned(tmp_path)
    yield made
    made.team.close()


def test_proof_and_way_back_carry_over(tuned: Tuned) -> None:
    tuned.merge()
    state, team = tuned.team.state(), tuned.team
    assert (state.plan, state.fingerprint) == (PARALLEL, MERGED.fingerprint())
    line = team.store.changes()[-1]
    assert (line.action, line.plan_after, line.rollback_plan) == ("merged", PARALLEL, SEQUENTIAL)
    verifies = next(one for one in team.experiments() if one.id == state.live_id)
    assert (verifies.status, verifies.proven_by) == ("proven", tuned.proof.id)
    assert (verifies.control, verifies.treatment) == (SEQUENTIAL, PARALLEL)
    assert {one.arm for one in verifies.reference} == {"control", "treatment"}
    assert next(one for one in team.experiments() if one.id == tuned.proof.id).status == "superseded"
    (live,) = [one for one in recorded(team.store) if one.in_effect]
    assert live.improvement_percentage > 0
    assert all(one.same for one in replay_all(team.store, team.experiments()))


def test_the_sentinel_goes_on_and_leads_back_to_what_ran_before(tuned: Tuned) -> None:
    tuned.merge()
    tuned.slower = 30.0
    tuned.team.run_until("rolled_back")
    assert tuned.team.state().plan == SEQUENTIAL
    assert all(one.same for one in replay_all(tuned.team.store, tuned.team.experiments()))


def test_a_person_can_roll_it_back(tuned: Tuned) -> None:
    tuned.merge()
    tuned.team.runtime.manual.roll_back("flow", "team")
    assert tuned.team.state().plan == SEQUENTIAL
    run = tuned.team.run()
    assert run.plan_asked == SEQUENTIAL


def test_it_is_merged_once_and_runs_go_on_under_the_watch(tuned: Tuned) -> None:
    tuned.merge()
    runs = [tuned.team.run() for _ in range(60)]
    assert [one.action for one in tuned.team.store.changes()].count("merged") == 1
    live = tuned.team.state().live_id
    assert {run.experiment_id for run in runs} == {live}
    assert {run.plan_asked for run in runs} <= {PARALLEL, SEQUENTIAL}


def test_another_definition_starts_over(tuned: Tuned) -> None:
    tuned.team.spec = evolve(MERGED, tool_budget=50)
    tuned.team.run()
    assert tuned.team.state().plan == EMPTY_PLAN
    assert tuned.team.store.changes()[-1].action == "aborted"


def test_the_definition_before_comes_back_after_a_merge(tuned: Tuned) -> None:
    """A revert of the merge starts over: the plan before is declared again, and nothing is live."""
    tuned.merge()
    tuned.team.spec = SPEC
    tuned.team.run()
    assert tuned.team.state().plan == EMPTY_PLAN
