"""Takes an optimization back exactly: the live plan, or the file that it was written into."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._model.experiment import TAKES_BACK
from .._tuning.manual import ManualChanges
from ..errors import AutotuneError

if TYPE_CHECKING:
    from .._model.experiment import Change
    from .._tuning.runtime import Runtime
    from .history import Optimization


def written_file(path: Path, backup: Path | None) -> dict[str, Any]:
    """Return what a change of a file leaves in the history, for taking it back.

    Args:
        path: The file, as it is after the change.
        backup: The file as it was before, or None where nothing had to be written.
    """
    return {
        "path": str(path.absolute()),
        "backup": None if backup is None else str(backup.absolute()),
        "sha256": _digest(path),
    }


def take_back(runtime: Runtime, one: Optimization, reason: str) -> Change:
    """Take an optimization back.

    Args:
        runtime: The project.
        one: An optimization that is in effect. With a live plan those that were put in place after it go, too.
        reason: Why, for the history.

    Returns:
        The line in the history.

    Raises:
        AutotuneError: It is not in effect, or its file was changed since, or has no backup any more.
        StoreError: If the store can't be used.
    """
    if not one.in_effect or one.change_id is None:
        raise AutotuneError(
            f"{one.optimization.get('description') or 'the change'!s} is not in effect",
            hint="See what can be taken back: victor autotune rollback --list",
        )
    if not one.is_noted:
        return runtime.manual.roll_back(one.workflow, one.team_id, reason, change_id=one.change_id)
    if one.file is not None:
        _restore(one.file)
    manual = ManualChanges(runtime.recorder, runtime.hooks)
    key = one.workflow, one.team_id
    return manual.note(key, "rolled_back", reason, evidence={TAKES_BACK: [one.change_id]})


def _restore(file: Mapping[str, Any]) -> None:
    from ..configfiles import restore

    path, backup = Path(file["path"]), file["backup"]
    if backup is None:
        return
    hint = f"The file as it was before the change is {backup}."
    try:
        same = _digest(path) == file["sha256"]
    except OSError as error:
        raise AutotuneError(f"can't be read: {error.strerror}", where=str(path), hint=hint) from error
    if not same:
        raise AutotuneError("was changed since the optimization was written", where=str(path), hint=hint)
    if not Path(backup).exists():
        raise AutotuneError("the backup is gone", where=backup, hint="Take the change back by hand.")
    restore(Path(backup))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
