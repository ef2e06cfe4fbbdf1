"""A newcomer follows a run of real Victor through few files; how many is counted by tracing it."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._host.interception import new_run_id
from victor_autotune_testing.scripted import ScriptedModel, scripts
from victor_autotune_testing.way_of_a_run import BOUNDS, ways


async def test_a_run_passes_through_few_files(
    orchestrator: Any, scripted: ScriptedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.script = scripts.with_tools(1)
    found = await ways(orchestrator, tmp_path)
    with capsys.disabled():
        for kind, way in found.items():
            sys.stdout.write(f"\na run {kind}: {way}\n")
    assert found.keys() == BOUNDS.keys()
    too_long = {kind: sorted(way.files) for kind, way in found.items() if len(way.files) > BOUNDS[kind]}
    assert not too_long


def test_a_run_s_id_is_a_random_uuid() -> None:
    ids = {new_run_id() for _ in range(100)}
    assert len(ids) == 100
    for name in ids:
        made = uuid.UUID(name)
        assert (made.hex, made.version, made.variant) == (name, 4, uuid.RFC_4122)
