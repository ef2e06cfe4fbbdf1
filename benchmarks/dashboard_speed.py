"""The dashboard over a large store: how soon the page is drawn, what an update costs, and how large the report is.

The store has made-up runs of many teams. `first paint` and `teams are there` are from asking for the address until a
real Chromium has painted, and until the list of teams is on the page, each in a new tab; the server is another process,
as it is for a person. `an update` is the work of the process that reads the store, after one more run was written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _report import parser, percentile, show

from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._page.board import Board
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.browser import chromium, find
from victor_autotune_testing.page_scenes import REVIEW, many, with_team

CALL = (sys.executable, "-c", "from victor_autotune_plugin._cli.app import main; main()")


def measure(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Return a row for each figure of the page over a project's store."""
    rows = in_process(folder, repeats)
    path = find()
    if path is not None:
        rows += in_browser(folder, path, repeats)
    begun = time.perf_counter()
    subprocess.run([*CALL, "report"], cwd=folder, check=True, capture_output=True)
    took = time.perf_counter() - begun
    size = (folder / "autotune-report.html").stat().st_size / 1e6
    return [*rows, row("report written, s", [took], ""), row("report, MB", [size], "≤ 10")]


def row(what: str, values: list[float], wanted: str) -> dict[str, Any]:
    """Return a row: the median and the 95th percentile of a figure."""
    figures = (percentile(values, share) for share in (0.5, 0.95))
    middle, high = (f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in figures)
    return {"what": what, "median": middle, "p95": high, "wanted": wanted}


def in_process(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Measure what the reader of the store does."""
    runtime = Runtime(folder)
    store = runtime.open_existing_store()
    assert store is not None
    with store:
        board = Board(runtime, store)
        loaded = ms(lambda: board.refresh(0.0))
        while not board.is_whole:
            board.refresh()
        quiet = [ms(board.refresh) for _ in range(repeats)]
        updates = []
        for number in range(repeats):
            add_run(folder, number)
            updates.append(ms(lambda: board.refresh(60.0)))
        key = next(iter(board.overview()["teams"]))
        team = [ms(lambda: board.team(key["workflow"], key["team"])) for _ in range(repeats)]
    runtime.close()
    return [
        row("all runs read at the start, ms", [loaded], ""),
        row("a look without a change, ms", quiet, "≤ 100"),
        row("an update, ms", updates, "≤ 100"),
        row("a team asked for, ms", team, ""),
    ]


def ms(work: Callable[[], object]) -> float:
    """Return how many milliseconds some work takes."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def add_run(folder: Path, number: int) -> None:
    """Write one more run."""
    with Store.open(default_url(folder)) as store, store.transaction() as transaction:
        run = TeamRun(f"{number:032x}", with_team(REVIEW, number), time.time(), 3.0, True, 1.0)
        transaction.finish_run(run)


def in_browser(folder: Path, path: str, repeats: int) -> list[dict[str, Any]]:
    """Measure what a person sees."""
    painted, there = [], []
    with subprocess.Popen([*CALL, "dashboard", "--json"], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
        with chromium(path) as browser:
            for _ in range(repeats):
                tab = browser.new_page()
                begun = time.perf_counter()
                tab.goto(url)
                tab.wait_for_selector(".teams tbody tr")
                there.append(1000 * (time.perf_counter() - begun))
                script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                painted.append(float(tab.evaluate(script)))
                tab.close()
        process.terminate()
    return [row("first paint, ms", painted, "≤ 1000"), row("teams are there, ms", there, "")]


def main() -> None:
    """Make the store, measure, and print the table."""
    made = parser(str(__doc__).partition("\n")[0])
    made.add_argument("--teams", type=int, default=1_000)
    made.add_argument("--runs", type=int, default=100_000)
    made.add_argument("--repeats", type=int, default=10)
    made.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many(Path(folder), options.teams, options.runs)
        rows = measure(Path(folder), options.repeats)
    title = f"The dashboard: {options.teams:,} teams, {options.runs:,} runs, load {os.getloadavg()[0]:.1f}"
    show(title, rows, options.json)


if __name__ == "__main__":
    main()
