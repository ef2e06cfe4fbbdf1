"""What users of canary and experiment systems complain about, each as a test that it does not happen here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuning.next_test import HISTORY_RUNS
from victor_autotune_plugin.errors import AutotuneError, StoreUnavailableError
from victor_autotune_plugin.hookspecs import Change, RunStart, hookimpl
from victor_autotune_plugin.storage.transaction import Transaction
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation, no_difference
from victor_autotune_testing.stepped import at_once

PARALLEL = TeamPlan(formation="parallel")


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Nothing may go wrong behind the scenes, but where a test says so."""
    yield
    assert failsafe.seen() == ()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path)
    yield simulation
    simulation.close()


def worse_in_parallel(plan: TeamPlan, members: list[float]) -> float:
    return by_formation(plan, members) * (12 if plan.formation else 1)


def test_abort_ignored_after_full_promotion(tmp_path: Path) -> None:
    team = Simulation(tmp_path, **{"watch.holdback": 0})
    team.run_until("promoted")
    for _ in range(20):
        team.run()
    assert team.start()[1].plan == PARALLEL
    team.runtime.manual.roll_back(*SPEC.key)
    assert [team.run().plan_asked for _ in range(20)] == [EMPTY_PLAN] * 20
    team.close()


def test_abort_with_nothing_in_progress_harms_the_stable_version(tmp_path: Path) -> None:
    team = Simulation(tmp_path, truth=no_difference, **{"experiment.min_history": 1000})
    for _ in range(5):
        team.run()
    before = team.state()
    for _ in range(3):
        with pytest.raises(AutotuneError, match="no change to roll back"):
            team.runtime.manual.roll_back(*SPEC.key)
    assert (team.state(), team.changes()) == (before, [])
    assert team.run().plan_asked == EMPTY_PLAN
    team.close()


def test_cannot_retry_after_an_abort(team: Simulation) -> None:
    team.run_until("started")
    for _ in range(7):
        team.run()
    team.runtime.manual.roll_back(*SPEC.key)
    assert team.experiments()[0].status == "aborted"
    for _ in range(HISTORY_RUNS - 1):
        team.run()
    assert [e for e in team.experiments() if e.treatment == PARALLEL] == team.experiments()[-1:]
    for _ in range(400):
        team.run()
        if team.changes()[-1].action == "promoted":
            break
    again = [experiment for experiment in team.experiments() if experiment.treatment == PARALLEL]
    assert [experiment.status for experiment in again] == ["proven", "aborted"]
    assert again[0].id != again[1].id
    assert again[0].seed != again[1].seed


def test_a_test_that_was_decided_is_not_retried(tmp_path: Path) -> None:
    team = Simulation(tmp_path, truth=worse_in_parallel, strategies=("formation_selection",))
    team.run_until("failed")
    for _ in range(2 * HISTORY_RUNS):
        team.run()
    tried = [experiment.treatment for experiment in team.experiments()]
    assert len(tried) == len(set(tried))
    team.close()


@pytest.mark.parametrize("timed_out", [False, True], ids=["fails", "times out"])
def test_stuck_when_the_baseline_itself_is_bad(team: Simulation, timed_out: bool) -> None:
    team.run_until("started")
    for _ in range(200):
        event, planned = team.start()
        bad: dict[str, Any] = {}
        if planned.plan == EMPTY_PLAN:
            bad = {"success": False, "score": 0.0, "timed_out": timed_out}
        team.finish(event, planned, **bad)
        if team.state().plan == PARALLEL:
            break
    (experiment,) = team.experiments()
    assert (experiment.status, team.state().plan) == ("proven", PARALLEL)


def test_a_team_that_is_bad_in_both_arms_does_not_keep_its_test_for_ever(tmp_path: Path) -> None:
    team = Simulation(tmp_path, **{"experiment.max_runs_per_arm": 20})
    team.run_until("started")
    for _ in range(41):
        team.run(success=False, member_success_share=0.0, timed_out=True)
    assert team.changes()[1].action == "inconclusive"
    team.close()


