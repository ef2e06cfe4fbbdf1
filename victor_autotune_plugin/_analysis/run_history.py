"""Runs in compact columns: a million of them in about a hundred megabytes, fed run by run or in batches.

The columns of all teams stand in the same arrays; `RunHistory.table` cuts out one team's as numpy arrays in the order
of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._model.plan import SUB_TEAMS
from .._model.run import MemberOutcome, TeamRun
from .run_table import MEMBER_COLUMNS, RUN_COLUMNS, Floats, MemberTable, TeamKey, TeamTable

_BATCH: Final = 1000
_UNKNOWN: Final[Mapping[Any, Any]] = {np.float64: np.nan, np.int32: -1, np.bool_: False}
_FIELD_OF: Final = {
    "duration": "duration_seconds",
    "size": "member_count",
    "cost": "cost_usd",
    "timeout": "timeout_seconds",
    **{name: name for name in ("score", "member_success_share", "tool_calls", "timestamp", "tool_budget")},
    **{name: name for name in ("success", "timed_out")},
}
"""Field of a metrics file that a column holds."""

_NUMBERS: Final = (*_FIELD_OF.values(), "input_tokens", "output_tokens")


Row: TypeAlias = Mapping[str, Any]
"""A run by the fields of a metrics file (`_metricfiles.row_fields`), read; what is absent or None is not known."""


def row_of(run: TeamRun) -> dict[str, Any]:
    """Return a recorded run by the fields of a metrics file."""
    used = run.plan_used
    same = ["success", "duration_seconds", "tool_calls", "score", "cost_usd", "input_tokens", "output_tokens"]
    same += ("member_success_share", "timed_out", "cancelled", "error_class", "task_key", "members", "run_id")
    row = {
        "team_id": run.spec.team_id,
        "formation": SUB_TEAMS if used.sub_teams else used.formation or run.spec.formation,
        "member_count": len(run.members) or len(used.members or run.spec.members),
        "timestamp": run.started_at,
        "workflow": run.spec.workflow,
        "tool_budget": used.tool_budget,
        "timeout_seconds": used.timeout_seconds,
        **{name: getattr(run, name) for name in same},
        "needed": None if run.flow is None else {edge.source for edge in run.flow.edges},
    }
    return {name: value for name, value in row.items() if value is not None}


class RunHistory:
    """Collects runs of any number of teams."""

    def __init__(self, runs: Iterable[TeamRun | Row] = ()) -> None:
        self._count = 0
        self._columns = _Columns(RUN_COLUMNS)
        self._member_columns = _Columns(MEMBER_COLUMNS)
        self._teams: dict[TeamKey, int] = {}
        self._formations: dict[str, int] = {}
        self._tasks: dict[tuple[int, str], int] = {}
        self._members: dict[tuple[int, str], int] = {}
        self._team_members: dict[int, dict[int, MemberOutcome]] = {}
        self._counts: dict[TeamKey, int] | None = None
        self._needed: dict[int, set[str]] = {}
        self._is_sorted = True
        self.extend(runs)

    def __len__(self) -> int:
        return self._count

    @property
    def teams(self) -> dict[TeamKey, int]:
        """The teams, in the order in which they first appeared, each with its number of runs."""
        if self._counts is None:
            counts = np.bincount(self._columns.whole("team"), minlength=len(self._teams))
            self._counts = dict(zip(self._teams, counts.tolist(), strict=True))
        return dict(self._counts)

    @property
    def formations(self) -> tuple[str, ...]:
        """Names of the formations, by the number in the column `formation`."""
        return tuple(self._formations)

    def extend(self, runs: Iterable[TeamRun | Row]) -> None:
        """Take in runs in any order; cancelled ones are left out."""
        left = iter(runs)
        while batch := list(islice(left, _BATCH)):
            rows = [row_of(run) if isinstance(run, TeamRun) else run for run in batch]
            rows = [row for row in rows if not row.get("cancelled")]
            first = len(self)
            teams = self.add_columns(
                [row["team_id"] for row in rows],
                [row["formation"] for row in rows],
                workflows=[row.get("workflow") for row in rows],
                tasks=[row.get("task_key") for row in rows],
                **{name: np.array([row.get(name) for row in rows], dtype=np.float64) for name in _NUMBERS},
            )
            for team, row in zip(teams.tolist(), rows, strict=True):
                self._needed.setdefault(team, set()).update(row.get("needed", ()))
            places = zip(range(first, first + len(rows)), teams.tolist(), rows, strict=True)
            self._add_members(
                [(number, team, member) for number, team, row in places for member in row.get("members", ())]
            )

    def add_columns(
        self,
        team_ids: Sequence[str],
        formations: Sequence[str],
        *,
        workflows: Sequence[str | None] | None = None,
        tasks: Sequence[str | None] | None = None,
        **numbers: Floats,
    ) -> NDArray[np.int32]:
        """Take in a batch of runs without their members, and return the number of each run's team.

        The `numbers` are the other fields, in their units; NaN, or a column that is absent, is not known.
        """
        if workflows is None:
            teams = _codes(self._teams, team_ids, lambda name: ("", name))
        else:
            teams = _codes(self._teams, [(flow or "", name) for flow, name in zip(workflows, team_ids, strict=True)])
        columns: dict[str, Any] = {
            **{column: numbers[name] for column, name in _FIELD_OF.items() if name in numbers},
            "tokens": _tokens(numbers.get("input_tokens"), numbers.get("output_tokens")),
            "team": teams,
            "formation": _codes(self._formations, formations),
            "task": None if tasks is None else _task_codes(self._tasks, teams.tolist(), tasks),
        }
        # A flag that is not known is not set.
        flags = {name: np.nan_to_num(columns[name]) for name in ("timed_out",) if columns.get(name) is not None}
        self._columns.add(len(teams), {**columns, **flags})
        self._count += len(teams)
        self._counts, self._is_sorted = None, False
        return teams

    def table(self, key: TeamKey) -> TeamTable:
        """Return the runs of one team in the order of time.

        Raises:
            KeyError: There is no run of such a team.
        """
        columns = self.columns(key, [name for name in RUN_COLUMNS if name != "team"])
        members = tuple(self._member_tables(self._teams[key]))
        needed = frozenset(self._needed.get(self._teams[key], ()))
        return TeamTable(key, **columns, formations=self.formations, members=members, needed=needed)

    def columns(self, key: TeamKey, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return some columns of one team's runs, in the order of time.

        Raises:
            KeyError: There is no run of such a team.
        """
        self._sort()
        first, last = self._columns.range("team", self._teams[key])
        return {name: self._columns.part(name, first, last) for name in names}

    def _sort(self) -> None:
        """Put the runs in the order of teams and time, so that those of a team stand together."""
        if self._is_sorted:
            return
        teams, times = self._columns.whole("team"), self._columns.whole("timestamp")
        if bool((times[1:] >= times[:-1]).all()):
            # Of 16-bit numbers numpy's stable sort is a radix sort, ten times as fast.
            small = len(self._teams) < 1 << 15
            order = np.argsort(teams.astype(np.int16) if small else teams, kind="stable")
        else:
            order = np.lexsort((times, teams))
        self._columns.sort(order)
        if len(self._member_columns):
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            runs = place[self._member_columns.whole("run")]
            self._member_columns.replace("run", runs)
            self._member_columns.sort(np.lexsort((runs, self._member_columns.whole("member"))))
        self._is_sorted = True

    def _add_members(self, outcomes: Sequence[tuple[int, int, MemberOutcome]]) -> None:
        """Take in what members did: number of the run, number of the team, and the outcome."""
        if not outcomes:
            return
        codes = _codes(self._members, [(team, member.id) for _, team, member in outcomes])
        for code, (_, team, member) in zip(codes.tolist(), outcomes, strict=True):
            self._team_members.setdefault(team, {})[code] = member
        members = [member for _, _, member in outcomes]
        columns: dict[str, Any] = {
            "run": [number for number, _, _ in outcomes],
            "member": codes,
            "duration": [member.duration_seconds for member in members],
            "tool_calls": [member.tool_calls for member in members],
            "refused": [member.tool_calls_refused for member in members],
            "tokens": [member.input_tokens + member.output_tokens for member in members],
            "success": [member.success for member in members],
            "finished": [member.finished for member in members],
        }
        self._member_columns.add(len(members), columns)

    def _member_tables(self, team: int) -> Iterator[MemberTable]:
        """Give the tables of a team's members, with runs counted from the team's first."""
        first_run, _ = self._columns.range("team", team)
        for code, member in self._team_members.get(team, {}).items():
            first, last = self._member_columns.range("member", code)
            columns = {
                name: self._member_columns.part(name, first, last) for name in MEMBER_COLUMNS if name != "member"
            }
            yield MemberTable(member.id, member.role, **{**columns, "run": columns["run"] - first_run})


