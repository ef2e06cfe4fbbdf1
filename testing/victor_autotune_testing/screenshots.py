"""Draws the pages into a folder: `python -m victor_autotune_testing.screenshots DIR`, or `make screenshots`.

The teams are made up and the time stands still, so that pictures change only where the page does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from victor_autotune_plugin._cli.dashboard import board_of
from victor_autotune_plugin._cli.project import opened
from victor_autotune_plugin._page.offline import offline_report

from .browser import chromium, find
from .page_scenes import REVIEW, fill

WIDTHS: Final = (360, 768, 1280, 1600)
SCHEMES: Final = ("light", "dark")
NOW: Final = 1_793_534_400.0
"""2026-11-01 12:00 UTC, when the pictures are taken."""


def draw(folder: Path, path: str) -> list[Path]:
    """Draw every page at every width, light and dark.

    Args:
        folder: Where the pictures go; those of the same name are replaced.
        path: Path of a Chromium.

    Returns:
        The pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with tempfile.TemporaryDirectory() as made:
        project = Path(made) / "shop"
        project.mkdir()
        fill(project, NOW)
        page = project / "autotune-report.html"
        run_id = _write(project, page)
        team = f"{REVIEW.workflow}/{REVIEW.team_id}"
        routes = {"overview": "#/", "team": f"#/team/{team}", "run": f"#/run/{run_id}"}
        with chromium(path) as browser:
            for scheme in SCHEMES:
                for width in WIDTHS:
                    context = browser.new_context(
                        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
                    )
                    tab = context.new_page()
                    for name, route in routes.items():
                        tab.goto(page.as_uri() + route)
                        tab.wait_for_selector(".gantt .bar" if name != "overview" else ".teams tbody tr")
                        tab.wait_for_timeout(400)
                        drawn.append(folder / f"{name}-{width}-{scheme}.png")
                        tab.screenshot(path=drawn[-1], full_page=True)
                        _make_small(drawn[-1])
                    context.close()
    return drawn


def _make_small(picture: Path) -> None:
    """Store a picture with few colours, a third as large, where `pngquant` is there."""
    if shutil.which("pngquant") is not None:
        command = ["pngquant", "--force", "--skip-if-larger", "--quality=70-95", "--output", str(picture), str(picture)]
        subprocess.run(command, check=False)


def _write(project: Path, page: Path) -> str:
    """Write the report of a project, and return the id of a run in it."""
    with opened(project) as session:
        assert session.store is not None
        page.write_text(offline_report(board_of(session, clock=lambda: NOW), "Autotune"), encoding="utf-8")
        return next(session.store.finished_runs(*REVIEW.key, limit=1)).run_id


def main() -> None:
    """Draw the pages into the folder that the command line names."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    path = find()
    if path is None:
        sys.exit("No Chromium: make browser")
    for one in draw(Path(sys.argv[1]), path):
        print(f"{one}: {one.stat().st_size // 1024} kB")  # noqa: T201


if __name__ == "__main__":
    main()
