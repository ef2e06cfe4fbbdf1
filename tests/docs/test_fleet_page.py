"""The walkthrough of two projects on one PostgreSQL, followed word by word on real Victor."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from victor_autotune_plugin.storage import Store
from victor_autotune_testing.docs_pages import PageBlock, blocks
from victor_autotune_testing.postgres import server_url, socket_folder
from victor_autotune_testing.sandbox import Sandbox
from victor_autotune_testing.scripted import Lognormal, ScriptedModel, scripts

pytestmark = [
    pytest.mark.victor,
    pytest.mark.slow,
    pytest.mark.skipif("AUTOTUNE_TUTORIALS" not in os.environ, reason="takes minutes: run by make tutorials"),
]

SERVER = "postgresql+psycopg://tuner@db.example/autotune"


class Shell:
    """Does what the page says, in the folder and with the variables that it sets on the way.

    Args:
        sandbox: Where real Victor runs.
        url: Of the server that stands for the page's.
    """

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self._sandbox = sandbox
        self._url = url
        self._folder = sandbox.project
        self._exported: dict[str, str] = {}
        self.said: list[tuple[str, str]] = []

    def follow(self, block: PageBlock) -> None:
        """Write the file that a block names, or run its commands and compare what they print with what it shows."""
        if block.file is not None:
            (self._sandbox.project / block.file).write_text(block.text)
            return
        for line in block.text.splitlines():
            if line.startswith("$ "):
                self._run(line[2:])
            else:
                shown = ".*".join(map(re.escape, line.split("…")))
                assert re.search(f"^{shown}$", self.said[-1][1], re.MULTILINE), self.said[-1]

    def _run(self, line: str) -> None:
        words = shlex.split(line.replace(SERVER, self._url))
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._exported[name] = value
        elif words[0] == "cd":
            self._folder = (self._folder / words[1]).resolve()
        elif words[0] == "mkdir":
            for name in words[1:]:
                (self._folder / name).mkdir()
        elif words[0] == "cp":
            shutil.copy(self._folder / words[1], self._folder / words[2])
        elif words[0] != "pip":  # what it installs is there
            assert words[:2] == ["victor", "autotune"], line
            done = subprocess.run(
                self._sandbox.command(["victor-autotune", *words[2:]]),
                cwd=self._folder,
                env={**self._sandbox.environment(), **self._exported, "COLUMNS": "100", "NO_COLOR": "1"},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
            self.said.append((line, done.stdout))


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    sandbox = Sandbox(tmp_path / "home", tmp_path / "project")
    sandbox.home.mkdir()
    sandbox.project.mkdir()
    (sandbox.home / ".victor").mkdir()
    with (
        server_url() as url,
        ScriptedModel(scripts.succeed_at_once(Lognormal(median=0.05, sigma=0.2), seed=7)) as model,
    ):
        socket_folder(url).chmod(0o755)  # Victor runs without the rights that open it
        profiles = f"providers:\n  openai:\n    base_url: {model.base_url}\n"
        (sandbox.home / ".victor" / "profiles.yaml").write_text(profiles)
        yield Shell(sandbox, url)


def walkthrough() -> list[PageBlock]:
    """Return the blocks behind the heading of the walkthrough."""
    found = list(blocks("fleet.md"))
    first = next(number for number, one in enumerate(found) if "init --database" in one.text)
    return found[first:]


def test_two_projects_share_runs_and_words_and_no_environment(shell: Shell) -> None:
    for block in walkthrough():
        shell.follow(block)
    with Store.open(shell._url) as store:
        seen = [(run.environment, run.status) for run in store.runs()]
        assert seen.count(("default", "finished")) == 7
        assert seen.count(("staging", "finished")) == 2
        assert len(seen) == 9
    paused = [text for line, text in shell.said if line == "victor autotune status"]
    assert [("paused" in text) for text in paused] == [False, True, False]
    assert "review_team" in paused[0]
