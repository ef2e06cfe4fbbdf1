"""A process that never loads Victor's plugins is switched on by one line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
{line}
from victor.teams import TeamFormation, UnifiedTeamCoordinator


class Member:
    role = None

    def __init__(self, name):
        self.id = name

    async def execute_task(self, task, context):
        return f"{{self.id}} is done"

    async def receive_message(self, message):
        return None


async def main():
    coordinator = UnifiedTeamCoordinator()
    for name in ("one", "two"):
        coordinator.add_member(Member(name))
    coordinator.set_formation(TeamFormation.PARALLEL)
    for _ in range({most}):
        result = await coordinator.execute_task("anything", {{"team_name": "helpers"}})
        assert result["success"]
        if {seen}:
            return
        await asyncio.sleep(0.05)  # the first run of a cold process waits only so long for the settings


asyncio.run(main())
"""
LINE = "import victor_autotune_plugin; victor_autotune_plugin.install()"
IS_RECORDED = """
def is_recorded():
    from victor_autotune_plugin._tuning import runtime

    return runtime.made() is not None and any(runtime.made().store().runs())

"""
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("line", [LINE, f"{LINE}; victor_autotune_plugin.install()"], ids=["once", "twice"])
def test_a_coordinator_without_an_agent_is_seen_after_one_line(
    victor_process: Process, tmp_path: Path, line: str
) -> None:
    seen = "await victor_autotune_plugin.settle() or is_recorded()"
    said = victor_process("python", "-c", IS_RECORDED + PROGRAM.format(line=line, seen=seen, most=600), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    status = victor_process("victor-autotune", "status", "--json", cwd=tmp_path)
    assert status.returncode == 0, status.stdout
    (team,) = json.loads(status.stdout)["teams"]
    assert team["team_id"].startswith("helpers-")
    assert team["runs"] >= 1


def test_without_the_line_nothing_is_seen_and_status_says_how(victor_process: Process, tmp_path: Path) -> None:
    said = victor_process("python", "-c", PROGRAM.format(line="", seen="False", most=1), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    status = victor_process("victor-autotune", "status", cwd=tmp_path)
    assert "Nothing was recorded here yet" in status.stdout
    assert "victor_autotune_plugin.install()" in status.stdout
    assert not (tmp_path / ".victor" / "autotune.db").exists()


def test_installing_imports_neither_victor_nor_anything_heavy(victor_process: Process) -> None:
    heavy = ("victor.teams", "numpy", "scipy", "sqlalchemy", "opentelemetry.sdk")
    code = f"{LINE}; import sys; print([name for name in {heavy} if name in sys.modules])"
    assert victor_process("python", "-c", code).stdout.strip() == "[]"
