"""The runs of a team as columns for a chart: every run, or where these are many what groups of runs were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._model.run import CONTROL, TREATMENT
from .._model.text import plan_text
from ..storage.run_listing import plan_of

if TYPE_CHECKING:
    from ..storage.run_listing import ListedRun

MOST_POINTS: Final = 3_000
"""Runs that are drawn one by one."""

BINS: Final = 240
"""Groups that more runs are drawn in."""

ROLES: Final = ("configured", "before", "tested", "live")
"""What a run had: the plan as configured outside a test, the control's, the treatment's, or the live plan."""

FAILED, TIMED_OUT, CANCELLED, RUNNING, LOST = 1, 2, 4, 8, 16

_SPARK: Final = 28
_SPARK_RUNS: Final = 280


@frozen
class RunFilter:
    """Which runs are looked at.

    Attributes:
        since: Unix time from which on they started, or None.
        until: Unix time up to which they started, or None.
        plan: The plan that they were asked to have, in words, or None.
        role: One of `ROLES`, or None.
    """

    since: float | None = None
    until: float | None = None
    plan: str | None = None
    role: str | None = None

    def takes(self, run: ListedRun) -> bool:
        """Return whether a run is looked at."""
        return (
            (self.since is None or run.started_at >= self.since)
            and (self.until is None or run.started_at <= self.until)
            and (self.role is None or ROLES[role_of(run)] == self.role)
            and (self.plan is None or plan_text(plan_of(run.plan_asked)) == self.plan)
        )


def role_of(run: ListedRun) -> int:
    """Return the place in `ROLES` of what a run had."""
    if run.arm == CONTROL:
        return 1
    if run.arm == TREATMENT:
        return 2 if run.phase == "test" else 3
    return 0 if plan_of(run.plan_asked).is_empty else 3


def flags_of(run: ListedRun) -> int:
    """Return how a run went, as a sum of flags; 0 for one that succeeded."""
    if run.status == "running":
        return RUNNING
    if run.status == "lost":
        return LOST
    if run.cancelled:
        return CANCELLED
    return (0 if run.succeeded else FAILED) | (TIMED_OUT if run.timed_out else 0)


def measured(runs: Sequence[ListedRun]) -> list[ListedRun]:
    """Return the runs that ended and were not cancelled: those that figures are made of."""
    return [run for run in runs if run.seconds is not None and not run.cancelled and run.status != "lost"]


def series(runs: Sequence[ListedRun], most: int = MOST_POINTS, bins: int = BINS) -> dict[str, Any]:
    """Return runs as columns.

    Args:
        runs: The runs, oldest first.
        most: Runs that are drawn one by one; more become groups.
        bins: So many groups.

    Returns:
        `total`, and either `points` (`id`, `at`, `seconds`, `role`, `flags`, `plan`, `usd`, `score`, with `plans` in
        words) or `bins`: of each role the `median`, the `low` and `high` decile in seconds, the number of `runs` and
        how many were `bad`, by the time `at` of a group.
    """
    if len(runs) > most:
        return {"total": len(runs), "bins": _bins(runs, bins)}
    plans: dict[str, int] = {}
    places = [plans.setdefault(run.plan_asked, len(plans)) for run in runs]
    return {
        "total": len(runs),
        "plans": [plan_text(plan_of(text)) for text in plans],
        "points": {
            "id": [run.run_id for run in runs],
            "at": [round(run.started_at, 3) for run in runs],
            "seconds": [short(run.seconds) for run in runs],
            "role": [role_of(run) for run in runs],
            "flags": [flags_of(run) for run in runs],
            "plan": places,
            "usd": [short(run.cost_usd) for run in runs],
            "score": [short(run.score) for run in runs],
        },
    }


def _bins(runs: Sequence[ListedRun], number: int) -> dict[str, Any]:
    groups = list(_groups(runs, min(number, len(runs))))
    roles: dict[str, Any] = {}
    for place, role in enumerate(ROLES):
        columns: dict[str, list[float | None]] = {name: [] for name in ("median", "low", "high", "runs", "bad")}
        for group in groups:
            own = [run for run in group if role_of(run) == place]
            times = sorted(run.seconds for run in measured(own) if run.seconds is not None)
            columns["median"].append(short(median(times)) if times else None)
            columns["low"].append(short(times[len(times) // 10]) if times else None)
            columns["high"].append(short(times[-1 - len(times) // 10]) if times else None)
            columns["runs"].append(len(own))
            columns["bad"].append(sum(flags_of(run) & (FAILED | TIMED_OUT) > 0 for run in own))
        if any(columns["runs"]):
            roles[role] = columns
    return {"at": [round(group[len(group) // 2].started_at, 3) for group in groups], "roles": roles}


def spark(runs: Sequence[ListedRun]) -> list[float | None]:
    """Return the median seconds of groups of the last runs, oldest first: the line beside a team's name."""
    last = measured(runs[-_SPARK_RUNS:])
    if not last:
        return []
    return [short(median([run.seconds or 0.0 for run in group])) for group in _groups(last, min(_SPARK, len(last)))]


def _groups(runs: Sequence[ListedRun], groups: int) -> Iterator[Sequence[ListedRun]]:
    for number in range(groups):
        begin, end = number * len(runs) // groups, (number + 1) * len(runs) // groups
        yield runs[begin:end]


def short(value: float | None) -> float | None:
    """Return a number with four significant digits, which is all that a picture shows."""
    return None if value is None else float(f"{value:.4g}")
