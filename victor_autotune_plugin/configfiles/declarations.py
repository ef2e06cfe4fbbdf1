"""The team steps that the workflows of a file declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from .._model.known_formations import FORMATIONS, is_misspelt
from .._model.plan import MemberSpec, TeamSpec, can_form
from .._values.fields import Anything, Choice, Flag, Kind, Number, Text
from .._values.names import did_you_mean, listed, nearest
from .._values.nodes import Filled, Items, Node, Scalar, Table, WrongValueError
from ..errors import WorkflowError


class _Truth(Anything):
    """True or false; Victor takes anything else for one of them, as Python does."""

    def read(self, node: Node) -> Any:
        """Return the value; a variable's text stands for a flag."""
        return Flag().parse(node.value) if isinstance(node, Scalar) and isinstance(node.value, Filled) else node.plain()


_TEXT: Final = Text(may_be_empty=True)
_BUDGET: Final = Number(0, whole=True)

FORMATION_KEYS: Final = ("formation", "team_formation")
BUDGET_KEYS: Final = ("total_tool_budget", "tool_budget")
"""Names of a key of which the first that is there counts."""

STEP_KEYS: Final[Mapping[str, Kind]] = {
    "name": Anything(),
    "goal": _TEXT,
    "timeout_seconds": Number(0),
    "merge_strategy": _TEXT,
    "merge_mode": _TEXT,
    "output_key": _TEXT,
    "continue_on_error": _Truth(),
    "shared_context": Anything(table=True),
    "max_iterations": Number(whole=True),
}
"""The keys of a team step that Victor's own step has by the same names."""

STEP_KINDS: Final[Mapping[str, Kind]] = {
    **STEP_KEYS,
    **dict.fromkeys(BUDGET_KEYS, _BUDGET),
    **dict.fromkeys(("id", "type", "next", "members", "member_count", *FORMATION_KEYS), Anything()),
}
MEMBER_KINDS: Final[Mapping[str, Kind]] = {
    "id": Text(),
    "role": _TEXT,
    "tool_budget": _BUDGET,
    "agent_category": Choice("category", ("specialist", "supervisor")),
    **dict.fromkeys(("is_manager", "can_delegate"), _Truth()),
    **dict.fromkeys(("name", "goal", "backstory", "expertise", "personality"), Anything()),
    **dict.fromkeys(("allowed_tools", "delegation_targets"), Anything()),
}
_ROLES: Final = {role: role for role in ("researcher", "planner", "executor", "reviewer")} | {"analyst": "researcher"}
"""Roles by which Victor names a member without an id; any other is an executor to it."""

_SIMILAR: Final = 0.74
"""How similar an unknown key must be to a known one to look like a typo of it."""

LEADERS: Final = "Hierarchical needs exactly one member with `is_manager: true`, reflection at least two members."


@frozen
class TeamStep:
    """A team step as it stands in its file; not checked yet.

    Attributes:
        workflow: Name of its workflow.
        team_id: Its id as text; empty when it has none.
        node: The step.
        body: Its workflow.
        body_path: Keys that lead to the workflow from the top of the file.
        number: Its position among the workflow's nodes, from 0.
    """

    workflow: str
    team_id: str
    node: Table
    body: Table
    body_path: tuple[str, ...]
    number: int

    @property
    def path(self) -> tuple[str | int, ...]:
        """Keys and positions that lead to the step from the top of the file."""
        return (*self.body_path, "nodes", self.number)

    @property
    def members(self) -> list[Table]:
        """Its members; empty unless they are a list of mappings."""
        listed = self.node.get("members")
        items = listed.items if isinstance(listed, Items) else ()
        found = [item for item in items if isinstance(item, Table)]
        return found if len(found) == len(items) else []

    @property
    def own_settings(self) -> tuple[Node, str] | None:
        """The workflow's own `metadata.autotune` and where that key stands, or None."""
        metadata = self.body.get("metadata")
        own = metadata.get("autotune") if isinstance(metadata, Table) else None
        return None if own is None or not isinstance(metadata, Table) else (own, metadata.where_of("autotune"))


