"""The contract of `Store`, on every backend. Another backend passes this file to be one."""

# ruff: noqa: PT012 - a transaction that fails needs several statements
from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import STATES, TESTED, TeamState, may_follow
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.price import KeptPrices
from victor_autotune_plugin._model.run import Observation, PlannedRun, TeamRun
from victor_autotune_plugin.errors import StaleStateError, StoreError, StoreUnavailableError
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import (
    SPEC,
    TUNED,
    change,
    experiment,
    finished,
    missing,
    observation,
    planned,
    start,
)

KEY = SPEC.key


def running(run_id: str = "r1") -> TeamRun:
    """What the store tells of a run that has started, and not finished."""
    unknown = {
        "duration_seconds": 0.0,
        "success": False,
        "member_success_share": 0.0,
        "plan_used": EMPTY_PLAN,
        "cost_usd": None,
    }
    ended = {"timed_out": False, "cancelled": False, "error_class": None, "members": (), "tokens": ()}
    return finished(run_id, status="running", phase="test", stream="0", index=4, **unknown, **ended)


def _fail() -> None:
    raise KeyError("mine")


class TestTransactions:
    def test_an_exception_leaves_no_trace_and_is_the_one_that_arrives(self, store: Store) -> None:
        with pytest.raises(KeyError, match="mine"), store.transaction() as transaction:
            transaction.start_run(start(), planned())
            transaction.save_experiment(experiment())
            transaction.add_change(change())
            _fail()
        assert not any(store.counts().values())

    def test_what_is_committed_is_seen_by_another_store(self, store: Store, url: str) -> None:
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
        with Store.open(url) as other:
            assert other.run("r1") is not None

    def test_what_is_not_committed_is_not_seen_by_readers_who_do_not_wait(self, store: Store, url: str) -> None:
        with Store.open(url) as other, store.transaction() as transaction:
            transaction.start_run(start(), planned())
            assert other.run("r1") is None

    def test_a_second_one_in_the_same_thread_is_refused_and_the_first_goes_on(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
            with pytest.raises(RuntimeError, match="never await"), store.transaction():
                pytest.fail("entered")
        assert store.run("r1") is not None

    def test_one_after_a_failed_one_works(self, store: Store) -> None:
        with pytest.raises(StoreError), store.transaction() as transaction:
            transaction.start_run(start(run_id=None), planned())
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
        assert store.counts()["runs"] == 1

    def test_a_lock_that_stays_is_reported_after_the_busy_timeout(self, store: Store, url: str) -> None:
        with Store.open(url, busy_timeout_seconds=0.05) as other:
            with store.transaction() as transaction:
                transaction.save_team(transaction.team(*KEY))
                with pytest.raises(StoreUnavailableError, match="locked"), other.transaction() as second:
                    second.team(*KEY)
            with other.transaction() as second:
                assert second.team(*KEY).version == 1

    def test_reading_inside_one_sees_its_own_writes(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
            assert [run.run_id for run in store.runs()] == ["r1"]


class TestTeams:
    def test_an_unknown_team_is_a_new_default_state_and_leaves_no_trace(self, store: Store) -> None:
        with store.transaction() as transaction:
            assert transaction.team(*KEY) == TeamState(*KEY)
        assert store.teams() == []
        assert store.team(*KEY) is None
        assert store.counts()["teams"] == 0

    def test_a_saved_state_comes_back_whole(self, store: Store) -> None:
        state = TeamState(
            *KEY,
            plan=TUNED,
            fingerprint=SPEC.fingerprint(),
            spec=SPEC,
            experiment_id="e1",
            paused=True,
            updated_at=1.1,
            live_id="e0",
        )
        with store.transaction() as transaction:
            saved = transaction.save_team(state)
        assert saved == evolve(state, version=1, revision=store.identity().revision)
        with store.transaction() as transaction:
            assert transaction.team(*KEY) == saved
        assert store.team(*KEY) == saved
        assert store.teams() == [saved]

    def test_versions_count_the_saves(self, store: Store) -> None:
        with store.transaction() as transaction:
            state = transaction.team(*KEY)
            for version in (1, 2, 3):
                state = transaction.save_team(state)
                assert state.version == version

    @pytest.mark.parametrize("version", [0, 1, 3])
    def test_a_state_of_another_version_is_stale_and_changes_nothing(self, store: Store, version: int) -> None:
        with store.transaction() as transaction:
            transaction.save_team(transaction.save_team(transaction.team(*KEY)))
        with pytest.raises(StaleStateError, match="review"), store.transaction() as transaction:
            transaction.save_team(TeamState(*KEY, version=version, paused=True))
        assert store.teams() == [TeamState(*KEY, version=2, revision=store.identity().revision)]

    def test_a_version_that_was_never_stored_is_stale(self, store: Store) -> None:
        with pytest.raises(StaleStateError), store.transaction() as transaction:
            transaction.save_team(TeamState(*KEY, version=1))

    def test_teams_are_kept_apart_by_workflow_and_id(self, store: Store) -> None:
        keys = [("a", "x"), ("a", "y"), ("b", "x")]
        for key in reversed(keys):
            with store.transaction() as transaction:
                transaction.save_team(TeamState(*key, fingerprint="/".join(key)))
        assert [(state.key, state.fingerprint) for state in store.teams()] == [(key, "/".join(key)) for key in keys]


class TestExperiments:
    def test_it_comes_back_whole(self, store: Store) -> None:
        whole = experiment(
            status="rolled_back",
            decided_at=2.5,
            promoted_at=2.5,
            ended_at=3.5,
            verdict={"p": 0.1 + 0.2, "log_e": float("inf"), "looks": [1, 2], "deep": {"none": None}},
            watch_verdict={"harmed": True},
            reference=(observation(), missing("r2")),
            allowed_by="data_flow",
            promotion="probation",
            asks_for="probation",
            rounds=2,
            proven_by="e00",
            control_id="e0",
            bad_before=(3, 40),
        )
        with store.transaction() as transaction:
            transaction.save_experiment(whole)
            assert transaction.experiment("e1") == whole
        assert store.experiment("e1") == whole
        assert store.experiments() == [whole]

    def test_an_unknown_one_is_none(self, store: Store) -> None:
        with store.transaction() as transaction:
            assert transaction.experiment("e0") is None
        assert store.experiment("e0") is None

    @pytest.mark.parametrize(
        ("status", "following"),
        [(status, following) for status in STATES for following in STATES if status != following],
    )
    def test_only_allowed_transitions_are_written(self, sqlite_store: Store, status: Any, following: Any) -> None:
        with sqlite_store.transaction() as transaction:
            transaction.save_experiment(experiment(status=status))
        if may_follow(status, following):
            with sqlite_store.transaction() as transaction:
                transaction.save_experiment(experiment(status=following))
            expected = following
        else:
            with (
                pytest.raises(StaleStateError, match=f"is {status} and"),
                sqlite_store.transaction() as transaction,
            ):
                transaction.save_experiment(experiment(status=following))
            expected = status
        assert sqlite_store.experiments() == [experiment(status=expected)]

    def test_an_ended_one_never_changes_but_may_be_written_again(self, store: Store) -> None:
        ended = experiment(status="failed", ended_at=9.0, verdict={"b": [1, 2], "a": {"y": 1, "x": float("nan")}})
        same = evolve(ended, verdict={"a": {"x": float("nan"), "y": 1}, "b": (1, 2)})
        for again in (ended, ended, same):
            with store.transaction() as transaction:
                transaction.save_experiment(again)
        with pytest.raises(StaleStateError, match="does not change any more"), store.transaction() as transaction:
            transaction.save_experiment(evolve(ended, verdict={"b": [1, 2]}))

    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": "other"},
            {"policy": {"alpha": 0.01}},
            {"treatment": EMPTY_PLAN},
            {"code_version": "9"},
            {"control_id": "e0"},
            {"proven_by": "e0"},
            {"prices": KeptPrices(at=2.5)},
        ],
    )
    def test_what_a_decision_is_replayed_from_never_changes(self, store: Store, changes: dict[str, Any]) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
        with pytest.raises(StoreError, match=next(iter(changes))), store.transaction() as transaction:
            transaction.save_experiment(experiment(status="proven", **changes))
        assert store.experiments() == [experiment()]

    def test_what_is_asked_for_and_how_often_its_plan_was_verified_may_change(self, store: Store) -> None:
        first = experiment(status="canary", promotion="probation")
        asks = evolve(first, status="testing", asks_for="probation")
        answered = evolve(asks, promotion="proof", asks_for=None)
        verified = [evolve(answered, status=status, rounds=2) for status in ("proven", "reverifying")]
        for one in (first, asks, answered, *verified):
            with store.transaction() as transaction:
                transaction.save_experiment(one)
            assert store.experiment("e1") == one

    @pytest.mark.parametrize("status", ["draft", "awaits_approval"])
    def test_prices_hold_from_the_start(self, store: Store, status: Any) -> None:
        started = experiment(status="canary", prices=KeptPrices(at=2.5))
        for one in (experiment(status=status), started):
            with store.transaction() as transaction:
                transaction.save_experiment(one)
        assert store.experiment("e1") == started

    def test_those_that_a_person_is_to_answer_are_oldest_first(self, store: Store) -> None:
        awaiting = {name for name, state in STATES.items() if state.awaits_person}
        with store.transaction() as transaction:
            for number, status in enumerate(reversed(STATES)):
                transaction.save_experiment(experiment(status, status=status, created_at=float(number)))
                if status in TESTED or status == "failed":
                    asks = experiment(f"{status} asks", status=status, created_at=number + 0.5, asks_for="probation")
                    transaction.save_experiment(asks)
            transaction.save_experiment(experiment("there", status="awaits_approval", environment="staging"))
            transaction.save_experiment(experiment("other", status="awaits_approval", team_id="other"))
            found = [one.id for one in transaction.experiments_that_await()]
            assert [one.id for one in transaction.experiments_that_await(*KEY)] == found[:-1]
        assert set(found) == awaiting | {f"{status} asks" for status in TESTED} | {"other"}
        everywhere = store.experiments_that_await()
        assert [one.created_at for one in everywhere] == sorted(one.created_at for one in everywhere)
        assert {one.id for one in everywhere} == {*found, "there"}
        assert [one.id for one in store.of("default").experiments_that_await()] == found
        assert [one.id for one in store.of("staging").experiments_that_await(*KEY)] == ["there"]

    def test_those_of_a_team_are_oldest_first(self, store: Store) -> None:
        with store.transaction() as transaction:
            for name, created_at in (("b", 2.0), ("c", 3.0), ("a", 1.0)):
                transaction.save_experiment(experiment(name, created_at=created_at))
            transaction.save_experiment(experiment("elsewhere", team_id="other"))
            assert [e.id for e in transaction.experiments_of(*KEY)] == ["a", "b", "c"]

    def test_lists_are_newest_first_and_filtered(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment("old", created_at=1.0, status="failed"))
            transaction.save_experiment(experiment("new", created_at=3.0))
            transaction.save_experiment(experiment("elsewhere", created_at=2.0, team_id="other"))
        assert [e.id for e in store.experiments()] == ["new", "elsewhere", "old"]
        assert [e.id for e in store.experiments(*KEY)] == ["new", "old"]
        assert [e.id for e in store.experiments(status="failed")] == ["old"]
        assert store.counts()["experiments"] == 3
        assert store.counts()["experiments_open"] == 2


