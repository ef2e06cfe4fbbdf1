"""Which methods of Victor's are wrapped, in which of its releases, and by what."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from attrs import frozen

from . import call_context

Wrapper = Callable[[Callable[..., Any], Any, Any, Any], Any]


@frozen
class Seam:
    """A method of Victor's that is wrapped.

    Attributes:
        module: Module that holds it.
        path: Dotted path in the module. A function of another module that it passes, such as `asyncio.wait_for`, is
            wrapped for this module alone.
        parameters: Names of the parameters that the wrapper relies on.
        wrapper: The wrapper, in wrapt's form.
        serves: What would be missing without it.
        required: Whether runs are not intercepted at all without it.
        since: First release of Victor that has to have it.
        until: First release of Victor that may lack it, or None. There it is wrapped as long as it exists.
    """

    module: str
    path: str
    parameters: tuple[str, ...]
    wrapper: Wrapper
    serves: str
    required: bool = False
    since: tuple[int, int] = (0, 0)
    until: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The whole dotted name."""
        return f"{self.module}.{self.path}"

    @property
    def is_expected(self) -> bool:
        """Whether the installed Victor has to have it."""
        installed = victor_release()
        return self.since <= installed and (self.until is None or installed < self.until)


@cache
def victor_release() -> tuple[int, int]:
    """Return major and minor number of the installed Victor; a Victor without a version has every seam."""
    try:
        major, minor = re.findall(r"\d+", version("victor-ai"))[:2]
    except (PackageNotFoundError, ValueError):
        return (0, 9)
    return int(major), int(minor)


_COORDINATOR: Final = "victor.teams.unified_coordinator"
_BEFORE_0_10: Final = (0, 10)
"""Victor's accepted decisions remove the executor's module and the compiler's facade in 0.10."""

BEGINNING: Final = Seam(
    _COORDINATOR,
    "UnifiedTeamCoordinator._execute_with",
    ("task", "context", "formation", "members"),
    call_context.execute_with,
    "planned formations and members",
)
PARALLEL: Final = Seam(
    "victor.coordination.formations.parallel",
    "ParallelFormation.execute",
    ("agents", "context", "task"),
    call_context.parallel_formation,
    "sub-teams",
)
PARTICIPANT: Final = Seam(
    "victor.teams.types",
    "TeamParticipant.execute_task",
    ("task", "context"),
    call_context.late("member_execution", "member_execution"),
    "durations, tool calls and tokens of members",
)
CONTEXT_AGENT: Final = Seam(
    _COORDINATOR,
    "_MemberContextAgent.execute",
    ("prompt", "context"),
    call_context.late("member_execution", "context_agent"),
    "durations of custom members of a reflection",
)
TOOL_CALLS: Final = Seam(
    "victor.agent.tool_pipeline",
    "ToolPipeline.execute_tool_calls",
    ("tool_calls",),
    call_context.late("meters", "tool_calls"),
    "tool calls, and tool budgets that are enforced",
)

SEAMS: Final = (
    Seam(
        _COORDINATOR,
        "UnifiedTeamCoordinator.execute_team_config",
        ("config", "members"),
        call_context.late("interception", "execute_team_config"),
        "runs of team steps, AgentTeam, configured teams and the legacy coordinator",
        required=True,
    ),
    Seam(
        _COORDINATOR,
        "UnifiedTeamCoordinator.execute_task",
        ("task", "context"),
        call_context.late("interception", "execute_task"),
        "runs of coordinators used directly or as graph nodes",
        required=True,
    ),
    BEGINNING,
    PARALLEL,
    PARTICIPANT,
    CONTEXT_AGENT,
    TOOL_CALLS,
    Seam(
        _COORDINATOR,
        "UnifiedTeamCoordinator.__init__",
        (),
        call_context.warm_up,
        "early loading when a coordinator is made",
    ),
    Seam(
        "victor.framework.agent_factory",
        "AgentFactory.__init__",
        (),
        call_context.warm_up,
        "early loading when an agent is made",
    ),
    Seam(
        "victor.providers.base", "BaseProvider.__init__", (), call_context.provider_init, "model calls, tokens and cost"
    ),
    Seam(
        "victor.framework.workflows.nodes",
        "TeamStep.execute_async",
        ("orchestrator", "graph_state"),
        call_context.team_step,
        "ids and timeouts of team steps",
    ),
    Seam(
        "victor.framework.workflows.nodes",
        "asyncio.wait_for",
        ("fut", "timeout"),
        call_context.step_timeout,
        "planned timeouts that are longer than a team step's own",
    ),
    Seam(
        "victor.framework.graph_primitives",
        "Node.execute",
        ("state",),
        call_context.graph_node,
        "ids of coordinators used as graph nodes",
    ),
    Seam(
        "victor.framework.team_runtime",
        "execute_resolved_team",
        ("resolved_plan",),
        call_context.resolved_team,
        "ids of configured teams",
    ),
    Seam(
        "victor.workflows.unified_executor",
        "StateGraphExecutor.execute",
        ("workflow",),
        call_context.execute_workflow,
        "workflow names under StateGraphExecutor",
        until=_BEFORE_0_10,
    ),
    Seam(
        "victor.workflows.unified_executor",
        "StateGraphExecutor.stream",
        ("workflow",),
        call_context.stream_workflow,
        "workflow names under StateGraphExecutor, streamed",
        until=_BEFORE_0_10,
    ),
    Seam(
        "victor.workflows.unified_compiler",
        "UnifiedWorkflowCompiler.compile_definition",
        ("definition",),
        call_context.compile_definition,
        "metadata.autotune under UnifiedWorkflowCompiler",
        until=_BEFORE_0_10,
    ),
)
