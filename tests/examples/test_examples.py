"""Every example runs, on real Victor, and shows what its text says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from victor_autotune_plugin._host.workflows import read_workflows
from victor_autotune_plugin.configfiles import read_team_config

EXAMPLES = Path(__file__).parents[2] / "examples"
STARTED = r"started by auto: Run the team (in formation parallel|with (formation[ =]parallel|sub_teams ))"
# With calls this short, it depends on the machine's load which of the two promises more.


@pytest.mark.parametrize(
    ("script", "arguments", "shown"),
    [
        ("observe_only.py", [], [r"^consensus of 8: .* success True, .* changed: as configured$", r"^Slowest member"]),
        (
            "continuous_tuning.py",
            ["--rounds", "4"],
            [
                r"^round \d: code_review: started",
                r"^round \d: release_notes: started",
                r"^code_review/review_team now runs as configured$",
            ],
        ),
        (
            "custom_strategy.py",
            [],
            [
                r"^without_the_last: Run the team without design\. canary$",
                r"^  treatment: 3 members",
                r"^  control: 4",
            ],
        ),
        ("quality_hook.py", [], [r"^12 tool calls, .* few_calls 0\.67$"]),
        (
            "code_team_scored.py",
            [],
            [r"^run \w{8}: tests 0\.75; 100% of its members", r"^code_team: (scored by tests|tests does not decide)"],
        ),
        (
            "writing_team_scored.py",
            [],
            [r"^run \w{8}: judge 0\.5$", r"^  rated 0\.6$", r"^Trust +not trusted yet: 3 of 20 labels$"],
        ),
        ("read_history.py", [], [STARTED, r"^as configured: \d+ runs, median", r'^  "status": "(canary|testing)"']),
    ],
)
@pytest.mark.victor
def test_an_example_runs(script: str, arguments: list[str], shown: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for pattern in shown:
        assert re.search(pattern, done.stdout, re.MULTILINE), done.stdout


def test_observing_is_all_that_is_done_to_the_research_team() -> None:
    assert "autotune" not in (EXAMPLES / "research_team.yaml").read_text()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_workflow_can_be_read_by_victor_and_by_the_plugin(file: Path) -> None:
    workflow = read_workflows(file).workflow(None)
    found = read_team_config(file)
    step = workflow.nodes[found.team_id]
    assert (workflow.name, step.team_formation) == (found.workflow, found.config["formation"])
    assert [member["id"] for member in step.members] == [member["id"] for member in found.config["members"]]


def test_the_index_names_every_example() -> None:
    index = (EXAMPLES / "README.md").read_text()
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".yaml")}
    assert files == set(re.findall(r"\]\(([\w.]+)\)", index))
