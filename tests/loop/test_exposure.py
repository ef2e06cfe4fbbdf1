"""What the tests of a week cost beyond what the plan before would have."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from victor_autotune_plugin._model.experiment import TeamState
from victor_autotune_plugin._model.plan import EMPTY_PLAN, Limits, TeamPlan
from victor_autotune_plugin._model.policy import GuardrailEvidence
from victor_autotune_plugin._model.run import CONTROL, TREATMENT, Observation
from victor_autotune_plugin._tuning.exposure import Exposure, exposure
from victor_autotune_plugin._tuning.worse_work import layout_with_worse_work, sign_of_worse_work
from victor_autotune_testing.stored import change, experiment


def runs(arm: str, count: int, *, bad: int = 0, cost: float | None = None) -> list[tuple[str, Observation]]:
    return [("e1", Observation(n, arm, 10.0, n >= bad, 1.0, cost)) for n in range(count)]


def test_what_fails_times_out_goes_missing_or_takes_three_times_as_long_is_bad() -> None:
    control = runs(CONTROL, 40)
    kinds = [
        Observation(0, TREATMENT, 10.0, False, 0.0),
        Observation(1, TREATMENT, 10.0, True, 1.0, timed_out=True),
        Observation(2, TREATMENT, 0.0, False, 0.0, missing="lost"),
        Observation(3, TREATMENT, 0.0, False, 0.0, missing="cancelled"),
        Observation(4, TREATMENT, 30.1, True, 1.0),
        Observation(5, TREATMENT, 29.9, True, 1.0),
    ]
    found = exposure([*control, *(("e1", one) for one in kinds)])
    assert (found.bad_runs, found.failed_runs) == (5, 4)


@pytest.mark.parametrize("slow", [True, False])
def test_runs_that_fail_speak_of_worse_work_and_slow_ones_do_not(slow: bool) -> None:
    bad = [("e1", Observation(n, TREATMENT, 99.0 if slow else 10.0, slow, 1.0)) for n in range(12)]
    reached = exposure([*runs(CONTROL, 40), *bad]).exceeds(Limits(max_bad_runs_per_week=5))
    assert reached is not None
    test = experiment(control=EMPTY_PLAN, treatment=TeamPlan(formation="parallel"))
    ended = change(action="aborted", experiment_id=test.id, evidence=reached[1])
    state = TeamState(test.workflow, test.team_id, fingerprint=test.fingerprint)
    assert layout_with_worse_work([test], [ended], state) == (None if slow else "formation parallel")


@pytest.mark.parametrize(
    ("name", "fell", "evidence", "status", "speaks"),
    [
        ("score", 0.06, 2.6, "unclear", True),
        ("score", 0.06, 2.6, "ok", False),  # proven to be within its margin
        ("score", 0.06, 2.4, "unclear", False),
        ("score", 0.04, 3.5, "unclear", False),
        ("success", 0.11, 1.9, "unclear", True),
        ("success", 0.09, 3.0, "unclear", False),
    ],
)
def test_a_drop_speaks_of_worse_work_by_what_tells_it(
    name: str, fell: float, evidence: float, status: str, speaks: bool
) -> None:
    seen = GuardrailEvidence(name, 0.9, 0.9 - fell, fell, 0.1, evidence, 9.0, status)
    assert (sign_of_worse_work([seen]) is not None) is speaks
    test = experiment(control=EMPTY_PLAN, treatment=TeamPlan(formation="parallel"))
    ended = change(action="rolled_back", experiment_id=test.id, evidence={"guardrails": [seen.to_dict()]})
    state = TeamState(test.workflow, test.team_id, fingerprint=test.fingerprint)
    assert (layout_with_worse_work([test], [ended], state) is not None) is speaks
    short = change(
        action="rolled_back", experiment_id=test.id, evidence={"guardrails": [{"name": name, "status": status}]}
    )
    assert layout_with_worse_work([test], [short], state) is None  # as an earlier version may have written it


def test_what_the_control_would_have_had_as_well_is_no_cost() -> None:
    found = exposure([*runs(CONTROL, 100, bad=20), *runs(TREATMENT, 100, bad=20)])
    assert found.bad_runs == 20
    assert abs(found.extra_bad_runs) < 1


def test_money_counts_beyond_what_the_control_costs() -> None:
    found = exposure([*runs(CONTROL, 10, cost=0.10), *runs(TREATMENT, 10, cost=0.35)])
    assert found.extra_cost_usd == pytest.approx(2.5)
    assert exposure([*runs(CONTROL, 10), *runs(TREATMENT, 10)]).extra_cost_usd == 0.0


def test_a_limit_is_reached_and_not_crossed() -> None:
    limits = Limits(max_bad_runs_per_week=5, max_extra_cost_usd_per_week=1.0)
    assert Exposure(4, 4.9, 0.99).exceeds(limits) is None
    bad = Exposure(6, 5.0, 0.0).exceeds(limits)
    money = Exposure(0, 0.0, 1.0).exceeds(limits)
    assert bad is not None
    assert "limits.max_bad_runs_per_week is 5" in bad[0]
    assert money is not None
    assert "limits.max_extra_cost_usd_per_week is 1" in money[0]
    assert Exposure(99, 99.0, 99.0).exceeds(Limits(max_bad_runs_per_week=None)) is None


def test_few_runs_of_the_control_tell_too_little_for_a_limit() -> None:
    limits = Limits(max_bad_runs_per_week=5)
    treatment = runs(TREATMENT, 45, bad=15)
    assert exposure([*runs(CONTROL, 10, bad=1), *treatment]).exceeds(limits) is None
    assert exposure([*runs(CONTROL, 400, bad=40), *treatment]).exceeds(limits) is not None


@given(some.integers(0, 2**32))
def test_tests_are_added_up_whatever_the_order_of_their_runs(seed: int) -> None:
    rng = random.Random(seed)
    mixed = [
        (
            rng.choice(("e1", "e2")),
            Observation(n, rng.choice((CONTROL, TREATMENT)), rng.uniform(1, 50), rng.random() < 0.7, 1.0),
        )
        for n in range(60)
    ]
    shuffled = rng.sample(mixed, len(mixed))
    one, other = exposure(mixed), exposure(shuffled)
    assert one.bad_runs == other.bad_runs
    assert one.extra_bad_runs == pytest.approx(other.extra_bad_runs)
