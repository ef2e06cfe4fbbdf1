"""From a team's latest runs to suggestions, which of them are worth a test now, and the experiment that tests one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from attrs import asdict

from .. import failsafe
from .._dataflow.verdict import Rules
from .._model.experiment import Allowance, Experiment, TeamState
from .._model.optimization import OptimizationPriority, OptimizationSuggestion, OptimizationType
from .._model.plan import TeamPlan, TeamSpec
from .._model.policy import METRICS, Policy, WatchPolicy
from .._model.price import KeptPrices
from .._model.quantities import DEFAULT_ENVIRONMENT
from .._model.run import CONTROL, Observation
from .hookmanager import HookManager

if TYPE_CHECKING:
    from .._dataflow.verdict import Knowledge
    from .._model.run import TeamRun
    from .._settings import Settings

EVIDENCE_RUNS: Final = 20
"""Runs of a plan after which every built-in strategy has the evidence that it needs.

Telling a useless member from an unlucky one takes the most: 16 runs without a success.
"""

LEAST_CHANCE: Final = 0.10
"""Probability of a proof below which a test does not start."""

_LEAST_SPREAD: Final = 0.01
"""Least log standard deviation of a metric, however alike the last runs were."""

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


def rules_of(knowledge: Knowledge, settings: Settings, runs: Iterable[TeamRun], *, has_scorer: bool) -> Rules:
    """Return which plans may be chosen for a team.

    Args:
        knowledge: What is known of its data flow.
        settings: Its settings.
        runs: Its last runs.
        has_scorer: Whether what comes out is graded by more than the members' own word.
    """
    seconds = (run.duration_seconds for run in runs if run.success)
    return Rules(
        knowledge,
        has_scorer=has_scorer,
        asks_person=settings.mode != "auto",
        longest_seconds=max(seconds, default=None),
    )


def may_be_retried(experiment: Experiment, runs: Sequence[TeamRun], after: int) -> bool:
    """Return whether a change may be tested again: its test was aborted a while ago, which proved nothing.

    Args:
        runs: The team's last comparable runs, newest first.
        after: How many of them must have started since.
    """
    if experiment.status != "aborted" or experiment.ended_at is None or len(runs) < after:
        return False
    return runs[after - 1].started_at > experiment.ended_at


def load_strategies() -> None:
    """Import what suggestions are made with, so that it is not done while the store is locked."""
    from .. import strategies
    from .._analysis.bottlenecks import analyze

    del strategies, analyze


def suggestions(
    spec: TeamSpec,
    plan: TeamPlan,
    runs: Sequence[TeamRun],
    settings: Settings,
    hooks: HookManager,
    knowledge: Knowledge,
) -> list[OptimizationSuggestion]:
    """Return what the strategies suggest for a team, best first.

    Returns:
        Suggestions with at least the wanted improvement and a confidence of 0.6, by priority and then by expected
        improvement times confidence. In mode `auto`, those that only a person may allow are not among them, and in no
        mode those that would take from a member the work that it uses.
    """
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
        TeamConfig.of(spec, plan, settings.limits, knowledge.depends_on),
        names=settings.strategies,
        min_improvement=100 * settings.experiment.minimum_improvement,
        guard=failsafe.guard,
    )
    # In mode `auto` no person is asked.
    allowed = [one for one in found if settings.mode != "auto" or not one.metadata.needs_person]
    return [one for one in allowed if not knowledge.cut_by(plan.merged(one.plan))]


def new_experiment(
    state: TeamState,
    number: int,
    treatment: TeamPlan,
    suggestion: OptimizationSuggestion,
    settings: Settings,
    now: float,
    runs: Sequence[TeamRun] = (),
    *,
    store_id: str,
    allowed_by: Allowance | None = None,
) -> Experiment:
    """Return an experiment that tests a suggestion.

    It is decided by the metric that the suggestion claims to improve, by the settings' where it claims none; the others
    are guardrails in any case. Its seed and its id follow from the team, its definition, the treatment and the number,
    so that the same history gives the same experiment, whichever process judges it.

    Args:
        state: The team's state; its live plan is the control.
        number: How many experiments the team had before.
        now: Unix time, seconds.
        runs: Finished runs under the live plan, which tell how slow each task is.
        store_id: The store it is kept in; experiments of another one have other ids.
        allowed_by: What allows the change.
    """
    from .._model.assignment import ASSIGNMENT_VERSION
    from .._model.policy import METRICS

    claimed = suggestion.metadata.metric
    metric = claimed if claimed in METRICS else settings.experiment.metric
    # The default environment has no name here, so that the tests of an earlier version come out the same.
    where = "" if state.environment == DEFAULT_ENVIRONMENT else f"{state.environment}\n"
    origin = f"{where}{state.workflow}\n{state.team_id}\n{state.fingerprint}\n{treatment.id}\n{number}"
    return Experiment(
        id=hashlib.sha256(f"{store_id}\n{origin}".encode()).hexdigest()[:12],
        workflow=state.workflow,
        team_id=state.team_id,
        fingerprint=state.fingerprint or "",
        strategy=str(suggestion.type),
        description=suggestion.description,
        control=state.plan,
        treatment=treatment,
        seed=hashlib.sha256(origin.encode()).hexdigest()[:16],
        assignment_version=ASSIGNMENT_VERSION,
        policy=policy_of(settings, metric),
        watch_policy=_watch_policy(settings, metric),
        status="running",
        created_at=now,
        code_version=version("victor-autotune-plugin"),
        task_effects=known_tasks(metric, runs),
        environment=state.environment,
        prices=began_with(settings, runs, now),
        allowed_by=allowed_by,
    )


def began_with(settings: Settings, runs: Iterable[TeamRun], now: float) -> KeptPrices:
    """Return the prices that a test which starts now keeps.

    Args:
        runs: Runs of the team, which tell what models it uses.
        now: Unix time, seconds.
    """
    from .._settings.public_prices import prices_to_keep

    return prices_to_keep(settings, (use for run in runs for use in run.tokens), now)


def policy_of(settings: Settings, metric: str | None = None) -> Policy:
    """Return the policy that a team's settings give its tests.

    Args:
        metric: What decides; None for the settings'.
    """
    wanted = asdict(settings.experiment)
    del wanted["min_history"]
    return Policy(**{**wanted, "metric": metric or wanted["metric"]})


def _watch_policy(settings: Settings, metric: str) -> WatchPolicy:
    watch, test = settings.watch, settings.experiment
    return WatchPolicy(
        alpha=watch.alpha,
        metric=metric,
        holdback=watch.holdback,
        max_runs=watch.max_runs,
        success_drop=test.success_margin,
        p95_rise=test.p95_margin,
    )


def reason_to_wait(suggestion: OptimizationSuggestion, runs: Sequence[TeamRun], settings: Settings) -> str | None:
    """Return why a suggestion is not tested now, given the team's last comparable runs, or None for no reason.

    A test occupies a team for dozens of runs, and the next suggestion waits as long. So one that is not urgent does not
    start before every strategy has enough runs, and none starts that changes nothing or could hardly be proven with
    the runs it may have. What a third party's strategy suggests never waits: its evidence is not known here.
    """
    if suggestion.type not in tuple(OptimizationType):
        return None
    if suggestion.metadata.changes_nothing:
        return "no run so far would have reached it, so there is nothing to prove"
    if suggestion.priority not in _URGENT and len(runs) < EVIDENCE_RUNS:
        return f"it is not urgent, and after {EVIDENCE_RUNS} runs of this plan something better may show"
    chance = _chance(suggestion, runs, settings)
    if chance is not None and chance < LEAST_CHANCE:
        most = settings.experiment.max_runs_per_arm
        return f"{most} runs in each arm are only {100 * chance:.0f} % likely to prove it"
    return None


def _chance(suggestion: OptimizationSuggestion, runs: Sequence[TeamRun], settings: Settings) -> float | None:
    """Return the probability that a test proves what is suggested; None where that can't be told."""
    from ..experiment import chance_of_proof, log_spread

    metric, interval = suggestion.metadata.metric, suggestion.metadata.interval_percent
    if metric not in METRICS or metric == "score" or not interval:
        return None
    low, high = sorted(min(float(end) / 100, 0.99) for end in interval)
    try:
        spread = max(log_spread(metric, observed(runs)), _LEAST_SPREAD)
    except ValueError:  # too few runs with a value
        return None
    return chance_of_proof(low, high, spread, policy_of(settings, metric))


def known_tasks(metric: str, runs: Sequence[TeamRun]) -> dict[str, float]:
    """Return the log effect of each task on a metric, from a team's runs before a test.

    Args:
        metric: Primary metric of the test. Nothing is taken off a score.
        runs: Finished runs under one plan, in any order.
    """
    from ..experiment import task_effects

    if metric == "score":
        return {}
    return task_effects(metric, observed(run for run in runs if run.task_key is not None))


def observed(runs: Iterable[TeamRun]) -> list[Observation]:
    """Return what the experiment engine sees of runs outside a test, all of them as control."""
    return [Observation.of(run, index=index, arm=CONTROL) for index, run in enumerate(runs)]
