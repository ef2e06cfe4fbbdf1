"""Processes that are killed at random moments lose no run whose result was returned, and count none twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_run_that_was_returned_is_lost_or_counted_twice(tmp_path: Path, database: str) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARK), "--kills", "12", "--seed", "7", "--json", str(figures)]
    command += ["--database", database, "--patience", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert figures.exists(), done.stderr
    (found,) = json.loads(figures.read_text())["rows"]
    assert found["killed before a result"] > 0
    assert found["returned"] > 20
    assert found["in a test"] > 0.9 * found["returned"]
    assert found["unfinished"] > 0
    bad = ("lost", "starts lost", "doubled", "wrong arm", "journals left")
    assert [name for name in bad if found[name]] == [], done.stderr
    assert found["settled"]
    assert done.returncode == 0
