"""A finished run to draw conclusions from, and whether a change may follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from attrs import define, frozen

from .._model.experiment import Experiment, TeamState
from .changes import Changes

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import Settings
    from .tuner_cache import ReadRuns


@define
class Approval:
    """Whether a change may be made, and if nobody was asked yet, what to ask.

    Attributes:
        given: Whether it is approved.
        by: Who answered, or None before anybody was asked.
        asked: The experiment and its step that wait for an answer.
    """

    given: bool = False
    by: str | None = None
    asked: tuple[Experiment, str] | None = None


@frozen
class Case:
    """A finished run, inside the transaction that the conclusions from it are drawn in.

    Attributes:
        changes: The transaction, and the changes made in it.
        state: The team's state.
        run: The run.
        settings: The team's settings.
        approval: Whether a change may follow.
    """

    changes: Changes
    state: TeamState
    run: TeamRun
    settings: Settings
    approval: Approval

    @cached_property
    def read_runs(self) -> ReadRuns:
        """Reads the team's last runs, newest first; what was read in the transaction is not read again."""
        return _remembering(partial(self.changes.transaction.runs_of, *self.state.key))

    def experiments(self) -> Sequence[Experiment]:
        """Return all experiments of the team, oldest first."""
        return self.changes.transaction.experiments_of(*self.state.key)


def _remembering(read: ReadRuns) -> ReadRuns:
    known: Sequence[TeamRun] = ()
    most = 0

    def read_or_recall(limit: int) -> Sequence[TeamRun]:
        nonlocal known, most
        if limit > most:
            known, most = read(limit), limit
        return known[:limit]

    return read_or_recall
