"""Which plan to try next: from a team's runs to the challenger of the next A/B test. Pure: values in, values out.

    space = plan_space(spec, settings.limits.crossed_by)           # the plans that may run
    tuner = Tuner(space, Objective("duration"), risk="low")
    for run in runs:                                               # finished TeamRuns, oldest first
        tuner.observe(run)
    proposal = tuner.propose(seed=7, rivals=[Rival(plan, 0.1, 0.3, "team_sizing")])
    proposal.plan                                                  # a TeamPlan to test against the live plan, or None
    proposal.nothing_because                                       # then why there is none
    proposal.to_dict()                                             # effect, intervals, P(harm), what was not chosen

The A/B engine (`experiment`) alone proves: the tuner chooses what to test (`propose`), and may let a test that is
hopeless give way to the next one (`outlook(plan).stop`). Tell it of `started`, `ended`, `rolled_back` and `drifted`.
Nothing of a tuner is stored: it is made from the team's recorded runs.

`rival_of` makes a rival of a strategy's suggestion, and `suggestion_of` a suggestion of a proposal. Plans that run
alike are one plan here, whether a knob is left as configured or set to the configured value.

Importing this package imports numpy, so it is imported only when there is something to decide.
"""

from __future__ import annotations

from .prior import TeamPrior, shipped_prior
from .proposal import NotChosen, Outlook, Proposal, Rival, Sensitivity, TestOutlook, rival_of, suggestion_of
from .space import PlanSpace, distance, plan_space
from .tuner import Tuner
from .weighing import Objective

__all__ = [
    "NotChosen",
    "Objective",
    "Outlook",
    "PlanSpace",
    "Proposal",
    "Rival",
    "Sensitivity",
    "TeamPrior",
    "TestOutlook",
    "Tuner",
    "distance",
    "plan_space",
    "rival_of",
    "shipped_prior",
    "suggestion_of",
]
