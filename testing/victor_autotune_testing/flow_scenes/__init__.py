"""Scripted teams on real Victor whose data flow is known, for tests and benchmarks of what is found out about it."""

from __future__ import annotations

from .custom_scenes import CUSTOM_SCENES
from .scene import Outcome, Scene, Stage
from .scene_kinds import CustomScene, SubAgentScene
from .sub_agent_scenes import SUB_AGENT_SCENES, add_tools

SCENES: tuple[Scene, ...] = (*CUSTOM_SCENES, *SUB_AGENT_SCENES)

__all__ = [
    "CUSTOM_SCENES",
    "SCENES",
    "SUB_AGENT_SCENES",
    "CustomScene",
    "Outcome",
    "Scene",
    "Stage",
    "SubAgentScene",
    "add_tools",
]
