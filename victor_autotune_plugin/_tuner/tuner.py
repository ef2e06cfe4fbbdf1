"""The face of the room: one team's tuner."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, evolve, frozen

from .._model.plan import EMPTY_PLAN, TeamPlan
from .explanation import Candidate, Proposal, TestOutlook
from .facts import RunFacts
from .model import TeamModel
from .objective import Objective
from .prior import Prior, TeamBelief, shipped_prior
from .proposals import judge_test, propose
from .risk import RISKS, Search
from .space import PlanSpace, shape_of
from .weighing import Z90, noise_variance

STATE_VERSION: Final = 2
"""Changes whenever a state of before can't be taken over."""

DRIFT_SHARE: Final = 0.25
"""What runs count for after a drift was found."""


@frozen
class OpenTest:
    """A test that is running.

    Attributes:
        gain: Log improvement that was expected.
        sd: Its standard deviation.
        harm: Probability of harm when it started.
        runs: Runs of the challenger since.
    """

    gain: float
    sd: float
    harm: float
    runs: int


class Tuner:
    """Chooses what to test next on one team.

    Everything it answers is a function of the runs it was told, in their order, and of a seed.

    Args:
        space: The plans that the team may run.
        objective: What it is tuned for.
        prior: What is believed before the first run; None for the shipped prior.
        risk: `low`, `medium` or `high`.
        live: The plan that runs today.
        tried: Plans that were tested before and are not to be tested again.

    Raises:
        ValueError: For an unknown risk, or a prior of another version's model.
    """

    def __init__(
        self,
        space: PlanSpace,
        objective: Objective | None = None,
        prior: Prior | None = None,
        *,
        risk: str = "low",
        live: TeamPlan = EMPTY_PLAN,
        tried: Iterable[TeamPlan] = (),
    ) -> None:
        if risk not in RISKS:
            raise ValueError(f"risk must be one of {', '.join(RISKS)}, not {risk!r}")
        self.space = space
        self.objective = objective or Objective()
        self.risk = risk
        self._by_shape = {shape_of(space.spec, plan): plan for plan in space.plans}
        self.live = self._own(live)
        self._prior = prior or shipped_prior()
        self._model = TeamModel(space.spec, space.plans, self._prior)
        self._fresh: TeamModel | None = None
        self._tried: dict[TeamPlan, None] = dict.fromkeys(map(self._own, tried))
        self._surprise, self._tests, self._exposed = 0.0, 0, 0.0
        self._open: dict[TeamPlan, OpenTest] = {}

    def observe(self, facts: RunFacts) -> None:
        """Take one finished run into account, in constant time."""
        plan = self._own(facts.plan)
        test = self._open.get(plan)
        if test is not None:
            self._open[plan] = evolve(test, runs=test.runs + 1)
        self._model.observe(facts if plan == facts.plan else evolve(facts, plan=plan))

    def propose(
        self, seed: int = 0, candidates: Iterable[Candidate] = (), without: Iterable[TeamPlan] = ()
    ) -> Proposal:
        """Return the plan to test next, or why there is none.

        Args:
            seed: Of the draw; only risk `high` draws.
            candidates: Plans from elsewhere, such as the strategies'; they compete with the tuner's own.
            without: Plans that are not to be tested now, besides those tested before.
        """
        known = [evolve(candidate, plan=self._own(candidate.plan)) for candidate in candidates]
        search = self._search()
        search = evolve(search, tried=search.tried | set(map(self._own, without)))
        return propose(self._model, search, known, seed)

    def started(self, challenger: TeamPlan) -> None:
        """Take note that a test of a plan against the live one began, and what was expected of it."""
        challenger = self._own(challenger)
        outlook = self.outlook(challenger).outlook
        gain, low = -math.log1p(-outlook.improvement), -math.log1p(-outlook.interval[0])
        self._open[challenger] = OpenTest(gain, max((gain - low) / Z90, 0.05), outlook.p_harm, 0)

    def outlook(self, challenger: TeamPlan) -> TestOutlook:
        """Return whether a running test is worth going on with, and whether a promotion would be safe."""
        return judge_test(self._model, self._search(), self._own(challenger))

    def watched(self, replaced: TeamPlan) -> TestOutlook:
        """Return whether the live plan, which was promoted, should stay.

        Args:
            replaced: The plan that it replaced.
        """
        return judge_test(self._model, evolve(self._search(), live=self._own(replaced)), self.live, promoted=True)

    def ended(self, challenger: TeamPlan, *, promoted: bool, effect: float | None = None) -> None:
        """Take note that a test ended; a plan is tested once.

        Args:
            challenger: The treatment.
            promoted: Whether it is the live plan now.
            effect: Relative improvement that the test measured, or None. A model whose forecasts turn out wrong trusts
                its next ones less.
        """
        challenger = self._own(challenger)
        self._tried[challenger] = None
        test = self._open.pop(challenger, None)
        if test is not None:
            # What the runs were really worth is known better now than when they were risked.
            self._spent_on(challenger, test.runs)
            if effect is not None and math.isfinite(effect) and effect < 1:
                # What the test measured has noise of its own.
                noise = 2 * noise_variance(self._model, self.objective) / max(test.runs, 1)
                self._surprise += (-math.log1p(-effect) - test.gain) ** 2 / (test.sd**2 + noise)
                self._tests += 1
        if promoted:
            self._tried[self.live] = None
            self.live = challenger

    def aborted(self, challenger: TeamPlan) -> None:
        """Take note that a test was broken off, which says nothing about its plan.

        Args:
            challenger: The treatment.
        """
        self._open.pop(self._own(challenger), None)

    def rolled_back(self, to: TeamPlan, from_plan: TeamPlan | None = None) -> None:
        """Take note that a promotion was taken back; the plan that was is not tested again.

        Args:
            to: The plan that runs now.
            from_plan: The plan that was taken back; None for the live one.
        """
        to = self._own(to)
        self._tried[self.live if from_plan is None else self._own(from_plan)] = None
        self._tried.pop(to, None)
        self.live = to

    def runs_now(self, plan: TeamPlan) -> None:
        """Take note of the plan that the team runs today, however it came to that.

        Args:
            plan: The plan.
        """
        self.live = self._own(plan)

    def drifted(self, share: float = DRIFT_SHARE) -> None:
        """Let what was learnt so far count for a share of what it did, because the world changed."""
        self._model.discount(share)

    @property
    def doubt(self) -> float:
        """Factor on the standard deviation of forecasts: above 1 when tests turned out otherwise than expected."""
        return max(1.0, math.sqrt((2.0 + self._surprise) / (2.0 + self._tests)))

    def shared(self) -> TeamBelief:
        """Return what was learnt, for the prior of the user's other teams (`fleet_prior`)."""
        return self._model.shared()

    def predict_seconds(self, plan: TeamPlan) -> tuple[float, float, float]:
        """Return median, and the ends of the 90 % interval, of the duration of the next run of a plan, in seconds.

        Raises:
            KeyError: For a plan that the team can't run.
        """
        mean, sd = self._model.predict(plan)
        half = 2.015 * sd  # the 95 % point of Student's t with 5 degrees of freedom
        return math.exp(mean), math.exp(mean - half), math.exp(mean + half)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able data, at most 100 kB."""
        return {
            "version": STATE_VERSION,
            "team": self.space.spec.fingerprint(),
            "model": self._model.to_dict(),
            "live": self.live.to_dict(),
            "tried": [plan.to_dict() for plan in self._tried],
            "surprise": self._surprise,
            "tests": self._tests,
            "exposed": self._exposed,
            "open": [[plan.to_dict(), asdict(test)] for plan, test in self._open.items()],
        }

    @classmethod
    def restored(
        cls,
        state: Mapping[str, Any] | str | None,
        runs: Sequence[RunFacts],
        space: PlanSpace,
        objective: Objective | None = None,
        prior: Prior | None = None,
        *,
        risk: str = "low",
        live: TeamPlan = EMPTY_PLAN,
        tried: Iterable[TeamPlan] = (),
    ) -> Tuner:
        """Return a tuner from a stored state, or from the runs when the state can't be used.

        Args:
            state: What `to_dict` returned, or its JSON; None when there is none.
            runs: The team's runs, oldest first; only looked at when the state is damaged, of another definition of the
                team, or of another version.
            space: As for `Tuner`.
            objective: As for `Tuner`.
            prior: As for `Tuner`; the same that the state was made with.
            risk: As for `Tuner`.
            live: The plan that runs today. Where the state says otherwise, its plan was taken back meanwhile.
            tried: As for `Tuner`; a state knows them itself.
        """
        known = list(tried)
        tuner = cls(space, objective, prior, risk=risk, live=live, tried=known)
        try:
            tuner._load(json.loads(state) if isinstance(state, str) else state)
        except (ValueError, KeyError, TypeError, AttributeError):
            tuner = cls(space, objective, prior, risk=risk, live=live, tried=known)
            for facts in runs:
                tuner.observe(facts)
            for plan in tuner._tried:
                tuner._spent_on(plan, tuner._model.runs.get(plan, 0))
        return tuner

    def _load(self, state: Mapping[str, Any] | None) -> None:
        if state is None or state["version"] != STATE_VERSION or state["team"] != self.space.spec.fingerprint():
            raise ValueError("no state, or one of another version or another definition of the team")
        before = TeamPlan.from_dict(state["live"])
        self._model.load(state["model"])
        self._tried.update({TeamPlan.from_dict(plan): None for plan in state["tried"]})
        if before != self.live:
            self.rolled_back(self.live, from_plan=before)
        self._surprise, self._tests, self._exposed = (
            float(state["surprise"]),
            int(state["tests"]),
            float(state["exposed"]),
        )
        self._open = {TeamPlan.from_dict(plan): OpenTest(**test) for plan, test in state["open"]}

    def _spent_on(self, challenger: TeamPlan, runs: int) -> None:
        """Book runs of a plan that was tested as spent on a worse plan, as likely as it is one."""
        if runs and self.space.cannot_run(challenger) is None:
            self._exposed += runs * self.outlook(challenger).outlook.p_harm

    def _own(self, plan: TeamPlan) -> TeamPlan:
        """Return the space's plan that runs alike, such as one that leaves a knob where it is set to today's value."""
        return self._by_shape.get(shape_of(self.space.spec, plan), plan)

    def _search(self) -> Search:
        return Search(
            self.space,
            self.live,
            self.objective,
            RISKS[self.risk],
            frozenset(self._tried),
            self.doubt,
            self._exposed + math.fsum(test.harm * test.runs for test in self._open.values()),
            self._before,
        )

    def _before(self) -> TeamModel:
        if self._fresh is None:
            self._fresh = TeamModel(self.space.spec, self.space.plans[:1], self._prior)
        return self._fresh
