"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from .._dataflow.flow_facts import FlowFacts
from .._model.experiment import Change, Experiment, TeamState
from .._model.plan import TeamPlan
from .._model.run import TeamRun
from .._tuning.standing import Standing


@frozen
class ReportedExperiment:
    """An experiment with what its test and its watch say now.

    Attributes:
        experiment: The experiment.
        verdict: The test's verdict as plain data, as `experiment.Verdict.to_dict` writes it.
        watch: The watch's verdict as plain data, or None without a promotion.
    """

    experiment: Experiment
    verdict: Mapping[str, Any]
    watch: Mapping[str, Any] | None = None


@frozen
class ReportedTeam:
    """A team as the report shows it.

    Attributes:
        state: Its state.
        plan: The plan of its next run outside a test.
        mode: Mode of its last run.
        runs: Its last runs, oldest first.
        success_rate: Share of its last runs that succeeded, or None without runs.
        median_seconds: Median duration of its last runs, or None without runs.
        p95_seconds: 95th percentile of the duration of its last runs, or None without runs.
        experiments: Its experiments, newest first.
        changes: Its history, newest first.
        flow: Its data flow, or None where it is not known.
        standings: Where its open experiments stand.
        quality: What is known of its scores, sentence by sentence.
    """

    state: TeamState
    plan: TeamPlan
    mode: str
    runs: Sequence[TeamRun] = field(factory=list)
    success_rate: float | None = None
    median_seconds: float | None = None
    p95_seconds: float | None = None
    experiments: Sequence[ReportedExperiment] = field(factory=list)
    changes: Sequence[Change] = field(factory=list)
    flow: FlowFacts | None = None
    standings: Sequence[Standing] = ()
    quality: Sequence[str] = ()
