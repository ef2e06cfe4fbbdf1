"""Loads workflow files with team steps, which Victor 0.9.5 can run but not read, and runs them.

Victor's YAML loader knows no node of type `team`. So Victor reads the file with a placeholder for each team step, which
then takes its place with the values that Victor read.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .. import failsafe
from .._values.nodes import Items, Table, placed
from .._values.yaml_tree import HOST_LOADER, filled, load
from ..configfiles.declarations import (
    BUDGET_KEYS,
    FORMATION_KEYS,
    STEP_KEYS,
    TeamStep,
    key_notes,
    member_values,
    no_team_step,
    step_spec,
    step_values,
    team_steps,
)
from ..errors import HostError, WorkflowError

_STAND_IN: Final = "stands in for a team step"
_COMPARE: Final = "Compare the line with Victor's documentation of workflows."


@frozen
class WorkflowFile:
    """A workflow file as it was read.

    Attributes:
        path: The file.
        workflows: Victor's `WorkflowDefinition`s by name; only those with a team step that can run.
        lines: Line of each workflow's `metadata.autotune` by name, where it has one.
        faults: What is wrong with the other workflows that have a team step, by name.
        notes: What a person should know about those that can run, such as keys without effect.
    """

    path: Path
    workflows: Mapping[str, Any]
    lines: Mapping[str, int]
    faults: Mapping[str, Sequence[WorkflowError]]
    notes: Sequence[str]

    def workflow(self, name: str | None) -> Any:
        """Return one workflow.

        Args:
            name: Its name, or None when the file holds only one.

        Raises:
            WorkflowError: If no workflow has that name, if there are several and no name is given, or if something is
                wrong with it.
        """
        declared = (*self.workflows, *self.faults)
        if name is None and len(declared) == 1:
            name = declared[0]
        known = ", ".join(self.workflows)
        if name is None:
            raise WorkflowError("holds several workflows", where=str(self.path), hint=f"Choose one: --workflow {known}")
        if name in self.workflows:
            return self.workflows[name]
        if name in self.faults:
            raise self.faults[name][0]
        raise WorkflowError(
            f"holds no workflow {name!r} with a team step", where=str(self.path), hint=f"Known: {known}"
        )


def read_workflows(path: Path) -> WorkflowFile:
    """Read the workflows of a YAML file in Victor's form that have a team step, a node of `type: team`.

    Victor's own loader reads them, so each value is what it is to Victor, environment variables filled in.

    Raises:
        WorkflowError: If no workflow of the file can be used; the message names file, line and hint.
        HostError: If this Victor's loader can't be used.

    .. versionadded:: 0.1
    """
    file, root = load(path)
    declared = team_steps(filled(root, os.environ))
    steps: dict[str, list[TeamStep]] = {}
    for step in declared.steps:
        steps.setdefault(step.workflow, []).append(step)
    faults = {name: [error] for name, error in declared.faults}
    if not steps and not faults:
        raise no_team_step(path)
    loader = _VictorsLoader(path)
    data = loader.data(file.text) if steps else {}
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name, teams in steps.items():
        wrong = [error for step in teams if (error := _fault(step)) is not None]
        try:
            definition = None if wrong else loader.definition(name, teams, data)
        except WorkflowError as error:
            wrong.append(error)
        if wrong:
            faults[name] = wrong
            continue
        found[name] = definition
        own = teams[0].own_settings
        if own is not None:
            lines[name] = int(own[1].rpartition(":")[2])
            # The same as Victor read, with the lines that `explain` and errors show.
            found[name].metadata["autotune"] = placed(own[0])
    if not found:
        raise next(iter(faults.values()))[0]
    return WorkflowFile(path, found, lines, faults, key_notes(step for name in found for step in steps[name]))


def _fault(step: TeamStep) -> WorkflowError | None:
    try:
        step_spec(step)
    except WorkflowError as error:
        return error
    return None


class _VictorsLoader:
    """Victor's loader of workflow files, with its exceptions as errors that name file and line.

    Raises:
        HostError: It is not there, or not as it was.
    """

    def __init__(self, path: Path) -> None:
        try:
            from victor.workflows import definition, yaml_loader

            self._step = definition.TeamStepWorkflow
            self._error = yaml_loader.YAMLWorkflowError
            self._fill = yaml_loader._interpolate_env_vars
            self._load = yaml_loader.load_workflow_from_dict
            self._config = yaml_loader.YAMLWorkflowConfig(base_dir=path.parent)
        except (ImportError, AttributeError) as error:
            raise HostError(f"this Victor can't load workflows: {error}", hint="victor autotune doctor") from error
        self._path = path

    def data(self, text: str) -> dict[Any, Any]:
        """Return a file's workflows by name, as plain data with the variables filled in."""
        import yaml

        try:
            data = self._fill(yaml.load(text, HOST_LOADER))
            return dict(data.get("workflows", data))
        except Exception as error:
            raise self._wrapped(error, str(self._path)) from error

    def definition(self, name: str, steps: Sequence[TeamStep], data: Mapping[Any, Any]) -> Any:
        """Return Victor's definition of a workflow whose team steps are sound."""
        import yaml

        body: dict[str, Any] = {}
        try:
            # A name that is no text to Victor, such as 2026, is a text to us.
            body = copy.deepcopy(data[name] if name in data else data[yaml.load(name, HOST_LOADER)])
            teams = {step.number: body["nodes"][step.number] for step in steps}
            for number, node in teams.items():
                stand_in = {"id": node["id"], "goal": _STAND_IN}
                body["nodes"][number] = stand_in | ({"next": node["next"]} if "next" in node else {})
            made = self._load(body, name, self._config)
            for step in steps:
                found = made.nodes[step.team_id]
                if getattr(found, "goal", None) == _STAND_IN:  # else another node has the same id, and counts
                    made.nodes[step.team_id] = self._team_step(step, teams[step.number], found.next_nodes)
        except WorkflowError:
            raise
        except Exception as error:
            raise self._wrapped(error, *self._place(steps[0].body, body, error), f"workflow {name!r}: ") from error
        return made

    def _team_step(self, step: TeamStep, node: Mapping[str, Any], next_nodes: list[str]) -> Any:
        values = step_values(step)
        options = {key: _as_read(node[key], values.get(key)) for key in STEP_KEYS if key in values}
        options.setdefault("name", step.team_id)
        budget = next((key for key in BUDGET_KEYS if key in values), None)
        if budget is not None:
            options["total_tool_budget"] = values[budget]
        members = [
            {key: _as_read(value, read.get(key)) for key, value in member.items()}
            for member, read in zip(node["members"], member_values(step), strict=True)
        ]
        formation = next((values[key] for key in FORMATION_KEYS if key in values), "sequential")
        return self._step(id=step.team_id, next_nodes=next_nodes, team_formation=formation, members=members, **options)

    def _place(self, body: Table, data: Mapping[str, Any], error: Exception) -> tuple[str, str]:
        """Return where the node stands that by itself raises the same, else where the workflow does, and a hint."""
        nodes = body.get("nodes")
        pairs = list(zip(nodes.items, data.get("nodes", ()), strict=False)) if isinstance(nodes, Items) else []
        for node, one in pairs:
            try:
                self._load({"nodes": [one]}, "", self._config)
            except Exception as its_own:
                if str(its_own) == str(error):
                    return node.where, _COMPARE
        for node, _ in pairs:
            if isinstance(node, Table) and "next" in node and not node.get("next") and "NoneType" in str(error):
                return node.where_of("next"), "Name the next node, or write `next: []`."
        return body.where, _COMPARE

    def _wrapped(self, error: Exception, where: str, hint: str = _COMPARE, what: str = "") -> WorkflowError:
        kind = "" if isinstance(error, self._error) else f"{type(error).__name__}: "
        said = kind + " ".join(str(error).split())
        return WorkflowError(f"{what}Victor can't read it: {said}", where=where, hint=hint)


def _as_read(value: Any, read: Any) -> Any:
    """Return a value as Victor reads it, but as a number or a flag where a variable's text stands for one."""
    return read if isinstance(value, str) and read is not None else value


def endpoint_of(orchestrator: Any) -> str | None:
    """Return the address that an orchestrator's model is called at, without what may be secret in it, or None."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(str(orchestrator.provider.base_url))
        host = parts.hostname or ""
        where = f"[{host}]" if ":" in host else host
        port = "" if parts.port is None else f":{parts.port}"
    except (AttributeError, ValueError):
        return None
    return urlunsplit((parts.scheme, where + port, parts.path, "", "")) if host and parts.scheme else None


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
