"""Made-up runs, as the analysis takes them and as a metric file has them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from victor_autotune_plugin._model.run import MemberOutcome

HOSTILE_NAMES: Final = (
    "[red]../../etc/passwd[/red]",
    "\x1b[2J\x1b[31mevil",
    "a\nb\u202e",
    "x" * 300,
    "'; DROP TABLE run; --",
)
"""Names of teams and workflows that a careless screen, path or statement would choke on."""


def run(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A run of no member in particular that nothing is wrong with."""
    usual: dict[str, Any] = {
        "team_id": "team",
        "formation": "sequential",
        "member_count": 3,
        "success": True,
        "duration_seconds": 10.0,
        "tool_calls": 8,
        "timestamp": 1_760_000_000.0 + 60 * number,
        "workflow": "flow",
    }
    return {**usual, **changes}


def runs(count: int, make: Callable[[random.Random, int], dict[str, Any]], seed: int = 1) -> list[dict[str, Any]]:
    """Runs whose fields a function of a random generator and the run's number says."""
    rng = random.Random(seed)
    return [run(number, **make(rng, number)) for number in range(count)]


def member(name: str, seconds: float = 3.0, **changes: Any) -> MemberOutcome:
    """What a member did that nothing is wrong with."""
    usual: dict[str, Any] = {
        "role": "researcher",
        "success": True,
        "finished": True,
        "tool_calls": 3,
        "input_tokens": 900,
        "output_tokens": 100,
    }
    return MemberOutcome(name, duration_seconds=seconds, **{**usual, **changes})


def team_run(
    number: int, members: Sequence[MemberOutcome], formation: str = "sequential", **changes: Any
) -> dict[str, Any]:
    """A run that takes what its members take in its formation."""
    seconds = [one.duration_seconds for one in members]
    fields = {
        "formation": formation,
        "member_count": len(members),
        "duration_seconds": sum(seconds) if formation in ("sequential", "pipeline") else max(seconds),
        "tool_calls": sum(one.tool_calls for one in members),
        "members": members,
        **changes,
    }
    return run(number, **fields)


def metric_rows(
    team_id: str,
    seconds: list[float],
    *,
    formation: str = "sequential",
    members: int = 5,
    calls: int = 25,
    failed: int = 0,
) -> list[dict[str, Any]]:
    """Return the rows of a team in a metric file, a minute apart; the last `failed` ones failed."""
    return [
        {
            "team_id": team_id,
            "formation": formation,
            "member_count": members,
            "success": number < len(seconds) - failed,
            "duration_seconds": duration,
            "total_tool_calls": calls,
            "timestamp": f"2026-01-15T10:{number:02}:00",
        }
        for number, duration in enumerate(seconds)
    ]