class TestRuns:
    def test_a_start_is_a_running_run(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
        assert store.run("r1") == running()

    def test_a_finished_run_comes_back_whole(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
        with store.transaction() as transaction:
            assert transaction.finish_run(finished()) is True
        assert store.run("r1") == finished()

    def test_a_run_whose_start_was_never_written_is_finished_all_the_same(self, store: Store) -> None:
        bare = finished(cost_usd=None, task_key=None, parent_id=None, error_class=None, members=(), tokens=())
        with store.transaction() as transaction:
            assert transaction.finish_run(bare) is True
        assert list(store.finished_runs()) == [bare]

    def test_finishing_twice_keeps_the_first(self, store: Store) -> None:
        with store.transaction() as transaction:
            assert transaction.finish_run(finished()) is True
            assert transaction.finish_run(finished(member_success_share=0.0)) is False
        assert list(store.finished_runs()) == [finished()]

    def test_starting_again_changes_the_plan_of_a_run_that_is_running(self, store: Store) -> None:
        other = PlannedRun(TeamPlan(tool_budget=9), "suggest")
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
        with store.transaction() as transaction:
            transaction.start_run(start(entry="elsewhere", started_at=0.0), other)
        assert store.run("r1") == evolve(
            running(),
            mode="suggest",
            plan_asked=other.plan,
            experiment_id=None,
            arm=None,
            phase=None,
            stream=None,
            index=None,
        )

    def test_starting_again_changes_nothing_of_a_finished_run(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
            transaction.finish_run(finished())
            transaction.start_run(start(), planned(assignment=None))
        assert list(store.finished_runs()) == [finished()]

    def test_what_the_end_knows_better_replaces_what_the_start_said(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.start_run(start(task_key=None), PlannedRun())
            transaction.finish_run(finished())
        assert list(store.finished_runs()) == [finished()]

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), -0.1])
    @pytest.mark.parametrize("name", ["duration_seconds", "score", "cost_usd"])
    def test_a_number_that_is_none_is_refused_by_name(self, store: Store, name: str, number: float) -> None:
        with pytest.raises(StoreError, match=name), store.transaction() as transaction:
            transaction.finish_run(finished(**{name: number}))
        with pytest.raises(ValueError, match=name):
            observation(**{name: number})
        assert not any(store.counts().values())

    def test_runs_of_a_team_are_its_finished_ones_newest_first(self, store: Store) -> None:
        with store.transaction() as transaction:
            for index in (2, 0, 3, 1):
                transaction.finish_run(finished(f"r{index}", started_at=float(index)))
            transaction.finish_run(finished("other", spec=evolve(SPEC, team_id="other")))
            transaction.start_run(start("running"), planned())
            transaction.number_runs(*KEY, 100)
            assert [run.run_id for run in transaction.runs_of(*KEY, 3)] == ["r3", "r2", "r1"]
            assert len(transaction.runs_of(*KEY, 100)) == 4

    def test_lists_are_filtered_and_limited(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.finish_run(finished("done", started_at=1.0))
            transaction.start_run(start("open", started_at=2.0), planned())
            transaction.start_run(start("elsewhere", started_at=3.0, spec=evolve(SPEC, workflow="w")), planned())

        def ids(*key: str, **only: Any) -> list[str]:
            return [run.run_id for run in store.runs(*key, **only)]

        assert ids() == ["elsewhere", "open", "done"]
        assert ids(limit=2) == ["elsewhere", "open"]
        assert ids(limit=0) == []
        assert ids(*KEY) == ["open", "done"]
        assert ids(SPEC.workflow) == ["open", "done"]
        assert ids(status="running") == ["elsewhere", "open"]
        assert ids(*KEY, status="finished", limit=5) == ["done"]
        assert ids(status="lost") == []

    def test_a_long_history_is_read_page_by_page_without_loss(self, store: Store) -> None:
        with store.transaction() as transaction:
            for index in range(1203):  # several share a start time, also across pages
                transaction.start_run(start(f"r{index:04}", started_at=float(index // 7)), planned())
        ids = [run.run_id for run in store.runs()]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == len(set(ids)) == 1203
        assert [run.run_id for run in store.runs(limit=700)] == ids[:700]

    def test_writing_goes_on_while_a_history_is_read(self, store: Store) -> None:
        with store.transaction() as transaction:
            for index in range(501):
                transaction.start_run(start(f"r{index:04}", started_at=float(index)), planned())
        runs = store.runs()
        next(runs)
        with store.transaction() as transaction:
            transaction.start_run(start("new", started_at=9999.0), planned())
        assert len(list(runs)) == 500


class TestObservations:
    def test_it_comes_back_whole_and_in_order(self, store: Store) -> None:
        given = [
            observation(),
            observation("r2", cost_usd=None, task_key=None, success=False, timed_out=False, models=""),
            missing("r3"),
            missing("r4", "cancelled"),
        ]
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            for one in given:
                transaction.add_observation("e1", "test", one)
            read = transaction.observations("e1", "test")
        orders = [one.order for one in read]
        assert orders == sorted(set(orders))
        assert read == [evolve(one, order=order) for one, order in zip(given, orders, strict=True)]
        assert {type(one.success) for one in read} == {bool}
        assert store.observations("e1", "test") == read

    def test_a_run_is_observed_once(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            transaction.add_observation("e1", "test", observation())
            transaction.add_observation("e1", "test", observation("r2"))
        before = store.observations("e1", "test")
        with store.transaction() as transaction:
            transaction.add_observation("e1", "test", observation(arm="control"))
        assert store.observations("e1", "test") == before
        assert [one.run_id for one in before] == ["r1", "r2"]

    def test_it_is_kept_in_the_row_of_its_run(self, store: Store) -> None:
        run = finished(index=4, phase="test", cancelled=False)
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            transaction.finish_run(run)
            transaction.add_observation("e1", "test", Observation.of(run))
        assert store.observations("e1", "test") == [evolve(Observation.of(run), order=1)]
        assert list(store.runs()) == [run]
        assert (store.counts()["runs"], store.counts()["observations"]) == (1, 1)

    def test_one_whose_run_was_never_seen_is_kept_and_is_no_run(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            transaction.add_observation("e1", "test", observation())
        seen = store.observations("e1", "test")
        assert seen == [observation(order=1)]
        assert list(store.runs()) == []
        assert store.run("r1") is None
        assert (store.counts()["runs"], store.counts()["observations"]) == (0, 1)

    def test_a_run_that_comes_after_its_observation_leaves_it_as_it_is(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            transaction.add_observation("e1", "test", observation())
            assert transaction.finish_run(finished()) is True
        assert store.observations("e1", "test") == [observation(order=1)]
        run = store.run("r1")
        assert run is not None
        assert (run.members, run.duration_seconds) == (finished().members, observation().duration_seconds)

    @pytest.mark.parametrize("run_comes_first", [True, False])
    def test_that_a_run_is_missing_takes_nothing_from_the_run(self, store: Store, run_comes_first: bool) -> None:
        run = finished(phase="test", index=0, cancelled=True)
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            if run_comes_first:
                transaction.import_run(run)
            transaction.add_observation("e1", "test", missing(how="cancelled"))
            if not run_comes_first:
                transaction.import_run(run)
        assert store.observations("e1", "test") == [missing(how="cancelled", order=1)]
        found = store.run("r1")
        assert found is not None
        assert evolve(found, started_at=run.started_at) == run

    def test_an_order_is_kept_where_it_is_behind_all_of_the_experiment(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            for run_id, order in (("a", 7), ("b", 9), ("c", 3), ("d", 0), ("e", 10)):
                transaction.add_observation("e1", "test", observation(run_id, order=order))
        found = [(one.run_id, one.order) for one in store.observations("e1", "test")]
        assert found == [("a", 7), ("b", 9), ("c", 10), ("d", 11), ("e", 12)]

    def test_reading_goes_on_after_the_last_order_seen(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            for index in range(4):
                transaction.add_observation("e1", "test", observation(f"r{index}"))
            transaction.add_observation("e1", "watch", observation("watched"))
            orders = [one.order for one in transaction.observations("e1", "test")]
            assert [one.order for one in transaction.observations("e1", "test", orders[1])] == orders[2:]
            assert transaction.observations("e1", "test", orders[-1]) == []
            assert [one.run_id for one in transaction.observations("e1", "watch")] == ["watched"]
            assert transaction.observations("e2", "test") == []

    def test_orders_grow_in_the_order_of_commits(self, store: Store, url: str) -> None:
        """Else a reader that has seen order 2 would never see order 1, which was committed later."""
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
        first_has_written, second_may_wait = threading.Event(), threading.Event()
        committed: list[str] = []

        def second() -> None:
            with Store.open(url, busy_timeout_seconds=5.0) as other:
                first_has_written.wait(10)
                second_may_wait.set()
                with other.transaction() as transaction:
                    transaction.add_observation("e1", "test", observation("second"))
                    committed.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        with store.transaction() as transaction:
            transaction.add_observation("e1", "test", observation("first"))
            first_has_written.set()
            assert second_may_wait.wait(10)
            thread.join(0.1)  # time enough to get past the lock, if there were none
            committed.append("first")
        thread.join(10)
        assert committed == ["first", "second"]
        assert [one.run_id for one in store.observations("e1", "test")] == ["first", "second"]


class TestHistory:
    def test_a_change_comes_back_whole_with_its_id(self, store: Store) -> None:
        bare = change(action="paused", actor="person", experiment_id=None, rollback_plan=None, improvement_percent=None)
        with store.transaction() as transaction:
            ids = [transaction.add_change(change()), transaction.add_change(bare)]
            assert transaction.changes_of(*KEY) == [evolve(change(), id=ids[0]), evolve(bare, id=ids[1])]

    def test_it_is_oldest_first_and_by_team(self, store: Store) -> None:
        with store.transaction() as transaction:
            ids = [transaction.add_change(change(reason=str(index), at=float(-index))) for index in range(3)]
            other = transaction.add_change(change(team_id="other"))
            assert [one.id for one in transaction.changes_of(*KEY)] == ids
        assert [one.id for one in store.changes()] == [*ids, other]
        assert [one.reason for one in store.changes(*KEY)] == ["0", "1", "2"]

    def test_evidence_may_hold_numpy_numbers(self, store: Store) -> None:
        given = {"a": np.float64(0.1), "b": np.int64(3), "c": np.bool_(True), "d": np.array([1.5, 2.5])}
        with store.transaction() as transaction:
            transaction.add_change(change(evidence=given))
        assert store.changes()[0].evidence == {"a": 0.1, "b": 3, "c": True, "d": [1.5, 2.5]}


class TestFaults:
    def test_a_kind_is_one_row_that_counts(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.record_fault("judge", StoreError("disk is full"), 5.0)
            transaction.record_fault("judge", StoreError("another text"), 9.0)
            transaction.record_fault("plan", ValueError(), 7.0)
        found = [(fault.where, fault.error, fault.count, fault.first_at, fault.last_at) for fault in store.faults()]
        assert found == [("judge", "StoreError: disk is full", 2, 5.0, 9.0), ("plan", "ValueError", 1, 7.0, 7.0)]

    def test_only_texts_of_our_own_errors_are_kept(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.record_fault("score", ValueError("the prompt was: my secret"), 1.0)
            transaction.record_fault("price", "KeyError: my secret", 2.0)
        assert [fault.error for fault in store.faults()] == ["ValueError", "KeyError"]
