"""The plugin's own pluggy manager: finds hook implementations and calls each of them on its own.

The built-in ones (`autotune.*`) read memory and are called where the run is. Those of third parties are called on hook
threads, with a deadline: one that raises, hangs or answers nonsense costs its own answer, and nobody else's.
"""

from __future__ import annotations

import contextvars
import inspect
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import pluggy
from attrs import define, evolve, field, frozen

from .. import failsafe
from .._model.plan import TeamPlan
from ..errors import HookTimeoutError
from ..hookspecs import DEPRECATED, PROJECT, ChangeSpecs, PlannedRun, RunSpecs, RunStart, TeamRun
from .threads import HookThreads, Lane
from .waiting import Signal

if TYPE_CHECKING:
    from .._model.experiment import Change, Experiment

BUILT_IN: Final = "autotune."
"""What the names of the built-in hooks begin with."""

BEHIND_SECONDS: Final = 5.0
"""How long a hook may take that is called behind a run."""

OFF_SECONDS: Final = 300.0
"""How long a hook is not called that was late twice."""

LATES: Final = 2
"""How often a hook may be late."""

_ALL: Final = sys.maxsize

HELD_SECONDS: Final = 0.1
"""By how much a deadline must be missed to say that a hook held the interpreter."""

_OLD_HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "started": ("experiment_started",),
    "promoted": ("experiment_decided", "plan_promoted"),
    "failed": ("experiment_decided",),
    "inconclusive": ("experiment_decided",),
    "aborted": ("experiment_decided",),
    "rolled_back": ("plan_rolled_back",),
}
"""The hooks of 0.1 that each action of a change still calls where it has an experiment; they go with 0.3."""


@frozen
class Answer:
    """What one implementation returned.

    Attributes:
        value: The value; never None.
        by: Name of the plugin that holds the implementation.
    """

    value: Any
    by: str


@define
class HookStanding:
    """How one implementation of a third party behaves.

    Attributes:
        plugin: Name of the plugin that holds it.
        hook: The hook.
        calls: How often it was called.
        lates: How often it was late since it was last off.
        longest_seconds: Its longest call.
        off_until: Monotonic seconds until which it is not called; 0 when it is.
        running_since: Monotonic seconds since which a call that was given up is still running, or None.
        held_interpreter: How often it kept all other threads from working.
    """

    plugin: str
    hook: str
    calls: int = 0
    lates: int = 0
    longest_seconds: float = 0.0
    off_until: float = 0.0
    running_since: float | None = None
    held_interpreter: int = 0

    @property
    def where(self) -> str:
        """Its name in faults."""
        return f"hook {self.hook} of {self.plugin!r}"

    def is_callable(self, now: float) -> bool:
        """Return whether it may be called: it is not off, and no call of it hangs."""
        return now >= self.off_until and self.running_since is None


