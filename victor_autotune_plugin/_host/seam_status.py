"""What of Victor was not as it should be when it was intercepted."""

from __future__ import annotations

from typing import Final

PARTICIPANT: Final = "victor.teams.types.TeamParticipant.execute_task"
TOOL_CALLS: Final = "victor.agent.tool_pipeline.ToolPipeline.execute_tool_calls"

seams: Final[dict[str, str]] = {}
"""What is wrong with a seam, by its name; filled by `seams`."""


def budgets_bite() -> bool:
    """Return whether tool budgets can be enforced in this Victor."""
    return TOOL_CALLS not in seams and PARTICIPANT not in seams
