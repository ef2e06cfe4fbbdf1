"""The settings of a team are resolved once per run, and handed on."""

from __future__ import annotations

from typing import Any

import pytest

from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow

from .conftest import Plugin


@pytest.mark.parametrize("seconds", [None, 60])
async def test_the_settings_of_a_team_are_resolved_once_per_run(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch, seconds: int | None
) -> None:
    resolved: list[tuple[str, str]] = []
    for_team = SettingsResolver.for_team

    def counting(self: SettingsResolver, workflow: str, team_id: str, *more: Any, **options: Any) -> Any:
        resolved.append((workflow, team_id))
        return for_team(self, workflow, team_id, *more, **options)

    monkeypatch.setattr(SettingsResolver, "for_team", counting)
    step = make_step("researcher", name="step", timeout_seconds=seconds)
    assert (await run_workflow(orchestrator, make_workflow(step, name="flow"))).success
    assert plugin.run.success
    assert resolved == [("flow", "step")]
