"""Where the system lacks what Unix has, as on Windows, the plugin observes: it records runs and tunes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CODE = """
import asyncio, os, sqlite3, subprocess, sys, tempfile, pathlib
import alembic.command, sqlalchemy, typer.testing

sys.modules["fcntl"] = None
flags = ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY")
for name in ("geteuid", "getuid", "fchmod", "fchown", *flags):
    delattr(os, name)
del os.register_at_fork
sys.platform = "win32"

from victor_autotune_testing.simulated import Simulation
from victor_autotune_plugin._cli.app import app

project = pathlib.Path(sys.argv[1])
team = Simulation(project, mode="auto")
for _ in range(30):
    run = team.run()
    assert (run.mode, run.plan_asked.is_empty, run.arm) == ("observe", True, None)
assert team.store.counts()["runs_finished"] == 30
assert team.changes() == []
team.close()
said = typer.testing.CliRunner().invoke(app, ["doctor", "--json", "--project", str(project)])
assert "only observes here" in said.output, said.output
assert "1 team, 30 runs" in " ".join(said.output.split()), said.output
said = typer.testing.CliRunner().invoke(app, ["status", "--project", str(project), "--json"])
assert '"runs": 30' in said.output, said.output
"""


def test_without_what_unix_has_runs_are_recorded_and_nothing_is_tuned(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _CODE, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
