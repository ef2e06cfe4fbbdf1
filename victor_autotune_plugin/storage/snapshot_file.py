"""The last snapshot of a store in a file, from which a new process decides before it reaches the store.

The file is beside the store's own, in the folder that Victor keeps in the project. It is replaced as a whole, so it may
be on a network file system. What can't be read as a snapshot counts as missing: the store has everything in it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from .._model.converter import from_plain, to_plain
from .._model.experiment import Experiment, TeamState
from ..errors import StoreUnavailableError
from .location import create_folder, victor_folder
from .private_files import create, open_existing, why, write_all

FILE_NAME: Final = "autotune-snapshot.json"
"""Name of the file in Victor's folder of a project."""

folder_of: Final = victor_folder
"""The folder of a project that holds the file."""

_MOST_BYTES: Final = 64 * 2**20
_HEAD: Final = b'{"format":2,"crc32":"%08x","snapshot":'
_HEAD_LENGTH: Final = len(_HEAD % 0)
# Format 1 had the states of 0.1 and no rule of a watch: what it says is not what the store says once it is migrated.
_TAIL: Final = b"}\n"
_UNFINISHED: Final = ".new"
_UNFINISHED_SECONDS: Final = 60.0

_encode: Final = json.JSONEncoder(separators=(",", ":"), default=to_plain).encode


@frozen
class SavedSnapshot:
    """What a process knew of a store.

    Attributes:
        store_id: Id of the store.
        revision: Revision of the store at which it holds.
        taken_at: Unix time at which the store was read, seconds.
        teams: States of the teams, without their specs.
        experiments: The open experiments, without the runs that their watch compares with.
        paused: Whether all tuning is paused.
    """

    store_id: str
    revision: int
    taken_at: float
    teams: tuple[TeamState, ...]
    experiments: tuple[Experiment, ...]
    paused: bool = False


def _no_pause() -> None:
    """Go on at once."""


class SnapshotFile:
    """The snapshot file of a folder.

    Args:
        folder: The folder, as `folder_of` names it; created with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._texts: dict[Hashable, tuple[TeamState | Experiment, str]] = {}
        """What was saved last, by key or id, and as which text: of many teams few have changed."""

    def save(
        self,
        store_id: str,
        revision: int,
        taken_at: float,
        teams: Sequence[TeamState],
        experiments: Sequence[Experiment],
        *,
        paused: bool = False,
        pause: Callable[[], None] = _no_pause,
    ) -> None:
        """Replace the file; a reader sees the old one or the new one.

        Args:
            store_id: Id of the store.
            revision: Revision of the store at which the rest holds.
            taken_at: Unix time at which the store was read, seconds.
            teams: States of the teams; their specs are left out.
            experiments: The open experiments; their references are left out.
            paused: Whether all tuning is paused.
            pause: Called between two teams or experiments, so that a thread can let others run.

        Raises:
            StoreUnavailableError: It can't be written; the old file is as it was.
        """
        known, self._texts = self._texts, {}
        for team in teams:
            if (saved := known.get(team.key)) is None or saved[0] is not team:
                saved = team, _encode(evolve(team, spec=None))
                pause()
            self._texts[team.key] = saved
        for one in experiments:
            if (saved := known.get(one.id)) is None or saved[0] is not one:
                saved = one, _encode(evolve(one, reference=()))  # which is long, and no plan is chosen by it
                pause()
            self._texts[one.id] = saved
        team_texts = [self._texts[team.key][1] for team in teams]
        experiment_texts = [self._texts[one.id][1] for one in experiments]
        head = _encode({"store_id": store_id, "revision": revision, "taken_at": taken_at, "paused": paused})
        lists = f'"teams":[{",".join(team_texts)}],"experiments":[{",".join(experiment_texts)}]'
        body = f"{head[:-1]},{lists}}}".encode()
        unfinished = self.path.with_name(f"{FILE_NAME}.{os.urandom(4).hex()}{_UNFINISHED}")
        try:
            if len(body) > _MOST_BYTES:
                raise OSError(f"{len(body)} bytes are more than {_MOST_BYTES}")
            create_folder(self.path.parent)
            descriptor = create(unfinished)
            try:
                write_all(descriptor, _HEAD % zlib.crc32(body) + body + _TAIL)
                self._remove_unfinished(os.fstat(descriptor).st_mtime)
            finally:
                os.close(descriptor)
            unfinished.rename(self.path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise StoreUnavailableError(
                f"the snapshot can't be saved: {why(error)}",
                where=str(self.path),
                hint=f"Make {self.path.parent} a folder that you may write to and that has space left.",
            ) from error

    def load(self) -> SavedSnapshot | None:
        """Read the file.

        Returns:
            The snapshot, or None when there is no file that this user's processes wrote, or when it is damaged, too
            large, or of another format. It never raises.
        """
        try:
            descriptor = open_existing(self.path)
            try:
                data = _read_whole(descriptor)
            finally:
                os.close(descriptor)
            body = data[_HEAD_LENGTH : -len(_TAIL)]
            if not data.endswith(_TAIL) or data[:_HEAD_LENGTH] != _HEAD % zlib.crc32(body):
                return None
            return from_plain(SavedSnapshot, json.loads(body))
        except Exception:
            return None

    def _remove_unfinished(self, now: float) -> None:
        """Remove what killed processes left; `now` is by the clock of the file system, as the files' times are."""
        for path in self.path.parent.glob(f"{FILE_NAME}.*{_UNFINISHED}"):
            with suppress(OSError):
                if now - path.lstat().st_mtime > _UNFINISHED_SECONDS:
                    path.unlink()


def _read_whole(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > _HEAD_LENGTH + _MOST_BYTES + len(_TAIL):
        raise ValueError("too large")
    chunks = []
    while size > 0 and (chunk := os.read(descriptor, size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
