"""`docs/telemetry.md` says what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from attrs import evolve

from victor_autotune_plugin._model.experiment import Assignment, Change
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import PlannedRun, RunStart, TokenUse
from victor_autotune_plugin._telemetry import conventions
from victor_autotune_plugin._telemetry.events import tell_arm, tell_change
from victor_autotune_plugin._telemetry.spans import member_span, team_run_span

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")

TEAM_RUN = """
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._telemetry.metrics import record_run
from victor_autotune_plugin._telemetry.spans import team_run_span
spec = TeamSpec("review", "reviewers", "sequential", ())
run = TeamRun("r", spec, 0.0, 1.0, True, 1.0)
with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as span:
    span.finish(run)
record_run(run)
"""


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading."""
    below = PAGE.split(f"{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def event_attributes() -> list[list[str]]:
    """Cells of the second table about events."""
    return rows("The body of C says why the plugin made the change.")


def test_the_page_lists_every_metric_with_its_type_and_unit():
    documented = {(row[0].strip("`"), row[1], row[2].strip("`")) for row in rows("## Metrics")}
    assert documented == {(metric.name, metric.kind, metric.unit) for metric in conventions.METRICS}


def test_the_page_lists_every_attribute():
    own_table = {row[0].strip("`") for row in rows("### Attributes")}
    names = {
        value
        for value in vars(conventions).values()
        if isinstance(value, str) and re.fullmatch(r"(gen_ai|feature_flag|error|victor\.autotune)\.[a-z_.]+", value)
    }
    of_metrics_only = {conventions.TOKEN_TYPE, conventions.SCORER}
    events = {conventions.EVALUATION, conventions.CHANGE}
    of_events = {row[0].strip("`") for row in event_attributes()}
    assert {row[0].strip("`") for row in rows("## Events\n")} == events
    assert own_table | of_events == names - of_metrics_only - events
    assert all(f"`{name}`" in PAGE for name in of_metrics_only)


def test_the_attributes_in_bold_are_those_that_samplers_see(telemetry, spec, make_run):
    plan = TeamPlan(tool_budget=1, member_budgets={"scout": 1}, timeout_seconds=1)
    tokens = [TokenUse("m", 9, 1, 3, 2)]
    run = make_run(plan_used=plan, cost_usd=0.1, success=False, tokens=tokens, score=0.5)
    with team_run_span(
        spec, run_id="r", mode="auto", plan=plan, experiment_id="e", arm="control", parent_run_id="p"
    ) as team:
        with member_span("scout", "researcher", team=team) as member:
            at_start = {"T": set(team._attributes), "M": set(member._attributes)}
            member.finish(evolve(run.members[0], success=False, model_seconds=1.0, tool_seconds=0.5))
        team.finish(run)
    at_end = {
        "T": set(telemetry.span("invoke_workflow review").attributes),
        "M": set(telemetry.span("invoke_agent scout").attributes),
    }
    for kind in "TM":
        table = rows("### Attributes")
        assert {row[0].strip("`") for row in table if kind in row[1]} == at_end[kind]
        assert {row[0].strip("`") for row in table if kind in row[1] and "**" in row[1]} == at_start[kind]


def test_the_page_lists_the_attributes_of_events(telemetry, spec):
    place = Assignment("e", "test", "control", "0", 0)
    tell_arm(RunStart("r", spec, 0.0), PlannedRun(assignment=place), lambda job: job())
    tell_change(Change(1, 0.0, "review", "reviewers", "promoted", "auto", "", "e", improvement_percent=5.0))
    sent = telemetry.logs.get_finished_logs()
    for kind, told in zip("EC", sent, strict=True):
        documented = {row[0].strip("`") for row in event_attributes() if kind in row[1]}
        assert documented == set(told.log_record.attributes)


def test_the_console_example_runs_and_shows_a_team_run():
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code[1] + TEAM_RUN],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert '"name": "invoke_workflow review"' in done.stdout
    assert '"name": "victor.autotune.runs"' in done.stdout