@frozen
class DeclaredSteps:
    """What the workflows of a file declare.

    Attributes:
        steps: Their team steps, in order.
        faults: What is wrong with a workflow as a whole, with its name: it can't be run, and the others can.
    """

    steps: tuple[TeamStep, ...]
    faults: tuple[tuple[str, WorkflowError], ...]


def team_steps(root: Table) -> DeclaredSteps:
    """Return the team steps of a file's workflows.

    Raises:
        WorkflowError: Its workflows are no mapping.
    """
    in_key = "workflows" in root
    listed = root.get("workflows") if in_key else root
    if not isinstance(listed, Table):
        raise wrong_at(root, "workflows", "must be a mapping of workflow names")
    steps: list[TeamStep] = []
    faults: list[tuple[str, WorkflowError]] = []
    for name in dict.fromkeys(listed):
        body = listed.get(name)
        if not isinstance(body, Table) or "nodes" not in body:
            continue
        try:
            steps += _steps(name, body, ("workflows", name) if in_key else (name,))
        except WorkflowError as error:
            faults.append((name, error))
    return DeclaredSteps(tuple(steps), tuple(faults))


def _steps(name: str, body: Table, path: tuple[str, ...]) -> list[TeamStep]:
    nodes = body.get("nodes")
    if not isinstance(nodes, Items):
        raise wrong_at(body, "nodes", f"workflow {name!r}: nodes must be a list")
    found: list[TeamStep] = []
    for number, node in enumerate(nodes.items):
        if isinstance(node, Table) and node.value("type") == "team":
            team_id = str(node.value("id") or "")
            if any(step.team_id == team_id for step in found):
                raise wrong_at(node, "id", f"workflow {name!r} has two team steps {team_id!r}")
            found.append(TeamStep(name, team_id, node, body, path, number))
    return found


def no_team_step(path: object) -> WorkflowError:
    """Return the error that a file has none."""
    hint = "A team step is a node with `type: team`, `formation:` and `members:`."
    return WorkflowError("has no workflow with a team step", where=str(path), hint=hint)


def step_values(step: TeamStep) -> dict[str, Any]:
    """Return the values of a step's keys, without what says null: a number where a variable stands for one.

    Raises:
        WorkflowError: One can't be what it is; the message names file, line and key.
    """
    return _values(STEP_KINDS, step.node, f"team step {step.team_id!r}")


def member_values(step: TeamStep) -> list[dict[str, Any]]:
    """Return the values of the keys of each member, as `step_values` does, with the id that Victor gives it.

    Raises:
        WorkflowError: A value can't be what it is, or the members are not a team.
    """
    what = f"team step {step.team_id!r}"
    node = step.node.get("members")
    if not isinstance(node, Items) or not node.items:
        near = nearest("members", [key for key in step.node if key not in STEP_KINDS], cutoff=_SIMILAR)
        hint = f"Did you mean `members` by `{near}`?" if near else "List them under `members:`, each with an `id`."
        raise wrong_at(step.node, near or "members", f"{what} has no members", hint)
    found: dict[str, dict[str, Any]] = {}
    for number, member in enumerate(node.items):
        if not isinstance(member, Table):
            hint = "Write `- {id: name, role: executor, goal: text}`."
            raise WorkflowError(f"{what}: a member must be a mapping", where=member.where, hint=hint)
        values = _values(MEMBER_KINDS, member, f"{what}: member {member.value('id')!r}")
        for key in ("id", "role"):
            if key in member and key not in values:
                raise wrong_at(
                    member, key, f"{what}: the {key} of a member is empty", "Write one, or take the key out."
                )
        role = _ROLES.get(str(values.get("role", "executor")).lower(), "executor")
        name = values.setdefault("id", f"{role}_{number}")
        if name in found:
            raise wrong_at(member, "id", f"{what} has two members {name!r}", "Give one another id.")
        found[name] = values
    return list(found.values())


