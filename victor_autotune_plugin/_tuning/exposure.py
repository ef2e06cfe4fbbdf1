"""How many bad runs, and how much money, the tests of a team cost in a week beyond what its plan before would have.

A bad run failed, timed out, went missing, or took over three times the control's median.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._model.run import TREATMENT, Observation

if TYPE_CHECKING:
    from .._model.plan import Limits
    from .next_test import RunContext

WEEK_SECONDS: Final = 7 * 24 * 3600.0

TOO_SLOW: Final = 3.0
"""A run that took more than so many medians of the control is bad."""


@frozen
class Exposure:
    """What the treatments of a team's tests cost beyond what the control's own rate would have given.

    Attributes:
        bad_runs: Bad runs of treatments.
        extra_bad_runs: Bad runs beyond the control's rate; negative where there were fewer.
        extra_cost_usd: US dollars beyond the control's mean cost; 0 where no price is known.
    """

    bad_runs: int = 0
    extra_bad_runs: float = 0.0
    extra_cost_usd: float = 0.0

    def exceeds(self, limits: Limits) -> tuple[str, Mapping[str, Any]] | None:
        """Return which weekly limit is reached and why, with the figures; None when none is."""
        most, money = limits.max_bad_runs_per_week, limits.max_extra_cost_usd_per_week
        figures = {"extra_bad_runs": self.extra_bad_runs, "extra_cost_usd": self.extra_cost_usd}
        if most is not None and self.extra_bad_runs >= most:
            return (
                f"Tests of this team had {self.bad_runs} bad runs within a week, {self.extra_bad_runs:.1f} more than "
                f"the plan before would have had: limits.max_bad_runs_per_week is {most:g}.",
                figures,
            )
        if money is not None and self.extra_cost_usd >= money:
            return (
                f"Tests of this team cost {self.extra_cost_usd:.2f} USD more within a week than the plan before would "
                f"have: limits.max_extra_cost_usd_per_week is {money:g}.",
                figures,
            )
        return None


def exposure(runs: Iterable[tuple[str, Observation]]) -> Exposure:
    """Return what a week's runs of tests cost; each with the id of its experiment."""
    tests: dict[str, tuple[list[Observation], list[Observation]]] = {}
    for name, run in runs:
        tests.setdefault(name, ([], []))[run.arm == TREATMENT].append(run)
    total = Exposure()
    for control, treatment in tests.values():
        if not treatment:
            continue
        times = [run.duration_seconds for run in control if not run.missing and not run.timed_out]
        slow = TOO_SLOW * median(times) if times else math.inf
        bad = sum(_is_bad(run, slow) for run in treatment)
        # A control that never failed so far may well fail once: a prior of one good run and half a bad one.
        rate = (sum(_is_bad(run, slow) for run in control) + 0.5) / (len(control) + 1.5)
        extra = _mean_cost(treatment) - _mean_cost(control)
        total = Exposure(
            total.bad_runs + bad,
            total.extra_bad_runs + bad - rate * len(treatment),
            total.extra_cost_usd + (extra * len(treatment) if math.isfinite(extra) else 0.0),
        )
    return total


def exceeded(context: RunContext) -> tuple[str, Mapping[str, Any]] | None:
    """Return which weekly limit a run of a test's treatment brought the team to, and why; None when none."""
    run, limits = context.run, context.settings.limits
    if run.arm != TREATMENT or run.phase != "test":
        return None
    if limits.max_bad_runs_per_week is None and limits.max_extra_cost_usd_per_week is None:
        return None
    return exposure_now(context).exceeds(limits)


def exposure_now(context: RunContext) -> Exposure:
    """Return what the tests of a team cost in the week up to the run."""
    return exposure(context.record.test_runs_since(context.now - WEEK_SECONDS))


def _is_bad(run: Observation, slow: float) -> bool:
    return bool(run.missing) or not run.success or run.timed_out or run.duration_seconds > slow


def _mean_cost(runs: Iterable[Observation]) -> float:
    costs = [run.cost_usd for run in runs if run.cost_usd is not None and not run.missing]
    return math.fsum(costs) / len(costs) if costs else math.nan
