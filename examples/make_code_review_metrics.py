"""Writes code_review_metrics.json: made-up runs of the team in code_review_team.yaml, the same at every call.

Five members work side by side, so a run takes as long as its slowest member. `tests` is the slow one; `docs` uses many
tool calls and seldom delivers; one run in eight loses its way, and makes many more calls before it fails.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

RUNS = 60
FIRST = 1_767_225_600  # 2026-01-01T00:00:00Z
MEMBERS = {  # seconds (median), tool calls (mean), share of runs in which it delivers
    "security": (38.0, 6, 0.98),
    "tests": (58.0, 7, 0.97),
    "style": (25.0, 4, 0.99),
    "design": (41.0, 5, 0.97),
    "docs": (33.0, 7, 0.35),
}
TARGET = Path(__file__).with_name("code_review_metrics.json")


def make_runs() -> list[dict[str, object]]:
    """Return the runs, oldest first."""
    chance = random.Random(20260101)
    runs = []
    for number in range(RUNS):
        lost = chance.random() < 1 / 8
        task = chance.lognormvariate(0, 0.25)  # some changes are harder to review than others
        members = [
            {
                "id": name,
                "success": not lost and chance.random() < delivers,
                "finished": True,
                "duration_seconds": round(seconds * task * chance.lognormvariate(0, 0.3) * (1.6 if lost else 1), 2),
                "tool_calls": max(1, round(chance.gauss(calls, 0.8) * (2.5 if lost else 1))),
            }
            for name, (seconds, calls, delivers) in MEMBERS.items()
        ]
        delivered = [member for member in members if member["success"]]
        runs.append(
            {
                "team_id": "code_review_team",
                "workflow": "code_review_team",
                "formation": "parallel",
                "member_count": len(members),
                "success": not lost,
                "score": round(len(delivered) / len(members), 2),
                "duration_seconds": max(float(str(member["duration_seconds"])) for member in members),
                "total_tool_calls": sum(int(str(member["tool_calls"])) for member in members),
                "tool_budget": None,
                "timeout_seconds": 300,
                "timestamp": FIRST + 3600 * number,
                "members": members,
            }
        )
    return runs


def main() -> None:
    """Write the file."""
    lines = ",\n".join(json.dumps(run) for run in make_runs())
    TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{TARGET.name}: {RUNS} runs")


if __name__ == "__main__":
    main()
