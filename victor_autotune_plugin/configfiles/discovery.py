"""Finds the team steps of a project, and writes the text of a settings file to begin with for them."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from .._model.plan import TeamSpec
from .._settings.keys import SCHEMA_FILE, shipped
from .._values.nodes import Node, WrongValueError
from .._values.reading import read_bytes
from .._values.yaml_tree import filled, load
from ..errors import WorkflowError
from .declarations import TeamStep, key_notes, step_spec, team_steps
from .edit import inline

MOST_FILES: Final = 5_000
"""As many YAML files as a search looks into."""

_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "venv", "build", "dist"})
_TEAM: Final = re.compile(r"""["']?type["']?\s*:\s*["']?team\b""")
_NODES: Final = re.compile(r"""\bnodes["']?\s*:""")

_HEAD: Final = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
#
# Settings of victor-autotune-plugin, begun by `victor autotune init`. Lines that begin with # say what may be set; as
# they stand, they are the defaults or today's values. `victor autotune explain TEAM` shows what holds and why.
#
# A team's value wins over its workflow's, and that over one at the top. What a workflow's own metadata.autotune says
# wins over this file.
"""
_WIDTH: Final = 118
_KEYS: Final = ("promotion", "dataflow", "dataflow_edges")
_SECTIONS: Final = ("limits", "experiment", "watch")
_NO_WORKFLOWS: Final = """
# No workflow with a team step was found. This is how settings for one look:
# workflows:
#   code_review:
#     mode: observe
"""
_PRICES: Final = """
# prices:
#   a-model: {input_per_million_usd: 0.15, output_per_million_usd: 0.60, cached_per_million_usd: 0.08}
"""


@frozen
class FoundTeam:
    """A team step of a project.

    Attributes:
        file: Its file, relative to the project.
        line: Line of the step.
        spec: The team as it is declared.
        own_settings: Line of the workflow's own `metadata.autotune`, or None.
    """

    file: Path
    line: int
    spec: TeamSpec
    own_settings: int | None


@frozen
class Found:
    """What a search found.

    Attributes:
        teams: The team steps that are sound, by file and order.
        broken: What is wrong with others, and in files that look like workflows with team steps.
        notes: What a person should know about the sound ones, such as keys without effect.
        known: Ids of the members of all team steps, as far as they have some, by `(workflow, team id)`.
        own: Name, `metadata.autotune` and its place of the workflows with team steps that have some.
        cut: Whether the project has more than `MOST_FILES` YAML files.
    """

    teams: list[FoundTeam] = field(factory=list)
    broken: list[WorkflowError] = field(factory=list)
    notes: list[str] = field(factory=list)
    known: dict[tuple[str, str], list[str]] = field(factory=dict)
    own: list[tuple[str, Node, str]] = field(factory=list)
    cut: bool = False


def find_teams(project: Path, victor_folder: str) -> Found:
    """Look for team steps in the YAML files of a project, hidden folders and those of dependencies left out.

    Args:
        project: Its folder.
        victor_folder: Name of Victor's folder in it, which is looked into although it is hidden.
    """
    found = Found()
    for looked, path in enumerate(_yaml_files(project, victor_folder)):
        if looked == MOST_FILES:
            return evolve(found, cut=True)
        text = _bytes(path).decode("utf-8", errors="replace")
        if _TEAM.search(text) and _NODES.search(text):
            look_into(found, path, path.relative_to(project))
    return found


def look_into(found: Found, path: Path, file: Path) -> None:
    """Add what a workflow file, which people call `file`, holds to what was found."""
    try:
        declared = team_steps(filled(load(path, file)[1], os.environ))
    except WorkflowError as error:
        found.broken.append(error)
        return
    found.broken.extend(error for _, error in declared.faults)
    sound: list[TeamStep] = []
    owners = {step.workflow: step.own_settings for step in declared.steps}
    found.own.extend((workflow, *own) for workflow, own in owners.items() if own is not None)
    for step in declared.steps:
        own = step.own_settings
        found.known[step.workflow, step.team_id] = [str(member.value("id")) for member in step.members]
        try:
            spec = step_spec(step)
        except WorkflowError as error:
            found.broken.append(error)
            continue
        sound.append(step)
        found.known[spec.key] = list(spec.member_ids)
        found.teams.append(FoundTeam(file, _line(step.node.where), spec, None if own is None else _line(own[1])))
    found.notes.extend(key_notes(sound))


def find_own_settings(project: Path, victor_folder: str, also: Iterable[Path] = ()) -> Iterator[tuple[str, Node, str]]:
    """Give the settings that the project's workflows with team steps hold themselves, in `metadata.autotune`.

    Args:
        project: Its folder, which is searched as by `find_teams`.
        victor_folder: As for `find_teams`.
        also: Further workflow files.

    Yields:
        Name of the workflow, its settings, and where they stand.

    Raises:
        WorkflowError: One of the further files can't be used.
    """
    files = [(path, path) for path in also]
    found = islice(_yaml_files(project, victor_folder), MOST_FILES)
    files += [(path, path.relative_to(project)) for path in found if b"autotune" in _bytes(path)]
    for path, shown in files:
        try:
            steps = team_steps(filled(load(path, shown)[1], os.environ)).steps
        except WorkflowError:
            if path is shown:
                raise
            continue
        own = {step.workflow: step.own_settings for step in steps}
        yield from ((workflow, *settings) for workflow, settings in own.items() if settings is not None)


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except (OSError, WrongValueError):
        return b""


def _line(where: str) -> int:
    return int(where.rpartition(":")[2])


def _yaml_files(project: Path, victor_folder: str) -> Iterator[Path]:
    for folder, folders, files in os.walk(project):
        folders[:] = sorted(
            name for name in folders if name == victor_folder or not (name.startswith(".") or name in _SKIPPED)
        )
        for name in sorted(files):
            if name.endswith((".yaml", ".yml")):
                yield Path(folder, name)


_RECORDED: Final = Path()
"""Stands for the file of a team that was recorded and is in none."""


def starting_text(teams: Iterable[FoundTeam], recorded: Iterable[TeamSpec] = ()) -> str:
    """Return the settings file.

    Args:
        teams: The teams of the project. Their names may hold anything.
        recorded: Further teams that runs were recorded of.
    """
    definitions = shipped()
    parts = [_HEAD, _general(definitions["definitions"])]
    parts += [f"\n# {definitions['properties']['prices']['description']}", _PRICES]
    others = (FoundTeam(_RECORDED, 0, spec, None) for spec in recorded)
    ordered = sorted((*teams, *others), key=lambda team: (team.spec.workflow, team.spec.team_id, team.file))
    if not ordered:
        return "".join(parts) + _NO_WORKFLOWS
    parts.append("\nworkflows:\n")
    for workflow, found in groupby(ordered, key=lambda team: team.spec.workflow):
        parts.append(_workflow(workflow, list(found)))
    return "".join(parts)


def _general(definitions: Mapping[str, Any]) -> str:
    """Return the keys for all teams, commented out, with what they mean and their defaults."""
    text = f"\n{_comment(definitions['mode']['description'])}mode: observe\n"
    for key in _KEYS:
        text += f"\n{_comment(definitions[key]['description'])}# {key}: {inline(definitions[key]['default'])}\n"
    for section in _SECTIONS:
        text += f"\n{_comment(definitions[section]['description'])}# {section}:\n"
        for key, meaning in definitions[section]["properties"].items():
            if "deprecated" in meaning:
                continue
            choices = f" ({', '.join(meaning['enum'])})" if "enum" in meaning else ""
            text += f"#   {key}: {inline(meaning['default'])}  # {meaning['description']}{choices}\n"
    return text


def _workflow(name: str, teams: list[FoundTeam]) -> str:
    text = f"  {inline(name)}:\n"
    for file in dict.fromkeys(team.file for team in teams):
        text += "    # recorded; in no workflow file here\n" if file is _RECORDED else f"    # in {inline(str(file))}\n"
    own = next((team for team in teams if team.own_settings is not None), None)
    if own is not None:
        text += f"    # Its own metadata.autotune, in line {own.own_settings}, wins over what stands here.\n"
    text += "    mode: observe\n    teams:\n"
    for team_id, found in groupby(teams, key=lambda team: team.spec.team_id):
        text += _team(team_id, next(iter(found)))
    return text


def _team(name: str, team: FoundTeam) -> str:
    spec = team.spec
    members = ", ".join(inline(member) for member in spec.member_ids)
    lines = [
        f"      {inline(name)}:",
        f"        # {spec.formation}, {len(spec.members)} members: {members}",
        "        # mode: auto",
        "        # limits:",
        f"        #   protected_members: [{inline(spec.member_ids[0])}]",
        f"        #   max_members: {len(spec.members)}",
    ]
    if spec.tool_budget is not None:
        lines.append(f"        #   max_tool_budget: {spec.tool_budget}")
    if spec.timeout_seconds is not None:
        lines.append(f"        #   max_timeout_seconds: {inline(spec.timeout_seconds)}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ") + "\n"
