"""Old runs go and leave the totals of their days; what decisions rest on stays, on every backend."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.day_totals import DayTotals, date_of
from victor_autotune_plugin._model.run import TeamRun, TokenUse
from victor_autotune_plugin.errors import StoreBusyError
from victor_autotune_plugin.storage import Store, pruning
from victor_autotune_plugin.storage.pruning import PruneBound, PruneForecast
from victor_autotune_testing.stored import SPEC, experiment, finished, pass_time, planned, score, start

KEY = SPEC.key
DAY = 86_400.0
NOON = 1_700_049_600.0


def plain(number: int, **changes: Any) -> TeamRun:
    """A run that takes part in no test."""
    kept: dict[str, Any] = {"experiment_id": None, "arm": None, "cancelled": False, "timed_out": False}
    return finished(f"r{number:03}", **{**kept, "started_at": NOON + 60.0 * number, **changes})


def counted(number: int, **changes: Any) -> TeamRun:
    """A run of the control of a test."""
    return plain(
        number, **{"experiment_id": "e1", "arm": "control", "phase": "test", "stream": "0", "index": number, **changes}
    )


def judged(store: Store, *runs: TeamRun, upto: int | None = None) -> None:
    """Write runs, number them, and say that all, or those up to a number, were judged."""
    with store.transaction() as transaction:
        for run in runs:
            transaction.finish_run(run)
        transaction.number_runs(*KEY, len(runs) + 5)
        lease = transaction.take_lease(*KEY, "judge", 5.0)
        assert lease is not None
        last = max((run.number or 0 for run in transaction.runs_after(*KEY, 0, 10_000)), default=0)
        transaction.save_judged(*KEY, last if upto is None else upto, lease.flow)


def pruned(store: Store, kept: int, days: float | None = None, most: int = 7) -> tuple[int, int]:
    """Prune a team to its last runs; return how many went, and how many are bare."""
    removed = bared = 0
    with store.reading() as transaction:
        bounds = transaction.prune_bounds(*KEY, None if days else kept, days, always=kept)
    for bound in bounds:
        after = 0
        while True:
            with store.transaction() as transaction:
                piece = transaction.prune(*KEY, bound, after, most)
            removed, bared, after = removed + piece.removed, bared + piece.bared, piece.last
            if piece.is_over:
                break
    return removed, bared


def ids(store: Store) -> list[str]:
    return [run.run_id for run in store.runs()]


def days(store: Store) -> list[DayTotals]:
    return list(store.day_totals())


def test_the_last_runs_stay_and_the_others_go(store: Store) -> None:
    judged(store, *(plain(number) for number in range(30)))
    assert pruned(store, 10) == (20, 0)
    assert ids(store) == [f"r{number:03}" for number in range(29, 19, -1)]
    assert pruned(store, 10) == (0, 0)


def test_the_totals_of_their_days_are_left(store: Store) -> None:
    runs = [plain(number, started_at=NOON + number * DAY / 8, duration_seconds=2.0 + number) for number in range(24)]
    runs[3] = evolve(runs[3], success=False, timed_out=True)
    runs[5] = evolve(runs[5], cancelled=True, cost_usd=None)
    runs[6] = evolve(runs[6], tokens=[], score=0.25)
    judged(store, *runs)
    pruned(store, 14)
    found = days(store)
    assert [(one.date, one.runs) for one in found] == [("2023-11-15", 4), ("2023-11-16", 6)]
    first, second = found
    assert (first.ended, first.succeeded, first.timed_out, first.cancelled, first.lost) == (4, 3, 1, 0, 0)
    assert (second.ended, second.cancelled, second.priced, second.scored, second.score) == (5, 1, 5, 1, 0.25)
    assert first.seconds == 2 + 3 + 4 + 5
    assert second.seconds == 6 + 8 + 9 + 10 + 11
    assert (first.input_tokens, first.output_tokens, second.input_tokens) == (4000, 800, 5000)
    assert first.cost_usd == pytest.approx(4 * 0.00123)
    assert (first.first_at, first.last_at) == (runs[0].started_at, runs[3].started_at)
    assert first.key == ("default", *KEY, "2023-11-15")


def test_totals_grow_by_what_goes_later(store: Store) -> None:
    judged(store, *(plain(number) for number in range(30)))
    pruned(store, 25)
    pruned(store, 10)
    assert [one.runs for one in days(store)] == [20]


def test_runs_that_were_not_judged_stay(store: Store) -> None:
    judged(store, *(plain(number) for number in range(30)), upto=12)
    with store.transaction() as transaction:
        transaction.start_run(start("running", started_at=NOON), planned(assignment=None))
        transaction.finish_run(plain(900, started_at=NOON))
    assert pruned(store, 10) == (12, 0)
    assert {"running", "r900"} <= set(ids(store))


def test_old_runs_go_but_for_the_last_ones(store: Store) -> None:
    now = time.time()
    old = [plain(number, started_at=now - 500 * DAY + number) for number in range(30)]
    judged(store, *old)
    assert pruned(store, 10, days=400) == (20, 0)
    judged(store, *(plain(100 + number, started_at=now - number) for number in range(5)))
    assert pruned(store, 10, days=400) == (5, 0)
    assert pruned(store, 1, days=600) == (0, 0)


def test_runs_that_were_imported_late_push_no_newer_one_out(store: Store) -> None:
    judged(store, *(plain(number) for number in range(10)))
    judged(store, *(plain(100 + number, started_at=NOON - DAY + number) for number in range(10)))
    assert pruned(store, 10) == (0, 0)
    judged(store, *(plain(50 + number) for number in range(10)))
    pruned(store, 10)
    assert ids(store)[:10] == [f"r{number:03}" for number in range(59, 49, -1)]


def test_a_run_that_a_person_rated_stays_whole_and_other_scores_go(store: Store) -> None:
    runs = [plain(number) for number in range(30)]
    with store.transaction() as transaction:
        transaction.record_score(score("r001", source="person", cost_usd=None))
        transaction.record_score(score("r002", source="command", cost_usd=None))
    judged(store, *runs)
    assert pruned(store, 10) == (19, 0)
    assert store.run("r001") == evolve(runs[1], status="finished", number=2)
    assert [one.run_id for one in store.scores()] == ["r001"]
    assert store.scores_of("r002") == []


def test_what_scorers_spent_today_stays_counted(store: Store) -> None:
    now = time.time()
    with store.transaction() as transaction:
        transaction.record_score(score("r001", at=now - 60, cost_usd=0.5))
        transaction.record_score(score("r002", at=now - 3 * DAY, cost_usd=0.5))
    judged(store, *(plain(number) for number in range(30)))
    assert pruned(store, 10) == (19, 0)
    assert store.scorer_cost_since(now - DAY) == 0.5
    assert store.run("r001") is not None


class TestCounted:
    def test_what_a_decision_rests_on_stays_bit_for_bit(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
        runs = [counted(number, score=0.1 + 0.2 if number % 3 else None) for number in range(20)]
        runs[4] = evolve(runs[4], cancelled=True)
        judged(store, *runs, *(plain(100 + number) for number in range(10)))
        before = store.observations("e1", "test")
        columns = store.arm_runs(["e1"])["e1"]
        assert pruned(store, 10) == (0, 20)
        assert store.observations("e1", "test") == before
        assert len(before) == 20
        after = store.arm_runs(["e1"])["e1"]
        for name in ("started_at", "order", "durations", "costs", "tokens", "position"):
            assert getattr(after, name).tolist() == getattr(columns, name).tolist()
        assert len(ids(store)) == 10
        assert store.counts()["runs"] == 10
        assert [one.runs for one in days(store)] == [20]

    def test_what_was_observed_since_a_time_stays(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
        judged(store, *(counted(number) for number in range(20)), *(plain(100 + number) for number in range(10)))
        with store.transaction() as transaction:
            before = transaction.test_runs_since(*KEY, NOON + 300)
        pruned(store, 10)
        with store.transaction() as transaction:
            assert transaction.test_runs_since(*KEY, NOON + 300) == before
        assert len(before) == 15

    def test_lost_runs_of_an_arm_stay_missing(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.save_experiment(experiment())
            transaction.start_run(start("r000", started_at=NOON), planned())
        pass_time(store, 1000.0)
        with store.transaction() as transaction:
            assert transaction.mark_lost() == ("r000",)
        judged(store, *(plain(100 + number) for number in range(12)))
        before = store.observations("e1", "test")
        assert pruned(store, 10) == (2, 1)
        assert store.observations("e1", "test") == before
        assert before[0].missing == "lost"
        assert [(one.runs, one.lost, one.ended) for one in days(store)] == [(3, 1, 2)]

    def test_numbers_go_on_after_those_that_went(self, store: Store) -> None:
        judged(store, *(counted(number) for number in range(20)))
        pruned(store, 1)
        with store.transaction() as transaction:
            transaction.finish_run(plain(50))
            assert transaction.number_runs(*KEY, 5) == 1
            assert [run.number for run in transaction.runs_of(*KEY, 5)] == [21, 20]


@pytest.mark.parametrize(
    ("days_ago", "is_borne_out"),
    [((400, 0), False), ((400, 5, 0), False), ((400, 8, 0), True), ((29,), True), ((35,), False), ((), False)],
)
def test_a_clock_is_borne_out_by_what_ran_one_to_four_weeks_ago(
    store: Store, days_ago: tuple[int, ...], is_borne_out: bool
) -> None:
    now = time.time()
    judged(store, *(plain(number, started_at=now - ago * DAY) for number, ago in enumerate(days_ago)))
    with store.reading() as transaction:
        assert transaction.is_clock_borne_out(*KEY) is is_borne_out
        assert transaction.is_clock_borne_out("another", "team") is is_borne_out


def test_a_clock_is_borne_out_by_the_totals_of_a_team_of_which_all_older_runs_went(store: Store) -> None:
    now = time.time()
    judged(
        store, *(plain(number, started_at=now - 9 * DAY + number) for number in range(20)), plain(30, started_at=now)
    )
    assert pruned(store, 1) == (20, 0)
    with store.reading() as transaction:
        assert transaction.is_clock_borne_out(*KEY)
        assert not transaction.is_clock_borne_out("another", "team")


def test_a_forecast_says_what_then_goes(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())
    judged(store, *(counted(number) for number in range(20)), *(plain(100 + number) for number in range(30)))
    with store.reading() as transaction:
        bounds = transaction.prune_bounds(*KEY, 10, 400, always=10)
        found = transaction.prune_forecast(*KEY, bounds)
    assert (found.removed, found.bared, found.last_at) == (20, 20, plain(119).started_at)
    assert 30_000 < found.bytes < 90_000
    assert pruned(store, 10) == (20, 20)
    with store.reading() as transaction:
        assert transaction.prune_forecast(*KEY, bounds) == PruneForecast()


def test_a_forecast_in_parts_says_the_same(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(sqlite_store, *(plain(number) for number in range(50)))
    pruned(sqlite_store, 45)  # so that numbers do not begin with 1

    def forecast() -> PruneForecast:
        with sqlite_store.reading() as transaction:
            bounds = transaction.prune_bounds(*KEY, 10, None, always=10)
            return transaction.prune_forecast(*KEY, bounds)

    whole = forecast()
    assert whole.removed == 35
    for looked in (1, 7, 35, 36):
        monkeypatch.setattr(pruning, "_LOOKED", looked)
        assert forecast() == whole


def test_a_transaction_that_fails_prunes_nothing(store: Store) -> None:
    judged(store, *(plain(number) for number in range(30)))
    removed = []

    def fail() -> None:
        with store.transaction() as transaction:
            removed.append(transaction.prune(*KEY, PruneBound(20, NOON + DAY)).removed)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert removed == [19]
    assert len(ids(store)) == 30
    assert days(store) == []


def test_several_that_prune_at_once_count_each_run_once(store: Store, url: str) -> None:
    judged(store, *(plain(number) for number in range(300)))
    failed: list[BaseException] = []

    def prune() -> None:
        try:
            with Store.open(url, busy_timeout_seconds=10) as own:
                pruned(own, 20, most=10)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=prune) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sum(one.runs for one in days(store)) == 280
    assert len(ids(store)) == 20


def test_a_team_that_another_works_on_is_not_waited_for(store: Store, url: str) -> None:
    judged(store, *(plain(number) for number in range(30)))
    refused = []

    def prune(other: Store) -> None:
        began = time.monotonic()
        with pytest.raises(StoreBusyError), other.transaction(patience=0.0) as transaction:
            transaction.prune(*KEY, PruneBound(20, NOON + DAY))
        refused.append(time.monotonic() - began)

    with Store.open(url) as other, store.transaction() as transaction:
        assert transaction.take_lease(*KEY, "judge", 5.0) is not None
        other.counts()
        prune(other)
    assert refused[0] < 2.0
    assert len(ids(store)) == 30


def test_only_the_team_and_environment_that_are_meant_are_pruned(store: Store) -> None:
    judged(store, *(plain(number) for number in range(30)))
    staging = store.of("staging")
    with staging.transaction() as transaction:
        for number in range(30):
            transaction.finish_run(evolve(plain(200 + number), environment="staging"))
    pruned(store, 10)
    assert len(ids(staging)) == 30
    assert [one.environment for one in days(store)] == ["default"]
    assert days(staging) == []


class TestTotals:
    def test_quantiles_are_off_by_5_percent_at_most(self) -> None:
        totals = [_of(seconds / 10) for seconds in range(1, 1001)]
        whole = totals[0]
        for one in totals[1:]:
            whole = whole + one
        assert whole.quantile(0.5) == pytest.approx(50.0, rel=0.05)
        assert whole.quantile(0.95) == pytest.approx(95.0, rel=0.05)
        assert whole.quantile(0.0) == pytest.approx(0.1, rel=0.05)
        assert whole.seconds == pytest.approx(50_050.0)

    def test_without_a_run_that_ended_there_is_none(self) -> None:
        assert DayTotals("default", "w", "t", "2026-11-29", 0.0, 0.0, runs=3, lost=3).quantile(0.5) is None

    @pytest.mark.parametrize(
        ("at", "date"), [(0.0, "1970-01-01"), (NOON, "2023-11-15"), (-5.0, "1970-01-01"), (1e15, "9999-12-31")]
    )
    def test_days_are_those_of_utc(self, at: float, date: str) -> None:
        assert date_of(at) == date


def _of(seconds: float) -> DayTotals:
    from victor_autotune_plugin._model.day_totals import bucket_of

    return DayTotals(
        "default", "w", "t", "2026-11-29", 1.0, 1.0, runs=1, ended=1, seconds=seconds, durations={bucket_of(seconds): 1}
    )


def test_tokens_of_all_models_count(store: Store) -> None:
    used = [TokenUse("big", 2**31 - 1, 5), TokenUse("small", 7, 3)]
    judged(store, *(plain(number, tokens=used) for number in range(4)))
    pruned(store, 1)
    assert [(one.input_tokens, one.output_tokens) for one in days(store)] == [(3 * (2**31 + 6), 24)]


_PRUNES_FOR_EVER = """
import sys
from victor_autotune_plugin.errors import StoreBusyError
from victor_autotune_plugin.storage import Store, pruning
from victor_autotune_testing.stored import SPEC
store = Store.open(sys.argv[1], busy_timeout_seconds=5)
with store.reading() as transaction:
    (bound,) = transaction.prune_bounds(*SPEC.key, 20, None, always=20)
print("pruning", flush=True)
after, is_over = 0, False
while not is_over:
    with store.transaction() as transaction:
        piece = transaction.prune(*SPEC.key, bound, after, 2)
    after, is_over = piece.last, piece.is_over
"""


def test_a_process_that_is_killed_in_the_middle_counts_no_run_twice_and_loses_none(store: Store, url: str) -> None:
    judged(store, *(plain(number) for number in range(600)))
    store.close()
    for pause in (0.0, 0.01, 0.03, 0.06):
        command = [sys.executable, "-c", _PRUNES_FOR_EVER, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "pruning\n"
            time.sleep(pause)
            process.kill()
        totals = sum(one.runs for one in store.day_totals())
        assert totals + store.counts()["runs"] == 600
        assert all(one.ended == one.runs == sum(one.durations.values()) for one in store.day_totals())
    assert totals > 0
    pruned(store, 20)
    assert sum(one.runs for one in store.day_totals()) == 580