class _Columns:
    """Columns that grow by batches; one of which nothing is known takes no room."""

    def __init__(self, types: Mapping[str, Any]) -> None:
        self._types = types
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in types}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, count: int, values: Mapping[str, Any]) -> None:
        """Add a batch of rows; a column that is absent or None is not known."""
        for name, parts in self._parts.items():
            column = values.get(name)
            if column is not None and (parts or self._count == 0):
                parts.append(np.asarray(column).astype(self._types[name], copy=False))
            elif column is not None:
                parts.extend([self._unknown(name, self._count), np.asarray(column).astype(self._types[name])])
            elif parts:
                parts.append(self._unknown(name, count))
        self._count += count

    def whole(self, name: str) -> NDArray[Any]:
        """Return a column."""
        parts = self._parts[name]
        if len(parts) != 1:
            parts[:] = [np.concatenate(parts) if parts else self._unknown(name, self._count)]
        return parts[0]

    def part(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Return some rows of a column; whole numbers have 64 bits."""
        if not self._parts[name]:
            return self._unknown(name, last - first)
        kind = self._types[name]
        return self.whole(name)[first:last].astype(np.int64 if kind is np.int32 else kind, copy=False)

    def range(self, name: str, value: int) -> tuple[int, int]:
        """Return where the rows begin and end that have a value in a column that is sorted."""
        column = self.whole(name)
        # A plain integer would make numpy convert the column.
        first, last = np.searchsorted(column, np.array([value, value + 1], dtype=column.dtype))
        return int(first), int(last)

    def sort(self, order: NDArray[Any]) -> None:
        """Put the rows in another order."""
        for name, parts in self._parts.items():
            if parts:
                self.replace(name, self.whole(name)[order])

    def replace(self, name: str, column: NDArray[Any]) -> None:
        """Put another column in the place of one."""
        self._parts[name][:] = [column]

    def _unknown(self, name: str, count: int) -> NDArray[Any]:
        kind = self._types[name]
        return np.full(count, _UNKNOWN.get(kind, 0), dtype=kind)


def _itself(value: Any) -> Any:
    return value


def _codes(numbers: dict[Any, int], values: Sequence[Any], key: Callable[[Any], Any] = _itself) -> NDArray[np.int32]:
    """Return the number of each value; a new one gets the next."""
    codes = {value: numbers.setdefault(key(value), len(numbers)) for value in dict.fromkeys(values)}
    return np.fromiter(map(codes.__getitem__, values), dtype=np.int32, count=len(values))


def _task_codes(numbers: dict[Any, int], teams: Sequence[int], tasks: Sequence[str | None]) -> NDArray[np.int32]:
    known = np.array([task is not None for task in tasks], dtype=np.bool_)
    codes = np.full(len(tasks), -1, dtype=np.int32)
    codes[known] = _codes(numbers, [pair for pair in zip(teams, tasks, strict=True) if pair[1] is not None])
    return codes


def _tokens(sent: Floats | None, received: Floats | None) -> Floats | None:
    if sent is None or received is None:
        return received if sent is None else sent
    return np.where(np.isnan(sent), received, sent + np.nan_to_num(received))
