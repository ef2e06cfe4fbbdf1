"""A run is recorded whatever fails behind it, and is judged later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._tuning.judge_work import JudgeWork
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin._tuning.verdicts import Verdicts
from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.experiment import Judge
from victor_autotune_plugin.storage.session import Session
from victor_autotune_testing.simulated import Simulation


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    """A team whose test has begun."""
    team = Simulation(tmp_path)
    team.run_until("started")
    team.run()
    yield team
    team.close()


@pytest.mark.parametrize(
    ("owner", "name"), [(Judge, "observe"), (Verdicts, "conclude"), (JudgeWork, "_draw_conclusions")]
)
def test_a_run_whose_judgement_fails_is_recorded_and_judged_later(
    team: Simulation, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, broken)
        run = team.run()
    (fault,) = failsafe.seen()
    assert (fault.where, fault.error) == ("judgement of a run", "ZeroDivisionError: ")
    failsafe.forget()
    assert team.store.run(run.run_id) == evolve(run, score=1.0)
    (experiment,) = team.experiments()
    assert team.store.observations(experiment.id, "test")[-1].run_id == run.run_id
    promoted = team.run_until("promoted")
    assert sum(promoted.evidence["runs"].values()) == len(team.store.observations(experiment.id, "test"))


def test_a_run_that_could_not_be_committed_waits_in_the_journal_and_is_judged_in_the_order_of_the_store(
    team: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Session) -> None:
        raise StoreUnavailableError("the disk is full")

    event, planned = team.start()
    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", full)
        late = team.finish(event, planned)
    assert {fault.error for fault in failsafe.seen()} == {"StoreUnavailableError: the disk is full"}
    failsafe.forget()
    assert team.store.run(late.run_id) is None
    (journal,) = (tmp_path / ".victor" / "autotune-journal").iterdir()
    assert late.run_id in journal.read_text()
    elsewhere = Simulation(tmp_path, seed=7)
    early = elsewhere.run()
    elsewhere.close()
    team.recover()
    promoted = team.run_until("promoted")
    assert not journal.exists()
    (experiment,) = team.experiments()
    observed = [one.run_id for one in team.store.observations(experiment.id, "test")]
    assert {early.run_id, late.run_id} <= set(observed)
    assert sum(promoted.evidence["runs"].values()) == len(observed)
    (replayed,) = replay_all(team.store, [experiment])
    assert replayed.same, replayed.differences


def test_before_a_team_runs_no_store_is_made(tmp_path: Path) -> None:
    project = tmp_path / "new"
    project.mkdir()
    owner = Runtime(project, with_entry_points=False)
    assert owner.loop.store_work.step(0.0) > 0
    owner.loop.files.step(0.0)
    owner.loop.judge_work.step(0.0)
    assert list(project.iterdir()) == []
    owner.loop.want_store()
    owner.loop.store_work.step(0.0)
    assert (project / ".victor" / "autotune.db").exists()
    owner.close()


def test_a_run_that_the_store_kept_from_being_judged_is_judged_without_another_run(
    team: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailableError("the server went away")

    with monkeypatch.context() as patched:
        patched.setattr(JudgeWork, "_draw_conclusions", away)
        team.run()
    failsafe.forget()
    team.recover()
    team.runtime.loop.run_until_idle()
    process = team.runtime.loop.process.id
    with team.store.transaction() as transaction:
        lease = transaction.take_lease(*team.spec.key, process, 5.0)
        (newest,) = transaction.runs_of(*team.spec.key, 1)
    assert lease is not None
    assert lease.judged == newest.number
