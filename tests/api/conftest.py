"""Runs as a metrics file has them, and projects to work in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._tuning import runtime
from victor_autotune_testing.made_runs import metric_rows


@pytest.fixture
def metrics() -> list[dict[str, Any]]:
    """A team that is slow, fails and uses many tools, and one that is too large."""
    return [
        *metric_rows("review", [75.0, 80.0, 70.0, 120.0], failed=1),
        *metric_rows("research", [250.0, 280.0, 290.0], formation="consensus", members=8, calls=50),
    ]


@pytest.fixture
def config() -> dict[str, Any]:
    """A config with Victor's older names of keys."""
    return {
        "team_formation": "sequential",
        "member_count": 5,
        "tool_budget": 50,
        "timeout_seconds": 300,
        "members": [{"id": f"m{i}", "role": "assistant"} for i in range(5)],
    }


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project as the current folder, also where another test has loaded Victor, which works on its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "project_folder", Path.cwd)
    return tmp_path
