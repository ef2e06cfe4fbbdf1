"""What a run costs: nothing of the store where it runs, and little behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin.storage.session import Session
from victor_autotune_plugin.storage.transaction import Transaction
from victor_autotune_testing.simulated import Simulation, no_difference
from victor_autotune_testing.stepped import at_once


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count calls of the store by name."""
    counted: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def counting(*args: Any, **options: Any) -> Any:
            counted[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, counting)

    for name in ("begin", "query", "write"):
        count(Session, name)
    count(Transaction, "runs_of")
    return counted


def started(project: Path, **settings: object) -> Iterator[Simulation]:
    project.mkdir()
    team = Simulation(project, truth=no_difference, **settings)
    yield team
    team.runtime.close()


@pytest.fixture
def tested(tmp_path: Path) -> Iterator[Simulation]:
    """A team in a test."""
    for team in started(tmp_path / "tested"):
        team.run_until("started")
        team.run()
        yield team


@pytest.fixture
def tuned(tmp_path: Path) -> Iterator[Simulation]:
    """A team whose tuner has nothing to test, one run before it looks again."""
    for team in started(tmp_path / "tuned", strategies=("tool_budget",), **{"tuner.risk": "low"}):
        for _ in range(29):
            team.run()
        yield team


def test_a_run_asks_the_store_for_nothing(tested: Simulation, calls: Counter[str]) -> None:
    event, _ = tested.start()
    calls.clear()
    hooks = tested.runtime.hooks
    planned = at_once(hooks.plan(event))
    assert planned is not None
    assert planned.arm is not None
    hooks.tell("team_run_started", event=event, planned=planned)
    assert calls == {}


def test_behind_a_run_in_a_test_there_are_few_transactions(tested: Simulation, calls: Counter[str]) -> None:
    event, planned = tested.start()
    tested.runtime.loop.run_until_idle()
    calls.clear()
    tested.finish(event, planned)
    # its end; its number; the run; its observation, read three times for state, experiment and judge; how far it was
    # judged; and of some runs, what scorers decide
    assert calls["begin"] <= 9
    assert calls["write"] <= 8


def test_a_look_for_a_test_reads_the_runs_once(tuned: Simulation, calls: Counter[str]) -> None:
    tuned.run()
    assert calls["runs_of"] == 1
