"""The report is as large as it may be, and no larger."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from victor_autotune_plugin._page import offline
from victor_autotune_plugin._page.board import Board
from victor_autotune_plugin._page.shell import script_safe


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_all_fits_of_a_small_store(board: Board) -> None:
    data = data_of(offline.offline_report(board, "title"))
    assert len(data["teams"]) == 3
    assert all("points" in team["runs"] for team in data["teams"].values())
    assert board.store is not None
    assert len(data["runs"]) == sum(1 for _ in board.store.finished_runs())


def test_runs_are_drawn_in_groups_where_not_all_fits(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = offline.offline_report(board, "title")
    monkeypatch.setattr(offline, "MOST_BYTES", 400_000 + 110_000)
    text = offline.offline_report(board, "title")
    assert len(text.encode()) < offline.MOST_BYTES < len(whole.encode()) + 1
    data = data_of(text)
    assert len(data["teams"]) == 3
    assert any("bins" in team["runs"] for team in data["teams"].values())
    assert all(team["changes"] is not None for team in data["teams"].values())


def test_it_tells_how_far_it_is(board: Board) -> None:
    told: list[str] = []
    offline.offline_report(board, "Report", told.append)
    assert told[0] == "reading the runs"
    assert told[-3:] == [f"writing team {number} of 3" for number in (1, 2, 3)]


def test_nothing_in_the_data_ends_the_script() -> None:
    text = script_safe({"</script>": "<!-- & \u2028 \x1b"})
    assert not set(text) & set("<>&\u2028\x1b")
    assert json.loads(text) == {"</script>": "<!-- & \\u2028 \\x1b"}


def test_what_is_not_finite_is_null() -> None:
    assert json.loads(script_safe([float("nan"), float("inf"), 1.5, (True, None)])) == [None, None, 1.5, [True, None]]
