"""Simulated teams whose truth is known, to measure tuners and the loop with. Nothing of it runs in production.

    world = World.make(seed=1)
    run = world.run(TeamPlan(formation="parallel"), np.random.default_rng(2))      # a TeamRun
    truth = world.truth(plan_space(world.spec).plans)                              # what only the referee knows
    truth.regret(plan), truth.is_worse(plan)
    played = simulation.played.play(world, runs=200, seed=3)                       # tuned by the real loop

A run is made of its members' runs: each takes its own time on a task of some difficulty, waits for others as the
formation says, and adds to the quality of the result. `World` tells what follows from published findings and what is an
assumption. The truth is not of a form that a regression could express: maxima and sums over members, saturation,
truncation by budgets and timeouts, and interactions that are drawn for each world.

Pure: a world follows from its seed and a run from the generator that is passed in.
"""

from __future__ import annotations

from .truth import Truth
from .world import World

__all__ = ["Truth", "World"]
