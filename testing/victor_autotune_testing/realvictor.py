"""Real Victor for tests, on a scripted model, in a home that is thrown away.

A pytest plugin. From the start of pytest to its end `HOME` is a sandbox, so nothing that a test imports or starts in
this process can touch the settings of whoever runs the tests. A process that a test starts needs `victor_process`.

Fixtures: `sandbox`, `scripted`, `orchestrator`, `victor_process`. Everything else here are plain functions.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from victor_autotune_plugin._host.workflows import settle
from victor_autotune_testing.sandbox import Sandbox, victor_sandbox
from victor_autotune_testing.scripted import Script, ScriptedModel, scripts

_SANDBOX = pytest.StashKey[Sandbox]()
_UNDO = pytest.StashKey[contextlib.ExitStack]()

GOAL = "review the code"
"""A goal that Victor works on. Vague ones, such as "Write a haiku", fail with "Clarification required"."""


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores Ctrl-C, and what it starts inherits that; tests of Ctrl-C need it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tests turn warnings into errors; these are Victor's own.
    for line in (r"ignore::DeprecationWarning:victor\.", r"ignore::PendingDeprecationWarning:victor\."):
        config.addinivalue_line("filterwarnings", line)
    undo = contextlib.ExitStack()
    config.stash[_SANDBOX] = undo.enter_context(victor_sandbox(chdir=False))
    config.stash[_UNDO] = undo


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_UNDO].close()


@pytest.fixture(scope="session")
def sandbox(pytestconfig: pytest.Config) -> Sandbox:
    """The folders that Victor lives in during all tests."""
    return pytestconfig.stash[_SANDBOX]


@pytest.fixture(scope="session")
def _model(sandbox: Sandbox) -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        sandbox.use_model(model.base_url)
        yield model


@pytest.fixture
def scripted(_model: ScriptedModel) -> Iterator[ScriptedModel]:
    """A running scripted model with an empty log, under which every member succeeds in one call."""
    _model.script = scripts.succeed_at_once()
    _model.clear()
    yield _model
    _model.script = Script()


@pytest.fixture(scope="session")
def _agent(sandbox: Sandbox, _model: ScriptedModel) -> Iterator[Any]:
    """An agent that has run a team once: what Victor does only the first time is over."""
    from victor.config.settings import set_project_root

    async def create() -> Any:
        from victor.framework import Agent

        agent = await Agent.create(provider="openai", model="scripted")
        _model.script = scripts.with_tools(1)
        await run_team(agent.get_orchestrator(), make_team("researcher"))
        return agent

    with pytest.MonkeyPatch.context() as patch:
        # Victor would log into a folder shared by all users of the machine.
        patch.delenv("PYTEST_CURRENT_TEST", raising=False)
        patch.chdir(sandbox.project)
        # Victor takes the folder of whoever asked first for the project, and keeps what a tool answered.
        set_project_root(sandbox.project)
        agent = in_thread(create)
    yield agent
    in_thread(agent.close)


@pytest.fixture
async def orchestrator(
    _agent: Any, sandbox: Sandbox, scripted: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """Victor's orchestrator, the same in all tests, with the sandbox's project as the current folder.

    It works in every event loop and thread. A loop of the test's own must end with `await settle()`. Files that the
    team leaves in the project go with the test: Victor refuses to write over a file that nobody read.
    """
    monkeypatch.chdir(sandbox.project)
    before = set(sandbox.project.iterdir())
    orchestrator = _agent.get_orchestrator()
    heal(orchestrator)
    yield orchestrator
    await settle()
    for left in set(sandbox.project.iterdir()) - before:
        if left.is_file():
            left.unlink()


@pytest.fixture
def victor_process(sandbox: Sandbox, scripted: ScriptedModel) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program inside the sandbox, such as `victor_process("victor", "plugin", "list")`.

    The first argument is an installed console script, or `python`. Keywords: `env` to add, `cwd`, `timeout`.
    """

    def run(*argv: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            sandbox.command(argv),
            env={**sandbox.environment(), **(env or {})},
            **{"cwd": sandbox.project, "capture_output": True, "text": True, "timeout": 120, "check": False, **options},
        )

    return run


def heal(orchestrator: Any) -> None:
    """Let Victor's provider forget earlier failures, which would make it refuse calls for up to 30 seconds."""
    provider = orchestrator.provider
    # Its connection, with the circuit breaker, is made anew for the next call.
    provider._sandhi_typed_providers = None
    provider._rate_limit_suppressed_until_monotonic = None


