"""Real Victor on a scripted model, in a throw-away home: what the examples run in, so that they cost and touch nothing.

With your own model you need none of this: Victor loads the plugin by itself.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from victor_autotune_testing.sandbox import victor_sandbox
from victor_autotune_testing.scripted import Lognormal, Script, ScriptedModel, scripts

HERE = Path(__file__).parent
CALL = Lognormal(median=0.05, sigma=0.3)
"""Seconds that a call of the scripted model takes."""


class Victor:
    """A project with Victor at work in it.

    Attributes:
        project: Its folder.
    """

    def __init__(self, project: Path, orchestrator: Any) -> None:
        self.project = project
        self._orchestrator = orchestrator

    def configure(self, text: str) -> None:
        """Write the project's `.victor/autotune.yaml`."""
        folder = self.project / ".victor"
        folder.mkdir(exist_ok=True)
        (folder / "autotune.yaml").write_text(text, encoding="utf-8")

    def command(self, *words: str) -> None:
        """Do what `victor autotune WORDS` does in the project."""
        sys.stdout.flush()
        command = Path(sys.executable).with_name("victor-autotune")
        subprocess.run([command, *words], cwd=self.project, check=True)

    async def scores(self, workflow: str, team_id: str, runs: int) -> list[tuple[Any, tuple[Any, ...]]]:
        """Return the last runs of a team, each with its scores, once all have some: they come behind the runs."""
        from victor_autotune_plugin.storage import Store, default_url

        with Store.open(default_url(self.project)) as store:
            for _ in range(600):
                found = store.team_scores(workflow, team_id, runs)
                if len(found) == runs and all(scores for _, scores in found):
                    break
                await asyncio.sleep(0.05)
            return found

    async def run(self, file: str, times: int = 1) -> None:
        """Run the workflow of a file beside this one; it stands for `victor autotune run FILE --runs TIMES`."""
        from victor_autotune_plugin import read_workflows, run_workflow

        workflow = read_workflows(Path(shutil.copy(HERE / file, self.project))).workflow(None)
        for _ in range(times):
            await run_workflow(workflow, self._orchestrator, {})


def play(story: Callable[[Victor], Awaitable[None]], script: Script | None = None) -> None:
    """Run an example.

    Args:
        story: What it does.
        script: How the model behaves; by default each member answers after about 0.05 s.
    """

    async def whole(project: Path) -> None:
        from victor_autotune_plugin import make_orchestrator, settle

        await story(Victor(project, await make_orchestrator("openai", "scripted", None)))
        await settle()

    gc.set_threshold(50_000, 20, 100)  # Victor starts sooner where hardly anybody looks for garbage
    with (
        ScriptedModel(script or scripts.succeed_at_once(CALL, seed=7)) as model,
        victor_sandbox(model.base_url, quiet=True) as sandbox,
    ):
        asyncio.run(whole(sandbox.project))


def install_hooks(file: str) -> None:
    """Install a module as a package of hooks, for this process: what `pip install` does with a package of your own.

    Args:
        file: The module's file; it belongs beside this one.
    """
    site = Path(tempfile.mkdtemp())
    name = Path(file).stem
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[victor_autotune]\n{name} = {name}\n")
    sys.path[:0] = [str(site), str(HERE)]
