"""Teams with an open experiment: what a command tells of them that is about something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from .awaiting import Waiting, waiting
from .modes import Modes
from .options import same_place

if TYPE_CHECKING:
    from .._model.experiment import TeamState
    from .._page.outcome import PlanOutcome
    from .._tuning.standing import Standing
    from ..storage import Store
    from .project import OpenProject

MOST_RUNS: Final = 1_000
"""How many of a team's last runs a screen is made from."""

LISTED_RUNS: Final = 20_000
"""So many runs are looked at for a list of teams, the last ones of each: of 400 teams or more ..."""

FEWEST_RUNS: Final = 50
"""... so many of each."""

LATEST_RUNS: Final = 50
"""In how many of a team's last runs other owners of knobs are looked for, and how long a run takes."""


def looked_at(teams: int) -> int:
    """Return how many of the last runs of each team are looked at for a list of so many."""
    return max(FEWEST_RUNS, min(MOST_RUNS, LISTED_RUNS // max(teams, 1)))


@frozen
class OpenTeam:
    """A team with an open experiment.

    Attributes:
        state: Its state.
        standings: Where its open experiments stand: what awaits a person first, then a test, then the live plan, of
            which they don't tell how many runs it has.
        waiting: How long what awaits a person has waited, and what that costs, by the experiment's id.
    """

    state: TeamState
    standings: tuple[Standing, ...]
    waiting: Mapping[str, Waiting] = field(factory=dict)


def open_teams(session: OpenProject, states: Sequence[TeamState] | None = None) -> list[OpenTeam]:
    """Return the teams that have an open experiment.

    Args:
        session: The project.
        states: The teams to look among, as `OpenProject.named_teams` gives them; None for all.
    """
    from ..storage.team_records import TeamRecords

    store = session.store
    if store is None:
        return []
    known = session.named_teams() if states is None else states
    awaiting = {(one.workflow, one.team_id) for one in store.experiments_that_await()}
    found = [one for one in known if one.experiment_id or one.live_id or one.key in awaiting]
    if len(found) > 1 and not isinstance(store, TeamRecords):
        store = TeamRecords(store)
    modes = Modes(session.runtime.resolver, session.runtime.project)
    return [_open_team(session, store, session.in_full(one), modes, looked_at(len(found))) for one in found]


def _open_team(session: OpenProject, store: Store, state: TeamState, modes: Modes, most: int) -> OpenTeam:
    from .._tuning.present_state import standings

    last = next(iter(store.last_runs(*state.key, 1)), None)
    settings = evolve(session.runtime.resolver.for_team(*state.key), mode=modes.of(state.key, last).next)
    latest = store.finished_runs(*state.key, limit=LATEST_RUNS)
    stands = standings(store, state, settings, latest, options=same_place(), detail="p95")
    waits = {}
    if any(one.decision is not None for one in stands):
        started = [run.started_at for run in store.last_runs(*state.key, most)]
        measured = [one.experiment for one in stands if one.decision is not None and one.experiment.takes_runs]
        brought: dict[str, PlanOutcome] = {}
        if measured:
            from .._page.outcome import outcomes

            brought = outcomes(store, measured, {one.experiment.id: one.told[0] for one in stands})
        waits = {one.experiment.id: waiting(one, started, brought.get(one.experiment.id)) for one in stands}
    return OpenTeam(state, stands, {name: one for name, one in waits.items() if one is not None})
