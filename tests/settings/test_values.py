from __future__ import annotations

import pytest
from attrs import evolve, fields

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.price import LongContextPrice, find_price
from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin._settings import ExperimentSettings, Limits, Price, Settings, TunerSettings, WatchSettings
from victor_autotune_plugin._settings.keys import IGNORED, leaves
from victor_autotune_plugin._settings.team_settings import (
    HookSettings,
    JournalSettings,
    QualitySettings,
    RetentionSettings,
    StoreSettings,
)

LIMITS = Limits(
    formations=("sequential", "parallel"),
    min_members=2,
    max_members=3,
    protected_members=("lead",),
    min_tool_budget=5,
    max_tool_budget=40,
    min_timeout_seconds=10,
    max_timeout_seconds=60,
)


@pytest.mark.parametrize(
    ("plan", "crossed"),
    [
        (EMPTY_PLAN, []),
        (TeamPlan("parallel", ("lead", "a"), 40, {"lead": 40, "a": 0}, 60), []),
        (TeamPlan("parallel", ("lead", "a", "b"), 5, None, 10), []),
        (TeamPlan("consensus"), [("formation", "formations")]),
        (TeamPlan(members=("lead",)), [("members", "min_members")]),
        (TeamPlan(members=("lead", "lead")), [("members", "min_members")]),
        (TeamPlan(members=("lead", "a", "b", "c")), [("members", "max_members")]),
        (TeamPlan(members=("a", "b")), [("members", "protected_members")]),
        (TeamPlan(tool_budget=4), [("tool_budget", "min_tool_budget")]),
        (TeamPlan(tool_budget=41), [("tool_budget", "max_tool_budget")]),
        (TeamPlan(member_budgets={"a": 41, "b": 4}), [("member_budgets", "max_tool_budget")]),
        (TeamPlan(timeout_seconds=9.9), [("timeout_seconds", "min_timeout_seconds")]),
        (TeamPlan(timeout_seconds=60.1), [("timeout_seconds", "max_timeout_seconds")]),
        (TeamPlan(sub_teams=[["lead"], ["a", "b"]]), []),
        (TeamPlan(sub_teams=[["lead"]]), [("sub_teams", "min_members")]),
        (TeamPlan(sub_teams=[["a"], ["b"]]), [("sub_teams", "protected_members")]),
        (TeamPlan(members=("lead", "a"), sub_teams=[["lead"], ["a"]]), []),
        (TeamPlan("pipeline", tool_budget=0), [("formation", "formations"), ("tool_budget", "min_tool_budget")]),
    ],
)
def test_a_plan_that_crosses_a_limit_is_told_by_knob_and_limit(plan: TeamPlan, crossed: list[tuple[str, str]]) -> None:
    assert [(knob, limit) for knob, limit, _ in LIMITS.crossed_by(plan)] == crossed


def test_what_tests_may_do_in_a_week_is_nothing_that_a_plan_crosses() -> None:
    plan = TeamPlan("parallel", ("lead", "a"), 40)
    assert evolve(LIMITS, max_bad_runs_per_week=0, max_extra_cost_usd_per_week=0.0).crossed_by(plan) == ()
    assert (Limits().max_bad_runs_per_week, Limits().max_extra_cost_usd_per_week) == (5, None)


def test_by_default_no_limit_but_a_member_is_set() -> None:
    plan = TeamPlan("reflection", tuple(map(str, range(100))), 10**6, {"0": 10**6}, 1e6)
    assert Limits().crossed_by(plan) == ()


PRICES = {
    "gpt-4o-mini": Price(1, 1),
    "gpt-4o*": Price(2, 2),
    "gpt-*": Price(3, 3),
    "*-mini": Price(4, 4),
}


@pytest.mark.parametrize(
    ("model", "price"),
    [("gpt-4o-mini", 1), ("gpt-4o-2024", 2), ("gpt-3", 3), ("o-mini", 4), ("gpt-5-mini", 4), ("claude", None)],
)
def test_a_price_is_found_by_name_and_else_by_the_most_specific_pattern(model: str, price: float | None) -> None:
    expected = None if price is None else Price(price, price)
    assert find_price(PRICES, model) == expected
    assert find_price(dict(reversed(PRICES.items())), model) == expected


def test_a_cost_is_counted_by_the_million() -> None:
    assert Price(0.15, 0.60).cost_usd(TokenUse("m", 2_000_000, 500_000)) == pytest.approx(0.60)


USE = TokenUse("m", 1_000_000, 100_000, cached_tokens=600_000, cache_write_tokens=300_000, reasoning_tokens=40_000)


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price(10, 100), 10 + 10),
        (Price(10, 100, cached_per_million_usd=1), 4 + 0.6 + 10),
        (Price(10, 100, cache_write_per_million_usd=20), 7 + 6 + 10),
        (Price(10, 100, reasoning_per_million_usd=50), 10 + 6 + 2),
        (Price(10, 100, 0, 0, 0), 1 + 6),
    ],
)
def test_each_kind_of_tokens_costs_its_own_rate_or_that_of_its_direction(price: Price, cost: float) -> None:
    assert price.cost_usd(USE) == pytest.approx(cost)


def test_a_long_prompt_costs_the_rates_of_long_prompts() -> None:
    price = Price(1, 2, long_context=[LongContextPrice(3, 4, above_tokens=200_000)])
    assert price.cost_usd(TokenUse("m", 1_000_000)) == pytest.approx(1)
    assert price.cost_usd(TokenUse("m", 1_000_000, context_tokens=128_000)) == pytest.approx(1)
    assert price.cost_usd(TokenUse("m", 1_000_000, 1_000_000, context_tokens=272_000)) == pytest.approx(7)


def test_there_is_a_key_for_every_setting_and_a_setting_for_every_key() -> None:
    sections = {
        "limits": Limits,
        "experiment": ExperimentSettings,
        "watch": WatchSettings,
        "quality": QualitySettings,
        "tuner": TunerSettings,
        "plan": TeamPlan,
        "start_from": TeamPlan,
        "store": StoreSettings,
        "retention": RetentionSettings,
        "journal": JournalSettings,
        "hooks": HookSettings,
    }
    expected = [
        key
        for setting in fields(Settings)
        if setting.name != "prices"  # which the resolver puts there, by model
        for key in (
            [f"{setting.name}.{inner.name}" for inner in fields(sections[setting.name])]
            if setting.name in sections
            else [setting.name]
        )
    ]
    assert [key for key in leaves() if key not in IGNORED] == expected
