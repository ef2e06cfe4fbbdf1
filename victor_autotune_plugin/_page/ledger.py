"""The savings ledger: what promotions have saved since, against runs of the plan before from the same time.

Every promotion is in it, also one that was rolled back: to leave out what turned out worse would tell too much. A
block's runs of the new plan are held against the block's runs of the plan before, and all blocks are added up. A sum
over all promotions is right on average whenever it is looked at, since no run is left out for what it was.

A plan counts against the one that it replaced. After a second promotion no run has the first plan's predecessor any
more, so from then on only the second saving is counted; the ledger tells rather too little.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, field, frozen

from .._model.experiment import Experiment
from .blockwise import Spread, blocks_of, gained, not_measured_since, spread_of_total

if TYPE_CHECKING:
    from ..storage import Store
    from ..storage.arm_runs import ArmRuns, Marks, Numbers

KINDS: Final = ("seconds", "usd", "tokens", "score")
"""What is saved: time, money, tokens, and score gained."""

WEEK_SECONDS: Final = 7 * 86_400.0

_FIRST_MONDAY: Final = 4 * 86_400.0
"""Unix time of the first Monday, UTC."""

_COLUMNS: Final = {"seconds": "durations", "usd": "costs", "tokens": "tokens", "score": "scores"}


@frozen
class Saved:
    """How much was saved of one kind.

    Attributes:
        kind: One of `KINDS`.
        value: Seconds, US dollars or tokens that the runs of new plans took less than they would have taken with the
            plans before; of `score` how much more they scored, added up. Negative where they took more.
        low: Lower end of the 95 % interval.
        high: Upper end.
        runs: Runs of new plans that it was saved in.
        per_run: `value` divided by `runs`.
    """

    kind: str
    value: float
    low: float
    high: float
    runs: int
    spread: Spread = field(repr=False)

    @property
    def per_run(self) -> float:
        """What a run saves on average."""
        return self.value / self.runs

    @classmethod
    def of(cls, kind: str, spread: Spread, runs: int) -> Saved:
        """Return it from an estimate and the number of runs behind it."""
        return cls(kind, spread.value, *spread.interval, runs, spread)

    @classmethod
    def total(cls, kind: str, parts: Iterable[Saved]) -> Saved | None:
        """Return the sum of some, or None without any."""
        known = list(parts)
        if not known:
            return None
        return cls.of(kind, Spread.total([one.spread for one in known]), sum(one.runs for one in known))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        names = ("value", "low", "high", "runs", "per_run")
        return {name: getattr(self, name) for name in names}


@frozen
class WeekOfSavings:
    """What was saved in a week.

    Attributes:
        start: Unix time of its Monday, 00:00 UTC. A block counts in the week in which its first run started.
        runs: Runs of new plans in it that were compared.
        saved: What was saved, by kind; a kind that was not measured is missing.
    """

    start: float
    runs: int
    saved: Mapping[str, Saved]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {"start": self.start, "runs": self.runs, "saved": _plain(self.saved)}


@frozen
class PromotionSavings:
    """What one promotion has saved.

    Attributes:
        experiment_id: The experiment.
        workflow: Its team's workflow.
        team_id: Its team.
        description: The change in a line for people.
        status: Where the experiment is, one of `STATES`.
        since: Unix time since which its plan is live, or was, probation included.
        until: Unix time at which it was replaced; None while it is live.
        runs: Runs of its plan since then.
        compared: How many of them lie in blocks with a run of the plan before.
        runs_before: Runs of the plan before in these blocks.
        not_measured_since: Unix time since which no run had the plan before, so that nothing can be told; None where
            one has.
        saved: What was saved, by kind; a kind that was not measured, or in too few blocks, is missing.
        weeks: The same by week, oldest first.
    """

    experiment_id: str
    workflow: str
    team_id: str
    description: str
    status: str
    since: float
    until: float | None
    runs: int
    compared: int
    runs_before: int
    not_measured_since: float | None
    saved: Mapping[str, Saved]
    weeks: tuple[WeekOfSavings, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data = asdict(self, recurse=False)
        return {**data, "saved": _plain(self.saved), "weeks": [one.to_dict() for one in self.weeks]}


@frozen
class TeamSavings:
    """What the promotions of a team have saved together.

    Attributes:
        workflow: Its workflow.
        team_id: The team.
        saved: What was saved, by kind, as far as it was measured.
        weeks: The same by week, oldest first.
        promotions: Its promotions, newest first.
    """

    workflow: str
    team_id: str
    saved: Mapping[str, Saved]
    weeks: tuple[WeekOfSavings, ...]
    promotions: tuple[PromotionSavings, ...]

    @property
    def not_measured_since(self) -> float | None:
        """Unix time since which the plan that is live now is not compared; None where it is, or none is live."""
        live = [one for one in self.promotions if one.until is None]
        return live[0].not_measured_since if live else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "workflow": self.workflow,
            "team_id": self.team_id,
            "saved": _plain(self.saved),
            "not_measured_since": self.not_measured_since,
            "weeks": [one.to_dict() for one in self.weeks],
            "promotions": [one.to_dict() for one in self.promotions],
        }


@frozen
class SavingsLedger:
    """What promotions have saved in the whole store, or in the teams that were asked for.

    Attributes:
        saved: What was saved, by kind, as far as it was measured.
        weeks: The same by week, oldest first.
        teams: The teams with a promotion, by workflow and id.
    """

    saved: Mapping[str, Saved]
    weeks: tuple[WeekOfSavings, ...]
    teams: tuple[TeamSavings, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "saved": _plain(self.saved),
            "weeks": [one.to_dict() for one in self.weeks],
            "teams": [one.to_dict() for one in self.teams],
        }


def _plain(saved: Mapping[str, Saved]) -> dict[str, Any]:
    """Return what was saved of every kind; None for one that was not measured."""
    return {kind: saved[kind].to_dict() if kind in saved else None for kind in KINDS}


def savings_ledger(
    store: Store,
    workflow: str | None = None,
    team_id: str | None = None,
    wanted: Callable[[tuple[str, str]], bool] = lambda _: True,
) -> SavingsLedger:
    """Return what promotions have saved; the runs of one after the other are read.

    Args:
        store: The store, of one environment or of all.
        workflow: Only teams of this workflow.
        team_id: Only teams with this id.
        wanted: Whether a team is looked at, by workflow and id.

    Raises:
        StoreError: The store can't be read.
    """
    experiments = store.experiments(workflow, team_id)
    promoted = [one for one in experiments if one.promoted_at is not None and wanted((one.workflow, one.team_id))]
    teams: dict[tuple[str, str], list[PromotionSavings]] = defaultdict(list)
    for one in promoted:
        teams[one.workflow, one.team_id].append(promotion_savings(one, store.arm_runs([one.id]).get(one.id)))
    found = tuple(
        TeamSavings(*key, _totals(one.saved for one in made), _weeks(one.weeks for one in made), tuple(made))
        for key, made in sorted(teams.items())
    )
    return SavingsLedger(_totals(one.saved for one in found), _weeks(one.weeks for one in found), found)


def promotion_savings(experiment: Experiment, runs: ArmRuns | None) -> PromotionSavings:
    """Return what one promotion has saved.

    Args:
        experiment: An experiment whose plan is live, or was.
        runs: Its runs; None without one.
    """
    since = experiment.promoted_at or experiment.created_at
    compared, controls, of_plan = 0, 0, 0
    saved: dict[str, Saved] = {}
    weeks: tuple[WeekOfSavings, ...] = ()
    if runs is not None:
        runs = runs.where(runs.verified | (runs.started_at >= since))
        of_plan = int(runs.treated.sum())
    if runs is not None and of_plan:
        block = blocks_of(runs, experiment.watch_policy.holdback)
        _, treated, both = gained(runs.durations, runs.treated, block)
        compared = int(treated.sum())
        controls = int((both[block] & ~runs.treated).sum())
        saved, weeks = _saved(runs, block, both, treated)
    return PromotionSavings(
        experiment_id=experiment.id,
        workflow=experiment.workflow,
        team_id=experiment.team_id,
        description=experiment.description,
        status=experiment.status,
        since=since,
        until=experiment.ended_at,
        runs=of_plan,
        compared=compared,
        runs_before=controls,
        not_measured_since=None if experiment.has_ended and compared else not_measured_since(experiment, runs),
        saved=saved,
        weeks=weeks,
    )


def _saved(
    runs: ArmRuns, block: Any, both: Marks, treated: Numbers
) -> tuple[dict[str, Saved], tuple[WeekOfSavings, ...]]:
    """Return what was saved by kind, and by week."""
    import numpy as np

    first = np.full(len(both), np.inf)
    np.minimum.at(first, block, runs.started_at)
    week = np.floor((first - _FIRST_MONDAY) / WEEK_SECONDS)
    saved: dict[str, Saved] = {}
    by_week: dict[float, dict[str, Saved]] = defaultdict(dict)
    for kind, column in _COLUMNS.items():
        values = getattr(runs, column)
        known = ~np.isnan(values)
        more, n, has_both = gained(values[known], runs.treated[known], block[known])
        gains = (1.0 if kind == "score" else -1.0) * more[has_both]
        n, of = n[has_both], week[: len(has_both)][has_both]
        whole = spread_of_total(gains, n)
        if whole is None:
            continue
        saved[kind] = Saved.of(kind, whole, int(n.sum()))
        unit, skew = whole.variance / float(n @ n), whole.third / float((n**3).sum())
        for one in np.unique(of):
            here = of == one
            part = Spread(
                float(gains[here].sum()),
                unit * float(n[here] @ n[here]),
                whole.freedom,
                skew * float((n[here] ** 3).sum()),
            )
            by_week[float(one)][kind] = Saved.of(kind, part, int(n[here].sum()))
    compared = {float(one): int(treated[both & (week == one)].sum()) for one in np.unique(week[both])}
    return saved, tuple(
        WeekOfSavings(_FIRST_MONDAY + one * WEEK_SECONDS, compared.get(one, 0), kinds)
        for one, kinds in sorted(by_week.items())
    )


def _totals(parts: Iterable[Mapping[str, Saved]]) -> dict[str, Saved]:
    known = list(parts)
    totals = {kind: Saved.total(kind, (one[kind] for one in known if kind in one)) for kind in KINDS}
    return {kind: one for kind, one in totals.items() if one is not None}


def _weeks(parts: Iterable[Iterable[WeekOfSavings]]) -> tuple[WeekOfSavings, ...]:
    by_start: dict[float, list[WeekOfSavings]] = defaultdict(list)
    for weeks in parts:
        for one in weeks:
            by_start[one.start].append(one)
    return tuple(
        WeekOfSavings(start, sum(one.runs for one in weeks), _totals(one.saved for one in weeks))
        for start, weeks in sorted(by_start.items())
    )
