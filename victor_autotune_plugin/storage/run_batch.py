"""What many entries say of runs, put together: a server takes all of it in one statement, a file a row for each run.

A server is asked once for a whole batch: the way there and back, the transaction and the reading of the statement cost
more than the rows. What is written is what the entries would write one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from attrs import define, field

from .._model.converter import to_plain
from .journal_entries import EndEntry, Entry, FlowEntry, PriceEntry, StartEntry
from .rows import Values, at_least_zero, encode, run_values, start_values

Completing = PriceEntry | FlowEntry
"""Entries of what completes a run that ended."""

_NOTHING: Final[Values] = {"has_flow": False, "flow": None, "has_cost": False, "cost_usd": None, "is_last": False}


@define
class RunBatch:
    """Rows of runs, each run in one of them.

    Attributes:
        starts: Runs that began, by id.
        ends: Runs that ended, by id, with all that the entries say of them.
        parts: What completes runs that had ended before, by id.
        streams: The next index of each stream of arms: `(experiment, phase, name)`.
        completing: The entries in `ends` and `parts` that complete a run, by its id.
        rest: Entries that are to be written one by one, after the others.
    """

    starts: dict[str, Values] = field(factory=dict)
    ends: dict[str, Values] = field(factory=dict)
    parts: dict[str, Values] = field(factory=dict)
    streams: dict[tuple[str, str, str], int] = field(factory=dict)
    completing: dict[str, list[Completing]] = field(factory=dict)
    rest: list[Entry] = field(factory=list)

    @classmethod
    def of(cls, entries: Iterable[Entry], process_id: str) -> RunBatch:
        """Put entries together.

        Args:
            entries: Entries of this process, in their order.
            process_id: Its id.

        Raises:
            StoreError: One of them has an impossible value.
        """
        batch = cls()
        for entry in entries:
            if isinstance(entry, StartEntry):
                batch._start(entry, process_id)
            elif isinstance(entry, EndEntry):
                batch._end(entry, process_id)
            elif isinstance(entry, PriceEntry | FlowEntry):
                batch._complete(entry)
            else:
                batch.rest.append(entry)
        return batch

    @property
    def has_runs(self) -> bool:
        """Whether it says of runs that they began or ended."""
        return bool(self.starts or self.ends or self.streams)

    def runs_given(self) -> dict[str, str]:
        """Return the starts and ends as their statement takes them: JSON, by id, as they are locked."""
        streams = [
            {"experiment_id": experiment_id, "phase": phase, "name": name, "next_index": index}
            for (experiment_id, phase, name), index in sorted(self.streams.items())
        ]
        return {"starts": _by_id(self.starts), "ends": _by_id(self.ends), "streams": encode(streams)}

    def parts_given(self) -> dict[str, str]:
        """Return what completes runs as its statement takes it."""
        return {"parts": _by_id(self.parts)}

    def left_over(self, found: Collection[str]) -> list[Entry]:
        """Return the entries that found no run to complete, or one whose end had been written before.

        Args:
            found: Ids of the runs whose end was written, and of those that were completed.
        """
        return [entry for run_id, entries in self.completing.items() if run_id not in found for entry in entries]

    def _start(self, entry: StartEntry, process_id: str) -> None:
        run_id, planned = entry.start.run_id, entry.planned
        if run_id not in self.ends:
            self.starts[run_id] = start_values(entry.start, planned, process_id)
        if planned.assignment is not None:
            one = planned.assignment
            stream = one.experiment_id, one.phase, one.stream
            self.streams[stream] = max(one.index + 1, self.streams.get(stream, 0))

    def _end(self, entry: EndEntry, process_id: str) -> None:
        run = entry.run
        gates = () if run.score is not None else entry.gates
        if gates or run.run_id in self.ends or run.run_id in self.parts:
            self.rest.append(entry)
            return
        self.starts.pop(run.run_id, None)  # the end tells all of it again
        self.ends[run.run_id] = {**run_values(run, process_id), "grade_seconds": entry.grade_seconds}

    def _complete(self, entry: Completing) -> None:
        run_id = entry.run_id
        if any(isinstance(one, EndEntry) and one.run.run_id == run_id for one in self.rest):
            self.rest.append(entry)
            return
        told: Mapping[str, Any]
        if isinstance(entry, FlowEntry):
            told = {"flow": None if entry.flow is None else encode(to_plain(entry.flow)), "has_flow": True}
        else:
            cost = entry.cost_usd
            told = {
                "cost_usd": None if cost is None else at_least_zero("cost_usd", cost, f"run {run_id}"),
                "has_cost": True,
            }
        self.completing.setdefault(run_id, []).append(entry)
        end = self.ends.get(run_id)
        if end is not None:
            end.update({name: value for name, value in told.items() if not name.startswith("has_")})
            if entry.is_last:
                end["grade_seconds"] = None
            return
        part = self.parts.setdefault(run_id, {"run_id": run_id, **_NOTHING})
        part.update(told)
        part["is_last"] = part["is_last"] or entry.is_last


def _by_id(rows: Mapping[str, Values]) -> str:
    return encode([rows[run_id] for run_id in sorted(rows)])
