"""The challenger of a team's next test: strategies suggest, the tuner weighs their plans and its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from .. import failsafe
from .._model.optimization import OptimizationSuggestion, OptimizationType
from .._model.plan import TeamPlan, TeamSpec
from .tuner_cache import ReadRuns, Tuners

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._settings import Settings
    from .._tuner import Proposal, TestOutlook


@frozen
class Challenge:
    """What to test next, or why nothing.

    Attributes:
        suggestion: The change, or None.
        treatment: The plan with the change, or None.
        proposal: What the tuner says about it and about the others; None where the tuner is off or failed.
        suggested: What the strategies suggest, best first, tested before or not.
        waiting: Those among them that are not tested now, each with the reason.
    """

    suggestion: OptimizationSuggestion | None = None
    treatment: TeamPlan | None = None
    proposal: Proposal | None = None
    suggested: tuple[OptimizationSuggestion, ...] = ()
    waiting: tuple[tuple[OptimizationSuggestion, str], ...] = ()

    def waits_because(self, suggestion: OptimizationSuggestion) -> str | None:
        """Return why a suggestion is not tested now, or None when it does not wait."""
        return next((reason for one, reason in self.waiting if one is suggestion), None)

    def behind(self, treatment: TeamPlan, live: TeamPlan) -> OptimizationSuggestion | None:
        """Return the suggestion that leads from the live plan to a treatment, or None when none does."""
        if self.suggestion is not None and treatment == self.treatment:
            return self.suggestion
        return next((one for one in self.suggested if live.merged(one.plan).id == treatment.id), None)


class Challengers:
    """Chooses the challengers of a process's teams.

    Attributes:
        tuners: The tuners that weigh them.
    """

    def __init__(self) -> None:
        self.tuners = Tuners()

    def choose(
        self,
        state: TeamState,
        spec: TeamSpec,
        settings: Settings,
        suggested: Sequence[OptimizationSuggestion],
        experiments: Sequence[Experiment],
        tried: Iterable[TeamPlan],
        read_runs: ReadRuns,
    ) -> Challenge:
        """Choose what to test next.

        Suggestions about the metric that the team is tuned for compete in the tuner with its own plans. What improves
        another metric, and what a third party's strategy suggests, is tested when nothing of those is worth it, in the
        order given. With the tuner off, the first suggestion that was not tried is chosen.

        Args:
            state: The team's state.
            spec: The team as configured.
            settings: Its settings.
            suggested: What the strategies suggest, best first.
            experiments: All its experiments, oldest first.
            tried: Treatments that are not to be tested now.
            read_runs: Reads its runs, enough to learn from.
        """
        gone = set(tried)
        plans: dict[TeamPlan, OptimizationSuggestion] = {}
        for suggestion in suggested:
            treatment = state.plan.merged(suggestion.plan)
            if treatment not in gone and treatment != state.plan and not settings.limits.crossed_by(treatment):
                plans.setdefault(treatment, suggestion)
        challenge = _first(plans)
        if settings.tuner.risk != "off":
            with failsafe.guard("choice of a challenger"):
                challenge = self._weighed(state, spec, settings, plans, experiments, gone, read_runs)
        return evolve(challenge, suggested=tuple(suggested))

    def _weighed(
        self,
        state: TeamState,
        spec: TeamSpec,
        settings: Settings,
        plans: Mapping[TeamPlan, OptimizationSuggestion],
        experiments: Sequence[Experiment],
        tried: set[TeamPlan],
        read_runs: ReadRuns,
    ) -> Challenge:
        from .._tuner import rival_of, suggestion_of

        tuner = self.tuners.of(state, spec, settings, experiments, read_runs)
        rivals = {plan: rival for plan, one in plans.items() if (rival := rival_of(one, state.plan, tuner.objective))}
        seed = int(hashlib.sha256(f"{state.fingerprint}\n{len(experiments)}".encode()).hexdigest()[:8], 16)
        proposal = tuner.propose(seed, rivals.values(), without=tried)
        suggestion = suggestion_of(proposal, spec, state.plan)
        treatment = None if suggestion is None else state.plan.merged(suggestion.plan)
        if suggestion is None or treatment is None or treatment in tried:
            built_in = tuple(OptimizationType)
            others = {plan: one for plan, one in plans.items() if plan not in rivals or one.type not in built_in}
            return evolve(_first(others), proposal=proposal)
        suggested = plans.get(treatment)
        if suggested is not None:  # keeps what it claims, and the metric that decides its test
            suggestion = evolve(suggested, metadata={**suggested.metadata, **suggestion.metadata})
        return Challenge(suggestion, treatment, proposal)

    def outlook(
        self,
        state: TeamState,
        spec: TeamSpec,
        settings: Settings,
        experiments: Sequence[Experiment],
        test: Experiment,
        read_runs: ReadRuns,
    ) -> TestOutlook | None:
        """Return what the tuner says of a running test or a watched promotion; None when it is off or failed.

        Args:
            state: As for `choose`.
            spec: As for `choose`.
            settings: As for `choose`.
            experiments: As for `choose`.
            test: The experiment.
            read_runs: As for `choose`.
        """
        if settings.tuner.risk == "off" or test.policy["metric"] != settings.experiment.metric:
            return None
        with failsafe.guard("outlook of a test"):
            tuner = self.tuners.of(state, spec, settings, experiments, read_runs)
            return tuner.watched(test.control) if test.status == "watched" else tuner.outlook(test.treatment)
        return None


def _first(plans: Mapping[TeamPlan, OptimizationSuggestion]) -> Challenge:
    for plan, suggestion in plans.items():
        return Challenge(suggestion, plan)
    return Challenge()
