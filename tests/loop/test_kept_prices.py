"""A test is paid in the prices it began with, and a run that was priced keeps its cost."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.price import KeptPrices, Price
from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin._settings import public_prices
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import Simulation, no_difference

USE = (TokenUse("m", 400_000, 200_000, provider="openai"),)


def write(project: Path, dollars: float) -> None:
    folder = project / ".victor"
    folder.mkdir(exist_ok=True)
    price = f"{{input_per_million_usd: {dollars}, output_per_million_usd: {dollars}}}"
    (folder / "autotune.yaml").write_text(f"prices: {{m: {price}}}\n")


def costs(team: Simulation) -> list[float | None]:
    """Return the stored costs, oldest first."""
    return [run.cost_usd for run in team.store.runs(status="finished")][::-1]


def began(project: Path) -> Simulation:
    """Return a team in a test that began when `m` cost 1 dollar for a million tokens."""
    write(project, 1)
    team = Simulation(project, truth=no_difference)
    team.tokens = USE
    team.run_until("started")
    return team


def test_an_open_test_keeps_the_prices_it_began_with_also_across_a_restart(tmp_path: Path) -> None:
    team = began(tmp_path)
    before = costs(team)
    assert set(before) == {0.6}
    write(tmp_path, 5)
    team.runtime._resolver = team.runtime._resolver.reload()
    assert team.run().cost_usd == pytest.approx(0.6)
    team.close()

    again = Simulation(tmp_path, truth=no_difference)
    again.tokens = USE
    assert again.runtime.resolver.price_of("m") == Price(5, 5)
    planned = again.run()
    assert planned.experiment_id is not None
    assert planned.cost_usd == pytest.approx(0.6)
    assert costs(again) == [*before, 0.6, 0.6]
    again.close()


def test_a_run_after_the_test_has_todays_price_and_those_before_keep_theirs(tmp_path: Path) -> None:
    team = began(tmp_path)
    write(tmp_path, 5)
    team.runtime._resolver = team.runtime._resolver.reload()
    team.run()
    experiment = team.experiments()[0]
    with team.store.transaction() as transaction:
        state = transaction.team(experiment.workflow, experiment.team_id)
        transaction.save_experiment(evolve(experiment, status="aborted", ended_at=experiment.created_at + 1))
        transaction.save_team(evolve(state, experiment_id=None, paused=True))
    assert team.run().cost_usd == pytest.approx(3.0)
    assert costs(team) == [0.6] * (len(costs(team)) - 1) + [3.0]
    team.close()


def test_a_test_keeps_public_prices_though_the_package_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team = Simulation(tmp_path, truth=no_difference)
    team.tokens = (TokenUse("gpt-4o", 1_000_000, provider="openai"),)
    team.run_until("started")
    (experiment,) = team.experiments()
    assert experiment.prices is not None
    assert list(experiment.prices.public or ()) == ["openai/gpt-4o"]
    (first, *_) = costs(team)
    monkeypatch.setattr(public_prices, "_look_up", lambda *_: Price(99, 99))
    assert team.run().cost_usd == pytest.approx(first)
    team.close()


def test_prices_are_stored_and_a_test_without_them_is_read(tmp_path: Path) -> None:
    team = began(tmp_path)
    (experiment,) = team.experiments()
    assert experiment.prices == KeptPrices(experiment.prices.at, {"m": Price(1, 1)}, {})
    team.close()
    with Store.open(default_url(tmp_path)) as store:
        assert store.experiment(experiment.id) == experiment
        other = evolve(experiment, id="of-0.1", prices=None)
        with store.transaction() as transaction:
            transaction.save_experiment(other)
        assert store.experiment("of-0.1") == other


def test_an_archive_keeps_the_prices_of_a_test_and_all_kinds_of_tokens(tmp_path: Path) -> None:
    from victor_autotune_plugin._model.converter import from_plain, to_plain
    from victor_autotune_plugin._model.run import TeamRun
    from victor_autotune_plugin.storage.archive import ExperimentRecord

    team = began(tmp_path)
    team.tokens = (TokenUse("m", 100, 50, 40, 30, 20, "openai", 272_000, 1),)
    run = team.run()
    (experiment,) = team.experiments()
    record = ExperimentRecord.stored(team.store, experiment)
    assert ExperimentRecord.read(record.to_dict()).experiment == experiment
    stored = next(iter(team.store.runs(status="finished", limit=1)))
    assert stored.tokens == run.tokens == team.tokens
    assert from_plain(TeamRun, to_plain(stored)) == stored
    assert stored.cost_usd is None
    team.close()


def test_the_first_runs_of_a_process_are_priced_behind_while_public_prices_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Simulation(tmp_path, truth=no_difference, mode="observe")
    team.tokens = (TokenUse("gpt-4o", 1_000_000, provider="openai"),)
    before = [public_prices.is_loaded]
    monkeypatch.setattr(public_prices, "is_loaded", False)
    # As on an event loop, until a thread asks.
    monkeypatch.setattr(public_prices, "_may_load", lambda: bool(before.append(True)) or len(before) > 2)
    event, planned = team.start()
    team.finish(event, planned)
    (stored,) = team.store.runs(status="finished")
    assert stored.cost_usd == pytest.approx(2.5)
    assert failsafe.seen() == ()
    team.close()


def test_a_model_without_a_price_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "victor_autotune_plugin")
    team = Simulation(tmp_path, truth=no_difference, mode="observe")
    team.tokens = (TokenUse("ours", 1000, provider="openai"),)
    assert [team.run().cost_usd for _ in range(5)] == [None] * 5
    said = [record.getMessage() for record in caplog.records if "'ours'" in record.getMessage()]
    assert len(said) == 1
    assert "no price is known" in said[0]
    team.close()
