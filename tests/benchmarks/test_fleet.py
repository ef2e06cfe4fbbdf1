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
    assert {name: row[name] for name in ("lost", "doubled", "lock errors", "not judged", "differences", "faults")} == {
        "lost": 0,
        "doubled": 0,
        "lock errors": 0,
        "not judged": 0,
        "differences": [],
        "faults": [],
    }
    assert row["settled"] == 3
    assert row["observed"] > 0
    assert row["decided"] == row["replayed alike"] == row["alone alike"]
    assert fleet.is_sound(row)
    assert not fleet.is_sound({**row, "lost": 1})
