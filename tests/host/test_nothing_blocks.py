"""In whole runs on real Victor nothing of the plugin blocks on the loop's thread, in any mode, with either store."""

from __future__ import annotations

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
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import ScriptedModel, scripts

MODES = ("off", "observe", "suggest", "approve", "auto")
RUNS = 3


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The store's address; None is the project's own file."""
    if request.param == "sqlite":
        yield None
    else:
        with server_url() as url:
            create_schema(url)
            yield url


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
    failsafe.forget()
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
        failsafe.forget()
