"""What a scorer would open: changes of the work that nothing allows as long as no scorer tells how good it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from .._model.plan import TeamPlan
from .._model.score import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .next_test import Challenge
    from .tuner_cache import TeamRecord

MOST_TOLD: Final = 5
"""How many changes are told at most."""

_ANY: Final = (Gate("any"),)


@frozen
class Opened:
    """A change that a scorer would open.

    Attributes:
        plan: The plan with the change.
        improvement: Expected improvement of the metric, relative: 0.2 is 20 % better.
        metric: The metric.
        refusal: Why nothing allows it now, in a clause.
        source: Who suggests it: a strategy's name, or `tuner`.
    """

    plan: TeamPlan
    improvement: float
    metric: str
    refusal: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "plan": self.plan.to_dict(),
            "describe": self.plan.describe(),
            "improvement": self.improvement,
            "metric": self.metric,
            "refusal": self.refusal,
            "source": self.source,
        }


def would_ask(team: TeamRecord) -> bool:
    """Return whether a scorer may open anything: none decides, and no person is asked before a change is made."""
    return not team.state.gates and team.settings.mode not in ("off", "approve")


def as_if_scored(team: TeamRecord) -> TeamRecord:
    """Return a team as it would be tuned in mode `auto` if a scorer decided for it."""
    return evolve(
        team,
        state=evolve(team.state, gates=_ANY),
        settings=evolve(team.settings, mode="auto"),
        rules=evolve(team.rules, has_scorer=True, asks_person=False),
    )


def opened_by_scorer(team: TeamRecord, scored: Challenge) -> tuple[Opened, ...]:
    """Return the best changes of the work that are refused now and that a scorer would open, best first.

    Args:
        team: The team as it is.
        scored: What would be tested next on it `as_if_scored`.
    """
    now = evolve(team.rules, has_scorer=False, asks_person=False)
    live, least = team.state.plan, team.settings.experiment.minimum_improvement
    found: dict[TeamPlan, Opened] = {}
    for plan, improvement, metric, source in _wanted(team, scored):
        refusal = now.refusal(plan, live)
        if refusal is None or not improvement >= least or team.settings.limits.crossed_by(plan):
            continue
        if evolve(now, has_scorer=True).refusal(plan, live) is None:
            found.setdefault(plan, Opened(plan, improvement, metric, refusal, source))
    return tuple(sorted(found.values(), key=lambda one: -one.improvement)[:MOST_TOLD])


def _wanted(team: TeamRecord, scored: Challenge) -> Iterator[tuple[TeamPlan, float, str, str]]:
    """Give what strategies suggest, and what the tuner thinks of: plan, improvement, metric, source."""
    metric = team.settings.experiment.metric
    for one in scored.suggested:
        plan = team.state.plan.merged(one.plan)
        yield plan, one.expected_improvement / 100, one.metadata.metric or metric, str(one.type)
    proposal = scored.proposal
    if proposal is None:
        return
    if proposal.chosen is not None:
        yield proposal.chosen.plan, proposal.chosen.improvement, metric, proposal.chosen.source
    for other in proposal.not_chosen:
        if other.improvement is not None:
            yield other.plan, other.improvement, metric, other.source
