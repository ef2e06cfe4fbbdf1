"""What the loop would do next with a team, and what the tuner says of what is open: worked out, and nothing done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from .._model.experiment import TeamState
from .challengers import Challenge, Challengers
from .hookmanager import HookManager
from .proposals import comparable, suggestions
from .starting import HISTORY_RUNS, next_challenge

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import Settings
    from .._tuner import Proposal, TestOutlook
    from ..storage import Store


@frozen
class Advice:
    """What is to be said of a team's next test, or of the one that is open.

    Attributes:
        challenge: What would be tested next; while an experiment is open, or the settings fix the plan, only what the
            strategies suggest.
        outlook: What the tuner says of the open experiment, or None.
        compared: Number of runs that the suggestions are made from.
    """

    challenge: Challenge
    outlook: TestOutlook | None = None
    compared: int = 0

    @property
    def proposal(self) -> Proposal | None:
        """What the tuner proposes and why not more; None where it was not asked, is off, or failed."""
        return self.challenge.proposal

    def to_dict(self) -> dict[str, Any]:
        """Return what the tuner says as plain JSON-able data."""
        return {
            "proposal": None if self.proposal is None else self.proposal.to_dict(),
            "outlook": None if self.outlook is None else self.outlook.to_dict(),
        }


def advice(store: Store, state: TeamState, settings: Settings, hooks: HookManager) -> Advice:
    """Return what the loop would do next with a team, from what is stored; nothing is written.

    The tuner is made anew from the team's runs. What a process has learnt of other teams, its prior, is not in it.

    Args:
        store: The store.
        state: The team's state.
        settings: Its settings.
        hooks: Are asked for further strategies.

    Raises:
        StoreError: If the store can't be used.
    """

    def read_runs(limit: int) -> Sequence[TeamRun]:
        return list(store.finished_runs(*state.key, limit=limit))

    spec = state.spec
    if spec is None:
        return Advice(Challenge())
    runs = comparable(read_runs(HISTORY_RUNS), state)
    experiments = store.experiments(*state.key)[::-1]
    challengers = Challengers()
    open_now = next((one for one in experiments if one.id == state.experiment_id and one.is_open), None)
    if open_now is None and settings.plan is None:
        others = [one for one in experiments if one.status != "draft"]  # a draft may still be what is proposed
        challenge = next_challenge(challengers, state, spec, settings, hooks, others, runs, read_runs)
        return Advice(challenge, None, len(runs))
    suggested = Challenge(suggested=tuple(suggestions(spec, state.plan, runs, settings, hooks)))
    outlook = None
    if open_now is not None:
        outlook = challengers.outlook(state, spec, settings, experiments, open_now, read_runs)
    return Advice(suggested, outlook, len(runs))
