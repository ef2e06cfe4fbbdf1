"""What the loop does with a team: test, promote, watch, take back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin._model.score import Gate
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_plugin.hookspecs import DEPRECATED, Change, Experiment, hookimpl
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation, no_difference

PARALLEL = TeamPlan(formation="parallel")


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Nothing may go wrong behind the scenes in these tests."""
    yield
    assert failsafe.seen() == ()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(tmp_path)
    yield simulation
    simulation.close()


def until_testing(team: Simulation) -> None:
    """Run until the canary is over, and all places of its last block are taken."""
    team.run_until("started")
    while team.experiments()[-1].status == "canary":
        team.run()


def promoted_team(team: Simulation) -> Simulation:
    team.run_until("promoted")
    return team


def test_a_better_formation_is_promoted_only_after_a_test_on_both_arms(team: Simulation) -> None:
    change = team.run_until("promoted")
    assert team.state().plan == PARALLEL
    assert (change.plan_before, change.plan_after, change.rollback_plan) == (EMPTY_PLAN, PARALLEL, EMPTY_PLAN)
    runs = change.evidence["runs"]
    assert runs["control"] >= 10
    assert runs["treatment"] >= 10
    assert change.improvement_percent is not None
    assert change.improvement_percent > 5
    assert [c.action for c in team.changes()] == ["started", "promoted"]


def test_a_team_is_left_alone_until_it_has_a_history(team: Simulation) -> None:
    planned = [team.start()[1] for _ in range(3)]
    assert all(p.plan == EMPTY_PLAN and p.assignment is None for p in planned)
    assert team.changes() == []


def test_arms_are_balanced_in_pairs(team: Simulation) -> None:
    until_testing(team)
    arms = [team.run().arm for _ in range(16)]
    assert all({first, second} == {"control", "treatment"} for first, second in zip(arms[::2], arms[1::2], strict=True))


def test_a_task_that_comes_again_is_spread_over_both_arms(team: Simulation) -> None:
    until_testing(team)
    others = [team.run(f"ticket-{n}").arm for n in range(8)]
    assert others.count("control") == others.count("treatment")
    again = [team.run("ticket-1") for _ in range(4)]
    (stream,) = {run.stream for run in again}
    assert str(stream).startswith("task:")
    assert str(stream).endswith(":ticket-1")
    assert all({first.arm, second.arm} == {"control", "treatment"} for first, second in (again[:2], again[2:]))


def test_a_change_without_effect_is_not_promoted(tmp_path: Path) -> None:
    team = Simulation(tmp_path, truth=no_difference, **{"experiment.max_runs_per_arm": 40})
    change = team.run_until("inconclusive")
    assert team.state().plan == EMPTY_PLAN
    assert team.state().experiment_id is None
    assert team.experiments()[-1].status == "inconclusive"
    assert change.evidence["status"] == "inconclusive"
    team.close()


def test_a_harmful_change_is_rejected_and_not_tried_again(tmp_path: Path) -> None:
    team = Simulation(tmp_path, truth=lambda plan, members: sum(members) * (3 if plan.formation else 1))
    team.run_until("failed")
    assert team.state().plan == EMPTY_PLAN
    for _ in range(30):
        team.run()
    tried = [experiment.treatment for experiment in team.experiments()]
    assert len(tried) == len(set(tried))


def test_a_promoted_plan_that_turns_bad_is_taken_back_with_evidence(team: Simulation) -> None:
    promoted_team(team)
    for _ in range(10):
        team.run()
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    change = team.run_until("rolled_back", most=100)
    assert team.state().plan == EMPTY_PLAN
    assert (change.plan_before, change.plan_after, change.actor) == (PARALLEL, EMPTY_PLAN, "auto")
    assert change.evidence["status"] == "rolled_back"
    assert team.start()[1].plan == EMPTY_PLAN


def test_both_arms_slower_together_is_no_reason_to_take_back(team: Simulation) -> None:
    promoted_team(team)
    team.truth = lambda plan, members: by_formation(plan, members) * 3
    for _ in range(120):
        team.run()
    assert "rolled_back" not in [change.action for change in team.changes()]


def test_without_a_watch_all_runs_have_the_promoted_plan(tmp_path: Path) -> None:
    team = Simulation(tmp_path, **{"watch.enabled": False})
    team.run_until("promoted")
    assert team.experiments()[0].status == "proven"
    runs = [team.run() for _ in range(60)]
    assert {(run.arm, run.plan_asked) for run in runs} == {(None, PARALLEL)}
    team.close()


