"""No team with room is left without a test: what is believed must not hinder the only look that could change it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from attrs import evolve, frozen

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuner import distance, plan_space
from victor_autotune_testing.simulation import World
from victor_autotune_testing.simulation.played import SimulatedTeam
from victor_autotune_testing.simulation.world import Flow

pytestmark = pytest.mark.slow

RUNS = 30
TO_GAIN = 0.20
MOST_KNOBS = 3
"""What risk `low`, the default, changes at once."""

JOINED = ("sequential", "parallel")
"""Formations whose members' outputs are joined in order, so that one can stand for the other."""


@frozen
class Kind:
    """Teams with one kind of change allowed.

    Attributes:
        flow: What is known of their data flow.
        scored: Whether a scorer of five checks grades their work, so that a change of it is allowed.
        seeds: Their seeds.
        with_room: How many of them have room, so that a test that looks at none fails.
        share: Least share of those with room that get a test.
    """

    flow: Flow
    scored: bool
    seeds: range
    with_room: int
    share: float


# Wanted is 1 of all. A layout of which the mean expectation is below the least improvement waits, however uncertain it
# is; and where the work may change, a run that loses more success than the margin is reckoned as one whose work is lost
# whole, which outweighs what the tuner expects to gain.
KINDS = {
    "layout": Kind("independent", scored=False, seeds=range(1000, 1050), with_room=10, share=0.95),
    "work, independent": Kind("independent", scored=True, seeds=range(1100, 1125), with_room=15, share=0.9),
    "work, unknown": Kind("unknown", scored=True, seeds=range(1150, 1200), with_room=30, share=0.8),
}


def make_world(kind: Kind, seed: int) -> World:
    chance = np.random.default_rng([seed, 30])
    success, log_sd = float(chance.uniform(0.5, 1.0)), float(chance.uniform(0.2, 1.0))
    world = World.make(seed, flow=kind.flow, checks=5, success=success, log_sd=log_sd)
    return world if seed % 2 else evolve(world, slow_share=0.0)  # slow runs make the least spread larger


def allowed(kind: Kind, world: World) -> Iterator[TeamPlan]:
    """Give the plan as configured and those that may be chosen: the layout, and with a scorer who takes part."""
    for plan in plan_space(world.spec).plans:
        if plan.tool_budget is not None or plan.timeout_seconds is not None:
            continue
        is_layout = plan.members is None and (plan.sub_teams or (plan.formation or world.spec.formation) in JOINED)
        may_change = kind.scored or (is_layout and world.spec.formation in JOINED)
        if plan == EMPTY_PLAN or (may_change and distance(world.spec, EMPTY_PLAN, plan) <= MOST_KNOBS):
            yield plan


def first_test(kind: Kind, world: World) -> int | None:
    """Return the run after which the loop opens the team's first test, None where it opens none in time."""
    team = SimulatedTeam(world, seed=1, scored=kind.scored)
    try:
        for number in range(1, RUNS + 1):
            team.run()
            if team.runtime.store().experiments(*world.spec.key):
                return number
        return None
    finally:
        team.close()


@pytest.mark.parametrize("name", KINDS)
def test_a_team_with_a_fifth_to_gain_gets_a_test_within_30_runs(name) -> None:
    kind = KINDS[name]
    first: dict[int, int | None] = {}
    for seed in kind.seeds:
        world = make_world(kind, seed)
        truth = world.truth(list(allowed(kind, world)), runs=150)
        if -np.expm1(-truth.room) >= TO_GAIN:
            first[seed] = first_test(kind, world)
    without = [seed for seed, number in first.items() if number is None]
    assert len(first) >= kind.with_room
    assert len(without) <= (1 - kind.share) * len(first), f"no test within {RUNS} runs: seeds {without}"
