"""From a team's latest runs to suggestions, and which of them are worth a test now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from .. import failsafe
from .._dataflow.verdict import Rules
from .._model.experiment import Change, Experiment, TeamState
from .._model.optimization import OptimizationPriority, OptimizationSuggestion, OptimizationType
from .._model.run import CONTROL, Observation
from .hookmanager import HookManager
from .worse_work import layout_with_worse_work

if TYPE_CHECKING:
    from .._dataflow.verdict import Knowledge
    from .._model.run import TeamRun
    from .._settings import Settings
    from .tuner_cache import TeamRecord

EVIDENCE_RUNS: Final = 20
"""Runs of a plan after which every built-in strategy has the evidence that it needs.

Telling a useless member from an unlucky one takes the most: 16 runs without a success.
"""

_URGENT: Final = (OptimizationPriority.CRITICAL, OptimizationPriority.HIGH)

TASK_RUNS: Final = 500
"""How many of a team's last runs tell, when a test starts, how slow each task is."""


def comparable(runs: Sequence[TeamRun], state: TeamState) -> list[TeamRun]:
    """Return the latest runs of a team as it is now: same definition, live plan, no knob of another owner.

    Cancelled ones are left out.

    Args:
        runs: Its finished runs, newest first.
    """
    latest = []
    for run in runs:
        if run.cancelled or run.owners:
            continue
        if run.spec.fingerprint() != state.fingerprint:
            break
        if run.plan_asked == state.plan:
            latest.append(run)
    return latest


def rules_of(
    knowledge: Knowledge,
    settings: Settings,
    runs: Iterable[TeamRun],
    state: TeamState,
    experiments: Iterable[Experiment],
    changes: Iterable[Change],
) -> Rules:
    """Return which plans may be chosen for a team.

    Args:
        knowledge: What is known of its data flow.
        settings: Its settings.
        runs: Its last runs.
        state: Its state, which tells what scorers decide.
        experiments: Its experiments.
        changes: Its history.
    """
    seconds = (run.duration_seconds for run in runs if run.success)
    return Rules(
        knowledge,
        has_scorer=bool(state.gates),
        asks_person=settings.mode != "auto",
        longest_seconds=max(seconds, default=None),
        disproved=layout_with_worse_work(experiments, changes, state),
    )


def may_be_retried(experiment: Experiment, runs: Sequence[TeamRun], after: int) -> bool:
    """Return whether a change may be tested again: its test was broken off a while ago, which proved nothing.

    One whose scorer decided no more is inconclusive, and was not decided.

    Args:
        runs: The team's last comparable runs, newest first.
        after: How many of them must have started since.
    """
    is_undecided = experiment.status == "inconclusive" and experiment.decided_at is None
    if not (experiment.status == "aborted" or is_undecided) or experiment.ended_at is None or len(runs) < after:
        return False
    return runs[after - 1].started_at > experiment.ended_at


def suggestions(team: TeamRecord, runs: Sequence[TeamRun], hooks: HookManager) -> list[OptimizationSuggestion]:
    """Return what the strategies suggest for a team, best first.

    Args:
        team: The team.
        runs: Its last comparable runs, newest first.
        hooks: Those that may add strategies.

    Returns:
        Suggestions with at least the wanted improvement and a confidence of 0.6, by priority and then by expected
        improvement times confidence. In mode `auto`, those that only a person may allow are not among them, and in no
        mode those that would take from a member the work that it uses.
    """
    spec, plan, settings, knowledge = team.spec, team.state.plan, team.settings, team.rules.knowledge
    if not settings.strategies:
        return []
    from .._analysis.bottlenecks import analyze
    from .._analysis.run_history import RunHistory
    from ..strategies import BUILT_IN
    from ..strategies.base import rank
    from ..strategies.config import TeamConfig

    history = RunHistory(runs)
    used = plan.formation or spec.formation
    insights = analyze(history, spec=spec, formation=None if plan.sub_teams else used) if len(history) else []
    strategies = [*BUILT_IN]
    for answer in hooks.answers("add_strategies"):
        strategies.extend(answer.value)
    found = rank(
        strategies,
        insights,
        TeamConfig.of(spec, plan, settings.limits, knowledge.depends_on, is_scored=bool(team.state.gates)),
        names=settings.strategies,
        min_improvement=100 * settings.experiment.minimum_improvement,
        guard=failsafe.guard,
    )
    # In mode `auto` no person is asked.
    allowed = [one for one in found if settings.mode != "auto" or not one.metadata.needs_person]
    return [one for one in allowed if not knowledge.cut_by(plan.merged(one.plan))]


def reason_to_wait(suggestion: OptimizationSuggestion, runs: Sequence[TeamRun]) -> str | None:
    """Return why a suggestion is not tested now, given the team's comparable runs, newest first, or None for no reason.

    A test occupies a team for dozens of runs, and the next suggestion waits as long. So one that is not urgent does not
    start before every strategy has enough runs, and none starts that changes nothing. What a third party's strategy
    suggests never waits: its evidence is not known here.
    """
    if suggestion.type not in tuple(OptimizationType):
        return None
    if suggestion.metadata.changes_nothing:
        return "no run so far would have reached it, so there is nothing to prove"
    if suggestion.priority not in _URGENT and len(runs) < EVIDENCE_RUNS:
        return f"it is not urgent, and after {EVIDENCE_RUNS} runs of this plan something better may show"
    return None


def observed(runs: Iterable[TeamRun]) -> list[Observation]:
    """Return what the experiment engine sees of runs outside a test, all of them as control."""
    return [Observation.of(run, index=index, arm=CONTROL) for index, run in enumerate(runs)]