@define(eq=False)
class _Hop:
    """Implementations that are called one after the other on a hook thread, until one answers.

    Attributes:
        most: How many answers are wanted at most.
        on_answer: Called with each answer before the next implementation is called.
    """

    hook: str
    implementations: Sequence[pluggy.HookImpl]
    arguments: Mapping[str, Any]
    standing: Callable[[str, pluggy.HookImpl], HookStanding]
    clock: Callable[[], float]
    most: int
    on_answer: Callable[[Answer], None] | None = None
    answers: list[Answer] = field(factory=list)
    done: Signal = field(factory=Signal)
    finished: SimpleQueue[None] = field(factory=SimpleQueue)
    given_up: bool = False
    running: HookStanding | None = None
    since: float = 0.0

    def run(self) -> None:
        """Call them."""
        try:
            for implementation in self.implementations:
                if self.given_up or len(self.answers) >= self.most:
                    return
                self._call(implementation)
        finally:
            self.done.set()
            self.finished.put(None)

    def _call(self, implementation: pluggy.HookImpl) -> None:
        standing = self.standing(self.hook, implementation)
        standing.calls += 1
        self.since, self.running = self.clock(), standing
        try:
            value = call(self.hook, implementation, self.arguments, BaseException)
        finally:
            self.running = None
            standing.longest_seconds = max(standing.longest_seconds, self.clock() - self.since)
            if self.given_up:
                standing.running_since = None
        if value is not None and not self.given_up:
            answer = Answer(value, implementation.plugin_name)
            if self.on_answer is not None:
                self.on_answer(answer)
            self.answers.append(answer)


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
        self._standings: dict[tuple[str, str], HookStanding] = {}
        self._ordered: dict[str, tuple[list[pluggy.HookImpl], list[pluggy.HookImpl]]] = {}
        self._threads = HookThreads()
        self._lane = Lane("autotune hooks behind")

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
                self.register(entry.load(), entry.name)

    def names(self) -> tuple[str, ...]:
        """Return the names of the registered plugins."""
        return tuple(name for name, plugin in self._manager.list_name_plugin() if plugin is not None)

    def status(self) -> list[HookStanding]:
        """Return how the implementations of third parties that were called behave."""
        return sorted(self._standings.values(), key=lambda one: (one.plugin, one.hook))

    # --- on the event loop

    async def plan(self, event: RunStart) -> PlannedRun | None:
        """Ask for the plan of a run, and let `before_team_run` change it; None when no implementation answered.

        Third parties' implementations of `plan_team_run` are asked before the built-in one. Without any third party
        nothing is waited for.
        """
        end = self._clock() + self.hook_seconds
        planned: PlannedRun | None = None
        for answer in await self._asked("plan_team_run", {"event": event}, end, most=1):
            planned = answer.value
        if planned is None:
            for answer in self._built_in("plan_team_run", {"event": event}):
                planned = answer.value
                break
        if planned is None:
            return None
        if not self._of("before_team_run")[1]:
            return planned
        arguments = {"event": event, "planned": planned}

        def change(answer: Answer) -> None:
            """Let the next implementation see what this one made of the plan."""
            so_far: PlannedRun = arguments["planned"]
            if answer.value != so_far.plan:
                arguments["planned"] = evolve(so_far, plan=answer.value, assignment=None, source=answer.by)

        answers = await self._asked("before_team_run", arguments, end, on_answer=change)
        return arguments["planned"] if answers else planned

    def valued(self, run: TeamRun) -> TeamRun:
        """Return a run with the score and the cost that the built-in hooks give it."""
        for answer in self._built_in("score_team_run", {"run": run}):
            if answer.value != run.score:
                run = evolve(run, score=answer.value)
        for answer in self._built_in("price_team_run", {"run": run}):
            run = evolve(run, cost_usd=answer.value)
        return run

    def tell_built_in(self, hook: str, **arguments: Any) -> None:
        """Call the built-in implementations of a hook."""
        for _ in self._built_in(hook, arguments):
            pass

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call the built-in implementations of a hook, and have those of third parties called behind."""
        self.tell_built_in(hook, **arguments)
        if self._of(hook)[1]:
            self._lane.put(lambda: self._ask_here(hook, BEHIND_SECONDS, arguments))

    @property
    def has_graders(self) -> bool:
        """Whether a third party scores or prices runs."""
        return bool(self._of("score_team_run")[1] or self._of("price_team_run")[1])

    def grade(self, run: TeamRun, done: Callable[[TeamRun], None]) -> None:
        """Have a finished run scored and priced by third parties behind it, and then told to them.

        Args:
            run: The run, with the built-in score and cost.
            done: Called, on another thread, with the run as they graded it, where any of them grades runs.
        """
        told = bool(self._of("after_team_run")[1])
        if not (told or self.has_graders):
            return

        def behind() -> None:
            graded = run
            if self.has_graders:
                for answer in self._ask_here("score_team_run", BEHIND_SECONDS, {"run": graded}, most=1):
                    graded = evolve(graded, score=float(answer.value))
                for answer in self._ask_here("price_team_run", BEHIND_SECONDS, {"run": graded}, most=1):
                    graded = evolve(graded, cost_usd=float(answer.value))
                done(graded)
            self._ask_here("after_team_run", BEHIND_SECONDS, {"run": graded})

        self._lane.put(behind)

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

    def plan_changed(self, change: Change, experiment: Experiment | None) -> None:
        """Tell of a line that was added to a team's history."""
        self.tell("plan_changed", change=change, experiment=experiment)
        for hook in _OLD_HOOKS.get(change.action, ()) if experiment is not None else ():
            self.tell(hook, change=change, experiment=experiment)

    def flush(self, seconds: float) -> None:
        """Wait until what is called behind has been called, at most so many seconds."""
        self._lane.flush(seconds)

    def forget_after_fork(self) -> None:
        """Make new threads in a forked child, which has none of its parent's."""
        self._threads = HookThreads()
        self._lane = Lane("autotune hooks behind")
        for standing in self._standings.values():
            standing.running_since = None

    # --- how they are called

    def _of(self, hook: str) -> tuple[list[pluggy.HookImpl], list[pluggy.HookImpl]]:
        """Return the built-in implementations and those of third parties, each in pluggy's calling order."""
        known = self._ordered.get(hook)
        if known is None:
            found = list(reversed(getattr(self._manager.hook, hook).get_hookimpls()))
            own = [one for one in found if one.plugin_name.startswith(BUILT_IN)]
            known = self._ordered[hook] = own, [one for one in found if one not in own]
        return known

    def _built_in(self, hook: str, arguments: Mapping[str, Any]) -> Iterator[Answer]:
        for implementation in self._of(hook)[0]:
            value = call(hook, implementation, arguments, Exception)
            if value is not None:
                yield Answer(value, implementation.plugin_name)

    async def _asked(
        self,
        hook: str,
        arguments: Mapping[str, Any],
        end: float,
        *,
        most: int = _ALL,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> list[Answer]:
        hop = self._hop(hook, arguments, most, on_answer)
        if hop is None:
            return []
        seconds = end - self._clock()
        try:
            in_time = await hop.done.wait(seconds)
        except BaseException:  # the run is cancelled, and so needs no answer
            hop.given_up = True
            raise
        self._judge(hop, in_time, seconds, end)
        return list(hop.answers) if in_time else []

    def _ask_here(
        self, hook: str, seconds: float, arguments: Mapping[str, Any], *, most: int = _ALL
    ) -> list[Answer]:
        hop = self._hop(hook, arguments, most)
        if hop is None:
            return []
        end = self._clock() + seconds
        try:
            hop.finished.get(timeout=seconds)
            in_time = True
        except Empty:
            in_time = hop.done.is_set
        self._judge(hop, in_time, seconds, end)
        return list(hop.answers)

    def _hop(
        self,
        hook: str,
        arguments: Mapping[str, Any],
        most: int,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> _Hop | None:
        theirs = self._of(hook)[1]
        if not theirs:
            return None
        now = self._clock()
        ready = [one for one in theirs if self._standing(hook, one).is_callable(now)]
        if not ready:
            return None
        hop = _Hop(hook, ready, arguments, self._standing, self._clock, most, on_answer)
        context = contextvars.copy_context()
        self._threads.run(lambda: context.run(hop.run))
        return hop

    def _judge(self, hop: _Hop, in_time: bool, seconds: float, end: float) -> None:
        """Note who was late."""
        now = self._clock()
        late = hop.running
        if not in_time:
            hop.given_up = True
            if late is not None and hop.running is late:
                late.running_since = hop.since
                self._strike(late, now - hop.since, seconds, now)
        if now - end > HELD_SECONDS:
            # Not even the deadline came in time, so this thread could not run: the hook held the interpreter, or the
            # machine is overloaded. A hook that is to blame is named more than once.
            blamed = late or self._standing(hop.hook, hop.implementations[0])
            blamed.held_interpreter += 1
            error = HookTimeoutError(
                f"it kept all threads of the process from working for about {now - end + seconds:.2f} s",
                hint="A hook must not hold the interpreter lock; let its native code release it.",
            )
            failsafe.report(blamed.where, error)

    def _strike(self, standing: HookStanding, took: float, allowed: float, now: float) -> None:
        standing.lates += 1
        standing.longest_seconds = max(standing.longest_seconds, took)
        error = HookTimeoutError(f"it took longer than {allowed:.3g} s (at least {took:.3g} s)")
        failsafe.report(standing.where, error)
        if standing.lates >= LATES:
            standing.lates, standing.off_until = 0, now + OFF_SECONDS
            failsafe.logger.warning(
                "autotune: %s was late %d times (%.3g s and more) and is not called for %.0f min",
                standing.where,
                LATES,
                standing.longest_seconds,
                OFF_SECONDS / 60,
            )

    def _standing(self, hook: str, implementation: pluggy.HookImpl) -> HookStanding:
        key = (implementation.plugin_name, hook)
        standing = self._standings.get(key)
        if standing is None:
            standing = self._standings.setdefault(key, HookStanding(*key))
        return standing


def call(
    hook: str, implementation: pluggy.HookImpl, arguments: Mapping[str, Any], stops: type[BaseException]
) -> Any:
    """Call one implementation; return None when it raises, or answers with something that the hook can't take.

    Args:
        stops: What stops here. On a hook thread everything does, since it can only be the hook's; on the caller's
            thread a Ctrl-C is the user's.
    """
    try:
        value = implementation.function(*[arguments[name] for name in implementation.argnames])
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError("it must be a plain function, not a coroutine function")
        if value is not None and hook in _CHECKS:
            _CHECKS[hook](value)
    except stops as error:
        failsafe.report(f"hook {hook} of {implementation.plugin_name!r}", error)
        return None
    return value


def _kind(kind: type) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"it must return a {kind.__name__} or None, not {type(value).__name__}")

    return check


def _number(low: float, high: float) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"it must return a number or None, not {type(value).__name__}")
        if not (math.isfinite(value) and low <= value <= high):
            limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
            raise ValueError(f"it must return a finite number {limits}, not {value!r}")

    return check


_CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "plan_team_run": _kind(PlannedRun),
    "before_team_run": _kind(TeamPlan),
    "score_team_run": _number(0, 1),
    "price_team_run": _number(0, math.inf),
    "approve_change": _kind(bool),
    "add_strategies": _kind(Sequence),
}
"""What each hook may answer."""
