"""How many bad runs, and how much money, the tests of a team cost in a week beyond what its plan before would have.

A bad run failed, timed out, went missing, or took over three times the control's median.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from .._model.run import TREATMENT, Observation
from .suggestions import comparable, observed
from .worse_work import BAD, FAILED, REACHED

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._model.plan import Limits
    from .._model.run import TeamRun
    from .next_test import RunContext

WEEK_SECONDS: Final = 7 * 24 * 3600.0

TOO_SLOW: Final = 3.0
"""A run that took more than so many medians of the control is bad."""

SURE: Final = 2.0
"""How many standard deviations of chance extra bad runs must lie above a limit: a team whose runs fail by chance has a
few more of them under an equal plan now and then, and each run of a test is another occasion for it."""

RATE_RUNS: Final = 200
"""How many of a team's last runs tell the control's own rate of bad runs, beside those of the test."""


@frozen
class Exposure:
    """What the treatments of a team's tests cost beyond what the control's own rate would have given.

    Attributes:
        bad_runs: Bad runs of treatments.
        extra_bad_runs: Bad runs beyond the control's rate; negative where there were fewer.
        extra_cost_usd: US dollars beyond the control's mean cost; 0 where no price is known.
        variance: Variance of `extra_bad_runs` if treatments were no worse: where many fail anyway, or where few runs
            tell the control's rate, a few more of a treatment are no excess.
        failed_runs: Those of `bad_runs` that were not merely slow.
    """

    bad_runs: int = 0
    extra_bad_runs: float = 0.0
    extra_cost_usd: float = 0.0
    variance: float = 0.0
    failed_runs: int = 0

    def exceeds(self, limits: Limits) -> tuple[str, Mapping[str, Any]] | None:
        """Return which weekly limit is reached and why, with the figures; None when none is."""
        most, money = limits.max_bad_runs_per_week, limits.max_extra_cost_usd_per_week
        figures: dict[str, Any] = {"extra_bad_runs": self.extra_bad_runs, "extra_cost_usd": self.extra_cost_usd}
        if most is not None and self.extra_bad_runs - SURE * math.sqrt(self.variance) >= most:
            return (
                f"Tests of this team had {self.bad_runs} bad runs within a week, {self.extra_bad_runs:.1f} more than "
                f"the plan before would have had: limits.max_bad_runs_per_week is {most:g}.",
                {**figures, REACHED: "max_bad_runs_per_week", BAD: self.bad_runs, FAILED: self.failed_runs},
            )
        if money is not None and self.extra_cost_usd >= money:
            return (
                f"Tests of this team cost {self.extra_cost_usd:.2f} USD more within a week than the plan before would "
                f"have: limits.max_extra_cost_usd_per_week is {money:g}.",
                {**figures, REACHED: "max_extra_cost_usd_per_week"},
            )
        return None


def exposure(
    runs: Iterable[tuple[str, Observation]],
    before: Mapping[str, Sequence[Observation]] | None = None,
    task_effects: Mapping[str, float] | None = None,
) -> Exposure:
    """Return what a week's runs of tests cost.

    Args:
        runs: Each with the id of its experiment.
        before: Runs under an experiment's control from before its test, by its id. They make its rate surer.
        task_effects: Log effect of each task on the duration, which makes no run slow.
    """
    tests: dict[str, tuple[list[Observation], list[Observation]]] = {}
    for name, run in runs:
        tests.setdefault(name, ([], []))[run.arm == TREATMENT].append(run)
    effects = task_effects or {}
    total = Exposure()
    for name, (control, treatment) in tests.items():
        if not treatment:
            continue
        known = [*(before or {}).get(name, ()), *control]
        times = _seconds([run for run in known if not run.missing and not run.timed_out], effects)
        slow = TOO_SLOW * median(times) if times else math.inf
        bad = _bad(treatment, slow, effects)
        # A control that never failed so far may well fail once: a prior of one good run and half a bad one.
        rate = (_bad(known, slow, effects) + 0.5) / (len(known) + 1.5)
        of_one = rate * (1 - rate) * (1 + len(treatment) / len(known)) if known else 0.25
        extra = _mean_cost(treatment) - _mean_cost(control)
        total = Exposure(
            total.bad_runs + bad,
            total.extra_bad_runs + bad - rate * len(treatment),
            total.extra_cost_usd + (extra * len(treatment) if math.isfinite(extra) else 0.0),
            total.variance + of_one * len(treatment),
            total.failed_runs + _bad(treatment, math.inf, effects),
        )
    return total


def exceeded(context: RunContext, test: Experiment) -> tuple[str, Mapping[str, Any]] | None:
    """Return which weekly limit a run of a test's treatment brought the team to, and why; None when none."""
    run, limits = context.run, context.settings.limits
    if run.arm != TREATMENT or run.phase != "test":
        return None
    if limits.max_bad_runs_per_week is None and limits.max_extra_cost_usd_per_week is None:
        return None
    return exposure_now(context, test).exceeds(limits)


def exposure_now(context: RunContext, test: Experiment | None = None) -> Exposure:
    """Return what the tests of a team cost in the week up to the run.

    Args:
        test: The one that goes on, or None.
    """
    record = context.record
    week = record.test_runs_since(context.now - WEEK_SECONDS)
    effects = test.task_effects if test is not None and test.policy.metric == "duration" else None
    runs = record.runs(RATE_RUNS) if week else ()
    return exposure_of_week(week, runs, record.experiments if week else (), context.state, effects)


def exposure_of_week(
    week: Sequence[tuple[str, Observation]],
    runs: Sequence[TeamRun],
    experiments: Iterable[Experiment],
    state: TeamState,
    task_effects: Mapping[str, float] | None = None,
) -> Exposure:
    """Return what a week's runs of tests cost, with what other runs of their controls tell of the rate.

    Args:
        week: The runs of tests, each with the id of its experiment.
        runs: The team's last `RATE_RUNS` runs, newest first.
        experiments: The team's experiments.
        state: The team's state.
        task_effects: See `exposure`.
    """
    tested = {name for name, _ in week}
    before = {
        one.id: observed(
            comparable([run for run in runs if run.experiment_id != one.id], evolve(state, plan=one.control))
        )
        for one in experiments
        if one.id in tested
    }
    return exposure(week, before, task_effects)


# Both look at thousands of runs after each run of a busy team's test, so they call nothing for each of these.


def _seconds(runs: Sequence[Observation], task_effects: Mapping[str, float]) -> list[float]:
    if not task_effects:
        return [run.duration_seconds for run in runs]
    return [run.duration_seconds * math.exp(-task_effects.get(run.task_key or "", 0.0)) for run in runs]


def _bad(runs: Sequence[Observation], slow: float, task_effects: Mapping[str, float]) -> int:
    taken = zip(runs, _seconds(runs, task_effects), strict=True)
    return sum([bool(run.missing) or not run.success or run.timed_out or seconds > slow for run, seconds in taken])


def _mean_cost(runs: Iterable[Observation]) -> float:
    costs = [run.cost_usd for run in runs if run.cost_usd is not None and not run.missing]
    return math.fsum(costs) / len(costs) if costs else math.nan
