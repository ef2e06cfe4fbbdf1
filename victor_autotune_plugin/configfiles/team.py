"""The configuration of one team, read from a file and written back into it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .._model.plan import TeamPlan, TeamSpec
from .._settings import Settings, own_settings
from .._values.files import TextFile
from .._values.names import did_you_mean
from .._values.nodes import Table
from .._values.yaml_tree import filled, load, mapping
from ..errors import WorkflowError
from .declarations import (
    BUDGET_KEYS,
    FORMATION_KEYS,
    DeclaredSteps,
    TeamStep,
    key_notes,
    no_team_step,
    step_spec,
    team_steps,
)
from .edit import Editor
from .placement import Placement, placed, placed_plain, proposed
from .plain import is_plain, read_plain

_ALIASES: Final = {"team_formation": "formation", "total_tool_budget": "tool_budget"}
_KNOBS: Final = ("formation", "members", "tool_budget", "member_budgets", "timeout_seconds", "sub_teams")
_AFTER: Final = ("formation", "team_formation", "goal", "name", "type", "id")
"""Keys of a step behind which a new one is put, the best first."""


@frozen
class TeamConfigFile:
    """A team's configuration and the file that holds it.

    Attributes:
        path: The file.
        workflow: Name of the workflow, or None in a plain file.
        team_id: Id of the team step, or what a plain file calls its team, or None.
        config: The configuration: of `formation`, `member_count`, `members`, `tool_budget`, `timeout_seconds`,
            `member_budgets` and `sub_teams` those that are set, a plan that the file fixes included.
        spec: The team as its step declares it, or None in a plain file.
        settings: What the workflow's own metadata sets for the team; the defaults in a plain file.
        notes: What a person should know about the file, sentence by sentence, such as keys without effect.
    """

    path: Path
    workflow: str | None
    team_id: str | None
    config: Mapping[str, Any]
    spec: TeamSpec | None
    settings: Settings
    notes: tuple[str, ...]
    _file: TextFile
    _root: Table
    _step: TeamStep | None

    def placement(self, change: TeamPlan | Mapping[str, Any]) -> Placement:
        """Say what of a change would be written where, and what a person should know about it.

        Args:
            change: A plan, or a configuration with the keys of `config`; what it leaves out or gives as None stays.

        Raises:
            WorkflowError: A key or value of the change is not one.
            PlanError: It can't run with this team, or crosses a limit that the file sets.
        """
        wanted = self._plan(change)
        if self.spec is None:
            count = None if isinstance(change, TeamPlan) else change.get("member_count")
            return placed_plain(self.path, self.config, wanted, count)
        return placed(self.spec, self.settings, wanted)

    def rendered(self, change: TeamPlan | Mapping[str, Any]) -> str:
        """Return the file's text with a change in it; nothing is written.

        Args:
            change: As in `placement`.

        Raises:
            WorkflowError: As in `placement`; or the value is shared with another place by an alias.
            PlanError: As in `placement`.
        """
        return self.rendered_as(self.placement(change), self._plan(change))

    def proposal(self, plan: TeamPlan) -> Placement:
        """Say what of a live plan would be written where, so that it is recognised once it is merged.

        Raises:
            PlanError: The file fixes another plan, or this one can't run with the team, or crosses a limit of it.
        """
        assert self.spec is not None
        return proposed(self.spec, self.settings, plan)

    def rendered_as(self, placement: Placement, plan: TeamPlan) -> str:
        """Return the file's text with values in their places; nothing is written.

        Args:
            placement: The values and places.
            plan: What they say.

        Raises:
            WorkflowError: As in `rendered`.
        """
        editor = Editor(self._file.text, str(self.path), as_json=self.path.suffix == ".json")
        expected = self._root.plain()
        self._write_own(editor, expected, placement)
        for section, knobs in (("plan", placement.plan), ("start_from", placement.start_from)):
            for knob, value in knobs.items():
                _set(editor, expected, (*self._metadata_path(), section, knob), value)
        if not _holds(editor.text, self.path, expected):
            hint = f"Write it by hand: {plan.describe()}"
            raise WorkflowError("can't be changed without changing more", where=str(self.path), hint=hint)
        return editor.text

    def write(
        self, change: TeamPlan | Mapping[str, Any], *, backup: bool = True, project: Path | None = None
    ) -> Path | None:
        """Write a change into the file: all of it or nothing, comments and order kept.

        Args:
            change: As in `placement`.
            backup: Whether to keep the file as it was beside it.
            project: The project's folder, whose links must not lead out of it; the current folder is one, too.

        Returns:
            The backup, which `restore` puts back; None without one, and when there is nothing to change.

        Raises:
            WorkflowError: As in `rendered`; or the file was changed meanwhile, or can't be written.
            PlanError: As in `placement`.
        """
        text = self.rendered(change)
        return None if text == self._file.text else self._file.replace(text, backup=backup, project=project)

    def _plan(self, change: TeamPlan | Mapping[str, Any]) -> TeamPlan:
        if isinstance(change, TeamPlan):
            return change
        values = {_ALIASES.get(str(key), str(key)): value for key, value in change.items() if value is not None}
        known = (*_KNOBS, "member_count", *_ALIASES)
        unknown = next((key for key in values if key not in known), None)
        if unknown is not None:
            raise WorkflowError(f"unknown key {unknown!r} in the change", hint=did_you_mean(unknown, known))
        if "members" in values:
            values["members"] = [_name(one) for one in values["members"]]
        count = values.pop("member_count", None)
        taking_part = len(values["members"]) if "members" in values else self.config.get("member_count")
        if count is not None and count != taking_part and ("members" in values or self.config.get("members")):
            hint = "Give `members`: the ids of those who stay."
            raise WorkflowError(f"member_count {count} does not say who stays", where=str(self.path), hint=hint)
        read = own_settings("", "", {"plan": values}, "the change").plan
        return read or TeamPlan()

    def _write_own(self, editor: Editor, expected: Any, placement: Placement) -> None:
        path = () if self._step is None else self._step.path
        node = self._root if self._step is None else self._step.node
        for key, value in placement.own.items():
            names = {"formation": FORMATION_KEYS, "tool_budget": BUDGET_KEYS}.get(key, (key,))
            name = next((name for name in names if name in node), names[0] if self._step else key)
            if key == "members" and name in node:
                order = self._order(value)
                editor.arrange((*path, name), order)
                members = _at(expected, (*path, name))
                members[:] = [members[number] for number in order]
                if "member_count" in node and "member_count" not in placement.own:
                    _set(editor, expected, (*path, "member_count"), len(order))
            else:
                _set(editor, expected, (*path, name), value)

    def _order(self, members: Sequence[str]) -> list[int]:
        """Return where the members stand in the file, from 0."""
        if self._step is not None:
            unnamed = next((one for one in self._step.members if "id" not in one), None)
            if unnamed is not None:
                hint = "Give each an `id`: Victor names them by their places."
                raise WorkflowError("members without an id can't change places", where=unnamed.where, hint=hint)
        ids = self.spec.member_ids if self.spec is not None else [_name(one) for one in self.config["members"]]
        return [ids.index(member) for member in members]

    def _metadata_path(self) -> tuple[str | int, ...]:
        assert self._step is not None
        return (*self._step.body_path, "metadata", "autotune", "teams", self._step.team_id)


def read_team_config(path: Path, team_id: str | None = None, workflow: str | None = None) -> TeamConfigFile:
    """Read the configuration of a team.

    Args:
        path: A workflow file with team steps, or a plain YAML or JSON file with the keys of a team.
        team_id: Which team, needed when the file holds several.
        workflow: Of which workflow, needed when several have a team of this id.

    Raises:
        WorkflowError: The file can't be used, or holds no such team; the message names file, line, key and hint.
        SettingsError: The workflow's own metadata is wrong.
    """
    path = Path(path)
    file, root = load(path)
    tree = filled(root, os.environ)
    if is_plain(tree):
        config, name = read_plain(tree)
        if workflow is not None or (team_id is not None and name is not None and name != team_id):
            asked = workflow if workflow is not None else team_id
            raise WorkflowError(f"is the configuration of one team, not of {asked!r}", where=str(path))
        return TeamConfigFile(path, None, name or team_id, config, None, Settings(), (), file, root, None)
    step = _chosen(path, team_steps(tree), team_id, workflow)
    spec = step_spec(step)
    own, where = step.own_settings or (None, str(path))
    settings = own_settings(step.workflow, step.team_id, own, where)
    config = _config(spec, step, settings.plan or settings.start_from or TeamPlan())
    notes = tuple(key_notes([step]))
    return TeamConfigFile(path, step.workflow, step.team_id, config, spec, settings, notes, file, root, step)


def _chosen(path: Path, declared: DeclaredSteps, team_id: str | None, workflow: str | None) -> TeamStep:
    steps = declared.steps
    found = [step for step in steps if workflow in (None, step.workflow) and team_id in (None, step.team_id)]
    if len(found) == 1:
        return found[0]
    fault = next((error for name, error in declared.faults if workflow in (None, name)), None)
    if fault is not None and not found:
        raise fault
    if not steps:
        raise no_team_step(path)
    named = ", ".join(f"{step.team_id!r} of workflow {step.workflow!r}" for step in found or steps)
    if found:
        raise WorkflowError("holds several teams", where=str(path), hint=f"Choose one: {named}.")
    asked = f"team {team_id!r}" if team_id is not None else f"workflow {workflow!r}"
    raise WorkflowError(f"holds no {asked} with a team step", where=str(path), hint=f"It holds {named}.")


def _config(spec: TeamSpec, step: TeamStep, plan: TeamPlan) -> dict[str, Any]:
    """Return what a step and the plan fixed for it say together."""
    members: dict[str, dict[str, Any]] = {}
    for one, node in zip(spec.members, step.members, strict=True):
        members[one.id] = {"id": one.id, **node.plain()}
        if one.tool_budget is not None:
            members[one.id]["tool_budget"] = one.tool_budget
    names = plan.members if plan.members is not None else spec.member_ids
    config: dict[str, Any] = {
        "formation": spec.formation,
        "member_count": len(names),
        "members": [members[name] for name in names if name in members],
        "tool_budget": spec.tool_budget,
        "timeout_seconds": spec.timeout_seconds,
    }
    config |= {key: value for key, value in plan.to_dict().items() if key != "members"}
    if plan.sub_teams is not None:
        del config["formation"]
    return {key: value for key, value in config.items() if value is not None}


def _set(editor: Editor, expected: Any, path: tuple[str | int, ...], value: Any) -> None:
    """Set a value in the text, and in the data that the text must then hold."""
    editor.set(path, value, after=_AFTER)
    node = expected
    for name in path[:-1]:
        if isinstance(node, dict) and node.get(name) is None:
            node[name] = {}
        node = node[name]
    node[path[-1]] = value


def _holds(text: str, path: Path, expected: Any) -> bool:
    try:
        return bool(mapping(text, str(path)).plain() == expected)
    except WorkflowError:
        return False


def _name(member: Any) -> str:
    return str(member["id"] if isinstance(member, Mapping) else member)


def _at(node: Any, path: tuple[str | int, ...]) -> Any:
    for name in path:
        node = node[name]
    return node