def test_failed_checks_counted_but_no_rollback_in_one_phase(tmp_path: Path) -> None:
    for phase in ("test", "watch"):
        (tmp_path / phase).mkdir()
        team = Simulation(tmp_path / phase)
        if phase == "watch":
            team.run_until("promoted")
        else:
            team.run_until("started")
        for _ in range(120):
            event, planned = team.start()
            failing = planned.plan == PARALLEL
            team.finish(event, planned, success=not failing, member_success_share=0.0 if failing else 1.0)
            if team.changes()[-1].action in ("failed", "rolled_back"):
                break
        assert team.changes()[-1].action == {"test": "failed", "watch": "rolled_back"}[phase]
        assert team.run().plan_asked == EMPTY_PLAN
        team.close()


def test_a_changed_config_must_restart_the_test(team: Simulation) -> None:
    team.run_until("started")
    for _ in range(12):
        team.run()
    late = team.start()
    team.spec = evolve(SPEC, members=SPEC.members[:3])
    assert team.run().arm is None
    team.finish(*late)
    (first,) = team.experiments()
    assert first.status == "aborted"
    change = team.run_until("promoted")
    second, _ = team.experiments()
    seen = team.store.observations(second.id, "test")
    assert len(seen) == sum(change.evidence["runs"].values())
    assert late[0].run_id not in {observation.run_id for observation in seen}
    assert second.fingerprint == team.spec.fingerprint() != first.fingerprint


class Watcher:
    """Starts a run as soon as it is told of a promotion."""

    def __init__(self, team: Simulation) -> None:
        self.team = team
        self.live: list[TeamPlan] = []

    @hookimpl
    def plan_changed(self, change: Change) -> None:
        if change.action == "promoted":
            self.live.append(self.team.state().plan)


def test_success_reported_while_the_old_config_is_still_live(team: Simulation) -> None:
    watcher = Watcher(team)
    team.runtime.hooks.register(watcher, "watcher")
    team.run_until("promoted")
    assert watcher.live == [PARALLEL]


def test_a_promotion_that_could_not_be_written_is_reported_to_nobody(
    team: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(team)
    team.runtime.hooks.register(watcher, "watcher")
    team.run_until("started")

    def broken(self: Transaction, change: object) -> int:
        raise StoreUnavailableError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "add_change", broken)
        for _ in range(150):
            team.run()
            team.recover()
    assert {fault.error for fault in failsafe.seen()} == {"StoreUnavailableError: the disk is full"}
    failsafe.forget()
    assert (watcher.live, team.state().plan) == ([], EMPTY_PLAN)
    team.run_until("promoted", most=1)
    assert watcher.live == [PARALLEL]


def test_no_data_treated_as_failure(team: Simulation) -> None:
    team.run_until("started")
    for _ in range(60):
        team.start()  # these never end
        team.run(cancelled=True, success=False)
    assert team.state().experiment_id == team.experiments()[0].id
    assert [change.action for change in team.changes()] == ["started"]
    team.run_until("promoted")


def test_false_aborts_at_low_traffic(tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        team = Simulation(tmp_path / str(seed), seed=seed)
        team.run_until("promoted")
        team.run(success=False, member_success_share=0.0)  # bad luck in one of the first runs
        for _ in range(12):
            team.run()
        assert [change.action for change in team.changes()] == ["started", "promoted"]
        team.close()


def test_canary_computed_but_never_used(team: Simulation) -> None:
    team.run_until("promoted")
    after = [team.run() for _ in range(40)]
    assert {run.plan_asked for run in after if run.arm == "treatment"} == {PARALLEL}
    assert sum(run.plan_used.formation == "parallel" for run in after) >= 34
    team.truth = worse_in_parallel
    team.run_until("rolled_back", most=80)
    assert {team.run().plan_used.formation for _ in range(4)} == {"sequential"}


def test_a_run_that_was_planned_and_never_started_is_no_exposure(team: Simulation) -> None:
    team.run_until("started")
    planned = []
    for number in range(8):
        event = RunStart(f"never-{number}", SPEC, 0.0)
        found = at_once(team.runtime.hooks.plan(event))
        assert found is not None
        planned.append(found.arm)
    assert set(planned) == {"control", "treatment"}
    change = team.run_until("promoted")
    (experiment,) = team.experiments()
    known = {run.run_id for run in team.store.finished_runs()}
    assert not any(name.startswith("never-") for name in known)
    seen = {observation.run_id for observation in team.store.observations(experiment.id, "test")}
    assert seen <= known
    assert sum(change.evidence["runs"].values()) == len(seen)
    assert change.evidence["sample_ratio_p_value"] > 0.5
