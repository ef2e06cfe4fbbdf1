"""What is known of agent teams before the first run.

Each number of the shipped prior names its source. Log durations are relative to what the members' own times predict. A
formation's numbers are those of a team of three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from .regression import Belief

Coefficients: TypeAlias = Mapping[str, tuple[float, float]]
"""`name: (mean, standard deviation)` of independent coefficients."""

OVERHEAD: Final = {"independent": 0.58, "decentralised": 2.63, "centralised": 2.85}
"""Additional turns over one agent (arXiv 2512.08296), taken as those of a team of three."""

TOPOLOGY: Final = {
    "sequential": "independent",
    "pipeline": "independent",
    "parallel": "independent",
    "sub_teams": "independent",
    "reflection": "decentralised",
    "consensus": "decentralised",
    "hierarchical": "centralised",
}
"""Which of the topologies of arXiv 2512.08296 a formation of Victor's is nearest to."""

KIM = "arXiv 2512.08296: overhead by topology; turns grow as 2.72 (n + 0.5)^1.72"
WEAK = "weakly informative: the regression's scale, no finding"


def multiple(topology: str, size: float) -> float:
    """Return the turns of one member of a team, relative to those of an agent alone.

    The overhead of all members grows with size as the turns do, and the members share it.

    Args:
        topology: A key of `OVERHEAD`.
    """
    growth: float = ((size + 0.5) ** 1.72 - 1.5**1.72) / (3.5**1.72 - 1.5**1.72)
    return 1 + OVERHEAD[topology] * growth / size


def _level(kind: str) -> float:
    return math.log(multiple(TOPOLOGY[kind], 3) / multiple("independent", 3))


def _slope(kind: str) -> float:
    topology = TOPOLOGY[kind]
    return math.log(multiple(topology, 6) / multiple(topology, 3)) / math.log(2)


DURATION: Final[dict[str, tuple[float, float, str]]] = {
    "intercept": (3.0, 3.0, WEAK + "; e^3 is 20 s"),
    **{kind: (_level(kind), 0.06 if topology == "independent" else 0.45, KIM) for kind, topology in TOPOLOGY.items()},
    **{f"{kind} log size": (_slope(kind), 0.15, KIM) for kind in TOPOLOGY},
    "crowd": (0.0, 0.02, "calls of one model don't slow each other down, where its provider has room; " + WEAK),
    "budget": (0.5, 0.4, "share of the time that goes with tool calls; " + WEAK),
    "timeout": (1.0, 0.3, "a deadline ends a run, by definition"),
}
"""`name: (mean, standard deviation, source)` of the coefficients of the members' log seconds, all added up; those of
cost and tool calls are the same."""

CROWDED: Final = (0.3, 0.2)
"""Mean and standard deviation of `crowd` where a provider limits its rate: four calls in flight take half as long again
(weakly informative). Between that and next to nothing there is little, so a run either tells of it or doesn't."""

CROWDED_SHARE: Final = 0.15
"""Probability that a team's provider does, before the first run (weakly informative)."""

SAME_WORK_SD: Final = 0.03
"""Standard deviation of the members' log seconds that a layout adds which keeps the work by the data flow: members that
use no other's work do the same in any. What they waited for differed by 0.3 % in benchmarks/replay_on_victor.py."""

SAME_WORK_RUNS: Final = 20.0
"""Runs of such a layout after which that counts for half: they tell by then, should it be wrong."""

SHAPE: Final[dict[str, tuple[float, float, str]]] = {
    "intercept": (0.0, 0.1, "a run takes 2 ms more than its members: benchmarks/replay_on_victor.py"),
    **{
        kind: (0.0, 0.08 if topology == "independent" else 0.25, "the replay of member spans is off by that; " + WEAK)
        for kind, topology in TOPOLOGY.items()
    },
    **{f"{kind} log size": (0.0, 0.05, WEAK) for kind in TOPOLOGY},
    **dict.fromkeys(("crowd", "budget", "timeout"), (0.0, 0.01, WEAK)),
}
"""The same of the log duration over what the replay of the run's own member spans says: how far the replay is off."""

_GAIN, _LOSS = math.log(1.81), (math.log(1 - 0.39) + math.log(1 - 0.70)) / 2

OUTCOME: Final[dict[str, tuple[float, float, str]]] = {
    "intercept": (1.5, 1.5, WEAK + "; 1.5 is a success share of .82"),
    "side by side": (
        (_GAIN + _LOSS) / 2,
        (_GAIN - _LOSS) / math.sqrt(12),
        "arXiv 2512.08296: +81 % on decomposable, −39 to −70 % on sequential tasks; uniform between",
    ),
    "alike": (
        (_GAIN - _LOSS) * 0.75,
        0.7,
        "members of one role divide a task, those of several hand it on: half of the range of arXiv 2512.08296 over "
        "the two thirds that the feature spans, since roles tell only something of it",
    ),
    "chosen": (
        (_GAIN - _LOSS) / 4,
        0.4,
        "who configured the team knows its task: a quarter of the range of arXiv 2512.08296",
    ),
    "checking": (0.27 / 2, 0.2, "MAST: 24 % of failures are failures of verification; half of that"),
    **dict.fromkeys(TOPOLOGY, (0.0, 0.2, WEAK)),
    "log size": (0.0, 0.3, WEAK),
    "left out": (-2.5, 1.0, "members add to the result in proportion to what they do; " + WEAK),
    "left out squared": (0.0, 1.0, WEAK),
    "budget": (-1.5, 1.0, "arXiv 2511.17006: a tool budget alone hits a ceiling"),
    "late": (-4.0, 1.0, "a run that its deadline ends fails, nearly by definition"),
}
"""The same of the log odds of the outcome."""

PLAN_SD: Final = 0.08
"""Standard deviation of the members' log seconds that is a single plan's own; of cost and tool calls, too."""

SHAPE_SD: Final = 0.05
"""The same of how far the replay is off."""

PLAN_ODDS_SD: Final = 0.20
"""The same of the log odds of the outcome."""

SHAPE_NOISE_SD: Final = 0.08
"""Standard deviation of how far the replay of a run's own spans is off."""

NOISE_SD: Final = 0.6
"""Standard deviation of the log duration between runs of one plan: the middle of 0.3 to 1.0 in public runs."""

TASK_SD: Final = 0.5
"""Standard deviation of tasks' log durations: task identity explains 40 to 64 % of the variance in public runs."""


@frozen
class TeamPrior:
    """What is believed of a team before its first run: `name: (mean, sd)` of coefficients.

    Attributes:
        duration: Of the members' log seconds; cost and tool calls share it.
        shape: Of the log duration over what the replay says.
        outcome: Of the log odds of the outcome.
    """

    duration: Coefficients
    shape: Coefficients
    outcome: Coefficients


def shipped_prior() -> TeamPrior:
    """Return the prior that ships with the package (`DURATION`, `SHAPE` and `OUTCOME`)."""
    tables = DURATION, SHAPE, OUTCOME
    return TeamPrior(*({name: (mean, sd) for name, (mean, sd, _) in table.items()} for table in tables))


def belief_of(prior: Coefficients, level: float | None = None) -> Belief:
    """Return the belief of a prior; `level` replaces the intercept's mean."""
    if level is not None:
        prior = {**prior, "intercept": (level, prior["intercept"][1])}
    means, sds = zip(*prior.values(), strict=True)
    return Belief(np.array(means), np.array(sds))


def crowded(prior: Coefficients) -> Coefficients:
    """Return the prior of durations for a team whose provider limits its rate."""
    return {**prior, "crowd": CROWDED}
