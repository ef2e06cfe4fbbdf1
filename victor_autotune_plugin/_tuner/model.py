"""What is believed of one team: how long, how well and at what cost it runs under each plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from attrs import frozen

from .._model.plan import TeamPlan, TeamSpec
from .._model.run import TeamRun
from .forecast import (
    DURATION_NAMES,
    DURATION_WORKLOAD,
    OUTCOME_NAMES,
    OUTCOME_WORKLOAD,
    Forecast,
    MemberHistory,
    differences,
    features_of,
)
from .plan_table import Ints, PlanTable
from .prior import (
    LAYOUT_ODDS_SD,
    LAYOUT_SD,
    NOISE_SD,
    PLAN_ODDS_SD,
    PLAN_SD,
    SLOTS,
    TASK_SD,
    Likelihood,
    TeamBelief,
    TeamPrior,
    belief_of,
)
from .regression import Belief, Floats, LogRegression, OutcomeRegression, TaskEffects, sigmoid
from .space import Shape, shape_of

NEW_SETTING_SHARE: Final = 0.25
"""Weight of the runs before the models or the definition of the workflow changed."""

COST_FLOOR: Final = 1e-6

_LEAST: Final = 1e-6
"""Least variance of a difference: a plan is no surer than that to be itself."""


@frozen
class Effects:
    """What is believed of some plans, relative to a live plan. Arrays of shape (p,).

    Attributes:
        log: Mean of the log ratio of each metric that was asked for; for `score` the log odds, more being better.
        sd: Standard deviation of each, of the ratio of two plans' averages.
        success: Success share of the live plan.
        level: Log odds of it.
    """

    log: Mapping[str, Floats]
    sd: Mapping[str, Floats]
    success: float
    level: float


class TeamModel:
    """The belief about one team.

    Args:
        plans: The plans that may be proposed, the one as configured first.
        prior: What is believed before the first run.
        is_scored: Whether scorers tell how good the work is; then a run without a score tells nothing of it.

    Attributes:
        table: The plans as arrays.
        history: What the members took lately.
        runs: Runs so far, by plan.
        total: Runs so far.
        priced: Runs so far whose cost is known.
        metrics: Regressions of `duration`, `cost` and `tool_calls`.
        outcome: Regression of the graded score, in log odds of success.
        success: Regression of success alone.
        tasks: How slow single tasks are.

    Raises:
        ValueError: For a prior with other coefficients than the model has.
    """

    def __init__(self, spec: TeamSpec, plans: Sequence[TeamPlan], prior: TeamPrior, *, is_scored: bool = False) -> None:
        self.spec = spec
        self._is_scored = is_scored
        self.prior = prior
        self.table = PlanTable(spec, plans)
        self.history = MemberHistory(spec.member_ids)
        self.runs: dict[TeamPlan, int] = {}
        self.total = 0
        self.priced = 0
        self.setting = ""
        self._workload_variance = 0.0
        self._slots: list[Shape] = []
        if list(prior.duration) != DURATION_NAMES or list(prior.outcome) != OUTCOME_NAMES:
            raise ValueError("the prior has other coefficients than the model; make one with fleet_prior")
        self.metrics = {
            metric: LogRegression(belief_of(prior.duration, LAYOUT_SD, level), NOISE_SD)
            for metric, level in (("duration", None), ("cost", 0.0), ("tool_calls", 1.0))
        }
        self.outcome = OutcomeRegression(belief_of(prior.outcome, LAYOUT_ODDS_SD, None))
        self.success = OutcomeRegression(belief_of(prior.outcome, LAYOUT_ODDS_SD, None))
        self.tasks = TaskEffects(TASK_SD)
        self._forecast: Forecast | None = None
        self._configured = PlanTable(spec, self.table.plans[:1])
        self._own: dict[TeamPlan, PlanTable] = {}

    # --- learning

    def observe(self, run: TeamRun, plan: TeamPlan) -> None:
        """Take one finished run into account, in constant time.

        Args:
            plan: The team's plan that runs as the one that the run was asked for.

        Raises:
            ValueError: For a run with an impossible figure, naming it.
        """
        _check(run)
        setting = _setting(run)
        if self.setting and setting != self.setting:
            self.discount(NEW_SETTING_SHARE)
        self.setting = setting
        table, row = self._row(plan)
        if table is None:
            return
        forecast = Forecast(table, self.history)
        workload = self.history.workload(run)
        self._use_slot(plan)
        features, outcome = features_of(table, forecast, slice(row, row + 1))
        x, o = self._with_slot(features[0], plan), self._with_slot(outcome[0], plan)
        x[DURATION_WORKLOAD] = o[OUTCOME_WORKLOAD] = workload
        self._learn_duration(run, x, float(forecast.log_seconds[row]))
        if run.cost_usd is not None:
            self.priced += 1
            value = math.log(run.cost_usd + COST_FLOOR)
            self.metrics["cost"].learn(x, value - float(forecast.log_work[row]))
        self.metrics["tool_calls"].learn(x, math.log(run.tool_calls + 0.5) - float(forecast.log_calls[row]))
        if run.score is not None or not self._is_scored:
            self.outcome.learn(o, run.outcome)
        self.success.learn(o, float(run.success))
        self.runs[plan] = self.runs.get(plan, 0) + 1
        self.total += 1
        self._workload_variance += (workload**2 - self._workload_variance) / self.total
        if self.history.add(run):
            self._forecast = None

    def _learn_duration(self, run: TeamRun, features: Floats, offset: float) -> None:
        regression = self.metrics["duration"]
        effect, variance = self.tasks.of(run.task_key)
        value = math.log(max(run.duration_seconds, 1e-3)) - offset - effect
        expected, _ = regression.belief.of(features)
        regression.learn(features, value, known=variance, censored=run.timed_out)
        if not run.timed_out:
            self.tasks.learn(run.task_key, value + effect - expected, regression.variance)

    def discount(self, share: float) -> None:
        """Let what was learnt so far count for a share of what it did; counts of runs stay.

        Args:
            share: In [0, 1].
        """
        for regression in self.metrics.values():
            regression.discount(share)
        self.outcome.discount(share)
        self.success.discount(share)

    # --- asking

    @property
    def forecast(self) -> Forecast:
        """What the plans are predicted to take from their members alone, up to date."""
        if self._forecast is None:
            self._forecast = Forecast(self.table, self.history)
        return self._forecast

    def effects(self, rows: Ints, live: TeamPlan, metrics: Sequence[str], table: PlanTable | None = None) -> Effects:
        """Compare plans with a live plan.

        Args:
            rows: Rows of the table, shape (p,).
            metrics: Names of metrics; the score is always among the result.
            table: Another table, whose first plan is the live one; None for the team's own.
        """
        chosen = rows
        if table is None:
            table, forecast = self.table, self.forecast
            here = table.row_of[live]
        else:
            forecast, here = Forecast(table, self.history), 0
        both = np.append(chosen, here)
        features, outcome = features_of(table, forecast, both)
        slots = self._slots_of(table, both)
        logs: dict[str, Floats] = {}
        sds: dict[str, Floats] = {}
        offsets = _offsets(forecast)
        changed = (table.layout[chosen] != table.layout[here]).astype(np.float64)
        untested = changed * ((slots[:-1] < 0).astype(np.float64) + float(slots[-1] < 0))
        relative = differences(features, slots)
        for metric in metrics:
            if metric == "score":
                continue
            mean, variance = self.metrics[metric].belief.of_all(relative)
            offset = offsets[metric]
            own = LAYOUT_SD**2 * untested + 2 * PLAN_SD**2
            logs[metric] = mean + offset[chosen] - offset[here]
            sds[metric] = np.sqrt(variance + own + changed * forecast.variance[chosen] + _LEAST)
        mean, variance = self.outcome.belief.of_all(differences(outcome, slots))
        own = LAYOUT_ODDS_SD**2 * untested + 2 * PLAN_ODDS_SD**2
        logs["score"], sds["score"] = mean, np.sqrt(variance + own + _LEAST)
        # The graded outcome tells of differences with less noise, success alone tells the level.
        level, _ = self.success.belief.of(self._with_slot(outcome[-1], live))
        return Effects(logs, sds, float(sigmoid(level)), level)

    def predict(self, plan: TeamPlan) -> tuple[float, float]:
        """Return mean and standard deviation of the log duration of the next run of a plan, of unknown difficulty.

        The scale is that of Student's t with `regression.TAIL_DF` degrees of freedom.

        Raises:
            KeyError: For a plan that the team can't run.
        """
        mean, variance = self._level("duration", plan)
        variance += self.noise_variance("duration") + self.tasks.variance_of_new
        variance += 0.0 if shape_of(self.spec, plan).layout in self._slots else LAYOUT_SD**2
        return mean, math.sqrt(variance)

    def noise_variance(self, metric: str) -> float:
        """Return the variance of a metric's logarithm between runs of one plan, of which the workload is not known."""
        regression = self.metrics[metric]
        slope = float(regression.belief.mean[DURATION_WORKLOAD])
        return regression.variance + slope**2 * self._workload_variance

    def level(self, metric: str, plan: TeamPlan) -> float:
        """Return the mean logarithm of a metric under a plan of the team.

        Args:
            metric: `duration`, `cost` or `tool_calls`.
        """
        return self._level(metric, plan)[0]

    def _level(self, metric: str, plan: TeamPlan) -> tuple[float, float]:
        """Return the mean logarithm of a metric under a plan, and the variance of that mean."""
        table, row = self._row(plan)
        if table is None:
            raise KeyError(plan.describe())
        forecast = Forecast(table, self.history)
        features, _ = features_of(table, forecast, slice(row, row + 1))
        mean, variance = self.metrics[metric].belief.of(self._with_slot(features[0], plan))
        return mean + float(_offsets(forecast)[metric][row]), variance

    def shared(self) -> TeamBelief:
        """Return what was learnt as another team's prior can use it."""
        return TeamBelief(
            Likelihood.between(self.prior.duration, self.metrics["duration"].belief),
            Likelihood.between(self.prior.outcome, self.outcome.belief),
        )

    # --- plans

    def _row(self, plan: TeamPlan) -> tuple[PlanTable | None, int]:
        """Return a small table with the plan as configured and this one, and the row: cheaper than the whole table."""
        if plan == self.table.plans[0]:
            return self._configured, 0
        if plan not in self._own:
            try:
                self._own[plan] = PlanTable(self.spec, [self.table.plans[0], plan])
            except (KeyError, ValueError):
                return None, 0  # It ran with members, or a formation, that the team no longer has.
            if len(self._own) > 4 * SLOTS:
                self._own.pop(next(iter(self._own)))
        return self._own[plan], 1

    def _use_slot(self, plan: TeamPlan) -> None:
        layout = shape_of(self.spec, plan).layout
        if layout in self._slots:
            return
        if len(self._slots) < SLOTS:
            self._slots.append(layout)
            return
        counts = dict.fromkeys(self._slots, 0)
        for other, count in self.runs.items():
            key = shape_of(self.spec, other).layout
            if key in counts:
                counts[key] += count
        number = min(range(SLOTS), key=lambda slot: counts[self._slots[slot]])
        self._slots[number] = layout
        for belief in self._beliefs():
            belief.forget([len(belief.mean) - SLOTS + number])

    def _beliefs(self) -> list[Belief]:
        return [*(regression.belief for regression in self.metrics.values()), self.outcome.belief, self.success.belief]

    def _with_slot(self, features: Floats, plan: TeamPlan) -> Floats:
        full = np.concatenate([features, np.zeros(SLOTS)])
        layout = shape_of(self.spec, plan).layout
        if layout in self._slots:
            full[len(features) + self._slots.index(layout)] = 1.0
        return full

    def _slots_of(self, table: PlanTable, rows: Ints) -> Ints:
        """Return the slot of each of a table's rows, -1 without."""
        of_layout: Ints = np.full(len(table.layouts), -1, dtype=np.int64)
        for number, layout in enumerate(self._slots):
            found = table.number_of.get(layout)
            if found is not None:
                of_layout[found] = number
        return of_layout[table.layout[rows]]


def _offsets(forecast: Forecast) -> dict[str, Floats]:
    """Return by metric what the plans are predicted to take, in logarithms, shape (p,) each."""
    return {"duration": forecast.log_seconds, "cost": forecast.log_work, "tool_calls": forecast.log_calls}


def _setting(run: TeamRun) -> str:
    """Return a name of what results depend on besides the plan: the definition of the team, and its models."""
    models = {model for member in run.members for model in member.models}
    return " ".join([run.spec.fingerprint(), *sorted(models)])


def _check(run: TeamRun) -> None:
    for name in ("duration_seconds", "cost_usd"):
        value = getattr(run, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number from 0, not {value!r}")
    if not 0 <= run.outcome <= 1:
        raise ValueError(f"the outcome must be a number from 0 to 1, not {run.outcome!r}")
