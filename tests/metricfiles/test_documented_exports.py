"""The mappings that `docs/analysis.md` gives for exports of other programs read such exports.

The rows have the columns that the programs' own references list: Langfuse's for its blob storage export, LangSmith's
for its run data format.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from victor_autotune_plugin import PerformanceAnalyzer
from victor_autotune_plugin._metricfiles import read_runs
from victor_autotune_plugin._metricfiles.column_names import rules_of

PAGE: Final = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")
MAPPINGS: Final = {
    name: block
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for name in re.findall(r"^# (\w+)", block)
}


def langfuse(number: int) -> dict[str, Any]:
    return {
        "id": f"observation-{number}",
        "trace_id": f"trace-{number}",
        "project_id": "p",
        "environment": "production",
        "type": "AGENT",
        "parent_observation_id": "",
        "start_time": f"2026-11-01 12:0{number}:00.963000",
        "end_time": f"2026-11-01 12:0{number}:12.963000",
        "name": "review_team",
        "metadata": {"formation": "parallel", "members": 3, "tool_calls": 7},
        "level": "ERROR" if number == 1 else "DEFAULT",
        "status_message": "",
        "input": "a prompt, with\nlines",
        "output": "an answer",
        "usage_details": {"input": 1200, "output": 80, "total": 1280},
        "cost_details": {"input": 0.01, "output": 0.02},
        "total_cost": 0.03,
        "latency": 12.0,
        "tool_calls": ['{"name": "grep"}'],
        "trace_name": "code_review",
    }


def langsmith(number: int) -> dict[str, Any]:
    return {
        "id": f"497f6eca-6276-4993-bfeb-53cbbbba6f0{number}",
        "name": "review_team",
        "inputs": {"messages": []},
        "run_type": "chain",
        "start_time": f"2026-11-01T12:0{number}:00.963000",
        "end_time": f"2026-11-01T12:0{number}:12.963000",
        "extra": {"metadata": {"formation": "parallel", "members": 3, "tool_calls": 7}},
        "error": "boom" if number == 1 else None,
        "events": [{}],
        "tags": ["foo"],
        "trace_id": f"497f6eca-6276-4993-bfeb-53cbbbba6f0{number}",
        "status": "error" if number == 1 else "success",
        "total_tokens": 1280,
        "prompt_tokens": 1200,
        "completion_tokens": 80,
        "total_cost": "0.03",
        "feedback_stats": None,
        "parent_run_id": None,
    }


EXPORTS: Final = {"langfuse": langfuse, "langsmith": langsmith}


@pytest.mark.parametrize("form", ["lines", "list", "table"])
@pytest.mark.parametrize("program", EXPORTS)
def test_a_documented_mapping_reads_the_export(tmp_path: Path, program: str, form: str) -> None:
    rules = tmp_path / f"{program}.yaml"
    rules.write_text(MAPPINGS[program])
    rows = [EXPORTS[program](number) for number in range(3)]
    path = tmp_path / "runs"
    if form == "table":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(rows[0])
            for row in rows:
                cells = [json.dumps(cell) if isinstance(cell, dict | list) else cell for cell in row.values()]
                writer.writerow(cells)
    else:
        path.write_text(json.dumps(rows) if form == "list" else "\n".join(map(json.dumps, rows)))
    columns = rules_of([str(rules)])
    runs = list(read_runs(path, columns=columns))
    assert [(run["run_id"], run["success"]) for run in runs] == [(row["id"], n != 1) for n, row in enumerate(rows)]
    for run in runs:
        told = (run["team_id"], run["formation"], run["member_count"], run["duration_seconds"], run["tool_calls"])
        assert told == ("review_team", "parallel", 3, pytest.approx(12.0), 7)
        assert (run["cost_usd"], run["input_tokens"], run["output_tokens"]) == (0.03, 1200, 80)
    assert runs[0]["timestamp"] == pytest.approx(1793534400.963)
    analyzer = PerformanceAnalyzer()
    assert analyzer.load_metrics_from_file(path, columns=columns) == 3
    assert analyzer.teams == {("code_review" if program == "langfuse" else "", "review_team"): 3}
