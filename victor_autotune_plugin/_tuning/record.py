"""What the store holds of a team up to one of its runs: what every conclusion from that run is drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .._model.experiment import Change, Experiment, TeamState
from .._model.run import Observation, TeamRun

if TYPE_CHECKING:
    from .._model.score import JudgedRun, Score
    from ..storage import Store, Transaction

_T = TypeVar("_T")

PIECE: Final = 50
"""Most runs of a team that a judge takes at a time; so many more are read than one needs, for those after it."""

EARLIER_SECONDS: Final = 3600.0
"""So much more of the past is read, since runs are not judged in the order in which they ended."""


class TeamMemo:
    """What was read of a team and changes seldom, for the runs that are judged one after the other.

    A change by a person in between is found when a conclusion is written: then `forget`, and draw it again.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def get(self, what: Hashable, read: Callable[[], _T]) -> _T:
        """Return what was read before under a name, or read it."""
        if what not in self._known:
            self._known[what] = read()
        found: _T = self._known[what]
        return found

    def forget(self) -> None:
        """Have everything read again."""
        self._known.clear()


class Record:
    """Reads what is known of a team, without a lock.

    What came after the run is left out, so that the conclusions do not depend on when they are drawn.

    Args:
        up_to: Number of the run; None for all.
        memo: What was read for the runs before; None to read all.
    """

    def __init__(
        self, store: Store, key: tuple[str, str], up_to: int | None = None, memo: TeamMemo | None = None
    ) -> None:
        self._store = store
        self._key = key
        self._up_to = up_to
        self._memo = TeamMemo() if memo is None else memo
        self._runs: Sequence[TeamRun] = ()
        self._most = 0

    @property
    def store_id(self) -> str:
        """Id of the store."""
        return self._memo.get("store", self._store.identity).id

    @property
    def state(self) -> TeamState:
        """The team's state as it is now."""
        return self._memo.get("state", lambda: self._read(lambda one: one.team(*self._key)))

    @property
    def changes(self) -> Sequence[Change]:
        """The team's history, oldest first."""
        return self._memo.get("changes", lambda: self._read(lambda one: one.changes_of(*self._key)))

    @property
    def experiments(self) -> Sequence[Experiment]:
        """The team's experiments, oldest first."""
        return self._memo.get("experiments", lambda: self._read(lambda one: one.experiments_of(*self._key)))

    def experiment(self, experiment_id: str) -> Experiment | None:
        """Return one of them."""
        return self._memo.get(("one", experiment_id), lambda: self._read(lambda one: one.experiment(experiment_id)))

    def _read(self, read: Callable[[Transaction], _T]) -> _T:
        with self._store.reading() as transaction:
            return read(transaction)

    def runs(self, limit: int) -> Sequence[TeamRun]:
        """Return the team's last finished runs, newest first; what was read is not read again."""
        if limit > self._most:
            self._runs, self._most = self._last_runs(limit), limit
        return self._runs[:limit]

    def _last_runs(self, limit: int) -> Sequence[TeamRun]:
        if self._up_to is None:
            return self._read(lambda one: one.runs_of(*self._key, limit))
        most, up_to = limit + PIECE, self._up_to
        known = self._memo.get(("runs", limit), lambda: self._read(lambda one: one.runs_of(*self._key, most)))
        found = [run for run in known if (run.number or 0) <= up_to]
        if len(found) < limit and len(known) == most:  # many came after this one
            return self._read(lambda one: one.runs_of(*self._key, limit, up_to=up_to))
        return found

    def scores(self, limit: int) -> Sequence[tuple[TeamRun, Sequence[Score]]]:
        """Return the team's last finished runs, newest first, each with its scores."""
        scores = self._last_scores(limit)
        return [(run, scores.get(run.run_id, [])) for run in self.runs(limit)]

    def score_sources(self, limit: int) -> set[str]:
        """Return who gave the scores of the team's last finished runs."""
        scores = self._last_scores(limit)
        if not scores:
            return set()
        return {one.source for run in self.runs(limit) for one in scores.get(run.run_id, ())}

    def _last_scores(self, limit: int) -> Mapping[str, Sequence[Score]]:
        """Return scores by run id, those of the team's last runs among them."""
        if self._up_to is None:
            return self._read(lambda one: one.scores_of_runs(*self._key, limit))
        up_to = self._up_to
        until, known = self._memo.get(("scores", limit), lambda: self._scores_until(limit + PIECE, up_to + PIECE))
        if until < up_to:  # numbers may leave some out
            return self._scores_until(limit, up_to)[1]
        return known

    def _scores_until(self, limit: int, number: int) -> tuple[int, Mapping[str, Sequence[Score]]]:
        return number, self._read(lambda one: one.scores_of_runs(*self._key, limit, number))

    def judged_runs(self, name: str, judge: str, limit: int) -> Sequence[JudgedRun]:
        """Return what a model as judge made of the team's last runs, beside the labels of the same runs."""
        with self._store.reading() as transaction:
            return transaction.judged_runs(*self._key, name, judge, limit)

    def test_runs(self, experiment_id: str, after_order: int = 0) -> Sequence[Observation]:
        """Return the observations of an experiment's test, in order."""
        return self._observed(
            ("test", experiment_id), after_order, lambda one, after: one.observations(experiment_id, "test", after)
        )

    def live_runs(self, experiment_id: str, after_order: int = 0) -> Sequence[Observation]:
        """Return what the watch over a live plan sees, in order: its runs, and those that were a later test's control.

        Args:
            experiment_id: The experiment behind the plan.
        """
        return self._observed(
            ("watch", experiment_id), after_order, lambda one, after: one.live_observations(experiment_id, after)
        )

    def _observed(
        self, what: Hashable, after: int, read: Callable[[Transaction, int], Sequence[Observation]]
    ) -> Sequence[Observation]:
        """Return observations behind an order; only this judge gives orders, so what was read stays complete."""
        since, known = self._memo.get(what, lambda: (after, self._read(lambda one: read(one, after))))
        if after < since:
            known = self._read(lambda one: read(one, after))
        most = math.inf if self._up_to is None else self._up_to
        return [one for one in known if after < one.order <= most]

    def test_runs_since(self, at: float) -> Sequence[tuple[str, Observation]]:
        """Return the observations of the team's tests whose runs started at a Unix time or later, in order."""
        since, found = self._memo.get("week", lambda: self._starts_of_tests(at))
        if at < since:
            since, found = self._starts_of_tests(at)
        most = math.inf if self._up_to is None else self._up_to
        return [(name, one) for start, name, one in found if start >= at and one.order <= most]

    def _starts_of_tests(self, at: float) -> tuple[float, Sequence[tuple[float, str, Observation]]]:
        at -= EARLIER_SECONDS
        return at, self._read(lambda one: one.starts_of_tests(*self._key, at))
