"""In whole runs on real Victor nothing of the plugin blocks on the loop's thread, in any mode, with either store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import seams
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.storage import create_schema
from victor_autotune_testing.nonblocking import nothing_blocks
from victor_autotune_testing.postgres import server_url
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow, until
from victor_autotune_testing.scored import have_quality
from victor_autotune_testing.scripted import ScriptedModel, scripts

MODES = ("off", "observe", "suggest", "approve", "auto")
RUNS = 3

HANGS = """
import threading
gate = threading.Event()
def score(output):
    gate.wait()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The store's address; None is the project's own file."""
    if request.param == "sqlite":
        yield None
    else:
        with server_url() as url:
            create_schema(url)
            yield url


async def test_scorers_that_are_slow_or_hang_hold_up_nothing(
    orchestrator: Any, scripted: ScriptedModel, tmp_path: Path
) -> None:
    slow = "import sys, time; time.sleep(0.2); sys.exit(not sys.stdin.read())"
    (tmp_path / "scoring_that_hangs.py").write_text(HANGS)
    scorers = {
        "hangs": {"python": "scoring_that_hangs:score"},
        "slow": {"command": [sys.executable, "-c", slow]},
    }
    made = Runtime(tmp_path, overrides={"mode": "auto"}, with_entry_points=False)
    have_quality(made, scorers=scorers, exit_wait=0.0)
    before = runtime.use(made)
    seams.install()
    workflow = make_workflow(make_step("researcher", name="step", timeout_seconds=60), name="flow")
    try:
        with nothing_blocks():
            for _ in range(RUNS):
                assert (await run_workflow(orchestrator, workflow, "compiler")).success
        await until(lambda: "scoring_that_hangs" in sys.modules, 30)
        made.close()
        assert failsafe.seen() == ()
        with made.store().reading() as transaction:
            rows = [transaction.scores_of(run.run_id) for run in made.store().runs()]
        assert {one.why for scores in rows for one in scores if one.name == "hangs"} == {"output lost"}
        assert [len(scores) for scores in rows] == [2] * len(rows)
    finally:
        sys.modules.pop("scoring_that_hangs").gate.set()
        runtime.use(before)
        made.close()


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_does_not_block_the_loop(
    orchestrator: Any, scripted: ScriptedModel, tmp_path: Path, mode: str, database_url: str | None
) -> None:
    scripted.script = scripts.with_tools(1)
    overrides: dict[str, object] = {"mode": mode}
    if database_url is not None:
        overrides["database_url"] = database_url
    made = Runtime(tmp_path, overrides=overrides, with_entry_points=False)
    before = runtime.use(made)
    seams.install()
    workflow = make_workflow(make_step("researcher", name="step", timeout_seconds=60), name="flow")
    try:
        with nothing_blocks():
            for _ in range(RUNS):
                assert (await run_workflow(orchestrator, workflow, "compiler")).success
        assert failsafe.seen() == ()
    finally:
        runtime.use(before)
        made.close()
