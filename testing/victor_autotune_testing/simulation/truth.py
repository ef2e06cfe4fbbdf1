"""What the plans of a world are really worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from attrs import frozen

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._tuner.space import shape_of

from .draws import Draws
from .world import World

MOST_SUCCESS_LOST: Final = 0.05
"""A plan that loses more of the success share than this is worse than today's, however fast."""

SAME: Final = 0.01
"""Log duration by which a plan must differ from today's to be called worse; below it is what Monte Carlo can't tell."""


@frozen
class Worth:
    """The truth about one plan.

    Attributes:
        log_seconds: Mean log duration.
        success: Success share.
        p95_seconds: 95th percentile of the duration.
        cost_usd: Mean cost.
    """

    log_seconds: float
    success: float
    p95_seconds: float
    cost_usd: float


@frozen
class Truth:
    """The truth about the plans of a world.

    Attributes:
        today: The plan as configured.
        best: The fastest plan that loses no more success than `MOST_SUCCESS_LOST`.
        worths: The truth by plan.
    """

    today: TeamPlan
    best: TeamPlan
    worths: Mapping[TeamPlan, Worth]

    @property
    def room(self) -> float:
        """Log duration between today's plan and the best."""
        return self.worths[self.today].log_seconds - self.worths[self.best].log_seconds

    @property
    def layout_room(self) -> float:
        """Log duration between today's plan and the best that changes the layout alone; 0 where none is faster."""
        layouts = [one for one in self.worths if one.is_layout_of(self.today) and not self.loses_success(one)]
        best = min((self.worths[one].log_seconds for one in layouts), default=math.inf)
        return max(self.worths[self.today].log_seconds - best, 0.0)

    def is_worse(self, plan: TeamPlan) -> bool:
        """Whether a plan is slower than today's or loses too much success."""
        now, then = self.worths[self.today], self.worths[plan]
        return then.log_seconds > now.log_seconds + SAME or self.loses_success(plan)

    def loses_success(self, plan: TeamPlan) -> bool:
        """Whether a plan loses more than `MOST_SUCCESS_LOST` of today's success share."""
        return self.worths[self.today].success - self.worths[plan].success > MOST_SUCCESS_LOST

    def regret(self, plan: TeamPlan) -> float:
        """Return 0 for the best plan, 1 for today's, 2 for one that loses too much success; in log duration.

        A slower plan has more than 1, at most 2. Without room the best is today's, and any other counts as 2.
        """
        if plan == self.today:
            return 1.0 if self.room > SAME else 0.0
        if self.loses_success(plan) or self.room <= SAME:
            return 2.0
        above = self.worths[plan].log_seconds - self.worths[self.best].log_seconds
        return min(above / self.room, 2.0)

    @property
    def worse_share(self) -> float:
        """Share of the other plans that are worse than today's."""
        others = [plan for plan in self.worths if plan != self.today]
        return sum(map(self.is_worse, others)) / max(len(others), 1)


def measure(world: World, plans: Sequence[TeamPlan], runs: int) -> Truth:
    """Return the truth about plans, each played on the same tasks and chances.

    Args:
        world: The world.
        plans: The plan as configured, and others.
        runs: Simulated runs of each plan.
    """
    draws = Draws.make(np.random.default_rng([world.seed, 7]), runs, len(world.spec.members))
    worths: dict[TeamPlan, Worth] = {}
    for plan in plans:
        played = world.play(shape_of(world.spec, plan), world.quirk(plan), draws)
        worths[plan] = Worth(
            log_seconds=float(np.log(played["seconds"]).mean()),
            success=float(played["chance"].mean()),
            p95_seconds=float(np.quantile(played["seconds"], 0.95)),
            cost_usd=float(played["cost"].mean()),
        )
    today = plans[0]
    kept = [plan for plan in plans if worths[today].success - worths[plan].success <= MOST_SUCCESS_LOST]
    return Truth(today, min(kept, key=lambda plan: worths[plan].log_seconds), worths)
