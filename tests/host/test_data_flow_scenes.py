"""What one run of each scene on real Victor shows of who uses whose work, counted as often as a verdict needs."""

from __future__ import annotations

import pytest

from victor_autotune_plugin._dataflow.verdict import LEAST_TO_TEST, Knowledge, knowledge_of
from victor_autotune_plugin._model.data_flow import CONFIGURED, TeamFlow
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_testing.flow_scenes import CUSTOM_SCENES, SUB_AGENT_SCENES, Scene, Stage

from .conftest import Plugin

LONG = ("five speak", "two files", "vote in three rounds")
"""Many sub-agents, or many rounds; `benchmarks/data_flow.py` has them."""

SHORT_SCENES = tuple(scene for scene in SUB_AGENT_SCENES if scene.name not in LONG)


@pytest.fixture
def plugin_settings() -> dict[str, object]:
    return {"mode": "observe"}


def known_of(plugin: Plugin, run: TeamRun) -> Knowledge:
    """Return what is known of a team when all its runs are as this one."""
    assert run.flow is not None
    flow = TeamFlow()
    for _ in range(LEAST_TO_TEST):
        flow = flow.with_run(run.spec.fingerprint(), CONFIGURED, run.flow)
    return knowledge_of(flow, run.spec, plugin.runtime.settings(run.spec))


def wrong_of(scene: Scene, known: Knowledge) -> list[str]:
    """Return what is said about a team that is not true."""
    edges = [seen.edge for seen in known.edges]
    missed = set(scene.uses) - {(edge.source, edge.target) for edge in edges}
    invented = {(edge.source, edge.target) for edge in edges if edge.sure} - scene.flows
    if scene.formation == "parallel":  # which of two members at work changed what they share can't be told
        invented -= {(target, source) for source, target in scene.flows}
    return [
        *(f"{source} > {target} is missed" for source, target in sorted(missed)),
        *(f"{source} > {target} is invented" for source, target in sorted(invented)),
        *([] if known.verdict in scene.acceptable else [f"{known.verdict}: {known.because}"]),
    ]


@pytest.mark.parametrize("scenes", [CUSTOM_SCENES, SHORT_SCENES], ids=["custom participants", "sub-agents"])
async def test_who_uses_whose_work_is_found_out(plugin: Plugin, stage: Stage, scenes: tuple[Scene, ...]) -> None:
    for scene in scenes:
        await scene.play(stage)
        assert await plugin.runtime.settled(30)
    runs = list(plugin.runtime.store().runs())[::-1]
    said = {scene.name: wrong_of(scene, known_of(plugin, run)) for scene, run in zip(scenes, runs, strict=True)}
    assert {name: wrong for name, wrong in said.items() if wrong} == {}
