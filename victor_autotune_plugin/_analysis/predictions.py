"""What a team would take in another shape, answered from what its members took.

Victor 0.9.5 gives every member the team's goal and not what earlier members wrote, so the time a member takes
does not depend on the formation, and the time of a team is a function of its members' times:

- sequential and pipeline: their sum;
- parallel and consensus (one round): their maximum;
- hierarchical: the supervisor's, plus the maximum of the others';
- sub-teams: the maximum over groups of the sum in a group.

A reflection is left out: it lets only two members work, so it is another job and not a faster way to do this one.
A prediction only chooses what to test; whether it is true is what the A/B test finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from .._model.plan import SUB_TEAMS
from .insight_evidence import Estimate, mean_estimate

Seconds: TypeAlias = Mapping[str, float]
"""What each member took in one run, by id."""

Shape: TypeAlias = Callable[[Seconds], float | None]
"""What a run would take in some shape, from its members' seconds; None when that can't be told."""


def in_formation(formation: str, lead: str | None = None) -> Shape:
    """Return the time of a team in a formation."""

    def predict(seconds: Seconds) -> float | None:
        if not seconds:
            return None
        if formation in ("sequential", "pipeline"):
            return sum(seconds.values())
        if formation in ("parallel", "consensus"):
            return max(seconds.values())
        if formation == "hierarchical" and lead is not None and lead in seconds and len(seconds) > 1:
            return seconds[lead] + max(value for name, value in seconds.items() if name != lead)
        return None

    return predict


def in_groups(groups: Iterable[Iterable[str]]) -> Shape:
    """Return the time of a team in sub-teams that run side by side."""
    kept = [tuple(group) for group in groups]

    def predict(seconds: Seconds) -> float | None:
        if any(name not in seconds for group in kept for name in group):
            return None
        return max(sum(seconds[name] for name in group) for group in kept)

    return predict


def without(members: Iterable[str], shape: Shape) -> Shape:
    """Return the time of a team that some members no longer belong to."""
    gone = frozenset(members)
    return lambda seconds: shape({name: value for name, value in seconds.items() if name not in gone})


def gain(rows: Sequence[Seconds], now: Shape, then: Shape) -> Estimate | None:
    """Predict how much less time another shape takes, in percent of what the present one is predicted to take.

    Two predictions are compared, and not a prediction with the measured time, or shapes that amount to the same
    would look better than each other by what Victor itself takes.

    Returns:
        The mean over runs with its interval; None with fewer than two runs, or when a run can't be told.
    """
    gains = []
    for seconds in rows:
        before, after = now(seconds), then(seconds)
        if not before or after is None:
            return None
        gains.append(100 * (1 - after / before))
    return mean_estimate(gains) if len(gains) > 1 else None


def rows_of(durations: Mapping[str, Sequence[float | None]]) -> list[dict[str, float]]:
    """Return the runs that `member_durations` in an insight's evidence holds."""
    names = list(durations)
    return [
        {name: float(value) for name, value in zip(names, run, strict=True) if value is not None}
        for run in zip(*durations.values(), strict=True)
    ]


def comparable(formation: str) -> bool:
    """Return whether a time in this formation can be told from the members' times."""
    return formation not in ("reflection", SUB_TEAMS)
