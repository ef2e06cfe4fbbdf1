"""What to test next on a team: strategies suggest, the tuner weighs their plans and its own, the best gets a test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, frozen

from .. import failsafe
from .._dataflow.verdict import LEAST_TO_TEST, knowledge_of
from .._model.experiment import Experiment, TeamState
from .._model.optimization import OptimizationSuggestion, OptimizationType
from .._model.plan import TeamPlan
from .changes import Changes
from .exposure import exposure_now
from .gates import lost_gate
from .hookmanager import HookManager
from .new_experiment import began_with, decided_by, new_test
from .opened_by_scorer import Opened, as_if_scored, opened_by_scorer, would_ask
from .record import Record
from .suggestions import (
    TASK_RUNS,
    comparable,
    may_be_retried,
    reason_to_wait,
    rules_of,
    suggestions,
)
from .transitions import Steps, Why
from .tuner_cache import TeamRecord, TunerCache, can_be_weighed, drifts_of, upgraded_of

if TYPE_CHECKING:
    from .._dataflow.verdict import Knowledge, Rules
    from .._model.data_flow import TeamFlow
    from .._model.run import TeamRun
    from .._settings import Settings
    from .._tuner import Proposal, TestOutlook
    from ..storage import Store

HISTORY_RUNS: Final = 50
"""How many of a team's last runs suggestions use, and after how many an aborted test may be repeated."""


@define
class Approval:
    """Whether a change may be made, and what to ask as long as there is no answer.

    Attributes:
        given: Whether it is approved.
        by: Who answered, or None before the hook was called.
        asked: The experiment and its step that wait for an answer.
    """

    given: bool = False
    by: str | None = None
    asked: tuple[Experiment, str] | None = None


