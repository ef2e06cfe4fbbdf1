"""What a plan brought, *was → now*: figures of the plan before and of the new one, from runs of the same time.

Runs are compared within the blocks that they were assigned in, so that a provider that became slower, or harder tasks,
strike both plans alike. Runs since the promotion come first, where there are enough of the plan before: no test chose
them by their height. Else it is the runs of the test, with the effect that its verdict tells, which is corrected for
that choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import asdict, evolve, frozen

from .._model.experiment import STATES, Experiment, TeamState
from .blockwise import blocks_of, contrast, counts, not_measured_since, weights

if TYPE_CHECKING:
    from ..storage import Store
    from ..storage.arm_runs import ArmRuns, Marks, Numbers, Places

FIGURES: Final = ("duration", "cost", "tokens", "score", "success")
"""What is told of a plan, in this order."""

RELATIVE: Final = ("duration", "cost", "tokens")
"""Figures whose change is relative, and that are better when they are smaller; of the others it is a difference."""

FEWEST_BLOCKS: Final = 5
"""Blocks with runs of both plans since the promotion from which on they, and not the test, tell what a plan brought."""

_COLUMNS: Final = {
    "duration": "durations",
    "cost": "costs",
    "tokens": "tokens",
    "score": "scores",
    "success": "succeeded",
}

Basis = Literal["since_promotion", "test"]
"""Which runs an outcome is from: `since_promotion`, or those of the `test`."""


@frozen
class WasNow:
    """One figure of the plan before, and of the new one.

    Attributes:
        name: One of `FIGURES`.
        was: Of the plan before: the median of `duration` in seconds, of `cost` in US dollars and of `tokens`, prompt
            and completion, all models; the mean of `score` and of `success`, from 0 to 1. Blocks count alike in both
            plans.
        now: The same of the new plan.
        change: Typical change within a block, from the plan before to the new one: relative of `RELATIVE` (-0.2 is
            20 % less), else the difference. None for too few runs.
        low: Lower end of its 95 % interval, or None. A test's own metric has the interval of its verdict, which holds
            at every look; the others are intervals of one look.
        high: Upper end, or None.
        chance_better: How sure it is that the new plan is better, from 0 to 1, with nothing known before; None for too
            few runs.
    """

    name: str
    was: float | None
    now: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    chance_better: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


@frozen
class PlanOutcome:
    """What the plan of an experiment brought, compared with the plan before.

    Attributes:
        experiment_id: The experiment.
        description: The change in a line for people.
        status: Where the experiment is, one of `STATES`.
        is_live: Whether its plan is the team's live plan.
        since: Unix time since which its plan is live, or of the start of its test.
        metric: The metric that its test is about.
        basis: Which runs it is from; None where nothing was measured.
        runs: Runs that were compared, by arm: `control` is the plan before.
        first_at: Unix time of the first of them, or None.
        last_at: Unix time of the last of them, or None.
        not_measured_since: Unix time since which the plan is live without a run of the plan before to compare it with;
            None where there is one, or the plan is not live.
        figures: The figures that are known, in the order of `FIGURES`.
    """

    experiment_id: str
    description: str
    status: str
    is_live: bool
    since: float
    metric: str
    basis: Basis | None = None
    runs: Mapping[str, int] = {}
    first_at: float | None = None
    last_at: float | None = None
    not_measured_since: float | None = None
    figures: tuple[WasNow, ...] = ()

    def figure(self, name: str) -> WasNow | None:
        """Return one of the figures, or None where it is not known."""
        return next((one for one in self.figures if one.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data = asdict(self, recurse=False)
        return {**data, "runs": dict(self.runs), "figures": [one.to_dict() for one in self.figures]}


def live_outcome(store: Store, state: TeamState) -> PlanOutcome | None:
    """Return what a team's live plan brought, or so far what the plan of its open test would; None without either.

    Args:
        store: The store.
        state: The team's state.
    """
    from .._tuning.present_state import verdicts

    found = store.experiment(state.live_id or state.experiment_id or "")
    if found is None or not (found.takes_runs or STATES[found.status].is_live):
        return None
    told = verdicts(store, found)[0] if found.verdict is None and not found.is_untested else found.verdict
    return outcomes(store, [found], {found.id: told}).get(found.id)


def outcomes(
    store: Store, experiments: Iterable[Experiment], told: Mapping[str, Mapping[str, Any] | None] | None = None
) -> dict[str, PlanOutcome]:
    """Return what the plans of some experiments brought, by the experiment's id; all runs are read at once.

    Args:
        store: The store.
        experiments: The experiments.
        told: What their tests say now, as plain data, by id; of those that it leaves out the stored verdict counts.
    """
    chosen = {one.id: one for one in experiments}
    proofs = {one.id: proof for one in chosen.values() if (proof := _proof_of(store, one)) is not None}
    runs = store.arm_runs([*chosen, *(one.id for one in proofs.values())])
    said = told or {}
    return {
        one.id: outcome_of(
            one,
            runs.get(one.id),
            said.get(one.id, one.verdict),
            proof=proofs.get(one.id),
            proof_runs=runs.get(proofs[one.id].id) if one.id in proofs else None,
        )
        for one in chosen.values()
    }


def _proof_of(store: Store, one: Experiment) -> Experiment | None:
    """Return the experiment whose test proved this one's plan against the same plan before, where another did."""
    found = None if one.verdict is not None or one.proven_by is None else store.experiment(one.proven_by)
    same = found is not None and (found.control, found.treatment) == (one.control, one.treatment)
    return found if same else None


