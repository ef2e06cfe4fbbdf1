"""Every line of the metering may fail: the team's result is the same, and the fault is reported.

The lines come from the code: all that run between Victor's call and Victor's result, except those that only call
Victor or do what can't fail (`_is_safe`). At each of them an exception is raised by a trace function.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import call_context, interception, seams
from victor_autotune_plugin._host.call_context import inside_run
from victor_autotune_plugin._host.enforcement import ToolBudget, with_deadline
from victor_autotune_plugin._host.meters import RunMeter, current_run
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan, planned_members
from victor_autotune_plugin._telemetry import spans
from victor_autotune_plugin._telemetry.spans import team_run_span
from victor_autotune_plugin._tuning import runtime
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import ScriptedModel, scripts

MODULES: Final = (
    "_host.meters",
    "_host.member_execution",
    "_host.notes",
    "_host.step_state",
    "_host.tool_access",
    "_host.enforcement",
    "_host.call_context",
    "_host.seams",
    "_host.seam_table",
    "_host.subteams",
    "_telemetry.spans",
)
PLANS: Final = {
    "observe": EMPTY_PLAN,
    "auto with a plan": TeamPlan(formation="sequential", tool_budget=50, timeout_seconds=60),
    "sub-teams": TeamPlan(sub_teams=[["researcher"]]),
}
_SAFE_CALLS: Final = (
    # Victor's part, by the names that it has here
    *("wrapped", "call", "result", "intercept", "make", "meter", "execute", "SequentialFormation", "wait_for"),
    # what only enters a guard or runs Victor's part
    *("guard", "inside", "suppress", "aclosing", "anext", "gather", "isinstance", "super", "partial", "is_set"),
)
"""Victor's own calls, and ones that can't fail."""
_SAFE_VARIABLES: Final = ("current_run", "current_member", "_model_call", "_place", "kwargs")


class BrokenError(Exception):
    """What injected faults raise."""


def module_of(name: str) -> Any:
    return import_module(f"victor_autotune_plugin.{name}")


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_safe(statement: ast.stmt, own: set[str]) -> bool:
    """Return whether nothing in the head of a statement can fail, but for Victor's part of it.

    Args:
        own: Functions and classes of the modules, whose own lines are tried.
    """
    if isinstance(statement, ast.With | ast.AsyncWith):
        heads: list[ast.AST] = [item.context_expr for item in statement.items]
    elif isinstance(statement, ast.If | ast.While):
        heads = [statement.test]
    elif isinstance(statement, ast.For):
        if isinstance(statement.iter, ast.Name):
            return True
        heads = [statement]
    elif isinstance(statement, ast.Try | ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    else:
        heads = [statement]
    for head in heads:
        for node in ast.walk(head):
            if isinstance(node, ast.Import | ast.ImportFrom):
                return False
            if not isinstance(node, ast.Call):
                continue
            name = _called(node)
            variable = getattr(getattr(node.func, "value", None), "id", "")
            if variable not in _SAFE_VARIABLES and name not in _SAFE_CALLS and name not in own:
                return False
    calls = [node for head in heads for node in ast.walk(head) if isinstance(node, ast.Call)]
    simple = (
        ast.If | ast.While | ast.With | ast.AsyncWith | ast.Return | ast.Raise | ast.Expr | ast.Assign | ast.AnnAssign
    )
    return bool(calls) or isinstance(statement, simple)


def points(name: str) -> dict[int, str]:
    """Return the lines of a module where something may fail, with the function that each is in."""
    tree = ast.parse(Path(module_of(name).__file__).read_text(encoding="utf-8"))
    own = {
        node.name
        for other in MODULES
        for node in ast.walk(ast.parse(Path(module_of(other).__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    found = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in _statements(function.body):
                if not _is_safe(node, own):
                    found[node.lineno] = function.name
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(statement, name, []))
        for handler in getattr(statement, "handlers", []):
            yield from _statements(handler.body)


class Injection:
    """Raises at a line of a file the first time that it is come by. Without a line, it notes those that are."""

    def __init__(self, file: str, line: int = 0, error: type[Exception] = BrokenError) -> None:
        self.file, self.line, self.error = file, line, error
        self.lines: set[int] = set()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != self.file:
            return None
        if event == "line":
            self.lines.add(frame.f_lineno)
            if frame.f_lineno == self.line:
                self.line = -1
                raise self.error("injected")
        return self

    def __enter__(self) -> Injection:
        self._before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


def way_of_a_run(plan: TeamPlan) -> Callable[..., Any]:
    """Return what meters and limits a run, and leaves out hooks and store."""

    async def intercept(make_call: Callable[[], Any], original: Callable[[], Any]) -> Any:
        run: Any = None
        with failsafe.guard("start of a run"):
            call = make_call()
            spec = call.spec()
            budget = None if plan.is_empty else ToolBudget(plan.tool_budget, {})
            meter = RunMeter("run", planned_members(spec, plan), call.ids, budget)
            span = team_run_span(spec, run_id="run", mode="auto", plan=plan)
            run = call.call() if plan.is_empty else call.call_with(plan)
        if run is None:
            return await original()
        token = current_run.set(meter)
        try:
            with inside_run(), span:
                meter.span = span
                return await (run if plan.is_empty else with_deadline(run, 60, call.place.lift))
        finally:
            current_run.reset(token)

    return intercept


async def outcome(orchestrator: Any, scripted: ScriptedModel) -> Any:
    scripted.clear()
    call_context._warmed = False
    step = make_step(
        {"id": "researcher", "role": "researcher"}, formation="sequential", name="step", timeout_seconds=60
    )
    result = await run_workflow(orchestrator, make_workflow(step, name="flow"), "compiler")
    state = dict(result.state.items())
    team = state["team_result"]
    calls = sorted((call.role, call.turn, call.status, call.tool_results) for call in scripted.calls)
    return result.success, {key: team[key] for key in ("success", "final_output", "total_tool_calls")}, calls


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", MODULES)
async def test_a_fault_at_any_line_changes_no_result_and_is_reported(
    orchestrator: Any, scripted: ScriptedModel, name: str, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.script = scripts.with_tools(1)
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    monkeypatch.setattr(spans, "tracer_provider", lambda: provider)
    monkeypatch.setattr(interception, "intercept", way_of_a_run(PLANS[plan]))
    monkeypatch.setattr(runtime, "warm_up", lambda: None)
    seams.uninstall()
    expected = await outcome(orchestrator, scripted)
    seams.install()
    failsafe.forget()
    file = module_of(name).__file__
    with Injection(file) as seen:
        assert await outcome(orchestrator, scripted) == expected
    tried = sorted(line for line in points(name) if line in seen.lines)
    wrong: list[str] = []
    for number, line in enumerate(tried):
        failsafe.forget()
        with Injection(file, line, (BrokenError, RecursionError)[number % 2]) as injected:
            try:
                got = await outcome(orchestrator, scripted)
            except BaseException as error:
                got = error
        if got != expected:
            wrong.append(f"{name}:{line} changes the result: {got!r}"[:200])
        elif injected.line == -1 and not failsafe.seen():
            wrong.append(f"{name}:{line} is not reported")
    assert not wrong, "\n".join(wrong)
