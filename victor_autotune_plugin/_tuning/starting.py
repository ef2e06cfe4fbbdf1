"""How a test starts: what the strategies suggest and the tuner chooses becomes a draft, and when approved, a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from .._model.experiment import Experiment, TeamState
from .challengers import Challenge, Challengers
from .hookmanager import HookManager
from .proposals import TASK_RUNS, comparable, may_be_retried, new_experiment, suggestions
from .run_context import Case
from .waiting import reason_to_wait

if TYPE_CHECKING:
    from .._model.optimization import OptimizationSuggestion
    from .._model.plan import TeamSpec
    from .._model.run import TeamRun
    from .._settings import Settings
    from .tuner_cache import ReadRuns

HISTORY_RUNS: Final = 50
"""How many of a team's last runs a suggestion is made from, and after how many an aborted test may be repeated."""


class Starting:
    """Starts the tests of a process's teams.

    Args:
        challengers: The tuners of the process.
        hooks: Are asked for further strategies.
        clock: Unix seconds.
    """

    def __init__(self, challengers: Challengers, hooks: HookManager, clock: Callable[[], float]) -> None:
        self._challengers = challengers
        self._hooks = hooks
        self._clock = clock

    def start(self, case: Case) -> None:
        """Start a test of the best change that was not tried before, if there is one.

        Until it is approved it is a draft, which takes part in nothing and can be looked at.

        Args:
            case: The run after which it is looked for; the team has no open experiment.
        """
        changes, state, approval = case.changes, case.state, case.approval
        least = case.settings.experiment.min_history
        runs = comparable(case.read_runs(max(HISTORY_RUNS, least)), state)
        if len(runs) < least:
            return
        experiments = case.experiments()
        chosen = draft = self._standing_draft(case, experiments)
        why: OptimizationSuggestion | None = None
        if draft is None or approval.given:
            others = [one for one in experiments if one is not draft]
            challenge = next_challenge(
                self._challengers, state, case.run.spec, case.settings, self._hooks, others, runs, case.read_runs
            )
            chosen = draft or self._new_draft(case, challenge, len(experiments))
            why = None if chosen is None else challenge.behind(chosen.treatment, state.plan)
        if chosen is None:
            return
        if approval.given:
            after, started = evolve(state, experiment_id=chosen.id), evolve(chosen, status="running")
            evidence = None if why is None else why.to_dict()
            changes.apply(after, "started", chosen.description, before=state, experiment=started, evidence=evidence)
        elif approval.by is None:
            if draft is None:
                changes.transaction.save_experiment(chosen)
            approval.asked = chosen, "start"
        else:
            refused = evolve(chosen, status="aborted", ended_at=self._clock())
            reason = f"The hook of {approval.by!r} did not approve the test."
            changes.apply(state, "aborted", reason, before=state, experiment=refused, actor="person")

    def _standing_draft(self, case: Case, experiments: Sequence[Experiment]) -> Experiment | None:
        """Return the draft that waits for its approval; abort those that the team has grown out of."""
        state, limits = case.state, case.settings.limits
        standing = None
        others = {one.treatment.id for one in experiments if one.status not in ("draft", "aborted")}
        for draft in experiments:
            if draft.status != "draft":
                continue
            holds = draft.fingerprint == state.fingerprint and draft.control == state.plan
            if holds and draft.treatment.id not in others and not limits.crossed_by(draft.treatment):
                standing = draft
            else:
                case.changes.transaction.save_experiment(evolve(draft, status="aborted", ended_at=self._clock()))
        return standing

    def _new_draft(self, case: Case, challenge: Challenge, number: int) -> Experiment | None:
        """Return a new draft of the test of a challenger, or None without one."""
        suggestion, treatment = challenge.suggestion, challenge.treatment
        if suggestion is None or treatment is None or case.settings.limits.crossed_by(treatment):
            return None
        known = comparable(case.read_runs(TASK_RUNS), case.state)
        test = new_experiment(case.state, number, treatment, suggestion, case.settings, self._clock(), known)
        return evolve(test, status="draft")


def next_challenge(
    challengers: Challengers,
    state: TeamState,
    spec: TeamSpec,
    settings: Settings,
    hooks: HookManager,
    experiments: Sequence[Experiment],
    runs: Sequence[TeamRun],
    read_runs: ReadRuns,
) -> Challenge:
    """Return what to test next on a team, or why nothing.

    Args:
        challengers: The tuners of the process.
        state: The team's state.
        spec: The team as configured.
        settings: Its settings.
        hooks: Are asked for further strategies.
        experiments: All its experiments, oldest first.
        runs: Its last comparable runs, newest first; what the strategies suggest is drawn from `HISTORY_RUNS` of them.
        read_runs: Reads its runs, enough for the tuner to learn from.
    """
    tried = [
        experiment.treatment
        for experiment in experiments
        if experiment.fingerprint == state.fingerprint and not may_be_retried(experiment, runs, HISTORY_RUNS)
    ]
    latest = runs[:HISTORY_RUNS]
    suggested = suggestions(spec, state.plan, latest, settings, hooks)
    reasons = [reason_to_wait(one, latest, settings) for one in suggested]
    ready = [one for one, reason in zip(suggested, reasons, strict=True) if reason is None]
    waiting = [(one, reason) for one, reason in zip(suggested, reasons, strict=True) if reason is not None]
    challenge = challengers.choose(state, spec, settings, ready, experiments, tried, read_runs)
    return evolve(challenge, suggested=tuple(suggested), waiting=tuple(waiting))
