"""The plugin's own pluggy manager: finds hook implementations and calls each of them on its own.

The built-in ones (`autotune.*`) read memory and are called where the run is. Those of third parties are called on hook
threads, with a deadline: one that raises, hangs or answers nonsense costs its own answer, and no other.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import pluggy
from attrs import evolve

from .. import failsafe
from ..hookspecs import DEPRECATED, PROJECT, ChangeSpecs, PlannedRun, RunSpecs, RunStart, TeamRun
from .hook_answers import answer_of
from .hook_calls import Call, HookStatus, HookWatch, Implementation
from .hook_hop import Answer, Hop
from .team_scorers import BEHIND_SECONDS, AddedScorer, HookScorer
from .threads import Lane

if TYPE_CHECKING:
    from .._model.experiment import Change, Experiment
    from .._model.plan import TeamSpec

BUILT_IN: Final = "autotune."
"""What the names of the built-in hooks begin with."""

_MOST_DEFINITIONS: Final = 1000
# Of teams, whose scorers are kept: a program may make a new team for every task.

_OLD_HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "started": ("experiment_started",),
    "promoted": ("experiment_decided", "plan_promoted"),
    "failed": ("experiment_decided",),
    "inconclusive": ("experiment_decided",),
    "aborted": ("experiment_decided",),
    "rolled_back": ("plan_rolled_back",),
}
"""The hooks of 0.1 that each action of a change still calls where it has an experiment; they go with 0.3."""


class HookManager:
    """Holds the hook implementations and calls them so that none can hurt a run or another one.

    Args:
        hook_seconds: How long third parties' `plan_team_run` and `before_team_run` may hold up a run, both together.
        clock: Monotonic seconds.
    """

    def __init__(self, *, hook_seconds: float = 0.05, clock: Callable[[], float] = time.monotonic) -> None:
        self.hook_seconds = hook_seconds
        self._clock = clock
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(RunSpecs)
        self._manager.add_hookspecs(ChangeSpecs)
        self._theirs: dict[tuple[str, str], Implementation] = {}
        self._ordered: dict[str, tuple[list[pluggy.HookImpl], list[Implementation]]] = {}
        self._scorers: dict[tuple[str, str, str], tuple[AddedScorer, ...]] = {}
        self._watch = HookWatch(lambda: tuple(self._theirs.values()), clock)
        self._renew()

    # --- registration

    def register(self, plugin: object, name: str) -> None:
        """Add hook implementations.

        Args:
            plugin: A module or object with functions marked by `hookimpl`.
            name: Name to log and to show.

        Raises:
            ValueError: If that name or object is registered already.
            pluggy.PluginValidationError: If it implements a hook that does not exist, takes arguments that the
                hook does not have, or is a wrapper.
        """
        self._ordered.clear()
        self._scorers.clear()
        try:
            self._manager.register(plugin, name)
            for caller in self._manager.get_hookcallers(plugin) or []:
                if any(impl.plugin is plugin and (impl.wrapper or impl.hookwrapper) for impl in caller.get_hookimpls()):
                    raise pluggy.PluginValidationError(plugin, f"hook {caller.name!r}: wrappers are not supported")
            self._manager.check_pending()
        except (pluggy.PluginValidationError, DeprecationWarning):  # the warning, where warnings are errors
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise
        old = [caller.name for caller in self._manager.get_hookcallers(plugin) or [] if caller.name in DEPRECATED]
        if old:  # Python shows the warning of the specification to few
            texts = "; ".join(DEPRECATED[hook] for hook in old)
            failsafe.logger.warning("autotune: hooks of %r are deprecated: %s", name, texts)

    def load_entry_points(self) -> None:
        """Register the hook packages that are installed; a broken one is reported."""
        for entry in entry_points(group=PROJECT):
            if self._manager.has_plugin(entry.name):
                continue
            with failsafe.guard(f"hook package {entry.name!r}"):
                if entry.name.startswith(BUILT_IN):
                    raise ValueError(f"names that begin with {BUILT_IN!r} are the plugin's own")
                self.register(entry.load(), entry.name)

    def names(self) -> tuple[str, ...]:
        """Return the names of the registered plugins."""
        return tuple(name for name, plugin in self._manager.list_name_plugin() if plugin is not None)

    def status(self) -> list[HookStatus]:
        """Return how the implementations of third parties behave that could have been called so far."""
        found = [one.status() for one in tuple(self._theirs.values())]
        return sorted(found, key=lambda one: (one.plugin, one.hook))

    # --- on the event loop

    async def plan(self, event: RunStart) -> PlannedRun | None:
        """Ask for the plan of a run, and let `before_team_run` change it; None when no implementation answered.

        Third parties' implementations of `plan_team_run` are asked before the built-in one. Without any third party
        nothing is waited for.
        """
        start = self._clock()
        planned: PlannedRun | None = None
        if self._of("plan_team_run")[1]:
            for answer in await self._asked("plan_team_run", {"event": event}, start, most=1):
                planned = answer.value
        if planned is None:
            for answer in self._built_in("plan_team_run", {"event": event}):
                planned = answer.value
                break
        if planned is None:
            return None
        if not self._of("before_team_run")[1]:
            return planned
        arguments: dict[str, Any] = {"event": event, "planned": planned}

        def change(answer: Answer) -> None:
            """Let the next implementation see what this one made of the plan."""
            so_far: PlannedRun = arguments["planned"]
            if answer.value != so_far.plan:
                arguments["planned"] = _changed(so_far, answer)

        for answer in await self._asked("before_team_run", arguments, start, on_answer=change):
            if answer.value != planned.plan:
                planned = _changed(planned, answer)
        return planned

    def valued(self, run: TeamRun) -> TeamRun:
        """Return a run with the cost that the built-in hooks give it."""
        for answer in self._built_in("price_team_run", {"run": run}):
            if answer.value != run.cost_usd:
                run = evolve(run, cost_usd=answer.value)
        return run

    def tell_built_in(self, hook: str, **arguments: Any) -> None:
        """Call the built-in implementations of a hook."""
        for implementation in self._of(hook)[0]:
            answer_of(hook, implementation, arguments, Exception)

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call the built-in implementations of a hook, and have those of third parties called behind."""
        self.tell_built_in(hook, **arguments)
        if self._of(hook)[1]:
            self._tell_behind(hook, arguments, contextvars.copy_context())

    @property
    def scores_runs(self) -> bool:
        """Whether a third party scores runs, or may add what does."""
        return bool(self._of("score_team_run")[1] or self._of("add_scorers")[1])

    @property
    def has_graders(self) -> bool:
        """Whether a third party prices runs."""
        return bool(self._of("price_team_run")[1])

    def grade(self, run: TeamRun, done: Callable[[TeamRun], None]) -> None:
        """Have a finished run priced by third parties behind it, and then told to them.

        Args:
            run: The run, with the built-in cost.
            done: Called, on another thread, with the run as they priced it, where any of them prices runs.
        """
        told = bool(self._of("after_team_run")[1])
        if not (told or self.has_graders):
            return

        context = contextvars.copy_context()

        def start() -> None:
            graded = self.valued(run) if run.cost_usd is None else run
            theirs = self._of("price_team_run")[1]
            then = lambda answers: priced(graded, answers)  # noqa: E731
            Hop("price_team_run", theirs, {"run": graded}, BEHIND_SECONDS, context, most=1, then=then).next()

        def priced(graded: TeamRun, answers: list[Answer]) -> None:
            graded = evolve(graded, cost_usd=answers[0].value) if answers else graded
            try:
                if self.has_graders:
                    with failsafe.guard("price of a run"):
                        done(graded)
                self._tell_behind("after_team_run", {"run": graded}, context)
            finally:
                self._count(-1)

        self._count(1)
        # On a thread of its own from the start, so that `done` never runs on the event loop, and nothing that a price
        # needs is loaded there.
        self._lane.put(start)

    def behind(self, job: Callable[[], object]) -> None:
        """Have a job of a built-in hook done behind; `flush` waits for it, too."""

        def counted() -> None:
            try:
                job()
            finally:
                self._count(-1)

        self._count(1)
        self._lane.put(counted)

    # --- on other threads

    def ask(self, hook: str, seconds: float, **arguments: Any) -> Answer | None:
        """Call the implementations of a hook until one answers; third parties' first, within so many seconds."""
        for answer in self._ask_here(hook, seconds, arguments, most=1):
            return answer
        for answer in self._built_in(hook, arguments):
            return answer
        return None

    def answers(self, hook: str, **arguments: Any) -> list[Answer]:
        """Call all implementations of a hook and return what they answered; those of third parties within seconds."""
        return [*self._ask_here(hook, BEHIND_SECONDS, arguments), *self._built_in(hook, arguments)]

    def scorers(self, spec: TeamSpec) -> Sequence[AddedScorer | HookScorer]:
        """Return the scorers of third parties for a team; it may wait for them, the first time that it is asked.

        Returns:
            Those that `add_scorers` gives for the team as it is defined, then one for each implementation of
            `score_team_run`, under the name of its package.
        """
        if not self.scores_runs:
            return ()
        definition = (*spec.key, spec.fingerprint())
        added = self._scorers.get(definition)
        if added is None:
            theirs = self._of("add_scorers")[1]
            lates = sum(one.lates for one in theirs)
            found = self.answers("add_scorers", spec=spec) if theirs else []
            added = tuple(AddedScorer.all_of(scorer for answer in found for scorer in answer.value))
            if all(one.is_ready for one in theirs) and lates == sum(one.lates for one in theirs):
                self._scorers[definition] = added  # else one that was late may have some after all
            while len(self._scorers) > _MOST_DEFINITIONS:
                self._scorers.pop(next(iter(self._scorers)), None)
        return *added, *(HookScorer(one) for one in self._of("score_team_run")[1])

    def plan_changed(self, change: Change, experiment: Experiment | None) -> None:
        """Tell of a line that was added to a team's history."""
        self.tell("plan_changed", change=change, experiment=experiment)
        for hook in _OLD_HOOKS.get(change.action, ()) if experiment is not None else ():
            self.tell(hook, change=change, experiment=experiment)

    @property
    def is_flushed(self) -> bool:
        """Whether nothing is called behind now."""
        return not self._behind

    def flush(self, seconds: float) -> None:
        """Wait until what is called behind has been called, at most so many seconds."""
        with self._lock:
            if not self._behind:
                return
            done: SimpleQueue[None] = SimpleQueue()
            self._flushing.append(done)
        with suppress(Empty):
            done.get(timeout=max(0.0, seconds))

    def forget_after_fork(self) -> None:
        """Make new threads in a forked child, which has none of its parent's."""
        self._renew()
        self._watch.renew()
        for implementation in self._theirs.values():
            implementation.renew()

    def _renew(self) -> None:
        self._lane = Lane("hooks behind a run")
        self._lock = threading.Lock()
        self._behind = 0
        self._flushing: list[SimpleQueue[None]] = []

    # --- how they are called

    def _of(self, hook: str) -> tuple[list[pluggy.HookImpl], list[Implementation]]:
        """Return the built-in implementations and those of third parties, each in pluggy's calling order."""
        known = self._ordered.get(hook)
        if known is None:
            found = list(reversed(getattr(self._manager.hook, hook).get_hookimpls()))
            own = [one for one in found if one.plugin_name.startswith(BUILT_IN)]
            with self._lock:
                theirs = [self._third_party(hook, one) for one in found if one not in own]
            known = self._ordered[hook] = own, theirs
        return known

    def _third_party(self, hook: str, implementation: pluggy.HookImpl) -> Implementation:
        key = (implementation.plugin_name, hook)
        known = self._theirs.get(key)
        if known is None or not known.is_of(implementation):
            known = self._theirs[key] = Implementation(hook, implementation, self._clock, self._watch.began)
        return known

    def _built_in(self, hook: str, arguments: Mapping[str, Any]) -> Iterator[Answer]:
        for implementation in self._of(hook)[0]:
            value = answer_of(hook, implementation, arguments, Exception)
            if value is not None:
                yield Answer(value, implementation.plugin_name)

    def _tell_behind(self, hook: str, arguments: Mapping[str, Any], context: contextvars.Context) -> None:
        for implementation in self._of(hook)[1]:
            self._count(1)
            call = Call(arguments, context.copy(), BEHIND_SECONDS, lambda _: self._count(-1))
            if not implementation.put(call):
                self._count(-1)

    async def _asked(
        self,
        hook: str,
        arguments: Mapping[str, Any],
        start: float,
        *,
        most: int = sys.maxsize,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> list[Answer]:
        """Ask third parties within what is left of the time that hooks may hold up a run."""
        theirs = self._of(hook)[1]
        seconds = self.hook_seconds - (self._clock() - start)
        if not theirs or seconds <= 0:
            return []
        start_by, context = start + self.hook_seconds / 2, contextvars.copy_context()
        hop = Hop(hook, theirs, arguments, seconds, context, most=most, start_by=start_by, on_answer=on_answer)
        hop.next()
        try:
            in_time = await hop.done.wait(seconds)
        except BaseException:  # the run is cancelled, and so needs no answer
            hop.give_up()
            raise
        if not in_time:
            hop.expire()
        return list(hop.answers)

    def _ask_here(
        self, hook: str, seconds: float, arguments: Mapping[str, Any], *, most: int = sys.maxsize
    ) -> list[Answer]:
        """Ask third parties, and wait for them on this thread."""
        theirs = self._of(hook)[1]
        if not theirs:
            return []
        done: SimpleQueue[None] = SimpleQueue()
        start_by, context = self._clock() + seconds / 2, contextvars.copy_context()
        then = lambda _: done.put(None)  # noqa: E731
        hop = Hop(hook, theirs, arguments, seconds, context, most=most, start_by=start_by, then=then)
        hop.next()
        try:
            done.get(timeout=seconds)
        except Empty:
            hop.expire()
        except BaseException:  # a Ctrl-C of the user
            hop.give_up()
            raise
        return list(hop.answers)

    def _count(self, more: int) -> None:
        """Count what is called behind, and let `flush` go on when nothing is left."""
        with self._lock:
            self._behind += more
            done, self._flushing = ([], self._flushing) if self._behind else (self._flushing, [])
        for one in done:
            one.put(None)


def _changed(planned: PlannedRun, answer: Answer) -> PlannedRun:
    """Return a plan as a hook changed it.

    The run stays in the arm that it was assigned to: to leave out what a hook changes would undo the randomisation.
    """
    before, after = planned.plan.to_dict(), answer.value.to_dict()
    changed = {knob for knob in {**before, **after} if before.get(knob) != after.get(knob)}
    owners = {**planned.owners, **dict.fromkeys(sorted(changed), f"hook of {answer.by}")}
    return evolve(planned, plan=answer.value, source=answer.by, owners=owners)
