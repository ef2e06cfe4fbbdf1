"""The scores of runs: what a transaction says of them, and what people read."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from .._model.experiment import Experiment
from .._model.run import TeamRun
from .._model.score import JudgedRun, Score, composite
from ..errors import StoreError
from .judging import NO_END
from .outbox import Outbox
from .rows import gates_of, remembered_run, score_of, score_values

if TYPE_CHECKING:
    from .transaction import Transaction

OUTPUT_LOST: Final = "output lost"
"""Why a scorer has no opinion of a run whose output went with its process."""

LEAST_PREFIX: Final = 6
"""So many characters of a run's id name it, where no other begins with them."""

_MOST_NAMED: Final = 5

_IN_NO_STORE: Final = re.compile("[\0\ud800-\udfff]")
# No id has them, and a store may refuse to look for it.


class RunScores(Outbox):
    """What a transaction says of scores; `Transaction` says the rest.

    What it only reads is of the transaction's environment; without one, of all.
    """

    def record_score(self, score: Score) -> bool:
        """Write a score of a run, in place of an earlier one of the same name.

        One that is older than the stored one, as a journal may bring it late, takes the place of no opinion alone. An
        observed run keeps the score that it was observed with.

        Returns:
            Whether the run is known; a score may come before its run, from a journal.

        Raises:
            StoreError: One of its figures is impossible.
        """
        values = score_values(score)
        self._query(self._sql.scored_run, {"of_run_id": score.run_id})  # locks it: the last of its scores sees all
        self._write(self._sql.record_score, values)
        return self._complete_score(score.run_id)

    def import_score(self, score: Score) -> bool:
        """Write a score of another store and return True, or False where the run has one of its name."""
        if not self._write(self._sql.import_score, score_values(score)):
            return False
        self._complete_score(score.run_id)
        return True

    def release_scores(self, silent_seconds: float) -> tuple[str, ...]:
        """Let no run wait for a scorer whose process is dead, since the output went with it.

        Args:
            silent_seconds: How long a process must have been silent to be dead.

        Returns:
            Ids of the runs that got rows of no opinion, for each of their gates that is not external and had none.
        """
        released = []
        rows = self._query(self._sql.unscored_runs, {"silent_seconds": silent_seconds})
        for row in sorted(rows, key=attrgetter("run_id")):
            known = {one.name for one in self.scores_of(row.run_id)}
            open_gates = [gate for gate in gates_of(row.gates) if not gate.is_external and gate.name not in known]
            for gate in open_gates:
                source = "hook" if gate.is_hook else "model" if gate.judge else "check"
                values = {"name": gate.name, "judge": gate.judge, "source": source, "why": OUTPUT_LOST}
                self._write(self._sql.no_opinion, {"run_id": row.run_id, **values})
            if open_gates:
                self._complete_score(row.run_id)
                released.append(row.run_id)
        return tuple(released)

    def waiting_treatments(self, experiment: Experiment) -> int:
        """Return how many runs of an experiment's treatment have ended and wait for something, such as their scores."""
        of = self._of(experiment.workflow, experiment.team_id, experiment.environment)
        rows = self._query(self._sql.waiting_treatments, {**of, "of_experiment_id": experiment.id})
        waiting: int = rows[0].runs
        return waiting

    def scores_of(self, run_id: str) -> list[Score]:
        """Return the scores of a run, by name."""
        return [score_of(row) for row in self._query(self._sql.scores_of, {"of_run_id": run_id})]

    def scores_of_runs(
        self, workflow: str, team_id: str, limit: int, up_to: int | None = None
    ) -> dict[str, list[Score]]:
        """Return the scores of the runs that `runs_of` returns, by run id."""
        of = {**self._of(workflow, team_id), "most": limit, "up_to": NO_END if up_to is None else up_to}
        return _by_run(score_of(row) for row in self._query(self._sql.scores_of_runs, of))

    def team_scores(self, workflow: str, team_id: str, runs: int) -> list[tuple[TeamRun, tuple[Score, ...]]]:
        """Return the last finished runs of a team, newest first, each with its scores by name.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            runs: At most so many runs, whether they have scores or not.
        """
        of = {**self._seen(workflow, team_id), "most": runs}
        found = [remembered_run(row) for row in self._query(self._sql.last_runs, of)]
        scores = _by_run(score_of(row) for row in self._query(self._sql.last_scores, of))
        return [(run, tuple(scores.get(run.run_id, ()))) for run in found]

    def judged_runs(
        self, workflow: str, team_id: str, name: str, judge: str, limit: int | None = None
    ) -> list[JudgedRun]:
        """Return what a model as judge made of a team's runs, oldest first, beside the labels of the same runs.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            name: Name of the judge.
            judge: Its digest; scores of another are left out.
            limit: Only the newest so many; None for all.
        """
        of = {**self._seen(workflow, team_id), "of_name": name, "of_judge": judge}
        of["most"] = NO_END if limit is None else limit
        labels = _by_run(score_of(row) for row in self._query(self._sql.labels, of))
        found = [
            JudgedRun(row.run_id, row.arm, score_of(row, "arm"), tuple(labels.get(row.run_id, ())))
            for row in self._query(self._sql.judged_runs, of)
        ]
        return found[::-1]

    def scorer_cost_since(self, at: float) -> float:
        """Return what scores have cost since a Unix time, US dollars."""
        of = {"of_environment": self._only_environment, "at": at}
        return float(self._query(self._sql.scorer_cost, of)[0].cost)

    def unrated_runs(self, limit: int, workflow: str | None = None, team_id: str | None = None) -> list[TeamRun]:
        """Return the last finished runs that no person has rated, newest first.

        Args:
            limit: At most so many.
            workflow: Only of this workflow.
            team_id: Only of teams with this id.
        """
        of = {**self._seen(workflow, team_id), "most": limit}
        return [remembered_run(row) for row in self._query(self._sql.unrated_runs, of)]

    def find_run(self, text: str) -> TeamRun | None:
        """Return the run that a person means, or None.

        Args:
            text: Its id, also with dashes or in capitals, or at least the first `LEAST_PREFIX` characters of it; or
                the id of its trace.

        Raises:
            StoreError: Several runs are meant; it names them.
        """
        written = text.strip()
        if _IN_NO_STORE.search(written):
            return None
        plain = written.replace("-", "").lower()
        of: dict[str, Any] = {"of_environment": self._only_environment, "most": _MOST_NAMED}
        for one in dict.fromkeys((written, plain)):
            tries: list[tuple[str, dict[str, Any]]] = [
                ("run_by_id", {"of_run_id": one}),
                ("runs_by_trace", {"of_trace_id": one}),
            ]
            if len(one) >= LEAST_PREFIX:
                tries.append(("runs_by_prefix", {"prefix": one, "length": len(one)}))
            for name, values in tries if one else ():
                rows = self._query(getattr(self._sql, name), {**of, **values})
                if len(rows) > 1:
                    more = ", …" if len(rows) == _MOST_NAMED else ""
                    raise StoreError(
                        f"{written!r} may be one of several runs: {', '.join(row.run_id for row in rows)}{more}",
                        hint="Write the id of the one that you mean.",
                    )
                if rows:
                    return remembered_run(rows[0])
        return None

    def _seen(self, workflow: str | None, team_id: str | None) -> dict[str, Any]:
        return {"of_environment": self._only_environment, "of_workflow": workflow, "of_team_id": team_id}

    def _complete_score(self, run_id: str) -> bool:
        """Make the score of a run from those of its gates, once they are all there; return whether it is known."""
        rows = self._query(self._sql.scored_run, {"of_run_id": run_id})
        if not rows:
            return False
        gates = gates_of(rows[0].gates)
        if gates:
            judges = {gate.name: gate.judge for gate in gates}
            found = {
                one.name: one.value if one.judge == judges.get(one.name) else None  # another judge is not the gate
                for one in self.scores_of(run_id)
            }
            waits = any(gate.name not in found for gate in gates)
            values = {"score": composite(gates, found), "score_until": rows[0].score_until if waits else None}
            self._write(self._sql.set_score, {"of_run_id": run_id, **values})
        return True


