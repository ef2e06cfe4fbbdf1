"""Commands over a store of years: how long each takes, and the most memory it has.

The store has made-up runs of teams of unequal size, some of them tuned (`_grown_store.py`). Each command is a process
of its own, as a person starts it; `--store` keeps the store, so that it is made only once.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from _report import parser, show, with_compiled_modules

CALL: Final = (sys.executable, "-c", "from victor_autotune_plugin._cli.app import main; main()")

AT_ONCE: Final = 1.0
"""Seconds that a command which shows something may take."""

MOST_MB: Final = 200.0
"""Memory that any command may have, MB."""


def commands(team: str) -> list[tuple[str, tuple[str, ...], float | None]]:
    """Return what is measured: its name, the arguments, and the seconds that it may take, None for no bound.

    Args:
        team: The team that some of them name.
    """
    return [
        ("--version, which reads nothing", ("--version",), None),
        ("status", ("status",), AT_ONCE),
        ("status --json", ("status", "--json"), AT_ONCE),
        ("status TEAM", ("status", team), AT_ONCE),
        ("history TEAM", ("history", team), AT_ONCE),
        ("history", ("history",), AT_ONCE),
        ("explain TEAM", ("explain", team), AT_ONCE),
        ("runs --team-id TEAM", ("runs", "--team-id", team), AT_ONCE),
        ("report TEAM", ("report", team, "--output", "team.html"), AT_ONCE),
        ("report", ("report", "--output", "all.html"), None),
        ("export TEAM", ("export", team, "--output", "team.jsonl"), None),
        ("export", ("export", "--output", "all.jsonl"), None),
        ("analyze TEAM", ("analyze", team), None),
        ("analyze", ("analyze", "--output", "analysis.json"), None),
    ]


def measure(folder: Path, chosen: str) -> list[dict[str, Any]]:
    """Return a row for each command over a project's store.

    Args:
        folder: The project.
        chosen: Only commands whose name holds this.
    """
    file = folder / ".victor" / "autotune.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        # A team with a live plan and many runs has the most to tell.
        team: str = database.execute(
            "SELECT team_id FROM autotune_lease WHERE (workflow, team_id) IN "
            "(SELECT workflow, team_id FROM autotune_team WHERE live_id IS NOT NULL) ORDER BY judged DESC"
        ).fetchone()[0]
    rows = []
    environment = with_compiled_modules(folder / "compiled")
    for once in ("status", "explain", "report", "analyze"):  # they compile the modules
        subprocess.run([*CALL, once, team], cwd=folder, env=environment, capture_output=True, check=False)
    for name, arguments, seconds in commands(team):
        if chosen in name:
            rows.append(timed(name, arguments, seconds, folder, environment))
            print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def timed(
    name: str, arguments: tuple[str, ...], seconds: float | None, folder: Path, environment: dict[str, str]
) -> dict[str, Any]:
    """Run a command and return its row."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [*CALL, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=told
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            told.seek(0)
            raise RuntimeError(f"{name}: exit code {process.returncode}: {told.read().decode()[-2000:]}")
    memory = used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    wanted = f"≤ {MOST_MB:.0f} MB" if seconds is None else f"≤ {seconds:g} s, {MOST_MB:.0f} MB"
    kept = memory <= MOST_MB and (seconds is None or wall <= seconds)
    return {
        "command": name,
        "seconds": f"{wall:.2f}",
        "CPU s": f"{used.ru_utime + used.ru_stime:.2f}",
        "MB": f"{memory:.0f}",
        "wanted": wanted,
        "reached": "yes" if kept else "no",
    }


def made(folder: Path, teams: int, runs: int) -> None:
    """Make the store of a project in a process of its own, whose memory is then none of the commands'."""
    script = Path(__file__).with_name("_grown_store.py")
    subprocess.run([sys.executable, str(script), str(folder), str(teams), str(runs)], check=True, stdout=sys.stderr)


def main() -> None:
    """Make the store, measure, and print the table."""
    options = parser(str(__doc__).partition("\n")[0])
    options.add_argument("--teams", type=int, default=1_000)
    options.add_argument("--runs", type=int, default=1_000_000)
    options.add_argument("--store", type=Path, metavar="DIR", help="folder that keeps the store")
    options.add_argument("--only", default="", metavar="TEXT", help="only commands whose name holds this")
    options.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.store or Path(temporary)
        if not (folder / ".victor" / "autotune.db").exists():
            made(folder, given.teams, given.runs)
        with closing(sqlite3.connect(folder / ".victor" / "autotune.db")) as database:
            teams, runs = (
                database.execute(f"SELECT count(*) FROM {of}").fetchone()[0]
                for of in ("autotune_lease", "autotune_run")
            )
        rows = measure(folder, given.only)
    title = f"A store of years: {teams:,} teams, {runs:,} runs, load {os.getloadavg()[0]:.1f}"
    show(title, rows, given.json)


if __name__ == "__main__":
    main()