def test_a_person_takes_back_exactly_the_plan_before(team: Simulation) -> None:
    promoted_team(team)
    change = team.runtime.manual.roll_back(*SPEC.key)
    assert (change.action, change.actor, change.plan_after) == ("rolled_back", "person", EMPTY_PLAN)
    assert team.start()[1].plan == EMPTY_PLAN
    assert team.experiments()[0].status == "rolled_back"
    with pytest.raises(AutotuneError, match="no change to roll back"):
        team.runtime.manual.roll_back(*SPEC.key)


def test_taking_back_during_a_test_ends_the_test_and_keeps_the_live_plan(team: Simulation) -> None:
    team.run_until("started")
    change = team.runtime.manual.roll_back(*SPEC.key)
    assert (change.action, change.plan_before, change.plan_after) == ("aborted", EMPTY_PLAN, EMPTY_PLAN)
    assert team.start()[1].assignment is None


def test_nothing_to_take_back_is_an_error_that_changes_nothing(team: Simulation) -> None:
    team.run()
    before = team.state()
    with pytest.raises(AutotuneError, match="victor autotune history"):
        team.runtime.manual.roll_back(*SPEC.key)
    assert team.state() == before


def test_a_paused_team_takes_part_in_nothing_until_it_is_resumed(team: Simulation) -> None:
    team.run_until("started")
    team.run()
    team.runtime.manual.set_paused(*SPEC.key, True)
    assert [team.run().arm for _ in range(60)] == [None] * 60
    assert [change.action for change in team.changes()] == ["started", "paused"]
    team.runtime.manual.set_paused(*SPEC.key, False)
    team.run_until("promoted")


def test_a_watch_that_was_paused_goes_on_where_it_was(team: Simulation) -> None:
    promoted_team(team)
    for _ in range(5):
        team.run()
    team.runtime.manual.set_paused(*SPEC.key, True)
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    assert {team.run().arm for _ in range(40)} == {None}
    assert team.state().plan == PARALLEL
    team.runtime.manual.set_paused(*SPEC.key, False)
    change = team.run_until("rolled_back", most=100)
    seen = team.store.observations(team.experiments()[0].id, "watch")
    assert len(seen) == sum(change.evidence["runs"].values())
    actions = [one.action for one in team.changes()]
    assert actions == ["started", "promoted", "paused", "resumed", "reverifying", "rolled_back"]


def test_pausing_and_resuming_twice_is_like_once(team: Simulation) -> None:
    team.run()
    for paused in (True, True, False, False):
        assert team.runtime.manual.set_paused(*SPEC.key, paused).paused is paused
    assert [change.action for change in team.changes()] == ["paused", "resumed"]


def test_another_definition_of_the_team_ends_the_test_and_starts_anew(team: Simulation) -> None:
    promoted_team(team)
    team.spec = evolve(SPEC, members=SPEC.members[:3])
    assert team.run().plan_asked == EMPTY_PLAN
    assert team.changes()[-1].action == "aborted"
    assert team.experiments()[0].status == "superseded"
    team.run_until("promoted")


def test_the_loop_goes_on_in_another_process(tmp_path: Path) -> None:
    first = Simulation(tmp_path)
    first.run_until("started")
    for _ in range(8):
        first.run()
    first.close()
    second = Simulation(tmp_path, seed=2)
    change = second.run_until("promoted")
    assert sum(change.evidence["runs"].values()) > 8
    assert len(second.experiments()) == 1
    second.close()


def test_two_processes_share_one_test(tmp_path: Path) -> None:
    pair = [Simulation(tmp_path, seed=1), Simulation(tmp_path, seed=2)]
    for number in range(200):
        pair[number % 2].run()
    actions = [change.action for change in pair[0].changes()]
    assert actions.count("promoted") == 1
    assert pair[0].state() == pair[1].state()
    found = pair[0].store.observations(pair[0].experiments()[0].id, "test")
    arms = [one.arm for one in found if not one.stream.startswith("canary:")]
    assert abs(arms.count("control") - arms.count("treatment")) <= 2  # at most one pair of each is open
    for team in pair:
        team.close()


