"""What judges rely on: numbers, leases, streams of arms, revisions, and drained journals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import text

from victor_autotune_plugin._model.data_flow import TeamFlow
from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin.errors import LeaseLostError, StoreUnavailableError
from victor_autotune_plugin.storage import Store
from victor_autotune_testing import workers
from victor_autotune_testing.stored import SPEC, experiment, finished, pass_time, planned, start

KEY = SPEC.key


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url, busy_timeout_seconds=workers.PATIENCE_SECONDS) as store:
        yield store


def ended(store: Store, run_id: str, **changes: object) -> None:
    with store.transaction() as transaction:
        transaction.finish_run(finished(run_id, cancelled=False, phase="test", stream="0", **changes))


def test_runs_are_numbered_as_they_are_taken_whatever_the_clocks_say(store: Store) -> None:
    ended(store, "a", index=0, started_at=5e9)
    with store.transaction() as transaction:
        assert transaction.number_runs(*KEY, 10) == 1
    ended(store, "b", index=1, started_at=1.0)
    with store.transaction() as transaction:
        assert transaction.untaken([KEY, ("other", "team")]) == [KEY]
        assert transaction.number_runs(*KEY, 10) == 1
        assert transaction.untaken([KEY]) == []
        assert [run.run_id for run in transaction.runs_after(*KEY, 0, 10)] == ["a", "b"]
        assert [run.run_id for run in transaction.runs_after(*KEY, 1, 10)] == ["b"]
        assert [run.run_id for run in transaction.runs_of(*KEY, 10)] == ["b", "a"]
        assert [run.run_id for run in transaction.runs_of(*KEY, 10, up_to=1)] == ["a"]
        assert [one.run_id for one in transaction.observations("e1", "test", 0, up_to=1)] == ["a"]
        assert [one.run_id for one in transaction.observations("e1", "test", 1)] == ["b"]


def test_a_team_is_behind_while_it_has_numbered_runs_that_nobody_judged(store: Store) -> None:
    ended(store, "a", index=0)
    with store.transaction() as transaction:
        lease = transaction.take_lease(*KEY, "dead", 60.0)
        assert lease is not None
        assert transaction.behind([KEY]) == []
        transaction.number_runs(*KEY, 10)
        assert transaction.behind([KEY, ("other", "team")]) == transaction.behind([KEY], "dead") == [KEY]
        assert transaction.behind([KEY], "alive") == []  # its judge may be at it
        transaction.give_back_lease(*KEY, "dead", lease.fence)
        assert transaction.behind([KEY], "alive") == [KEY]
        transaction.save_judged(*KEY, 1, lease.flow)
        assert transaction.behind([KEY]) == []


def test_a_run_whose_price_is_awaited_is_numbered_when_it_has_come_or_no_longer_comes(store: Store) -> None:
    with store.transaction() as transaction:
        for index, run_id in enumerate(("priced", "forgotten")):
            run = finished(run_id, cancelled=False, phase="test", stream="0", index=index)
            transaction.finish_run(run, None, 30.0)
        assert transaction.number_runs(*KEY, 10) == 0
        transaction.price_run("priced", 0.5)
        assert transaction.number_runs(*KEY, 10) == 1
        (run,) = transaction.runs_after(*KEY, 0, 10)
        assert (run.run_id, run.cost_usd) == ("priced", 0.5)
    pass_time(store, 31.0)
    with store.transaction() as transaction:
        assert transaction.number_runs(*KEY, 10) == 1
        assert transaction.price_run("forgotten", None) is False


def test_two_that_number_at_once_give_each_run_one_number(store: Store) -> None:
    for index in range(60):
        ended(store, f"r{index}", index=index)

    def number(_: int) -> int:
        with store.transaction() as transaction:
            return transaction.number_runs(*KEY, 7)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(number, range(16))) == 60
    with store.transaction() as transaction:
        numbers = [run.number for run in transaction.runs_after(*KEY, 0, 100)]
    assert numbers == list(range(1, 61))


def test_of_runs_that_end_while_two_number_none_is_missed(store: Store) -> None:
    """A reader goes on after the greatest number that it has seen, so a smaller one must never come later."""
    seen: list[str] = []
    reached = 0

    def end(writer: int) -> None:
        for index in range(30):
            ended(store, f"r{writer}-{index}", started_at=float(30 - index))

    def number() -> None:
        while len(numbered) < 90:
            with store.transaction() as transaction:
                numbered.extend([1] * transaction.number_runs(*KEY, 5))

    numbered: list[int] = []
    with ThreadPoolExecutor(5) as pool:
        work = [pool.submit(end, writer) for writer in range(3)] + [pool.submit(number) for _ in range(2)]
        while len(seen) < 90 and not any(one.done() and one.exception() for one in work):
            with store.reading() as transaction:
                found = transaction.runs_after(*KEY, reached, 100)
            seen += [run.run_id for run in found]
            reached = max([reached, *(run.number or 0 for run in found)])
        for one in work:
            one.result()
    assert sorted(seen) == sorted(f"r{writer}-{index}" for writer in range(3) for index in range(30))


def test_a_run_that_took_no_part_is_numbered_and_not_observed(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.finish_run(finished("outside", experiment_id=None, arm=None))
        transaction.import_run(finished("imported", phase="test", stream="0", index=0))
        assert transaction.number_runs(*KEY, 10) == 2
        assert len(transaction.runs_after(*KEY, 0, 10)) == 2
    assert store.counts()["observations"] == 0


def test_an_observation_tells_which_models_answered(store: Store) -> None:
    ended(store, "a", index=0)
    ended(store, "b", index=1, tokens=())
    with store.transaction() as transaction:
        transaction.number_runs(*KEY, 10)
    assert [one.models for one in store.observations("e1", "test")] == ["acme/big,acme/small", ""]


def test_a_priced_run_is_its_observation(store: Store) -> None:
    with store.transaction() as transaction:
        assert transaction.price_run("r", 0.5) is False
        transaction.finish_run(finished("r", cancelled=False, phase="test", stream="0", index=0), None, 30.0)
        assert transaction.price_run("r", 0.125) is True
        assert transaction.number_runs(*KEY, 10) == 1
        assert transaction.price_run("r", 0.75) is False
    (seen,) = store.observations("e1", "test")
    assert (seen.cost_usd, seen.order) == (0.125, 1)


def test_numbers_go_on_behind_what_was_judged_when_its_runs_are_gone(store: Store) -> None:
    ended(store, "a", index=0)
    with store.transaction() as transaction:
        transaction.number_runs(*KEY, 10)
        lease = transaction.take_lease(*KEY, "judge", 5.0)
        assert lease is not None
        transaction.save_judged(*KEY, 1, TeamFlow())
    store._connections.execute(text("DELETE FROM autotune_run"))
    ended(store, "b", index=1)
    with store.transaction() as transaction:
        transaction.number_runs(*KEY, 10)
        assert [run.number for run in transaction.runs_after(*KEY, 0, 10)] == [2]


def test_a_lease_is_held_by_one_and_taken_over_when_it_has_expired(store: Store) -> None:
    with store.transaction() as transaction:
        first = transaction.take_lease(*KEY, "a", 5.0)
        assert first is not None
        assert transaction.take_lease(*KEY, "b", 5.0) is None
        assert transaction.take_lease(*KEY, "a", 5.0) == first
        transaction.save_judged(*KEY, 17, TeamFlow())
    pass_time(store, 5.1)
    with store.transaction() as transaction:
        second = transaction.take_lease(*KEY, "b", 5.0)
        assert second is not None
        assert second.fence > first.fence
        assert second.judged == 17
        transaction.check_lease(*KEY, "b", second.fence)
        with pytest.raises(LeaseLostError):
            transaction.check_lease(*KEY, "a", first.fence)
        transaction.give_back_lease(*KEY, "b", second.fence)
        third = transaction.take_lease(*KEY, "a", 5.0)
        assert third is not None
        assert third.fence > second.fence


def test_a_holder_that_renews_late_keeps_its_fence_if_no_other_came(store: Store) -> None:
    with store.transaction() as transaction:
        first = transaction.take_lease(*KEY, "a", 5.0)
    pass_time(store, 50.0)
    with store.transaction() as transaction:
        assert first is not None
        transaction.check_lease(*KEY, "a", first.fence)
        assert transaction.take_lease(*KEY, "a", 5.0) == first
        assert transaction.take_lease(*KEY, "b", 5.0) is None


def test_a_lease_that_is_not_held_any_more_is_neither_checked_nor_given_back(store: Store) -> None:
    with store.transaction() as transaction:
        with pytest.raises(LeaseLostError):
            transaction.check_lease(*KEY, "a", 1)
        first = transaction.take_lease(*KEY, "a", -1.0)
        second = transaction.take_lease(*KEY, "b", 5.0)
        assert first is not None
        assert second is not None
        transaction.give_back_lease(*KEY, "a", first.fence)
        transaction.check_lease(*KEY, "b", second.fence)
        assert transaction.take_lease(*KEY, "c", 5.0) is None


def test_of_many_that_take_a_lease_at_once_one_gets_it(store: Store) -> None:
    def take(holder: int) -> bool:
        with store.transaction() as transaction:
            return transaction.take_lease(*KEY, f"h{holder}", 5.0) is not None

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(24))) == 1


def test_nobody_takes_the_lease_over_while_a_verdict_is_written(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        lease = transaction.take_lease(*KEY, "a", -1.0)
    with Store.open(url, busy_timeout_seconds=0.05) as other, store.transaction() as transaction:
        assert lease is not None
        transaction.check_lease(*KEY, "a", lease.fence)
        # SQLite has but one lock, which is waited for; on PostgreSQL who asks is refused at once.
        with suppress(StoreUnavailableError), other.transaction() as late:
            assert late.take_lease(*KEY, "b", 5.0) is None
        transaction.save_judged(*KEY, 3, TeamFlow())
    with store.transaction() as transaction:
        taken = transaction.take_lease(*KEY, "b", 5.0)
        assert taken is not None
        assert (taken.fence, taken.judged) == (lease.fence + 1, 3)


def test_a_hundred_processes_of_one_run_each_fill_the_blocks_of_one(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())
    places = []
    for number in range(100):
        with Store.open(url, process=ProcessId(f"p{number}", "host", number, 1.0)) as own:
            with own.transaction() as transaction:
                places.append(transaction.take_stream("e1", "test", block=2))
            with own.transaction() as transaction:
                name, index = places[-1]
                transaction.give_back_stream("e1", "test", name, index + 1)
    assert places == [("0", index) for index in range(100)]


def test_a_hundred_processes_of_one_run_each_eight_at_a_time_fill_blocks_too(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())

    def one(number: int) -> tuple[str, int]:
        process = ProcessId(f"p{number}", "host", number, 1.0)
        with Store.open(url, process=process, busy_timeout_seconds=workers.PATIENCE_SECONDS) as own:
            with own.transaction() as transaction:
                name, index = transaction.take_stream("e1", "test", block=2)
            with own.transaction() as transaction:
                transaction.give_back_stream("e1", "test", name, index + 1)
        return name, index

    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(one, range(100)))
    assert len(set(places)) == 100
    pairs = Counter((name, index // 2) for name, index in places)
    assert sum(number == 2 for number in pairs.values()) >= 45


def test_a_stream_that_was_taken_away_is_not_given_back(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=4) == ("0", 0)
    pass_time(store, 61.0)
    with Store.open(url) as other, other.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=4) == ("0", 0)
    with store.transaction() as transaction:
        transaction.give_back_stream("e1", "test", "0", 9)
        transaction.beat()
        assert transaction.take_stream("e1", "test", block=4) == ("1", 0)


def test_places_that_were_reserved_are_no_others(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=4) == ("0", 0)
        assert transaction.reserve_stream("e1", "test", "0", 64)
        assert not transaction.reserve_stream("e1", "test", "1", 64)
    pass_time(store, 61.0)
    with Store.open(url) as other, other.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=4) == ("0", 64)
        assert transaction.reserve_stream("e1", "test", "0", 128)
    with store.transaction() as transaction:
        assert not transaction.reserve_stream("e1", "test", "0", 192)


def test_places_are_reserved_when_a_stream_is_taken(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=4, reserved=64) == ("0", 0)
    pass_time(store, 61.0)
    with Store.open(url) as other, other.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=4, reserved=64) == ("0", 64)
        transaction.give_back_stream("e1", "test", "0", 67)
    with store.transaction() as transaction:
        transaction.beat()
        assert transaction.take_stream("e1", "test", block=4, reserved=64) == ("0", 67)
        transaction.give_back_stream("e1", "test", "0", 69)
        assert transaction.take_stream("e1", "test", block=4) == ("0", 69)


def test_a_stream_goes_on_where_its_process_got_whatever_was_reserved(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=2) == ("0", 0)
        assert transaction.reserve_stream("e1", "test", "0", 32)
        transaction.give_back_stream("e1", "test", "0", 3)
    with Store.open(url) as other, other.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=2) == ("0", 3)


def test_a_process_that_ended_leaves_its_stream_at_its_next_block(store: Store, url: str) -> None:
    with Store.open(url) as other, other.transaction() as transaction:
        name, index = transaction.take_stream("e1", "test", block=4)
        assigned = planned(assignment=Assignment("e1", "test", "treatment", name, index))
        transaction.start_run(start(), assigned)
        transaction.end_process(other.process.id)
    with store.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=4) == ("0", 4)
        assert transaction.take_stream("e1", "watch", block=4) == ("0", 0)


def test_streams_of_stages_are_apart_and_each_has_its_blocks(store: Store, url: str) -> None:
    def take(own: Store, **stage: str) -> tuple[str, int]:
        with own.transaction() as transaction:
            return transaction.take_stream("e1", "test", block=4 if stage else 2, **stage)

    canary = {"stage": "canary"}
    with Store.open(url) as other:
        assert (take(store), take(store, **canary)) == (("0", 0), ("canary:0", 0))
        assert take(other, **canary) == ("canary:1", 0)
        assert take(store, stage="reverify-1") == ("reverify-1:0", 0)
        assigned = planned(assignment=Assignment("e1", "test", "treatment", "canary:1", 4))
        with other.transaction() as transaction:
            transaction.start_run(start(), assigned)
        with store.transaction() as transaction:
            transaction.give_back_stream("e1", "test", "canary:0", 3)
        assert take(store, **canary) == ("canary:0", 3)
        with other.transaction() as transaction:
            transaction.end_process(other.process.id)
        assert take(store, **canary) == ("canary:1", 8)
        assert take(store) == ("1", 0)


def test_the_stream_of_a_dead_process_goes_on_at_its_next_block(store: Store) -> None:
    assigned = planned(assignment=Assignment("e1", "test", "treatment", "0", 0))
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())
        assert transaction.take_stream("e1", "test", block=2) == ("0", 0)
        transaction.start_run(start(), assigned)
        assert transaction.take_stream("e1", "test", block=2)[0] == "1"
    pass_time(store, 61.0)
    with store.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=2) == ("0", 2)


def test_revisions_tell_what_changed(store: Store) -> None:
    before = store.identity()
    with store.transaction() as transaction:
        saved = transaction.save_team(transaction.team(*KEY))
    after = store.identity()
    assert after.id == before.id
    assert after.revision == saved.revision > before.revision
    with store.reading() as transaction:
        assert [state.key for state in transaction.changed_teams(before.revision)] == [KEY]
        assert transaction.changed_teams(after.revision) == []


def test_who_reads_after_the_last_revision_misses_no_team(store: Store) -> None:
    def save(writer: int) -> None:
        for _ in range(15):
            with store.transaction() as transaction:
                transaction.save_team(transaction.team("w", f"t{writer}"))

    versions: dict[str, int] = {}
    reached = 0
    with ThreadPoolExecutor(3) as pool:
        work = [pool.submit(save, writer) for writer in range(3)]
        while True:
            all_written = all(one.done() for one in work)
            with store.reading() as transaction:
                found = transaction.changed_teams(reached)
            assert [state.revision for state in found] == sorted({state.revision for state in found})
            versions |= {state.team_id: state.version for state in found}
            reached = max([reached, *(state.revision for state in found)])
            if all_written:
                break
        for one in work:
            one.result()
    assert versions == {f"t{writer}": 15 for writer in range(3)}
    assert reached == store.identity().revision == 45


def test_only_open_experiments_are_given(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.save_experiment(experiment("open"))
        transaction.save_experiment(experiment("over", status="failed"))
        assert [one.id for one in transaction.open_experiments(["over", "gone", "open"])] == ["open"]


def test_lines_of_a_journal_that_are_stored_never_become_fewer(store: Store) -> None:
    with store.transaction() as transaction:
        assert transaction.drained("p") == 0
        transaction.set_drained("p", 7)
        transaction.set_drained("p", 3)
        assert transaction.drained("p") == 7


def test_a_journal_may_be_drained_before_and_after_its_process_is_known(store: Store) -> None:
    process = ProcessId("p", "host", 1, 1.0)
    with store.transaction() as transaction:
        transaction.set_drained("p", 7)
        transaction.start_run(start(), planned(), "p")
        assert transaction.mark_lost() == ("r1",)  # draining is no sign of life
        transaction.beat(process)
        assert transaction.drained("p") == 7
        transaction.end_process("p")
        transaction.set_drained("p", 8)
        assert transaction.drained("p") == 8


def test_reading_waits_for_no_writer_and_no_writer_for_it(store: Store, url: str) -> None:
    with Store.open(url, busy_timeout_seconds=0.05) as other, store.transaction() as transaction:
        transaction.finish_run(finished(cancelled=False, phase="test", stream="0", index=0))
        transaction.save_team(transaction.team(*KEY))
        transaction.take_lease(*KEY, "judge", 5.0)
        assert transaction.number_runs(*KEY, 10) == 1
        with other.reading() as reading:
            assert reading.team(*KEY).version == 0
            assert reading.changed_teams(0) == []
            assert reading.untaken([KEY]) == []
            assert reading.runs_after(*KEY, 0, 10) == reading.runs_of(*KEY, 10) == []
            assert reading.observations("e1", "test") == []
            assert reading.drained("p") == 0
    with Store.open(url, busy_timeout_seconds=0.05) as other, store.reading() as reading:
        assert reading.team(*KEY).version == 1
        with other.transaction() as transaction:
            transaction.save_team(transaction.team(*KEY))


def test_a_store_in_memory_goes_by_the_clock_that_is_handed_in() -> None:
    now = [1_000_000.0]
    store = Store.in_memory(lambda: now[0])
    with store.transaction() as transaction:
        transaction.start_run(start(), planned())
        assert transaction.take_lease(*KEY, "a", 5.0) is not None
    now[0] += 4.0
    with store.transaction() as transaction:
        assert transaction.take_lease(*KEY, "b", 5.0) is None
        assert transaction.mark_lost() == ()
    now[0] += 60.0
    with store.transaction() as transaction:
        assert transaction.take_lease(*KEY, "b", 5.0) is not None
        assert transaction.mark_lost() == ("r1",)
