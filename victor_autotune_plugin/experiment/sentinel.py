"""An alarm over the runs of a live plan: e-detectors of a change to the worse, against the plan's own last runs.

Each detector bets against "this run is like the last ones": its e-value has a mean of 1 at most while that is true. The
sum over all runs at which a change may have begun is a Shiryaev-Roberts statistic, `R <- (1 + R) e`; a weighted mean of
such sums reaches a threshold `A` after `A` runs at the soonest on average while nothing changes (Shin, Ramdas and
Rinaldo, *E-detectors: a nonparametric framework for sequential change detection*, 2023).

Durations, costs and scores are bet on by the normal scores of their ranks among the last runs, so that heavy tails and
timeouts weigh no more than a slow run. Before they are ranked, what the last runs foretell is taken off
(`Prewhitening`), or runs that are alike with their neighbours, and a daily cycle, would alarm again and again.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from typing import Final

from .._model.policy import WatchPolicy
from .._model.run import Observation
from .boundaries import NORMAL
from .prewhitening import Prewhitening
from .primary import log_value, work_of
from .reverification import metric_value

WINDOW: Final = 300
"""Last runs of the plan that a run is compared with."""

LAG: Final = 5
"""Last runs that are not compared with yet, so that the first runs after a change are not compared with each other."""

RUNS_PER_LAG: Final = 12
"""Runs to compare with per run that waits; where there are few, each is needed."""

FIRST_BET: Final = 8
"""Runs that are learnt from before the first bet."""

STAKES: Final = (0.4, 0.8, 1.3, 1.9)
"""Stakes on a rank's normal score: the shifts that each is best for, in standard deviations."""

RISES: Final = (0.15, 0.35, 0.7)
"""Alternatives for the share of bad runs: so much of the way from what it was to 1."""

WEIGHTS: Final = {"metric": 0.55, "success": 0.15, "score": 0.1, "cost": 0.1, "loss": 0.1}
"""Weights of the detectors in the mean; they add up to 1, so what is not measured only costs time."""

MODEL_RUNS: Final = 5
"""Runs whose models are known before another model is an alarm."""

MODEL_WINDOW: Final = 20
"""Runs within which so many answers of another model are an alarm as there must be."""

_HALVES: Final = tuple(stake * stake / 2 for stake in STAKES)