def test_runs_that_were_cancelled_are_counted_by_arm(team: Simulation) -> None:
    team.run_until("started")
    for _ in range(8):
        team.run(cancelled=True, success=False)
    found = team.store.observations(team.experiments()[0].id, "test")
    assert [one.missing for one in found] == ["cancelled"] * 8
    assert {one.arm for one in found} == {"control", "treatment"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("duration_seconds", value) for value in (math.nan, math.inf, -1.0)),
        *(("member_success_share", value) for value in (math.nan, -0.1, 1.5)),
    ],
)
def test_a_run_with_impossible_figures_is_named_left_out_and_holds_nothing_up(
    team: Simulation, field: str, value: float
) -> None:
    team.run_until("started")
    team.run(**{field: value})
    assert [f"{field} " in fault.error for fault in failsafe.seen()] == [True]
    failsafe.forget()
    change = team.run_until("promoted")
    observations = team.store.observations(team.experiments()[0].id, "test")
    assert len(observations) == sum(change.evidence["runs"].values())


def test_a_plan_that_crosses_the_cost_cap_is_ended_by_one_run(tmp_path: Path) -> None:
    (tmp_path / ".victor").mkdir()
    prices = "prices: {m: {input_per_million_usd: 1, output_per_million_usd: 1}}\n"
    (tmp_path / ".victor" / "autotune.yaml").write_text(prices)
    team = Simulation(tmp_path, **{"limits.max_cost_usd_per_run": 0.5})
    team.run_until("started")
    team.tokens = (TokenUse("m", 400_000, 200_000),)
    change = team.run_until("failed", most=2)
    assert "0.6000 USD" in change.reason
    assert team.state().plan == EMPTY_PLAN
    team.close()


def test_observe_records_and_changes_nothing(tmp_path: Path) -> None:
    team = Simulation(tmp_path, mode="observe")
    for _ in range(30):
        assert team.run().plan_asked == EMPTY_PLAN
    assert team.changes() == []
    assert len(list(team.store.runs(status="finished", limit=100))) == 30
    team.close()


def test_a_plan_that_a_person_fixed_is_used_and_not_tuned(tmp_path: Path) -> None:
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("plan: {formation: pipeline}\n")
    team = Simulation(tmp_path)
    assert {team.run().plan_asked for _ in range(20)} == {TeamPlan(formation="pipeline")}
    assert team.changes() == []
    team.close()


def test_a_limit_keeps_a_formation_from_being_tried(tmp_path: Path) -> None:
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("limits: {formations: [sequential, pipeline]}\n")
    team = Simulation(tmp_path)
    for _ in range(40):
        team.run()
    assert team.experiments() == []
    team.close()


class Approver:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bool | None] = {"start": None, "probation": None, "promote": None}
        self.asked: list[str] = []

    @hookimpl
    def approve_change(self, step: str) -> bool | None:
        self.asked.append(step)
        return self.answers[step]


def test_in_mode_approve_nothing_happens_without_a_word(tmp_path: Path) -> None:
    team = Simulation(tmp_path, mode="approve")
    approver = Approver()
    team.runtime.hooks.register(approver, "approver")
    for _ in range(20):
        team.run()
    assert set(approver.asked) == {"start"}
    (draft,) = team.experiments()
    assert (draft.status, team.state().experiment_id) == ("awaits_approval", None)
    assert [change.action for change in team.changes()] == ["awaits_approval"]
    approver.answers["start"] = True
    started = team.run_until("started")
    assert started.experiment_id == draft.id
    assert started.evidence["expected_improvement"] > 5
    team.run_until("awaits_promotion")
    assert "promote" in approver.asked
    assert team.state().plan == EMPTY_PLAN
    approver.answers["promote"] = True
    team.run_until("promoted", most=1)
    assert team.state().plan == PARALLEL
    team.close()


def test_a_test_that_is_not_approved_never_starts(tmp_path: Path) -> None:
    team = Simulation(tmp_path, mode="approve", strategies=("formation_selection",))
    approver = Approver()
    approver.answers["start"] = False
    team.runtime.hooks.register(approver, "approver")
    change = team.run_until("rejected")
    assert "'approver' did not approve the test" in change.reason
    assert team.experiments()[0].status == "aborted"
    asked = len(approver.asked)
    assert {team.run().arm for _ in range(10)} == {None}
    others = {experiment.treatment for experiment in team.experiments()[:-1]}
    assert team.experiments()[-1].treatment not in others
    assert len(approver.asked) >= asked
    team.close()


