"""What the commands ask a workflow definition of Victor's."""

from __future__ import annotations

from typing import Any


def team_steps(definition: Any) -> list[str]:
    """Return the ids of a workflow's team steps, in order.

    Args:
        definition: Victor's `WorkflowDefinition`.
    """
    return [node_id for node_id, node in definition.nodes.items() if hasattr(node, "team_formation")]
