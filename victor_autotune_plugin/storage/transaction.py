"""One transaction of the store; `Store` holds the contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final

from attrs import evolve

from .._model.assignment import stream_of
from .._model.converter import to_plain
from .._model.data_flow import RunFlow
from .._model.experiment import Change, Experiment, Phase, TeamState, may_follow
from .._model.process import ProcessId
from .._model.run import PlannedRun, RunStart, TeamRun
from .._model.score import Gate
from ..errors import AutotuneError, StaleStateError, StoreError
from .journal_entries import EndEntry, Entry, FlowEntry, PriceEntry, ScoreEntry, StartEntry, run_of
from .judging import NO_END
from .judging import Lease as Lease
from .pruning import Pruning
from .rows import (
    at_least_zero,
    change_of,
    change_values,
    changed_columns,
    encode,
    experiment_of,
    experiment_values,
    remembered_run,
    run_values,
    start_values,
    team_state,
    team_values,
)
from .run_batch import RunBatch
from .statements import OF_START, PROGRESS

SILENT_SECONDS: Final = 60.0
"""After so many seconds without a sign of life a process counts as dead."""

_LONGEST_FAULT: Final = 300

_SPREAD: Final = 8
# After each collision, a new stream is chosen among so many times more names.

_random: Final = Random()  # the user's own sequence of random numbers is not disturbed


class Transaction(Pruning):
    """Reads and writes that hold together. Get one from `Store.transaction`; `Store` says what each method promises.

    Args:
        session: The session, with its transaction open.
        statements: What it runs.
        backend: `sqlite` or `postgresql`.
        environment: Environment of the teams that it is about; None for the default one, and to read scores of all.
        process: The process that it belongs to.
        is_introduced: Whether the store knows that process.
        reads: Whether it only reads, and so locks nothing.

    Attributes:
        is_introduced: Whether the store knows the process once this transaction is committed.
    """

    # --- teams and experiments

    def save_team(self, state: TeamState) -> TeamState:
        """Write the state of a team and return it with its new version and revision.

        Raises:
            StaleStateError: It is of another version than the stored one.
        """
        values = team_values(state)
        of = {**self._of(*state.key, state.environment), "of_version": state.version}
        written = self._write(self._sql.update_team, {**values, **of})
        if not written and state.version == 0:
            written = self._write(self._sql.insert_team, {**values, "revision": 0})
        if not written:
            raise StaleStateError(
                f"the state of team {state.team_id!r} in workflow {state.workflow!r} changed after version "
                f"{state.version} was read",
                hint="Read it again and repeat.",
            )
        # Only now: who locks the row of the store before that of a team could wait for one who does the reverse.
        if self._sql.next_revision is not None:  # in one trip: all judges of a fleet wait for that row
            revision: int = self._query(self._sql.next_revision, of)[0].revision
        else:
            self._write(self._sql.count_revision, {})
            revision = self._query(self._sql.revision, {})[0].revision
            self._write(self._sql.set_revision, {**of, "revision": revision})
        return evolve(state, version=state.version + 1, revision=revision)

    def pause_all(self, paused: bool) -> bool:
        """Pause all tuning, of every environment, or let it go on; return whether that changes anything."""
        if not self._write(self._sql.pause_all, {"paused": paused, "of_paused": not paused}):
            return False
        self._write(self._sql.count_revision, {})
        return True

    def changed_teams(self, after_revision: int) -> list[TeamState]:
        """Return the teams that were saved after a revision of the store, by revision."""
        return [
            team_state(row)
            for row in self._query(
                self._sql.changed_teams, {"of_environment": self._environment, "after": after_revision}
            )
        ]

    def open_experiments(self, ids: Iterable[str]) -> list[Experiment]:
        """Return those of some experiments that runs take part in."""
        found = (self.experiment(one) for one in ids)
        return [one for one in found if one is not None and one.takes_runs]

    def experiments_of(self, workflow: str, team_id: str) -> list[Experiment]:
        """Return the experiments of a team, oldest first."""
        of = self._of(workflow, team_id)
        return [experiment_of(row) for row in self._query(self._sql.experiments_of, of)]

    def experiments_that_await(self, workflow: str | None = None, team_id: str | None = None) -> list[Experiment]:
        """Return the experiments of the environment that a person is to answer, oldest first.

        Args:
            workflow: Only of this workflow.
            team_id: Only of teams with this id.
        """
        rows = self._query(self._sql.experiments_that_await, {"of_environment": self._environment})
        return [
            experiment_of(row) for row in rows if workflow in (None, row.workflow) and team_id in (None, row.team_id)
        ]

    def save_experiment(self, experiment: Experiment) -> None:
        """Write a new experiment, or how far a known one came.

        Raises:
            StaleStateError: Its status can't follow the stored one, or it ended and differs.
            StoreError: Something differs that its decision is replayed from.
        """
        self._lock_team(experiment.workflow, experiment.team_id, experiment.environment)
        values = experiment_values(experiment)
        rows = self._query(self._sql.experiment, {"of_id": experiment.id})
        if not rows:
            self._write(self._sql.insert_experiment, values)
            return
        stored = experiment_of(rows[0])
        changed = changed_columns(stored, values)
        if not changed:
            return
        if stored.has_ended or not may_follow(stored.status, experiment.status):
            raise StaleStateError(
                f"experiment {experiment.id} is {stored.status} and can't become {experiment.status}"
                if stored.status != experiment.status
                else f"experiment {experiment.id} is {stored.status} and does not change any more",
                hint="Read it again.",
            )
        fixed = set(changed) - set(PROGRESS)
        update = self._sql.update_experiment
        if stored.status in ("draft", "awaits_approval") and not fixed.isdisjoint(OF_START):
            fixed.difference_update(OF_START)
            update = self._sql.update_unstarted
        if fixed:
            raise StoreError(
                f"experiment {experiment.id} can't change its {', '.join(sorted(fixed))}: start a new experiment"
            )
        self._write(update, {"of_id": experiment.id, **values})

    # --- runs

    def start_run(self, start: RunStart, planned: PlannedRun, process_id: str | None = None) -> None:
        """Write that a run started; of one that is running already, only its plan.

        Args:
            start: The run.
            planned: Its plan.
            process_id: The process that runs it; None for this one.
        """
        if process_id is None:
            self._introduce()
            process_id = self._process.id
        self._write(self._sql.start_run, start_values(start, planned, process_id))
        if planned.assignment is not None:
            one = planned.assignment
            self._stream_goes_on((one.experiment_id, one.phase, one.stream), one.index + 1)

    def _stream_goes_on(self, stream: tuple[str, str, str], index: int) -> None:
        """Have the next index of a stream of arms written when the transaction ends."""
        self._next_indexes[stream] = max(index, self._next_indexes.get(stream, 0))

    def finish_run(
        self,
        run: TeamRun,
        process_id: str | None = None,
        grade_seconds: float | None = None,
        gates: tuple[Gate, ...] = (),
        score_seconds: float | None = None,
    ) -> bool:
        """Write what a run was and return True, or False when it had been written before.

        Args:
            run: The run.
            process_id: The process that ran it; None for this one.
            grade_seconds: How long a judge waits for its cost and its data flow; None for not at all.
            gates: The scorers whose scores make up its score; nothing adds to a score that it has.
            score_seconds: How long a judge waits for these scores, unless it was cancelled; None for not at all.
        """
        if run.score is not None:  # as that of a run which delivered nothing
            gates = ()
        values = run_values(run, self._process.id if process_id is None else process_id, gates)
        awaits = gates and not run.cancelled
        seconds = {"grade_seconds": grade_seconds, "score_seconds": score_seconds if awaits else None}
        written = self._write(self._sql.finish_run, {**values, **seconds}) > 0
        if written and gates:
            self._complete_score(run.run_id)  # a score may have come before the end, which was in a journal
        return written

    def write_entry(self, entry: Entry, process_id: str | None = None) -> bool:
        """Write what an entry says.

        Args:
            entry: The entry.
            process_id: The process that it is of; None for this one.

        Returns:
            Whether it found its place: what completes a run has none before the end of that run is written.
        """
        if isinstance(entry, EndEntry):
            self.finish_run(entry.run, process_id, entry.grade_seconds, entry.gates, entry.score_seconds)
        elif isinstance(entry, StartEntry):
            self.start_run(entry.start, entry.planned, process_id)
        elif isinstance(entry, PriceEntry):
            return self.price_run(entry.run_id, entry.cost_usd, is_last=entry.is_last)
        elif isinstance(entry, ScoreEntry):
            self.record_score(entry.score)
        elif isinstance(entry, FlowEntry):
            return self.trace_run(entry.run_id, entry.flow, is_last=entry.is_last)
        return True

    def write_entries(self, entries: Iterable[Entry], process_id: str | None = None) -> list[Entry]:
        """Write what entries say, as `write_entry` does one after the other, and return those that found no place.

        Args:
            entries: The entries, in their order.
            process_id: The process that they are of; None for this one.
        """
        ordered = sorted(entries, key=run_of)
        batch = RunBatch.of(ordered, self._process.id if process_id is None else process_id)
        if self._sql.write_batch is None or self._sql.complete_runs is None:
            return self.write_batch(batch, process_id)
        if process_id is None:
            self._introduce()
        if not batch.rest:  # what is in it would be locked out of order
            rows: list[Any] = []
            if batch.has_runs:
                rows += self._query(self._sql.write_batch, {**batch.runs_given(), "lock_timeout": None})
            if batch.parts:
                rows += self._query(self._sql.complete_runs, {**batch.parts_given(), "lock_timeout": None})
            ordered = batch.left_over({row.run_id for row in rows})
        return [entry for entry in ordered if not self.write_entry(entry, process_id)]

    def write_batch(self, batch: RunBatch, process_id: str | None = None) -> list[Entry]:
        """Write what a batch says run by run, and return the entries that found no place.

        Args:
            batch: The batch.
            process_id: The process that it is of; None for this one.
        """
        if process_id is None:
            self._introduce()
        for row in batch.starts.values():
            self._write(self._sql.start_run, row)
        for stream, index in batch.streams.items():
            self._stream_goes_on(stream, index)
        found = {
            run_id
            for run_id, row in batch.ends.items()
            if self._write(self._sql.finish_run, {**row, "score_seconds": None}) > 0
        }
        for run_id, row in batch.parts.items():
            of_run = {"of_run_id": run_id, "is_last": row["is_last"] and not row["has_cost"]}
            is_found = not row["has_flow"] or self._write(self._sql.trace_run, {**of_run, "flow": row["flow"]}) > 0
            if is_found and row["has_cost"]:
                priced = {"of_run_id": run_id, "is_last": row["is_last"], "cost_usd": row["cost_usd"]}
                is_found = self._write(self._sql.price_run, priced) > 0
            if is_found:
                found.add(run_id)
        alone = [*batch.rest, *batch.left_over(found)]
        return [entry for entry in alone if not self.write_entry(entry, process_id)]

    def import_run(self, run: TeamRun) -> bool:
        """Write a finished run of another store, as `finish_run` does; it is never observed by being numbered."""
        seconds = {"grade_seconds": None, "score_seconds": None}
        return self._write(self._sql.finish_run, {**run_values(run, None), **seconds}) > 0

    def price_run(self, run_id: str, cost_usd: float | None, *, is_last: bool = True) -> bool:
        """Write the cost of a run that ended.

        Args:
            run_id: The run.
            cost_usd: Cost in US dollars, or None when no price is known.
            is_last: Whether neither its cost nor its data flow is awaited any more.

        Returns:
            False, and nothing changes, when it was judged by what it had, or has not ended.
        """
        what = f"run {run_id}"
        values = {
            "of_run_id": run_id,
            "is_last": is_last,
            "cost_usd": None if cost_usd is None else at_least_zero("cost_usd", cost_usd, what),
        }
        return self._write(self._sql.price_run, values) > 0

    def trace_run(self, run_id: str, flow: RunFlow | None, *, is_last: bool = True) -> bool:
        """Write the data flow of a run that ended, None where none was found out; the rest is as for `price_run`."""
        text = None if flow is None else encode(to_plain(flow))
        return self._write(self._sql.trace_run, {"of_run_id": run_id, "is_last": is_last, "flow": text}) > 0

    def runs_of(self, workflow: str, team_id: str, limit: int, up_to: int | None = None) -> list[TeamRun]:
        """Return the finished runs of a team that are numbered, newest first, at most `limit`, none after `up_to`."""
        of = {**self._of(workflow, team_id), "most": limit}
        rows = self._query(self._sql.runs_of, {**of, "up_to": NO_END if up_to is None else up_to})
        return [remembered_run(row) for row in rows]

    def runs_after(self, workflow: str, team_id: str, number: int, limit: int) -> list[TeamRun]:
        """Return the runs of a team that follow a number, those that went missing too, by number, at most `limit`."""
        of = {**self._of(workflow, team_id), "after": number, "most": limit}
        return [remembered_run(row) for row in self._query(self._sql.runs_after, of)]

    # --- streams of arms

    def take_stream(
        self,
        experiment_id: str,
        phase: Phase,
        *,
        block: int,
        reserved: int = 0,
        stage: str = "",
        silent_seconds: float = SILENT_SECONDS,
    ) -> tuple[str, int]:
        """Take the lowest free stream of arms for this process, or a new one.

        Args:
            experiment_id: The experiment.
            phase: Its phase.
            block: Length of a block, in runs, at whose boundary the stream of a dead process goes on.
            reserved: How many places to reserve, from the beginning of the block on that the stream goes on in.
            stage: The stage whose streams they are; empty for the main one.
            silent_seconds: How long a process must have been silent to be dead.

        Returns:
            The full name of the stream, and the index to go on at.
        """
        self._introduce()
        of = {"of_experiment_id": experiment_id, "of_phase": phase}
        prefix = stream_of(stage, "")
        names = 1
        while True:
            slots = self._query(self._sql.streams, {**of, "silent_seconds": silent_seconds})
            of_stage = ((slot.name.removeprefix(prefix), slot) for slot in slots if slot.name.startswith(prefix))
            numbered = {int(number): slot for number, slot in of_stage if number.isdecimal()}
            for _, slot in sorted(numbered.items()):
                if slot.is_taken:
                    continue
                index = slot.next_index if slot.process is None else -(-slot.next_index // block) * block
                values = {"process": self._process.id, "next_index": max(index, index // block * block + reserved)}
                seen = {"of_name": slot.name, "of_process": slot.process or "", "of_next_index": slot.next_index}
                if self._write(self._sql.take_stream, {**of, **values, **seen}):
                    return slot.name, index
            # Each of many hosts that ask together waits for the commit of who took the same name, so they spread out.
            number = max(numbered, default=-1) + 1 + _random.randrange(names)
            name = stream_of(stage, str(number))
            new = {"experiment_id": experiment_id, "phase": phase, "name": name, "next_index": reserved}
            if self._write(self._sql.insert_stream, {**new, "process": self._process.id}):
                return name, 0
            names *= _SPREAD

    def reserve_stream(self, experiment_id: str, phase: Phase, name: str, end: int) -> bool:
        """Reserve the places of a stream up to `end`; False, and nothing changes, when it is another process's."""
        of = {"of_experiment_id": experiment_id, "of_phase": phase, "of_name": name, "of_process": self._process.id}
        return self._write(self._sql.reserve_stream, {**of, "index": end}) > 0

    def give_back_stream(self, experiment_id: str, phase: Phase, name: str, next_index: int) -> None:
        """Let another process go on with a stream; nothing when this process does not hold it any more."""
        of = {"of_experiment_id": experiment_id, "of_phase": phase, "of_name": name, "of_process": self._process.id}
        self._write(self._sql.give_back_stream, {**of, "index": next_index})

    def continue_streams(self, experiment_id: str, phase: Phase, next_indexes: Mapping[str, int]) -> None:
        """Let the streams of an experiment from elsewhere go on after the places that its runs had there.

        Args:
            experiment_id: The experiment.
            phase: Its phase.
            next_indexes: The first free place by the full name of the stream.
        """
        of = {"experiment_id": experiment_id, "phase": phase, "process": None}
        for name, index in next_indexes.items():
            self._write(self._sql.insert_stream, {**of, "name": name, "next_index": index})

    # --- processes

    def beat(self, process: ProcessId | None = None) -> None:
        """Write a sign of life of a process, by the database's clock; None for this one."""
        of = self._process if process is None else process
        values = {"id": of.id, "host": of.host, "pid": of.pid, "started_at": of.started_at}
        self._write(self._sql.beat, values)
        if of.id == self._process.id:
            self.is_introduced = True

    def end_process(self, process_id: str) -> None:
        """Write that a process ended: what it did not finish is lost, and what it took is free."""
        self._write(self._sql.end_process, {"of_id": process_id})

    def mark_lost(self, silent_seconds: float = SILENT_SECONDS) -> tuple[str, ...]:
        """Mark the running runs of processes that ended, were never seen, or were silent so long.

        Returns:
            Ids of the runs that were marked.
        """
        rows = self._query(self._sql.lost_runs, {"silent_seconds": silent_seconds})
        found = sorted(row.run_id for row in rows)
        return tuple(one for one in found if self._write(self._sql.mark_lost, {"of_run_id": one}))

    def drained(self, process_id: str) -> int:
        """Return how many lines of a process's journal are stored."""
        rows = self._query(self._sql.drained, {"of_id": process_id})
        return rows[0].drained if rows else 0

    def set_drained(self, process_id: str, line: int) -> None:
        """Write how many lines of a process's journal are stored; they never become fewer."""
        unknown = {"host": "", "pid": 0, "started_at": 0.0, "beat_at": 0.0}
        self._write(self._sql.set_drained, {"id": process_id, "drained": line, **unknown})

    # --- history and faults

    def add_change(self, change: Change) -> int:
        """Append to the history and return the entry's id; the id it carries is ignored."""
        self._lock_team(change.workflow, change.team_id, change.environment)
        self._write(self._sql.insert_change, change_values(change))
        of = self._of(change.workflow, change.team_id, change.environment)
        last: int = self._query(self._sql.last_change, of)[0].last
        return last

    def changes_of(self, workflow: str, team_id: str) -> list[Change]:
        """Return the history of a team, oldest first."""
        of = self._of(workflow, team_id)
        return [change_of(row) for row in self._query(self._sql.changes, of)]

    def record_fault(self, where: str, error: BaseException | str, at: float, times: int = 1) -> None:
        """Count a fault of the plugin's own.

        Args:
            where: The step that failed.
            error: What it raised, or its text `Class: message`. Only messages of the plugin's own errors are kept,
                since another's may quote a prompt.
            at: Unix time of the last time, seconds.
            times: How often it happened since it was last recorded.
        """
        if isinstance(error, AutotuneError):
            kind = type(error).__qualname__
            shown = f"{kind}: {error}"[:_LONGEST_FAULT]
        else:
            kind = shown = error.partition(":")[0] if isinstance(error, str) else type(error).__qualname__
        values = {"place": where, "error_class": kind, "error": shown, "times": times, "first_at": at, "last_at": at}
        self._write(self._sql.count_fault, values)

    def complete(self) -> None:
        """Write what is only known at the end of the transaction: how far the streams of the runs got."""
        for (experiment_id, phase, name), index in sorted(self._next_indexes.items()):
            of = {"of_experiment_id": experiment_id, "of_phase": phase, "of_name": name}
            self._write(self._sql.move_stream, {**of, "index": index})

    def _introduce(self) -> None:
        """Make sure that the store knows this process, else all its runs count as lost."""
        if not self.is_introduced:
            self.beat()
