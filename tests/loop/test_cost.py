"""What a run costs in the store: a transaction waits for the lock, and a statement more is paid for by every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin.storage.session import Session
from victor_autotune_plugin.storage.transaction import Transaction
from victor_autotune_testing.simulated import Simulation, no_difference


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


def test_a_run_in_a_test_takes_two_transactions(tested: Simulation, calls: Counter[str]) -> None:
    assert tested.run().arm is not None
    # plan and start, end and judgement
    assert calls == {"begin": 2, "query": 6, "write": 4}


def test_a_run_outside_a_test_takes_two_transactions(tuned: Simulation, calls: Counter[str]) -> None:
    tuned.run()
    calls.clear()
    assert tuned.run().arm is None
    assert calls == {"begin": 2, "query": 1, "write": 2}


def test_a_look_for_a_test_reads_the_runs_once(tuned: Simulation, calls: Counter[str]) -> None:
    tuned.run()
    assert calls == {"begin": 2, "query": 4, "write": 2, "runs_of": 1}
