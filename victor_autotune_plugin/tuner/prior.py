"""Priors as values: the one that ships, and what a user's other workflows make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
from attrs import field, frozen

from . import prior_data
from .normal import Floats

NOT_SHARED: Final = "intercept"
"""The coefficient that is a team's own and that other teams tell nothing of."""

BASE_WEIGHT: Final = 3.0
"""How many teams the base prior counts for, against the user's other workflows."""

DIAG = False
ROUNDS: Final = 20
"""Rounds of expectation and maximisation; more move no prediction by a tenth of its standard deviation."""

_SAME = attrs.cmp_using(eq=np.array_equal)


@frozen
class Coefficients:
    """A normal belief about named coefficients.

    Attributes:
        names: Their names, (d,).
        mean: Means, shape (d,).
        covariance: Shape (d, d).
    """

    names: tuple[str, ...]
    mean: Floats = field(eq=_SAME)
    covariance: Floats = field(eq=_SAME)

    @classmethod
    def independent(cls, values: Mapping[str, tuple[float, float]]) -> Coefficients:
        """Return coefficients that tell nothing of each other, from `name: (mean, sd)`."""
        means, sds = [mean for mean, _ in values.values()], [sd for _, sd in values.values()]
        return cls(tuple(values), np.array(means, dtype=np.float64), np.diag(np.array(sds, dtype=np.float64) ** 2))

    def __iter__(self) -> Iterator[str]:
        """Give the names, in order."""
        return iter(self.names)

    def __getitem__(self, name: str) -> tuple[float, float]:
        """Return mean and standard deviation of one; raises `ValueError` for a name that is none of them."""
        place = self.names.index(name)
        return float(self.mean[place]), float(np.sqrt(self.covariance[place, place]))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {"names": list(self.names), "mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Coefficients:
        """Read what `to_dict` wrote."""
        return cls(tuple(data["names"]), np.array(data["mean"]), np.array(data["covariance"]))


@frozen
class Prior:
    """What is believed of a team before its first run.

    Attributes:
        duration: Coefficients of the log duration; cost and tool calls share them.
        outcome: Coefficients of the log odds of the outcome.
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
            "duration": self.duration.to_dict(),
            "outcome": self.outcome.to_dict(),
            "sources": dict(self.sources),
            "teams": self.teams,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prior:
        """Read what `to_dict` wrote."""
        parts = (Coefficients.from_dict(data[part]) for part in ("duration", "outcome"))
        return cls(*parts, dict(data["sources"]), int(data["teams"]))


def shipped_prior() -> Prior:
    """Return the prior that ships with the package (`prior_data`)."""
    tables = {"duration": prior_data.DURATION, "outcome": prior_data.OUTCOME}
    values = {part: {name: (mean, sd) for name, (mean, sd, _) in table.items()} for part, table in tables.items()}
    sources = {f"{part}.{name}": source for part, table in tables.items() for name, (_, _, source) in table.items()}
    return Prior(Coefficients.independent(values["duration"]), Coefficients.independent(values["outcome"]), sources)


@frozen
class Evidence:
    """What the runs of one team told of its coefficients: a normal likelihood, without the prior.

    Attributes:
        precision: Shape (d, d), without the coefficient that is not shared.
        weighted: The precision times the estimate, shape (d,).
    """

    precision: Floats = field(eq=_SAME)
    weighted: Floats = field(eq=_SAME)

    @classmethod
    def between(cls, before: Coefficients, mean: Floats, covariance: Floats) -> Evidence:
        """Return what leads from a prior to the belief after the runs.

        Args:
            before: The prior, which holds the coefficient that is not shared to be independent of the others.
            mean: Means after the runs, shape (d,) or more: further coefficients are a team's own.
            covariance: The same.
        """
        kept = np.array([place for place, name in enumerate(before.names) if name != NOT_SHARED])
        block = np.ix_(kept, kept)
        prior, after = np.linalg.inv(before.covariance[block]), np.linalg.inv(covariance[block])
        return cls(after - prior, after @ mean[kept] - prior @ before.mean[kept])


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

    The coefficients of each team are taken as a draw from one normal distribution over teams, whose mean and covariance
    are found by expectation and maximisation (Dempster, Laird and Rubin 1977). The base prior counts as `BASE_WEIGHT`
    teams, and alone where no team's runs told anything.

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


def _population(told: Sequence[Evidence], base: Coefficients) -> Coefficients:
    kept = np.array([place for place, name in enumerate(base.names) if name != NOT_SHARED])
    block = np.ix_(kept, kept)
    precision: Floats = np.stack([one.precision for one in told])
    weighted: Floats = np.stack([one.weighted for one in told])
    first_mean, first_covariance = base.mean[kept], base.covariance[block]
    mean, covariance, total = first_mean, first_covariance, len(told) + BASE_WEIGHT
    for _ in range(ROUNDS):
        inverse = np.linalg.inv(covariance)
        spread = np.linalg.inv(inverse + precision)
        each = np.einsum("tij,tj->ti", spread, inverse @ mean + weighted)
        mean = (each.sum(axis=0) + BASE_WEIGHT * first_mean) / total
        away, first_away = each - mean, first_mean - mean
        seen = spread.sum(axis=0) + away.T @ away
        covariance = (seen + BASE_WEIGHT * (first_covariance + np.outer(first_away, first_away))) / total
        covariance = np.diag(np.diag(covariance)) if DIAG else (covariance + covariance.T) / 2
    found_mean, found = base.mean.copy(), base.covariance.copy()
    found_mean[kept] = mean
    found[block] = covariance * (1 + 1 / total)  # the mean is an estimate, too
    return Coefficients(base.names, found_mean, found)
