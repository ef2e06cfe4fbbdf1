"""Members' seconds of past runs, from the columns to what predictions are made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np

from .predictions import Seconds
from .run_table import Floats, TeamTable

MOST_ROWS: Final = 200
"""As many of the latest runs go into a prediction."""

_ROWS_IN_EVIDENCE: Final = 50


def usable_rows(table: TeamTable, despite: Collection[str] = ()) -> tuple[list[dict[str, float]], Floats]:
    """Return members' seconds of the latest runs that succeeded and in which every member finished.

    Args:
        table: Runs under one plan.
        despite: Ids of members whose failure is no matter: a run also counts when all the others succeeded.

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
    """Return rows by member, for an insight's evidence; `predictions.rows_of` reads it back.

    Args:
        rows: Members' seconds of each run; the latest 50 are taken.
    """
    latest = rows[-_ROWS_IN_EVIDENCE:]
    names: dict[str, Any] = {name: None for row in latest for name in row}
    return {name: [row.get(name) for row in latest] for name in names}
