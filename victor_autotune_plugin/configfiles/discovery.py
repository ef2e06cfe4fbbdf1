"""Finds the workflow files of a project that have team steps."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import field, frozen

from .._model.plan import TeamSpec
from .._values.document import line_of, load
from .._values.files import read_text
from ..errors import WorkflowError
from .steps import step_spec, team_steps

MOST_FILES: Final = 5_000
"""As many YAML files as a search looks into."""

_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "venv", "build", "dist"})
_TEAM: Final = re.compile(r"""["']?type["']?\s*:\s*["']?team\b""")
_MOST_BYTES: Final = 1_000_000


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
        teams: The team steps, by file and order.
        broken: What is wrong in files that look like workflows with team steps.
        cut: Whether the project has more than `MOST_FILES` YAML files.
    """

    teams: list[FoundTeam] = field(factory=list)
    broken: list[WorkflowError] = field(factory=list)
    cut: bool = False


def find_teams(project: Path, victor_folder: str) -> Found:
    """Look for team steps in the YAML files of a project, hidden folders and those of dependencies left out.

    Args:
        project: Its folder.
        victor_folder: Name of Victor's folder in it, which is looked into although it is hidden.
    """
    found: list[FoundTeam] = []
    broken: list[WorkflowError] = []
    looked = 0
    for path in _yaml_files(project, victor_folder):
        looked += 1
        if looked > MOST_FILES:
            return Found(found, broken, cut=True)
        file = path.relative_to(project)
        try:
            if path.stat().st_size > _MOST_BYTES or not _TEAM.search(path.read_text("utf-8", errors="replace")):
                continue
        except OSError:
            continue
        try:
            found += _teams(path, file)
        except WorkflowError as error:
            broken.append(error)
    return Found(found, broken)


def _teams(path: Path, file: Path) -> list[FoundTeam]:
    data = load(read_text(path).text, file)
    teams = []
    for step in team_steps(file, data):
        metadata = step.body.get("metadata")
        own = line_of(metadata, "autotune") if isinstance(metadata, dict) and "autotune" in metadata else None
        teams.append(FoundTeam(file, line_of(step.node), step_spec(file, step), own))
    return teams


def _yaml_files(project: Path, victor_folder: str) -> Iterator[Path]:
    for folder, folders, files in os.walk(project):
        folders[:] = sorted(
            name for name in folders if name == victor_folder or not (name.startswith(".") or name in _SKIPPED)
        )
        for name in sorted(files):
            if name.endswith((".yaml", ".yml")):
                yield Path(folder, name)