def test_what_awaits_approval_starts_by_itself_once_the_mode_is_auto(tmp_path: Path) -> None:
    waiting = Simulation(tmp_path, mode="approve")
    for _ in range(10):
        waiting.run()
    (draft,) = waiting.experiments()
    waiting.close()
    team = Simulation(tmp_path)
    assert team.run_until("promoted").experiment_id == draft.id
    assert [experiment.id for experiment in team.experiments()] == [draft.id]
    team.close()


def test_what_awaits_approval_and_no_longer_fits_the_team_is_aborted(tmp_path: Path) -> None:
    team = Simulation(tmp_path, mode="approve")
    for _ in range(10):
        team.run()
    team.spec = evolve(SPEC, members=SPEC.members[:3])
    for _ in range(12):
        team.run()
    assert [experiment.status for experiment in team.experiments()] == ["awaits_approval", "aborted"]
    assert team.experiments()[0].fingerprint == team.spec.fingerprint()
    team.close()


def test_a_promotion_that_is_not_approved_ends_the_test(tmp_path: Path) -> None:
    team = Simulation(tmp_path, mode="approve")
    approver = Approver()
    approver.answers = {"start": True, "promote": False}
    team.runtime.hooks.register(approver, "approver")
    change = team.run_until("rejected")
    assert "'approver' did not approve" in change.reason
    assert team.state().plan == EMPTY_PLAN
    team.close()


class Teller:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    @hookimpl
    def experiment_started(self, experiment: object, change: object) -> None:
        self.told.append(("experiment_started", change.action))  # type: ignore[attr-defined]

    @hookimpl
    def experiment_decided(self, change: object) -> None:
        self.told.append(("experiment_decided", change.action))  # type: ignore[attr-defined]

    @hookimpl
    def plan_promoted(self, change: object) -> None:
        self.told.append(("plan_promoted", change.action))  # type: ignore[attr-defined]

    @hookimpl
    def plan_rolled_back(self, change: object) -> None:
        self.told.append(("plan_rolled_back", change.action))  # type: ignore[attr-defined]


