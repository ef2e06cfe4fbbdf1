"""What awaits a person: it stands first on every screen, with since when, what it costs to wait, and what answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._model.assignment import STAGE_SHARES
from .._model.text import count, percent, when
from . import rendering as show

if TYPE_CHECKING:
    from .._page.outcome import PlanOutcome
    from .._tuning.standing import Standing
    from .open_teams import OpenTeam
    from .status import TeamFacts

_HALF: Final = 0.5


@frozen
class Waiting:
    """How long something has awaited a person, and what that costs.

    Attributes:
        since: Unix time since which it waits, seconds; of a probation the start of its test, as it is asked for behind
            a run of that, without a line in the history.
        runs: Runs that the team has had since; at least so many, where not all were looked at.
        cost: What waiting costs, in a sentence.
        is_test: Whether `since` is the start of a test.
    """

    since: float
    runs: int
    cost: str
    is_test: bool = False

    @property
    def begun(self) -> str:
        """Since when it waits, and how many runs that is, in a sentence."""
        begun = "Its test began" if self.is_test else "Since"
        return f"{begun} {when(self.since)}, {count(self.runs, 'run')} ago."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {"since": self.since, "runs_since": self.runs, "cost_of_waiting": self.cost}


def waiting(one: Standing, started: Iterable[float], outcome: PlanOutcome | None) -> Waiting | None:
    """Return how long a standing has awaited a person, and what that costs; None where it does not.

    Args:
        one: The standing.
        started: Unix times at which the team's last runs started.
        outcome: What its test has measured, or None.
    """
    if one.decision is None:
        return None
    asks = one.decision.asks
    if asks == "start":
        cost = _expected(one)
    elif asks == "probation":
        cost = _slower_half(outcome)
    elif asks == "promotion":
        cost = "All runs have its plan already; none is compared until you answer."
    else:
        cost = "Waiting costs nothing: the plan stays live, and is verified."
    return Waiting(one.since, sum(at >= one.since for at in started), cost, is_test=asks == "probation")


def _expected(one: Standing) -> str:
    policy = one.experiment.policy
    if policy.forecast is not None and policy.forecast > 0:
        expected = percent(1 - math.exp(-policy.forecast))
        return f"No test meanwhile: {expected} less {show.TITLES[policy.metric]} is expected, not measured."
    return "No test meanwhile; what it would save is not known before one."


def _slower_half(outcome: PlanOutcome | None) -> str:
    """Say what the runs lose that would have the new plan on probation."""
    more = round(10 * (STAGE_SHARES["probation"]["treatment"] - _HALF))
    said = f"{more} more runs in 10 would have the new plan"
    parts = [] if outcome is None else list(_differences(outcome))
    return f"{said}, each {show.listed(parts)}." if parts else f"{said}."


def _differences(outcome: PlanOutcome) -> Iterator[str]:
    """Give how much less, or more, a run takes and costs with the new plan, as far as that is clear."""
    from .._page.figure_words import is_clear

    for name, unit in (("duration", show.seconds), ("cost", show.usd)):
        found = outcome.figure(name)
        if found is not None and found.was is not None and found.now is not None and is_clear(found):
            yield f"{unit(abs(found.was - found.now))} {'less' if found.was > found.now else 'more'}"


def print_decisions(facts: Iterable[TeamFacts | OpenTeam]) -> bool:
    """Print what awaits a person.

    Returns:
        Whether anything does.
    """
    asked = False
    for team in facts:
        for one in team.standings:
            if one.decision is not None:
                asked = True
                show.say(f"{show.clean(team.state.team_id)} asks you: {one.decision.question}", "bold yellow")
                show.say(one.experiment.description, indent=2)
                waits = team.waiting.get(one.experiment.id)
                if waits is not None:
                    show.say(waits.begun, indent=2)
                    show.say(waits.cost, indent=2)
                for command in (one.decision.approve, one.decision.reject):
                    if command is not None:
                        show.say(command, indent=2)
    return asked


def standing_data(facts: TeamFacts) -> list[dict[str, Any]]:
    """Return where the open experiments of a team stand as plain data: what awaits a person with since when."""
    data = [one.to_dict() for one in facts.standings]
    for one in data:
        waits = facts.waiting.get(one["experiment_id"])
        if one["awaits_person"] is not None and waits is not None:
            one["awaits_person"] |= waits.to_dict()
    return data