def step_spec(step: TeamStep) -> TeamSpec:
    """Return the team that a step declares, once nothing is wrong with it.

    Raises:
        WorkflowError: Something is; the message names file, line and key.
    """
    node = step.node
    team_id = node.value("id")
    if not isinstance(team_id, str) or not team_id.strip():
        message = f"workflow {step.workflow!r}: a team step needs an `id`"
        raise wrong_at(node, "id", message, "Give it a short text.")
    what = f"team step {team_id!r}"
    values = step_values(step)
    members = [
        MemberSpec(
            one["id"],
            one.get("role", ""),
            one.get("tool_budget"),
            is_supervisor=bool(one.get("is_manager")) or one.get("agent_category") == "supervisor",
        )
        for one in member_values(step)
    ]
    key = next((key for key in FORMATION_KEYS if key in node), FORMATION_KEYS[0])
    formation = values.get(key) or "sequential"
    if not isinstance(formation, str) or not formation or is_misspelt(formation.lower()):
        message = f"{what}: unknown formation {formation!r}"
        raise wrong_at(node, key, message, did_you_mean(formation, FORMATIONS))
    if not can_form(formation.lower(), members):
        raise wrong_at(node, key, f"{what}: these members can't form {formation!r}", LEADERS)
    return TeamSpec(
        workflow=step.workflow,
        team_id=team_id,
        formation=formation.lower(),
        members=members,
        tool_budget=next((values[key] for key in BUDGET_KEYS if key in values), None),
        timeout_seconds=values.get("timeout_seconds") or None,
        max_iterations=values.get("max_iterations"),
    )


def key_notes(steps: Iterable[TeamStep]) -> list[str]:
    """Return the notes, one for each key, with every `file:line` where it stands in front."""
    places: dict[str, list[str]] = {}
    for step in steps:
        for where, note in _of_step(step):
            places.setdefault(note, []).append(where)
    return [f"{listed(dict.fromkeys(where))}: {note}" for note, where in places.items()]


def _of_step(step: TeamStep) -> Iterator[tuple[str, str]]:
    yield from _of_keys(step.node, "a team step", STEP_KINDS)
    for member in step.members:
        yield from _of_keys(member, "a member", MEMBER_KINDS)
    count = step.node.value("member_count")
    if count is not None and (isinstance(count, bool) or count != len(step.members)):
        yield step.node.where_of("member_count"), f"member_count is {count!r}, but members are {len(step.members)}"


def _of_keys(table: Table, whose: str, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, str]]:
    names = list(table)
    for key in dict.fromkeys(names):
        if key not in kinds:
            near = nearest(key, kinds, cutoff=_SIMILAR)
            guess = "" if near is None else f"; did you mean `{near}`?"
            yield table.where_of(key), f"the key `{key}` of {whose} has no effect in Victor{guess}"
        if names.count(key) > 1:
            yield table.where_of(key), f"the key `{key}` of {whose} is given twice; the last counts"


def _values(kinds: Mapping[str, Kind], table: Table, what: str) -> dict[str, Any]:
    known = {key: value for key in kinds if (value := table.get(key)) is not None}
    return {key: read_kind(kinds[key], value, f"{what}: {key}") for key, value in known.items()}


def read_kind(kind: Kind, node: Node, what: str) -> Any:
    """Return the value of a node.

    Raises:
        WorkflowError: It is not of the kind; the message begins with `what`.
    """
    try:
        return kind.read(node)
    except WrongValueError as wrong:
        raise wrong.told(WorkflowError, what, node.where) from wrong


def wrong_at(node: Table, key: str, message: str, hint: str | None = None) -> WorkflowError:
    """Return the error that a key of a mapping is wrong."""
    return WorkflowError(message, where=node.where_of(key), hint=hint)
