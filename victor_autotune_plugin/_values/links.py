"""Where a path leads that the plugin is about to write: never out of the project by a link that is in it.

A folder that others prepared, such as a repository to clone, may hold links. They must not turn a write
into the project into one elsewhere. A path that a person names may lead anywhere by itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database file for the files that it writes beside it."""


class LinkOutError(PermissionError):
    """A link of the project leads out of it."""

    def __init__(self, link: Path, target: Path) -> None:
        super().__init__(errno.EPERM, f"the link {link} leads out of the project, to {target}", str(link))


def followed(path: Path, *projects: Path) -> Path:
    """Return the file that a path leads to, free of links. The file need not exist.

    Args:
        path: The path.
        projects: Folders whose links must not lead out of them. Those of the user's home are the user's own.

    Raises:
        LinkOutError: A link in the project leads out of it.
        OSError: A link leads to itself.
    """
    folders = {os.path.realpath(folder) for folder in projects}
    with contextlib.suppress(RuntimeError):  # the process has no home
        folders.discard(os.path.realpath(Path.home()))
    here = Path(path.absolute().anchor)
    for part in path.absolute().parts[1:]:
        step = here.parent if part == ".." else here / part
        if step.is_symlink():
            target = Path(os.path.realpath(step))
            if target.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(step))
            if any(here.is_relative_to(folder) and not target.is_relative_to(folder) for folder in folders):
                raise LinkOutError(step, target)
            step = target
        here = step
    return here


def is_inside(path: Path, project: Path) -> bool:
    """Whether a path, links followed, leads to a place below the project's folder."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(project))
