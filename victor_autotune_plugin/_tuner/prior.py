"""What is known of agent teams before the first run: the prior that ships, and what a user's other teams make of it.

Each number of the shipped prior names its source. Log durations are relative to what the members' own times predict. A
formation's numbers are those of a team of three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs
import numpy as np
from attrs import field, frozen

from .regression import Belief, Floats

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
    **{kind: (_level(kind), 0.18 if topology == "independent" else 0.45, KIM) for kind, topology in TOPOLOGY.items()},
    **{f"{kind} log size": (_slope(kind), 0.15, KIM) for kind in TOPOLOGY},
    **{f"{kind} size": (0.0, 0.1, WEAK) for kind in TOPOLOGY},
    "mechanism": (0.0, 0.15, "VICTOR.md: members' own times don't depend on the formation"),
    "budget": (0.5, 0.4, "share of the time that goes with tool calls; " + WEAK),
    "timeout": (1.0, 0.3, "a deadline ends a run, by definition"),
    "workload": (0.5, 0.5, "tau-bench airline: hard tasks use more calls and take longer"),
}
"""`name: (mean, standard deviation, source)` of the coefficients of the log duration."""

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
    "workload": (-0.8, 0.5, "tau-bench airline: success falls from .56 to .19 as tool calls grow"),
}
"""The same of the log odds of the outcome."""

LAYOUT_SD: Final = 0.10
"""Standard deviation of the log duration that is the own of one formation of the same members; of cost and tool calls,
too."""

LAYOUT_ODDS_SD: Final = 0.20
"""Standard deviation of the log odds that are the own of one formation of the same members."""

PLAN_SD: Final = 0.05
"""Standard deviation of the log duration that is a single plan's own, besides its layout and what its limits cut."""

PLAN_ODDS_SD: Final = 0.03
"""The same of the log odds."""

NOISE_SD: Final = 0.6
"""Standard deviation of the log duration between runs of one plan: the middle of 0.3 to 1.0 in public runs."""

TASK_SD: Final = 0.5
"""Standard deviation of tasks' log durations: task identity explains 40 to 64 % of the variance in public runs."""

SLOTS: Final = 12
"""Layouts that have an effect of their own at once; the one with the fewest runs makes room."""

NOT_SHARED: Final = "intercept"
"""The coefficient that is a team's own and that other teams tell nothing of."""

BASE_WEIGHT: Final = 3.0
"""How many teams the base prior counts for, against the user's other teams."""

ROUNDS: Final = 30
"""Rounds of expectation and maximisation; more move no prediction by a tenth of its standard deviation."""


@frozen
class TeamPrior:
    """What is believed of a team before its first run.

    Attributes:
        duration: `name: (mean, sd)` of the coefficients of the log duration; cost and tool calls share it.
        outcome: The same of the log odds of the outcome.
        sources: Where each number comes from, by `duration.name` or `outcome.name`.
        teams: How many of the user's other teams it was learnt from.
    """

    duration: Coefficients
    outcome: Coefficients
    sources: Mapping[str, str] = field(factory=dict)
    teams: int = 0


def shipped_prior() -> TeamPrior:
    """Return the prior that ships with the package (`DURATION` and `OUTCOME`)."""
    tables = {"duration": DURATION, "outcome": OUTCOME}
    values = {part: {name: (mean, sd) for name, (mean, sd, _) in table.items()} for part, table in tables.items()}
    sources = {f"{part}.{name}": source for part, table in tables.items() for name, (_, _, source) in table.items()}
    return TeamPrior(values["duration"], values["outcome"], sources)


@frozen
class Likelihood:
    """What the runs of one team told of its coefficients: a normal likelihood, without the prior.

    Attributes:
        precision: Shape (d, d), without the coefficient that is not shared.
        weighted: The precision times the estimate, shape (d,).
    """

    precision: Floats = field(eq=attrs.cmp_using(eq=np.array_equal))
    weighted: Floats = field(eq=attrs.cmp_using(eq=np.array_equal))

    @classmethod
    def between(cls, before: Coefficients, after: Belief) -> Likelihood:
        """Return what leads from a prior to the belief after the runs.

        Args:
            before: The prior; its coefficients are independent.
            after: The belief; its coefficients beyond the prior's are a team's own.
        """
        shared, prior_mean, prior_variance = _shared(before)
        now = np.asarray(np.linalg.inv(after.covariance[np.ix_(shared, shared)]), dtype=np.float64)
        precision: Floats = now - np.diag(1 / prior_variance)
        return cls(precision, now @ after.mean[shared] - prior_mean / prior_variance)


@frozen
class TeamBelief:
    """What was learnt of one team, as another team's prior can use it.

    Attributes:
        duration: What its runs told of durations.
        outcome: The same of outcomes.
    """

    duration: Likelihood
    outcome: Likelihood


def fleet_prior(teams: Sequence[TeamBelief], base: TeamPrior | None = None) -> TeamPrior:
    """Learn a prior from what was learnt of other teams (empirical Bayes).

    Each team's coefficients are taken as drawn from normal distributions over teams, independent of each other, whose
    means and variances are found by expectation and maximisation (Dempster, Laird and Rubin 1977), from what the teams'
    runs told of all coefficients together. The base prior counts as `BASE_WEIGHT` teams, and alone where no team's runs
    told anything.

    Args:
        teams: What was learnt of the user's other teams.
        base: What to start from; None for the shipped prior.
    """
    base = base or shipped_prior()
    if not teams:
        return base
    duration = _population([team.duration for team in teams], base.duration)
    outcome = _population([team.outcome for team in teams], base.outcome)
    return TeamPrior(duration, outcome, base.sources, base.teams + len(teams))


def _population(told: Sequence[Likelihood], base: Coefficients) -> dict[str, tuple[float, float]]:
    shared, first_mean, first_variance = _shared(base)
    precision: Floats = np.stack([one.precision for one in told])
    weighted: Floats = np.stack([one.weighted for one in told])
    mean, variance, total = first_mean, first_variance, len(told) + BASE_WEIGHT
    for _ in range(ROUNDS):
        spread = np.linalg.inv(precision + np.diag(1 / variance))
        each = (spread @ (weighted + mean / variance)[:, :, None])[:, :, 0]
        mean = (each.sum(axis=0) + BASE_WEIGHT * first_mean) / total
        seen = np.diagonal(spread, axis1=1, axis2=2) + (each - mean) ** 2
        variance = (seen.sum(axis=0) + BASE_WEIGHT * (first_variance + (first_mean - mean) ** 2)) / total
    sd = np.sqrt(variance * (1 + 1 / total))  # the mean is an estimate, too
    names = list(base)
    return dict(base) | {names[place]: (float(m), float(s)) for place, m, s in zip(shared, mean, sd, strict=True)}


def _shared(coefficients: Coefficients) -> tuple[list[int], Floats, Floats]:
    """Return places, means and variances of the coefficients of which other teams tell something."""
    places = [place for place, name in enumerate(coefficients) if name != NOT_SHARED]
    values: Floats = np.array(list(coefficients.values()))[places]
    return places, values[:, 0], values[:, 1] ** 2


def belief_of(prior: Coefficients, own_sd: float, level: float | None) -> Belief:
    """Return the belief of a prior with slots; `level` replaces the intercept's mean."""
    means = [mean for mean, _ in prior.values()]
    if level is not None:
        means[list(prior).index("intercept")] = level
    sds = [sd for _, sd in prior.values()]
    return Belief(np.array(means + [0.0] * SLOTS), np.array(sds + [own_sd] * SLOTS))
