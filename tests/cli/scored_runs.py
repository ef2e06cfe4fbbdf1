"""A project with runs of the team `team`, written into its store, and scores of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import evolve

from victor_autotune_plugin._model.experiment import TeamState
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import SPEC

AT = 1_790_000_000.0


def run_id(number: int) -> str:
    """The id of a run."""
    return f"{number:06x}" + "0" * 26


def trace_id(number: int) -> str:
    """The id of its trace."""
    return "f" * 26 + f"{number:06x}"


def ended(number: int, **changes: Any) -> TeamRun:
    """A run outside of a test that took 10 s."""
    run = TeamRun(
        run_id(number), SPEC, AT + 60 * number, 10.0, success=True, member_success_share=1.0,
        task_key=f"task-{number}", trace_id=trace_id(number), mode="auto",
    )  # fmt: skip
    return evolve(run, **changes)


def write_runs(folder: Path, runs: Iterable[TeamRun], scores: Iterable[Score] = (), gates: Iterable[Gate] = ()) -> None:
    """Write a project's store."""
    gates = tuple(gates)
    with Store.open(default_url(folder)) as store, store.transaction() as transaction:
        transaction.save_team(TeamState(*SPEC.key, fingerprint=SPEC.fingerprint(), spec=SPEC, gates=gates))
        for run in runs:
            transaction.finish_run(run, gates=gates)
        for score in scores:
            transaction.record_score(score)


def scores_in(folder: Path, number: int) -> dict[str, Score]:
    """The scores of a run, by name."""
    with Store.open(default_url(folder)) as store:
        return {one.name: one for one in store.scores_of(run_id(number))}
