"""Reads from the store what the experiments of a team say now, and where the open ones stand; nothing is written."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from .judges import feed, new_judge, new_watch, open_tail
from .record import Record
from .snapshot import TESTING
from .standing import Standing, Told, open_ones, standing

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._model.quantities import Arm
    from .._model.run import TeamRun
    from .._settings import Settings
    from ..storage import Store

Detail = Literal["full", "list", "line", "p95"]
"""How much is told of the watch over a proven plan, as to replay years of runs takes half a second: all; all as long as
the P95 of the plan may be open, else `status` and `runs`; never more than these and the `p95`; or the same, without the
runs where they are too many for an open P95."""

_LATEST: Final = 50
"""How many of a team's last runs tell how long its runs take."""


def verdicts(
    store: Store, experiment: Experiment, *, detail: Detail = "full"
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """Return what the test and the watch of an experiment say now, as plain data.

    A verdict that is stored stands; an open test or watch is replayed from its observations.

    Args:
        detail: How much is told of a watch over a proven plan.

    Returns:
        The test's verdict, and the watch's or None where its plan is not verified.
    """
    record = Record(store, (experiment.workflow, experiment.team_id))
    verdict, watched = experiment.verdict, experiment.watch_verdict
    if verdict is None:
        judge = new_judge(experiment)
        feed(judge, record.test_runs(experiment.id))
        verdict = judge.verdict().to_dict()
    if watched is None and experiment.is_verified:
        watched = _watched(store, experiment, record, detail)
    return verdict, watched


def _watched(store: Store, experiment: Experiment, record: Record, detail: Detail) -> Mapping[str, Any]:
    """Return what the watch over a live plan says now."""
    from ..experiment.tail import DEADLINE

    test = cache(lambda: record.test_runs(experiment.id))
    if detail != "full" and experiment.status == "proven":
        if detail == "p95" and store.has_live_runs(experiment.id, experiment.decided_order, DEADLINE):
            return {"status": "watching"}
        counts = live_counts(store, experiment)
        told = {"status": "watching", "runs": counts}
        if sum(counts.values()) >= DEADLINE:
            return told
        if detail in ("line", "p95"):
            seen = open_tail(experiment, test(), lambda: record.live_runs(experiment.id))
            return told if seen is None else {**told, "runs": seen, "p95": "open"}
        if new_watch(experiment, test()).verdict().p95 != "open":
            return told
    watch = new_watch(experiment, test())
    feed(watch, record.live_runs(experiment.id))
    return watch.verdict().to_dict()


def live_counts(store: Store, experiment: Experiment) -> dict[Arm, int]:
    """Return how many runs that ended the watch over a live plan has seen, by arm; see `Store.live_observations`."""
    team = experiment.workflow, experiment.team_id
    later = [one.id for one in store.experiments(*team) if one.control_id == experiment.id]
    return store.live_counts(experiment.id, experiment.decided_order, later)


def standings(
    store: Store,
    state: TeamState,
    settings: Settings,
    runs: Iterable[TeamRun],
    *,
    options: str = "",
    detail: Detail = "full",
    told: Callable[[Store, Experiment], Told] | None = None,
) -> tuple[Standing, ...]:
    """Return where the open experiments of a team stand: what awaits a person first, then a test, then the live plan.

    Args:
        state: The team's state.
        settings: Its settings, with the mode that it ran in last.
        runs: Its last finished runs, newest first; they are only read where something depends on them.
        options: What commands need to find the store, with a space in front.
        detail: As for `verdicts`.
        told: Tells what an experiment says now; None for `verdicts`.
    """
    latest = cache(lambda: list(islice(runs, _LATEST)))
    changes, held = store.changes(*state.key), _holds(state, settings, all_paused=store.identity().paused)
    return tuple(
        standing(
            one,
            state,
            told(store, one) if told is not None else verdicts(store, one, detail=detail),
            changes,
            holds=held,
            refusal=_refusal(store, one, state, settings, latest),
            is_watched=settings.watch.enabled,
            options=options,
        )
        for one in open_ones(state, store.experiments(*state.key))
    )


def _holds(state: TeamState, settings: Settings, *, all_paused: bool) -> str | None:
    """Return why nothing goes on with a team's experiments, in a sentence, or None where things go on."""
    if all_paused:
        return "All tuning is paused: it goes on after `victor autotune resume --all`."
    if state.paused:
        return f"The tuning is paused: it goes on after `victor autotune resume {shlex.quote(state.team_id)}`."
    if settings.mode not in TESTING:
        return f"In mode {settings.mode} it waits; it goes on in auto or approve."
    return "The settings fix the plan: it goes on once `plan` is out of them." if settings.plan is not None else None


def _refusal(
    store: Store, live: Experiment, state: TeamState, settings: Settings, runs: Callable[[], list[TeamRun]]
) -> str | None:
    """Return why nothing allows a live plan of 0.1 by what is known of the data flow now, or None.

    Where a person is asked before a change, a person allowed it.
    """
    if not live.is_verified or live.allowed_by is not None or state.spec is None or settings.mode != "auto":
        return None
    from .._dataflow.verdict import knowledge_of
    from .suggestions import rules_of

    knowledge = knowledge_of(store.data_flow(*state.key), state.spec, settings)
    rules = rules_of(knowledge, settings, runs(), state, store.experiments(*state.key), store.changes(*state.key))
    return rules.refusal(live.treatment, live.control)
