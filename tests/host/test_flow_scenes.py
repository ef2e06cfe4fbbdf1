"""The scenes of the data flow are true: who is said to use another's work answers otherwise without it."""

from __future__ import annotations

from typing import Any

import pytest

from victor_autotune_testing.flow_scenes import CUSTOM_SCENES, SCENES, Scene, Stage

SHORT = ("one file", "own files written", "short file", "wrong name", "both written", "read, then written", "ledger")
"""Sub-agent teams that are played here; all of them are in `benchmarks/data_flow.py truth`."""


def named(scenes: tuple[Scene, ...], *names: str) -> Any:
    chosen = [scene for scene in scenes if not names or scene.name in names]
    return pytest.mark.parametrize("scene", chosen, ids=[scene.name for scene in chosen])


def test_there_are_enough_of_each_kind() -> None:
    names = [scene.name for scene in SCENES]
    assert len(set(names)) == len(names) >= 30
    assert len({scene.kind for scene in SCENES}) >= 20
    found_independent = [scene for scene in SCENES if scene.acceptable == ("independent",)]
    assert len(found_independent) >= 10
    assert all(scene.is_independent for scene in found_independent)
    for scene in SCENES:
        assert "independent" not in scene.acceptable or scene.is_independent
        assert {name for pair in scene.flows for name in pair} <= set(scene.members)
        assert 2 <= len(scene.members) <= 5


@named(SCENES, *SHORT, *(scene.name for scene in CUSTOM_SCENES))
async def test_work_of_a_dependent_team_is_another_when_its_members_work_alone(stage: Stage, scene: Scene) -> None:
    assert await scene.proof.shows_dependence(stage) is not scene.is_independent


@named(CUSTOM_SCENES)
async def test_members_answer_otherwise_without_those_whose_work_they_use(stage: Stage, scene: Scene) -> None:
    seen = await scene.influences(stage)
    assert seen <= scene.flows
    if scene.can_leave_out:
        assert seen >= {*scene.uses, *scene.unseen}
