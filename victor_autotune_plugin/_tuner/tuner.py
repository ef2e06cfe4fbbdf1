"""The face of the room: one team's tuner."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Final

import numpy as np
from attrs import evolve

from .._dataflow.verdict import Rules
from .._model.plan import EMPTY_PLAN, TeamPlan
from .._model.run import TeamRun
from .choice import judge_test, propose
from .model import TeamModel
from .plan_table import PlanTable
from .prior import TeamPrior, shipped_prior
from .proposal import Proposal, Rival, TestOutlook
from .search import RISKS, Search
from .space import PlanSpace, is_modelled, shape_of
from .weighing import Objective, weigh

DRIFT_SHARE: Final = 0.25
"""Weight of runs before a detected drift."""

MOST_BELIEFS: Final = 256
"""Plans whose gain as believed before the first run is remembered."""


class Tuner:
    """Chooses what to test next on one team.

    Everything it answers is a function of the runs it was told, in their order, and of a seed.

    Args:
        space: The plans that the team may run.
        prior: What is believed before the first run; None for the shipped prior.
        risk: `low`, `medium` or `high`.
        live: The live plan.
        is_scored: Whether scorers tell how good the work is; then a run without a score tells nothing of it.

    Raises:
        ValueError: For an unknown risk, or a prior with other coefficients than the model.
    """

    def __init__(
        self,
        space: PlanSpace,
        objective: Objective | None = None,
        prior: TeamPrior | None = None,
        *,
        risk: str = "low",
        live: TeamPlan = EMPTY_PLAN,
        is_scored: bool = False,
    ) -> None:
        if risk not in RISKS:
            raise ValueError(f"risk must be one of {', '.join(RISKS)}, not {risk!r}")
        self.space = space
        self.objective = objective or Objective()
        self.risk = risk
        self._by_shape = {shape_of(space.spec, plan): plan for plan in space.plans}
        self.live = self._own(live)
        self.rules: Rules | None = None
        """What keeps the work, and what may not be chosen; a plan that is neither is weighed by what is believed."""
        self._prior = prior or shipped_prior()
        self._model = TeamModel(space.spec, space.plans, self._prior, is_scored=is_scored)
        self._fresh: TeamModel | None = None
        self._beliefs_before: dict[tuple[TeamPlan, TeamPlan, tuple[str, ...]], tuple[float, float]] = {}
        self._tried: set[TeamPlan] = set()
        self._exposed = 0
        self._open: dict[TeamPlan, int] = {}
        """Runs of the challengers of open tests."""

    def observe(self, run: TeamRun) -> None:
        """Take one finished run into account, in constant time. Leave out cancelled runs: they tell nothing.

        A run in a formation that is not known here, as a person may have planned it, is left out here.

        Raises:
            ValueError: For a run with an impossible figure, naming it.
        """
        if not is_modelled(shape_of(self.space.spec, run.plan_asked).formation):
            return
        plan = self._own(run.plan_asked)
        self._model.observe(run, plan)
        if plan in self._open:
            self._open[plan] += 1

    def propose(self, seed: int = 0, rivals: Iterable[Rival] = (), without: Iterable[TeamPlan] = ()) -> Proposal:
        """Return the plan to test next, or why there is none.

        Args:
            seed: Of the draw; only risk `high` draws.
            rivals: Plans that strategies suggest; they compete with the tuner's own.
            without: Plans that are not to be tested now, besides those tested before.
        """
        known = [evolve(rival, plan=self._own(rival.plan)) for rival in rivals]
        search = self._search()
        search = evolve(search, tried=search.tried | set(map(self._own, without)))
        return propose(self._model, search, known, seed)

    def started(self, challenger: TeamPlan) -> None:
        """Note that a test of a plan against the live one began."""
        self._open[self._own(challenger)] = 0

    def outlook(self, challenger: TeamPlan, metric: str | None = None) -> TestOutlook:
        """Return whether a running test gives way to the next one, and what is believed of its plan.

        Args:
            metric: What decides the test, where that is not what the team is tuned for; one of `policy.METRICS`.
        """
        objective = self.objective if metric is None else evolve(self.objective, weights=metric)
        return judge_test(self._model, self._search(objective), self._own(challenger))

    def ended(self, challenger: TeamPlan, *, promoted: bool, worse: bool = False) -> None:
        """Note that a test ended; a plan is tested once.

        Args:
            promoted: Whether it is the live plan now.
            worse: Whether the plan turned out worse, so that its runs count against the exposure; they also do where
                the model finds that more likely.
        """
        challenger = self._own(challenger)
        self._tried.add(challenger)
        worse = worse or (not promoted and self._looks_worse(challenger))
        self._exposed += self._open.pop(challenger, 0) * worse
        if promoted:
            self._tried.add(self.live)
            self.live = challenger

    def aborted(self, challenger: TeamPlan) -> None:
        """Note that a test was broken off. Its plan may be tested again; its runs count where it looks worse."""
        challenger = self._own(challenger)
        worse = self._looks_worse(challenger)
        self._exposed += self._open.pop(challenger, 0) * worse

    def _looks_worse(self, challenger: TeamPlan) -> bool:
        """Return whether a plan is more likely worse than better and safe, after the runs of its test."""
        return challenger in self._open and self.outlook(challenger).outlook.p_better < 0.5

    def rolled_back(self, to: TeamPlan, from_plan: TeamPlan | None = None) -> None:
        """Note that a promotion was rolled back; the promoted plan is not tested again.

        Args:
            from_plan: The plan that was rolled back; None for the live one.
        """
        to = self._own(to)
        self._tried.add(self.live if from_plan is None else self._own(from_plan))
        self._tried.discard(to)
        self.live = to

    def runs_now(self, plan: TeamPlan) -> None:
        """Note the plan that the team runs today, however it came to that."""
        self.live = self._own(plan)

    def drifted(self, share: float = DRIFT_SHARE) -> None:
        """Let what was learnt so far count for a share of what it did, because the world changed."""
        self._model.discount(share)

    def predict_seconds(self, plan: TeamPlan) -> tuple[float, float, float]:
        """Return median, and the ends of the 90 % interval, of the duration of the next run of a plan, in seconds.

        Raises:
            KeyError: For a plan that the team can't run.
        """
        mean, sd = self._model.predict(plan)
        half = 2.015 * sd  # the 95 % point of Student's t with 5 degrees of freedom
        return math.exp(mean), math.exp(mean - half), math.exp(mean + half)

    def _own(self, plan: TeamPlan) -> TeamPlan:
        """Return the space's plan that runs alike, such as one that leaves a knob where it is set to today's value."""
        return self._by_shape.get(shape_of(self.space.spec, plan), plan)

    def _search(self, objective: Objective | None = None) -> Search:
        wanted = objective or self.objective
        return Search(
            self.space,
            self.live,
            wanted,
            RISKS[self.risk],
            frozenset(self._tried),
            self._exposed,
            partial(self._before, wanted),
            self.rules,
        )

    def _before(self, objective: Objective, plan: TeamPlan) -> tuple[float, float]:
        """Return mean and standard deviation of a plan's gain as they were believed before the team's first run."""
        about = self.live, plan, tuple(objective.weights)
        if about not in self._beliefs_before:
            if self._fresh is None:
                self._fresh = TeamModel(self.space.spec, self.space.plans[:1], self._prior)
            table = PlanTable(self.space.spec, (self.live, plan))
            weights = weigh(self._fresh, np.array([1]), self.live, objective, table=table)
            self._beliefs_before[about] = float(weights.gain[0]), float(weights.sd[0])
            if len(self._beliefs_before) > MOST_BELIEFS:
                self._beliefs_before.pop(next(iter(self._beliefs_before)))
        return self._beliefs_before[about]
