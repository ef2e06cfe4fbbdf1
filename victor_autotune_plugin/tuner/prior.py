"""Priors as values: the one that ships, and what a user's other workflows make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from . import prior_data
from .normal import Floats

NOT_SHARED: Final = ("intercept",)
"""Coefficients that are a team's own and that other teams tell nothing of."""

BASE_WEIGHT: Final = 3.0
"""How many teams the shipped prior counts for, against the user's other workflows."""


@frozen
class Prior:
    """What is believed of a team before its first run.

    Attributes:
        duration: `name: (mean, sd)` of the coefficients of the log duration; cost and tool calls share it.
        outcome: The same of the log odds of the outcome.
        sources: Where each number comes from, by `duration.name` or `outcome.name`.
        teams: How many of the user's other teams it was learnt from.
    """

    duration: Mapping[str, tuple[float, float]]
    outcome: Mapping[str, tuple[float, float]]
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
class TeamBelief:
    """What was learnt of one team, as another team's prior can use it.

    Attributes:
        duration: `name: (mean, sd)` after its runs.
        outcome: The same.
        prior: What it was learnt from.
    """

    duration: Mapping[str, tuple[float, float]]
    outcome: Mapping[str, tuple[float, float]]
    prior: Prior


def fleet_prior(teams: Sequence[TeamBelief], base: Prior | None = None) -> Prior:
    """Learn a prior from what was learnt of other teams (empirical Bayes).

    The coefficients of each team are taken as drawn around common means. What a team's runs told of a coefficient is
    its belief divided by the prior that the belief began with; teams whose runs told nothing of it don't count.
    Means are weighted by precision, the base prior counting as `BASE_WEIGHT` teams; the spread between teams is the
    moment estimate of DerSimonian and Laird (1986), never below a ninth of the base's, so that a new team may differ.

    Args:
        teams: What was learnt of the user's other teams.
        base: What to start from; None for the shipped prior.
    """
    base = base or shipped_prior()
    if not teams:
        return base
    duration = _pooled([team.duration for team in teams], [team.prior.duration for team in teams], base.duration)
    outcome = _pooled([team.outcome for team in teams], [team.prior.outcome for team in teams], base.outcome)
    return Prior(duration, outcome, base.sources, base.teams + len(teams))


def _pooled(
    beliefs: Sequence[Mapping[str, tuple[float, float]]],
    priors: Sequence[Mapping[str, tuple[float, float]]],
    base: Mapping[str, tuple[float, float]],
) -> dict[str, tuple[float, float]]:
    result = {}
    for name, (mean, sd) in base.items():
        told = [
            _told(belief[name], prior[name]) for belief, prior in zip(beliefs, priors, strict=True) if name in belief
        ]
        seen = [value for value in told if value is not None]
        result[name] = (mean, sd) if name in NOT_SHARED or not seen else _shrunk(seen, mean, sd)
    return result


def _told(belief: tuple[float, float], prior: tuple[float, float]) -> tuple[float, float] | None:
    """Return estimate and variance that runs alone give, or None when they add less than a tenth to the prior."""
    gained = 1 / belief[1] ** 2 - 1 / prior[1] ** 2
    if gained < 0.1 / prior[1] ** 2:
        return None
    return (belief[0] / belief[1] ** 2 - prior[0] / prior[1] ** 2) / gained, 1 / gained


def _shrunk(seen: Sequence[tuple[float, float]], mean: float, sd: float) -> tuple[float, float]:
    values: Floats = np.array([value for value, _ in seen])
    variances: Floats = np.array([variance for _, variance in seen])
    weights = 1 / variances
    centre = float((weights * values).sum() / weights.sum())
    excess = float((weights * (values - centre) ** 2).sum()) - (len(seen) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    between = max(excess / scale, 0.0) if scale > 1e-9 else 0.0
    # The base prior says how far teams differ, and counts as some teams do.
    between = (BASE_WEIGHT * sd**2 + len(seen) * between) / (BASE_WEIGHT + len(seen))
    between = max(between, (sd / 3) ** 2)
    weights = 1 / (variances + between)
    base_weight = BASE_WEIGHT / sd**2
    total = float(weights.sum()) + base_weight
    pooled = (float((weights * values).sum()) + base_weight * mean) / total
    return pooled, float(np.sqrt(between + 1 / total))
