"""The benchmark of the data flow says when something that was to be reached is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks._report import WIDTH, show

INDEPENDENT = ["independent"]
LINES: list[dict[str, Any]] = [
    {"truth": "dependent", "verdict": "dependent", "found": "3/3", "sure": "2/2", "acceptable": ["dependent"]},
    {"truth": "dependent", "verdict": "unknown", "found": "1/1", "sure": "", "acceptable": ["dependent", "unknown"]},
    {"truth": "unseen", "verdict": "unknown", "found": "", "sure": "", "acceptable": ["unknown"]},
    {"truth": "independent", "verdict": "unknown", "found": "", "sure": "", "acceptable": ["unknown"]},
    {"truth": "independent", "verdict": "independent", "found": "", "sure": "", "acceptable": INDEPENDENT},
]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, found as it is when it is started as a script."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    before = set(sys.modules)
    import data_flow

    yield data_flow
    for name in set(sys.modules) - before:
        if name in ("data_flow", "_victor", "_report"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("line", "change", "missed"),
    [
        (0, {}, None),
        (0, {"verdict": "independent"}, "dependent teams called independent"),
        (2, {"verdict": "independent"}, "dependent teams called independent"),
        (0, {"sure": "48/50"}, "precision of sure edges"),
        (1, {"found": "0/1"}, "recall of edges that can be seen, with suspected ones"),
        (4, {"verdict": "unknown"}, "independent teams of sub-agents found"),
        (2, {"verdict": "dependent"}, "closures and databases unknown"),
    ],
)
def test_each_bound_is_held_against_all_teams(
    benchmark: ModuleType, line: int, change: dict[str, str], missed: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"team": f"team {n}", **one, **(change if n == line else {})} for n, one in enumerate(LINES)]
    found = benchmark.sums(rows)
    assert missed is None or missed in [row["over all teams"] for row in found if row["reached"] == "no"]
    assert (missed is None) == all(row["reached"] == "yes" for row in found)
    show("A title", rows, None, sums=found)
    *table, data = capsys.readouterr().out.splitlines()
    assert max(map(len, table)) <= WIDTH
    assert '"sums"' in data
    assert any(found[0]["value"] in line for line in table)


def test_every_team_is_played_once_and_few_of_them_in_one_process(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[list[str]] = []

    class Pool:
        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None: ...

        def map(self, work: Any, parts: Any) -> Any:
            return [work(part) for part in parts]

    def work(names: list[str], runs: int) -> list[dict[str, Any]]:
        assert runs == 3
        played.append(list(names))
        return [{"team": name} for name in names]

    monkeypatch.setattr(benchmark, "_pool", Pool)
    names = [scene.name for scene in benchmark.SCENES]
    assert [row["team"] for row in benchmark._in_processes(work, names, 3)] == names
    assert sorted(name for part in played for name in part) == sorted(names)
    assert all(len(part) <= benchmark.AT_ONCE for part in played[1:])