class RankDetector:
    """Detects that values grow, by normal scores of their ranks."""

    def __init__(self) -> None:
        self._whitening = Prewhitening(WINDOW)
        self._newest: deque[float] = deque()
        self._last: deque[float] = deque()
        self._ordered: list[float] = []
        self._sums = [0.0] * len(STAKES)

    def keep_from(self, earlier: RankDetector) -> None:
        """Keep how neighbours were alike, at half the weight, of a detector of runs before a change of the world."""
        self._whitening.keep_from(earlier._whitening)

    def learn(self, value: float) -> None:
        """Take a value as one to compare with, without a bet."""
        self._keep(self._whitening.residual(value))

    def bet(self, value: float) -> None:
        """Bet on a value, then keep it to compare with."""
        rest = self._whitening.residual(value)
        ordered, n = self._ordered, len(self._ordered)
        if n >= FIRST_BET:
            below = bisect_left(ordered, rest)
            middle = (below + bisect_right(ordered, rest, below) + 1) / 2
            score = NORMAL.inv_cdf(middle / (n + 1))
            sums = self._sums
            for k, stake in enumerate(STAKES):
                sums[k] = (1 + sums[k]) * math.exp(stake * score - _HALVES[k])
        self._keep(rest)

    def _keep(self, rest: float) -> None:
        self._newest.append(rest)
        while len(self._newest) > min(LAG, len(self._ordered) // RUNS_PER_LAG):
            self._last.append(self._newest.popleft())
            insort(self._ordered, self._last[-1])
        if len(self._last) > WINDOW:
            del self._ordered[bisect_left(self._ordered, self._last.popleft())]

    @property
    def sum(self) -> float:
        """The Shiryaev-Roberts sum."""
        return sum(self._sums) / len(STAKES)

    @property
    def spread(self) -> float:
        """Standard deviation of the last values; 0 while it is not known."""
        return self._whitening.spread


class ShareDetector:
    """Detects that the share of bad runs grows."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque()
        self._bad = 0
        self._sums = [0.0] * len(RISES)

    def learn(self, bad: bool) -> None:
        """Take a run as one to compare with, without a bet."""
        self._last.append(bad)
        self._bad += bad
        if len(self._last) > WINDOW:
            self._bad -= self._last.popleft()

    def bet(self, bad: bool) -> None:
        """Bet on a run, then keep it to compare with."""
        n = len(self._last)
        if n >= FIRST_BET:
            # Rather too high: a few runs may show a share too low, and every usual failure would win against that.
            usual = min((self._bad + 1 + 0.5 * math.sqrt(self._bad + 1)) / (n + 2), 0.95)
            for k, rise in enumerate(RISES):
                raised = usual + rise * (1 - usual)
                self._sums[k] = (1 + self._sums[k]) * (raised / usual if bad else (1 - raised) / (1 - usual))
        self.learn(bad)

    @property
    def sum(self) -> float:
        """The Shiryaev-Roberts sum."""
        return sum(self._sums) / len(RISES)


class ModelChange:
    """Detects that another provider or model answers.

    Args:
        needed: Runs with another one, among the last `MODEL_WINDOW`, that are an alarm.
    """

    def __init__(self, needed: int) -> None:
        self._needed = needed
        self._last: deque[str] = deque(maxlen=WINDOW)
        self._new: deque[tuple[int, str]] = deque()
        self._runs = 0
        self._known: dict[str, int] = {}

    def learn(self, models: str) -> None:
        """Take a run's models as known; empty ones tell nothing."""
        if not models:
            return
        if len(self._last) == WINDOW:
            oldest = self._last[0]
            self._known[oldest] -= 1
            if not self._known[oldest]:
                del self._known[oldest]
        self._last.append(models)
        self._known[models] = self._known.get(models, 0) + 1

    def bet(self, models: str) -> str:
        """Look at a run's models; return those that are new when it is an alarm, else an empty text."""
        if not models:
            return ""
        self._runs += 1
        if models in self._known or len(self._last) < MODEL_RUNS:
            self.learn(models)
            return ""
        self._new.append((self._runs, models))
        while self._new[0][0] <= self._runs - MODEL_WINDOW:
            self.learn(self._new.popleft()[1])
        return models if len(self._new) >= self._needed else ""

    @property
    def usual(self) -> str:
        """The models that answered most of the last runs; empty when none is known."""
        return max(self._known, key=lambda name: self._known[name], default="")


class Sentinel:
    """All detectors over a live plan's runs.

    Args:
        policy: Rules of the watch.
        model_runs: Runs with another model that are an alarm.
    """

    def __init__(self, policy: WatchPolicy, model_runs: int = 1) -> None:
        self._policy = policy
        self._ranks = {name: RankDetector() for name in ("metric", "score", "cost")}
        self._shares = {"success": ShareDetector(), "loss": ShareDetector()}
        self._detectors: dict[str, RankDetector | ShareDetector] = {**self._ranks, **self._shares}
        self._models = ModelChange(model_runs)
        self._graded = False
        self.new_models = ""

    def keep_from(self, earlier: Sentinel) -> None:
        """Keep how neighbours were alike; the level of what comes may be another one."""
        for name, detector in self._ranks.items():
            detector.keep_from(earlier._ranks[name])

    def learn(self, runs: Iterable[Observation]) -> None:
        """Take runs as those to compare with."""
        for run in runs:
            self._is_graded(run)
            self._shares["loss"].learn(bool(run.missing))
            if not run.missing:
                self._shares["success"].learn(not run.success)
                self._models.learn(run.models)
                for name, value in self._values(run):
                    self._ranks[name].learn(value)

    def observe(self, run: Observation) -> None:
        """Bet on a run of the live plan."""
        self._is_graded(run)
        self._shares["loss"].bet(bool(run.missing))
        if run.missing:
            return
        self._shares["success"].bet(not run.success)
        self.new_models = self._models.bet(run.models) or self.new_models
        for name, value in self._values(run):
            self._ranks[name].bet(value)

    def _is_graded(self, run: Observation) -> None:
        """Note whether the work is ever between good and bad; else success tells as much."""
        work = work_of(run, scored=self._policy.scored)
        self._graded = self._graded or (work is not None and 0 < work < 1)

    def _values(self, run: Observation) -> list[tuple[str, float]]:
        value, metric = metric_value(self._policy, run), self._policy.metric
        found = [] if value is None else [("metric", value)]
        work = work_of(run, scored=self._policy.scored)
        if metric != "score" and self._graded and work is not None:
            found.append(("score", -work))
        if metric != "cost" and run.cost_usd is not None:
            cost = log_value("cost", run)
            if cost is not None:
                found.append(("cost", cost))
        return found

    @property
    def usual_models(self) -> str:
        """The models that answered most of the last runs."""
        return self._models.usual

    @property
    def spread(self) -> float:
        """Standard deviation of the metric's last values; 0 while it is not known."""
        return self._ranks["metric"].spread

    @property
    def sum(self) -> float:
        """The weighted mean of the detectors' sums, which is compared with the threshold."""
        return sum(self.sums().values())

    def sums(self) -> dict[str, float]:
        """Return the weighted sum of each detector."""
        return {name: weight * self._detectors[name].sum for name, weight in WEIGHTS.items()}
