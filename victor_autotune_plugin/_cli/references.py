"""Names in the settings that neither the project's workflow files nor its store know."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AutotuneError, SettingsError
from .project import opened

if TYPE_CHECKING:
    from .._settings import SettingsResolver
    from ..configfiles.discovery import Found


def unknown_in_project(resolver: SettingsResolver, project: Path, found: Found) -> list[SettingsError]:
    """Return an error for each workflow, team and member that the settings name and nothing knows.

    The store is asked only if a name is in no file, and is never created.

    Args:
        found: The teams of the project's files.
    """
    if found.cut or not resolver.unknown_names(found.known, found.own):
        return []
    known = dict(found.known)
    with contextlib.suppress(AutotuneError), opened(project) as session:
        for state in session.teams():
            members = () if state.spec is None else state.spec.member_ids
            known[state.key] = list(dict.fromkeys((*known.get(state.key, ()), *members)))
    return resolver.unknown_names(known, found.own)


def unknown_for_file(resolver: SettingsResolver, project: Path, file: Path) -> list[SettingsError]:
    """Return an error for each such name; the project is searched only if one is not in a workflow file.

    Args:
        file: The workflow file.
    """
    from .._settings import victor_dir_name
    from ..configfiles.discovery import Found, find_teams, look_into

    found = Found()
    look_into(found, file, file)
    if not resolver.unknown_names(found.known, found.own):
        return []
    whole = find_teams(project, victor_dir_name(os.environ))
    whole.known.update(found.known)
    whole.own[:] = found.own
    return unknown_in_project(resolver, project, whole)
