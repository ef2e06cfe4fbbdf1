"""Makes the experiments of a team: of a suggestion to test, or of a plan that is live and to be verified."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from attrs import asdict

from .._model.assignment import ASSIGNMENT_VERSION, pairs_within_tasks
from .._model.experiment import Allowance, Experiment, TeamState
from .._model.known_formations import WITHOUT_OWN_CALLS
from .._model.plan import TeamPlan
from .._model.policy import METRICS, MORE_IS_BETTER, SIGNED_RANK, Policy, WatchPolicy
from .._model.price import KeptPrices
from .._model.quantities import DEFAULT_ENVIRONMENT
from .suggestions import observed

if TYPE_CHECKING:
    from .._model.optimization import OptimizationSuggestion
    from .._model.run import TeamRun
    from .._settings import Settings

EXPECTED_RUNS: Final = 120
"""Runs, both arms, that a test of a gain of 30 % takes at a log standard deviation of 0.7."""


def new_test(
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
    improvements: Mapping[str, float] | None = None,
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
        improvements: Relative improvements that are expected of it, by metric; the test bets on them.
    """
    claimed = suggestion.metadata.metric
    metric = decided_by(claimed if claimed in METRICS else settings.experiment.metric, is_scored=bool(state.gates))
    tasks = {run.task_key for run in runs if run.task_key is not None}
    return experiment_of(
        state,
        number,
        state.plan,
        treatment,
        settings,
        now,
        strategy=str(suggestion.type),
        description=suggestion.description,
        policy=policy_of(
            settings,
            metric,
            is_scored=bool(state.gates),
            pair_tasks=not tasks or pairs_within_tasks(len(tasks), EXPECTED_RUNS),
            adds_no_calls=allowed_by == "data_flow" and _adds_no_calls(state, treatment),
            forecast=_log_gain((improvements or {}).get(metric), metric),
        ),
        store_id=store_id,
        task_effects=known_tasks(metric, runs),
        bad_before=(sum(not run.success or run.timed_out for run in runs), len(runs)),
        prices=began_with(settings, runs, now),
        allowed_by=allowed_by,
        control_id=state.live_id,
    )


def experiment_of(
    state: TeamState,
    number: int,
    control: TeamPlan,
    treatment: TeamPlan,
    settings: Settings,
    now: float,
    *,
    strategy: str,
    description: str,
    policy: Policy,
    store_id: str,
    **others: object,
) -> Experiment:
    """Return an experiment of a team, a draft; arguments are as for `new_test`, and further attributes of it."""
    # The default environment has no name here, so that the tests of an earlier version come out the same.
    where = "" if state.environment == DEFAULT_ENVIRONMENT else f"{state.environment}\n"
    origin = f"{where}{state.workflow}\n{state.team_id}\n{state.fingerprint}\n{treatment.id}\n{number}"
    return Experiment(
        id=hashlib.sha256(f"{store_id}\n{origin}".encode()).hexdigest()[:12],
        workflow=state.workflow,
        team_id=state.team_id,
        fingerprint=state.fingerprint or "",
        strategy=strategy,
        description=description,
        control=control,
        treatment=treatment,
        seed=hashlib.sha256(origin.encode()).hexdigest()[:16],
        assignment_version=ASSIGNMENT_VERSION,
        policy=policy,
        watch_policy=_watch_policy(settings, policy),
        status="draft",
        created_at=now,
        code_version=version("victor-autotune-plugin"),
        environment=state.environment,
        promotion=settings.promotion,
        gates=state.gates if policy.scored else (),
        **others,  # type: ignore[arg-type]  # attributes by name
    )


def began_with(settings: Settings, runs: Iterable[TeamRun], now: float) -> KeptPrices:
    """Return the prices that a test which starts now keeps.

    Args:
        runs: Runs of the team, which tell what models it uses.
        now: Unix time, seconds.
    """
    from .._settings.public_prices import prices_to_keep

    return prices_to_keep(settings, (use for run in runs for use in run.tokens), now)


def decided_by(metric: str, *, is_scored: bool) -> str:
    """Return what decides a test that is about a metric: without a scorer, success is all that is known of a score."""
    return "success" if metric == "score" and not is_scored else metric


def policy_of(
    settings: Settings,
    metric: str | None = None,
    *,
    is_scored: bool = False,
    pair_tasks: bool = True,
    adds_no_calls: bool = False,
    forecast: float | None = None,
) -> Policy:
    """Return the policy that a team's settings give its tests.

    Args:
        metric: What decides; None for the settings'.
        is_scored: Whether scorers decide how good the team's work is.
        pair_tasks: Whether a task that comes again is paired within itself.
        adds_no_calls: Whether the treatment is known to call models and tools no more than the control does.
        forecast: Log gain that the test bets on; None for no bet.
    """
    wanted = asdict(settings.experiment)
    del wanted["min_history"]
    metric = decided_by(metric or wanted["metric"], is_scored=is_scored)
    others = {
        "metric": metric,
        "rule": SIGNED_RANK,
        "pair_tasks": pair_tasks,
        "scored": is_scored,
        "adds_no_calls": adds_no_calls,
        "forecast": forecast,
    }
    return Policy(**{**wanted, **others})


def _adds_no_calls(state: TeamState, treatment: TeamPlan) -> bool:
    """Return whether a layout that keeps what each member does calls no model besides."""
    configured = None if state.spec is None else state.spec.formation
    formation = treatment.formation or configured
    return treatment.sub_teams is not None or formation in WITHOUT_OWN_CALLS


def _log_gain(improvement: float | None, metric: str) -> float | None:
    """Return an expected relative improvement as a log gain; None without one."""
    if improvement is None or metric in MORE_IS_BETTER or not 0 < improvement < 1:
        return None
    return -math.log1p(-improvement)


def _watch_policy(settings: Settings, policy: Policy) -> WatchPolicy:
    test = settings.experiment
    return WatchPolicy(
        metric=policy.metric,
        scored=policy.scored,
        holdback=settings.watch.holdback,
        success_drop=test.success_margin,
        p95_rise=test.p95_margin,
    )


def known_tasks(metric: str, runs: Sequence[TeamRun]) -> dict[str, float]:
    """Return the log effect of each task on a metric, from a team's runs before a test.

    Args:
        metric: Primary metric of the test. Nothing is taken off a score, or off success.
        runs: Finished runs under one plan, in any order.
    """
    from ..experiment import task_effects

    if metric in MORE_IS_BETTER:
        return {}
    return task_effects(metric, observed(run for run in runs if run.task_key is not None))
