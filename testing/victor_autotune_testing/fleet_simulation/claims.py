"""Who may say what: only the holder of a team's lease judges it, and only what is dead or silent has lost runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from attrs import frozen

from .database import Database
from .invariants import Violation
from .process import SILENT_SECONDS

_CLOCK_JUMP_SECONDS: Final = 60.0
# A lease that ends so much later than a new one would was written before the database's clock was set back.

_ROUNDING_SECONDS: Final = 0.001
# SQLite counts time in days, of which a number has no more than some hundredths of a millisecond.


@frozen
class _Lease:
    """A team's lease in the store: who holds it, how many held it until then, and when it ends by the database."""

    holder: str
    fence: int
    ends_at: float


class Claims:
    """Looks at each transaction in which a process claims something, as soon as it is committed.

    Args:
        database: The fleet's database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases: Mapping[tuple[str, str], _Lease] = self._read_leases()
        self._lost = self._read_lost()

    def committed(self, process_id: str, writes: Collection[tuple[str, Mapping[str, Any]]]) -> None:
        """Check what a process claimed in a transaction.

        Args:
            process_id: The process.
            writes: Names of the statements that wrote, as in `network.CLAIMS`, each with its values.

        Raises:
            Violation: It had no right to.
        """
        leases = self._read_leases()
        for key, lease in leases.items():
            self._check_taken(key, self._leases.get(key), lease)
        self._leases = leases
        names = {name for name, _ in writes}
        for name, values in writes:
            if name == "save_judged":
                self._check_holder(process_id, (values["of_workflow"], values["of_team_id"]), "judged")
            elif name == "take_lease" and "number_run" in names:
                self._check_holder(process_id, (values["workflow"], values["team_id"]), "numbered")
        if "mark_lost" in names:
            self._check_lost()

    def _check_holder(self, process_id: str, key: tuple[str, str], what: str) -> None:
        if self._leases[key].holder != process_id:
            raise Violation(f"runs of {key} were {what} by a process that does not hold the lease")

    def _check_taken(self, key: tuple[str, str], before: _Lease | None, lease: _Lease) -> None:
        if before is None or before.holder in ("", lease.holder) or not lease.holder:
            return
        left = before.ends_at - self._database.clock()
        if left > _ROUNDING_SECONDS and before.ends_at <= lease.ends_at + _CLOCK_JUMP_SECONDS:
            raise Violation(f"the lease of team {key} was taken {left:.3f} s before it ended")
        if lease.fence <= before.fence:
            raise Violation(f"two processes have lease {lease.fence} of team {key}")

    def _check_lost(self) -> None:
        lost = self._read_lost()
        for run_id in lost.keys() - self._lost.keys():
            beat_at = lost[run_id]
            silent = None if beat_at is None else abs(self._database.clock() - beat_at)
            if silent is not None and silent < SILENT_SECONDS - _ROUNDING_SECONDS:
                raise Violation(f"run {run_id} is lost, and its process gave a sign of life {silent:.3f} s ago")
        self._lost = lost

    def _read_leases(self) -> dict[tuple[str, str], _Lease]:
        rows = self._database.rows("SELECT workflow, team_id, holder, fence, expires_at FROM autotune_lease")
        return {(workflow, team): _Lease(*lease) for workflow, team, *lease in rows}

    def _read_lost(self) -> dict[str, float | None]:
        """Return the runs that are lost, with the last sign of life of a process that has not ended."""
        return dict(
            self._database.rows(
                "SELECT run_id, beat_at FROM autotune_run run"
                " LEFT JOIN autotune_process process ON process.id = run.process AND process.ended IS NOT TRUE"
                " WHERE run.status = 'lost'"
            )
        )
