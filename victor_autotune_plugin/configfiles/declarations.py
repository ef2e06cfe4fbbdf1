"""What a file declares: the team steps of its workflows, or, in a plain file, the keys of one team."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from .._model.plan import FORMATIONS, MemberSpec, TeamSpec, feasible_formations
from .._settings.keys import leaves
from .._values.fields import Anything, Flag, Keys, Kind, Number, Text
from .._values.names import did_you_mean, nearest
from .._values.nodes import Items, Node, Table, WrongValueError
from ..errors import PlanError, WorkflowError

_TEXT: Final = Text(may_be_empty=True)
_BUDGET: Final = Number(0, whole=True)

FORMATION_KEYS: Final = ("formation", "team_formation")
BUDGET_KEYS: Final = ("total_tool_budget", "tool_budget")
"""Names of a key of which the first that is there counts."""

STEP_KEYS: Final[Mapping[str, Kind]] = {
    "name": _TEXT,
    "goal": _TEXT,
    "timeout_seconds": Number(0, above=True),
    "merge_strategy": _TEXT,
    "merge_mode": _TEXT,
    "output_key": _TEXT,
    "continue_on_error": Flag(),
    "shared_context": Anything(table=True),
    "max_iterations": Number(whole=True),
}
"""The keys of a team step that Victor's own step has by the same names."""

_STEP: Final = Keys(
    {
        **STEP_KEYS,
        **dict.fromkeys(BUDGET_KEYS, _BUDGET),
        **dict.fromkeys(("id", "type", "next", "members", "member_count", *FORMATION_KEYS), Anything()),
    }
)
_MEMBER: Final = Keys(
    {
        "tool_budget": _BUDGET,
        **dict.fromkeys(("id", "role", "name", "goal", "backstory", "expertise", "personality"), Anything()),
        **dict.fromkeys(("allowed_tools", "agent_category", "is_manager"), Anything()),
        **dict.fromkeys(("can_delegate", "delegation_targets"), Anything()),
    }
)

_PLAN: Final = {key.removeprefix("plan."): kind for key, kind in leaves().items() if key.startswith("plan.")}
_PLAIN_KINDS: Final[Mapping[str, Kind]] = {**_PLAN, "member_count": Number(1, 1_000, whole=True)}
_PLAIN_KEYS: Final = (*FORMATION_KEYS, *BUDGET_KEYS, "member_count", "members", *_PLAN, "team_id")
_SIMILAR: Final = 0.8
"""How similar an unknown key must be to a known one to be taken for a typo of it; others are the person's own."""

_LEADERS: Final = "Hierarchical needs exactly one member with `is_manager: true`, reflection at least two members."


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
    def own_settings(self) -> tuple[Node, str] | None:
        """The workflow's own `metadata.autotune` and where that key stands, or None."""
        metadata = self.body.get("metadata")
        own = metadata.get("autotune") if isinstance(metadata, Table) else None
        return None if own is None or not isinstance(metadata, Table) else (own, metadata.where_of("autotune"))


def team_steps(root: Table) -> Iterator[TeamStep]:
    """Give the team steps of a file's workflows, in order.

    Raises:
        WorkflowError: Its workflows, or the nodes of one, are not what Victor reads.
    """
    in_key = "workflows" in root
    listed = root.get("workflows") if in_key else root
    if not isinstance(listed, Table):
        raise _wrong(root, "workflows", "must be a mapping of workflow names")
    for key, body in listed.pairs:
        if not isinstance(body, Table) or "nodes" not in body:
            continue
        name, nodes = str(key.value), body.get("nodes")
        if not isinstance(nodes, Items):
            raise _wrong(body, "nodes", f"workflow {name!r}: nodes must be a list")
        seen: set[str] = set()
        for number, node in enumerate(nodes.items):
            if isinstance(node, Table) and node.value("type") == "team":
                team_id = str(node.value("id") or "")
                if team_id in seen:
                    raise _wrong(node, "id", f"workflow {name!r} has two team steps {team_id!r}")
                seen.add(team_id)
                path = ("workflows", name) if in_key else (name,)
                yield TeamStep(name, team_id, node, body, path, number)


def no_team_step(path: object) -> WorkflowError:
    """Return the error that a file has none."""
    hint = "A team step is a node with `type: team`, `formation:` and `members:`."
    return WorkflowError("has no workflow with a team step", where=str(path), hint=hint)


def step_spec(step: TeamStep) -> TeamSpec:
    """Return the team that a step declares, once nothing is wrong with it.

    Raises:
        WorkflowError: Something is; the message names file, line and key.
    """
    node = step.node
    team_id = node.value("id")
    if not isinstance(team_id, str) or not team_id.strip():
        message = f"workflow {step.workflow!r}: a team step needs an `id`"
        raise _wrong(node, "id", message, "Give it a short text.")
    what = f"team step {team_id!r}"
    values = _read(_STEP, node, what)
    members = _members(node, what)
    check_count(node, len(members), what)
    key = next((key for key in FORMATION_KEYS if key in node), FORMATION_KEYS[0])
    formation = node.value(key) if key in node else "sequential"
    if not isinstance(formation, str) or formation not in FORMATIONS:
        message = f"{what}: unknown formation {formation!r}"
        raise _wrong(node, key, message, did_you_mean(formation, FORMATIONS))
    if formation not in feasible_formations(members):
        raise _wrong(node, key, f"{what}: these members can't form {formation!r}", _LEADERS)
    return TeamSpec(
        workflow=step.workflow,
        team_id=team_id,
        formation=formation,
        members=members,
        tool_budget=next((values[key] for key in BUDGET_KEYS if key in values), None),
        timeout_seconds=values.get("timeout_seconds"),
        max_iterations=values.get("max_iterations"),
    )


