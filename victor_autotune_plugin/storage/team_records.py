"""A store for a command that looks at many teams: what it holds of each is read once, for all of them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import select

from .._model.data_flow import TeamFlow
from .._model.experiment import Change, Experiment, ExperimentStatus
from .._model.run import ARMS, CONTROL, TREATMENT
from .arm_runs import ArmRuns
from .rows import team_flow
from .store import Store, StoreIdentity
from .tables import lease, score

if TYPE_CHECKING:
    from .._model.quantities import Arm

TeamKey = tuple[str, str]


class TeamRecords(Store):
    """The same store, over the same connections, as it was when it was first asked. For one thread and a short while.

    Args:
        store: The store, of one environment.
        team: The only team that is asked about; None for any.
    """

    _last_seen: dict[str | None, dict[TeamKey, float]]  # by environment, since `of` may choose another

    def __init__(self, store: Store, team: TeamKey | None = None) -> None:
        vars(self).update(vars(store))
        self._team = (None, None) if team is None else team
        self._arm_runs: dict[str, ArmRuns | None] = {}
        self._last_seen = store._last_seen if isinstance(store, TeamRecords) else {}

    def identity(self) -> StoreIdentity:
        """Return which store it is, as in `Store`."""
        return self._identity

    def last_seen(self) -> dict[TeamKey, float]:
        """Return when each team ran last, as in `Store`."""
        if self.environment not in self._last_seen:
            self._last_seen[self.environment] = super().last_seen()
        return dict(self._last_seen[self.environment])

    def experiments(
        self, workflow: str | None = None, team_id: str | None = None, *, status: ExperimentStatus | None = None
    ) -> list[Experiment]:
        """Return experiments, newest first, as in `Store`."""
        if workflow is None or team_id is None or status is not None:
            return super().experiments(workflow, team_id, status=status)
        return list(self._experiments.get((workflow, team_id), ()))

    def changes(self, workflow: str | None = None, team_id: str | None = None) -> list[Change]:
        """Return the history, oldest first, as in `Store`."""
        if workflow is None and team_id is None:
            return list(self._all_changes)
        if workflow is None or team_id is None:
            return super().changes(workflow, team_id)
        return list(self._changes.get((workflow, team_id), ()))

    def arm_runs(self, experiment_ids: Iterable[str], *, with_tokens: bool = True) -> dict[str, ArmRuns]:
        """Return the finished runs of some experiments as columns, as in `Store`; those that were read as they were."""
        wanted = list(experiment_ids)
        missing = [one for one in wanted if one not in self._arm_runs]
        if missing:
            self._arm_runs |= {**dict.fromkeys(missing), **super().arm_runs(missing, with_tokens=with_tokens)}
        return {one: runs for one in wanted if (runs := self._arm_runs[one]) is not None}

    def live_counts(
        self, experiment_id: str, decided_order: int | None = None, later_ids: Iterable[str] = ()
    ) -> dict[Arm, int]:
        """Return how many runs the watch over a live plan has seen, as in `Store`; from runs that were read, if so."""
        later = list(later_ids)
        if not self._arm_runs.keys() >= {experiment_id, *later}:
            return super().live_counts(experiment_id, decided_order, later)
        runs = self.arm_runs([experiment_id, *later])
        found = dict.fromkeys(ARMS, 0)
        own = runs.pop(experiment_id, None)
        if own is not None:
            seen = own.verified if decided_order is None else own.verified | (own.order > decided_order)
            found |= {TREATMENT: int((seen & own.treated).sum()), CONTROL: int((seen & ~own.treated).sum())}
        found[TREATMENT] += sum(int((~one.treated & ~one.verified).sum()) for one in runs.values())
        return found

    def data_flow(self, workflow: str, team_id: str) -> TeamFlow:
        """Return who used whose work in a team, as in `Store`."""
        return team_flow(self._flows.get((workflow, team_id)))

    def is_scored(self, workflow: str, team_id: str, runs: int) -> bool:
        """Return whether one of the last runs of a team has a score, as in `Store`."""
        return self._has_scores and super().is_scored(workflow, team_id, runs)

    @cached_property
    def _identity(self) -> StoreIdentity:
        return super().identity()

    @cached_property
    def _experiments(self) -> dict[TeamKey, Sequence[Experiment]]:
        found = defaultdict(list)
        for one in super().experiments(*self._team):
            found[one.workflow, one.team_id].append(one)
        return {**found}

    @cached_property
    def _all_changes(self) -> Sequence[Change]:
        return super().changes(*self._team)

    @cached_property
    def _changes(self) -> dict[TeamKey, Sequence[Change]]:
        found = defaultdict(list)
        for one in self._all_changes:
            found[one.workflow, one.team_id].append(one)
        return {**found}

    @cached_property
    def _flows(self) -> dict[TeamKey, str | None]:
        rows = self._connections.execute(self._only(lease, *self._team))
        return {(row.workflow, row.team_id): row.flow for row in rows}

    @cached_property
    def _has_scores(self) -> bool:
        return bool(self._connections.execute(select(score.c.run_id).limit(1)))
