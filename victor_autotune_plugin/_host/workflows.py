"""Loads workflow files with team steps, which Victor 0.9.5 can run but not read, and runs them.

Victor's YAML loader knows no node of type `team`. So each team step is read here, Victor reads the rest with a
placeholder, and then the step replaces the placeholder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from .. import failsafe
from .._model.plan import TeamSpec
from .._values.nodes import placed
from .._values.yaml_tree import load
from ..configfiles.declarations import STEP_KEYS, TeamStep, no_team_step, step_spec, team_steps
from ..errors import HostError, WorkflowError


@frozen
class WorkflowFile:
    """A workflow file as it was read.

    Attributes:
        path: The file.
        workflows: Victor's `WorkflowDefinition`s by name; only those with a team step.
        lines: Line of each workflow's `metadata.autotune` by name, where it has one.
    """

    path: Path
    workflows: Mapping[str, Any]
    lines: Mapping[str, int]

    def workflow(self, name: str | None) -> Any:
        """Return one workflow.

        Args:
            name: Its name, or None when the file holds only one.

        Raises:
            WorkflowError: If no workflow has that name, or if there are several and no name is given.
        """
        if name is None and len(self.workflows) == 1:
            return next(iter(self.workflows.values()))
        if name is not None and name in self.workflows:
            return self.workflows[name]
        known = ", ".join(self.workflows)
        if name is None:
            raise WorkflowError("holds several workflows", where=str(self.path), hint=f"Choose one: --workflow {known}")
        raise WorkflowError(
            f"holds no workflow {name!r} with a team step", where=str(self.path), hint=f"Known: {known}"
        )


def read_workflows(path: Path) -> WorkflowFile:
    """Read the workflows of a YAML file in Victor's form that have a team step, a node of `type: team`.

    Raises:
        WorkflowError: If the file can't be used; the message names file, line and hint.
        HostError: If this Victor's loader can't be used.

    .. versionadded:: 0.1
    """
    _, root = load(path)
    steps: dict[str, list[TeamStep]] = {}
    for step in team_steps(root):
        steps.setdefault(step.workflow, []).append(step)
    if not steps:
        raise no_team_step(path)
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name, teams in steps.items():
        found[name] = _definition(path, name, teams)
        own = teams[0].own_settings
        if own is not None:
            lines[name] = int(own[1].rpartition(":")[2])
            # The same as Victor read, with the lines that `explain` and errors show.
            found[name].metadata["autotune"] = placed(own[0])
    return WorkflowFile(path, found, lines)


def _definition(path: Path, name: str, steps: list[TeamStep]) -> Any:
    try:
        from victor.workflows.definition import TeamStepWorkflow
        from victor.workflows.yaml_loader import YAMLWorkflowConfig, YAMLWorkflowError, load_workflow_from_yaml
    except ImportError as error:
        raise HostError(f"this Victor can't load workflows: {error}", hint="victor autotune doctor") from error
    import yaml

    specs = [step_spec(step) for step in steps]
    body = steps[0].body.plain()
    for step in steps:
        node = body["nodes"][step.number]
        stand_in = {"id": node["id"], "type": "agent", "role": "executor", "goal": "stand-in"}
        body["nodes"][step.number] = stand_in | ({"next": node["next"]} if "next" in node else {})
    text = yaml.safe_dump({"workflows": {name: body}}, sort_keys=False)
    try:
        definition = load_workflow_from_yaml(text, name, YAMLWorkflowConfig(base_dir=path.parent))
    except YAMLWorkflowError as error:
        raise WorkflowError(f"workflow {name!r}: {error}", where=str(path)) from error
    for step, spec in zip(steps, specs, strict=True):
        following = definition.nodes[spec.team_id].next_nodes
        definition.nodes[spec.team_id] = _team_step(TeamStepWorkflow, spec, step.node.plain(), following)
    return definition


def _team_step(kind: type, spec: TeamSpec, node: Mapping[str, Any], next_nodes: list[str]) -> Any:
    options = {key: node[key] for key in STEP_KEYS if key in node}
    options.setdefault("name", spec.team_id)
    if spec.tool_budget is not None:
        options["total_tool_budget"] = spec.tool_budget
    return kind(
        id=spec.team_id,
        next_nodes=list(next_nodes),
        team_formation=spec.formation,
        members=[dict(member) for member in node["members"]],
        **options,
    )


async def make_orchestrator(provider: str | None, model: str | None, base_url: str | None) -> Any:
    """Create one of Victor's orchestrators, which the members of teams run on.

    Args:
        provider: Victor's name of the provider, or None for the profile's.
        model: Model name, or None for the profile's.
        base_url: Endpoint of the provider, or None for the profile's.

    Raises:
        HostError: If Victor can't create it; the message is Victor's.

    .. versionadded:: 0.1
    """
    from victor.framework import Agent
    from victor.framework.session_config import ProviderOverrideConfig, SessionConfig

    override = ProviderOverrideConfig(provider=provider, model=model, endpoint=base_url)
    try:
        agent = await Agent.create(
            provider=provider,
            model=model,
            session_config=SessionConfig(provider_override=override, one_shot_mode=True, headless_mode=True),
        )
    except Exception as error:
        wanted = f"{provider or 'the default provider'}/{model or 'the default model'}"
        raise HostError(
            f"Victor could not create an agent for {wanted}: {type(error).__name__}: {error}",
            hint="Check --provider, --model, --base-url and the API key.",
        ) from error
    return agent.get_orchestrator()


async def run_workflow(definition: Any, orchestrator: Any, context: Mapping[str, Any]) -> Any:
    """Run a workflow once and return Victor's `ExecutorResult`.

    Args:
        definition: Victor's `WorkflowDefinition`, such as `read_workflows(path).workflow(name)`.

    .. versionadded:: 0.1
    """
    from victor.workflows.unified_executor import StateGraphExecutor

    return await StateGraphExecutor(orchestrator=orchestrator).execute(definition, dict(context))


async def settle() -> None:
    """Wait until runs are written and judged, a moment at most, and end Victor's event dispatcher.

    Await it at the end of every event loop that Victor ran in. Otherwise the loop may never end: under Python 3.11 the
    dispatcher (`InMemoryEventBackend._dispatch_loop`) loses its cancellation when an event arrives in the same moment,
    and `asyncio.run` waits for it for ever. Victor's bus is not disconnected: it would connect again in the next loop,
    and spin there, since its queue belongs to the first.

    .. versionadded:: 0.1
    """
    from .._tuning.runtime import made

    owner = made()
    if owner is not None:
        with failsafe.guard("end of an event loop"):
            await owner.settled()
    while True:
        running = [one for one in asyncio.all_tasks() if _coroutine_name(one).endswith("._dispatch_loop")]
        if not running:
            return
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.2)


def _coroutine_name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")