def _by_run(scores: Iterable[Score]) -> dict[str, list[Score]]:
    found = defaultdict(list)
    for one in scores:
        found[one.run_id].append(one)
    return found


class StoredScores:
    """What people read of scores in a store; `RunScores` says what each returns.

    They are of the store's environment; without one, of all.
    """

    def reading(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that only reads."""
        raise NotImplementedError

    def scores_of(self, run_id: str) -> list[Score]:
        """Return the scores of a run, by name."""
        with self.reading() as transaction:
            return transaction.scores_of(run_id)

    def team_scores(self, workflow: str, team_id: str, runs: int) -> list[tuple[TeamRun, tuple[Score, ...]]]:
        """Return the last finished runs of a team, newest first, each with its scores."""
        with self.reading() as transaction:
            return transaction.team_scores(workflow, team_id, runs)

    def judged_runs(
        self, workflow: str, team_id: str, name: str, judge: str, limit: int | None = None
    ) -> list[JudgedRun]:
        """Return what a model as judge made of a team's runs, oldest first, beside the labels of the same runs."""
        with self.reading() as transaction:
            return transaction.judged_runs(workflow, team_id, name, judge, limit)

    def scorer_cost_since(self, at: float) -> float:
        """Return what scores have cost since a Unix time, US dollars."""
        with self.reading() as transaction:
            return transaction.scorer_cost_since(at)

    def unrated_runs(self, limit: int, workflow: str | None = None, team_id: str | None = None) -> list[TeamRun]:
        """Return the last finished runs that no person has rated, newest first."""
        with self.reading() as transaction:
            return transaction.unrated_runs(limit, workflow, team_id)

    def find_run(self, text: str) -> TeamRun | None:
        """Return the run that a person means by a text, or None.

        Raises:
            StoreError: Several runs are meant; it names them.
        """
        with self.reading() as transaction:
            return transaction.find_run(text)
