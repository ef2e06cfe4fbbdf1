"""Team steps in workflow files: where they stand, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .._model.plan import FORMATIONS, MemberSpec, TeamSpec, feasible_formations
from .._values.document import failure, line_of
from .._values.names import did_you_mean
from ..errors import WorkflowError

STEP_KEYS: Final[Mapping[str, Any]] = {
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
_MORE_STEP_KEYS: Final = (
    "id",
    "type",
    "next",
    "members",
    "formation",
    "team_formation",
    "tool_budget",
    "total_tool_budget",
    "member_count",
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

FORMATION_KEYS: Final = ("formation", "team_formation")
BUDGET_KEYS: Final = ("total_tool_budget", "tool_budget")
"""Names of a key of which the first that is there counts."""


@frozen
class TeamStep:
    """A team step as it stands in its file; not checked yet.

    Attributes:
        workflow: Name of its workflow.
        team_id: Its id as text; empty when it has none.
        node: The step, as `document.load` gave it.
        body: Its workflow.
        body_path: Keys that lead to the workflow from the top of the file.
        number: Its position among the workflow's nodes, from 0.
    """

    workflow: str
    team_id: str
    node: Any
    body: Any
    body_path: tuple[str, ...]
    number: int

    @property
    def path(self) -> tuple[str | int, ...]:
        """Keys and positions that lead to the step from the top of the file."""
        return (*self.body_path, "nodes", self.number)


def team_steps(path: Path, data: Any) -> Iterator[TeamStep]:
    """Give the team steps of a file's workflows, in order.

    Args:
        path: The file, for errors.
        data: What `document.load` gave.

    Raises:
        WorkflowError: Its workflows, or the nodes of one, are not what Victor reads.
    """
    listed = data.get("workflows", data)
    if not isinstance(listed, Mapping):
        raise failure(path, data, "workflows", "must be a mapping of workflow names")
    prefix = ("workflows",) if "workflows" in data else ()
    for name, body in listed.items():
        if not isinstance(body, Mapping) or "nodes" not in body:
            continue
        if not isinstance(body["nodes"], Sequence) or isinstance(body["nodes"], str):
            raise failure(path, body, "nodes", f"workflow {name!r}: nodes must be a list")
        seen: set[object] = set()
        for number, node in enumerate(body["nodes"]):
            if isinstance(node, Mapping) and node.get("type") == "team":
                if str(node.get("id")) in seen:
                    raise failure(path, node, "id", f"workflow {name!r} has two team steps {node['id']!r}")
                seen.add(str(node.get("id")))
                yield TeamStep(str(name), str(node.get("id") or ""), node, body, (*prefix, str(name)), number)


def no_team_step(path: Path) -> WorkflowError:
    """Return the error that a file has none."""
    return WorkflowError(
        "has no workflow with a team step",
        where=str(path),
        hint="A team step is a node with `type: team`, `formation:` and `members:`.",
    )


def step_spec(path: Path, step: TeamStep) -> TeamSpec:
    """Return the team that a step declares.

    Args:
        path: The file, for errors.
        step: The step.

    Raises:
        WorkflowError: Something about the step is wrong; the message names file, line and key.
    """
    members = check_step(path, step.workflow, step.node)
    node = step.node
    formation = next((node[key] for key in FORMATION_KEYS if key in node), "sequential")
    timeout, iterations = node.get("timeout_seconds"), node.get("max_iterations")
    budget = next((node[key] for key in BUDGET_KEYS if node.get(key) is not None), None)
    return TeamSpec(
        workflow=step.workflow,
        team_id=step.team_id,
        formation=str(formation),
        members=members,
        tool_budget=None if budget is None else int(budget),
        timeout_seconds=None if timeout is None else float(timeout),
        max_iterations=None if iterations is None else int(iterations),
    )


def check_step(path: Path, workflow: str, node: Any) -> tuple[MemberSpec, ...]:
    """Return the members of a team step, once nothing is wrong with it.

    Args:
        path: The file, for errors.
        workflow: Name of the workflow, for errors.
        node: The step, as `document.load` gave it.

    Raises:
        WorkflowError: Something is; the message names file, line and key.
    """
    if not isinstance(node.get("id"), str) or not node["id"].strip():
        raise failure(path, node, "id", f"workflow {workflow!r}: a team step needs an `id`", "give it a short text")
    step = f"team step {node['id']!r}"
    _check_keys(path, node, (*STEP_KEYS, *_MORE_STEP_KEYS), step)
    for key, kind in STEP_KEYS.items():
        value = node.get(key)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise failure(path, node, key, f"{step}: {key} must not be {value!r}")
    timeout = node.get("timeout_seconds")
    if timeout is not None and not 0 < timeout < math.inf:
        raise failure(path, node, "timeout_seconds", f"{step}: timeout_seconds must be more than 0, and finite")
    for key in BUDGET_KEYS:
        _check_whole(path, node, key, step)
    members = node.get("members")
    if not isinstance(members, list) or not members:
        raise failure(path, node, "members", f"{step} has no members", "list them under `members:`, each with an `id`")
    specs = [_check_member(path, step, member) for member in members]
    ids = [spec.id for spec in specs]
    double = next((number for number, name in enumerate(ids) if name in ids[:number]), None)
    if double is not None:
        raise failure(path, members[double], "id", f"{step} has two members {ids[double]!r}", "give one another id")
    check_count(path, node, len(members), step)
    key = next((key for key in FORMATION_KEYS if key in node), FORMATION_KEYS[0])
    formation = node.get(key, "sequential")
    if formation not in FORMATIONS:
        raise failure(path, node, key, f"{step}: unknown formation {formation!r}", did_you_mean(formation, FORMATIONS))
    if formation not in feasible_formations(specs):
        hint = "hierarchical needs exactly one member with `is_manager: true`, reflection at least two members"
        raise failure(path, node, key, f"{step}: these members can't form {formation!r}", hint)
    return tuple(specs)


def check_count(path: Path, node: Any, members: int, what: str) -> None:
    """Make sure that a `member_count` beside members says how many they are.

    Raises:
        WorkflowError: It does not.
    """
    count = node.get("member_count")
    if count is not None and (isinstance(count, bool) or count != members):
        hint = f"write {members}, or take the key out"
        raise failure(path, node, "member_count", f"{what}: member_count is {count!r}, but members are {members}", hint)


def _check_whole(path: Path, node: Any, key: str, what: str) -> int | None:
    value = node.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise failure(path, node, key, f"{what}: {key} must be a whole number, 0 or more")
    return None if value is None else int(value)


def _check_member(path: Path, step: str, member: Any) -> MemberSpec:
    if not isinstance(member, Mapping) or not isinstance(member.get("id"), str) or not member["id"]:
        line = line_of(member) if isinstance(member, Mapping) else 0
        raise WorkflowError(f"{step}: each member needs an `id`", where=f"{path}:{line}" if line else str(path))
    what = f"{step}: member {member['id']!r}"
    _check_keys(path, member, _MEMBER_KEYS, what)
    budget = _check_whole(path, member, "tool_budget", what)
    supervisor = bool(member.get("is_manager")) or member.get("agent_category") == "supervisor"
    return MemberSpec(str(member["id"]), str(member.get("role", "")), budget, is_supervisor=supervisor)


def _check_keys(path: Path, node: Any, known: Iterable[str], what: str) -> None:
    names = tuple(known)
    for key in node:
        if key not in names:
            raise failure(path, node, key, f"{what}: unknown key {key!r}", did_you_mean(key, names))
