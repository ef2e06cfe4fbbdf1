"""In mode auto, who uses whose work decides what is tested: answers stay right, and independent members are tried."""

from __future__ import annotations

from typing import Any

import pytest

from victor_autotune_testing.flow_scenes import SCENES, Stage

from .conftest import Plugin

DECLARED = {"dataflow": "independent"}


def settings(value: dict[str, object]) -> Any:
    return pytest.mark.parametrize("plugin_settings", [value], ids=["declared" if value else "not declared"])


async def formations_of(plugin: Plugin, stage: Stage, name: str, most: int, until: str | None = None) -> set[str]:
    """Run a team until a formation was tried, and return those that ran; every answer must be the first run's."""
    scene = next(scene for scene in SCENES if scene.name == name)
    first = await scene.play(stage)
    ran = {str(plugin.runs[-1].plan_used.formation)}
    while len(plugin.runs) < most and until not in ran:
        assert await plugin.runtime.settled(30)
        assert await scene.play(stage) == first
        ran.add(str(plugin.runs[-1].plan_used.formation))
    return ran


async def test_a_pipeline_whose_stages_build_on_each_other_stays_one(plugin: Plugin, stage: Stage) -> None:
    assert await formations_of(plugin, stage, "etl", 40) == {"pipeline"}
    assert {run.arm for run in plugin.runs} == {None}


async def test_independent_sub_agents_are_tried_side_by_side(plugin: Plugin, stage: Stage) -> None:
    assert await formations_of(plugin, stage, "two speak", 20, "parallel") == {"sequential", "parallel"}


@settings(DECLARED)
async def test_custom_participants_are_tried_side_by_side_where_a_person_says_so(plugin: Plugin, stage: Stage) -> None:
    assert await formations_of(plugin, stage, "from the start", 40, "parallel") == {"sequential", "parallel"}


@settings({})
async def test_custom_participants_stay_as_they_are_otherwise(plugin: Plugin, stage: Stage) -> None:
    assert await formations_of(plugin, stage, "from the start", 40) == {"sequential"}
    assert {run.arm for run in plugin.runs} == {None}