@frozen
class RunContext:
    """A finished run, and what the conclusions from it are drawn from.

    Attributes:
        record: What the store holds up to this run.
        changes: The conclusions.
        state: The team's state.
        run: The run.
        settings: The team's settings.
        approval: Whether a change may follow.
        flow: The data flow that the team's runs showed, this one included.
        live: The experiment that verifies the live plan, or a test's control while its treatment is on probation.
    """

    record: Record
    changes: Changes
    state: TeamState
    run: TeamRun
    settings: Settings
    approval: Approval
    flow: TeamFlow
    live: Experiment | None = None

    @property
    def steps(self) -> Steps:
        """The steps that may be taken from the team's state; one of them is."""
        return Steps(self.changes, self.state, self.now, self.live)

    @property
    def now(self) -> float:
        """Unix time of the conclusions: the end of the run, so that they do not depend on when they are drawn."""
        return self.run.ended_at

    @cached_property
    def team(self) -> TeamRecord:
        """What the settings and the store say of the team."""
        record = self.record
        return TeamRecord(
            self.state,
            self.run.spec,
            self.settings,
            record.experiments,
            record.runs,
            self.rules,
            drifts_of(record.changes),
            upgraded_of(record.changes),
        )

    @cached_property
    def knowledge(self) -> Knowledge:
        """What is known of the team's data flow."""
        return knowledge_of(self.flow, self.run.spec, self.settings)

    @cached_property
    def rules(self) -> Rules:
        """Which plans may be chosen for the team."""
        return rules_of(
            self.knowledge,
            self.settings,
            self.record.runs(HISTORY_RUNS),
            self.state,
            self.record.experiments,
            self.record.changes,
        )


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

    def forecast(self, treatment: TeamPlan) -> Mapping[str, float]:
        """Return the relative improvements, by metric, that the tuner expects of a treatment; empty for another one."""
        chosen = None if self.proposal is None else self.proposal.chosen
        is_it = chosen is not None and self.suggestion is not None and treatment == self.treatment
        return chosen.improvements if chosen is not None and is_it else {}

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
        self.tuners = TunerCache()

    def choose(
        self, team: TeamRecord, suggested: Sequence[OptimizationSuggestion], tried: Iterable[TeamPlan]
    ) -> Challenge:
        """Choose what to test next.

        Suggestions about the metric that the team is tuned for compete in the tuner with its own plans. What improves
        another metric, and what a third party's strategy suggests, is tested when nothing of those is worth it, in the
        order given. With the tuner off, the first suggestion that was not tried is chosen.

        Args:
            suggested: What the strategies suggest, best first.
            tried: Treatments that are not to be tested now.
        """
        state, settings = team.state, team.settings
        gone = set(tried)
        plans: dict[TeamPlan, OptimizationSuggestion] = {}
        for suggestion in suggested:
            treatment = state.plan.merged(suggestion.plan)
            if treatment in gone or treatment == state.plan or settings.limits.crossed_by(treatment):
                continue
            if team.rules.refusal(treatment, state.plan) is None:
                plans.setdefault(treatment, suggestion)
        challenge = _first(plans)
        if settings.tuner.risk != "off" and can_be_weighed(state.plan, team.spec):
            with failsafe.guard("choice of a challenger"):
                challenge = self._weighed(team, plans, gone)
        return evolve(challenge, suggested=tuple(suggested))

    def _weighed(
        self, team: TeamRecord, plans: Mapping[TeamPlan, OptimizationSuggestion], tried: set[TeamPlan]
    ) -> Challenge:
        from .._tuner import rival_of, suggestion_of

        state, tuner = team.state, self.tuners.of(team)
        rivals = {plan: rival for plan, one in plans.items() if (rival := rival_of(one, state.plan, tuner.objective))}
        seed = int(hashlib.sha256(f"{state.fingerprint}\n{len(team.experiments)}".encode()).hexdigest()[:8], 16)
        proposal = tuner.propose(seed, rivals.values(), without=tried)
        suggestion = suggestion_of(proposal, team.spec, state.plan)
        treatment = None if suggestion is None else state.plan.merged(suggestion.plan)
        if suggestion is None or treatment is None or treatment in tried:
            built_in = tuple(OptimizationType)
            others = {plan: one for plan, one in plans.items() if plan not in rivals or one.type not in built_in}
            return evolve(_first(others), proposal=proposal)
        suggested = plans.get(treatment)
        if suggested is not None:  # keeps what it claims, and the metric that decides its test
            suggestion = evolve(suggested, metadata={**suggested.metadata, **suggestion.metadata})
        return Challenge(suggestion, treatment, proposal)

    def outlook(self, team: TeamRecord, test: Experiment) -> TestOutlook | None:
        """Return what the tuner says of a running test; None when it is off or failed."""
        if team.settings.tuner.risk == "off" or not can_be_weighed(team.state.plan, team.spec):
            return None
        if team.state.plan != test.control:  # on probation its plan is live, and the control what it is compared with
            team = evolve(team, state=evolve(team.state, plan=test.control))
        with failsafe.guard("outlook of a test"):
            metric = None if is_for_what_is_tuned(team, test) else test.policy.metric
            return self.tuners.of(team).outlook(test.treatment, metric)
        return None


def is_for_what_is_tuned(team: TeamRecord, test: Experiment) -> bool:
    """Return whether a test is decided by the metric that the team is tuned for."""
    wanted = decided_by(team.settings.experiment.metric, is_scored=bool(team.state.gates))
    return test.policy.metric == wanted


def _first(plans: Mapping[TeamPlan, OptimizationSuggestion]) -> Challenge:
    for plan, suggestion in plans.items():
        return Challenge(suggestion, plan)
    return Challenge()


