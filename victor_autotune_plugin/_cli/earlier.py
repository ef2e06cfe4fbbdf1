"""Runs that are no longer kept in full: what a screen about a team tells of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from . import rendering as show

if TYPE_CHECKING:
    from .._model.day_totals import EarlierRuns
    from .._model.experiment import TeamState
    from ..storage import Store


@frozen
class EarlierOfTeam:
    """The earlier runs of a team.

    Attributes:
        state: The team's state.
        runs: What is known of them.
    """

    state: TeamState
    runs: EarlierRuns

    def say(self) -> None:
        """Print how many they are, and their figures, in a line."""
        show.say(f"{show.clean(self.state.team_id)}: {self.runs.sentence}", "dim")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {"workflow": self.state.workflow, "team_id": self.state.team_id, **self.runs.to_dict()}


def earlier_of(store: Store, teams: Iterable[TeamState]) -> list[EarlierOfTeam]:
    """Return the earlier runs of those teams that have any."""
    found = ((one, store.earlier_runs(*one.key)) for one in teams)
    return [EarlierOfTeam(one, runs) for one, runs in found if runs is not None]
