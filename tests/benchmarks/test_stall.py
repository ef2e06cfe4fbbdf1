"""The benchmarks of a run's way measure what they say, and their tables show it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks._report import WIDTH, show

FIGURES: dict[str, Any] = {
    "held": 3.14159,
    "held without": 0.5,
    "later": 0.01,
    "first": 260.0,
    "runs": 400,
    "delay median": 2.5,
    "delay": 12.0,
    "exit": 2001.0,
    "collector": 30.0,
    "drained": "",
    "faults": ["store: StoreBusyError: locked (2)"],
}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark, found as it is when it is started as a script."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    before = set(sys.modules)
    import stall

    yield stall
    for name in set(sys.modules) - before:
        if name in ("stall", "_loop", "_report"):
            del sys.modules[name]


def test_every_store_is_played_in_every_mode_and_every_hook_with_every_fault(scripts: ModuleType) -> None:
    wanted = [*scripts.STORES, "hooks", *scripts.BUSY]
    found = scripts.scenes(wanted, list(scripts.MODES))
    assert len(found) == len(set(found)) == 7 * 5 + 9 * 3 + 3


@pytest.mark.parametrize(
    ("missed", "reached"), [({}, "yes"), ({"held": 21}, "no"), ({"later": 0.6}, "no"), ({"delay": 151}, "no")]
)
def test_a_line_says_whether_all_bounds_are_reached(
    scripts: ModuleType, missed: dict[str, float], reached: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [scripts.line("stopped", "auto", {**FIGURES, **missed}), scripts.no_line("full", "off", "took too long")]
    assert rows[0]["reached"] == reached
    assert rows[1].keys() == rows[0].keys()
    show("A title", rows, None, only_json=["faults"])
    *table, _ = capsys.readouterr().out.splitlines()
    assert max(map(len, table)) <= WIDTH


def test_only_the_steps_of_a_coroutine_hold_the_loop(scripts: ModuleType) -> None:
    async def half_asleep() -> str:
        sum(range(100_000))
        await asyncio.sleep(0.2)
        return "done"

    held = sys.modules["_loop"].Held()

    async def main() -> str:
        result: str = await held.steps(half_asleep())
        return result

    assert scripts is not None
    assert asyncio.run(main()) == "done"
    assert 0 < held.total[0] < 0.2  # without the sleep


@pytest.mark.slow
def test_processes_on_one_file_lose_no_run(scripts: ModuleType) -> None:
    assert scripts is not None
    import contention

    found = contention.measure(2, 100, 1.0)
    assert (found["outside the loop"], found["recorded"]) == (0, found["runs"])
