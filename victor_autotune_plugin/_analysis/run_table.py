"""The runs of one team as columns, which is what the detectors work on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from .predictions import Seconds

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
TeamKey: TypeAlias = tuple[str, str]

RUN_COLUMNS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        (
            "duration",
            "score",
            "member_success_share",
            "tool_calls",
            "timestamp",
            "cost",
            "tokens",
            "tool_budget",
            "timeout",
        ),
        np.float64,
    ),
    **dict.fromkeys(("success", "timed_out"), np.bool_),
    **dict.fromkeys(("size", "team", "formation", "task"), np.int32),
}
"""Name and type of each column. NaN stands for what is not known, task -1 for none."""

MEMBER_COLUMNS: Final[Mapping[str, Any]] = {
    "run": np.int64,
    "member": np.int32,
    **dict.fromkeys(("duration", "tool_calls", "refused", "tokens"), np.float64),
    **dict.fromkeys(("success", "finished"), np.bool_),
}


@frozen
class MemberTable:
    """What one member did in a team's runs; one entry for each run in which it took part, in the order of time."""

    id: str
    role: str
    run: Codes  # index in the team's `TeamTable`
    duration: Floats  # seconds
    tool_calls: Floats
    refused: Floats
    tokens: Floats  # both ways
    success: Flags
    finished: Flags


@frozen
class TeamTable:
    """The runs of one team in the order of time, as columns of the same length."""

    key: TeamKey
    duration: Floats  # seconds
    score: Floats  # in [0, 1]; not known where nothing scored the run
    member_success_share: Floats  # in [0, 1]
    tool_calls: Floats
    timestamp: Floats  # Unix seconds, ascending
    cost: Floats  # US dollars, NaN where not known
    tokens: Floats  # both ways, NaN where not known
    tool_budget: Floats  # calls allowed, NaN where nothing was enforced
    timeout: Floats  # deadline in seconds, NaN without one
    success: Flags
    timed_out: Flags  # a deadline ended it
    size: Codes  # members that took part
    formation: Codes  # index in `formations`
    task: Codes  # number of the task, -1 without a task key
    formations: tuple[str, ...]
    members: tuple[MemberTable, ...] = ()  # in the order in which they first appeared; empty when not known
    needed: frozenset[str] = frozenset()  # ids of the members that others were seen to build on

    def __len__(self) -> int:
        return len(self.duration)

    @property
    def latest_formation(self) -> str:
        """Formation of the last run."""
        return self.formations[int(self.formation[-1])]

    def where(self, chosen: Flags) -> TeamTable:
        """Return the table of the runs that are chosen."""
        if chosen.all():
            return self
        rows = np.flatnonzero(chosen)
        whole = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
        # A part in one piece is a view, which takes neither time nor memory.
        part = slice(rows[0], rows[-1] + 1) if whole else rows
        place = np.cumsum(chosen) - 1
        members = [_chosen_runs(member, chosen, place) for member in self.members]
        columns = {name: getattr(self, name)[part] for name in RUN_COLUMNS if name != "team"}
        left = tuple(m for m in members if len(m.run))
        return TeamTable(self.key, **columns, formations=self.formations, members=left, needed=self.needed)


def _chosen_runs(member: MemberTable, chosen: Flags, place: Codes) -> MemberTable:
    kept = chosen[member.run]
    columns = {name: getattr(member, name)[kept] for name in MEMBER_COLUMNS if name not in ("run", "member")}
    return MemberTable(member.id, member.role, run=place[member.run[kept]], **columns)


MOST_ROWS: Final = 200
"""As many of the latest runs go into a prediction."""

_ROWS_IN_EVIDENCE: Final = 50


def usable_rows(table: TeamTable, despite: Collection[str] = ()) -> tuple[list[dict[str, float]], Floats]:
    """Return members' seconds of the latest runs that succeeded and in which every member finished.

    The failure of members in `despite` is no matter: a run also counts when all the others succeeded.

    Returns:
        Seconds by member of each such run, at most `MOST_ROWS`, in the order of time; and what the team took.
    """
    usable = np.ones(len(table), dtype=np.bool_) if despite else table.success.copy()
    took_part = np.zeros(len(table), dtype=np.bool_)
    for member in table.members:
        took_part[member.run] = True
        usable[member.run[~member.finished]] = False
        if despite and member.id not in despite:
            usable[member.run[~(member.success | table.success[member.run])]] = False
    chosen = np.flatnonzero(usable & took_part)[-MOST_ROWS:]
    rows: list[dict[str, float]] = [{} for _ in chosen]
    place = np.full(len(table), -1)
    place[chosen] = np.arange(len(chosen))
    for member in table.members:
        for row, seconds in zip(place[member.run].tolist(), member.duration.tolist(), strict=True):
            if row >= 0:
                rows[row][member.id] = seconds
    return rows, table.duration[chosen]


def as_evidence(rows: Sequence[Seconds]) -> dict[str, list[float | None]]:
    """Return the latest 50 rows by member, for an insight's evidence; `predictions.rows_of` reads it back."""
    latest = rows[-_ROWS_IN_EVIDENCE:]
    names: dict[str, Any] = {name: None for row in latest for name in row}
    return {name: [row.get(name) for row in latest] for name in names}
