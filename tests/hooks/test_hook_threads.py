"""Hooks of third parties run on threads of their own: whatever they do, a run goes on, and in time."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning.hook_calls import HELD_SECONDS, OFF_SECONDS, HookWatch, Implementation
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin._tuning.team_scorers import BEHIND_SECONDS
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart, hookimpl
from victor_autotune_plugin.quality import RunOutput

SPEC = TeamSpec("flow", "team", "sequential", [MemberSpec("a"), MemberSpec("b")])
EVENT = RunStart("r1", SPEC, 1.0)
RUN = TeamRun("r1", SPEC, 1.0, 2.0, True, 0.5)
OWN = PlannedRun(mode="auto")
THEIRS = PlannedRun(TeamPlan(formation="parallel"), "auto", source="theirs")
SAFETY = 20.0
"""Seconds after which a test that should have been woken fails instead of hanging."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class BuiltIn:
    @hookimpl(trylast=True)
    def plan_team_run(self) -> PlannedRun:
        return OWN


def doing(hook: str, function: Callable[[], Any]) -> object:
    """A plugin with one hook that does this."""

    def call(self: object) -> Any:
        return function()

    return type("Plugin", (), {hook: hookimpl(call)})()


def manager(clock: Callable[[], float] | None = None, hook_seconds: float = SAFETY, **functions: Any) -> HookManager:
    hooks = HookManager(hook_seconds=hook_seconds, clock=clock or Clock())
    hooks.register(BuiltIn(), "autotune.plan")
    for hook, function in functions.items():
        hooks.register(doing(hook, function), f"their_{hook}")
    return hooks


