"""States that meet: what people and runs do while something else is open."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.experiment import Experiment
from victor_autotune_plugin._model.optimization import (
    OptimizationPriority,
    OptimizationSuggestion,
    OptimizationType,
)
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan
from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin._tuning.present_state import verdicts
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_plugin.storage import archive, importing
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation, no_difference

PARALLEL, CONSENSUS = TeamPlan(formation="parallel"), TeamPlan(formation="consensus")
LARGER = evolve(SPEC, members=[*SPEC.members, MemberSpec("e", "researcher")])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    made: list[Simulation] = []

    def new(**settings: Any) -> Simulation:
        made.append(Simulation(tmp_path / str(len(made)), in_memory=True, **settings))
        return made[-1]

    yield new
    for team in made:
        replayed = replay_all(team.store, team.experiments())
        assert [one.differences for one in replayed] == [{}] * len(replayed)
        team.close()
    assert failsafe.seen() == ()


def change_to(plan: TeamPlan) -> OptimizationSuggestion:
    return OptimizationSuggestion(
        type=OptimizationType.FORMATION_SELECTION,
        priority=OptimizationPriority.HIGH,
        description=f"Try {plan.formation}.",
        current_config={"formation": "sequential"},
        suggested_config={"formation": plan.formation},
        expected_improvement=20.0,
        confidence=0.9,
        risk_level=0.2,
    )


def start_test(team: Simulation, plan: TeamPlan) -> Experiment:
    return team.runtime.manual.start_test(SPEC.key, change_to(plan), team.runtime.settings(SPEC), {})


def apply(team: Simulation, plan: TeamPlan) -> None:
    watched = change_to(plan), team.runtime.settings(SPEC)
    team.runtime.manual.apply(SPEC.key, plan, "By hand.", evidence={}, watched=watched)


def set_to(team: Simulation, **settings: object) -> None:
    """Let the settings be edited while the team runs."""
    runtime = team.runtime
    runtime._overrides.update({name.replace("__", "."): value for name, value in settings.items()})
    runtime._resolver = runtime._load_settings()


def statuses(team: Simulation) -> dict[str, str]:
    return {one.id: one.status for one in team.experiments()}


def run_until_asked(team: Simulation, asks: str) -> Experiment:
    for _ in range(300):
        team.run()
        for one in team.experiments():
            if asks in (one.status, one.asks_for):
                return one
    raise AssertionError(f"nobody was asked for {asks}: {statuses(team)}")


def proven_and_faster_still(start: Any) -> tuple[Simulation, Experiment, Experiment]:
    """Return a team with a proven plan, and another one on probation over it."""
    team = start(scored=False)
    team.run_until("promoted")
    (first,) = team.experiments()
    team.truth = lambda plan, members: by_formation(plan, members) * (0.3 if plan == CONSENSUS else 1)
    second = start_test(team, CONSENSUS)
    state = team.state()
    with team.store.transaction() as transaction:  # as the loop does where the data flow allows it
        transaction.save_experiment(evolve(second, status="testing"))
        transaction.save_experiment(evolve(second, status="probation", promoted_at=team.stepped.clock()))
        transaction.save_team(evolve(state, plan=CONSENSUS, live_id=None))
    return team, first, second


# --- a person starts one thing while another waits


def test_what_awaits_a_person_ends_when_that_person_starts_another_test(start: Any) -> None:
    team = start(mode="approve")
    asked = run_until_asked(team, "awaits_approval")
    test = start_test(team, CONSENSUS)
    assert statuses(team) == {asked.id: "aborted", test.id: "canary"}
    with pytest.raises(AutotuneError, match="awaits a person"):
        team.runtime.manual.approve(*SPEC.key, by="Ada")
    assert team.state().experiment_id == test.id
    assert team.run().experiment_id == test.id


def test_no_test_is_approved_over_another_or_over_a_plan_that_is_verified_again(start: Any) -> None:
    team = start(mode="approve")
    asked = run_until_asked(team, "awaits_approval")
    state = team.state()
    for live, why in (("reverifying", "verified again"), ("canary", "another test open")):
        other = evolve(asked, id=f"other-{live}", status="draft", control=PARALLEL)
        with team.store.transaction() as transaction:
            for status in ("draft", "proven", "reverifying") if live == "reverifying" else ("draft", "canary"):
                transaction.save_experiment(evolve(other, status=status))
            link = {"live_id": other.id} if live == "reverifying" else {"experiment_id": other.id}
            state = transaction.save_team(evolve(state, **link))
        with pytest.raises(AutotuneError, match=why):
            team.runtime.manual.approve(*SPEC.key, experiment_id=asked.id, by="Ada")
    assert statuses(team)[asked.id] == "awaits_approval"


def test_a_test_that_was_asked_for_knows_what_verifies_its_control_when_it_starts(start: Any) -> None:
    team = start(mode="approve", **{"watch.enabled": False, "strategies": ()})
    team.run()
    apply(team, PARALLEL)
    team.run()
    test = start_test(team, CONSENSUS)
    team.runtime.manual.roll_back(*SPEC.key)
    with team.store.transaction() as transaction:
        transaction.save_experiment(evolve(test, id="asked", status="awaits_approval"))
    assert (test.control_id, team.state().live_id) == (None, None)
    set_to(team, watch__enabled=True)
    team.run()
    team.runtime.manual.approve(*SPEC.key, experiment_id="asked", by="Ada")
    (started,) = (one for one in team.experiments() if one.id == "asked")
    assert started.control_id == team.state().live_id is not None


# --- a plan on probation, and the one that it would replace


def test_a_redefined_team_leaves_no_plan_open_behind_one_on_probation(start: Any) -> None:
    team, first, second = proven_and_faster_still(start)
    team.spec = LARGER
    team.run()
    assert {name: statuses(team)[name] for name in (first.id, second.id)} == {
        first.id: "superseded",
        second.id: "rolled_back",
    }
    assert (team.state().plan, team.state().live_id) == (EMPTY_PLAN, None)


def test_a_rollback_beyond_a_plan_on_probation_ends_the_one_behind_it_too(start: Any) -> None:
    team, first, second = proven_and_faster_still(start)
    change = next(one for one in team.changes() if one.action == "promoted")
    with team.store.transaction() as transaction:
        transaction.add_change(
            evolve(change, id=None, action="probation", experiment_id=second.id, plan_before=PARALLEL,
                   plan_after=CONSENSUS, rollback_plan=PARALLEL)
        )  # fmt: skip
    team.runtime.manual.roll_back(*SPEC.key, change_id=change.id)
    assert statuses(team) == {first.id: "rolled_back", second.id: "rolled_back"}
    assert (team.state().plan, team.state().live_id) == (EMPTY_PLAN, None)


def test_a_rollback_to_a_plan_that_was_live_before_does_not_bring_back_what_it_ended(start: Any) -> None:
    team = start(**{"experiment.min_history": 1000})
    for _ in range(10):
        team.run()
    for plan in (PARALLEL, CONSENSUS, PARALLEL):
        apply(team, plan)
        team.run()
    test = start_test(team, CONSENSUS)
    second = next(one for one in team.changes() if one.plan_after == CONSENSUS)
    team.runtime.manual.roll_back(*SPEC.key, change_id=second.id)
    state = team.state()
    assert (state.plan, state.experiment_id, statuses(team)[test.id]) == (PARALLEL, None, "aborted")
    assert state.live_id is None or not statuses(team)[state.live_id].startswith("rolled")


# --- what was asked for and is over


def test_what_ended_asks_nobody_any_more(start: Any) -> None:
    team = start(mode="approve", scored=False, **{"experiment.min_history": 12})
    run_until_asked(team, "awaits_approval")
    team.runtime.manual.approve(*SPEC.key, by="Ada")
    test = run_until_asked(team, "probation")
    team.spec = LARGER
    team.run()
    team.spec = SPEC
    team.run()
    (ended,) = (one for one in team.experiments() if one.id == test.id)
    assert (ended.status, ended.asks_for) == ("aborted", None)
    with pytest.raises(AutotuneError, match="awaits a person"):
        team.runtime.manual.approve(*SPEC.key, experiment_id=test.id, by="Ada")


def test_a_probation_is_not_asked_for_any_more_once_the_plan_looks_worse(start: Any) -> None:
    team = start(mode="approve", scored=False, **{"experiment.min_history": 12})
    run_until_asked(team, "awaits_approval")
    team.runtime.manual.approve(*SPEC.key, by="Ada")
    test = run_until_asked(team, "probation")
    team.truth = lambda plan, members: by_formation(plan, members) * (5 if plan.formation else 1)
    for _ in range(40):
        team.run()
        (test,) = (one for one in team.experiments() if one.id == test.id)
        if test.asks_for is None:
            break
    assert (test.status, test.asks_for) == ("testing", None)
    with pytest.raises(AutotuneError, match="awaits a person"):
        team.runtime.manual.approve(*SPEC.key, experiment_id=test.id, by="Ada")
    team.truth = by_formation


def test_a_plan_that_nothing_verifies_any_more_does_not_wait_for_the_end_of_that(start: Any) -> None:
    team = start(strategies=("formation_selection",))
    team.run_until("promoted")
    for _ in range(60):
        team.run()
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    team.run_until("reverifying", 60)
    rounds = team.experiments()[0].rounds
    set_to(team, watch__enabled=False)
    team.run()
    assert team.experiments()[0].status == "proven"
    start_test(team, CONSENSUS)
    team.run()
    set_to(team, watch__enabled=True)
    for _ in range(60):
        team.run()
        if team.changes()[-1].action == "rolled_back":
            break
    first = team.experiments()[-1]
    assert (first.status, first.rounds, team.state().plan) == ("rolled_back", rounds, EMPTY_PLAN)


def test_a_run_that_ends_after_its_team_was_redefined_does_not_bring_the_old_definition_back(start: Any) -> None:
    team = start(**{"experiment.min_history": 6})
    team.run()
    late = [team.start() for _ in range(3)]
    team.spec = LARGER
    team.run_until("started")
    before = [change.action for change in team.changes()]
    for event, planned in late:
        team.spec = SPEC
        team.finish(event, planned)
        team.spec = LARGER
        team.run()
    assert [change.action for change in team.changes()] == before
    assert team.state().fingerprint == LARGER.fingerprint()
    assert team.run().experiment_id == team.experiments()[0].id
    team.spec = SPEC
    team.run()
    assert team.state().fingerprint == SPEC.fingerprint()


def test_a_plan_that_waits_for_its_promotion_goes_when_a_run_crosses_the_cost_cap(start: Any, tmp_path: Path) -> None:
    folder = tmp_path / "0" / ".victor"
    folder.mkdir(parents=True)
    (folder / "autotune.yaml").write_text("prices: {dear: {input_per_million_usd: 10, output_per_million_usd: 10}}\n")
    team = start(mode="approve", **{"limits.max_cost_usd_per_run": 5.0})
    run_until_asked(team, "awaits_approval")
    team.runtime.manual.approve(*SPEC.key, by="Ada")
    test = run_until_asked(team, "awaits_promotion")
    team.tokens = (TokenUse("dear", 10**6, 0),)
    assert (team.run().cost_usd or 0.0) > 5.0
    (ended,) = (one for one in team.experiments() if one.id == test.id)
    assert ended.status == "aborted"
    assert team.run().plan_asked == EMPTY_PLAN


# --- verification that was not looked at for a while


def test_an_alarm_is_decided_by_its_own_pairs_though_an_earlier_one_passed_unseen(start: Any) -> None:
    team = start(strategies=("formation_selection",))
    team.run_until("promoted")
    for _ in range(20):
        team.run()
    judge = team.runtime.loop.judge_work
    verifies, judge._verifies = judge._verifies, lambda context, test: False  # the settings of its process say so
    team.truth = lambda plan, members: 12 * by_formation(plan, members)
    for _ in range(150):
        team.run()
    judge._verifies = verifies
    for _ in range(30):
        team.run()
    live = next(one for one in team.experiments() if one.is_verified)
    watch = team.runtime.loop.judge_work._judges._judges[live.id, "watch"][0]
    assert watch.rounds >= 1
    team.truth = lambda plan, members: (144 if plan == PARALLEL else 12) * by_formation(plan, members)
    team.run_until("rolled_back", 100)
    (ended,) = (one for one in team.experiments() if one.id == live.id)
    assert (ended.rounds, ended.watch_verdict["rounds"]) == (watch.rounds, watch.rounds)
    assert ended.watch_verdict["pairs"] >= 3


# --- places of runs


def told(team: Simulation) -> dict[str, Any]:
    verdict, _ = verdicts(team.store, team.experiments()[0])
    return dict(verdict)


@pytest.mark.parametrize("keeps_arm", [False, True], ids=["paired", "sticky"])
def test_runs_of_tasks_that_come_again_count_whichever_process_they_are_in(tmp_path: Path, keeps_arm: bool) -> None:
    number = 0
    for process in range(8):
        team = Simulation(tmp_path, seed=process, truth=no_difference, **{"experiment.sticky": keeps_arm})
        team.stepped.clock.now += 100.0 * process
        for _ in range(12):
            team.run(f"task {number % 3}")
            number += 1
        verdict = told(team)
        team.close()
    assert verdict["ignored"]["duplicate"] == 0
    assert sum(verdict["runs"].values()) >= 70


@pytest.mark.parametrize("status", ["testing", "proven"])
def test_an_imported_experiment_goes_on_after_the_places_that_it_had(start: Any, status: str) -> None:
    here, there = start(), start()
    while not here.experiments() or here.experiments()[0].status != status:
        here.run()
    for _ in range(10):
        here.run()
    store = here.store
    records = [archive.ExperimentRecord.stored(store, one) for one in here.experiments()]
    importing.write(there.store, [*store.changes(), *store.finished_runs(*SPEC.key), *records, *store.teams()])
    there.stepped.clock.now = here.stepped.clock.now
    for _ in range(20):
        there.run()
    assert there.experiments()[0].status == status
    (experiment,) = there.experiments()
    for phase in ("test", "watch"):
        seen = there.store.observations(experiment.id, phase)
        assert len({(one.stream, one.index) for one in seen}) == len(seen)
    assert len(seen) >= 30 or status == "testing"


def test_a_test_that_the_upgrade_ended_starts_again_at_once(tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / "v0_1_0"
    (tmp_path / ".victor").mkdir()
    shutil.copy(data / "autotune.db", tmp_path / ".victor" / "autotune.db")
    team = Simulation(tmp_path)
    team.stepped.clock.now = time.time()  # the runs come after the upgrade
    (ended,) = team.store.experiments(SPEC.workflow, "testing")
    state = team.store.team(SPEC.workflow, "testing")
    assert state is not None
    assert state.spec is not None
    team.spec = state.spec
    for _ in range(10):
        team.run()
    latest = team.store.experiments(*state.key)[0]
    assert (latest.treatment, latest.status, ended.status) == (ended.treatment, "canary", "aborted")
    team.close()
