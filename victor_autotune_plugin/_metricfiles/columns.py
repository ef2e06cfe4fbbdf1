"""The fast way from a file to a `RunHistory`: batches of rows become columns, which are checked as a whole.

A batch in which anything is out of the ordinary (a missing field, a text for a number, members) goes the way of single
rows, so that both ways take and refuse the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import frozen

from .._analysis.history import RunHistory
from .._analysis.tables import Floats
from ..errors import MetricsError
from .fields import FIELDS, MEMBERS
from .otlp import runs_of_traces
from .reading import CSV, OTLP, RunReader
from .values import FORMATION_NAMES, LAST_SECOND, LONGEST_NAME, MOST_CALLS, MOST_MEMBERS, MOST_SECONDS

_COLUMN_OF: Final = {
    "duration_seconds": ("duration", 0.0, MOST_SECONDS),
    "tool_calls": ("tool_calls", 0.0, float(MOST_CALLS)),
    "timestamp": ("timestamp", 0.0, LAST_SECOND - 1),
    "member_count": ("size", 0.0, float(MOST_MEMBERS)),
    "score": ("score", 0.0, 1.0),
    "cost_usd": ("cost", 0.0, 1e9),
}
"""Column of `RunHistory`, and the range of a field whose values are numbers in every row."""

_WHOLE: Final = ("tool_calls", "member_count")
_REQUIRED: Final = tuple(one.name for one in FIELDS if one.required)
_NAME_OF: Final = {key: one.name for one in FIELDS for key in one.keys}
_HANDLED: Final = frozenset({*_COLUMN_OF, "team_id", "formation", "success", "workflow", "task_key"})


@frozen
class ReadHistory:
    """What a file held.

    Attributes:
        history: Its runs.
        skipped: Bad rows skipped.
        problems: What was wrong with the first of them.
    """

    history: RunHistory
    skipped: int = 0
    problems: Sequence[MetricsError] = ()


def read_history(path: str | Path, *, skip_bad: bool = False) -> ReadHistory:
    """Read all runs of a metrics file into columns.

    Args:
        path: The file, in any of the forms.
        skip_bad: Whether bad rows are skipped and counted.

    Raises:
        MetricsError: The file can't be read, or a row is bad and bad rows are not skipped.
    """
    reader, history = RunReader(path, skip_bad=skip_bad), RunHistory()
    with reader.opened() as (file, form):
        if form == OTLP:
            history.extend(runs_of_traces(file, reader))
        else:
            for batch in reader.batches(file, form):
                if form == CSV or not _add_columns(history, batch.rows):
                    history.extend(reader.runs(batch, form))
    return ReadHistory(history, reader.skipped, tuple(reader.problems))


def _add_columns(history: RunHistory, rows: list[Any]) -> bool:
    """Take in a batch whose rows all have the same keys and plain values; return False when it is not one."""
    first = rows[0]
    if type(first) is not dict or len(first) < 2:
        return False
    keys = list(first)
    named = [(key, _NAME_OF.get(key)) for key in keys]
    known = [name for _, name in named if name is not None]
    if (
        MEMBERS in first
        or "spec" in first
        or len(set(known)) != len(known)
        or not set(known) <= _HANDLED
        or not set(_REQUIRED) <= set(known)
    ):
        return False
    if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(keys)}:
        return False
    try:
        columns = dict(zip(keys, zip(*map(itemgetter(*keys), rows), strict=True), strict=True))
    except KeyError:
        return False
    values = {name: columns[key] for key, name in named if name is not None}
    numbers = {_COLUMN_OF[name][0]: _numbers(name, values[name]) for name in known if name in _COLUMN_OF}
    if any(column is None for column in numbers.values()) or set(map(type, values["success"])) != {bool}:
        return False
    names = [name for name in ("team_id", "workflow", "task_key") if name in values]
    if not all(_are_names(values[name]) for name in names):
        return False
    if set(map(type, values["formation"])) != {str} or not set(values["formation"]) <= set(FORMATION_NAMES):
        return False
    checked: dict[str, Floats] = {name: column for name, column in numbers.items() if column is not None}
    success = np.array(values["success"], dtype=np.float64)
    workflows = values.get("workflow") or ("",) * len(rows)
    history.add_columns(
        zip(workflows, values["team_id"], strict=True),
        values["formation"],
        values.get("task_key"),
        **{"score": success, **checked, "success": success},
    )
    return True


def _numbers(name: str, values: Sequence[Any]) -> Floats | None:
    _, low, high = _COLUMN_OF[name]
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        column = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    # A NaN is in no range.
    if not bool(((column >= low) & (column <= high)).all()):
        return None
    return None if name in _WHOLE and bool((column % 1).any()) else column


def _are_names(values: Sequence[Any]) -> bool:
    different = set(values)
    return all(type(value) is str and value.strip() and len(value) <= LONGEST_NAME for value in different)
