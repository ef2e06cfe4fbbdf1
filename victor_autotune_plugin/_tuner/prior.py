"""Priors as values: the one that ships, and what a user's other workflows make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import numpy as np
from attrs import field, frozen

from . import prior_data
from .normal import Floats
from .regression import Belief

Coefficients: TypeAlias = Mapping[str, tuple[float, float]]
"""`name: (mean, standard deviation)` of independent coefficients."""

NOT_SHARED: Final = "intercept"
"""The coefficient that is a team's own and that other teams tell nothing of."""

BASE_WEIGHT: Final = 3.0
"""How many teams the base prior counts for, against the user's other workflows."""

ROUNDS: Final = 30
"""Rounds of expectation and maximisation; more move no prediction by a tenth of its standard deviation."""


@frozen
class Prior:
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

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {
            "duration": {name: list(value) for name, value in self.duration.items()},
            "outcome": {name: list(value) for name, value in self.outcome.items()},
            "sources": dict(self.sources),
            "teams": self.teams,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prior:
        """Read what `to_dict` wrote."""
        return cls(
            {name: (float(m), float(s)) for name, (m, s) in data["duration"].items()},
            {name: (float(m), float(s)) for name, (m, s) in data["outcome"].items()},
            dict(data["sources"]),
            int(data["teams"]),
        )


def shipped_prior() -> Prior:
    """Return the prior that ships with the package (`prior_data`)."""
    tables = {"duration": prior_data.DURATION, "outcome": prior_data.OUTCOME}
    values = {part: {name: (mean, sd) for name, (mean, sd, _) in table.items()} for part, table in tables.items()}
    sources = {f"{part}.{name}": source for part, table in tables.items() for name, (_, _, source) in table.items()}
    return Prior(values["duration"], values["outcome"], sources)


@frozen
class Evidence:
    """What the runs of one team told of its coefficients: a normal likelihood, without the prior.

    Attributes:
        precision: Shape (d, d), without the coefficient that is not shared.
        weighted: The precision times the estimate, shape (d,).
    """

    precision: Floats = field(eq=attrs.cmp_using(eq=np.array_equal))
    weighted: Floats = field(eq=attrs.cmp_using(eq=np.array_equal))

    @classmethod
    def between(cls, before: Coefficients, after: Belief) -> Evidence:
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

    duration: Evidence
    outcome: Evidence


def fleet_prior(teams: Sequence[TeamBelief], base: Prior | None = None) -> Prior:
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
    return Prior(duration, outcome, base.sources, base.teams + len(teams))


def _population(told: Sequence[Evidence], base: Coefficients) -> dict[str, tuple[float, float]]:
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
