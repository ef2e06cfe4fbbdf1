"""What a team is tuned for, and how much of it each plan promises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, Final

import numpy as np
from attrs import Attribute, field, frozen
from numpy.typing import NDArray

from .._model.plan import TeamPlan
from .._model.policy import METRICS, MORE_IS_BETTER, Policy
from .model import TeamModel
from .plan_table import PlanTable
from .regression import Floats, Ints, cdf, pdf, sigmoid

LOGISTIC_VARIANCE: Final = math.pi**2 / 3
"""Variance of the standard logistic distribution: that of a run's log odds of success."""

Z90: Final = 1.6449
"""Half the width of a 90 % interval, in standard deviations."""

_KEPT_SD: Final = 1e-3
# Of the change of the log odds of success where the work is kept: nothing is believed to change.


def _weights(value: Mapping[str, float] | str) -> dict[str, float]:
    return {value: 1.0} if isinstance(value, str) else dict(value)


def _known(_: object, attribute: Attribute[Any], value: Mapping[str, float]) -> None:
    wrong = [name for name in value if name not in METRICS]
    if wrong:
        raise ValueError(f"{attribute.name}: unknown metric {wrong[0]!r}; choose from {', '.join(METRICS)}")
    if not value or not all(math.isfinite(w) and w >= 0 for w in value.values()) or not any(value.values()):
        raise ValueError(f"{attribute.name} must hold a weight above 0, and no negative one")


@frozen
class Objective:
    """What a team is tuned for.

    The value of a plan is the weighted mean of the logarithms of the metrics, relative to today's plan, so that 20 %
    off one counts as 20 % off another. Score and success count as the log odds of the outcome, negative.

    Attributes:
        weights: Weight of each of `policy.METRICS`; a name alone for one metric.
        success_margin: Most that the success share may fall, absolute.
        tested_margin: Most that a test lets the score fall, absolute.
        minimum_improvement: Relative improvement below which a change is not worth a test.
        max_cost_usd: Most that a run may cost on average and in 19 of 20 runs, or None.
        max_p95_seconds: Most that the 95th percentile of the duration may be, or None.
    """

    weights: Mapping[str, float] = field(factory=lambda: {"duration": 1.0}, converter=_weights, validator=_known)
    success_margin: float = 0.05
    tested_margin: float = 0.10
    minimum_improvement: float = 0.05
    max_cost_usd: float | None = None
    max_p95_seconds: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The weights, adding up to 1."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items() if weight}


@frozen
class Weights:
    """What each of some plans promises. Arrays of shape (p,), in units of the objective's log.

    Attributes:
        gain: Expected log improvement; positive is better.
        sd: Its standard deviation.
        by_metric: Mean log ratio by metric, as in `model.Effects`: of what counts, of the duration, and of the cost
            where runs have a price.
        sd_by_metric: Its standard deviation.
        odds: Expected change of the log odds of success.
        odds_sd: Its standard deviation.
        kept: Probability that success is kept within the margin.
        threshold: Change of the log odds below which it is not.
        success: Success share of the live plan.
        level: Log odds of it.
        noise: Standard deviation of the objective between runs of one plan.
        score_noise: Standard deviation of the score between runs of one plan.
        allowed: Probability that the constraints on cost and P95 hold.
        keeps: Whether the plan keeps the work by the team's data flow, so that success is kept whatever is believed.
    """

    gain: Floats
    sd: Floats
    by_metric: Mapping[str, Floats]
    sd_by_metric: Mapping[str, Floats]
    odds: Floats
    odds_sd: Floats
    kept: Floats
    threshold: float
    success: float
    level: float
    noise: float
    score_noise: float
    allowed: Floats
    keeps: NDArray[np.bool_]

    @cached_property
    def p_gain(self) -> Floats:
        """Probability that the objective is better, success left aside."""
        return cdf(self.gain / self.sd)

    @cached_property
    def p_better(self) -> Floats:
        """Probability that the objective is better and success is kept."""
        return np.asarray(self.p_gain * self.kept)

    @property
    def harm(self) -> Floats:
        """Probability that the objective is worse, or success is not kept."""
        return np.asarray(1 - self.p_better)


