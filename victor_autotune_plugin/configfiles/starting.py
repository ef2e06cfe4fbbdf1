"""The text of a starting settings file: every team of a project, observed, with what may be set explained."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Final

from .._settings.editor import SCHEMA_FILE, shipped
from .discovery import FoundTeam
from .edit import inline

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
_SECTIONS: Final = ("limits", "experiment", "watch")
_NO_WORKFLOWS: Final = """
# No workflow with a team step was found. This is how settings for one look:
# workflows:
#   code_review:
#     mode: observe
"""
_PRICES: Final = """
# prices:
#   gpt-4o-mini: {input_per_million_usd: 0.15, output_per_million_usd: 0.60}
"""


def starting_text(teams: Iterable[FoundTeam]) -> str:
    """Return the settings file.

    Args:
        teams: The teams of the project. Their names may hold anything.
    """
    definitions = shipped()
    parts = [_HEAD, _general(definitions["definitions"])]
    parts += [f"\n# {definitions['properties']['prices']['description']}", _PRICES]
    ordered = sorted(teams, key=lambda team: (team.spec.workflow, team.spec.team_id, team.file))
    if not ordered:
        return "".join(parts) + _NO_WORKFLOWS
    parts.append("\nworkflows:\n")
    for workflow, found in groupby(ordered, key=lambda team: team.spec.workflow):
        parts.append(_workflow(workflow, list(found)))
    return "".join(parts)


def _general(definitions: Mapping[str, Any]) -> str:
    """Return the keys for all teams, commented out, with what they mean and their defaults."""
    text = f"\n{_comment(definitions['mode']['description'])}mode: observe\n"
    for section in _SECTIONS:
        text += f"\n{_comment(definitions[section]['description'])}# {section}:\n"
        for key, meaning in definitions[section]["properties"].items():
            choices = f" ({', '.join(meaning['enum'])})" if "enum" in meaning else ""
            text += f"#   {key}: {inline(meaning['default'])}  # {meaning['description']}{choices}\n"
    return text


def _workflow(name: str, teams: list[FoundTeam]) -> str:
    text = f"  {inline(name)}:\n"
    for file in dict.fromkeys(team.file for team in teams):
        text += f"    # in {inline(str(file))}\n"
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