class Starter:
    """Starts the tests of a process's teams."""

    def __init__(self, challengers: Challengers, hooks: HookManager) -> None:
        self._challengers = challengers
        self._hooks = hooks

    def start(self, context: RunContext) -> None:
        """Start a test of the best change that was not tried before, if there is one, or ask a person for it.

        Args:
            context: The run after which it is looked for; the team has no open test.
        """
        state, approval = context.state, context.approval
        if not self._may_find(context):
            return
        least = context.settings.experiment.min_history
        runs = comparable(context.record.runs(max(HISTORY_RUNS, least)), state)
        if len(runs) < least or exposure_now(context).exceeds(context.settings.limits):
            return
        experiments = context.team.experiments
        chosen = asked = self._asked_for(context, experiments)
        why: OptimizationSuggestion | None = None
        if asked is None or approval.given:
            others = [one for one in experiments if one is not asked]
            team = evolve(context.team, experiments=others)
            challenge = next_challenge(self._challengers, team, self._hooks, runs)
            chosen = asked or self._new_test(context, challenge, len(experiments))
            why = None if chosen is None else challenge.behind(chosen.treatment, state.plan)
        if chosen is None:
            return
        evidence = None if why is None else why.to_dict()
        if approval.given:
            prices = began_with(context.settings, runs, context.now)  # it may have waited long
            started = evolve(chosen, prices=prices)
            context.steps.start(started, Why(chosen.description, evidence, by=approval.by))
        elif approval.by is None:
            if asked is None:
                context.steps.ask(chosen, Why(chosen.description, evidence))
            approval.asked = chosen, "start"
        else:
            reason = f"The hook of {approval.by!r} did not approve the test."
            context.steps.end_test(chosen, "aborted", Why(reason, actor="person", by=approval.by), "rejected")

    @staticmethod
    def _may_find(context: RunContext) -> bool:
        """Return whether anything is asked for what to test, or a person is."""
        settings = context.settings
        return (
            settings.tuner.risk != "off"
            or bool(settings.strategies)
            or any(one.status == "awaits_approval" for one in context.record.experiments)
        )

    def _asked_for(self, context: RunContext, experiments: Sequence[Experiment]) -> Experiment | None:
        """Return the test that awaits its approval; abort those that no longer fit the team."""
        state, limits = context.state, context.settings.limits
        standing = None
        others = {one.treatment.id for one in experiments if one.status not in ("awaits_approval", "aborted")}
        for asked in experiments:
            if asked.status != "awaits_approval":
                continue
            holds = asked.fingerprint == state.fingerprint and asked.control == state.plan
            holds = holds and lost_gate(asked, state.gates) is None
            holds = holds and context.rules.refusal(asked.treatment, state.plan) is None
            if holds and asked.treatment.id not in others and not limits.crossed_by(asked.treatment):
                standing = asked
            else:
                context.changes.save_experiment(evolve(asked, status="aborted", ended_at=context.now))
        return standing

    def _new_test(self, context: RunContext, challenge: Challenge, number: int) -> Experiment | None:
        """Return a new test of a challenger, a draft, or None without one."""
        suggestion, treatment = challenge.suggestion, challenge.treatment
        if suggestion is None or treatment is None or context.settings.limits.crossed_by(treatment):
            return None
        known = comparable(context.record.runs(TASK_RUNS), context.state)
        by_us = suggestion.type in (*OptimizationType, "tuner")
        if by_us and context.knowledge.is_due_soon and len(known) < LEAST_TO_TEST:
            return None  # a few more runs tell what keeps the work
        allowed_by, refusal = context.rules.allowance(treatment, context.state.plan)
        if refusal is not None:
            return None
        return new_test(
            context.state,
            number,
            treatment,
            suggestion,
            context.settings,
            context.now,
            known,
            store_id=context.record.store_id,
            allowed_by=allowed_by,
            improvements=challenge.forecast(treatment),
        )


