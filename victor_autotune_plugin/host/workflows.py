"""Loads workflow files with team steps, which Victor 0.9.5 can run but not read, and runs them.

Victor's YAML loader knows no node of type `team`. So each team step is read here, Victor reads the rest with a
stand-in in its place, and then the step takes the stand-in's place.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from ..errors import HostError, WorkflowError
from ..model.plan import FORMATIONS, MemberSpec, feasible_formations

_STEP_KEYS: Final[Mapping[str, Any]] = {
    "name": str,
    "goal": str,
    "timeout_seconds": (int, float),
    "merge_strategy": str,
    "merge_mode": str,
    "output_key": str,
    "continue_on_error": bool,
    "shared_context": Mapping,
    "max_iterations": int,
}
_OTHER_STEP_KEYS: Final = (
    "id",
    "type",
    "next",
    "members",
    "formation",
    "team_formation",
    "tool_budget",
    "total_tool_budget",
)
_MEMBER_KEYS: Final = (
    "id",
    "role",
    "name",
    "goal",
    "tool_budget",
    "allowed_tools",
    "agent_category",
    "can_delegate",
    "delegation_targets",
    "is_manager",
    "backstory",
    "expertise",
    "personality",
)


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
            WorkflowError: If there is none of that name, or no name and several workflows.
        """
        if name is None and len(self.workflows) == 1:
            return next(iter(self.workflows.values()))
        if name is not None and name in self.workflows:
            return self.workflows[name]
        known = ", ".join(self.workflows)
        if name is None:
            raise WorkflowError("holds several workflows", where=str(self.path), mend=f"choose one: --workflow {known}")
        raise WorkflowError(
            f"holds no workflow {name!r} with a team step", where=str(self.path), mend=f"known: {known}"
        )


def read_workflows(path: Path) -> WorkflowFile:
    """Read a workflow file.

    Args:
        path: A YAML file in Victor's form, with nodes of `type: team`.

    Returns:
        Its workflows that have a team step.

    Raises:
        WorkflowError: If the file can't be used; the message names file, line and mend.
        HostError: If Victor's loader is not as it was.
    """
    data = _read(path)
    listed = data.get("workflows", data)
    if not isinstance(listed, Mapping):
        raise _error(path, data, "workflows", "must be a mapping of workflow names")
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name, body in listed.items():
        if not isinstance(body, Mapping) or "nodes" not in body:
            continue
        if not isinstance(body["nodes"], Sequence) or isinstance(body["nodes"], str):
            raise _error(path, body, "nodes", f"workflow {name!r}: nodes must be a list")
        teams = [node for node in body["nodes"] if isinstance(node, Mapping) and node.get("type") == "team"]
        if teams:
            found[str(name)] = _definition(path, str(name), body, teams)
            metadata = body.get("metadata")
            if isinstance(metadata, Mapping) and "autotune" in metadata:
                lines[str(name)] = _line(metadata, "autotune")
    if not found:
        raise WorkflowError(
            "has no workflow with a team step",
            where=str(path),
            mend="a team step is a node with `type: team`, `formation:` and `members:`",
        )
    return WorkflowFile(path, found, lines)


