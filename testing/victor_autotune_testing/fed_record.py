"""One process that is fed the runs of others, to see whether it draws the same conclusions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve

from victor_autotune_plugin._model.experiment import Experiment, TeamState
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.storage import Store

from .stepped import Clock

CONCLUSIONS = ("status", "verdict", "watch_verdict")
"""What is decided of an experiment."""


def fed_alone(
    project: Path,
    state: TeamState,
    tests: Iterable[Experiment],
    runs: Iterable[TeamRun],
    *,
    store_id: str,
    overrides: Mapping[str, object],
) -> dict[str, Experiment]:
    """Feed the runs of one team to one process with a store in memory, one after the other.

    Args:
        project: A folder whose settings the process has.
        state: The team before the first run.
        tests: Its experiments at that time.
        runs: Its finished runs, by number.
        store_id: Id of the store that they are of: ids of experiments follow from it.
        overrides: Settings by dotted key.

    Returns:
        The experiments of the team by id, those that it started by itself among them.
    """
    clock = Clock(0.0)
    runtime = Runtime(
        project,
        overrides=overrides,
        with_entry_points=False,
        with_files=False,
        open_store=lambda: Store.in_memory(clock, process=runtime.loop.process, store_id=store_id),
        clock=clock,
        wall_clock=clock,
    )
    store = runtime.store()
    with store.transaction() as transaction:
        for one in tests:
            transaction.save_experiment(one)
        transaction.save_team(evolve(state, version=0))
    runtime.loop.run_until_idle()
    for run in runs:
        clock.now = max(clock.now, run.ended_at)
        runtime.loop.memory.remember(run.spec.key, runtime.settings(run.spec))
        with store.transaction() as transaction:
            transaction.finish_run(run)
        runtime.loop.judge_work.touch([run.spec.key])
        runtime.loop.run_until_idle()
    found = {one.id: one for one in store.experiments(*state.key)}
    runtime.close()
    return found


def differences(shared: Experiment, alone: Experiment | None) -> list[str]:
    """Return what was concluded otherwise of an experiment: names of `CONCLUSIONS`, or that it is missing."""
    if alone is None:
        return ["missing"]
    return [name for name in CONCLUSIONS if getattr(shared, name) != getattr(alone, name)]
