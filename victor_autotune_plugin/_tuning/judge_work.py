"""What the judge thread does: it takes finished runs in the store's order and draws the conclusions from each.

One process at a time judges a team: it holds a lease, whose number is checked in the transaction that writes a
conclusion. So what a process decided that lost its lease meanwhile is not written, and the next holder, which reads the
same runs in the same order, decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from .. import failsafe
from .._model.experiment import TeamState
from ..errors import LeaseLostError, StaleStateError, StoreError
from .changes import Changes
from .flow_guard import ends_what_cuts
from .gate_guard import ends_what_lost_its_gate, keep_gates
from .hookmanager import HookManager
from .judges import Judges
from .merged import is_merged, note_merged
from .next_test import Approval, Challengers, RunContext, Starter
from .record import PIECE, Record, TeamMemo
from .snapshot import TESTING, Memory
from .store_work import BEAT_SECONDS, IDLE_SECONDS
from .threads import Breather, breathing
from .verdicts import Verdicts
from .verification import Verification, adopted
from .writer import CircuitBreaker

if TYPE_CHECKING:
    from .._model.data_flow import TeamFlow
    from .._model.experiment import Experiment
    from .._model.notice import Webhook
    from .._model.run import TeamRun
    from .._settings import Settings
    from ..storage import Store, Transaction
    from ..storage.transaction import Lease

LEASE_SECONDS: Final = 5.0
"""How long a judge holds a team without a word, and so how long a dead one holds it."""

LEFT_ALONE_SECONDS: Final = 30.0
"""How long a team is left to the judge that holds it; the poll finds at once when that falls silent."""

GATHER_SECONDS: Final = 1.0
"""A team that was judged a moment ago waits so long for more runs: what is read of it serves all of them."""

POLL_SECONDS: Final = 1.0
"""How often runs are looked for that other processes left, while teams run."""

SUGGEST_EVERY: Final = 5
"""A team without an experiment is looked at again after this many runs."""

APPROVAL_SECONDS: Final = 30.0
"""How long a hook may take to approve a change."""

_TRIES: Final = 3
# Conclusions that meet a change by a person are drawn again from the new state.

Key = tuple[str, str]


@define
class _Held:
    """A team that this process judges.

    Attributes:
        fence: Number of the lease.
        flow: The data flow that the runs showed that were judged.
        experiments: Ids of those that are judged.
        memo: What was read of it for the runs that are judged now.
    """

    fence: int
    flow: TeamFlow
    experiments: tuple[str | None, ...] = ()
    memo: TeamMemo = field(factory=TeamMemo)


class JudgeWork:
    """The work of the judge thread.

    Args:
        store: Gives the store, or None while it is not reached.
        holder: The process's id.
        on_change: Called when a team's state has changed.
        webhooks: Gives what is told of that.
        breaker: Of the judge's own use of the store.
    """

    def __init__(
        self,
        store: Callable[[], Store | None],
        memory: Memory,
        hooks: HookManager,
        holder: str,
        *,
        on_change: Callable[[], None],
        breaker: CircuitBreaker,
        webhooks: Callable[[], tuple[Webhook, ...]] = tuple,
    ) -> None:
        self._store = store
        self._memory = memory
        self._hooks = hooks
        self._holder = holder
        self._on_change = on_change
        self._webhooks = webhooks
        self.breaker = breaker
        self._judges = Judges()
        self.challengers = Challengers()
        self._verdicts = Verdicts(self._judges, self.challengers)
        self._verification = Verification(self._judges)
        self._starter = Starter(self.challengers, hooks)
        self._touched: dict[Key, None] = {}
        """The teams to judge, in order; both threads only set and take out single keys."""
        self._held: dict[Key, _Held] = {}
        self._refused: dict[Key, float] = {}
        """Until when to leave a team to the holder of its lease unless that falls silent, in monotonic seconds."""
        self._gathers: dict[Key, float] = {}
        """Until when a team gathers runs, in monotonic seconds."""
        self.is_hurried = False
        """Whether `settle` waits until all is judged, so that no team gathers runs."""
        self._next_poll = 0.0
        self._is_at_work = False
        self._breathe = Breather()

    def touch(self, keys: Collection[Key]) -> None:
        """Have teams judged that have new finished runs; called by the store thread."""
        for key in keys:
            self._touched[key] = None

    @property
    def is_idle(self) -> bool:
        """Whether no team waits to be judged, or none can be."""
        return not self._is_at_work and (not self._touched or self.breaker.is_open)

    def step(self, now: float) -> float:
        """Judge what is due.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds after which to call again at the latest; 0 for at once.
        """
        store = self._store()
        left = self.breaker.seconds_left(now)
        if store is None or left > 0:
            return max(left, 0.05)
        self._is_at_work = True
        hurried, self.is_hurried = self.is_hurried, False
        try:
            if now >= self._next_poll:
                self._poll(store, now)
            for key in tuple(self._touched):
                if not hurried and self._gathers.get(key, now) > now:
                    continue
                del self._touched[key]  # before it is judged: a run that ends meanwhile touches it again
                if self._refused.get(key, now) > now:
                    continue
                try:
                    more = self._judge_team(store, key, now)
                except StoreError:  # its runs may be numbered by now, and then no poll would find them again
                    self._touched[key] = None
                    raise
                if more:
                    self._touched[key] = None
                else:
                    self._gathers[key] = now + GATHER_SECONDS
            self.breaker.succeeded()
        except StoreError as error:
            failsafe.report("judgement", error)
            self.breaker.failed(now)
        finally:
            self._is_at_work = False
        waiting = tuple(self._touched)
        due = min([self._next_poll, *(self._gathers.get(key, now) for key in waiting)])
        return max(due - now, self.breaker.seconds_left(now) if waiting else 0.0, 0.0)

    def close(self) -> None:
        """Let other processes judge the teams that this one judged. Raises nothing."""
        held, self._held = self._held, {}
        store = self._store()
        if store is None or not held:
            return
        with failsafe.guard("end of a judge"), store.transaction() as transaction:
            for key, one in held.items():
                transaction.give_back_lease(*key, self._holder, one.fence)

    def _poll(self, store: Store, now: float) -> None:
        """Find runs that other processes left: their judge may have died."""
        active = now - self._memory.last_run_at < IDLE_SECONDS
        self._next_poll = now + (POLL_SECONDS if active else BEAT_SECONDS)
        keys = tuple(self._memory.settings)
        if keys:
            with store.reading() as transaction:
                found = {*transaction.untaken(keys, self._holder), *transaction.behind(keys, self._holder)}
            for key in found:
                self._refused.pop(key, None)  # no other process holds it any more
            self.touch([key for key in keys if key in found])

    def _judge_team(self, store: Store, key: Key, now: float) -> bool:
        """Judge the next runs of a team; return whether there may be more."""
        settings = self._memory.settings.get(key)
        if settings is None:
            return False
        with store.transaction() as transaction:
            lease = transaction.take_lease(*key, self._holder, LEASE_SECONDS)
            if lease is not None:
                transaction.number_runs(*key, PIECE)
        if lease is None:
            self._let_go(key)
            self._refused[key] = now + LEFT_ALONE_SECONDS
            return False
        self._refused.pop(key, None)
        held = self._held.get(key)
        if held is None or held.fence != lease.fence:
            self._let_go(key)
            held = self._held[key] = _Held(lease.fence, lease.flow)
        held.flow = lease.flow  # what failed half-way is judged again
        held.memo.forget()
        with store.reading() as transaction:  # once others may write again
            runs = transaction.runs_after(*key, lease.judged, PIECE)
        try:
            for run in runs:
                if run.status == "finished" and self._is_own(store, held, run):
                    held.flow = held.flow.after(run)
                self._judge_run(store, lease, held, run, settings)
                self._breathe()
            if runs:
                with store.transaction() as transaction:
                    transaction.check_lease(*key, self._holder, lease.fence)
                    transaction.save_judged(*key, runs[-1].number or 0, held.flow)
        except LeaseLostError:
            self._let_go(key)
            return False
        return len(runs) == PIECE

    @staticmethod
    def _is_own(store: Store, held: _Held, run: TeamRun) -> bool:
        """Return whether a run is of its team's own definition, and not of one that took a plan over."""
        if held.flow.fingerprint in (None, run.spec.fingerprint()):
            return True
        return not is_merged(Record(store, run.spec.key, run.number, held.memo), run.spec)

    def _let_go(self, key: Key) -> None:
        held = self._held.pop(key, None)
        for experiment_id in held.experiments if held is not None else ():
            if experiment_id is not None:
                self._judges.forget(experiment_id)

    def _judge_run(self, store: Store, lease: Lease, held: _Held, run: TeamRun, settings: Settings) -> None:
        """Draw the conclusions from one run: promote, fail, roll back, or start a test."""
        approval = Approval() if settings.mode == "approve" else Approval(given=True)
        self._conclude(store, lease, held, run, settings, approval)
        if approval.asked is None:
            return
        experiment, step = approval.asked
        answer = self._hooks.ask("approve_change", APPROVAL_SECONDS, experiment=experiment, step=step)
        if answer is None:
            return
        key = run.spec.key
        with store.transaction() as transaction:  # it may have taken longer than the lease lasts
            again = transaction.take_lease(*key, self._holder, LEASE_SECONDS)
        if again is None or again.fence != lease.fence:
            raise LeaseLostError(f"another process judges team {key[1]!r} now")
        held.memo.forget()
        given = Approval(given=answer.value is True, by=answer.by)
        self._conclude(store, lease, held, run, settings, given)

    def _conclude(
        self, store: Store, lease: Lease, held: _Held, run: TeamRun, settings: Settings, approval: Approval
    ) -> None:
        for _ in range(_TRIES):
            changes = Changes(lambda: run.ended_at, self._webhooks())
            approval.asked = None
            record = Record(store, run.spec.key, run.number, held.memo)
            try:
                self._draw_conclusions(record, changes, held, run, settings, approval)
            except StoreError:
                raise
            except Exception as error:  # what fails for one run must not hold up the next
                failsafe.report("judgement of a run", error)
                return
            if changes.is_empty:
                return
            try:
                with store.transaction() as transaction:
                    transaction.check_lease(*run.spec.key, self._holder, lease.fence)
                    _check_version(transaction, record)
                    transaction.save_judged(*run.spec.key, run.number or 0, held.flow)
                    changes.write(transaction)  # last, since all judges wait for the store's revision
            except LeaseLostError:
                raise
            except StaleStateError as error:  # a person changed the team meanwhile
                failsafe.report("judgement of a run", error)
                held.memo.forget()
                continue
            held.memo.forget()
            self._on_change()
            for change, experiment in changes.made:
                self._hooks.plan_changed(change, experiment)
            return

    def _draw_conclusions(
        self, record: Record, changes: Changes, held: _Held, run: TeamRun, settings: Settings, approval: Approval
    ) -> None:
        if settings.mode == "observe":
            return
        is_new = record.state.fingerprint is None
        if record.state.fingerprint != run.spec.fingerprint():
            if is_merged(record, run.spec):
                note_merged(record, changes, run.spec)
                return
            if run.missing or _is_outdated(record, run):
                return  # the team has changed meanwhile, or may have
        state = self._kept_up(record, changes, run)
        state, lost = keep_gates(record, changes, state, run, settings)
        paused = state.paused or self._memory.snapshot.paused
        if settings.plan is not None or paused or (run.missing and run.experiment_id is None):
            return
        test = record.experiment(state.experiment_id) if state.experiment_id else None
        live_id = state.live_id or (None if test is None else test.control_id)
        live = record.experiment(live_id) if live_id else None
        held.experiments = state.experiment_id, live_id
        context = RunContext(record, changes, state, run, settings, approval, held.flow, live)
        if (
            ends_what_lost_its_gate(context, test, lost)
            or ends_what_cuts(context, test)
            or settings.mode not in TESTING
        ):
            return
        if settings.watch.enabled:
            if self._verifies(context, test):
                return
        elif live is not None and live.status == "reverifying":  # else nothing would ever be tested over it
            context.steps.go_on(live, "proven")
            return
        if test is not None:
            if run.experiment_id == test.id or test.status == "awaits_promotion":
                self._verdicts.conclude(context, test)
        elif (live is None or live.status == "proven") and (is_new or self._is_due(run, settings)):
            with breathing():  # strategies and the tuner compute for milliseconds
                self._starter.start(context)

    def _verifies(self, context: RunContext, test: Experiment | None) -> bool:
        """Draw the conclusions for the live plan; return whether anything was changed.

        While a test has its treatment on probation, what is verified is proven by that test.
        """
        live, run = context.live, context.run
        if live is None:
            found = adopted(context)
            if found is not None:
                context.steps.adopt(found)
            return found is not None
        if context.state.live_id is None or (run.experiment_id not in (live.id, None if test is None else test.id)):
            return False
        return self._verification.conclude(context, live, test)

    def _is_due(self, run: TeamRun, settings: Settings) -> bool:
        """Return whether it is time to look for something to test.

        It is when there are enough runs for one; after each run of a test, which may just have ended; and now and then.
        It follows from the run alone, so that it does not matter which process judges it.
        """
        number, least = run.number or 0, settings.experiment.min_history
        if run.phase == "test" or number % SUGGEST_EVERY == 0:
            return True
        return least <= number <= max(least, SUGGEST_EVERY)

    def _kept_up(self, record: Record, changes: Changes, run: TeamRun) -> TeamState:
        """Return the state of a team, reset where the team's definition has changed."""
        state, spec = record.state, run.spec
        fingerprint = spec.fingerprint()
        if state.fingerprint == fingerprint:
            return state
        known = state.fingerprint is not None
        fresh = evolve(state, fingerprint=fingerprint, spec=spec)  # keeps what was asked for before its first run
        if known:
            fresh = evolve(fresh, plan=spec.plan_to_start_from, experiment_id=None, live_id=None, merged=())
        elif fresh.plan.is_empty:
            fresh = evolve(fresh, plan=spec.plan_to_start_from)
        if known and (state.experiment_id is not None or not state.plan.is_empty):
            test = record.experiment(state.experiment_id) if state.experiment_id else None
            live_id = state.live_id or (None if test is None else test.control_id)
            live = record.experiment(live_id) if live_id else None
            ended = [
                evolve(
                    one,
                    status="superseded" if one is live else one.broken_off,
                    ended_at=run.ended_at,
                    asks_for=None,
                )
                for one in (live, test)
                if one is not None and not one.has_ended
            ]
            for one in ended[:-1]:
                changes.save_experiment(one)
            reason = "The definition of the team changed, so what was learnt before no longer holds."
            return changes.apply(fresh, "aborted", reason, before=state, experiment=ended[-1] if ended else None)
        return changes.save_team(fresh)


def _check_version(transaction: Transaction, record: Record) -> None:
    """Make sure that the team is as it was read, which may have been some runs ago."""
    if transaction.team(*record.state.key).version != record.state.version:
        raise StaleStateError("the team changed after it was read", hint="It is read again, and judged again.")


def _is_outdated(record: Record, run: TeamRun) -> bool:
    """Return whether a run of another definition began before one of the team's present definition did."""
    now = record.state.fingerprint
    return any(one.started_at > run.started_at and one.spec.fingerprint() == now for one in record.runs(PIECE))