def weigh(
    model: TeamModel,
    rows: Ints,
    live: TeamPlan,
    objective: Objective,
    table: PlanTable | None = None,
    keeps: NDArray[np.bool_] | None = None,
) -> Weights:
    """Return what plans promise against the live plan.

    Args:
        model: What is believed of the team.
        live: The live plan, in the table.
        table: Another table with the live plan; None for the team's own.
        keeps: Whether each keeps the work by the team's data flow, shape (p,); None where none is known to.
    """
    shares = objective.shares
    wanted = [name for name in shares if name not in MORE_IS_BETTER]
    told = {"duration"} | ({"cost"} if model.priced or objective.max_cost_usd is not None else set())
    kept = np.zeros(len(rows), dtype=bool) if keeps is None else keeps
    effects = model.effects(rows, live, sorted({*wanted, *told}), table, kept)
    count = len(effects.log["score"])
    gain, variance = np.zeros(count), np.zeros(count)
    for name, share in shares.items():
        sign, known = (1, "score") if name in MORE_IS_BETTER else (-1, name)
        gain += sign * share * effects.log[known]
        variance += share**2 * effects.sd[known] ** 2
    odds = np.where(kept, 0.0, effects.log["score"])
    odds_sd = np.where(kept, _KEPT_SD, effects.sd["score"])
    least = max(effects.success - objective.success_margin, 0.01)
    threshold = min(math.log(least / (1 - least)) - effects.level, -1e-6)
    return Weights(
        gain=gain,
        sd=np.sqrt(variance),
        by_metric=effects.log,
        sd_by_metric=effects.sd,
        odds=odds,
        odds_sd=odds_sd,
        kept=np.where(kept, 1.0, cdf((odds - threshold) / odds_sd)),
        threshold=threshold,
        success=effects.success,
        level=effects.level,
        noise=math.sqrt(_noise_variance(model, objective)),
        score_noise=math.sqrt(model.outcome.dispersion * effects.success * (1 - effects.success)),
        allowed=_allowed(model, effects.log, effects.sd, live, objective, count),
        keeps=kept,
    )


def _noise_variance(model: TeamModel, objective: Objective) -> float:
    """Return the variance of the objective between runs of one plan."""
    return math.fsum(
        share**2 * (LOGISTIC_VARIANCE if name in MORE_IS_BETTER else model.noise_variance(name))
        for name, share in objective.shares.items()
    )


def _allowed(
    model: TeamModel,
    logs: Mapping[str, Floats],
    sds: Mapping[str, Floats],
    live: TeamPlan,
    objective: Objective,
    count: int,
) -> Floats:
    """Return the probability that a plan's P95 of cost and duration is within its limit."""
    result: Floats = np.ones(count)
    for metric, limit in (("cost", objective.max_cost_usd), ("duration", objective.max_p95_seconds)):
        if limit is not None:
            noise = math.sqrt(model.noise_variance(metric))
            level = model.level(metric, live)
            room = math.log(limit) - level - Z90 * noise - logs[metric]
            result = result * cdf(room / sds[metric])
    return result


def gain_proven(weights: Weights, runs: int) -> tuple[Floats, Floats]:
    """Return what a test of `runs` runs an arm proves of the gain, shape (p,) each.

    The statistic of a rank test is about normal, with the gain over the noise as its drift, and the gain itself is
    uncertain.

    Returns:
        The probability that it proves one, and the expected log gain, counted as 0 where it does not.
    """
    scale = math.sqrt(runs / 2 * 3 / math.pi) / weights.noise
    unsure = scale * weights.sd
    total = np.sqrt(1 + unsure**2)
    excess = (scale * weights.gain - _heights(runs)[0]) / total
    chance = cdf(excess)
    return chance, np.asarray(weights.gain * chance + weights.sd * unsure / total * pdf(excess))


def p_work_proven(weights: Weights, runs: int, margin: float) -> Floats:
    """Return the probability that a test of `runs` runs an arm proves that the score is kept, shape (p,).

    Args:
        margin: Most that the test lets it fall, absolute.
    """
    share = sigmoid(weights.level + weights.odds)
    scale = math.sqrt(runs / 2) / max(weights.score_noise, 1e-3)
    unsure = scale * share * (1 - share) * weights.odds_sd
    excess = scale * (margin + share - weights.success) - _heights(runs)[1]
    return cdf(excess / np.sqrt(1 + unsure**2))


def runs_needed(gain: float, noise: float) -> int | None:
    """Return the runs in each arm within which a test proves a log gain with probability .8; None without a gain."""
    if gain <= 0.005:
        return None
    return max(10, math.ceil(_unit_runs() * (noise / gain) ** 2))


def relative(log_gain: float) -> float:
    """Return the relative improvement of a log gain."""
    return -math.expm1(-log_gain)


def success_after(weights: Weights, row: int, shift: float) -> float:
    """Return the change of the success share at the expected change of the log odds plus `shift` deviations."""
    odds = float(weights.odds[row]) + shift * float(weights.odds_sd[row])
    return float(sigmoid(weights.level + odds)) - weights.success


@cache
def _unit_runs() -> float:
    """Runs in each arm for a gain as large as the noise; the number falls with the square of their ratio."""
    from ..experiment.design import runs_for  # on first use: importing the engine takes a quarter of the tuner's import

    small = 0.01
    return runs_for(-math.expm1(-small), 1.0) * small**2


@cache
def _heights(runs: int) -> tuple[float, float]:
    """Return the heights of the A/B engine's boundaries, of a gain and of a kept score, after `runs` runs an arm."""
    from ..experiment.boundaries import GUARDRAIL, boundary
    from ..experiment.noninferiority import PROOF_LEVELS

    policy = Policy()
    most = policy.max_runs_per_arm
    share, first, step = min(runs / most, 1.0), policy.min_runs_per_arm / most, 0.5 / most
    gain = boundary(policy.rule, policy.proof_alpha, first, step)
    return gain.at(share), boundary(GUARDRAIL, PROOF_LEVELS["score"], first, step).at(share)
