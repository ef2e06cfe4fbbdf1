"""The figures of `potential`: pace, savings, and their honesty with few runs."""

from __future__ import annotations

import pytest
from attrs import evolve

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuner import Outlook
from victor_autotune_plugin._tuning.potential import Pace, Potential, Saving, pace_of, savings_of
from victor_autotune_testing.simulated import SPEC

DAY = 86_400.0
NOW = 1_790_000_000.0


def run_at(days_ago: float, seconds: float = 100.0, usd: float | None = None) -> TeamRun:
    return TeamRun(f"run{days_ago}", SPEC, NOW - days_ago * DAY, seconds, True, 1.0, cost_usd=usd)


def outlook(gain: float, low: float, high: float) -> Outlook:
    return Outlook(
        plan=TeamPlan(formation="parallel"), knobs=1, improvement=gain, interval=(low, high),
        improvements={"duration": gain, "cost": 0.3}, success_change=0.0, success_interval=(-0.1, 0.1), p_gain=0.9,
        p_better=0.9, p_success_kept=0.9, p_harm=0.1, p_pass=0.5, runs_behind=0, runs_of_live=20, runs_needed=30,
        prior_improvement=0.2, prior_interval=(0.0, 0.4),
    )  # fmt: skip


def test_runs_a_week_are_counted_over_what_is_recorded() -> None:
    pace = pace_of([run_at(day) for day in range(1, 15)], NOW)
    assert (pace.per_week, pace.days) == pytest.approx((7.0, 14.0))
    assert pace.runs == 14


def test_less_than_a_week_is_not_extrapolated() -> None:
    assert pace_of([run_at(0.1), run_at(0.2)], NOW).per_week == 2


def test_runs_of_long_ago_tell_no_pace() -> None:
    assert pace_of([run_at(40)], NOW) == Pace()


def test_the_mean_cost_is_of_runs_with_a_price() -> None:
    assert pace_of([run_at(1, usd=0.2), run_at(2)], NOW).mean_usd == pytest.approx(0.2)
    assert pace_of([run_at(1)], NOW).mean_usd is None


def test_a_saving_a_week_is_the_gain_of_what_the_runs_take() -> None:
    (saving,) = savings_of(outlook(0.3, 0.1, 0.5), "duration", Pace(10, 40, 28, 60.0))
    assert saving.a_week == pytest.approx((180.0, 60.0, 300.0))


def test_no_interval_means_no_number() -> None:
    pace = Pace(10, 40, 28, 60.0, 0.5)
    assert [one.metric for one in savings_of(outlook(0.3, 0.1, 0.5), "cost", pace)] == ["cost"]
    assert savings_of(outlook(0.3, 0.1, 0.5), "score", pace) == ()
    known = evolve(outlook(0.3, 0.1, 0.5), by_metric={"duration": (0.4, 0.2, 0.6), "cost": (0.0, -0.1, 0.1)})
    assert [(one.metric, one.gain) for one in savings_of(known, "duration", pace)] == [("duration", 0.3), ("cost", 0.0)]
    assert savings_of(known, "cost", pace)[0].interval == (0.2, 0.6)
    (unpriced,) = savings_of(outlook(0.3, 0.1, 0.5), "cost", Pace(10, 40, 28, 60.0))
    assert unpriced.a_week is None


def test_the_team_with_the_most_to_be_saved_comes_first() -> None:
    def team(name: str, *savings: Saving) -> Potential:
        return Potential("flow", name, Pace(), EMPTY_PLAN, savings=savings)

    teams = [
        team("none"),
        team("little", Saving("duration", 0.5, (0.1, 0.6), (60.0, 1.0, 90.0))),
        team("much", Saving("duration", 0.2, (0.1, 0.3), (900.0, 1.0, 990.0))),
    ]
    assert [one.team_id for one in sorted(teams, key=lambda one: one.order)] == ["much", "little", "none"]
