"""The tutorials, followed word by word in an empty folder on real Victor, end with a proven plan."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.docs_pages import PageBlock, blocks
from victor_autotune_testing.sandbox import Sandbox
from victor_autotune_testing.scripted import Lognormal, ScriptedModel, scripts

pytestmark = [
    pytest.mark.victor,
    pytest.mark.slow,
    pytest.mark.skipif("AUTOTUNE_TUTORIALS" not in os.environ, reason="takes minutes: run by make tutorials"),
]

PREPARED = ("python -m venv", ". .venv", "pip install", "export OPENAI_API_KEY")
"""What the test's environment has done already; tests of the distribution install the package."""

MOST_REPEATS = 6
"""How often the runs are repeated while the test goes on, as the page says."""


class Reader:
    """Does what a page says, block by block.

    Args:
        project: The folder, empty at first.
        home: The reader's home.
        base_url: The model's server.
        run: Runs a command line in the folder and returns what it printed.
    """

    def __init__(self, project: Path, home: Path, base_url: str, run: Callable[[list[str]], str]) -> None:
        self._project, self._home, self._base_url, self._run = project, home, base_url, run
        self.said: dict[str, str] = {}

    def follow(self, page: str, *, until_proven: str) -> None:
        """Do all that a page says.

        Args:
            page: Its name.
            until_proven: The command after which the runs before it are repeated until the plan is proven.
        """
        runs = ""
        for block in blocks(page):
            if block.file is not None:
                self._write(block)
                continue
            for line in block.commands():
                if line.startswith(PREPARED):
                    continue
                if line == until_proven and self.statuses() != []:
                    self._repeat(runs)
                self.said[line] = self._run(shlex.split(line))
                if re.search(r"(--runs|review\.py) \d+", line):
                    runs = line
            self._compare(block)

    def prepare(self, page: str) -> None:
        """Do the first step of another page: its files in the home."""
        for block in blocks(page):
            if block.file is not None and block.file.startswith("~/"):
                self._write(block)

    def failed_runs(self) -> int:
        """Return how many runs of teams did not succeed."""
        with Store.open(default_url(self._project)) as store:
            return sum(not run.success for run in store.finished_runs())

    def statuses(self) -> list[str]:
        """Return the states of all tests, newest first."""
        with Store.open(default_url(self._project)) as store:
            return [one.status for one in store.experiments()]

    def _repeat(self, runs: str) -> None:
        for _ in range(MOST_REPEATS):
            if "proven" in self.statuses():
                return
            self._run(shlex.split(runs))

    def _write(self, block: PageBlock) -> None:
        assert block.file is not None
        path = self._home / block.file[2:] if block.file.startswith("~/") else self._project / block.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text.replace("http://127.0.0.1:8000/v1", self._base_url))

    def _compare(self, block: PageBlock) -> None:
        """Find each line that the page shows of a command's output in what was printed; an ellipsis is anything."""
        command = ""
        for line in block.text.splitlines():
            if line.startswith("$ "):
                command = line[2:]
            elif line.strip():
                shown = ".*".join(map(re.escape, line.split("…")))
                assert re.search(f"^{shown}$", self.said[command], re.MULTILINE), self.said[command]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    script = scripts.succeed_at_once(Lognormal(median=0.25, sigma=0.2), seed=7)
    sandbox = Sandbox(tmp_path / "home", tmp_path / "project")
    sandbox.home.mkdir()
    sandbox.project.mkdir()
    with ScriptedModel(script) as model:

        def run(words: list[str]) -> str:
            program = ["victor-autotune", *words[2:]] if words[:2] == ["victor", "autotune"] else words
            environment = {**sandbox.environment(), "COLUMNS": "100", "NO_COLOR": "1"}
            done = subprocess.run(
                sandbox.command(program),
                cwd=sandbox.project,
                env=environment,
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
            return done.stdout

        yield Reader(sandbox.project, sandbox.home, model.base_url, run)


def test_a_workflow_file_gets_a_proven_plan(reader: Reader) -> None:
    reader.follow("tutorial.md", until_proven="victor autotune explain review_team")
    assert (reader.statuses()[0], reader.failed_runs()) == ("proven", 0)
    assert re.search(r"autotune .*\d+\.\d+", reader.said["victor plugin list"])
    assert "formation parallel" in reader.said["victor autotune potential"]
    assert "proven" in reader.said["victor autotune explain review_team"]
    history = reader.said["victor autotune history review_team"]
    assert all(word in history for word in ("started", "promoted"))


def test_an_agent_team_gets_a_proven_plan(reader: Reader) -> None:
    reader.prepare("tutorial.md")
    reader.follow("tutorial-agent-team.md", until_proven="victor autotune explain review_team")
    assert (reader.statuses()[0], reader.failed_runs()) == ("proven", 0)
    assert "review_team" in reader.said["victor autotune status"]
    assert reader.said["python look.py"].split()[-1] == "independent"
