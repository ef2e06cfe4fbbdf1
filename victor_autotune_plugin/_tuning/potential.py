"""What could be saved a week on a team, what that rests on, and what is missing to know more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, evolve, field, frozen

from .._dataflow.verdict import LEAST_TO_TEST, knowledge_of
from .._model.text import count, plan_text
from .next_test import HISTORY_RUNS, advice
from .opened_by_scorer import Opened
from .suggestions import comparable

if TYPE_CHECKING:
    from .._dataflow.verdict import Knowledge
    from .._model.experiment import TeamState
    from .._model.run import TeamRun
    from .._settings import Settings
    from .._tuner import Outlook
    from ..storage import Store
    from .hookmanager import HookManager

DAY_SECONDS: Final = 24 * 3600.0

RECENT_DAYS: Final = 28
"""How far back runs tell how often a team runs."""

LEAST_RUNS: Final = 5
"""Runs from which something is told of a team."""

Range = tuple[float, float, float]
"""Expected, and the ends of the 90 % interval."""


@frozen
class Potential:
    """What could be saved on a team. What is not known is None.

    Attributes:
        workflow: The team's workflow.
        team_id: The team.
        runs_per_week: How often it runs.
        plan: The best change that may be made now, in words.
        improvement: Relative improvement of its duration: 0.2 is 20 % less.
        seconds_per_week: Seconds that it would save a week.
        cost_improvement: The same of its cost; None without a price.
        usd_per_week: US dollars that it would save a week.
        because: Why there is no such change; None where there is one.
        rests_on: What the figures rest on, in clauses.
        missing: What would tell more, or open more, each with the setting or command that gives it.
        opened: Changes that a scorer would open, best first.
        is_tested: Whether an experiment is open on it now.
    """

    workflow: str
    team_id: str
    runs_per_week: float | None = None
    plan: str | None = None
    improvement: Range | None = None
    seconds_per_week: Range | None = None
    cost_improvement: Range | None = None
    usd_per_week: Range | None = None
    because: str | None = None
    rests_on: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    opened: tuple[Opened, ...] = field(default=())
    is_tested: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {**asdict(self, recurse=False), "opened": [one.to_dict() for one in self.opened]}


def potential_of(
    store: Store, state: TeamState, settings: Settings, hooks: HookManager, now: float | None = None
) -> Potential:
    """Return what could be saved on a team, whatever its mode is: what mode `auto` would do with it.

    Args:
        now: Unix time, seconds; None for the present.

    Raises:
        StoreError: If the store can't be used.
    """
    spec = state.spec
    if spec is None:
        return Potential(*state.key, because="No run of this team has been recorded yet.")
    runs = list(store.finished_runs(*state.key, limit=200))
    weekly = _runs_per_week(runs, time.time() if now is None else now)
    knowledge = knowledge_of(store.data_flow(*state.key), spec, settings)
    as_auto = evolve(settings, mode="auto")
    found = advice(store, state, as_auto, hooks)
    here = comparable(runs, state)
    missing = tuple(_missing(state, settings, knowledge, here))
    known = Potential(*state.key, weekly, missing=missing, opened=found.opened_by_scorer)
    if len(here) < LEAST_RUNS:
        return evolve(known, because=f"Only {count(len(here), 'run')} of the live plan so far.")
    if found.outlook is not None:
        return _told(evolve(known, is_tested=True), found.outlook.outlook, here, knowledge)
    proposal = found.proposal
    if proposal is None or proposal.chosen is None:
        return evolve(known, because=None if proposal is None else proposal.nothing_because)
    return _told(known, proposal.chosen, here, knowledge)


def _told(known: Potential, chosen: Outlook, runs: Sequence[TeamRun], knowledge: Knowledge) -> Potential:
    duration, cost = chosen.effects["duration"], chosen.effects.get("cost")
    seconds = median(run.duration_seconds for run in runs)
    prices = [run.cost_usd for run in runs if run.cost_usd is not None]
    usd = median(prices) if prices else None
    return evolve(
        known,
        plan=plan_text(chosen.plan),
        improvement=duration,
        seconds_per_week=_times(duration, known.runs_per_week, seconds),
        cost_improvement=cost if usd is not None else None,
        usd_per_week=None if cost is None or usd is None else _times(cost, known.runs_per_week, usd),
        rests_on=tuple(_rests_on(chosen, runs, knowledge)),
    )


def _times(effect: Range, weekly: float | None, each: float) -> Range | None:
    if weekly is None:
        return None
    expected, low, high = (value * weekly * each for value in effect)
    return expected, low, high


def _runs_per_week(runs: Sequence[TeamRun], now: float) -> float | None:
    """Return how often a team ran in the last weeks; a team that has run for less than a day counts as for a day."""
    recent = [run for run in runs if run.started_at > now - RECENT_DAYS * DAY_SECONDS]
    if len(recent) < LEAST_RUNS:
        return None
    days = max((now - min(run.started_at for run in recent)) / DAY_SECONDS, 1.0)
    return 7 * len(recent) / days


def _rests_on(chosen: Outlook, runs: Sequence[TeamRun], knowledge: Knowledge) -> Iterator[str]:
    timed = sum(any(member.duration_seconds > 0 for member in run.members) for run in runs[:HISTORY_RUNS])
    if timed:
        yield f"a replay of the members' times in {count(timed, 'run')}"
    if knowledge.declared == "independent":
        yield "structure: the settings say that no member uses another's work"
    elif knowledge.verdict == "independent":
        yield f"structure: in {count(knowledge.runs, 'run')} no member used another's work"
    if chosen.runs_behind:
        yield f"{count(chosen.runs_behind, 'run')} of this plan itself"
    yield "the shipped prior" if timed else "the shipped prior alone: no member's time was recorded"


def _missing(state: TeamState, settings: Settings, knowledge: Knowledge, runs: Sequence[TeamRun]) -> Iterator[str]:
    if knowledge.is_due_soon:
        yield f"{count(LEAST_TO_TEST - knowledge.runs, 'more run')} as configured, to know who uses whose work"
    elif not knowledge.is_whole or knowledge.verdict == "unknown":
        yield "a declared data flow (setting dataflow): who uses whose work can't be seen"
    if not state.gates:
        yield "a scorer (settings quality.scorers): without one nothing is changed that may change the work"
    if settings.plan is not None:
        yield "a free hand: the settings fix the plan (setting plan)"
    if runs and all(run.task_key is None for run in runs):
        yield "a task key (setting task_key): runs of one task tell more than runs of different ones"
    if runs and all(run.cost_usd is None for run in runs):
        yield "a price (setting prices): what a run costs is not known"
