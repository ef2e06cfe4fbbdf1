"""One record has one history, whoever judges it and however often the judge changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.experiment import Change, Experiment
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin._tuning.judge_work import LEASE_SECONDS, JudgeWork
from victor_autotune_plugin._tuning.record import PIECE, Record, TeamMemo
from victor_autotune_plugin._tuning.snapshot import Memory
from victor_autotune_plugin._tuning.writer import CircuitBreaker
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.simulated import SPEC, Simulation
from victor_autotune_testing.stepped import Clock, by_hook

History = tuple[list[Change], list[Experiment]]
Recorded = tuple[str, Settings, Sequence[TeamRun], History]


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Nothing may go wrong behind the scenes in these tests."""
    yield
    assert failsafe.seen() == ()


@pytest.fixture(scope="module", params=["off", "low"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A record with a promotion, a rollback and a test that fails, and the history that one process made of it."""

    def truth(plan: TeamPlan, members: list[float]) -> float:
        fast = max(members) if plan.formation == "parallel" else sum(members)
        return fast if plan.is_empty else fast * slower

    slower = 1.0
    settings = {"tuner.risk": request.param, "strategies": ("formation_selection",)}
    team = Simulation(tmp_path_factory.mktemp("team"), truth=truth, in_memory=True, **settings)
    team.run_until("promoted")
    slower = 30.0
    team.run_until("rolled_back")
    team.spec = evolve(SPEC, tool_budget=99)  # another definition, to which nothing of before applies
    team.run_until("failed")
    for _ in range(12):
        team.run()
    runs = list(team.store.finished_runs())[::-1]
    found = team.store.identity().id, team.runtime.settings(SPEC), runs, history(team.store)
    team.close()
    return found


def history(store: Store) -> History:
    return store.changes(), store.experiments()


def judged(recorded: Recorded, judges: int, seed: int) -> History:
    """Judge the record by so many processes, which lose the lease to each other between any two runs."""
    store_id, settings, runs, _ = recorded
    random, clock = Random(seed), Clock(runs[-1].ended_at + 1000.0)
    store = Store.in_memory(clock, store_id=store_id)
    for run in runs:
        with store.transaction() as transaction:
            transaction.record_score(by_hook(run, run.member_success_share))
            transaction.finish_run(evolve(run, number=None))
    processes: list[Judge] = []

    class Judge(JudgeWork):
        """A process that falls asleep before a run at times, long enough to lose its lease to another."""

        is_at_work = False

        def _judge_run(self, *arguments: object) -> None:
            idle = [one for one in processes if not one.is_at_work]
            if idle and random.random() < 0.2:
                clock.now += LEASE_SECONDS + 1
                take_turn(random.choice(idle))
            super()._judge_run(*arguments)  # type: ignore[arg-type]

    def take_turn(judge: Judge) -> None:
        judge.is_at_work = True
        judge.touch([SPEC.key])
        judge.step(clock())
        judge.is_at_work = False

    for number in range(judges):
        memory = Memory(clock)
        memory.remember(SPEC.key, settings)
        breaker = CircuitBreaker(random.random)
        judge = Judge(lambda: store, memory, HookManager(), f"p{number}", on_change=lambda: None, breaker=breaker)
        processes.append(judge)
    while not is_done(store, len(runs)):
        take_turn(random.choice(processes))
        clock.now += LEASE_SECONDS + 1
    found = history(store)
    store.close()
    return found


def is_done(store: Store, last: int) -> bool:
    with store.transaction() as transaction:
        lease = transaction.take_lease(*SPEC.key, "the test", 0.0)
        return lease is not None and lease.judged >= last


def test_the_record_has_a_promotion_a_rollback_and_a_test_that_fails(recorded: Recorded) -> None:
    actions = [change.action for change in recorded[3][0]]
    steps = [action for action in actions if action != "probation"]  # which only the tuner lets a scored layout go on
    assert steps[:4] == ["started", "promoted", "reverifying", "rolled_back"]
    assert "failed" in actions


@pytest.mark.parametrize(("judges", "seed"), [(1, 1), (2, 2), (50, 3), (50, 4)])
def test_one_or_fifty_judges_write_the_same_history_bit_for_bit(recorded: Recorded, judges: int, seed: int) -> None:
    assert judged(recorded, judges, seed) == recorded[3]


def test_runs_that_a_judge_numbered_before_it_died_are_found_by_the_next_one(recorded: Recorded) -> None:
    store_id, settings, runs, _ = recorded
    clock = Clock(runs[-1].ended_at + 1000.0)
    store = Store.in_memory(clock, store_id=store_id)
    with store.transaction() as transaction:
        transaction.finish_run(evolve(runs[0], number=None))
    with store.transaction() as transaction:
        transaction.take_lease(*SPEC.key, "dead", LEASE_SECONDS)
        assert transaction.number_runs(*SPEC.key, PIECE) == 1
    clock.now += LEASE_SECONDS + 1
    memory = Memory(clock)
    memory.remember(SPEC.key, settings)
    judge = JudgeWork(
        lambda: store, memory, HookManager(), "p1", on_change=lambda: None, breaker=CircuitBreaker(Random(1).random)
    )
    judge.step(clock())  # nobody told it of the run
    clock.now += LEASE_SECONDS + 1
    assert is_done(store, 1)
    store.close()


def test_a_team_that_was_judged_a_moment_ago_gathers_runs_unless_someone_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Simulation(tmp_path, in_memory=True)
    team.run()
    loop, taken = team.runtime.loop, []
    judge, now = loop.judge_work, loop._clock() + 1000.0
    monkeypatch.setattr(judge, "_judge_team", lambda store, key, at: taken.append(at - now))

    def turn(seconds: float) -> float:
        judge.touch([SPEC.key])
        return judge.step(now + seconds)

    turn(0.0)
    assert turn(0.25) == pytest.approx(0.75)
    assert not judge.is_idle
    assert taken == [0.0]
    turn(1.0)
    judge.is_hurried = True
    turn(1.125)
    assert taken == [0.0, 1.0, 1.125]
    team.close()


def test_what_is_read_once_for_many_runs_is_what_each_of_them_would_read(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True, **{"experiment.min_history": 5})
    for _ in range(75):
        team.run()
    numbers = sorted(run.number or 0 for run in team.store.finished_runs())
    memo, first = TeamMemo(), min(run.started_at for run in team.store.finished_runs())
    with team.store.transaction() as transaction:
        for run in team.store.finished_runs():
            if (run.number or 0) % 7 == 0:
                transaction.record_score(Score(run.run_id, "rated", 1.0, "person", run.ended_at))
    tested = Record(team.store, SPEC.key).experiments[-1].id
    for number in numbers[-PIECE:]:
        shared, own = Record(team.store, SPEC.key, number, memo), Record(team.store, SPEC.key, number)
        assert shared.score_sources(3) == own.score_sources(3) == {"hook", *(["person"] if number % 7 < 3 else [])}
        assert shared.scores(20) == own.scores(20)
        for after in (number - 1, number - 20, 0):
            assert shared.test_runs(tested, after) == own.test_runs(tested, after)
            assert shared.live_runs(tested, after) == own.live_runs(tested, after)
        assert [run.number for run in own.runs(10)] == [*range(number, number - 10, -1)]
        for limit in (10, 40):
            assert shared.runs(limit) == own.runs(limit)
        for since in (first + 2 * number, first):
            assert shared.test_runs_since(since) == own.test_runs_since(since)
    assert len(own.test_runs_since(first)) > 20
    assert len(own.test_runs(tested)) > 20
    team.close()
