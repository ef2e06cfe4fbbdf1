"""What is believed of one team: how long, how well and at what cost it runs under each plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .._model.plan import TeamPlan, TeamSpec
from .._model.run import TeamRun
from .plan_table import PlanTable
from .prior import (
    CROWDED_SHARE,
    NOISE_SD,
    PLAN_ODDS_SD,
    PLAN_SD,
    SAME_WORK_RUNS,
    SAME_WORK_SD,
    SHAPE_NOISE_SD,
    SHAPE_SD,
    TASK_SD,
    TOPOLOGY,
    TeamPrior,
    belief_of,
    crowded,
)
from .regression import Floats, Ints, LogRegression, MixedRegression, OutcomeRegression, RandomEffects, sigmoid
from .space import Shape
from .span_replay import CROWD, DURATION_NAMES, OUTCOME_NAMES, MemberHistory, SpanReplay, crowd_of, features_of

NEW_SETTING_SHARE: Final = 0.25
"""Weight of the runs before the models or the definition of the workflow changed."""

COST_FLOOR: Final = 1e-6

_MOST_TABLES: Final = 50

_ALIKE = [kind for kind, topology in TOPOLOGY.items() if topology == "independent"]
_SAME_WORK: Final = np.array([DURATION_NAMES.index(name) for kind in _ALIKE for name in (kind, f"{kind} log size")])
"""Places of what layouts add in which no member sees another's work."""

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

    A duration has two parts, each with a regression of its own: what all members take together, which differs much from
    run to run, and how long the run takes over what the replay of its own spans says, which hardly does. So a few runs
    of a layout tell how far its replay is off. A plan that ran has an effect of its own, which its runs narrow.

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
        failed_in_a_row: Runs since the last one in which the team, or a member of it, succeeded.
        metrics: Regressions of `duration` (all members' seconds), `cost` and `tool_calls`.
        shape: Regression of the log duration over the replay of the run's own spans.
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
        self.failed_in_a_row = 0
        self.setting = ""
        known = [list(prior.duration), list(prior.shape), list(prior.outcome)]
        if known != [DURATION_NAMES, DURATION_NAMES, OUTCOME_NAMES]:
            raise ValueError("the prior has other coefficients than the model; change those of shipped_prior()")
        calm, slowed, cost, calls = (
            LogRegression(belief_of(coefficients, level), NOISE_SD)
            for coefficients, level in (
                (prior.duration, None),
                (crowded(prior.duration), None),
                (prior.duration, 0.0),
                (prior.duration, 1.0),
            )
        )
        self.metrics: dict[str, LogRegression | MixedRegression] = {
            "duration": MixedRegression((calm, slowed), CROWDED_SHARE),
            "cost": cost,
            "tool_calls": calls,
        }
        self.shape = LogRegression(belief_of(prior.shape), SHAPE_NOISE_SD)
        self.outcome = OutcomeRegression(belief_of(prior.outcome))
        self.success = OutcomeRegression(belief_of(prior.outcome))
        self.tasks = RandomEffects(TASK_SD)
        self._own = {
            "duration": RandomEffects(PLAN_SD),
            "shape": RandomEffects(SHAPE_SD),
            "cost": RandomEffects(PLAN_SD),
            "tool_calls": RandomEffects(PLAN_SD),
            "score": RandomEffects(PLAN_ODDS_SD),
        }
        self._replay: tuple[PlanTable, SpanReplay] | None = None
        self._near: tuple[tuple[int, int, frozenset[int]], PlanTable] | None = None
        self._configured = PlanTable(spec, self.table.plans[:1])
        self._tables: dict[TeamPlan, PlanTable] = {}

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
        replay = SpanReplay(table, self.history)
        features, outcome = features_of(table, replay, slice(row, row + 1))
        x, o = features[0], outcome[0]
        if (crowd := crowd_of(run)) is not None:
            x[CROWD] = crowd
        self._learn_duration(run, x, table, row, replay)
        if run.cost_usd is not None:
            self.priced += 1
            value = math.log(run.cost_usd + COST_FLOOR)
            self._learn("cost", table.shapes[row].work, x, value - float(replay.log_work[row]))
        self._learn(
            "tool_calls", table.shapes[row].work, x, math.log(run.tool_calls + 0.5) - float(replay.log_calls[row])
        )
        if run.score is not None or not self._is_scored:
            self._learn_outcome(plan, o, run.outcome)
        self.success.learn(o, float(run.success))
        self.runs[plan] = self.runs.get(plan, 0) + 1
        self.total += 1
        worked = run.success or run.member_success_share > 0
        self.failed_in_a_row = 0 if worked else self.failed_in_a_row + 1
        if self.history.add(run, table.side_by_side(row)):
            self._replay = None

    def _learn(self, metric: str, work: Shape, features: Floats, value: float) -> None:
        regression, own = self.metrics[metric], self._own[metric]
        mean, variance = own.of(work)
        expected, _ = regression.belief.of(features)
        regression.learn(features, value - mean, known=variance)
        own.learn(work, value - expected, regression.variance)

    def _learn_duration(self, run: TeamRun, features: Floats, table: PlanTable, row: int, replay: SpanReplay) -> None:
        spans = self.history.spans(run, table.side_by_side(row))
        if spans is not None:
            own_seconds, setup = spans
            value = math.log(float((own_seconds + setup).sum())) - float(replay.log_work[row])
            alone = math.log(float(table.seconds(own_seconds, setup)[0, table.course[table.layout[row]]]))
            excess = math.log(max(run.duration_seconds, 1e-3)) - alone
            mean, variance = self._own["shape"].of(table.shapes[row].layout)
            expected, _ = self.shape.belief.of(features)
            self.shape.learn(features, excess - mean, known=variance)
            self._own["shape"].learn(table.shapes[row].layout, excess - expected, self.shape.variance)
        else:  # a deadline cut it, or its members' times were not seen: all that is known is how long it took
            value = math.log(max(run.duration_seconds, 1e-3)) - float(replay.log_seconds[row]) - replay.base
        regression, own = self.metrics["duration"], self._own["duration"]
        effect, variance = self.tasks.of(run.task_key) if run.task_key is not None else (0.0, 0.0)
        work = table.shapes[row].work
        mean, own_variance = own.of(work)
        expected, _ = regression.belief.of(features)
        regression.learn(features, value - effect - mean, known=variance + own_variance, censored=run.timed_out)
        if not run.timed_out:
            own.learn(work, value - effect - expected, regression.variance + variance)
            if run.task_key is not None:
                self.tasks.learn(run.task_key, value - mean - expected, regression.variance)

    def _learn_outcome(self, plan: TeamPlan, features: Floats, value: float) -> None:
        own = self._own["score"]
        level, _ = self.outcome.belief.of(features)
        mean, _ = own.of(plan)
        chance = float(sigmoid(level + mean))
        self.outcome.learn(features, value)
        # One Newton step: a run tells of the log odds with the inverse of the variance of its outcome.
        weight = max(chance * (1 - chance), 0.05)
        own.learn(plan, mean + (value - chance) / weight, self.outcome.dispersion / weight)

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

    def near(self, live: TeamPlan, knobs: int, also: Iterable[TeamPlan] = ()) -> PlanTable:
        """Return a table of the plans that compete with a live one, in the order of the team's own.

        Few plans are near to the live one, so that they are weighed in a third of the time that all would take.

        Args:
            live: The live plan, in the team's table.
            knobs: Most knobs that they change; none is looser.
            also: Plans of the team's table that are to be there, however far they are.

        Returns:
            The plan as configured, which what others take is relative to, the live plan, and those.
        """
        table, here = self.table, self.table.row_of[live]
        rows = frozenset(table.row_of[plan] for plan in also)
        key = here, knobs, rows
        if self._near is None or self._near[0] != key:
            chosen = (table.distance(here) <= knobs) & ~table.looser(here)
            chosen[[0, here, *rows]] = True
            self._near = key, PlanTable(self.spec, [table.plans[row] for row in np.flatnonzero(chosen).tolist()])
        return self._near[1]

    def _replay_of(self, table: PlanTable) -> SpanReplay:
        """Return what the plans of a table would have taken with the members' recent runs."""
        if self._replay is None or self._replay[0] is not table:
            self._replay = table, SpanReplay(table, self.history)
        return self._replay[1]

    def effects(
        self,
        rows: Ints,
        live: TeamPlan,
        metrics: Sequence[str],
        table: PlanTable | None = None,
        keeps: NDArray[np.bool_] | None = None,
    ) -> Effects:
        """Compare plans with a live plan.

        Args:
            rows: Rows of the table, shape (p,).
            metrics: Names of metrics; the score is always among the result.
            table: Another table with the live plan; None for the team's own.
            keeps: Whether each keeps the work by the data flow, so that its members do the same, shape (p,); None
                where none is known to.
        """
        table = self.table if table is None else table
        replay, here = self._replay_of(table), table.row_of[live]
        features, outcome = features_of(table, replay, np.append(rows, here))
        relative, graded = features[:-1] - features[-1], outcome[:-1] - outcome[-1]
        same_work = self._same_work(rows, table, keeps)
        logs: dict[str, Floats] = {}
        sds: dict[str, Floats] = {}
        offsets = _offsets(replay)
        changed = (table.layout[rows] != table.layout[here]).astype(np.float64)
        for metric in metrics:
            if metric == "score":
                continue
            belief = self.metrics[metric].belief
            mean, variance = belief.of_all(relative)
            for runs, those in same_work.items():
                sd = SAME_WORK_SD * math.sqrt(1 + runs / SAME_WORK_RUNS)
                mean[those], variance[those] = belief.given(_SAME_WORK, sd).of_all(relative[those])
            own, own_variance = self._differing(metric, table, rows, here)
            offset = offsets[metric]
            logs[metric] = mean + own + offset[rows] - offset[here]
            variance = variance + own_variance + changed * replay.variance[rows]
            if metric == "duration" and self.history.size:
                mean, more = self.shape.belief.of_all(relative)
                own, own_variance = self._differing("shape", table, rows, here)
                logs[metric] += mean + own
                variance += more + own_variance
            sds[metric] = np.sqrt(variance + _LEAST)
        mean, variance = self.outcome.belief.of_all(graded)
        own, own_variance = self._differing("score", table, rows, here)
        logs["score"], sds["score"] = mean + own, np.sqrt(variance + own_variance + _LEAST)
        # The graded outcome tells of differences with less noise, success alone tells the level.
        level, _ = self.success.belief.of(outcome[-1])
        return Effects(logs, sds, float(sigmoid(level)), level)

    def _same_work(self, rows: Ints, table: PlanTable, keeps: NDArray[np.bool_] | None) -> dict[int, list[int]]:
        """Return the places of those rows that keep the work, by how often their plans ran."""
        found: dict[int, list[int]] = {}
        for place in [] if keeps is None else np.flatnonzero(keeps).tolist():
            found.setdefault(self.runs.get(table.plans[int(rows[place])], 0), []).append(place)
        return found

    def _differing(self, metric: str, table: PlanTable, rows: Ints, here: int) -> tuple[Floats, Floats]:
        """Return mean and variance of what is the plans' own, less what is the live plan's."""
        effects = self._own[metric]
        numbers: dict[str, tuple[Mapping[Any, int], Ints]] = {
            "shape": (table.number_of, table.layout),
            "score": (table.row_of, table.row),
        }
        place_of, number = numbers.get(metric, (table.work_of, table.work))
        means, variances = (np.full(len(place_of), value) for value in effects.of(None))
        for key in effects.known:
            if (place := place_of.get(key)) is not None:
                means[place], variances[place] = effects.of(key)
        there, live = number[rows], number[here]
        differs = there != live
        return means[there] - means[live], (variances[there] + variances[live]) * differs

    def predict(self, plan: TeamPlan) -> tuple[float, float]:
        """Return mean and standard deviation of the log duration of the next run of a plan, of unknown difficulty.

        The scale is that of Student's t with `regression.TAIL_DF` degrees of freedom.

        Raises:
            KeyError: For a plan that the team can't run.
        """
        mean, variance = self._level("duration", plan)
        return mean, math.sqrt(variance + self.noise_variance("duration") + self.tasks.variance_of_new)

    def noise_variance(self, metric: str) -> float:
        """Return the variance of a metric's logarithm between runs of one plan."""
        more = self.shape.variance if metric == "duration" and self.history.size else 0.0
        return self.metrics[metric].variance + more

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
        replay = SpanReplay(table, self.history)
        features, _ = features_of(table, replay, slice(row, row + 1))
        mean, variance = self.metrics[metric].belief.of(features[0])
        own, own_variance = self._own[metric].of(table.shapes[row].work)
        mean, variance = mean + own + float(_offsets(replay)[metric][row]), variance + own_variance
        if metric == "duration":
            mean += replay.base
            if self.history.size:
                shape, more = self.shape.belief.of(features[0])
                own, own_variance = self._own["shape"].of(table.shapes[row].layout)
                mean, variance = mean + shape + own, variance + more + own_variance
        return mean, variance

    # --- plans

    def _row(self, plan: TeamPlan) -> tuple[PlanTable | None, int]:
        """Return a small table with the plan as configured and this one, and the row: cheaper than the whole table."""
        if plan == self.table.plans[0]:
            return self._configured, 0
        if plan not in self._tables:
            try:
                self._tables[plan] = PlanTable(self.spec, [self.table.plans[0], plan])
            except (KeyError, ValueError):
                return None, 0  # It ran with members, or a formation, that the team no longer has.
            if len(self._tables) > _MOST_TABLES:
                self._tables.pop(next(iter(self._tables)))
        return self._tables[plan], 1


def _offsets(replay: SpanReplay) -> dict[str, Floats]:
    """Return by metric what the plans are predicted to take, in logarithms, shape (p,) each."""
    return {"duration": replay.log_seconds, "cost": replay.log_work, "tool_calls": replay.log_calls}


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
