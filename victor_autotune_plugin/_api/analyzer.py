"""`PerformanceAnalyzer`: from runs, wherever they are recorded, to what is wrong with a team.

analyzer = PerformanceAnalyzer()
analyzer.load_metrics_from_file("metrics.json")
for insight in analyzer.analyze_team_workflow("review_team"):
    print(insight.severity, insight.recommendation)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._model.run import TeamRun
from ..errors import MetricsError

if TYPE_CHECKING:
    from .._analysis.formations import FleetGains
    from .._analysis.insight_evidence import Estimate
    from .._analysis.run_history import Row, RunHistory
    from .._analysis.run_table import TeamKey
    from .._model.optimization import PerformanceInsight
    from .._model.plan import TeamSpec


class PerformanceAnalyzer:
    """Collects runs and finds the bottlenecks of teams.

    Args:
        metrics_history: Runs: mappings with the fields of a metrics file, or recorded `TeamRun`s.
        baseline_metrics: What figures are compared with, by name: `duration_seconds` (mean), `p95_duration_seconds`,
            `success_rate`, `tool_calls`. What is absent is the team's own history where it is long enough, else the
            defaults (30 s, 60 s, 0.95, 15).
        benchmark_data: Mean duration in seconds by formation, from elsewhere, to compare formations by that the team
            itself never ran: `{"parallel": 20.0, "sequential": 55.0}`, or mappings with `duration_seconds`.

    Raises:
        MetricsError: If a run, a baseline or a benchmark can't be used.

    Attributes:
        skipped: Bad rows that were skipped.
        repeated: Rows that were left out since a run with this `run_id` came before.
        problems: What was wrong with the first of them.
    """

    def __init__(
        self,
        metrics_history: Iterable[Row | TeamRun] | None = None,
        baseline_metrics: Mapping[str, float] | None = None,
        benchmark_data: Mapping[str, Any] | None = None,
    ) -> None:
        from .._analysis.run_history import RunHistory

        self._history = RunHistory()
        self._baselines = baseline_metrics
        self._benchmark = _gains(benchmark_data or {})
        self._fleet_of: tuple[int, FleetGains] | None = None
        self._run_ids: frozenset[int] = frozenset()
        self.skipped = 0
        self.repeated = 0
        self.problems: list[MetricsError] = []
        self.add_runs(metrics_history or ())

    @property
    def metrics_history(self) -> RunHistory:
        """The runs, in compact columns; `len` counts them."""
        return self._history

    @property
    def teams(self) -> dict[TeamKey, int]:
        """The teams by `(workflow, team_id)`, each with its number of runs."""
        return self._history.teams

    def add_runs(self, runs: Iterable[Row | TeamRun]) -> int:
        """Take in runs.

        Args:
            runs: As `metrics_history`.

        Returns:
            How many were taken in; cancelled ones are left out.

        Raises:
            MetricsError: If one can't be used; the message names its number and field. Those before it are kept.
        """
        before = len(self._history)
        self._history.extend(_rows(runs))
        return len(self._history) - before

    def load_metrics_from_file(
        self, path: str | Path, *, skip_bad: bool = False, columns: Mapping[str, str] | None = None
    ) -> int:
        """Take in the runs of a metrics file: JSON, JSON Lines, CSV, or OpenTelemetry traces of this plugin as JSON.

        A run that a file names by its `run_id` counts once, in whatever file it comes again.

        Args:
            skip_bad: Whether rows that can't be used are left out and counted in `skipped`.
            columns: Which columns hold fields, by field, where names and units don't say it: a column and its unit
                (`latency_ms:ms`), a column and the words that mean true (`status:success`), two times
                (`end_time - start_time`), or a value for every run (`=parallel`).

        Returns:
            How many runs were taken in.

        Raises:
            MetricsError: The file can't be read, or a row can't be used; the message names file, line and field.
                Nothing is taken in then.
        """
        from .._metricfiles import read_history, read_runs

        before = len(self._history)
        if not before:
            read = read_history(path, skip_bad=skip_bad, columns=columns)
            self._history = read.history
        else:
            read = read_runs(path, skip_bad=skip_bad, columns=columns, run_ids=self._run_ids)
            self._history.extend(list(read))
        self._run_ids |= read.run_ids
        self.skipped += read.skipped
        self.repeated += read.repeated
        self.problems += read.problems
        return len(self._history) - before

    def load_metrics_from_collector(self, collector: Any) -> int:
        """Take in the runs that a store holds.

        Args:
            collector: A `storage.Store`, or anything else with `finished_runs()`; or an iterable of runs.

        Returns:
            How many runs were taken in.

        Raises:
            StoreError: If the store can't be read.
            MetricsError: If a run can't be used, or it holds no runs at all.
        """
        finished = getattr(collector, "finished_runs", None)
        if finished is not None:
            return self.add_runs(finished())
        if isinstance(collector, Iterable):
            return self.add_runs(collector)
        raise MetricsError(
            f"a {type(collector).__name__} holds no runs",
            hint="Give a store (victor_autotune_plugin.storage.Store), or an iterable of runs.",
        )

    def analyze_team_workflow(
        self,
        team_id: str | None = None,
        *,
        workflow: str | None = None,
        spec: TeamSpec | None = None,
        formation: str | None = None,
    ) -> list[PerformanceInsight]:
        """Find out what is wrong with a team.

        Args:
            team_id: The team; None for the only one there is.
            workflow: Its workflow, where several have a team of this id.
            spec: The team as configured, where it is known: tells which formations its members can form.
            formation: The formation in use; None for that of the latest run.

        Returns:
            Insights, the most severe first; empty when there is no run of the team.

        Raises:
            MetricsError: If several teams are meant.
        """
        from .._analysis.bottlenecks import analyze

        key = self.find(team_id, workflow)
        if key is None:
            return []
        return analyze(
            self._history,
            key,
            spec=spec,
            formation=formation,
            baseline_metrics=self._baselines,
            fleet={**self._benchmark, **self._fleet()},
        )

    def _fleet(self) -> FleetGains:
        """Return what teams gained by formations, found out once for all teams.

        A team's own runs come before the fleet's, so it does not matter that it is one of them.
        """
        from .._analysis.formations import fleet_gains

        runs = len(self._history)
        if self._fleet_of is None or self._fleet_of[0] != runs:
            self._fleet_of = runs, fleet_gains(self._history) if runs else {}
        return self._fleet_of[1]

    def summary(self, team_id: str | None = None, *, workflow: str | None = None) -> dict[str, Any] | None:
        """Return the figures of a team with their 95 % intervals, or None when there is no run of it.

        Args:
            team_id: The team; None for the only one there is.
            workflow: Its workflow, where several have a team of this id.

        Raises:
            MetricsError: If several teams are meant.
        """
        from .._analysis.bottlenecks import summary

        key = self.find(team_id, workflow)
        return None if key is None else summary(self._history, key)

    def find(self, team_id: str | None = None, workflow: str | None = None) -> TeamKey | None:
        """Return the `(workflow, team_id)` that is meant, or None when there is no run of such a team.

        Args:
            team_id: The team; None for the only one there is.
            workflow: Its workflow, or None for any.

        Raises:
            MetricsError: If several teams are meant.
        """
        from .._analysis.bottlenecks import team_key

        found = [key for key in self.teams if workflow in (None, key[0]) and team_id in (None, key[1])]
        if len(found) > 1:
            team_key(self._history, team_id)  # says which there are
        return found[0] if found else None


def _rows(runs: Iterable[Row | TeamRun]) -> Iterator[Row | TeamRun]:
    from .._metricfiles.row_reading import run_of_row
    from .._values.nodes import WrongValueError

    for number, run in enumerate(runs):
        try:
            yield run_of_row(run) if isinstance(run, Mapping) else run
        except WrongValueError as wrong:
            raise MetricsError(wrong.message, where=f"run {number}", hint=wrong.hint) from None


def _gains(benchmark: Mapping[str, Any]) -> dict[tuple[str, str], Estimate]:
    """Return what formations gain over each other by a benchmark, in percent; no recorded run stands behind it."""
    from .._analysis.insight_evidence import Estimate

    seconds = {name: _seconds(name, value) for name, value in benchmark.items()}
    gains = {
        (used, other): 100 * (1 - seconds[other] / seconds[used])
        for used in seconds
        for other in seconds
        if used != other
    }
    return {pair: Estimate(gain, gain, gain, 0) for pair, gain in gains.items()}


def _seconds(formation: str, value: Any) -> float:
    from .._model.known_formations import FORMATIONS, is_misspelt

    if isinstance(value, Mapping):
        names = ("duration_seconds", "avg_duration_seconds", "avg_duration", "mean_duration_seconds")
        value = next((value[name] for name in names if name in value), None)
    wrong = isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf")
    if wrong or is_misspelt(formation):
        raise MetricsError(
            f"benchmark_data: {formation!r} is {value!r}",
            hint=f"Give seconds above 0 by formation: {', '.join(FORMATIONS)}.",
        )
    return float(value)
