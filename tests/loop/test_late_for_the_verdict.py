"""Runs of a test whose scores come after its verdict, in the loop itself."""

from __future__ import annotations

from pathlib import Path

from victor_autotune_plugin._model.assignment import OF_TEST
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin._tuning.judges import Judges
from victor_autotune_plugin._tuning.late_score import record_score
from victor_autotune_plugin._tuning.record import Record
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.storage.kept_outputs import KeptOutputs
from victor_autotune_testing.scored import have_quality
from victor_autotune_testing.simulated import SPEC, Simulation


def rate(team: Simulation, run_id: str) -> None:
    score = Score(run_id, "review", 0.9, "person", team.stepped.clock())
    record_score(team.store, score, KeptOutputs(Path("none")), team.runtime.loop)
    team.stepped.work()


def test_the_watch_over_the_promoted_plan_sees_them_and_all_of_it_replays(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True)
    have_quality(team.runtime, scorers={"review": {"external": True}})
    waiting: list[str] = []
    for number in range(400):
        run = team.run()
        if run.experiment_id is not None and run.phase == "test" and number % 9 == 0 and len(waiting) < 3:
            waiting.append(run.run_id)
        else:
            rate(team, run.run_id)
        if any(change.action == "promoted" for change in team.changes()):
            break
    (experiment,) = team.experiments()
    assert (experiment.status, experiment.policy.scored) == ("proven", True)
    assert experiment.decided_order is not None
    assert team.store.live_observations(experiment.id) == []
    for _ in range(3):
        rate(team, team.run().run_id)
        rate(team, waiting.pop(0))
    seen = team.store.live_observations(experiment.id)
    assert [one.stream.startswith(OF_TEST) for one in seen].count(True) == 3
    assert len(seen) == 6
    watch = Judges().watch(Record(team.store, SPEC.key), experiment).verdict()
    assert sum(watch.runs.values()) == 6
    assert [one.differences for one in replay_all(team.store, team.experiments())] == [{}]
    team.close()