def _members(node: Table, what: str) -> list[MemberSpec]:
    members = node.get("members")
    if not isinstance(members, Items) or not members.items:
        raise _wrong(node, "members", f"{what} has no members", "List them under `members:`, each with an `id`.")
    specs: dict[str, MemberSpec] = {}
    for member in members.items:
        name = member.value("id") if isinstance(member, Table) else None
        if not isinstance(member, Table) or not isinstance(name, str) or not name:
            raise WorkflowError(f"{what}: each member needs an `id`", where=member.where)
        values = _read(_MEMBER, member, f"{what}: member {name!r}")
        if name in specs:
            raise _wrong(member, "id", f"{what} has two members {name!r}", "Give one another id.")
        leads = bool(values.get("is_manager")) or values.get("agent_category") == "supervisor"
        role = str(values.get("role", ""))
        specs[name] = MemberSpec(name, role, values.get("tool_budget"), is_supervisor=leads)
    return list(specs.values())


def check_count(node: Table, members: int, what: str) -> None:
    """Make sure that a `member_count` beside members says how many they are.

    Raises:
        WorkflowError: It does not.
    """
    count = node.value("member_count")
    if count is not None and (isinstance(count, bool) or count != members):
        message = f"{what}: member_count is {count!r}, but members are {members}"
        raise _wrong(node, "member_count", message, f"Write {members}, or take the key out.")


def is_plain(root: Table) -> bool:
    """Whether a file's mapping holds a team's keys themselves, and no workflow."""
    if "workflows" in root or any(isinstance(body, Table) and "nodes" in body for _, body in root.pairs):
        return False
    return any(key in _PLAIN_KEYS for key in root)


def read_plain(root: Table) -> tuple[dict[str, Any], str | None]:
    """Read a plain file.

    Returns:
        The configuration, and the name of its team if it has one.

    Raises:
        WorkflowError: A key or value is wrong; the message names file, line and key.
    """
    for key in root:
        similar = nearest(key, _PLAIN_KEYS, cutoff=_SIMILAR)
        if key not in _PLAIN_KEYS and similar is not None:
            raise _wrong(root, key, f"unknown key {key!r}", f"Did you mean `{similar}`?")
    config: dict[str, Any] = {}
    for name, node in root.pairs:
        key = str(name.value)
        knob = "formation" if key in FORMATION_KEYS else "tool_budget" if key in BUDGET_KEYS else key
        if knob in config:
            raise _wrong(root, key, f"{key} says the same as another key", "Keep one of them.")
        if knob == "members":
            config[knob] = _plain_members(root, node)
        elif knob in _PLAIN_KINDS:
            value = _read(_PLAIN_KINDS[knob], node, key)
            if value is not None:
                config[knob] = value
    if "members" in config:
        check_count(root, len(config["members"]), "the team")
        config["member_count"] = len(config["members"])
    key = next((key for key in FORMATION_KEYS if key in root), FORMATION_KEYS[0])
    try:
        check_formation(config)
    except PlanError as error:
        raise _wrong(root, key, error.message, error.hint) from error
    team = root.value("team_id")
    return config, None if team is None else str(team)


def _plain_members(root: Table, node: Node) -> list[Any]:
    if not isinstance(node, Items) or not node.items:
        raise _wrong(root, "members", "there are no members", "List their ids under `members:`.")
    members = node.plain()
    names = []
    for number, member in enumerate(members, start=1):
        name = member.get("id") if isinstance(member, Mapping) else member
        if not isinstance(name, str) or not name.strip():
            raise _wrong(root, "members", f"member {number} has no id", "Give it a short text.")
        if name in names:
            raise _wrong(root, "members", f"there are two members {name!r}", "Give one another id.")
        names.append(name)
    return members


def check_formation(config: Mapping[str, Any]) -> None:
    """Make sure that the members of a plain file can form its formation, as far as it says what they are.

    Raises:
        PlanError: They can't.
    """
    members, formation = config.get("members"), config.get("formation")
    if not members or formation is None or not all(isinstance(member, Mapping) for member in members):
        return
    team = [MemberSpec(member["id"], is_supervisor=bool(member.get("is_manager"))) for member in members]
    if formation not in feasible_formations(team):
        raise PlanError(f"these members can't form {formation!r}", hint=_LEADERS)


def _read(kind: Kind, node: Node, what: str) -> Any:
    try:
        return kind.read(node)
    except WrongValueError as wrong:
        raise wrong.told(WorkflowError, what, node.where) from wrong


def _wrong(node: Table, key: str, message: str, hint: str | None = None) -> WorkflowError:
    return WorkflowError(message, where=node.where_of(key), hint=hint)
