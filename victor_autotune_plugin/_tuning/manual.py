"""What a person or a program asks for: test a plan on a team's runs, apply it, roll it back, or pause the tuning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve

from .._model.experiment import STATES, TAKES_BACK, Change, ChangeAction, Experiment, TeamState
from .._model.optimization import OptimizationSuggestion
from .._model.plan import TeamPlan
from ..errors import AutotuneError
from .changes import Changes
from .new_experiment import new_test
from .suggestions import TASK_RUNS, comparable
from .transitions import Steps, Why, improvement_of
from .verification import reference_of

if TYPE_CHECKING:
    from .._model.notice import Webhook
    from .._settings import Settings
    from ..storage import Store, Transaction
    from .hookmanager import HookManager


class ManualChanges:
    """Changes of a team's plan that a person or a program asks for; each is one transaction of the store.

    Args:
        store: Gives the store.
        hooks: Are told of the change.
        clock: Unix seconds.
        on_change: Called once a change is in the store.
        webhooks: Gives what is told of it.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        hooks: HookManager,
        clock: Callable[[], float] = time.time,
        on_change: Callable[[], None] = lambda: None,
        webhooks: Callable[[], tuple[Webhook, ...]] = tuple,
    ) -> None:
        self._store = store
        self._hooks = hooks
        self._on_change = on_change
        self._webhooks = webhooks
        self._clock = clock

    def start_test(
        self, key: tuple[str, str], suggestion: OptimizationSuggestion, settings: Settings, evidence: Mapping[str, Any]
    ) -> Experiment:
        """Start the A/B test of a suggestion: the team's next runs take part in it.

        Args:
            key: `(workflow, team_id)`.
            evidence: What the history keeps beside it.

        Returns:
            The test: the one that is open, whatever it tests, where the team has one already.

        Raises:
            AutotuneError: The live plan is being verified again, or the change changes nothing.
            StoreError: If the store can't be used.
        """
        store_id = self._store().identity().id
        with self._open() as (transaction, changes):
            state = transaction.team(*key)
            known = _of(transaction, state.experiment_id)
            if known is not None:
                return known
            live = _of(transaction, state.live_id)
            _check_free(Steps(changes, state, self._clock(), live))
            treatment = _changed(state, suggestion.plan)
            number = len(transaction.experiments_of(*key))
            runs = comparable(transaction.runs_of(*key, TASK_RUNS), state)
            now = self._clock()
            test = new_test(
                state, number, treatment, suggestion, settings, now, runs, store_id=store_id, allowed_by="person"
            )
            for one in transaction.experiments_of(*key):
                if one.status == "awaits_approval":
                    asked = Why("A person started another test instead.", actor="person")
                    state = Steps(changes, state, now, live).end_test(one, "aborted", asked)
            why = Why(suggestion.description, {**suggestion.to_dict(), **evidence}, "person")
            Steps(changes, state, now, live).start(test, why)
        return evolve(test, status="canary")

    def apply(
        self,
        key: tuple[str, str],
        plan: TeamPlan,
        reason: str,
        *,
        evidence: Mapping[str, Any],
        improvement_percent: float | None = None,
        watched: tuple[OptimizationSuggestion, Settings] | None = None,
    ) -> Change:
        """Make a plan the team's live plan; what it does not set stays.

        A test that is open ends, with a line of its own. The plan is verified from now on, against the team's runs
        under the plan before; changes by hand that follow one another are verified together, against the plan before
        all.

        Args:
            key: `(workflow, team_id)`.
            plan: The knobs to change; empty where the change was made elsewhere, such as in a file, and is only noted.
            evidence: What it rests on, and what restores the state before.
            improvement_percent: Proven improvement, or None.
            watched: What is applied, and the team's settings, by which it is verified; None for no verification.

        Returns:
            The line in the history.

        Raises:
            StoreError: If the store can't be used.
        """
        store_id = self._store().identity().id
        with self._open() as (transaction, changes):
            state, now = transaction.team(*key), self._clock()
            test, live = _of(transaction, state.experiment_id), _of(transaction, state.live_id)
            if test is not None:
                why = Why("A person applied another change, which ended the test.", actor="person")
                on_probation = test.status == "probation"
                state = Steps(changes, state, now, live).end_test(test, test.broken_off, why)
                live = _of(transaction, test.control_id) if on_probation else live
            treatment = state.plan.merged(plan)
            verifies = None
            if treatment != state.plan:
                if watched is not None:
                    verifies = self._verifier(transaction, state, treatment, live, *watched, store_id)
                if live is not None and not live.has_ended:
                    changes.save_experiment(evolve(live, status="superseded", ended_at=now))
                    live = None
            changes.apply(
                evolve(
                    state,
                    plan=treatment,
                    experiment_id=None,
                    live_id=verifies.id if verifies is not None else live.id if live is not None else None,
                ),
                "promoted",
                reason,
                before=state,
                experiment=verifies,
                actor="person",
                evidence=evidence,
                rollback_plan=state.plan,
                improvement_percent=improvement_percent,
            )
        return changes.made[-1][0]

    def _verifier(
        self,
        transaction: Transaction,
        state: TeamState,
        treatment: TeamPlan,
        live: Experiment | None,
        suggestion: OptimizationSuggestion,
        settings: Settings,
        store_id: str,
    ) -> Experiment | None:
        """Return what verifies a plan that is applied; None where that is off or there are no runs to compare with."""
        if not settings.watch.enabled or state.spec is None:
            return None
        number, now = len(transaction.experiments_of(*state.key)), self._clock()
        made = new_test(state, number, treatment, suggestion, settings, now, store_id=store_id, allowed_by="person")
        if live is not None and live.is_untested and live.proven_by is None:
            control, reference = live.control, live.reference
        else:
            control = state.plan
            runs = comparable(transaction.runs_of(*state.key, TASK_RUNS), state)
            reference = reference_of(runs, control, treatment)
        if not reference or treatment == control:
            return None
        return evolve(made, control=control, status="proven", promoted_at=now, reference=reference, control_id=None)

    def note(self, key: tuple[str, str], action: ChangeAction, reason: str, *, evidence: Mapping[str, Any]) -> Change:
        """Add a line to a team's history; its plan and its test stay.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._open() as (transaction, changes):
            state = transaction.team(*key)
            changes.apply(state, action, reason, before=state, actor="person", evidence=evidence)
        return changes.made[-1][0]

    def roll_back(
        self, workflow: str, team_id: str, reason: str = "Rolled back by hand.", *, change_id: int | None = None
    ) -> Change:
        """Roll back a promotion exactly, with those made on top of it, and end the experiment that is open.

        While a test is open and no promotion is named, only the test is ended.

        Args:
            change_id: Id of the promotion in the history, one of `in_effect`; None for the latest.

        Returns:
            The line in the history.

        Raises:
            AutotuneError: If there is nothing to roll back, or that change is not in effect.
            StoreError: If the store can't be used.
        """
        key = (workflow, team_id)
        with self._open() as (transaction, changes):
            state, now = transaction.team(*key), self._clock()
            promoted = in_effect(transaction.changes_of(*key), state.plan)
            test = _of(transaction, state.experiment_id)
            live = _of(transaction, state.live_id or (None if test is None else test.control_id))
            if change_id is not None and change_id not in [change.id for change in promoted]:
                raise AutotuneError(
                    f"change {change_id} of team {key[1]!r} is not in effect",
                    hint="victor autotune rollback --list shows what can be rolled back",
                )
            if not promoted and test is None:
                raise AutotuneError(
                    f"team {key[1]!r} of workflow {key[0]!r} has no change to roll back",
                    hint="victor autotune history shows what was changed",
                )
            on_probation = test is not None and test.status == "probation"
            if test is not None and change_id is None and not on_probation:
                Steps(changes, state, now, live).end_test(test, "aborted", Why(reason, actor="person"))
            else:
                taken = [
                    one for one in promoted if one.id is not None and one.id >= (change_id or promoted[-1].id or 0)
                ]
                back_to = live if on_probation and len(taken) == 1 else None
                ended = [
                    evolve(one, status=one.broken_off, ended_at=now, asks_for=None)
                    for one in (live, test)
                    if one is not None and one is not back_to
                ]
                for one in ended[:-1]:
                    changes.save_experiment(one)
                before, live_id = taken[0].rollback_plan, None if back_to is None else back_to.id
                changes.apply(
                    evolve(state, plan=state.plan if before is None else before, experiment_id=None, live_id=live_id),
                    "rolled_back",
                    reason,
                    before=state,
                    experiment=ended[-1] if ended else None,
                    actor="person",
                    evidence={TAKES_BACK: [change.id for change in taken]},
                )
        return changes.made[-1][0]

    def approve(self, workflow: str, team_id: str, *, experiment_id: str | None = None, by: str) -> Change:
        """Approve what awaits a person: the start of a test, a probation, or a promotion.

        Args:
            experiment_id: The experiment that was shown, which must be the one that awaits; None for whichever does.
            by: Who approves.

        Returns:
            The line in the history.

        Raises:
            AutotuneError: Nothing awaits a person, another change does, or the team changed since it was asked for.
            StoreError: If the store can't be used.
        """
        with self._open() as (transaction, changes):
            steps, asked = self._asked(transaction, changes, (workflow, team_id), experiment_id)
            effect = (asked.verdict or {}).get("effect")
            gain = None if effect is None else improvement_of(asked, effect)
            if asked.status == "awaits_approval":
                _check_free(steps)
                steps.start(asked, Why(asked.description, actor="person", by=by))
            elif asked.status == "awaits_promotion":
                steps.promote(asked, Why(_reason(asked), asked.verdict, "person", by), gain)
            else:
                steps.put_on_probation(asked, Why("Approved: live while its test goes on.", None, "person", by), None)
        return changes.made[-1][0]

    def reject(
        self, workflow: str, team_id: str, *, experiment_id: str | None = None, by: str, reason: str = ""
    ) -> Change:
        """Reject what awaits a person; arguments, returns and errors are those of `approve`.

        A test that was asked for does not start, a plan that awaits its promotion does not go live, and a test whose
        plan was to go on probation goes on until it is proven.

        Args:
            reason: Why, in the person's words.
        """
        with self._open() as (transaction, changes):
            steps, asked = self._asked(transaction, changes, (workflow, team_id), experiment_id)
            why = Why(reason or "Rejected.", None, "person", by)
            if asked.asks_for is None:
                steps.end_test(asked, "aborted", why, "rejected")
            else:
                steps.reject_probation(asked, why)
        return changes.made[-1][0]

    def _asked(
        self, transaction: Transaction, changes: Changes, key: tuple[str, str], experiment_id: str | None
    ) -> tuple[Steps, Experiment]:
        """Return what awaits a person, and the steps of its team."""
        state = transaction.team(*key)
        open_ones = [
            one
            for one in transaction.experiments_of(*key)
            if not one.has_ended and (STATES[one.status].awaits_person or one.asks_for)
        ]
        asked = next((one for one in open_ones if experiment_id in (None, one.id)), None)
        if asked is None:
            named = "" if experiment_id is None else f" with the id {experiment_id}"
            raise AutotuneError(
                f"nothing{named} of team {key[1]!r} of workflow {key[0]!r} awaits a person",
                hint="victor autotune status shows what does",
            )
        if asked.fingerprint != state.fingerprint or state.plan != asked.control:
            raise AutotuneError(
                f"team {key[1]!r} changed since {asked.id} was asked for, so it can't be decided any more",
                hint="What fits the team now is asked for after its next runs.",
            )
        return Steps(changes, state, self._clock(), _of(transaction, state.live_id)), asked

    def set_paused(self, workflow: str, team_id: str, paused: bool) -> TeamState:
        """Pause the tuning of a team, or resume it; return the new state, unchanged when it was so before.

        While it is paused, runs keep the live plan and no experiment takes part or is judged.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._open() as (transaction, changes):
            state = transaction.team(workflow, team_id)
            if state.paused == paused:
                return state
            action: ChangeAction = "paused" if paused else "resumed"
            after = evolve(state, paused=paused)
            return changes.apply(after, action, f"{action.capitalize()} by hand.", before=state, actor="person")

    def pause_all(self, paused: bool) -> bool:
        """Pause all tuning, in every environment and process, or let it go on; return whether that changes anything.

        Processes notice within a second while teams run. Each team keeps its live plan meanwhile.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._store().transaction() as transaction:
            changed = transaction.pause_all(paused)
        self._on_change()
        return changed

    @contextmanager
    def _open(self) -> Iterator[tuple[Transaction, Changes]]:
        """Open a transaction, which locks the team when it is read; at its end the changes are written, and told."""
        changes = Changes(self._clock, self._webhooks())
        with self._store().transaction() as transaction:
            yield transaction, changes
            changes.write(transaction)
        self._on_change()
        for change, experiment in changes.made:
            self._hooks.plan_changed(change, experiment)


def _of(transaction: Transaction, experiment_id: str | None) -> Experiment | None:
    return None if experiment_id is None else transaction.experiment(experiment_id)


def _reason(test: Experiment) -> str:
    return str((test.verdict or {}).get("reason", test.description))


def _check_free(steps: Steps) -> None:
    """Check that nothing is in the way of a test: another one, or the verification of the plan it compares with."""
    named = f"team {steps.state.team_id!r}"
    if steps.state.experiment_id is not None:
        raise AutotuneError(
            f"{named} has another test open", hint="Wait for its end, or end it: victor autotune rollback"
        )
    if steps.live is not None and steps.live.status == "reverifying":
        raise AutotuneError(
            f"the live plan of {named} is being verified again",
            hint="Wait for the end of that, or roll it back: victor autotune rollback",
        )


def _changed(state: TeamState, plan: TeamPlan) -> TeamPlan:
    treatment = state.plan.merged(plan)
    if treatment == state.plan:
        raise AutotuneError(f"the change changes nothing: team {state.team_id!r} already runs this plan")
    return treatment


def in_effect(changes: Sequence[Change], plan: TeamPlan) -> list[Change]:
    """Return the promotions that led to a team's live plan and were not rolled back, oldest first.

    It walks back from the live plan: each promotion led from the plan it replaced to the plan it made. So a history
    that was imported, or that a changed definition of the team made void, is not in effect.

    Args:
        changes: The team's history, oldest first.
    """
    taken_back = {number for change in changes for number in change.takes_back}
    chain: list[Change] = []
    for change in reversed(changes):
        if (
            change.action in ("promoted", "probation")
            and change.id not in taken_back
            and change.rollback_plan is not None
            and change.rollback_plan != change.plan_after  # else it was made elsewhere, and is only noted
            and change.plan_after == plan
        ):
            chain.append(change)
            plan = change.rollback_plan
    return chain[::-1]
