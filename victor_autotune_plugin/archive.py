"""The history as JSON Lines: runs and changes, to keep elsewhere or to carry to another store.

The first line is a header, `{"victor_autotune": "history", "version": 1}`; every other line is `{"run": …}` or
`{"change": …}` with what `TeamRun.to_dict` or `Change.to_dict` gives. Neither prompt nor output is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve

from .errors import AutotuneError
from .loop.rollback import TAKES_BACK
from .model.run import TeamRun
from .model.state import Change
from .shapes import CHANGE, RUN, ShapeError

if TYPE_CHECKING:
    from .storage import Store

KIND: Final = "history"
VERSION: Final = 1
BATCH: Final = 200
"""Lines that are imported in one transaction."""


class ArchiveError(AutotuneError):
    """A line of an archive can't be used."""


@define
class Imported:
    """What an import did.

    Attributes:
        runs: Runs that are new.
        changes: Changes that are new.
        duplicate_runs: Runs that were there.
        duplicate_changes: Changes that were there.
        skipped: Lines that can't be used.
    """

    runs: int = 0
    changes: int = 0
    duplicate_runs: int = 0
    duplicate_changes: int = 0
    skipped: int = 0


def header() -> dict[str, Any]:
    """Return the first line of an archive as plain data."""
    from importlib.metadata import version

    return {"victor_autotune": KIND, "version": VERSION, "written_by": version("victor-autotune-plugin")}


def to_line(item: TeamRun | Change | Mapping[str, Any]) -> str:
    """Return a line of an archive, with its line break.

    Args:
        item: A run, a change, or the header.
    """
    if isinstance(item, Mapping):
        data: Mapping[str, Any] = item
    else:
        data = {"run" if isinstance(item, TeamRun) else "change": item.to_dict()}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=True) + "\n"


def read(
    lines: Iterable[bytes], name: str, *, bad: list[ArchiveError] | None = None
) -> Iterator[TeamRun | Change | None]:
    """Read an archive line by line.

    Args:
        lines: Its lines.
        name: Its name, for errors.
        bad: Takes the errors of lines that can't be used; without it the first one ends the reading.

    Yields:
        A run or a change for each line that holds one, None for every other one.

    Raises:
        ArchiveError: The header is missing or of another version, or a line can't be used.
    """
    started = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield None
            continue
        if not started:
            _check_header(line, f"{name}:{number}")
            started = True
            yield None
            continue
        try:
            yield _item(line, f"{name}:{number}")
        except ArchiveError as error:
            if bad is None:
                raise
            bad.append(error)
            yield None
    if not started:
        raise ArchiveError("is empty", where=name, mend="Write one with: victor autotune export --output FILE")


def write(store: Store, items: Iterable[TeamRun | Change | None]) -> Imported:
    """Put the items of an archive into a store. What is there already stays as it is.

    A run is known by its id; a change by its time, team, action and reason. Ids of changes that a rollback names
    become those of the store.

    Args:
        store: The store.
        items: What `read` yields.

    Raises:
        StoreError: If the store can't be used. Whole batches before that are kept; importing again is harmless.
    """
    done = Imported()
    known = {_identity(change): change.id for change in store.changes()}
    new_ids: dict[int | None, int | None] = {}
    batch: list[TeamRun | Change] = []
    team: tuple[str, str] | None = None  # of the batch's changes: a transaction is about one team
    for item in items:
        if isinstance(item, Change):
            if team not in (None, (item.workflow, item.team_id)):
                _write_batch(store, batch, known, new_ids, done)
            team = item.workflow, item.team_id
        if item is not None:
            batch.append(item)
        if len(batch) >= BATCH:
            _write_batch(store, batch, known, new_ids, done)
            team = None
    _write_batch(store, batch, known, new_ids, done)
    return done


def _write_batch(
    store: Store,
    batch: list[TeamRun | Change],
    known: dict[tuple[Any, ...], int | None],
    new_ids: dict[int | None, int | None],
    done: Imported,
) -> None:
    """Write a batch in one transaction, and empty it."""
    with store.transaction() as transaction:
        for item in batch:
            if isinstance(item, TeamRun):
                new = transaction.finish_run(item)
                done.runs += new
                done.duplicate_runs += not new
                continue
            identity = _identity(item)
            if identity in known:
                done.duplicate_changes += 1
            else:
                done.changes += 1
                known[identity] = transaction.add_change(_renumbered(item, new_ids))
            new_ids[item.id] = known[identity]
    batch.clear()


def _renumbered(change: Change, new_ids: Mapping[int | None, int | None]) -> Change:
    taken = change.evidence.get(TAKES_BACK)
    if taken is None:
        return change
    return evolve(change, evidence={**change.evidence, TAKES_BACK: [new_ids[one] for one in taken if one in new_ids]})


def _identity(change: Change) -> tuple[Any, ...]:
    return (change.at, change.workflow, change.team_id, change.action, change.reason, change.experiment_id)


def _check_header(line: bytes, where: str) -> None:
    mend = "An archive is what victor autotune export writes; metrics files are read with --metrics."
    data = _json(line, where)
    if not isinstance(data, dict) or data.get("victor_autotune") != KIND:
        raise ArchiveError("is no header of a history", where=where, mend=mend)
    found = data.get("version")
    if found != VERSION:
        raise ArchiveError(
            f"is a history of version {found!r}; this plugin reads version {VERSION}",
            where=f"{where}:version",
            mend="pip install -U victor-autotune-plugin",
        )


def _item(line: bytes, where: str) -> TeamRun | Change:
    data = _json(line, where)
    if not isinstance(data, dict) or len(data) != 1 or next(iter(data)) not in ("run", "change"):
        raise ArchiveError('must hold {"run": …} or {"change": …}', where=where)
    ((kind, values),) = data.items()
    try:
        (RUN if kind == "run" else CHANGE)(values, "")
        return TeamRun.from_dict(values) if kind == "run" else Change.from_dict(values)
    except ShapeError as error:
        raise ArchiveError(error.message, where=f"{where}:{error.field or kind}") from error


def _json(line: bytes, where: str) -> Any:
    try:
        data = json.loads(line)
        if b"\\u" in line:
            json.dumps(data, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        return data
    except UnicodeError as error:
        raise ArchiveError("is not UTF-8 text", where=where) from error
    except ValueError as error:
        raise ArchiveError(f"is not JSON: {error}", where=where) from error
    except RecursionError as error:
        raise ArchiveError("is nested too deeply", where=where) from error
