"""Processes that are killed at random moments lose no run whose result was returned, and count none twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.mark.slow
def test_no_run_that_was_returned_is_lost_or_counted_twice(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARK), "--kills", "12", "--seed", "7", "--json", str(figures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert figures.exists(), done.stderr
    (found,) = json.loads(figures.read_text())["rows"]
    assert found["returned"] > 50
    assert found["in_a_test"] > 0.9 * found["returned"]
    assert (found["lost"], found["doubled"], found["wrong_arm"], found["journals_left"]) == (0, 0, 0, 0)
    assert found["settled"]
    assert done.returncode == 0
