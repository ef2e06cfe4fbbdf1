"""Whether others may write the files that the plugin believes, for `doctor`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .._settings import FILE_NAME, victor_dir_name
from .._values.links import SIDE_FILES

_NAMES: Final = (
    FILE_NAME,
    "autotune-snapshot.json",
    "autotune-streams.json",
    "autotune-journal",
)


def writable_by_others(project: Path, users: Path | None, store: Path | None) -> Iterator[tuple[Path, str]]:
    """Give what others may write, and who: the folder of Victor in a project, or one of the plugin's files in it.

    Args:
        project: The project's folder.
        users: The user's own folder of Victor, or None if it is not known.
        store: The store's file, or None.
    """
    for path in dict.fromkeys(_files(project / victor_dir_name(os.environ), users, store)):
        who = _who_may_write(path)
        if who is not None:
            yield path, who


def _files(folder: Path, users: Path | None, store: Path | None) -> Iterator[Path]:
    folder = folder.absolute()
    yield folder
    for name in _NAMES:
        yield folder / name
    if store is not None:
        yield from (store, *(store.with_name(store.name + suffix) for suffix in SIDE_FILES))
    journal = folder / _NAMES[-1]
    if journal.is_dir() and os.access(journal, os.R_OK):
        yield from sorted(journal.iterdir())
    if users is not None:
        yield users
        yield users / FILE_NAME


def _who_may_write(path: Path) -> str | None:
    """Return who else may write a file or folder, or None."""
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid, status.st_uid):
        return f"the group {_name(status.st_gid)}"
    return None


def _is_own_group(gid: int, uid: int) -> bool:
    """Whether a group has no member but one user, as the group that many systems give each user."""
    import grp
    import pwd

    try:
        members = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(gid).gr_mem}
        members |= {user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid}
    except (KeyError, OSError):
        return False
    return members <= {uid}


def _name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OSError):
        return str(gid)
