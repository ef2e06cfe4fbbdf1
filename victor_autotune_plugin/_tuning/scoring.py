"""How a run that ends is scored: which scorers decide for it, and what is handed over for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from .. import failsafe
from .._model.score import Gate, Score
from ..quality import RunOutput, run_scorer
from .gates import lost_gate
from .score_work import IS_SCORING, ScoreJob, ScoreWork
from .team_scorers import scorers_for

if TYPE_CHECKING:
    from .._model.plan import TeamSpec
    from .._model.run import TeamRun
    from .._settings import Settings
    from ..storage import Store
    from .hookmanager import HookManager
    from .snapshot import Memory

_MOST_OUTPUTS: Final = 1000
# That were handed over and whose runs were not, since something failed between the two.


@frozen
class EndedRun:
    """A run that ended, and what its score is made of.

    Attributes:
        run: The run; one that delivered nothing has its score.
        gates: The scorers that its score is made of.
        score_seconds: How long a judge waits for them; None for not at all.
        output: What it delivered; None where that was not handed over.
        is_to_score: Whether anything is left to be scored.
    """

    run: TeamRun
    gates: tuple[Gate, ...] = ()
    score_seconds: float | None = None
    output: RunOutput | None = None
    is_to_score: bool = True


class Scoring:
    """Has the work of runs scored behind them.

    Attributes:
        work: The work of the scoring thread.

    Args:
        settings: Resolves the settings of a team that the memory has none of.
        project: Folder that the runs work in.
        done: As for `ScoreWork`.
        store: Gives the store, or None while it is not reached.
        clock: Monotonic seconds.
        wall_clock: Unix seconds.
    """

    def __init__(
        self,
        memory: Memory,
        hooks: HookManager,
        settings: Callable[[TeamSpec, Any], Settings],
        project: Path,
        done: Callable[[TeamRun, Score], Callable[[], bool]],
        store: Callable[[], Store | None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._memory = memory
        self._hooks = hooks
        self._settings = settings
        self._project = project
        self._store = store
        self._outputs: dict[str, RunOutput] = {}
        self.work = ScoreWork(self._scorers, run_scorer, done, self._spent, clock, wall_clock)

    # --- on the event loop

    def to_score(self, run: TeamRun, text: str, members: Mapping[str, str]) -> None:
        """Take what a run delivered, before the run itself is handed over.

        Args:
            run: The run.
            text: What its caller gets; blank where it delivered nothing.
            members: What each member delivered, by id.
        """
        while len(self._outputs) >= _MOST_OUTPUTS:
            self._outputs.pop(next(iter(self._outputs)), None)
        self._outputs[run.run_id] = RunOutput(run, text, members, self._project)

    def ended(self, run: TeamRun) -> EndedRun:
        """Return a run with what its score is made of.

        A run in an experiment is scored by the experiment's gates, and waits for them; any other one by the team's. One
        that delivered nothing is worth nothing, which no scorer needs to tell.
        """
        output = self._outputs.pop(run.run_id, None)
        if run.cancelled or IS_SCORING.get():
            return EndedRun(run, is_to_score=False)
        snapshot, seconds = self._memory.snapshot, None
        test = snapshot.experiments.get(run.experiment_id) if run.experiment_id is not None else None
        if test is None:
            state = snapshot.teams.get(run.spec.key)
            gates = () if state is None else state.gates
        else:
            state = snapshot.teams.get(run.spec.key)
            # Of a live plan, who decides no more is neither waited for nor heard; a test ends by it.
            is_lost = test.is_verified and state is not None and lost_gate(test, state.gates) is not None
            gates = () if is_lost else test.gates
            seconds = self.settings_of(run).quality.deadline if gates else None
        if output is not None and (not output.text or output.text.isspace()):
            return EndedRun(evolve(run, score=0.0) if gates else run, is_to_score=False)
        return EndedRun(run, gates, seconds, output)

    def submit(self, ended: EndedRun) -> None:
        """Have a run scored that was handed over, where anything scores it."""
        run, output = ended.run, ended.output
        quality = self.settings_of(run).quality
        if not (quality.scorers or self._hooks.scores_runs or (ended.gates and output is not None)):
            return
        has_text = output is not None
        self.work.submit(ScoreJob(output or RunOutput(run, "", {}, self._project), run, quality, ended.gates, has_text))

    def settings_of(self, run: TeamRun) -> Settings:
        """Return the settings by which a run's team ran last."""
        return self._memory.settings.get(run.spec.key) or self._settings(run.spec, None)

    # --- on the scoring thread

    def _scorers(self, job: ScoreJob) -> list[Any]:
        return scorers_for(job.quality, self._hooks.scorers(job.run.spec))

    def _spent(self, since: float) -> float | None:
        store = self._store()
        if store is None:
            return None
        with failsafe.guard("what scorers cost"), store.reading() as transaction:
            return transaction.scorer_cost_since(since)
        return None