class Gate:
    """What a hanging hook waits for."""

    def __init__(self) -> None:
        self._opened = threading.Event()

    def hold(self) -> None:
        self._opened.wait()

    def set(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is opened when the test is over."""
    gate = Gate()
    yield gate
    gate.set()


HOLDS = "(holds the interpreter lock)"


def wheres() -> list[str]:
    """What was reported, but for what the jumps of a test's clock look like to the watch."""
    return [fault.where for fault in failsafe.seen() if not fault.where.endswith(HOLDS)]


def state_of(hooks: HookManager, hook: str) -> str:
    return next(one.state for one in hooks.status() if one.hook == hook)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    for _ in range(int(SAFETY / 0.005)):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")


def test_without_third_parties_the_coroutine_never_suspends() -> None:
    coroutine = manager().plan(EVENT)
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == OWN


def test_a_third_party_answers_on_a_thread_of_its_own_before_the_built_in_hook() -> None:
    threads: list[int] = []

    def plan() -> PlannedRun:
        threads.append(threading.get_ident())
        return THEIRS

    assert asyncio.run(manager(plan_team_run=plan).plan(EVENT)) == THEIRS
    assert threads != [threading.get_ident()]


def test_built_in_hooks_are_called_where_the_run_is() -> None:
    hooks, threads = manager(), []
    hooks.register(doing("after_team_run", lambda: threads.append(threading.get_ident())), "autotune.one")
    hooks.tell("after_team_run", run=RUN)
    assert threads == [threading.get_ident()]


@pytest.mark.parametrize("hook", ["plan_team_run", "before_team_run"])
def test_a_run_goes_on_without_a_hook_that_hangs(hook: str, gate: Gate) -> None:
    functions: dict[str, Any] = {hook: gate.hold}
    hooks = manager(hook_seconds=0.01, **functions)
    assert asyncio.run(hooks.plan(EVENT)) == OWN
    assert state_of(hooks, hook) == "hanging"
    assert wheres() == [f"hook {hook} of 'their_{hook}'"]


def test_one_that_hangs_costs_one_thread_and_is_called_again_when_it_has_returned(gate: Gate) -> None:
    calls: list[int] = []

    def hang() -> None:
        calls.append(1)
        gate.hold()

    hooks = manager(hook_seconds=0.01, plan_team_run=hang)

    async def many() -> list[PlannedRun | None]:
        return await asyncio.gather(*(hooks.plan(EVENT) for _ in range(20)))

    assert asyncio.run(many()) == [OWN] * 20
    assert asyncio.run(many()) == [OWN] * 20
    assert calls == [1]
    gate.set()
    until(lambda: state_of(hooks, "plan_team_run") == "ready")
    asyncio.run(hooks.plan(EVENT))
    assert len(calls) == 2


def test_a_late_answer_is_dropped(gate: Gate) -> None:
    def late() -> PlannedRun:
        gate.hold()
        return THEIRS

    hooks = manager(hook_seconds=0.01, plan_team_run=late)
    assert asyncio.run(hooks.plan(EVENT)) == OWN
    gate.set()
    until(lambda: state_of(hooks, "plan_team_run") == "ready")


def test_late_twice_is_off_for_five_minutes_and_named_with_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    clock, calls = Clock(), []

    def late() -> PlannedRun:
        calls.append(1)
        clock.now += 0.2
        return THEIRS

    hooks = manager(clock, hook_seconds=0.05, plan_team_run=late)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert asyncio.run(hooks.plan(EVENT)) == OWN
    assert len(calls) == 2
    assert "hook plan_team_run of 'their_plan_team_run' (off for 5 min)" in wheres()
    (off,) = [message for message in caplog.messages if "is off for 5 min" in message]
    assert "hook plan_team_run of 'their_plan_team_run'" in off
    assert "0.2 s" in off
    (status,) = [one for one in hooks.status() if one.hook == "plan_team_run"]
    assert (status.state, status.lates, status.calls) == ("off", 2, 2)
    assert status.longest_seconds == pytest.approx(0.2)
    assert status.off_seconds == pytest.approx(OFF_SECONDS)
    clock.now += OFF_SECONDS
    asyncio.run(hooks.plan(EVENT))
    assert len(calls) == 3


def test_plan_and_before_share_one_budget_and_the_one_that_found_it_used_up_is_not_blamed() -> None:
    clock, called = Clock(), []

    def slow() -> None:
        clock.now += 0.04

    def later() -> None:
        called.append(1)
        clock.now += 0.02

    hooks = manager(clock, hook_seconds=0.05, plan_team_run=slow, before_team_run=later)
    for _ in range(3):
        assert asyncio.run(hooks.plan(EVENT)) == OWN
    assert len(called) == 3
    assert [one.lates for one in hooks.status()] == [0, 0]
    assert wheres() == ["hook before_team_run of 'their_before_team_run' (no time left)"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
@pytest.mark.parametrize("hook", ["plan_team_run", "before_team_run"])
def test_what_a_hook_raises_stops_there(hook: str, error: BaseException) -> None:
    def leave() -> None:
        raise error

    functions: dict[str, Any] = {hook: leave}
    assert asyncio.run(manager(**functions).plan(EVENT)) == OWN
    assert type(error).__name__ in [fault.error.partition(":")[0] for fault in failsafe.seen()]
    assert wheres() == [f"hook {hook} of 'their_{hook}'"]


def test_an_error_whose_message_raises_is_reported_all_the_same() -> None:
    class UnshowableError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    def leave() -> None:
        raise UnshowableError

    assert asyncio.run(manager(plan_team_run=leave).plan(EVENT)) == OWN
    assert wheres() == ["hook plan_team_run of 'their_plan_team_run'"]


def test_the_users_cancellation_passes_through_at_once(gate: Gate) -> None:
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        gate.hold()

    hooks = manager(before_team_run=hang)

    async def cancelled() -> None:
        task = asyncio.create_task(hooks.plan(EVENT))
        assert await asyncio.to_thread(begun.wait, SAFETY)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert wheres() == []
    gate.set()
    until(lambda: state_of(hooks, "before_team_run") == "ready")


async def coroutine() -> None:
    """What an `async def` hook returns when it is called."""


@pytest.mark.parametrize(
    ("hook", "answers"),
    [
        ("plan_team_run", ["auto", {"mode": "auto"}, PlannedRun("no plan"), PlannedRun(mode="off"), 3]),  # type: ignore[arg-type]
        ("before_team_run", ["parallel", {"formation": "parallel"}, OWN, True]),
        ("score_team_run", [True, "0.5", float("nan"), float("inf"), -0.1, 1.1, 10**400, [0.5]]),
        ("price_team_run", [False, "1", float("nan"), float("inf"), -0.01, 10**400, {}]),
        ("approve_change", [1, "yes", 0.0, ()]),
        ("add_strategies", ["bottleneck", [1], 3, {"a": 1}]),
    ],
)
def test_a_wrong_answer_is_that_hooks_fault_and_the_next_one_is_asked(hook: str, answers: list[object]) -> None:
    good = {"plan_team_run": THEIRS, "before_team_run": TeamPlan(), "score_team_run": 0.25, "price_team_run": 2}
    good |= {"approve_change": False, "add_strategies": []}
    arguments: dict[str, Any] = {"event": EVENT, "planned": OWN, "run": RUN, "experiment": None, "step": "start"}
    for wrong in answers:
        failsafe.forget()
        hooks = HookManager()
        hooks.register(doing(hook, lambda: good[hook]), "good")
        hooks.register(doing(hook, lambda wrong=wrong: wrong), "wrong")  # type: ignore[misc]
        answer = hooks.ask(hook, SAFETY, **arguments)
        assert answer is not None
        assert (answer.value, answer.by) == (good[hook], "good")
        assert wheres() == [f"hook {hook} of 'wrong'"]


@pytest.mark.parametrize("hook", ["plan_team_run", "score_team_run", "after_team_run"])
def test_a_coroutine_function_is_a_clear_fault(hook: str) -> None:
    hooks = HookManager()
    hooks.register(doing(hook, coroutine), "theirs")
    hooks.ask(hook, SAFETY, event=EVENT, run=RUN)
    assert wheres() == [f"hook {hook} of 'theirs'"]
    assert any("it must be a plain function" in fault.error for fault in failsafe.seen())


def test_a_run_is_priced_behind_and_then_told() -> None:
    told: list[TeamRun] = []
    done: list[tuple[TeamRun, int]] = []

    class Told:
        @hookimpl
        def after_team_run(self, run: TeamRun) -> None:
            told.append(run)

    hooks = manager(price_team_run=lambda: 2)
    hooks.register(Told(), "told")
    assert hooks.has_graders
    hooks.grade(RUN, lambda run: done.append((run, threading.get_ident())))
    hooks.flush(SAFETY)
    assert [run for run, _ in done] == told == [evolve(RUN, cost_usd=2.0)]
    assert done[0][1] != threading.get_ident()


def test_without_a_hook_that_prices_it_a_run_is_told_as_it_is() -> None:
    told: list[int] = []
    hooks = manager(after_team_run=lambda: told.append(1))
    assert not hooks.has_graders
    hooks.grade(RUN, lambda run: told.append(2))
    hooks.flush(SAFETY)
    assert told == [1]


def test_runs_that_wait_behind_a_hanging_hook_are_recorded_without_their_price(gate: Gate) -> None:
    clock, begun = Clock(), threading.Event()
    done: list[TeamRun] = []

    def hang() -> None:
        begun.set()
        gate.hold()

    hooks = manager(clock, price_team_run=hang)
    for _ in range(3):
        hooks.grade(RUN, done.append)
    assert begun.wait(SAFETY)
    clock.now += BEHIND_SECONDS + 1
    hooks.flush(SAFETY)
    assert done == [RUN] * 3
    assert "hook price_team_run of 'their_price_team_run'" in wheres()


def test_each_package_that_scores_runs_is_a_scorer_of_its_own(gate: Gate) -> None:
    clock, begun = Clock(), threading.Event()

    def hang() -> None:
        begun.set()
        gate.hold()

    hooks = manager(clock)
    for name, function in {
        "a": lambda: 0.25,
        "b": lambda: None,
        "c": lambda: 1 / 0,
        "d": lambda: 2.0,
        "e": hang,
    }.items():
        hooks.register(doing("score_team_run", function), name)
    assert hooks.scores_runs
    scorers = {scorer.name: scorer for scorer in hooks.scorers(SPEC)}
    output = RunOutput(RUN, "")
    assert [scorers[name].score(output) for name in "abcd"] == [0.25, None, None, None]
    answers: list[float | None] = []
    thread = threading.Thread(target=lambda: answers.append(scorers["e"].score(output)))
    thread.start()
    assert begun.wait(SAFETY)
    clock.now += BEHIND_SECONDS + 1
    thread.join(SAFETY)
    assert answers == [None]
    assert {scorer.source for scorer in scorers.values()} == {"hook"}


def test_scorers_are_asked_for_once_per_definition_of_a_team() -> None:
    asked: list[TeamSpec] = []

    class Adding:
        @hookimpl
        def add_scorers(self, spec: TeamSpec) -> list[object]:
            asked.append(spec)
            return [SimpleNamespace(name=f"of {spec.formation}", score=lambda output: 1.0)]

    hooks = manager()
    assert not hooks.scores_runs
    assert hooks.scorers(SPEC) == ()
    hooks.register(Adding(), "adding")
    changed = evolve(SPEC, formation="parallel")
    names = [[scorer.name for scorer in hooks.scorers(spec)] for spec in (SPEC, SPEC, changed, SPEC)]
    assert names == [["of sequential"], ["of sequential"], ["of parallel"], ["of sequential"]]
    assert asked == [SPEC, changed]


def test_a_scorer_whose_name_a_store_may_refuse_is_not_added() -> None:
    class Adding:
        @hookimpl
        def add_scorers(self) -> list[object]:
            return [SimpleNamespace(name="nul\0", score=lambda output: 1.0)]

    hooks = manager()
    hooks.register(Adding(), "adding")
    assert hooks.scorers(SPEC) == ()


class Raising:
    name = "raising"

    @property
    def weight(self) -> float:
        raise LookupError

    def score(self, output: object) -> float:
        return 1.0


def test_what_a_scorer_says_of_itself_neither_breaks_the_others_nor_outweighs_them_all() -> None:
    class Adding:
        @hookimpl
        def add_scorers(self) -> list[object]:
            odd = {"huge": 10**400, "heavy": 1e308, "none": None, "fine": 2}
            theirs = [SimpleNamespace(name=name, weight=w, timeout=w, score=lambda o: 1.0) for name, w in odd.items()]
            return [Raising(), *theirs]

    hooks = manager()
    hooks.register(Adding(), "adding")
    found = {scorer.name: scorer.weight for scorer in hooks.scorers(SPEC)}
    assert found == {"huge": 1.0, "heavy": 1.0, "none": 1.0, "fine": 2.0}


def test_scorers_that_came_too_late_are_asked_for_again(gate: Gate) -> None:
    clock, begun = Clock(), threading.Event()

    class Adding:
        @hookimpl
        def add_scorers(self) -> list[object]:
            if not begun.is_set():
                begun.set()
                gate.hold()
            return [SimpleNamespace(name="theirs", score=lambda output: 1.0)]

    hooks = manager(clock)
    hooks.register(Adding(), "adding")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(hooks.scorers(SPEC)))
    thread.start()
    assert begun.wait(SAFETY)
    clock.now += BEHIND_SECONDS + 1
    thread.join(SAFETY)
    assert found == [()]
    gate.set()
    until(lambda: state_of(hooks, "add_scorers") == "ready")
    assert [scorer.name for scorer in hooks.scorers(SPEC)] == ["theirs"]


def test_what_is_told_keeps_its_order_and_a_hanging_hook_holds_up_no_other(gate: Gate) -> None:
    heard: list[str] = []

    class Listening:
        @hookimpl
        def after_team_run(self, run: TeamRun) -> None:
            heard.append(run.run_id)

    hooks = manager(after_team_run=gate.hold)
    hooks.register(Listening(), "listening")
    for number in range(50):
        hooks.tell("after_team_run", run=evolve(RUN, run_id=f"r{number}"))
    until(lambda: len(heard) == 50)
    assert heard == [f"r{number}" for number in range(50)]
    hooks.flush(0.01)  # comes back although one hangs


def test_a_hook_sees_the_context_of_the_run_and_cannot_change_it() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")
    seen: list[str] = []

    def look() -> None:
        seen.append(variable.get())
        variable.set("hook")

    hooks = manager(plan_team_run=look, before_team_run=look, after_team_run=look)

    async def run() -> None:
        variable.set("run")
        await hooks.plan(EVENT)
        hooks.grade(RUN, lambda run: None)
        assert variable.get() == "run"

    asyncio.run(run())
    hooks.flush(SAFETY)
    assert seen == ["run"] * 3


def test_several_loops_and_threads_share_the_hooks() -> None:
    hooks, answers = manager(plan_team_run=lambda: THEIRS), []

    async def some() -> list[PlannedRun | None]:
        return await asyncio.gather(*(hooks.plan(EVENT) for _ in range(50)))

    threads = [threading.Thread(target=lambda: answers.extend(asyncio.run(some()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [THEIRS] * 200


def test_a_loop_that_is_closed_while_a_hook_works_is_nobodys_fault(gate: Gate) -> None:
    def hang() -> None:
        gate.hold()

    hooks = manager(hook_seconds=0.01, plan_team_run=hang)
    asyncio.run(hooks.plan(EVENT))
    gate.set()
    until(lambda: state_of(hooks, "plan_team_run") == "ready")
    assert wheres() == ["hook plan_team_run of 'their_plan_team_run'"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(gate: Gate) -> None:
    hooks = manager(score_team_run=lambda: 0.25, plan_team_run=gate.hold)
    hooks.hook_seconds = 0.01
    assert hooks.ask("score_team_run", SAFETY, run=RUN) is not None
    asyncio.run(hooks.plan(EVENT))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            hooks.forget_after_fork()
            answer = hooks.ask("score_team_run", SAFETY, run=RUN)
            if answer is not None and answer.value == 0.25 and state_of(hooks, "plan_team_run") == "ready":
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_hook_that_keeps_all_threads_from_working_is_named() -> None:
    clock, hooks = Clock(), HookManager()
    hooks.register(doing("plan_team_run", lambda: None), "theirs")
    (found,) = hooks._manager.hook.plan_team_run.get_hookimpls()
    implementation = Implementation("plan_team_run", found, clock, lambda: None)
    watch = HookWatch(lambda: [implementation], clock)
    implementation._since, implementation._ended = clock.now, clock.now + 0.3
    watch._expected = clock.now + 0.05
    clock.now += 0.3
    watch.step(clock.now)
    assert f"hook plan_team_run of 'theirs' {HOLDS}" in [fault.where for fault in failsafe.seen()]
    assert implementation.status().held_seconds == pytest.approx(0.25)
    assert implementation.status().held_seconds > HELD_SECONDS


def test_a_hook_that_really_holds_the_interpreter_is_named() -> None:
    sleep = ctypes.PyDLL(None).usleep  # called through `PyDLL`, it keeps the interpreter

    def hold() -> None:
        sleep(400_000)

    hooks = HookManager(hook_seconds=0.01)
    hooks.register(BuiltIn(), "autotune.plan")
    hooks.register(doing("plan_team_run", hold), "theirs")
    assert asyncio.run(hooks.plan(EVENT)) == OWN
    where = f"hook plan_team_run of 'theirs' {HOLDS}"
    until(lambda: where in [fault.where for fault in failsafe.seen()])
    (status,) = [one for one in hooks.status() if one.hook == "plan_team_run"]
    assert status.held_seconds > HELD_SECONDS


def test_uvloop_works(gate: Gate) -> None:
    uvloop = pytest.importorskip("uvloop")
    assert uvloop.run(manager(plan_team_run=lambda: THEIRS).plan(EVENT)) == THEIRS
    assert uvloop.run(manager(hook_seconds=0.01, plan_team_run=gate.hold).plan(EVENT)) == OWN


HANGS = """
import asyncio, threading
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin.hookspecs import RunStart, TeamRun, hookimpl

class Hanging:
    @hookimpl
    def plan_team_run(self):
        threading.Event().wait()

    @hookimpl
    def after_team_run(self):
        threading.Event().wait()

spec = TeamSpec("flow", "team", "sequential", [MemberSpec("a")])
hooks = HookManager()
hooks.register(Hanging(), "theirs")
asyncio.run(hooks.plan(RunStart("r1", spec, 1.0)))
hooks.grade(TeamRun("r1", spec, 1.0, 2.0, True, 0.5), print)
hooks.flush(0.1)
"""


def test_a_process_ends_although_hooks_hang() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], timeout=SAFETY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "hook plan_team_run of 'theirs'" in ended.stderr
