"""Which suggestions are not worth a test now: another may be about to have its evidence, or no proof is in reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .._model.optimization import OptimizationPriority, OptimizationSuggestion, OptimizationType
from .evidence import observed
from .proposals import policy_of

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import Settings

EVIDENCE_RUNS: Final = 20
"""Runs of a plan from which on every built-in strategy has the evidence that it needs.

The most is what tells a useless member from an unlucky one: 16 runs without a success.
"""

LEAST_CHANCE: Final = 0.10
"""Probability of a proof below which a test does not start."""

_LEAST_SPREAD: Final = 0.01
"""Log standard deviation that a metric is always thought to have, however alike the last runs were."""

_URGENT: Final = (OptimizationPriority.CRITICAL, OptimizationPriority.HIGH)


def reason_to_wait(suggestion: OptimizationSuggestion, runs: Sequence[TeamRun], settings: Settings) -> str | None:
    """Return why a suggestion is not tested now, or None when nothing speaks against it.

    A test occupies a team for dozens of runs, and the next suggestion waits as long. So one that is not urgent does not
    start before all strategies could have spoken, and none starts that changes nothing or could hardly be proven with
    the runs it may have. What a third party's strategy suggests never waits: nobody here knows its evidence.

    Args:
        suggestion: What a strategy suggests.
        runs: The team's last comparable runs.
        settings: The team's settings.
    """
    if suggestion.type not in tuple(OptimizationType):
        return None
    if suggestion.metadata.get("changes_nothing"):
        return "no run so far would have come up against it, so there is nothing to prove"
    if suggestion.priority not in _URGENT and len(runs) < EVIDENCE_RUNS:
        return f"it is not urgent, and after {EVIDENCE_RUNS} runs of this plan something better may show"
    chance = _chance(suggestion, runs, settings)
    if chance is not None and chance < LEAST_CHANCE:
        most = settings.experiment.max_runs_per_arm
        return f"{most} runs in each arm would prove it with a probability of {100 * chance:.0f} % only"
    return None


def _chance(suggestion: OptimizationSuggestion, runs: Sequence[TeamRun], settings: Settings) -> float | None:
    """Return the probability that a test proves what is suggested; None where that can't be told."""
    from ..experiment import METRICS, Policy, chance_of_proof, log_spread

    metric, interval = suggestion.metadata.get("metric"), suggestion.metadata.get("interval_percent")
    if metric not in METRICS or metric == "score" or not interval:
        return None
    low, high = sorted(min(float(end) / 100, 0.99) for end in interval)
    try:
        spread = max(log_spread(metric, observed(runs)), _LEAST_SPREAD)
    except ValueError:  # too few runs with a value
        return None
    return chance_of_proof(low, high, spread, Policy.from_dict(policy_of(settings, metric)))
