"""Whatever fails inside the plugin, the team's result is what it would have been, and the log says so once."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import seams
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import ScriptedModel, scripts

Inject = Callable[[Path, pytest.MonkeyPatch], Any]
FAULTS: dict[str, Inject] = {}
SETTINGS = "mode: auto\ndataflow: independent\nexperiment: {min_history: 1}\ntuner: {risk: off}\n"
"""With these a test is open after one run."""


def fault(function: Inject) -> Inject:
    FAULTS[function.__name__.replace("_", " ")] = function
    return function


class BrokenError(Exception):
    """What injected faults raise."""


def broken(*args: Any, **kwargs: Any) -> Any:
    raise BrokenError("injected")


def settings(project: Path) -> Path:
    return project / ".victor" / "autotune.yaml"


def database(project: Path) -> Path:
    return project / ".victor" / "autotune.db"


@fault
def settings_that_are_not_yaml(project: Path, patch: pytest.MonkeyPatch) -> None:
    settings(project).write_text("mode: [auto\n")


@fault
def settings_with_an_unknown_key(project: Path, patch: pytest.MonkeyPatch) -> None:
    settings(project).write_text("moed: auto\n")


@fault
def settings_that_are_a_folder(project: Path, patch: pytest.MonkeyPatch) -> None:
    settings(project).unlink()
    settings(project).mkdir()


@fault
def metadata_in_the_workflow_that_is_wrong(project: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("tests.host.test_fail_open.METADATA", {"autotune": {"mode": "autoo"}})


@fault
@contextmanager
def store_locked(project: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    holder = sqlite3.connect(database(project), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


@fault
def store_corrupt(project: Path, patch: pytest.MonkeyPatch) -> None:
    for file in database(project).parent.glob("autotune.db*"):
        file.write_bytes(b"this is no database" * 500)


@fault
def store_unreachable(project: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("VICTOR_AUTOTUNE_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")


@fault
def store_read_only(project: Path, patch: pytest.MonkeyPatch) -> None:
    # Nobody can create files there, not even root.
    patch.setenv("VICTOR_AUTOTUNE_DATABASE_URL", "sqlite:////proc/autotune.db")


@fault
def store_full(project: Path, patch: pytest.MonkeyPatch) -> None:
    from victor_autotune_plugin.errors import StoreUnavailableError
    from victor_autotune_plugin.storage.transaction import Transaction

    def full(*args: Any) -> Any:
        raise StoreUnavailableError("the disk is full") from sqlite3.OperationalError("database or disk is full")

    for method in ("start_run", "finish_run", "save_team", "number_runs", "take_stream"):
        patch.setattr(Transaction, method, full)


class RaisingHooks:
    """Raises in every hook."""


def _raising(hook: str, names: str) -> None:
    scope: dict[str, Any] = {"BrokenError": BrokenError}
    exec(f"def {hook}(self, {names}):\n    raise BrokenError('injected')", scope)
    setattr(RaisingHooks, hook, hookimpl(tryfirst=True)(scope[hook]))


for _hook, _names in {
    "plan_team_run": "event",
    "before_team_run": "event, planned",
    "team_run_started": "event, planned",
    "score_team_run": "run",
    "price_team_run": "run",
    "after_team_run": "run",
    "plan_changed": "change, experiment",
}.items():
    _raising(_hook, _names)


@fault
def every_hook_raising(project: Path, patch: pytest.MonkeyPatch) -> None:
    made = Runtime._register_hooks

    def with_raising_hooks(self: Runtime) -> None:
        made(self)
        self.hooks.register(RaisingHooks(), "raising")

    patch.setattr(Runtime, "_register_hooks", with_raising_hooks)


@fault
def tuner_raising(project: Path, patch: pytest.MonkeyPatch) -> None:
    settings(project).write_text(SETTINGS.replace("off", "low"))
    for file in database(project).parent.glob("autotune.db*"):
        file.unlink()
    patch.setattr("victor_autotune_plugin._tuner.tuner.Tuner.propose", broken)


PATCHED = {
    "reading of the team raising": "victor_autotune_plugin._host.calls.member_spec",
    "choice of a plan raising": "victor_autotune_plugin._tuning.loop.choose",
    "plan check raising": "victor_autotune_plugin._host.translation.check_plan",
    "translation raising": "victor_autotune_plugin._host.translation.ArmedPlan.begin",
    "assignment raising": "victor_autotune_plugin.experiment.assign",
    "statistics raising": "victor_autotune_plugin._tuning.judges.feed",
    "observation raising": "victor_autotune_plugin.experiment.Judge.observe",
    "analysis raising": "victor_autotune_plugin._analysis.bottlenecks.analyze",
    "strategy raising": "victor_autotune_plugin.strategies.FormationSelectionStrategy.suggest_for",
    "metrics raising": "victor_autotune_plugin._telemetry.metrics.are_recorded",
    "span of a run raising at its end": "victor_autotune_plugin._telemetry.spans.TeamRunSpan.finish",
    "metering of model calls raising": "victor_autotune_plugin._host.meters.MemberMeter.count_llm_call",
    "metering of tool calls raising": "victor_autotune_plugin._host.meters.MemberMeter.count_tool_calls",
    "tool budget raising": "victor_autotune_plugin._host.meters.MemberMeter.reserve_tool_calls",
    "making of the record raising": "victor_autotune_plugin._host.interception.ActiveRun._record",
    "reading of the result raising": "victor_autotune_plugin._host.calls.ConfigCall.read",
    "reading of the step raising": "victor_autotune_plugin._host.call_context._place_of",
    "reading of the metadata raising": "victor_autotune_plugin._host.call_context.remember_metadata",
    "lost runs raising": "victor_autotune_plugin.storage.transaction.Transaction.mark_lost",
}
for _name, _target in PATCHED.items():
    FAULTS[_name] = lambda project, patch, target=_target: patch.setattr(target, broken)  # type: ignore[misc]

HARMLESS = {"reading of the metadata raising", "assignment raising", "translation raising", "plan check raising"}
"""Faults at points that these runs may not come by, so that nothing need be logged."""

METADATA: dict[str, Any] = {}


def workflow() -> Any:
    step = make_step("researcher", "planner", formation="sequential", name="step", timeout_seconds=60)
    return make_workflow(step, name="flow", metadata=METADATA)


async def run_twice(orchestrator: Any, scripted: ScriptedModel) -> Any:
    """Run the workflow twice, and return what Victor made of it and what the model was asked.

    The formation is left out: while an experiment is open it is the arm's, fault or no fault.
    """
    scripted.clear()
    seen = []
    for _ in range(2):
        result = await run_workflow(orchestrator, workflow(), "compiler")
        state = dict(result.state.items())
        result_of_team = state["team_result"]
        output = {key: result_of_team[key] for key in ("success", "final_output", "total_tool_calls", "member_count")}
        seen.append((result.success, output, state["_node_results"]["step"].success))
        if (made := runtime.made()) is not None:
            made.settle(2)  # so that what follows from this run holds for the next
    return seen, sorted((call.role, call.turn, call.status, call.tool_results) for call in scripted.calls)


_without: list[Any] = []


@pytest.fixture
async def expected(orchestrator: Any, scripted: ScriptedModel) -> Any:
    """What two runs come to without the plugin, found out once."""
    scripted.script = scripts.with_tools(1, 2)
    seams.uninstall()
    if not _without:
        _without.append(await run_twice(orchestrator, scripted))
    return _without[0]


@pytest.mark.parametrize("name", FAULTS)
async def test_the_result_is_what_it_would_have_been_and_the_log_says_so_once(
    orchestrator: Any,
    scripted: ScriptedModel,
    expected: Any,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A project in which an experiment is open, so that every part of the plugin has something to do.
    settings(tmp_path).parent.mkdir()
    settings(tmp_path).write_text(SETTINGS)
    monkeypatch.setattr(runtime, "project_folder", lambda: tmp_path)
    before = runtime.use(None)
    seams.install()
    await run_twice(orchestrator, scripted)
    assert (made := runtime.made()) is not None
    assert made.settle(30)
    first = runtime.use(None)
    assert first is not None
    first.close()
    assert database(tmp_path).exists()
    failsafe.forget()
    caplog.clear()
    with monkeypatch.context() as patch, ExitStack() as undo, caplog.at_level(logging.WARNING):
        injected = FAULTS[name](tmp_path, patch)
        if injected is not None:
            undo.enter_context(injected)
        assert await run_twice(orchestrator, scripted) == expected
        ours = [message for message in caplog.messages if message.startswith("autotune: ")]
        assert ours or name in HARMLESS
        assert len(ours) == len(set(ours))
        assert len(ours) == len(failsafe.seen())
        last = runtime.use(None)
    if last is not None:
        last.close()
    runtime.use(before)
