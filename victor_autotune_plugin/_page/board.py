"""What the page shows, read from a store: an overview that is kept up to date, and what is asked for of a team or run.

Nothing is written. What a team's row costs to make is paid once for each time that something of the team changed, and
within a budget: the page shows what is ready, and the rest a moment later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .._dataflow.flow_facts import facts_of
from .._model.experiment import TeamState
from .._model.text import clean
from .._settings import Settings
from ..errors import AutotuneError, SettingsError
from .evidence_path import evidence_path
from .ledger import savings_ledger
from .run_index import RunIndex, TeamKey
from .run_series import BINS, MOST_POINTS, RunFilter, series
from .run_view import run_view
from .team_row import Waits, outcomes_of, stands_of, team_row
from .team_view import MOST_CHANGES, change_view, definition, experiment_view, flow_view, plans_view

if TYPE_CHECKING:
    from .._model.experiment import Experiment
    from .._model.run import TeamRun
    from .._tuning.runtime import Runtime
    from .._tuning.standing import Standing, Told
    from ..storage import Store
    from ..storage.run_listing import ListedRun, Pulse

_ALL: Final = RunFilter()

_SCORED_RUNS: Final = 300
# How many of a team's last runs tell what scores say of it.

_MOST_PATHS: Final = 200
"""Paths of evidence that are kept."""


class Board:
    """What the page shows.

    Args:
        runtime: The project's settings.
        store: Its store; None while nothing was recorded.
        options: What commands need to find the project, with a space in front.
        wanted: Whether a team is shown, by workflow and team id.
        mode_of: Tells the mode of a team's next run, and in a sentence why another is set, from its key and last run.
        waits: Tells how long something has awaited a person, and what that costs.
        quality: Tells in sentences who scores a team's work, and what the scores of its last runs say, newest first.
        clock: Unix time, seconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        store: Store | None,
        *,
        options: str = "",
        wanted: Callable[[TeamKey], bool] = lambda _: True,
        mode_of: Callable[[TeamKey, TeamRun | None], tuple[str, str | None]] | None = None,
        waits: Waits | None = None,
        quality: Callable[[Store, TeamState, Settings, Sequence[ListedRun]], Sequence[str]] = lambda *_: (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.runtime = runtime
        self.store = store
        self.version = 0
        """Grows whenever a row changed."""
        self._options = options
        self._wanted = wanted
        self._mode_of = mode_of
        self._quality = quality
        self._waits: dict[str, Any] = {} if waits is None else {"waits": waits}
        self._clock = clock
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._index = None if store is None else RunIndex(store, wanted=wanted)
        self._pulse: Pulse | None = None
        self._first: Pulse | None = None  # of the runs that are being read
        self._states: dict[TeamKey, TeamState] = {}
        self._revision = -1
        self._rows: dict[TeamKey, dict[str, Any]] = {}
        self._stale: dict[TeamKey, None] = {}
        self._paths: dict[tuple[str, int], dict[str, Any]] = {}
        self._told: tuple[Pulse | None, dict[str, Told]] = None, {}
        self._savings: tuple[Pulse | None, dict[str, Any]] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every row is up to date."""
        return not self._stale

    @property
    def loading(self) -> tuple[int, int] | None:
        """How many runs were read of how many, as long as the store is read for the first time; None afterwards."""
        if self._index is None or self._pulse is not None:
            return None
        runs = 0 if self._first is None else self._first.runs
        return min(self._index.read, runs), runs

    def check(self) -> None:
        """See that the store can be read.

        Raises:
            StoreError: If it can't.
        """
        if self.store is not None:
            self.store.pulse()

    def refresh(self, budget_seconds: float = 0.08) -> bool:
        """Look at what was written since the last time; return whether a row changed.

        Args:
            budget_seconds: After so many seconds of making rows the others wait for the next call.

        Raises:
            StoreError: If the store can't be used.
        """
        if self.store is None or self._index is None:
            self.store = self.runtime.open_existing_store()
            if self.store is None:
                return False
            self._index = RunIndex(self.store, wanted=self._wanted)
        pulse = self.store.pulse()
        with self._reading:  # nobody who asks for what is known waits for what is read
            is_new = pulse != self._pulse
            self._first = pulse
            changed = self._index.refresh(pulse) if is_new else set()
            with self._lock:
                if is_new:
                    self._look(pulse, changed)
                return self._make_rows(budget_seconds)

    def complete(self, budget_seconds: float) -> None:
        """Make more rows of what was read, for so many seconds, without a look at what was written since.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._lock:
            self._make_rows(budget_seconds)

    def _look(self, pulse: Pulse, changed: set[TeamKey]) -> None:
        """Mark the rows of the teams of which something was written.

        Args:
            pulse: The store's pulse, from before the runs were read.
            changed: The teams whose runs changed.
        """
        assert self.store is not None
        assert self._index is not None
        before = self._pulse
        with self.store.reading() as transaction:
            saved = transaction.changed_teams(self._revision) if self.store.environment else self.store.teams()
        for state in saved:
            if self._states.get(state.key) != state:
                self._states[state.key] = state
                changed.add(state.key)
            self._revision = max(self._revision, state.revision)
        changed.update((one.workflow, one.team_id) for one in self.store.experiments_that_await())
        if before is not None and before.judged != pulse.judged:
            changed.update(key for key, state in self._states.items() if state.experiment_id or state.live_id)
        if before is None or before.paused != pulse.paused:
            changed.update((*self._index.teams(), *self._states))
        for key in sorted(changed, key=self._last_at, reverse=True):
            if self._wanted(key):
                self._stale.setdefault(key)
                if key not in self._rows:
                    self._rows[key] = {**self._row(key, in_full=False), "version": self.version + 1}
        self._pulse = pulse

    def _last_at(self, key: TeamKey) -> float:
        assert self._index is not None
        runs = self._index.runs(key)
        return runs[-1].started_at if runs else 0.0

    def _make_rows(self, budget_seconds: float) -> bool:
        until = time.monotonic() + budget_seconds
        version, made = self.version + 1, False
        while self._stale:
            key = next(iter(self._stale))
            row = self._row(key)
            self._stale.pop(key, None)
            if {**self._rows.get(key, {}), "version": 0} != {**row, "version": 0}:
                self._rows[key] = {**row, "version": version}
                made = True
            if time.monotonic() > until:
                break
        new = any(row["version"] > self.version for row in self._rows.values())
        self.version = version if made or new else self.version
        return made or new

    def _row(self, key: TeamKey, *, in_full: bool = True) -> dict[str, Any]:
        assert self.store is not None
        assert self._index is not None
        state, runs = self._state(key), self._index.runs(key)
        settings, told = self._settings(key)
        if runs and runs[-1].mode:  # the workflow's own metadata count, too
            settings = evolve(settings, mode=runs[-1].mode)
        stands: Sequence[Standing] = ()
        if in_full:
            settings, told = self._in_mode(key, settings, runs)
            experiments = self.store.experiments(*key) if state.version or runs else []
            stands = stands_of(self.store, state, settings, experiments, self._verdicts, self._options)
        brought = outcomes_of(self.store, stands) if stands else {}
        paused = self._pulse is not None and self._pulse.paused
        row = team_row(key, runs, state, settings, stands, brought, all_paused=paused, mode_told=told, **self._waits)
        row |= {"runs": self._index.count(key), "looked_at": len(runs)}
        return {**row, "ready": in_full}

    def _in_mode(self, key: TeamKey, settings: Settings, runs: Sequence[ListedRun]) -> tuple[Settings, str | None]:
        """Return the settings in the mode of the team's next run, and why another one is set, if it is."""
        if self._mode_of is None or self.store is None:
            return settings, None
        try:
            mode, told = self._mode_of(key, self.store.run(runs[-1].run_id) if runs else None)
        except SettingsError as error:
            return settings, f"its settings can't be used: {error.message}"
        return evolve(settings, mode=mode), told

    def _state(self, key: TeamKey) -> TeamState:
        known = self._states.get(key)
        return TeamState(*key) if known is None else known

    def _settings(self, key: TeamKey) -> tuple[Settings, str | None]:
        """Return the settings of a team, and what is wrong with them; a wrong file keeps no team from being shown."""
        try:
            return self.runtime.resolver.for_team(*key), None
        except SettingsError as error:
            return Settings(), f"its settings can't be used: {error.message}"

    def overview(self, since: int = 0, most: int | None = None) -> dict[str, Any]:
        """Return the rows of the teams: what awaits a person first, then by the last run.

        Args:
            since: The version that the reader has; only rows that changed since are returned.
            most: So many rows at most; None for all.
        """
        loading = self.loading
        if loading is not None:  # which holds the lock in the end
            return self._head({}, loading)
        with self._lock:
            rows = [row for row in self._rows.values() if row["version"] > since]
            ordered = sorted(rows, key=lambda row: (not row["awaits"], -(row["last_at"] or 0.0)))
            return {**self._head(self._rows, None), "teams": ordered[:most]}

    def _head(self, known: Mapping[TeamKey, dict[str, Any]], loading: tuple[int, int] | None) -> dict[str, Any]:
        """Return what is told of the whole store, without a team."""
        is_short = any(row["looked_at"] < row["runs"] for row in known.values())
        return {
            "version": self.version,
            "whole": self.is_whole and loading is None,
            "loading": None if loading is None else list(loading),
            "at": self._clock(),
            "project": self.runtime.project.absolute().name,
            "environment": self.runtime.environment,
            "paused": self._pulse is not None and self._pulse.paused,
            "total": len(known),
            "runs": sum(row["runs"] for row in known.values()),
            "kept": self._index.kept if is_short and self._index is not None else None,
            "teams": [],
        }

    def savings(self) -> dict[str, Any]:
        """Return what promotions have saved in all teams; see `ledger.SavingsLedger`."""
        if self.store is None:
            return {"saved": {}, "weeks": [], "teams": []}
        if self._savings is None or self._savings[0] != self._pulse:
            self._savings = self._pulse, savings_ledger(self.store, wanted=self._wanted).to_dict()
        return self._savings[1]

    def team(
        self,
        workflow: str,
        team_id: str,
        chosen: RunFilter = _ALL,
        *,
        most: int = MOST_POINTS,
        with_bins: int | None = None,
    ) -> dict[str, Any]:
        """Return all that is known of a team.

        Args:
            chosen: Which runs are drawn.
            most: Runs that are drawn one by one; more are drawn in groups.
            with_bins: So many groups; None for the usual number.

        Raises:
            AutotuneError: There is no such team.
            StoreError: If the store can't be used.
        """
        key = self._key(workflow, team_id)
        with self._lock:
            row = self._rows.get(key)
            runs = () if self._index is None else self._index.runs(key)
        if row is None or self.store is None:
            raise AutotuneError(f"no team {team_id!r} of workflow {workflow!r} was recorded")
        state = self._state(key)
        spec = state.spec
        if spec is None and runs:
            last = self.store.run(runs[-1].run_id)
            spec = None if last is None else last.spec
        settings = evolve(self._settings(key)[0], mode=row["mode"])
        flow = None
        if spec is not None:
            seen = self.store.data_flow(*key)
            flow = facts_of(seen, spec, settings, state.plan, has_scorer=bool(state.gates))
        ended = [run for run in runs[: -_SCORED_RUNS - 1 : -1] if run.status == "finished"]
        experiments, earlier = self.store.experiments(*key), self.store.earlier_runs(*key)
        return {
            "earlier": None if earlier is None else earlier.to_dict(),
            "row": row if row["ready"] else {**self._row(key), "version": row["version"]},
            "definition": definition(spec),
            "runs": self._series(runs, chosen, most, with_bins),
            "plans": plans_view(runs),
            "experiments": [experiment_view(one, spec, self._verdicts(self.store, one)) for one in experiments],
            "changes": [change_view(one) for one in self.store.changes(*key)[::-1][:MOST_CHANGES]],
            "flow": flow_view(flow),
            "quality": list(self._quality(self.store, state, settings, ended)),
            "live": state.live_id,
            "open": state.experiment_id,
        }

    def _verdicts(self, store: Store, one: Experiment) -> Told:
        """Return what an experiment says now: once for all that is shown of it, as long as nothing was written."""
        from .._tuning.present_state import verdicts

        pulse, told = self._told
        if pulse != self._pulse:
            pulse, told = self._told = self._pulse, {}
        if one.id not in told:
            told[one.id] = verdicts(store, one)
        return told[one.id]

    def runs(self, workflow: str, team_id: str, chosen: RunFilter) -> dict[str, Any]:
        """Return the runs of a team that are drawn; arguments are those of `team`."""
        with self._lock:
            runs = () if self._index is None else self._index.runs(self._key(workflow, team_id))
        return self._series(runs, chosen)

    def _key(self, workflow: str, team_id: str) -> TeamKey:
        """Return the team that a page means: its names there have no characters that can't be seen."""
        key = workflow, team_id
        if key in self._rows:
            return key
        return next((one for one in [*self._rows] if (clean(one[0]), clean(one[1])) == key), key)

    @staticmethod
    def _series(
        runs: Sequence[ListedRun], chosen: RunFilter, most: int = MOST_POINTS, bins: int | None = None
    ) -> dict[str, Any]:
        if chosen != _ALL:
            runs = [run for run in runs if chosen.takes(run)]
        return series(runs, most, bins or BINS)

    def last_runs(self, key: TeamKey, most: int) -> dict[str, dict[str, Any]]:
        """Return a team's last runs that ended, newest first, as `run` gives each; `most` at most, by id.

        Raises:
            StoreError: If the store can't be used.
        """
        with self._lock:
            runs = () if self._index is None else self._index.runs(key)
        ended = [run.run_id for run in runs[-most:][::-1] if run.status == "finished"] if most else []
        if self.store is None or not ended:
            return {}
        read = {run.run_id: run_view(run, scores) for run, scores in self.store.team_scores(*key, len(ended))}
        return {run_id: read[run_id] for run_id in ended if run_id in read}  # others ended, or went, meanwhile

    def evidence(self, experiment_id: str) -> dict[str, Any]:
        """Return how the evidence of a test came about; see `evidence_path`.

        Raises:
            AutotuneError: There is no such experiment.
            StoreError: If the store can't be used.
        """
        found: Experiment | None = None if self.store is None else self.store.experiment(experiment_id)
        if found is None or self.store is None:
            raise AutotuneError(f"no experiment {experiment_id!r} was recorded")
        test = self.store.observations(found.id, "test")
        key = found.id, len(test)
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = evidence_path(found, test)
            if len(self._paths) > _MOST_PATHS:
                self._paths.pop(next(iter(self._paths)))
        return path

    def run(self, text: str) -> dict[str, Any]:
        """Return a run with its members.

        Args:
            text: Its id, the beginning of it, or the id of its trace.

        Raises:
            AutotuneError: There is no such run.
            StoreError: If the store can't be used, or several runs are meant.
        """
        found = None if self.store is None else self.store.find_run(text)
        if found is None or self.store is None or not self._wanted(found.spec.key):
            raise AutotuneError(f"no run or trace {text!r} was recorded")
        return run_view(found, self.store.scores_of(found.run_id))
