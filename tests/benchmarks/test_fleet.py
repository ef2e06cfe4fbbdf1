"""A small fleet on PostgreSQL: it takes every run once, and decides as one process that is fed the same record."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, found as it is when it is started as a script."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    before = set(sys.modules)
    import fleet

    yield fleet
    for name in set(sys.modules) - before:
        if name in ("fleet", "_fleet_host", "_loop", "_report"):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("pgbouncer", [False, True])
def test_three_hosts_lose_and_double_nothing_and_decide_alike(
    fleet: ModuleType, tmp_path: Path, pgbouncer: bool
) -> None:
    if pgbouncer and not fleet.has_pooler():
        pytest.skip("pgbouncer is not installed")
    small = fleet.Fleet(hosts=3, teams=3, tested=3, rate=75.0, seconds=5.0)
    with fleet.servers(pgbouncer=pgbouncer) as (url, counted, log):
        row = fleet.measure(small, tmp_path, url, counted, log)
    assert row["runs"] == 375
    assert [row[name] for name in ("lost", "doubled", "not judged", "differences")] == [0, 0, 0, []]
    # Under load a lock may take longer than a client waits, and is asked for again; nothing else may happen.
    assert [fault for fault in row["faults"] if "is locked by another client" not in fault] == []
    assert "deadlock" not in (log.read_text() if log.exists() else "")
    assert row["settled"] == 3
    assert row["observed"] > 0
    assert row["decided"] == row["replayed alike"] == row["alone alike"]
    assert fleet.is_sound({**row, "lock errors": 0})
    assert not fleet.is_sound({**row, "lock errors": 1})
    assert not fleet.is_sound({**row, "lost": 1})
