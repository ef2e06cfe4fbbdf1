"""From what a file holds to runs: one row, or an object with several of them; and the rows that are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .._analysis.run_history import row_of
from .._model.run import TeamRun
from .._model.text import clean
from .._values.nodes import WrongValueError, from_plain, show
from ..errors import MetricsError
from .column_names import Columns
from .row_fields import MEMBERS, VICTORS_MEMBERS, read_members

_PROBLEMS_KEPT: Final = 20
_NO_RULES: Final = Columns()
_REPORTS: Final = (
    ({"components", "aggregates"}, "Victor's report on its optimization components"),
    ({"total_teams_executed"}, "a summary of Victor's team metrics"),
)
"""Keys of files of Victor's that are taken for metrics of runs, and what they are."""

_MOST_WRAPPERS: Final = 3
_SHARED: Final = ("team_id", "workflow", "formation")
"""Fields that an object around a list of runs may have in their place."""

_VICTORS_RUNS: Final = "Give what was recorded of each run, such as a list of Victor's TeamExecutionMetrics."


class LeftOut:
    """Counts the rows that are left out: bad ones, unless the first is an error, and runs that came before.

    Attributes:
        source: What errors call the file.
        skipped: Bad rows so far.
        repeated: Rows so far whose run was there already.
        problems: What was wrong with the first bad rows.
        run_ids: Hashes of the runs that are known by an id.
    """

    def __init__(self, source: str, *, skip: bool, run_ids: frozenset[int] = frozenset()) -> None:
        self.source = source
        self.skipped = 0
        self.repeated = 0
        self.problems: list[MetricsError] = []
        self.run_ids: set[int] = set()
        self._before = run_ids
        self._skip = skip

    def add(self, line: int, message: str, hint: str) -> None:
        """Count a bad row.

        Raises:
            MetricsError: Bad rows are not skipped.
        """
        problem = MetricsError(message, where=f"{self.source}:{line}", hint=hint)
        if not self._skip:
            raise problem
        self.skipped += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(problem)

    def is_new(self, workflow: str | None, team_id: str, run_id: str | None) -> bool:
        """Return whether a run was not there yet, and count it if it was; one without an id is always new."""
        if run_id is None:
            return True
        # Only the hash is kept: 64 bits, by which two of a million runs are taken for one with a chance of 3e-8.
        key = hash((workflow or "", team_id, run_id))
        if key in self.run_ids or key in self._before:
            self.repeated += 1
            return False
        self.run_ids.add(key)
        return True


def rows_in(value: object, columns: Columns, levels: int = _MOST_WRAPPERS) -> Iterator[tuple[str, object]]:
    """Give the rows of a value: itself, or those of an object that holds a list of runs, or a run by each name.

    What the object says of all its runs, such as their team, each of them gets that does not say it itself.

    Args:
        value: The value.
        columns: Finds the fields.
        levels: Objects that may stand around it, one in the other.

    Yields:
        Where in the value the row is, for errors, and the row; a `WrongValueError` in place of a report that holds no
        single runs.
    """
    if not isinstance(value, Mapping):
        yield "", value
        return
    for keys, what in _REPORTS:
        if keys <= value.keys() and "team_id" not in value:
            yield "", WrongValueError(f"holds no team runs: it is {what}", _VICTORS_RUNS)
            return
    own = columns.known(value)
    lists = [(key, held) for key, held in value.items() if key != MEMBERS and _are_rows(held)]
    lists = [(key, held) for key, held in lists if columns.known(held[0]) > own]
    if len(lists) == 1:
        key, held = lists[0]
        shared = {name: value[name] for name in _SHARED if isinstance(value.get(name), str)}
        yield from ((f"{clean(key)[:60]}[{place}].", {**shared, **row}) for place, row in enumerate(held))
    elif own == 0 and value and all(isinstance(row, Mapping) and columns.known(row) for row in value.values()):
        yield from ((f"{clean(key)[:60]}.", row) for key, row in value.items())
    elif own == 0 and levels > 0 and len(inner := [one for one in value.values() if isinstance(one, Mapping)]) == 1:
        yield from rows_in(inner[0], columns, levels - 1)
    else:
        yield "", value


def _are_rows(held: object) -> bool:
    return isinstance(held, list) and bool(held) and all(isinstance(row, Mapping) for row in held)


def run_of_row(row: object, columns: Columns = _NO_RULES) -> dict[str, Any]:
    """Return a run by the names of `row_fields.FIELDS`, read.

    A row that the plugin exported as a whole (with `spec` and `plan_used`) is read as such.

    Args:
        row: A mapping by the keys of the fields, and `members`; a None counts as absent. What else is in it is kept
            as it is.
        columns: Finds the fields.

    Raises:
        WrongValueError: A field is missing or wrong; the message begins with its name.
    """
    if not isinstance(row, Mapping):
        hint = "Write one mapping of fields for each run."
        raise WrongValueError(f"{clean(show(from_plain(row, '')))} is not a run", hint)
    if row.get("spec") is not None and row.get("plan_used") is not None:
        row = _recorded(row)
    elif isinstance(row.get(VICTORS_MEMBERS), Mapping):
        row = _of_victor(row)
    found = columns.of(row)
    values = found.values(row)
    if row.get(MEMBERS) is not None and MEMBERS not in found.used:  # else the user says that it is something else
        values["members"] = read_members(row[MEMBERS])
    return {key: value for key, value in row.items() if key not in found.used and key != MEMBERS} | values


def _recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run that the plugin recorded as a row whose values are checked like any other's."""
    from .._model import converter

    if "member_success_share" not in row:  # 0.1 called it the score
        row = {**row, "member_success_share": row.get("score"), "score": None}
    try:
        run = row_of(converter.from_plain(TeamRun, row))
    except converter.PlainDataError as error:
        what = f"spec: the run is not as the plugin writes one ({type(error).__name__})"
        raise WrongValueError(what, "Export it again.") from None
    return {**run, MEMBERS: converter.to_plain(run[MEMBERS])}


def _of_victor(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `TeamExecutionMetrics` of Victor's as a row like any other; errors' texts are left behind.

    Raises:
        WrongValueError: The run had not ended.
    """
    if "end_time" in row and row["end_time"] is None:
        raise WrongValueError("end_time: the run had not ended", "Export it again once the team is done.")
    members = [
        {**member, "id": key, "tool_calls": member.get("tool_calls_used")} if isinstance(member, Mapping) else member
        for key, member in row[VICTORS_MEMBERS].items()
    ]
    return {**{key: value for key, value in row.items() if key != VICTORS_MEMBERS}, MEMBERS: members}
