"""The part of a transaction that judges work with: leases, numbers, observations."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final

from attrs import evolve, frozen

from .._model.assignment import OF_TEST
from .._model.converter import to_plain
from .._model.data_flow import TeamFlow
from .._model.experiment import Experiment, Phase, TeamState
from .._model.process import ProcessId
from .._model.quantities import DEFAULT_ENVIRONMENT
from .._model.run import Observation
from ..errors import LeaseLostError
from .rows import (
    encode,
    observation_of,
    observation_values,
    remembered_experiment,
    remembered_team,
    team_flow,
    team_values,
    unknown_run_values,
)
from .session import Session, Statement
from .statements import Statements

NO_END: Final = 2**62
"""An order, or a number of a run, that none reaches."""

TeamKey = tuple[str, str]
"""`(workflow, team_id)`."""

_NOBODY: Final = {"holder": "", "fence": 0, "expires_at": 0.0, "judged": 0, "flow": None}


@frozen
class Lease:
    """The right to judge a team for a while.

    Attributes:
        fence: Counts the holders of the team's lease; what its holder writes is checked against it.
        judged: Number of the last run that was judged.
        flow: The data flow that the runs up to it showed.
    """

    fence: int
    judged: int
    flow: TeamFlow


class Judging:
    """What a transaction says of a team and of the runs that are judged; `Transaction` says the rest.

    Its arguments and attributes are those of `Transaction`.
    """

    def __init__(
        self,
        session: Session,
        statements: Statements,
        backend: str,
        environment: str | None,
        process: ProcessId,
        is_introduced: bool,
        reads: bool = False,
    ) -> None:
        self.is_introduced = is_introduced
        self._query = session.query
        self._write = session.write
        self._sql = statements
        self._reads = reads
        self._locks_rows = backend == "postgresql" and not reads
        self._environment = environment or DEFAULT_ENVIRONMENT
        self._only_environment = environment
        self._process = process
        self._next_indexes: dict[tuple[str, str, str], int] = {}
        self._leased: dict[TeamKey, Any] = {}
        """Rows of the leases that this transaction took, and so has locked."""

    def team(self, workflow: str, team_id: str, environment: str | None = None) -> TeamState:
        """Return the state of a team and lock the team; version 0 and empty when it was never saved.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            environment: Its environment; None for the transaction's.
        """
        key = self._of(workflow, team_id, environment)
        rows = self._query(self._sql.read_team if self._reads else self._sql.team, key)
        if not rows and self._locks_rows:
            self._make_lockable(key["of_environment"], workflow, team_id)
            rows = self._query(self._sql.team, key)
        return remembered_team(rows[0]) if rows else TeamState(workflow, team_id, environment=key["of_environment"])

    def experiment(self, experiment_id: str) -> Experiment | None:
        """Return an experiment, or None when there is none of this id."""
        rows = self._query(self._sql.experiment, {"of_id": experiment_id})
        return remembered_experiment(rows[0]) if rows else None

    def take_lease(self, workflow: str, team_id: str, holder: str, seconds: float) -> Lease | None:
        """Take or renew the lease of a team, or return None while another holds it.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            holder: Who takes it.
            seconds: For how long, by the database's clock.
        """
        if self._is_locked(workflow, team_id):
            return None  # who holds it, or takes it, is at work, and is not waited for
        new = {**self._named(workflow, team_id), "holder": holder, "fence": 1, "judged": 0}
        if not self._write(self._sql.take_lease, {**new, "seconds": seconds}):
            return None
        row = self._leased[workflow, team_id] = self._lease(workflow, team_id)
        return Lease(row.fence, row.judged, team_flow(row.flow))

    def check_lease(self, workflow: str, team_id: str, holder: str, fence: int) -> None:
        """Make sure that a lease is still held, and stays so until the transaction ends.

        Raises:
            LeaseLostError: Another took it.
        """
        row = self._lease(workflow, team_id)
        if row is None or (row.holder, row.fence) != (holder, fence):
            raise LeaseLostError(
                f"team {team_id!r} in workflow {workflow!r} is judged by another process now",
                hint="Nothing is lost: the other process judges the same runs.",
            )

    def save_judged(self, workflow: str, team_id: str, number: int, flow: TeamFlow) -> None:
        """Write the number of the last run that was judged, and the data flow that the runs up to it showed."""
        values = {"judged": number, "flow": encode(to_plain(flow))}
        self._write(self._sql.save_judged, {**self._of(workflow, team_id), **values})

    def give_back_lease(self, workflow: str, team_id: str, holder: str, fence: int) -> None:
        """Let another take the lease at once; nothing when it is not held any more."""
        of = {**self._of(workflow, team_id), "of_holder": holder, "of_fence": fence}
        self._write(self._sql.give_back_lease, {**of, "holder": "", "expires_at": 0.0})

    def number_runs(self, workflow: str, team_id: str, most: int) -> int:
        """Give the next numbers of a team to runs that ended, or were lost from an arm, in the order of their starts.

        Runs of an experiment become its observations.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            most: At most so many.

        Returns:
            How many got a number.
        """
        of = self._of(workflow, team_id)
        lease = self._leased.get((workflow, team_id))
        if lease is None:
            self._write(self._sql.insert_lease, {**_NOBODY, **self._named(workflow, team_id)})
            lease = self._lease(workflow, team_id)  # locks it: numbers are given by one at a time
        last = lease.judged
        rows = self._query(self._sql.untaken, {**of, "most": most})
        if not rows:
            return 0
        last = max(last, self._query(self._sql.last_number, of)[0].last or 0)
        for experiment_id in self._observed_by({row.experiment_id for row in rows if row.experiment_id is not None}):
            orders = self._query(self._sql.last_order, {"of_experiment_id": experiment_id})
            last = max(last, orders[0].last or 0)
        numbered = []
        for number, row in enumerate(rows, last + 1):
            takes_part = row.experiment_id and row.phase and row.process is not None
            how = "lost" if row.status in ("lost", "late") else "cancelled" if row.cancelled else None
            part = {"order": number, "how": how} if takes_part else {"order": None, "how": None}
            numbered.append({"run_id": row.run_id, "number": number, **part})
        self._number(sorted(numbered, key=lambda one: one["run_id"]))  # as others lock them
        return len(rows)

    def _number(self, rows: list[dict[str, Any]]) -> None:
        if self._sql.number_runs is None or self._sql.lock_runs is None:
            for row in rows:
                self._write(self._sql.number_run, {**row, "of_run_id": row["run_id"]})
            return
        self._query(self._sql.lock_runs, {"ids": encode([row["run_id"] for row in rows])})
        self._write(self._sql.number_runs, {"numbers": encode(rows)})

    def _observed_by(self, ids: set[str]) -> set[str]:
        """Return the experiments that see the runs of these: they themselves, and those that verify their controls."""
        found = (self.experiment(one) for one in ids)
        return ids | {one.control_id for one in found if one is not None and one.control_id is not None}

    def untaken(self, keys: Iterable[TeamKey], holder: str | None = None) -> list[TeamKey]:
        """Return those of some teams that have runs to be numbered.

        Args:
            keys: The teams.
            holder: Who asks: teams whose lease another holds are left out; None for none of them.
        """
        return self._those_with(self._sql.has_untaken, self._sql.untaken_teams, keys, holder)

    def behind(self, keys: Iterable[TeamKey], holder: str | None = None) -> list[TeamKey]:
        """Return those of some teams that have numbered runs that no judge has taken in; arguments as for `untaken`."""
        return self._those_with(self._sql.is_behind, self._sql.teams_behind, keys, holder)

    def _those_with(
        self, of_one: Statement, of_all: Statement | None, keys: Iterable[TeamKey], holder: str | None
    ) -> list[TeamKey]:
        of_holder = {"of_holder": holder or ""}
        if of_all is None:
            return [key for key in keys if self._query(of_one, {**self._of(*key), **of_holder})]
        teams = encode([{"workflow": workflow, "team_id": team_id} for workflow, team_id in keys])
        rows = self._query(of_all, {"of_environment": self._environment, "teams": teams, **of_holder})
        return [(row.workflow, row.team_id) for row in rows]

    def observations(
        self, experiment_id: str, phase: Phase, after_order: int = 0, up_to: int | None = None
    ) -> list[Observation]:
        """Return the observations of a phase in order, those after `after_order` and none after `up_to`."""
        of = {"of_experiment_id": experiment_id, "of_phase": phase, "after": after_order}
        rows = self._query(self._sql.observations, {**of, "up_to": NO_END if up_to is None else up_to})
        return [observation_of(row) for row in rows]

    def live_observations(
        self, experiment_id: str, after_order: int = 0, up_to: int | None = None
    ) -> list[Observation]:
        """Return what is observed of a live plan in order: under its watch, and as the control of later tests.

        Args:
            experiment_id: The experiment that verifies the plan.
            after_order: Only those after this order.
            up_to: None after this order.

        Returns:
            Those of its phase `watch`; those of its test that came after its `decided_order`, as when they waited for
            their scores; and those of the control of every experiment whose `control_id` it is, with arm `treatment`.
            Of a test's, `OF_TEST`, the test's id and a colon come before the name of the stream.
        """
        part = {"after": after_order, "up_to": NO_END if up_to is None else up_to}
        late = self._query(self._sql.late_test_runs, {"of_id": experiment_id, **part})
        as_control = self._query(self._sql.runs_as_control, {"of_control_id": experiment_id, **part})
        of_tests = [(row.experiment_id, observation_of(row)) for row in (*late, *as_control)]
        tested = [
            evolve(
                one,
                arm=one.arm if test == experiment_id else "treatment",
                stream=f"{OF_TEST}{test}:{one.stream}",
            )
            for test, one in of_tests
        ]
        watched = self.observations(experiment_id, "watch", after_order, up_to)
        return sorted([*watched, *tested], key=attrgetter("order"))

    def test_runs_since(self, workflow: str, team_id: str, at: float) -> list[tuple[str, Observation]]:
        """Return the observations of a team's tests whose runs started at a time or later, in order.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            at: Unix time, seconds.

        Returns:
            `(experiment id, observation)` of each, of any test.
        """
        return [(name, one) for _, name, one in self.starts_of_tests(workflow, team_id, at)]

    def starts_of_tests(self, workflow: str, team_id: str, at: float) -> list[tuple[float, str, Observation]]:
        """Return what `test_runs_since` returns, each behind the start of its run, Unix seconds."""
        rows = self._query(self._sql.observed_since, {**self._of(workflow, team_id), "at": at})
        found = [(row.started_at, row.experiment_id, observation_of(row)) for row in rows]
        return sorted(found, key=lambda one: (one[2].order, one[2].run_id))

    def add_observation(self, experiment_id: str, phase: Phase, observation: Observation) -> None:
        """Append an observation of another store to an experiment; nothing when its run was observed before.

        It keeps its order where that is behind all of the experiment.
        """
        experiment = self.experiment(experiment_id)
        team = ("", "", self._environment)
        if experiment is not None:
            team = experiment.workflow, experiment.team_id, experiment.environment
            self._lock_team(*team)
        values = observation_values(experiment_id, phase, observation)
        of = {"of_experiment_id": experiment_id, "of_run_id": observation.run_id, "order": observation.order}
        observe = self._sql.observe_missing if observation.missing else self._sql.observe_run
        if not self._write(observe, {**of, **values}):
            bare = unknown_run_values(observation.run_id, *team)
            self._write(self._sql.insert_observed, {**of, **bare, **values})

    def _of(self, workflow: str, team_id: str, environment: str | None = None) -> dict[str, Any]:
        return {f"of_{name}": value for name, value in self._named(workflow, team_id, environment).items()}

    def _named(self, workflow: str, team_id: str, environment: str | None = None) -> dict[str, Any]:
        return {"environment": environment or self._environment, "workflow": workflow, "team_id": team_id}

    def _lock_team(self, workflow: str, team_id: str, environment: str) -> None:
        if self._locks_rows:
            self.team(workflow, team_id, environment)

    def _lease(self, workflow: str, team_id: str) -> Any:
        rows = self._query(self._sql.lease, self._of(workflow, team_id))
        return rows[0] if rows else None

    def _is_locked(self, workflow: str, team_id: str) -> bool:
        of = self._of(workflow, team_id)
        if self._sql.free_lease is None or self._query(self._sql.free_lease, of):
            return False
        return bool(self._query(self._sql.any_lease, of))

    def _make_lockable(self, environment: str, workflow: str, team_id: str) -> None:
        """Give a team that was never saved a row to lock: version 0, which counts as never saved."""
        values: dict[str, Any] = {**team_values(TeamState(workflow, team_id, environment=environment)), "version": 0}
        self._write(self._sql.insert_team, values)
