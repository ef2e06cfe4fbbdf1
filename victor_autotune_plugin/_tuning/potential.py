"""Potential: what a team could save a week by the best plan that is allowed now, and what is missing to know more."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import evolve, frozen

from .._dataflow.verdict import LEAST_TO_TEST, knowledge_of
from .._model.plan import TeamPlan
from .._model.text import count
from .exposure import WEEK_SECONDS
from .new_experiment import decided_by
from .next_test import HISTORY_RUNS, Advice, advice
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

WINDOW_WEEKS: Final = 4
"""Weeks before now whose runs tell how often a team runs."""

MOST_READ: Final = 1_000
"""Runs that are read at most to tell it."""

Metric = Literal["duration", "cost"]
METRICS: Final[tuple[Metric, ...]] = ("duration", "cost")


@frozen
class Pace:
    """How often a team runs, and what a run takes.

    Attributes:
        per_week: Runs a week; where less than a week is recorded, the runs so far, so that nothing is extrapolated.
        runs: Runs that this is counted from.
        days: Days that they are of.
        mean_seconds: Mean duration of a run, seconds; None without a run.
        mean_usd: Mean cost of a run with a known price, US dollars; None where no price is known.
    """

    per_week: float = 0.0
    runs: int = 0
    days: float = 0.0
    mean_seconds: float | None = None
    mean_usd: float | None = None

    def mean(self, metric: Metric) -> float | None:
        """Return the mean of a metric a run, seconds or US dollars."""
        return self.mean_seconds if metric == "duration" else self.mean_usd


@frozen
class Saving:
    """What a plan is expected to save of one metric.

    Attributes:
        metric: `duration` or `cost`.
        gain: Expected improvement, relative: 0.2 is 20 % less.
        interval: Its 90 % interval.
        a_week: Seconds or US dollars saved a week, with its interval, at the team's pace; None where that is unknown.
    """

    metric: Metric
    gain: float
    interval: tuple[float, float]
    a_week: tuple[float, float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        unit = "seconds" if self.metric == "duration" else "usd"
        week = None
        if self.a_week is not None:
            week = {"saved": self.a_week[0], "interval": list(self.a_week[1:]), "unit": unit}
        return {"metric": self.metric, "gain": self.gain, "interval": list(self.interval), "a_week": week}


@frozen
class Missing:
    """Something that is missing to know or to do more.

    Attributes:
        what: What, in a sentence.
        given_by: The setting or command that gives it.
    """

    what: str
    given_by: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {"what": self.what, "given_by": self.given_by}


@frozen
class Potential:
    """What a team could save.

    Attributes:
        workflow: Its workflow.
        team_id: Its id.
        pace: How often it runs.
        plan: The best plan that is allowed now, or that of the open test; None where there is no room.
        is_tested: Whether that plan is in an open test.
        none_because: Why no plan is told of, in a sentence; None where one is.
        savings: What the plan saves, for each metric that an interval is known of.
        rests_on: What that rests on, in clauses.
        missing: What is missing.
        opened_by_scorer: Changes that a scorer would open, best first.
        opened_by_data_flow: The plan that would be proposed if the members were declared independent, where that is
            another than `plan`.
    """

    workflow: str
    team_id: str
    pace: Pace
    plan: TeamPlan | None = None
    is_tested: bool = False
    none_because: str | None = None
    savings: tuple[Saving, ...] = ()
    rests_on: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    opened_by_scorer: tuple[Opened, ...] = ()
    opened_by_data_flow: TeamPlan | None = None

    @property
    def order(self) -> tuple[float, float, float]:
        """Sorts the team with the most to be saved first: time a week, money a week, then the relative gain."""
        week = {one.metric: one.a_week[0] for one in self.savings if one.a_week is not None}
        gain = max((one.gain for one in self.savings), default=-1.0)
        return -week.get("duration", 0.0), -week.get("cost", 0.0), -gain

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        pace, opened = self.pace, self.opened_by_data_flow
        return {
            "workflow": self.workflow,
            "team_id": self.team_id,
            "runs_a_week": pace.per_week,
            "runs_counted": pace.runs,
            "days_counted": pace.days,
            "mean_seconds": pace.mean_seconds,
            "mean_usd": pace.mean_usd,
            "plan": None if self.plan is None else self.plan.to_dict(),
            "is_tested": self.is_tested,
            "none_because": self.none_because,
            "savings": [one.to_dict() for one in self.savings],
            "rests_on": list(self.rests_on),
            "missing": [one.to_dict() for one in self.missing],
            # Their improvement has no interval, so it is not told.
            "opened_by_scorer": [
                {name: value for name, value in one.to_dict().items() if name != "improvement"}
                for one in self.opened_by_scorer
            ],
            "opened_by_data_flow": None if opened is None else opened.to_dict(),
        }


def pace_of(runs: Sequence[TeamRun], now: float) -> Pace:
    """Return how often a team runs.

    Args:
        runs: Its last runs.
        now: Unix time.
    """
    begin = now - WINDOW_WEEKS * WEEK_SECONDS
    counted = [run for run in runs if begin <= run.started_at <= now and not run.cancelled]
    if not counted:
        return Pace()
    seconds = now - max(begin, min(run.started_at for run in runs))
    costs = [run.cost_usd for run in counted if run.cost_usd is not None]
    return Pace(
        per_week=len(counted) / max(seconds / WEEK_SECONDS, 1.0),
        runs=len(counted),
        days=seconds / 86_400,
        mean_seconds=fmean(run.duration_seconds for run in counted),
        mean_usd=fmean(costs) if costs else None,
    )


def savings_of(outlook: Outlook, metric: str, pace: Pace) -> tuple[Saving, ...]:
    """Return what a plan is expected to save of time and money; nothing where no interval is known.

    Args:
        metric: The metric that decides a test. What strategies say of it is in its figures, too.
    """
    found = []
    for name in METRICS:
        if name == metric:
            gain, low, high = outlook.improvement, *outlook.interval
        elif name in outlook.by_metric:
            gain, low, high = outlook.by_metric[name]
        else:
            continue
        mean, week = pace.mean(name), None
        if mean is not None and pace.per_week:
            spent = pace.per_week * mean
            week = (spent * gain, spent * low, spent * high)
        found.append(Saving(name, gain, (low, high), week))
    return tuple(found)


def rests_on(outlook: Outlook, live: TeamPlan, replayed: int, knowledge: Knowledge) -> tuple[str, ...]:
    """Say in clauses what an expectation rests on.

    Args:
        replayed: Recorded runs whose members' time is known.
    """
    told = []
    is_layout = (outlook.plan.formation, outlook.plan.sub_teams) != (live.formation, live.sub_teams)
    if is_layout and replayed:
        told.append(f"replay of {count(replayed, 'recorded run')}")
    if knowledge.verdict == "independent":
        how = "declared" if knowledge.declared == "independent" else "seen"
        told.append(f"structure: data flow independent, {how}")
    if outlook.runs_behind:
        told.append(f"{count(outlook.runs_behind, 'own run')} of that plan")
    return (*told, "prior")


def missing_of(
    knowledge: Knowledge, settings: Settings, pace: Pace, runs: int, *, has_scorer: bool, wants_scorer: bool
) -> tuple[Missing, ...]:
    """Return what is missing to know or to do more.

    Args:
        runs: Comparable runs that are recorded.
        wants_scorer: Whether a scorer may open a change.
    """
    found, spec = [], knowledge.spec
    least = settings.experiment.min_history
    if knowledge.is_due_soon:
        least = max(least, LEAST_TO_TEST)
    if runs < least:
        found.append(Missing(f"{count(least - runs, 'more run')}", "victor autotune run WORKFLOW.yaml"))
    if knowledge.verdict == "unknown":
        key = f"workflows.{spec.workflow}.teams.{spec.team_id}.dataflow"
        given_by = f"{key}: independent (if no member uses another's work)"
        found.append(Missing("a declared data flow: it is unknown who uses whose work", given_by))
    if wants_scorer and not has_scorer:
        found.append(Missing("a scorer: nothing tells how good the work is", "quality.scorers"))
    if settings.task_key is None:
        found.append(Missing("a task key: runs of one task can't be told from those of another", "task_key"))
    if pace.runs and pace.mean_usd is None:
        found.append(Missing("a price: what a run costs is unknown", "prices"))
    return tuple(found)


def team_potential(store: Store, state: TeamState, settings: Settings, hooks: HookManager, now: float) -> Potential:
    """Return what a team could save, from what is stored; nothing is written.

    A team that is only observed is asked what a team in mode `auto` is.

    Args:
        now: Unix time.

    Raises:
        StoreError: If the store can't be used.
    """
    latest = list(store.finished_runs(*state.key, limit=MOST_READ))
    pace, found = pace_of(latest, now), Potential(state.workflow, state.team_id, Pace())
    found = evolve(found, pace=pace)
    if state.spec is None:
        return evolve(found, none_because="Its definition was not recorded yet.")
    if settings.plan is not None:
        return evolve(found, none_because="The settings fix its plan.")
    if settings.mode not in ("approve", "auto"):
        settings = evolve(settings, mode="auto")
    knowledge = knowledge_of(store.data_flow(*state.key), state.spec, settings)
    advised = advice(store, state, settings, hooks)
    runs = comparable(latest[:HISTORY_RUNS], state)
    outlook, is_tested = _outlook(advised)
    opened = advised.opened_by_scorer
    has_scorer = bool(state.gates)
    wants = bool(opened) or knowledge.verdict != "independent"
    declared = None
    if knowledge.verdict == "unknown" and not is_tested:
        said = _outlook(advice(store, state, evolve(settings, dataflow="independent"), hooks))[0]
        declared = None if said is None or (outlook is not None and said.plan == outlook.plan) else said.plan
    found = evolve(
        found,
        missing=missing_of(knowledge, settings, pace, len(runs), has_scorer=has_scorer, wants_scorer=wants),
        opened_by_scorer=opened,
        opened_by_data_flow=declared,
    )
    if outlook is None:
        tested = "A test is open; another plan is looked for when it has ended."
        return evolve(found, none_because=_why_none(advised) if state.experiment_id is None else tested)
    metric = decided_by(settings.experiment.metric, is_scored=has_scorer)
    replayed = sum(any(one.model_seconds is not None for one in run.members) for run in runs)
    return evolve(
        found,
        plan=outlook.plan,
        is_tested=is_tested,
        savings=savings_of(outlook, metric, pace),
        rests_on=rests_on(outlook, state.plan, replayed, knowledge),
    )


def _outlook(advised: Advice) -> tuple[Outlook | None, bool]:
    """Return what is believed of the plan in question, and whether that is in an open test."""
    if advised.outlook is not None:
        return advised.outlook.outlook, True
    return (None if advised.proposal is None else advised.proposal.chosen), False


def _why_none(advised: Advice) -> str:
    proposal = advised.proposal
    if proposal is None:
        return "The tuner says nothing of it: it is off, or can't weigh the team's plans."
    return proposal.nothing_because or "No plan is expected to be better."
