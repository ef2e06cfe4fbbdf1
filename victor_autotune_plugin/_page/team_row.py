"""A team as a row of the overview: its state, what awaits a person, what its plan brought, and how it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict

from .._model.text import plan_text
from .._tuning.standing import Standing, Told
from .figure_words import basis_text, is_known, shown_figures, sure_text
from .outcome import outcomes
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

Waits = Callable[[Standing, Sequence[float], "PlanOutcome | None"], tuple[str, str] | None]
"""Tells how long a standing has awaited a person, and what that costs, in two sentences; None where it does not.

It is given the standing, the times at which the last runs started, and what its test has measured.
"""


def _no_wait(_standing: Standing, _started: Sequence[float], _outcome: PlanOutcome | None) -> None:
    return None


def team_row(
    key: tuple[str, str],
    runs: Sequence[ListedRun],
    state: TeamState,
    settings: Settings,
    stands: Sequence[Standing],
    brought: Mapping[str, PlanOutcome],
    *,
    all_paused: bool = False,
    mode_told: str | None = None,
    waits: Waits = _no_wait,
) -> dict[str, Any]:
    """Return the row of a team as plain data.

    Args:
        key: Workflow and team id.
        runs: Its runs, oldest first.
        state: Its state.
        settings: Its settings, in the mode that it ran in last.
        stands: Where its open experiments stand, what awaits a person first.
        brought: What the plans of its open experiments brought, by the experiment's id.
        all_paused: Whether all tuning is paused.
        mode_told: Which mode is set and which its last run had, in a sentence, where they differ.
        waits: Tells how long something has awaited a person, and what that costs.
    """
    ended = measured(runs[-FIGURE_RUNS:])
    times = sorted(run.seconds for run in ended if run.seconds is not None)
    plan = state.plan if settings.plan is None or settings.mode in ("off", "observe") else settings.plan
    first = stands[0] if stands else None
    paused = state.paused or all_paused
    outcome = brought.get(state.live_id or "") or brought.get(state.experiment_id or "")
    started = [run.started_at for run in runs[-FIGURE_RUNS:]]
    return {
        "workflow": key[0],
        "team": key[1],
        "mode": settings.mode,
        "mode_told": mode_told,
        "paused": paused,
        "plan": plan_text(plan),
        "state": state_of(first, paused=paused, mode=settings.mode),
        "next": list(first.next) if first is not None else [],
        "runs_to_next": None if first is None else first.runs,
        "at_most": first is not None and first.at_most,
        "awaits": [
            _awaits(one, waits(one, started, brought.get(one.experiment.id)))
            for one in stands
            if one.decision is not None
        ],
        "outcome": None if outcome is None else _outcome(outcome),
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


def _outcome(outcome: PlanOutcome) -> dict[str, Any]:
    return {
        **outcome.to_dict(),
        "figures": [
            {**one.to_dict(), "sure": sure_text(one), "unknown": not is_known(one)} for one in shown_figures(outcome)
        ],
        "basis_told": basis_text(outcome),
    }


def _awaits(one: Standing, waited: tuple[str, str] | None) -> dict[str, Any]:
    assert one.decision is not None
    return {
        **asdict(one.decision),
        "since": one.since,
        "waited": None if waited is None else list(waited),
        "description": one.experiment.description,
        "before": plan_text(one.experiment.control),
        "after": plan_text(one.experiment.treatment),
    }


def stands_of(
    store: Store,
    state: TeamState,
    settings: Settings,
    experiments: Sequence[Experiment],
    told: Callable[[Store, Experiment], Told],
    options: str = "",
) -> tuple[Standing, ...]:
    """Return where the open experiments of a team stand; see `present_state.standings`.

    Args:
        experiments: All experiments of the team.
        told: Tells what the test and the watch of one say now.
        options: What commands need to find the store, with a space in front.
    """
    from .._tuning.present_state import standings

    if not any(not one.has_ended for one in experiments):
        return ()
    runs = store.finished_runs(*state.key, limit=NOTES_RUNS)
    return standings(store, state, settings, runs, options=options, told=told)


def outcomes_of(store: Store, stands: Sequence[Standing]) -> dict[str, PlanOutcome]:
    """Return what the plans of open experiments brought, by the experiment's id."""
    told = {one.experiment.id: one.told[0] for one in stands}
    return outcomes(store, [one.experiment for one in stands if one.experiment.takes_runs], told)
