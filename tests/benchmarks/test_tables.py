"""Tables of benchmarks fit 80 columns, and nothing in them is cut."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks._report import WIDTH, show

WIDE: list[dict[str, Any]] = [
    {
        "what": "of these, the plan of a run in an open test",
        "runs": 2000,
        "median ms": 0.123,
        "processor median ms": 0.3,
        "95 % interval": "-1234567.123…1234567.123",
        "times as fast as json.load + statistics": 4.2,
        "heavy imports": "none",
        "reached": "yes",
    }
]


@pytest.mark.parametrize("rows", [WIDE, [dict.fromkeys(("a", "b"), "[x]")], [{"alone": 1}]])
def test_a_table_fits_and_shows_everything(rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    show("A title", rows, None, "a note that is so long that it does not fit into one line of eighty columns at all")
    *table, data = capsys.readouterr().out.splitlines()
    assert data.startswith("{")
    assert max(map(len, table)) <= WIDTH
    cells = " ".join(cell.strip() for line in table for cell in line.replace("┃", "│").split("│"))
    for name, value in rows[0].items():
        for word in f"{name} {value}".split():
            assert word in cells
