"""How bold the tuner is, and what a search for the next plan has to go by."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from attrs import frozen

from .._model.plan import TeamPlan
from .model import TeamModel
from .objective import Objective
from .space import PlanSpace


@frozen
class Risk:
    """How bold the tuner is.

    Attributes:
        knobs: Most knobs that are changed at once.
        harm: Most probability that the plan is worse or loses success, for a test to start.
        exposure: Most share of the team's runs that is expected to be spent on worse plans.
        start: Least probability that a test leads to a promotion, for it to start.
        go_on: The same, for it to go on.
        promote: Least probability that success is kept, for a promotion.
        keep: The same, for a promoted plan to stay. It is asked often, so it is far below `promote`: a plan that was
            safe to promote must not be taken back by chance.
        horizon: Runs in each arm within which a test should prove an improvement.
        samples: Whether plans are drawn by Thompson sampling instead of taken by what is expected of them.
    """

    knobs: int
    harm: float
    exposure: float
    start: float
    go_on: float
    promote: float
    keep: float
    horizon: int
    samples: bool


RISKS: Final = {
    "low": Risk(3, 0.65, 0.13, 0.06, 0.02, 0.80, 0.10, 80, samples=False),
    "medium": Risk(4, 0.75, 0.25, 0.05, 0.02, 0.70, 0.07, 80, samples=False),
    "high": Risk(6, 0.85, 0.40, 0.04, 0.02, 0.60, 0.05, 100, samples=True),
}
"""By name. `low` is the default."""


@frozen
class Search:
    """What a search for the next plan knows besides the model.

    Attributes:
        space: The plans.
        live: The plan that runs today.
        objective: What is wanted.
        risk: How bold to be.
        tried: Plans that were tested and are not to be tested again.
        doubt: See `weighing.weigh`.
        exposed: Runs that are expected to have been spent on worse plans so far.
        prior: The same team's model before its first run.
    """

    space: PlanSpace
    live: TeamPlan
    objective: Objective
    risk: Risk
    tried: frozenset[TeamPlan]
    doubt: float
    exposed: float
    prior: Callable[[], TeamModel]

    @property
    def least_gain(self) -> float:
        """Log improvement below which a change is not worth a test."""
        return -math.log1p(-self.objective.minimum_improvement)