def _read(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkflowError(f"can't be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise WorkflowError("is not UTF-8 text", where=str(path)) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise WorkflowError(f"is not YAML: {error.problem}", where=where) from error
    except YAMLError as error:
        raise WorkflowError(f"is not YAML: {error}", where=str(path)) from error
    if not isinstance(data, Mapping):
        raise WorkflowError("is not a workflow file: it must be a mapping", where=f"{path}:1")
    return data


def _definition(path: Path, name: str, body: Any, teams: list[Any]) -> Any:
    try:
        from victor.workflows.definition import TeamStepWorkflow
        from victor.workflows.yaml_loader import YAMLWorkflowConfig, YAMLWorkflowError, load_workflow_from_yaml
    except ImportError as error:
        raise HostError(f"this Victor can't load workflows: {error}", mend="victor autotune doctor") from error
    import yaml

    for node in teams:
        _check_step(path, name, node)
    by_id = {str(node["id"]): node for node in teams}
    plain = _plain(body)
    for node in plain["nodes"]:
        if isinstance(node, dict) and node.get("type") == "team":
            stand_in = {"id": node.get("id"), "type": "agent", "role": "executor", "goal": "stand-in"}
            following = {"next": node["next"]} if "next" in node else {}
            node.clear()
            node.update(stand_in, **following)
    text = yaml.safe_dump({"workflows": {name: plain}}, sort_keys=False)
    try:
        definition = load_workflow_from_yaml(text, name, YAMLWorkflowConfig(base_dir=path.parent))
    except YAMLWorkflowError as error:
        raise WorkflowError(f"workflow {name!r}: {error}", where=str(path)) from error
    for node_id, node in by_id.items():
        definition.nodes[node_id] = _team_step(TeamStepWorkflow, _plain(node), definition.nodes[node_id].next_nodes)
    return definition


def _team_step(kind: type, node: Mapping[str, Any], next_nodes: list[str]) -> Any:
    options = {key: node[key] for key in _STEP_KEYS if key in node}
    options.setdefault("name", str(node["id"]))
    budget = node.get("total_tool_budget", node.get("tool_budget"))
    if budget is not None:
        options["total_tool_budget"] = budget
    return kind(
        id=str(node["id"]),
        next_nodes=list(next_nodes),
        team_formation=str(node.get("formation", node.get("team_formation", "sequential"))),
        members=[dict(member) for member in node["members"]],
        **options,
    )


def _check_step(path: Path, workflow: str, node: Any) -> None:
    if not isinstance(node.get("id"), str):
        raise WorkflowError(f"workflow {workflow!r}: a team step needs an `id`", where=f"{path}:{_line(node, None)}")
    step = f"team step {node['id']!r}"
    _check_keys(path, node, (*_STEP_KEYS, *_OTHER_STEP_KEYS), step)
    for key, kind in _STEP_KEYS.items():
        value = node.get(key)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise _error(path, node, key, f"{step}: {key} must not be {value!r}")
    timeout = node.get("timeout_seconds")
    if timeout is not None and not timeout > 0:
        raise _error(path, node, "timeout_seconds", f"{step}: timeout_seconds must be more than 0")
    for key in ("tool_budget", "total_tool_budget"):
        value = node.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise _error(path, node, key, f"{step}: {key} must be a whole number, 0 or more")
    members = node.get("members")
    if not isinstance(members, list) or not members:
        raise _error(path, node, "members", f"{step} has no members", "list them under `members:`, each with an `id`")
    specs = [_check_member(path, step, member) for member in members]
    ids = [spec.id for spec in specs]
    double = next((name for name in ids if ids.count(name) > 1), None)
    if double is not None:
        raise _error(path, node, "members", f"{step} has two members {double!r}")
    key = "formation" if "formation" in node else "team_formation"
    formation = node.get(key, "sequential")
    if formation not in FORMATIONS:
        raise _error(path, node, key, f"{step}: unknown formation {formation!r}", _nearest(formation, FORMATIONS))
    if formation not in feasible_formations(specs):
        mend = "hierarchical needs exactly one member with `is_manager: true`, reflection at least two members"
        raise _error(path, node, key, f"{step}: these members can't form {formation!r}", mend)


def _check_member(path: Path, step: str, member: Any) -> MemberSpec:
    if not isinstance(member, Mapping) or not isinstance(member.get("id"), str) or not member["id"]:
        line = _line(member, None) if isinstance(member, Mapping) else 0
        raise WorkflowError(f"{step}: each member needs an `id`", where=f"{path}:{line}" if line else str(path))
    _check_keys(path, member, _MEMBER_KEYS, f"{step}: member {member['id']!r}")
    supervisor = bool(member.get("is_manager")) or member.get("agent_category") == "supervisor"
    return MemberSpec(member["id"], str(member.get("role", "")), is_supervisor=supervisor)


def _check_keys(path: Path, node: Any, known: Iterable[str], what: str) -> None:
    names = tuple(known)
    for key in node:
        if key not in names:
            raise _error(path, node, key, f"{what}: unknown key {key!r}", _nearest(str(key), names))


def _error(path: Path, node: Any, key: str | None, message: str, mend: str | None = None) -> WorkflowError:
    return WorkflowError(message, where=f"{path}:{_line(node, key)}", mend=mend)


def _line(node: Any, key: str | None) -> int:
    """Return the line of a key of a node as ruamel.yaml read it, or of the node itself."""
    marks = node.lc
    if key is not None and key in node:
        return int(marks.key(key)[0]) + 1
    return int(marks.line) + 1


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "one of: " + ", ".join(known)


def _plain(value: Any) -> Any:
    """Return ruamel.yaml's nodes as plain Python."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else value


async def make_orchestrator(provider: str | None, model: str | None, base_url: str | None) -> Any:
    """Create a real orchestrator of Victor's for the members of teams.

    Args:
        provider: Victor's name of the provider, or None for the profile's.
        model: Model name, or None for the profile's.
        base_url: Endpoint of the provider, or None for the profile's.

    Returns:
        The orchestrator.

    Raises:
        HostError: If Victor can't create it; the message is Victor's.
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
            mend="check --provider, --model, --base-url and the API key",
        ) from error
    return agent.get_orchestrator()


async def run_workflow(definition: Any, orchestrator: Any, context: Mapping[str, Any]) -> Any:
    """Run a workflow once.

    Args:
        definition: Victor's `WorkflowDefinition`.
        orchestrator: Victor's orchestrator.
        context: Initial state.

    Returns:
        Victor's `ExecutorResult`.
    """
    from victor.workflows.unified_executor import StateGraphExecutor

    return await StateGraphExecutor(orchestrator=orchestrator).execute(definition, dict(context))


async def settle() -> None:
    """End Victor's event dispatcher. Await it at the end of every event loop that Victor ran in.

    Otherwise the loop may never end: under Python 3.11 the dispatcher (`InMemoryEventBackend._dispatch_loop`) loses its
    cancellation when an event arrives in the same moment, and `asyncio.run` waits for it for ever. Victor's bus is not
    disconnected: it would connect again in the next loop, and spin there, since its queue belongs to the first.
    """
    while True:
        running = [one for one in asyncio.all_tasks() if _coroutine_name(one).endswith("._dispatch_loop")]
        if not running:
            return
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.2)


def _coroutine_name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")