def next_challenge(
    challengers: Challengers, team: TeamRecord, hooks: HookManager, runs: Sequence[TeamRun]
) -> Challenge:
    """Return what to test next on a team, or why nothing.

    Args:
        runs: Its last comparable runs, newest first; the strategies see `HISTORY_RUNS` of them.
    """
    state = team.state
    tried = [
        experiment.treatment
        for experiment in team.experiments
        if experiment.fingerprint == state.fingerprint
        and experiment.id not in team.upgraded
        and not may_be_retried(experiment, runs, HISTORY_RUNS)
    ]
    latest = runs[:HISTORY_RUNS]
    suggested = suggestions(team, latest, hooks)
    reasons = [
        team.rules.refusal(state.plan.merged(one.plan), state.plan) or reason_to_wait(one, runs) for one in suggested
    ]
    ready = [one for one, reason in zip(suggested, reasons, strict=True) if reason is None]
    waiting = [(one, reason) for one, reason in zip(suggested, reasons, strict=True) if reason is not None]
    challenge = challengers.choose(team, ready, tried)
    return evolve(challenge, suggested=tuple(suggested), waiting=tuple(waiting))


@frozen
class Advice:
    """What to say about a team's next test, or the one that is open.

    Attributes:
        challenge: What would be tested next; while an experiment is open, or the settings fix the plan, only what the
            strategies suggest.
        outlook: What the tuner says of the open experiment, or None.
        compared: Number of runs that the suggestions are made from.
        opened_by_scorer: Changes that are refused now and that a scorer would open, best first.
    """

    challenge: Challenge
    outlook: TestOutlook | None = None
    compared: int = 0
    opened_by_scorer: tuple[Opened, ...] = ()

    @property
    def proposal(self) -> Proposal | None:
        """What the tuner proposes and why not more; None where it was not asked, is off, or failed."""
        return self.challenge.proposal

    def to_dict(self) -> dict[str, Any]:
        """Return what the tuner says as plain JSON-able data."""
        return {
            "proposal": None if self.proposal is None else self.proposal.to_dict(),
            "outlook": None if self.outlook is None else self.outlook.to_dict(),
            "opened_by_scorer": [one.to_dict() for one in self.opened_by_scorer],
        }


def advice(store: Store, state: TeamState, settings: Settings, hooks: HookManager) -> Advice:
    """Return what the loop would do next with a team, from what is stored; nothing is written.

    The tuner learns from the team's runs only; what a process has learnt of other teams, its prior, is not in it.

    Raises:
        StoreError: If the store can't be used.
    """

    def read_runs(limit: int) -> Sequence[TeamRun]:
        return list(store.finished_runs(*state.key, limit=limit))

    spec = state.spec
    if spec is None:
        return Advice(Challenge())
    latest = read_runs(HISTORY_RUNS)
    knowledge = knowledge_of(store.data_flow(*state.key), spec, settings)
    experiments = store.experiments(*state.key)[::-1]
    changes = store.changes(*state.key)
    rules = rules_of(knowledge, settings, latest, state, experiments, changes)
    runs = comparable(latest, state)
    challengers = Challengers()
    open_now = next((one for one in experiments if one.id == state.experiment_id), None)
    # What awaits its approval may still be what is proposed.
    others = [one for one in experiments if one.status != "awaits_approval"]
    team = TeamRecord(state, spec, settings, others, read_runs, rules, drifts_of(changes), upgraded_of(changes))
    opened: tuple[Opened, ...] = ()
    if would_ask(team) and settings.plan is None:
        opened = opened_by_scorer(team, next_challenge(Challengers(), as_if_scored(team), hooks, runs))
    if open_now is None and settings.plan is None:
        return Advice(next_challenge(challengers, team, hooks, runs), None, len(runs), opened)
    found = suggestions(team, runs, hooks)
    suggested = Challenge(suggested=tuple(found))
    outlook = None
    if open_now is not None and is_for_what_is_tuned(team, open_now):  # what is told are gains of that metric
        outlook = challengers.outlook(TeamRecord(state, spec, settings, experiments, read_runs, rules), open_now)
    return Advice(suggested, outlook, len(runs), opened)
