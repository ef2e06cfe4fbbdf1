"""Totals of days, and of all of them together."""

from __future__ import annotations

import pytest

from victor_autotune_plugin._model.day_totals import DayTotals, EarlierRuns, bucket_of, date_of

DAY = 86_400.0


def totals(day: int, *seconds: float, failed: int = 0, cost_usd: float | None = None) -> DayTotals:
    counts: dict[str, int] = {}
    for one in seconds:
        counts[bucket_of(one)] = counts.get(bucket_of(one), 0) + 1
    ended = len(seconds)
    return DayTotals(
        "default", "flow", "team", date_of(day * DAY), day * DAY + 10, day * DAY + 20, runs=ended, ended=ended,
        succeeded=ended - failed, seconds=sum(seconds), durations=counts, cost_usd=cost_usd or 0.0,
        priced=0 if cost_usd is None else ended,
    )  # fmt: skip


def test_all_days_together_are_the_sum_of_each() -> None:
    days = [totals(40, 1.0, 2.0), totals(3, 4.0, failed=1), totals(41, 8.0, 16.0, cost_usd=0.5)]
    found = EarlierRuns.of(iter(days))
    assert found is not None
    assert found.total == days[1] + days[0] + days[2]  # under the name of the first day
    said = found.to_dict()
    assert (said["days"], said["runs"], said["first_at"], said["last_at"]) == (3, 5, days[1].first_at, days[2].last_at)
    assert (said["success_rate"], said["mean_cost_usd"], said["mean_score"]) == (0.8, 0.25, None)
    assert said["mean_seconds"] == pytest.approx(6.2)
    assert said["median_seconds"] == pytest.approx(4.0, rel=0.05)
    assert said["p95_seconds"] == pytest.approx(16.0, rel=0.05)
    begun = "5 earlier runs (1970-01-04 to 1970-02-11) are kept as daily totals: 80 % ok, median "
    assert found.sentence.startswith(begun)
    assert "mean 6.20 s, mean cost" in found.sentence


def test_without_a_day_there_is_nothing_and_without_an_end_there_are_no_figures() -> None:
    assert EarlierRuns.of([]) is None
    lost = DayTotals("default", "flow", "team", "1970-01-01", 5.0, 5.0, runs=1, lost=1)
    found = EarlierRuns.of([lost])
    assert found is not None
    assert found.sentence == "1 earlier run (1970-01-01) is kept as daily totals."
    assert found.to_dict()["median_seconds"] is None