def outcome_of(
    experiment: Experiment,
    runs: ArmRuns | None,
    verdict: Mapping[str, Any] | None = None,
    *,
    proof: Experiment | None = None,
    proof_runs: ArmRuns | None = None,
) -> PlanOutcome:
    """Return what the plan of an experiment brought.

    Args:
        experiment: The experiment.
        runs: Its runs; None without one.
        verdict: What its test says, as plain data; None where it had none.
        proof: Another experiment whose test proved the same change; None where there is none.
        proof_runs: Its runs.
    """
    is_live = STATES[experiment.status].is_live
    made = PlanOutcome(
        experiment_id=experiment.id,
        description=experiment.description,
        status=experiment.status,
        is_live=is_live,
        since=(experiment.promoted_at if is_live else None) or experiment.created_at,
        metric=experiment.policy.metric,
        not_measured_since=not_measured_since(experiment, runs) if is_live else None,
    )
    if runs is not None and runs.verified.any():
        since = runs.where(runs.verified)
        block = blocks_of(since, experiment.watch_policy.holdback)
        if _shared(block, since.treated) >= FEWEST_BLOCKS:
            return _with_figures(made, "since_promotion", since, block, None)
    tested, test, says = runs, experiment, verdict
    if proof is not None and proof_runs is not None:
        tested, test, says = proof_runs, proof, proof.verdict
    if tested is None or says is None or tested.verified.all():
        return made
    tested = tested.where(~tested.verified)
    # A sticky task keeps its arm, so no block has both: the test is one block, and the verdict alone has an interval.
    block = tested.position * 0 if test.policy.sticky else blocks_of(tested, test.watch_policy.holdback)
    return _with_figures(made, "test", tested, block, says)


def _shared(block: Places, treated: Marks) -> int:
    n, m = counts(treated, block)
    return int(((n > 0) & (m > 0)).sum())


def _with_figures(
    made: PlanOutcome, basis: Basis, runs: ArmRuns, block: Places, verdict: Mapping[str, Any] | None
) -> PlanOutcome:
    sizes = counts(runs.treated, block)
    weight = weights(runs.treated, block, sizes)
    both = weight > 0
    if not both.any():
        return made
    if not both.all():
        runs, block = runs.where(both), block[both]
        sizes = counts(runs.treated, block)
        weight = weights(runs.treated, block, sizes)
    treated = int(runs.treated.sum())
    figures = (_figure(name, getattr(runs, _COLUMNS[name]), runs.treated, block, sizes, weight) for name in FIGURES)
    known = [one for one in figures if one is not None]
    return evolve(
        made,
        basis=basis,
        runs={"control": len(runs) - treated, "treatment": treated},
        first_at=float(runs.started_at.min()),
        last_at=float(runs.started_at.max()),
        figures=tuple(one if verdict is None else _as_told(one, verdict) for one in known),
    )


def _figure(
    name: str, values: Numbers, treated: Marks, block: Places, sizes: tuple[Numbers, Numbers], weight: Numbers
) -> WasNow | None:
    import numpy as np

    known = ~np.isnan(values)
    if not known.any():
        return None
    if not known.all():
        values, treated, block = values[known], treated[known], block[known]
        sizes = counts(treated, block)
        weight = weights(treated, block, sizes)
    if not weight.any():
        return None
    is_share = name not in RELATIVE
    middle = np.average if is_share else _median
    was, now = (float(middle(values[arm], weights=weight[arm])) for arm in (~treated, treated))
    if not is_share and not (values > 0).all():
        return WasNow(name, was, now)  # a relative change from 0 has no size
    found = contrast(values if is_share else np.log(values), treated, block, sizes)
    if found is None:
        return WasNow(name, was, now)
    (low, high), chance = found.interval, found.chance_positive
    if is_share:
        return WasNow(name, was, now, found.value, low, high, chance)
    return WasNow(name, was, now, math.expm1(found.value), math.expm1(low), math.expm1(high), 1 - chance)


def _median(values: Numbers, weights: Numbers) -> float:
    """Return the weighted median: the mean of the two in the middle where the weights are halved between them."""
    import numpy as np

    order = np.argsort(values)
    ordered, total = values[order], np.cumsum(weights[order])
    half = total[-1] / 2
    first, last = np.searchsorted(total, (half * (1 - 1e-9), half * (1 + 1e-9)))
    return float(ordered[first] + ordered[min(int(last), len(ordered) - 1)]) / 2


def _as_told(one: WasNow, verdict: Mapping[str, Any]) -> WasNow:
    """Return a figure with the effect that a test's verdict tells of it, which is corrected for when the test ended."""
    if one.name != verdict.get("metric"):
        return one
    effect, (low, high) = verdict.get("effect"), verdict.get("interval") or (None, None)
    base = 1.0 if one.name in RELATIVE else one.was
    if effect is None or base is None:
        return evolve(one, change=None, low=None, high=None, chance_better=verdict.get("chance_better"))
    change, low, high = (None if end is None else end * base for end in (effect, low, high))
    return evolve(one, change=change, low=low, high=high, chance_better=verdict.get("chance_better"))