def test_the_hooks_of_the_first_version_are_told_as_before_and_deprecated(
    team: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    teller = Teller()
    with pytest.warns(DeprecationWarning, match="plan_changed") as warned:
        team.runtime.hooks.register(teller, "teller")
    assert len(warned) == 4
    (message,) = [one for one in caplog.messages if "'teller'" in one]
    assert all(hook in message for hook in DEPRECATED)
    promoted_team(team)
    team.runtime.manual.roll_back(*SPEC.key)
    team.runtime.hooks.flush(5.0)
    assert sorted(teller.told) == [  # each hook is called on a thread of its own
        ("experiment_decided", "promoted"),
        ("experiment_started", "started"),
        ("plan_promoted", "promoted"),
        ("plan_rolled_back", "rolled_back"),
    ]


class Historian:
    """Writes down every line of the history."""

    def __init__(self) -> None:
        self.told: list[tuple[Change, Experiment | None]] = []

    @hookimpl
    def plan_changed(self, change: Change, experiment: Experiment | None) -> None:
        self.told.append((change, experiment))


def test_one_event_tells_of_every_line_of_the_history(team: Simulation) -> None:
    historian = Historian()
    team.runtime.hooks.register(historian, "historian")
    promoted_team(team)
    team.runtime.manual.roll_back(*SPEC.key)
    team.runtime.manual.set_paused(*SPEC.key, True)
    team.runtime.manual.set_paused(*SPEC.key, False)
    team.runtime.manual.apply(SPEC.key, TeamPlan(tool_budget=9), "By hand.", evidence={})
    team.runtime.hooks.flush(5.0)
    assert [change.action for change, _ in historian.told] == [
        "started",
        "promoted",
        "rolled_back",
        "paused",
        "resumed",
        "promoted",
    ]
    assert [change for change, _ in historian.told] == team.changes()
    assert [experiment is None for _, experiment in historian.told] == [False, False, False, True, True, True]


class Changer:
    """Changes every plan."""

    @hookimpl
    def before_team_run(self) -> TeamPlan:
        return TeamPlan(formation="consensus")


def test_a_run_whose_plan_a_hook_changed_stays_in_its_arm_and_names_the_hook(team: Simulation) -> None:
    team.run_until("started")
    team.runtime.hooks.register(Changer(), "changer")
    arms = set()
    for number in range(1, 9):
        run = team.run()
        assert run.plan_asked == TeamPlan(formation="consensus")
        arms.add(run.arm)
        stored = team.store.run(run.run_id)
        assert stored is not None
        assert stored.owners == {"formation": "hook of changer"}
        assert len(team.store.observations(team.experiments()[0].id, "test")) == number
    assert arms == {"control", "treatment"}


def test_a_run_that_was_lost_is_kept_with_the_plan_that_a_hook_gave_it(team: Simulation) -> None:
    team.run_until("started")
    team.runtime.hooks.register(Changer(), "changer")
    event, planned = team.start()
    team.runtime.loop.run_until_idle()
    record = team.store.run(event.run_id)
    assert record is not None
    assert record.status == "running"
    assert (record.plan_asked, record.arm) == (planned.plan, planned.arm)
    assert record.owners == {"formation": "hook of changer"}
    assert planned.plan == TeamPlan(formation="consensus")


def test_a_run_waits_no_longer_for_the_scores_of_a_process_that_died(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True)
    team.run_until("started")
    run, gates = team.run(), (Gate("tests"),)
    with team.store.transaction() as transaction:
        transaction.finish_run(evolve(run, run_id="of the dead"), "dead", None, gates, 86_400.0)
    for _ in range(9):  # until the process gives a sign of life again
        team.run()
    assert [one.why for one in team.store.scores_of("of the dead")] == ["output lost"]
    found = team.store.run("of the dead")
    assert found is not None
    assert found.number is not None


class OwnStrategy:
    """A strategy of a third party that suggests consensus."""

    name = "own"

    def suggest(self, insights: object, current_config: dict[str, object]) -> list[OptimizationSuggestion]:
        return [
            OptimizationSuggestion(
                type=self.name,
                priority=OptimizationPriority.CRITICAL,
                description="Try consensus.",
                current_config=current_config,
                suggested_config={"formation": "consensus"},
                expected_improvement=30.0,
                confidence=0.9,
                risk_level=0.2,
            )
        ]


class Offering:
    @hookimpl
    def add_strategies(self) -> list[OwnStrategy]:
        return [OwnStrategy()]


def test_a_third_partys_strategy_is_allowed_by_name_and_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\nstrategies: [own]\n")
    monkeypatch.setattr(HookManager, "load_entry_points", lambda self: self.register(Offering(), "offering"))
    team = Simulation(tmp_path, with_entry_points=True)
    team.run_until("promoted")
    assert team.state().plan == TeamPlan(formation="consensus")
    assert team.experiments()[0].strategy == "own"
    team.close()


class Claiming(OwnStrategy):
    """A strategy that claims to improve the score, in a way that only a person may allow or anybody."""

    def __init__(self, needs_person: bool) -> None:
        self.needs_person = needs_person

    def suggest(self, insights: object, current_config: dict[str, object]) -> list[OptimizationSuggestion]:
        (one,) = super().suggest(insights, current_config)
        return [evolve(one, metadata={"metric": "score", "needs_person": self.needs_person})]


@pytest.mark.parametrize("needs_person", [False, True])
def test_a_test_decides_by_the_metric_that_is_claimed_and_loosens_nothing_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs_person: bool
) -> None:
    class Offer:
        @hookimpl
        def add_strategies(self) -> list[OwnStrategy]:
            return [Claiming(needs_person)]

    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\nstrategies: [own]\n")
    monkeypatch.setattr(HookManager, "load_entry_points", lambda self: self.register(Offer(), "offer"))
    team = Simulation(tmp_path, with_entry_points=True)
    for _ in range(8):
        team.run()
    policies = [(one.policy.metric, one.watch_policy.metric) for one in team.experiments()]
    assert policies == ([] if needs_person else [("score", "score")])
    team.close()


def test_the_built_in_strategies_test_the_duration_first(team: Simulation) -> None:
    team.run_until("started")
    (experiment,) = team.experiments()
    assert (experiment.strategy, experiment.policy.metric) == ("formation_selection", "duration")


def test_faults_are_kept_for_the_doctor(team: Simulation) -> None:
    failsafe.report("some step", ValueError("secret text"))
    failsafe.report("some step", ValueError("secret text"))
    team.run()
    (kept,) = team.store.faults()
    assert (kept.where, kept.error, kept.count) == ("some step", "ValueError", 2)
    team.run()
    assert team.store.faults()[0].count == 2
    failsafe.forget()