def in_thread(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine function to its end in a thread and an event loop of its own, and return its result."""

    async def whole() -> Any:
        try:
            return await work()
        finally:
            await settle()

    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(whole())))
    thread.start()
    thread.join()
    return outcome[0]


def make_members(*roles: str | Mapping[str, Any]) -> list[Any]:
    """Return `TeamMember`s `m0`, `m1`, ...

    Args:
        *roles: For each member its role, or its fields as a mapping.
    """
    from victor.core.shared_types import SubAgentRole
    from victor.teams import TeamMember

    members = []
    for i, one in enumerate(roles):
        fields = {"id": f"m{i}", "role": "researcher", "name": f"M{i}", "goal": "do your part"}
        fields |= {"role": one} if isinstance(one, str) else one
        members.append(TeamMember(**{**fields, "role": SubAgentRole(fields["role"])}))
    return members


def make_team(
    *roles: str | Mapping[str, Any], formation: str = "parallel", name: str = "team", goal: str = GOAL, **fields: Any
) -> Any:
    """Return a `TeamConfig`.

    Args:
        *roles: As for `make_members`. Hierarchical needs one with `{"is_manager": True}`.
        formation: Victor's name of the formation.
        name: The team's name.
        goal: What every member is asked to do.
        **fields: Further fields of `TeamConfig`.
    """
    from victor.teams import TeamConfig, TeamFormation

    members = make_members(*roles)
    return TeamConfig(name=name, goal=goal, members=members, formation=TeamFormation(formation), **fields)


async def run_team(orchestrator: Any, team: Any) -> Any:
    """Run a team as Victor does, and return its `TeamResult`."""
    from victor.teams import UnifiedTeamCoordinator

    return await UnifiedTeamCoordinator(orchestrator).execute_team_config(team)


def make_step(
    *roles: str | Mapping[str, Any], formation: str = "parallel", name: str = "team", goal: str = GOAL, **fields: Any
) -> Any:
    """Return a `TeamStepWorkflow`.

    Args:
        *roles: For each member its role, or its fields as a workflow file has them.
        formation: Victor's name of the formation.
        name: The step's id and name.
        goal: What every member is asked to do.
        **fields: Further fields of `TeamStepWorkflow`.
    """
    from victor.workflows.definition import TeamStepWorkflow

    members = step_members(*roles)
    return TeamStepWorkflow(id=name, name=name, goal=goal, team_formation=formation, members=members, **fields)


def step_members(*roles: str | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return members as a workflow file has them."""
    return [{"id": f"m{i}", **({"role": one} if isinstance(one, str) else one)} for i, one in enumerate(roles)]


def make_workflow(*steps: Any, name: str = "workflow", metadata: Mapping[str, Any] | None = None) -> Any:
    """Return a `WorkflowDefinition` whose steps follow one another."""
    from victor.workflows.definition import WorkflowDefinition

    for step, following in itertools.pairwise(steps):
        step.next_nodes = [following.id]
    return WorkflowDefinition(name=name, nodes={step.id: step for step in steps}, metadata=dict(metadata or {}))


async def run_workflow(orchestrator: Any, workflow: Any, engine: str = "executor", **state: Any) -> Any:
    """Run a workflow with one of Victor's two engines, and return the engine's result.

    Args:
        orchestrator: Victor's orchestrator.
        workflow: A `WorkflowDefinition`.
        engine: `executor` for `StateGraphExecutor`, `compiler` for `UnifiedWorkflowCompiler`.
        **state: The initial state.
    """
    if engine == "executor":
        from victor.workflows.unified_executor import StateGraphExecutor

        return await StateGraphExecutor(orchestrator=orchestrator).execute(workflow, state)
    from victor.workflows.unified_compiler import UnifiedWorkflowCompiler

    return await UnifiedWorkflowCompiler(orchestrator=orchestrator).compile_definition(workflow).invoke(state)


def workflow_yaml(
    *roles: str | Mapping[str, Any],
    formation: str = "parallel",
    name: str = "workflow",
    step: str = "team",
    metadata: Mapping[str, Any] | None = None,
    **fields: Any,
) -> str:
    """Return a workflow file with one team step, in the part of YAML that is JSON.

    Args:
        *roles: As for `make_step`.
        formation: Victor's name of the formation.
        name: The workflow's name.
        step: The step's id.
        metadata: The workflow's metadata, such as `{"autotune": {"mode": "auto"}}`.
        **fields: Further keys of the step.
    """
    node = {"id": step, "type": "team", "goal": GOAL, "team_formation": formation, "members": step_members(*roles)}
    workflow = {"description": "A test.", "metadata": metadata or {}, "nodes": [node | fields]}
    return json.dumps({"workflows": {name: workflow}}, indent=2)


def outcomes(result: Any) -> Sequence[tuple[str, bool, int]]:
    """Return `(member id, success, tool calls)` of each member of a `TeamResult`."""
    return [(name, one.success, one.tool_calls_used) for name, one in result.member_results.items()]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what happens in another thread.

    Raises:
        TimeoutError: It did not happen.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
