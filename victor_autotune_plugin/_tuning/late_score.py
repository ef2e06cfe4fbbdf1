"""A score that comes from outside of the run's process: a person's rating, or another tool's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import failsafe

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._model.score import Score
    from ..storage import Store
    from ..storage.kept_outputs import KeptOutputs
    from .loop import TuningLoop


def record_score(store: Store, score: Score, outputs: KeptOutputs, loop: TuningLoop | None = None) -> TeamRun | None:
    """Write a score of a run, in place of an earlier one of the same name.

    A run that waited for it is judged: by this process where the team runs here, else by one that it runs in, which
    looks for such runs every 10 s. What is kept of the output goes once a person has rated it.

    Args:
        store: The store of the run.
        score: The score.
        outputs: The outputs that are kept on this machine.
        loop: The tuning loop of this process, where one is at work.

    Returns:
        The run as it is now; None, and nothing is written, where the store has none of this id.

    Raises:
        StoreError: If the store can't be used, or the score has an impossible value.
    """
    run = store.run(score.run_id)
    if run is None:
        return None
    with store.transaction() as transaction:
        transaction.record_score(score)
    if score.value is not None:
        from .._telemetry import metrics

        metrics.record_score(score.value, score.name, run.spec.workflow, run.spec.team_id)
    if loop is not None:
        loop.judge_work.touch([run.spec.key])
        loop.wake_judge()
    if score.source == "person":
        with failsafe.guard("removal of a rated output"):
            outputs.remove(score.run_id)
    return store.run(score.run_id)
