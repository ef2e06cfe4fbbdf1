"""A team as a row of the overview: its state, what awaits a person, what its plan brought, and how it does."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, evolve

from .._model.text import plan_text
from .._tuning.standing import Standing
from .outcome import live_outcome
from .run_series import measured, short, spark

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._settings import Settings
    from ..storage import Store
    from ..storage.run_listing import ListedRun
    from .outcome import PlanOutcome

FIGURE_RUNS: Final = 1_000
"""How many of a team's last runs its figures are made from."""

NOTES_RUNS: Final = 50
"""How many whole runs are read to see where a team stands."""

_KINDS: Final = {
    "proven": "good",
    "awaits_approval": "asks",
    "awaits_promotion": "asks",
    "reverifying": "unsure",
    "draft": "idle",
}
"""How a state is coloured; every other open one is `open`."""


def team_row(
    key: tuple[str, str],
    runs: Sequence[ListedRun],
    state: TeamState,
    settings: Settings,
    stands: Sequence[Standing],
    outcome: PlanOutcome | None,
    *,
    all_paused: bool = False,
) -> dict[str, Any]:
    """Return the row of a team as plain data.

    Args:
        key: Workflow and team id.
        runs: Its runs, oldest first.
        state: Its state.
        settings: Its settings, in the mode that it ran in last.
        stands: Where its open experiments stand, what awaits a person first.
        outcome: What its live plan brought; None where nothing tells.
        all_paused: Whether all tuning is paused.
    """
    ended = measured(runs[-FIGURE_RUNS:])
    times = sorted(run.seconds for run in ended if run.seconds is not None)
    plan = state.plan if settings.plan is None or settings.mode in ("off", "observe") else settings.plan
    first = stands[0] if stands else None
    paused = state.paused or all_paused
    return {
        "workflow": key[0],
        "team": key[1],
        "mode": settings.mode,
        "paused": paused,
        "plan": plan_text(plan),
        "state": state_of(first, paused=paused, mode=settings.mode),
        "next": list(first.next) if first is not None else [],
        "runs_to_next": None if first is None else first.runs,
        "at_most": first is not None and first.at_most,
        "awaits": [_awaits(one) for one in stands if one.decision is not None],
        "outcome": None if outcome is None else outcome.to_dict(),
        "runs": len(runs),
        "running": sum(run.status == "running" for run in runs[-NOTES_RUNS:]),
        "success": short(sum(bool(run.succeeded) for run in ended) / len(ended)) if ended else None,
        "median": short(median(times)) if times else None,
        "p95": short(times[min(len(times) - 1, int(0.95 * len(times)))]) if times else None,
        "last_at": runs[-1].started_at if runs else None,
        "spark": spark(runs),
    }


def state_of(first: Standing | None, *, paused: bool, mode: str) -> dict[str, Any]:
    """Return the state of a team in words, its kind for the colour, and since when it is so.

    Args:
        first: Where the first of its open experiments stands, or None.
        paused: Whether its tuning is paused.
        mode: Its mode.
    """
    if first is None:
        title = "paused" if paused else "observed" if mode in ("off", "observe") else "no open test"
        return {"title": title, "kind": "idle", "since": None, "name": None}
    kind = "asks" if first.decision is not None else _KINDS.get(first.state, "open")
    return {"title": first.title, "kind": kind, "since": first.since, "name": first.state}


def _awaits(one: Standing) -> dict[str, Any]:
    assert one.decision is not None
    return {
        **asdict(one.decision),
        "since": one.since,
        "description": one.experiment.description,
        "before": plan_text(one.experiment.control),
        "after": plan_text(one.experiment.treatment),
    }


def stands_of(
    store: Store, state: TeamState, settings: Settings, experiments: Sequence[Experiment], options: str = ""
) -> tuple[Standing, ...]:
    """Return where the open experiments of a team stand; see `present_state.standings`.

    Args:
        experiments: All experiments of the team.
        options: What commands need to find the store, with a space in front.
    """
    from .._tuning.present_state import standings

    if not any(not one.has_ended for one in experiments):
        return ()
    runs = list(store.finished_runs(*state.key, limit=NOTES_RUNS))
    return standings(store, state, settings, runs, options=options)


def outcome_of_team(store: Store, state: TeamState) -> PlanOutcome | None:
    """Return what a team's live plan brought, or the plan in its open test; None where nothing tells."""
    return live_outcome(store, state) if state.live_id or state.experiment_id else None


def settings_of(settings: Settings, runs: Sequence[ListedRun]) -> Settings:
    """Return the settings of a team in the mode of its last run, since the workflow's own metadata count."""
    return evolve(settings, mode=runs[-1].mode) if runs and runs[-1].mode else settings
