"""From one state of an experiment to the next: what each step changes of the team, the experiment and the history.

Judges and persons take the same steps; who decides is their business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from .._model.experiment import Actor, ChangeAction, Experiment, ExperimentStatus, TeamState, TestEnd
from .._model.policy import MORE_IS_BETTER

if TYPE_CHECKING:
    from .._model.plan import TeamPlan
    from .changes import Changes


@frozen
class Why:
    """Why a step is taken, and by whom.

    Attributes:
        reason: In a line for people.
        evidence: What it rests on, as plain data.
        actor: Who took it.
        by: Name of the person, or None.
    """

    reason: str
    evidence: Mapping[str, Any] | None = None
    actor: Actor = "auto"
    by: str | None = None


@frozen
class Steps:
    """The steps of one team at one moment.

    Attributes:
        changes: Where they are collected.
        state: The team's state before; one step is taken from it.
        now: Unix time, seconds.
        live: The experiment behind the live plan, or None.
    """

    changes: Changes
    state: TeamState
    now: float
    live: Experiment | None = None

    def ask(self, test: Experiment, why: Why) -> TeamState:
        """Have a person decide whether a test starts."""
        return self._take("awaits_approval", evolve(test, status="awaits_approval"), self.state, why)

    def start(self, test: Experiment, why: Why) -> TeamState:
        """Start a test. What verifies its control may be another experiment than when it was asked for."""
        started = evolve(test, status="canary", control_id=self.state.live_id)
        return self._take("started", started, evolve(self.state, experiment_id=test.id), why)

    def go_on(self, test: Experiment, status: ExperimentStatus) -> None:
        """Let a test come to another stage; the plan stays, so the history has no line of it."""
        self.changes.save_experiment(evolve(test, status=status))
        self.changes.save_team(self.state)  # so that every process has it in its snapshot

    def put_on_probation(self, test: Experiment, why: Why, improvement_percent: float | None) -> TeamState:
        """Make a plan live that is likely better, while its test goes on."""
        on = evolve(test, status="probation", promoted_at=self.now, asks_for=None)
        after = evolve(self.state, plan=test.treatment, live_id=None)
        return self._take("probation", on, after, why, test, improvement_percent)

    def await_promotion(self, test: Experiment, why: Why, improvement_percent: float | None) -> TeamState:
        """Have a person decide whether a plan that is proven better goes live."""
        waiting = evolve(test, status="awaits_promotion", asks_for=None)
        return self._take("awaits_promotion", waiting, self.state, why, None, improvement_percent)

    def promote(self, test: Experiment, why: Why, improvement_percent: float | None = None) -> TeamState:
        """Make a plan live for good; it is verified from now on, and the plan before no more."""
        proven = evolve(test, status="proven", promoted_at=test.promoted_at or self.now, asks_for=None)
        if self.live is not None and self.live.id != test.id and not self.live.has_ended:
            self.changes.save_experiment(evolve(self.live, status="superseded", ended_at=self.now))
        after = evolve(self.state, plan=test.treatment, experiment_id=None, live_id=test.id)
        return self._take("promoted", proven, after, why, test, improvement_percent)

    def end_test(self, test: Experiment, status: TestEnd, why: Why, action: ChangeAction | None = None) -> TeamState:
        """End a test without a promotion; a plan on probation goes, and the plan before is live again.

        Args:
            action: What the history calls it; None for the status.
        """
        ended = evolve(test, status=status, ended_at=self.now, asks_for=None)
        after = self.state if self.state.experiment_id != test.id else evolve(self.state, experiment_id=None)
        if test.status == "probation":
            after = evolve(after, plan=test.control, live_id=test.control_id)
        return self._take(action or status, ended, after, why)

    def reject_probation(self, test: Experiment, why: Why) -> TeamState:
        """Let a test go on until it is proven, since a person wants no probation."""
        return self._take("rejected", evolve(test, asks_for=None, promotion="proof"), self.state, why)

    def adopt(self, found: Experiment) -> None:
        """Verify a live plan from now on that nothing verified; its history has a line of it already."""
        self.changes.save_experiment(evolve(found, status="proven"))
        self.changes.save_team(evolve(self.state, live_id=found.id))

    def reverify(self, live: Experiment, rounds: int, why: Why) -> TeamState:
        """Compare the live plan with the one before once more.

        Args:
            rounds: How often its watch has asked for that, which names the pairs that it takes.
        """
        return self._take("reverifying", evolve(live, status="reverifying", rounds=rounds), self.state, why)

    def confirm(self, live: Experiment, why: Why) -> TeamState:
        """Let a live plan stay that was verified again."""
        return self._take("confirmed", evolve(live, status="proven"), self.state, why)

    def roll_back(self, live: Experiment, why: Why, before: TeamPlan | None = None) -> TeamState:
        """Make the plan before live again.

        Args:
            before: The plan to go back to; None for the one that the live plan replaced.
        """
        ended = evolve(live, status="rolled_back", ended_at=self.now)
        plan = live.control if before is None else before
        after = evolve(self.state, plan=plan, live_id=None, experiment_id=None)
        return self._take("rolled_back", ended, after, why)

    def _take(
        self,
        action: ChangeAction,
        experiment: Experiment,
        after: TeamState,
        why: Why,
        way_back: Experiment | None = None,
        improvement_percent: float | None = None,
    ) -> TeamState:
        return self.changes.apply(
            after,
            action,
            why.reason,
            before=self.state,
            experiment=experiment,
            actor=why.actor,
            by=why.by,
            evidence=why.evidence,
            rollback_plan=None if way_back is None else way_back.control,
            improvement_percent=improvement_percent,
        )


def improvement_of(test: Experiment, effect: float) -> float:
    """Return a test's effect as an improvement in percent, positive when better."""
    return 100 * effect * (1 if test.policy.metric in MORE_IS_BETTER else -1)
