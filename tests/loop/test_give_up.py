"""The tuner rolls no promotion back by chance."""

from __future__ import annotations

import numpy as np
import pytest

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._tuner import Tuner, plan_space
from victor_autotune_testing.simulated import SPEC

pytestmark = pytest.mark.slow

PARALLEL = TeamPlan(formation="parallel")


def made_up(plan: TeamPlan, rng: np.random.Generator, factor: float) -> TeamRun:
    """A run that succeeds in nine of ten cases, whatever the plan; its score says no more than that."""
    good = bool(rng.random() < 0.9)
    members = [
        MemberOutcome(one, finished=True, duration_seconds=float(10 * rng.lognormal(0, 0.5)), tool_calls=3)
        for one in SPEC.member_ids
    ]
    seconds = float(40 * factor * rng.lognormal(0, 0.5))
    return TeamRun("", SPEC, 0.0, seconds, good, float(good), plan_asked=plan, members=members)


def given_up(seed: int, factor: float) -> bool | None:
    """Return whether the tuner gives up a promotion in 200 runs of its watch; None where it held it back."""
    rng = np.random.default_rng(seed)
    tuner = Tuner(plan_space(SPEC))
    for _ in range(10):
        tuner.observe(made_up(EMPTY_PLAN, rng, 1))
    tuner.started(PARALLEL)
    for _ in range(20):
        tuner.observe(made_up(EMPTY_PLAN, rng, 1))
        tuner.observe(made_up(PARALLEL, rng, factor))
    if tuner.outlook(PARALLEL).veto:
        return None
    tuner.ended(PARALLEL, promoted=True, effect=1 - factor)
    for number in range(1, 201):
        held_back = number % 10 == 0
        tuner.observe(made_up(EMPTY_PLAN, rng, 1) if held_back else made_up(PARALLEL, rng, factor))
        if number % 5 == 0 and tuner.watched(EMPTY_PLAN).stop:
            return True
    return False


@pytest.mark.parametrize("factor", [1.0, 0.8], ids=["an equal plan", "a plan 20 % better"])
def test_a_promotion_that_keeps_success_stays(factor: float) -> None:
    watched = [ended for seed in range(30) if (ended := given_up(seed, factor)) is not None]
    assert len(watched) >= 10
    assert watched.count(True) == 0
