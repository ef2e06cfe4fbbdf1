"""Runs in compact columns: a million of them in about a hundred megabytes, fed run by run or in batches.

The columns of all teams stand in the same arrays; `RunHistory.table` cuts out one team's as numpy arrays in the order
of time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._model.run import MemberOutcome
from .facts import RunFacts
from .tables import MEMBER_COLUMNS, RUN_COLUMNS, Codes, Floats, MemberTable, TeamKey, TeamTable

_NAN: Final = float("nan")
_BATCH: Final = 1000
_DTYPES: Final[Mapping[str, Any]] = {"d": np.float64, "b": np.bool_, "i": np.int64, "q": np.int64}


class Names:
    """Gives each name a number, from 0 in the order in which they come."""

    def __init__(self) -> None:
        self.codes: dict[Any, int] = {}

    def code(self, name: Any) -> int:
        """Return the number of a name, a new one for a new name."""
        return self.codes.setdefault(name, len(self.codes))

    def known(self) -> list[Any]:
        """Return the names by number."""
        return list(self.codes)


class RunHistory:
    """Collects runs of any number of teams.

    Args:
        runs: Runs to begin with, in any order.
    """

    def __init__(self, runs: Iterable[RunFacts] = ()) -> None:
        self._columns = {name: array(code) for name, code in RUN_COLUMNS.items()}
        self._member_columns = {name: array(code) for name, code in MEMBER_COLUMNS.items()}
        self._teams, self._formations, self._tasks, self._members = Names(), Names(), Names(), Names()
        self._team_members: dict[int, dict[int, MemberOutcome]] = {}
        self._views: dict[str, NDArray[Any]] = {}
        self.extend(runs)

    def __len__(self) -> int:
        return len(self._columns["duration"])

    @property
    def teams(self) -> dict[TeamKey, int]:
        """The teams, in the order in which they first appeared, each with its number of runs."""
        counts = self._views.get("counts")
        if counts is None:
            counts = self._views["counts"] = np.bincount(self._array("team"), minlength=len(self._teams.codes))
        return dict(zip(self._teams.known(), counts.tolist(), strict=True))

    def add(self, run: RunFacts) -> None:
        """Take in one run; a cancelled one is left out.

        Args:
            run: The run.
        """
        self.extend((run,))

    def extend(self, runs: Iterable[RunFacts]) -> None:
        """Take in runs; cancelled ones are left out.

        Args:
            runs: The runs, in any order.
        """
        left = iter(runs)
        while batch := list(islice(left, _BATCH)):
            self._extend([run for run in batch if not run.cancelled])

    def add_columns(
        self, keys: Iterable[TeamKey], formations: Iterable[str], tasks: Sequence[str | None] | None, **columns: Floats
    ) -> None:
        """Take in a batch of runs of which nothing is known about their members.

        Args:
            keys: `(workflow, team_id)` of each run.
            formations: Formation of each run.
            tasks: Task key of each run, or None when none has one.
            columns: The other columns of `RUN_COLUMNS`, in their units; those that are absent are not known.
        """
        self._views.clear()
        codes = {
            "team": _codes(self._teams, list(keys)),
            "formation": _codes(self._formations, list(formations)),
        }
        count = len(codes["team"])
        if tasks is None:
            codes["task"] = [-1] * count
        else:
            teams = codes["team"]
            code = self._tasks.code
            codes["task"] = [-1 if t is None else code((k, t)) for k, t in zip(teams, tasks, strict=True)]
        for name, kind in RUN_COLUMNS.items():
            column = self._columns[name]
            if name in codes:
                column.extend(codes[name])
            elif name in columns:
                column.frombytes(columns[name].astype(column.typecode, copy=False).tobytes())
            else:
                filler = 0 if kind == "b" else _NAN
                column.frombytes(np.full(count, filler, dtype=kind).tobytes())

    def table(self, key: TeamKey) -> TeamTable:
        """Return the runs of one team in the order of time.

        Args:
            key: `(workflow, team_id)`.

        Raises:
            KeyError: There is no run of such a team.
        """
        chosen = self._chosen(key)
        columns = self._columns_of(chosen, [name for name in RUN_COLUMNS if name != "team"])
        members = self._tables(self._teams.codes[key], chosen)
        return TeamTable(key, **columns, formations=tuple(self._formations.known()), members=members)

    def columns(self, key: TeamKey, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """Return some columns of one team's runs, in the order of time.

        Args:
            key: `(workflow, team_id)`.
            names: Names of `RUN_COLUMNS`.

        Raises:
            KeyError: There is no run of such a team.
        """
        return self._columns_of(self._chosen(key), names)

    @property
    def formations(self) -> tuple[str, ...]:
        """Names of the formations, by the number in the column `formation`."""
        return tuple(self._formations.known())

    def _columns_of(self, chosen: Codes, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        return {name: self._array(name)[chosen].astype(_DTYPES[RUN_COLUMNS[name]], copy=False) for name in names}

    def _chosen(self, key: TeamKey) -> Codes:
        """Return the numbers of a team's runs, in the order of time."""
        code = self._teams.codes[key]
        order = self._views.get("order")
        if order is None:
            order = self._views["order"] = np.lexsort((self._array("timestamp"), self._array("team")))
            self._views["ordered"] = self._array("team")[order]
        first, last = np.searchsorted(self._views["ordered"], [code, code + 1])
        return order[first:last]

    def _array(self, name: str) -> NDArray[Any]:
        """Return a view of a column, which must go before the column can grow."""
        view = self._views.get(name)
        if view is None:
            column = self._member_columns[name[1:]] if name.startswith(".") else self._columns[name]
            view = self._views[name] = np.frombuffer(column, dtype=column.typecode)
        return view

    def _extend(self, runs: Sequence[RunFacts]) -> None:
        self._views.clear()
        first = len(self)
        teams = [self._teams.code(run.key) for run in runs]
        columns: dict[str, list[Any]] = {
            "duration": [run.duration_seconds for run in runs],
            "score": [run.score for run in runs],
            "tool_calls": [run.tool_calls for run in runs],
            "timestamp": [run.timestamp for run in runs],
            "cost": [_known(run.cost_usd) for run in runs],
            "tokens": [_tokens(run) for run in runs],
            "tool_budget": [_known(run.tool_budget) for run in runs],
            "timeout": [_known(run.timeout_seconds) for run in runs],
            "success": [run.success for run in runs],
            "timed_out": [run.timed_out for run in runs],
            "size": [run.member_count for run in runs],
            "team": teams,
            "formation": [self._formations.code(run.formation) for run in runs],
            "task": [
                -1 if run.task_key is None else self._tasks.code((team, run.task_key))
                for team, run in zip(teams, runs, strict=True)
            ],
        }
        for name, values in columns.items():
            self._columns[name].extend(values)
        places = zip(range(first, first + len(runs)), teams, runs, strict=True)
        self._add_members([(number, team, member) for number, team, run in places for member in run.members])

    def _add_members(self, outcomes: Sequence[tuple[int, int, MemberOutcome]]) -> None:
        """Take in what members did: number of the run, number of the team, and the outcome."""
        codes = [self._members.code((team, member.id)) for _, team, member in outcomes]
        for code, (_, team, member) in zip(codes, outcomes, strict=True):
            self._team_members.setdefault(team, {})[code] = member
        members = [member for _, _, member in outcomes]
        columns: dict[str, list[Any]] = {
            "run": [number for number, _, _ in outcomes],
            "member": codes,
            "duration": [member.duration_seconds for member in members],
            "tool_calls": [member.tool_calls for member in members],
            "refused": [member.tool_calls_refused for member in members],
            "tokens": [member.input_tokens + member.output_tokens for member in members],
            "success": [member.success for member in members],
            "finished": [member.finished for member in members],
        }
        for name, values in columns.items():
            self._member_columns[name].extend(values)

    def _tables(self, team: int, chosen: Codes) -> tuple[MemberTable, ...]:
        """Return the tables of a team's members, with runs counted as they stand in `chosen`."""
        mine = self._team_members.get(team, {})
        if not mine:
            return ()
        order = self._views.get("member order")
        if order is None:
            order = self._views["member order"] = np.lexsort((self._array(".run"), self._array(".member")))
            self._views["members ordered"] = self._array(".member")[order]
        by_number = np.argsort(chosen)
        tables = []
        for code, member in mine.items():
            first, last = np.searchsorted(self._views["members ordered"], [code, code + 1])
            rows = order[first:last]
            runs = by_number[np.searchsorted(chosen, self._array(".run")[rows], sorter=by_number)]
            in_time = np.argsort(runs, kind="stable")
            rows = rows[in_time]
            columns = {
                name: self._array(f".{name}")[rows].astype(_DTYPES[kind], copy=False)
                for name, kind in MEMBER_COLUMNS.items()
                if name not in ("run", "member")
            }
            tables.append(MemberTable(member.id, member.role, run=runs[in_time], **columns))
        return tuple(tables)


def _known(value: float | None) -> float:
    return _NAN if value is None else value


def _tokens(run: RunFacts) -> float:
    if run.input_tokens is None and run.output_tokens is None:
        return _NAN
    return (run.input_tokens or 0) + (run.output_tokens or 0)


def _codes(names: Names, values: list[Any]) -> list[int]:
    codes = names.codes
    for value in values:
        if value not in codes:
            codes[value] = len(codes)
    return [codes[value] for value in values]
