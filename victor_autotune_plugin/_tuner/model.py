"""What is believed of one team: how long, how well and at what cost it runs under each plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from attrs import frozen

from .._model.plan import TeamPlan, TeamSpec
from . import prior_data
from .facts import RunFacts
from .features import DURATION_NAMES, DURATION_WORKLOAD, OUTCOME_NAMES, OUTCOME_WORKLOAD, Rows, features_of
from .history import Forecast, MemberHistory
from .normal import Floats, sigmoid
from .prior import Evidence, Prior, TeamBelief
from .regression import Belief, LogRegression, OutcomeRegression
from .slots import SLOTS, belief_of, differences
from .space import Shape, shape_of
from .table import Ints, PlanTable
from .tasks import TaskEffects

NEW_SETTING_SHARE: Final = 0.25
"""What runs count for after the models, the workflow's definition or another setting changed."""

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
        spec: The team as configured.
        plans: The plans that may be proposed, the one as configured first.
        prior: What is believed before the first run.

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

    def __init__(self, spec: TeamSpec, plans: Sequence[TeamPlan], prior: Prior) -> None:
        self.spec = spec
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
            raise ValueError("the prior is of another version's model; learn it again with fleet_prior")
        self.metrics = {
            metric: LogRegression(belief_of(prior.duration, prior_data.LAYOUT_SD, level), prior_data.NOISE_SD)
            for metric, level in (("duration", None), ("cost", 0.0), ("tool_calls", 1.0))
        }
        self.outcome = OutcomeRegression(belief_of(prior.outcome, prior_data.LAYOUT_ODDS_SD, None))
        self.success = OutcomeRegression(belief_of(prior.outcome, prior_data.LAYOUT_ODDS_SD, None))
        self.tasks = TaskEffects(prior_data.TASK_SD)
        self._forecast: Forecast | None = None
        self._configured = PlanTable(spec, self.table.plans[:1])
        self._own: dict[TeamPlan, PlanTable] = {}

    # --- learning

    def observe(self, facts: RunFacts) -> None:
        """Take one finished run into account, in constant time."""
        if self.setting and facts.setting and facts.setting != self.setting:
            self.discount(NEW_SETTING_SHARE)
        self.setting = facts.setting or self.setting
        table, row = self._row(facts.plan)
        if table is None:
            return
        forecast = Forecast(table, self.history)
        workload = self.history.workload(facts)
        self._use_slot(facts.plan)
        features, outcome = self._features(table, forecast, slice(row, row + 1))
        x, o = self._with_slot(features[0], facts.plan), self._with_slot(outcome[0], facts.plan)
        x[DURATION_WORKLOAD] = o[OUTCOME_WORKLOAD] = workload
        self._learn_duration(facts, x, float(forecast.log_seconds[row]))
        if facts.cost_usd is not None:
            self.priced += 1
            value = math.log(facts.cost_usd + COST_FLOOR)
            self.metrics["cost"].learn(x, value - float(forecast.log_work[row]))
        self.metrics["tool_calls"].learn(x, math.log(facts.tool_calls + 0.5) - float(forecast.log_calls[row]))
        self.outcome.learn(o, facts.score)
        self.success.learn(o, float(facts.success))
        self.runs[facts.plan] = self.runs.get(facts.plan, 0) + 1
        self.total += 1
        self._workload_variance += (workload**2 - self._workload_variance) / self.total
        if self.history.add(facts):
            self._forecast = None

    def _learn_duration(self, facts: RunFacts, features: Floats, offset: float) -> None:
        regression = self.metrics["duration"]
        effect, variance = self.tasks.of(facts.task_key)
        value = math.log(max(facts.duration_seconds, 1e-3)) - offset - effect
        expected, _ = regression.belief.of(features)
        regression.learn(features, value, known=variance, censored=facts.timed_out)
        if not facts.timed_out:
            self.tasks.learn(facts.task_key, value + effect - expected, regression.variance)

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
            live: The plan to compare with.
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
        features, outcome = self._features(table, forecast, both)
        slots = self._slots_of(table, both)
        logs: dict[str, Floats] = {}
        sds: dict[str, Floats] = {}
        offsets = {"duration": forecast.log_seconds, "cost": forecast.log_work, "tool_calls": forecast.log_calls}
        changed = (table.layout[chosen] != table.layout[here]).astype(np.float64)
        untested = changed * ((slots[:-1] < 0).astype(np.float64) + float(slots[-1] < 0))
        relative = differences(features, slots)
        for metric in metrics:
            if metric == "score":
                continue
            mean, variance = self.metrics[metric].belief.of_all(relative)
            offset = offsets[metric]
            own = prior_data.LAYOUT_SD**2 * untested + 2 * prior_data.PLAN_SD**2
            logs[metric] = mean + offset[chosen] - offset[here]
            sds[metric] = np.sqrt(variance + own + changed * forecast.variance[chosen] + _LEAST)
        mean, variance = self.outcome.belief.of_all(differences(outcome, slots))
        own = prior_data.LAYOUT_ODDS_SD**2 * untested + 2 * prior_data.PLAN_ODDS_SD**2
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
        table, row = self._row(plan)
        if table is None:
            raise KeyError(plan.describe())
        forecast = Forecast(table, self.history)
        features, _ = self._features(table, forecast, slice(row, row + 1))
        regression = self.metrics["duration"]
        mean, variance = regression.belief.of(self._with_slot(features[0], plan))
        variance += self.noise_variance("duration") + self.tasks.variance_of_new
        variance += 0.0 if shape_of(self.spec, plan).layout in self._slots else prior_data.LAYOUT_SD**2
        return mean + float(forecast.log_seconds[row]), math.sqrt(variance)

    def noise_variance(self, metric: str) -> float:
        """Return the variance of a metric's logarithm between runs of one plan, of which the workload is not known."""
        regression = self.metrics[metric]
        slope = float(regression.belief.mean[DURATION_WORKLOAD])
        return regression.variance + slope**2 * self._workload_variance

    def level(self, metric: str, plan: TeamPlan) -> float:
        """Return the mean logarithm of a metric under a plan of the team.

        Args:
            metric: `duration`, `cost` or `tool_calls`.
            plan: The plan.
        """
        table, row = self._row(plan)
        if table is None:
            raise KeyError(plan.describe())
        forecast = Forecast(table, self.history)
        features, _ = self._features(table, forecast, slice(row, row + 1))
        offset = {"duration": forecast.log_seconds, "cost": forecast.log_work, "tool_calls": forecast.log_calls}[metric]
        mean, _ = self.metrics[metric].belief.of(self._with_slot(features[0], plan))
        return mean + float(offset[row])

    def shared(self) -> TeamBelief:
        """Return what was learnt as another team's prior can use it."""
        return TeamBelief(
            Evidence.between(self.prior.duration, self.metrics["duration"].belief),
            Evidence.between(self.prior.outcome, self.outcome.belief),
        )

    # --- plans

    def _features(self, table: PlanTable, forecast: Forecast, rows: Rows) -> tuple[Floats, Floats]:
        return features_of(table, forecast, rows)

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

    # --- keeping

    def to_dict(self) -> dict[str, Any]:
        """Return the belief as JSON-able data of at most 100 kB; `load` takes it over bit for bit."""
        return {
            "names": [list(self.prior.duration), list(self.prior.outcome)],
            "metrics": {name: regression.to_dict() for name, regression in self.metrics.items()},
            "outcome": self.outcome.to_dict(),
            "success": self.success.to_dict(),
            "tasks": self.tasks.to_dict(),
            "history": self.history.to_dict(),
            "runs": [[plan.to_dict(), count] for plan, count in self.runs.items()],
            "slots": [layout.to_dict() for layout in self._slots],
            "total": self.total,
            "priced": self.priced,
            "workload variance": self._workload_variance,
            "setting": self.setting,
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_dict` wrote.

        Raises:
            ValueError: If it is damaged, of another team, or of another version's model.
            KeyError: The same.
            TypeError: The same.
        """
        if data["names"] != [list(self.prior.duration), list(self.prior.outcome)]:
            raise ValueError("the state is of another version's model")
        slots = [Shape.from_dict(layout) for layout in data["slots"]]
        if len(slots) > SLOTS:
            raise ValueError("the state is of another version's model")
        for name, regression in self.metrics.items():
            regression.load(data["metrics"][name])
        self.outcome.load(data["outcome"])
        self.success.load(data["success"])
        self.tasks.load(data["tasks"])
        self.history.load(data["history"])
        self.runs = {TeamPlan.from_dict(plan): int(count) for plan, count in data["runs"]}
        self._workload_variance = float(data["workload variance"])
        self.priced = int(data["priced"])
        self._slots, self.total, self.setting = slots, int(data["total"]), str(data["setting"])
        self._forecast = None
