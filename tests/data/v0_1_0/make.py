"""Writes the test data in this folder: what version 0.1.0 of the plugin leaves behind, and what it says of it.

It must be run with 0.1.0 installed, for what a later version writes would prove nothing:

    python make.py FOLDER

The store is made by 0.1.0's own code; only runs, clock and ids are made up. Everything but process ids comes out the
same each time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import yaml
from attrs import asdict, evolve
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typer.testing import CliRunner
from victor_autotune_plugin.analysis import RunFacts
from victor_autotune_plugin.cli.app import app
from victor_autotune_plugin.host.translation import plan_as_used, planned_members
from victor_autotune_plugin.loop.manual import ManualChanges
from victor_autotune_plugin.loop.tuning import TuningLoop
from victor_autotune_plugin.metricfiles import read_runs, write_runs
from victor_autotune_plugin.model.plan import EMPTY_PLAN, MemberSpec, TeamSpec
from victor_autotune_plugin.model.run import MemberOutcome, TeamRun, TokenUse
from victor_autotune_plugin.model.state import Experiment
from victor_autotune_plugin.optimizations import FILE, OPTIMIZATION, ROLLBACK_CONFIG, VALIDATION
from victor_autotune_plugin.runtime import Runtime
from victor_autotune_plugin.settings import Price, SettingsBook
from victor_autotune_plugin.telemetry import conventions, providers
from victor_autotune_plugin.telemetry.spans import member_span, team_run_span

from victor_autotune_plugin import OptimizationPriority, OptimizationSuggestion, PerformanceAutotuner
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_plugin.hookspecs import PlannedRun, TeamRunStarting, hookimpl
from victor_autotune_plugin.storage import Store, default_url

VERSION: Final = "0.1.0"
HOST: Final = "elsewhere"  # so that no later process takes a run that never ended for one of its own, and lost

STORE_SETTINGS: Final = """\
# The settings under which the store was made.
mode: auto
strategies: [formation_selection]
experiment: {min_history: 3, max_runs_per_arm: 12}
watch: {max_runs: 10}
tuner: {risk: off}
prices: {big: {input_per_million_usd: 3, output_per_million_usd: 12}}
workflows:
  release — été:
    mode: observe
  flow:
    teams:
      draft: {mode: approve}
      refused: {mode: approve}
      hopeless: {tuner: {risk: medium}}
      tickets: {experiment: {min_history: 9, max_runs_per_arm: 50}}
      costly: {limits: {max_cost_usd_per_run: 0.5}}
      rejected: {experiment: {rule: obrien_fleming}}
      rolled_back: {experiment: {rule: pocock}}
      taken_back: {experiment: {rule: e_ranks}}
      redefined: {experiment: {rule: e_logs}}
      # These start no test by themselves.
      inconclusive: {experiment: {min_history: 1000, max_runs_per_arm: 10}}
      by_hand: {experiment: {min_history: 1000}}
      trials: {experiment: {min_history: 1000}}
"""

SETTINGS: Final = """\
# Every key that version 0.1.0 knows.
mode: suggest
strategies: [team_sizing, formation_selection, tool_budget, timeout_tuning, member_selection, parallelization]
task_key: ticket
limits:
  formations: [sequential, parallel, pipeline]
  min_members: 2
  max_members: 6
  protected_members: [security]
  min_tool_budget: 5
  max_tool_budget: 60
  min_timeout_seconds: 10
  max_timeout_seconds: 600.5
  max_cost_usd_per_run: 0.25
experiment:
  metric: cost
  rule: e_ranks
  alpha: 0.01
  minimum_improvement: 0.1
  min_runs_per_arm: 12
  max_runs_per_arm: 150
  success_margin: 0.05
  p95_margin: 0.4
  cost_margin: 0.2
  min_history: 8
watch:
  enabled: true
  holdback: 0.2
  alpha: 0.1
  max_runs: 80
tuner:
  risk: medium
  weights: {duration: 2, cost: 1, tool_calls: 0.5, score: 3}
  max_p95_seconds: 90
plan:
  formation: parallel
  members: [security, tests, style]
  tool_budget: 30
  member_budgets: {security: 10, tests: 8}
  timeout_seconds: 120
database_url: postgresql+psycopg://tuner:secret@db.example/autotune
prices:
  gpt-4o-mini: {input_per_million_usd: 0.15, output_per_million_usd: 0.60}
  gpt-4o*: {input_per_million_usd: 2.5, output_per_million_usd: 10}
workflows:
  code_review:
    mode: auto
    plan:  # takes away the plan above
    limits: {max_members: }
    teams:
      review_team:
        mode: approve
        experiment: {metric: score, rule: pocock}
        watch: {enabled: false}
  research:
    plan: {formation: , members: , member_budgets: , sub_teams: [[security, tests], [style]]}
    tuner: {risk: off}
"""

WORKFLOW: Final = """\
# A workflow with settings of its own.
workflows:
  code_review:
    description: Review a change from three sides
    metadata:
      autotune:
        mode: auto
        task_key: path
        limits: {protected_members: [tests]}
        experiment: {minimum_improvement: 0.2}
        teams:
          review_team: {watch: {holdback: 0.3}}
    nodes:
      - id: review_team
        type: team
        name: Review team
        goal: Review the change and list what should be fixed.
        formation: sequential
        total_tool_budget: 50  # nobody ever measured it
        timeout_seconds: 300
        members:
          - {id: security, role: reviewer, goal: Find security problems.}
          - {id: tests, role: tester, goal: Find untested behaviour.}
          - {id: style, role: analyst, goal: Find code that is hard to read.}
"""

COMMANDS: Final = ("status", "history", "explain", "rollback --list", "replay", "analyze", "suggest")
TWO: Final = (MemberSpec("a", "researcher"), MemberSpec("b", "writer"))
Started = tuple[TeamRunStarting, PlannedRun]


class Clock:
    """Tells a made-up Unix time in seconds."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.125

    def __call__(self) -> float:
        return self.now


CLOCK: Final = Clock()


@contextlib.contextmanager
def made_up_world(home: Path) -> Iterator[None]:
    """Replace what differs from one machine or moment to the next: clock, ids, host, and the user's settings."""
    ids = random.Random(1)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VICTOR")}
    with (
        patch.dict(os.environ, {**kept, "HOME": str(home)}, clear=True),
        patch("time.time", CLOCK),
        patch("uuid.uuid4", lambda: uuid.UUID(int=ids.getrandbits(128), version=4)),
        patch("platform.node", lambda: HOST),
        # Their default is the real clock, bound when they were imported.
        patch("victor_autotune_plugin.runtime.TuningLoop", partial(TuningLoop, clock=CLOCK)),
        patch("victor_autotune_plugin.applying.ManualChanges", partial(ManualChanges, clock=CLOCK)),
    ):
        yield


class Hooks:
    """Hooks of a third party: one that refuses the tests of one team, and one that fails now and then."""

    @hookimpl
    def approve_change(self, experiment: Experiment) -> bool | None:
        return False if experiment.team_id == "refused" else None

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        if run.error_class == "ValueError":
            raise LookupError("a message that is not kept")


class Team:
    """A team whose runs are made up: each member takes about five seconds.

    Args:
        runtime: The project that its runs belong to.
        team_id: Its id.
        slowness: By what the duration of a run with a changed plan is multiplied.
        spec: What differs from the usual definition.
    """

    def __init__(self, runtime: Runtime, team_id: str, slowness: float = 1.0, **spec: Any) -> None:
        self.runtime = runtime
        usual = TeamSpec("flow", team_id, "sequential", TWO, tool_budget=20, timeout_seconds=60.0)
        self.spec: TeamSpec = evolve(usual, **spec)
        self.slowness = slowness
        self._random = random.Random(team_id)
        self._runs = 0

    def announced(self, task: str | None = None, **event: Any) -> TeamRunStarting:
        """Return the next run, which has not started yet."""
        self._runs += 1
        CLOCK.now += 60.0
        run_id = f"{self.spec.team_id}-{self._runs:02}"
        return TeamRunStarting(run_id, self.spec, CLOCK.now, "step", task_key=task, **event)

    def begin(self, event: TeamRunStarting) -> Started:
        planned = self.runtime.hooks.plan(event)
        assert planned is not None
        self.runtime.hooks.tell("team_run_started", event=event, planned=planned)
        return event, planned

    def start(self, task: str | None = None, **event: Any) -> Started:
        return self.begin(self.announced(task, **event))

    def finish(self, started: Started, runtime: Runtime | None = None, **changes: Any) -> TeamRun:
        """End a run; with another runtime than the team's, in another process than that of its start."""
        event, planned = started
        hooks = (runtime or self.runtime).hooks
        used = plan_as_used(self.spec, planned.plan)
        members = [
            MemberOutcome(one.id, one.role, True, True, 5 * self._random.lognormvariate(0, 0.1), 3, 0, 4, 900, 200)
            for one in planned_members(self.spec, planned.plan)
        ]
        seconds = [member.duration_seconds for member in members]
        taken = max(seconds) if used.formation == "parallel" else sum(seconds)
        run = TeamRun(
            run_id=event.run_id,
            spec=self.spec,
            started_at=event.started_at,
            duration_seconds=taken * (1.0 if planned.plan.is_empty else self.slowness),
            success=True,
            score=1.0,
            entry=event.entry,
            parent_id=event.parent_id,
            task_key=event.task_key,
            mode=planned.mode,
            plan_asked=planned.plan,
            plan_used=used,
            experiment_id=planned.experiment_id,
            arm=planned.arm,
            phase=None if planned.assignment is None else planned.assignment.phase,
            index=None if planned.assignment is None else planned.assignment.index,
            members=members,
        )
        run = evolve(run, **changes)
        priced = hooks.first("price_team_run", run=run)
        run = run if priced is None else evolve(run, cost_usd=priced.value)
        CLOCK.now = max(CLOCK.now, run.started_at + run.duration_seconds)
        hooks.tell("after_team_run", run=run)
        return run

    def run(self, task: str | None = None, **changes: Any) -> TeamRun:
        return self.finish(self.start(task), **changes)

    def run_until(self, action: str, **changes: Any) -> None:
        """Run until this is what last happened to the team."""
        for _ in range(60):
            with self.runtime.open_store() as store:
                actions = [change.action for change in store.changes(*self.spec.key)]
            if actions[-1:] == [action]:
                return
            self.run(**changes)
        raise AssertionError(f"{self.spec.team_id}: {actions}, and not {action}")

    def pause(self, paused: bool) -> None:
        self.runtime.loop.set_paused(*self.spec.key, paused)

    def roll_back(self, reason: str) -> None:
        self.runtime.loop.roll_back(*self.spec.key, reason)


# --- the stories of the teams


def run_of_every_kind(runtime: Runtime) -> None:
    """`review` is only observed; everything is declared of it that can be, and its runs end in every way."""
    members = [
        MemberSpec("lead", "planner", tool_budget=7, is_supervisor=True, model="big"),
        MemberSpec("draft", "writer", formation_role="generator"),
        MemberSpec("critic", formation_role="critic"),
    ]
    team = Team(runtime, "review", workflow="release — été", members=members, max_iterations=3, timeout_seconds=90.5)
    outer = team.run(tokens=[TokenUse("big", 900, 150), TokenUse("small", 100, 50)])  # one of the two has no price
    team.finish(team.start("task-1", parent_id=outer.run_id), tokens=[TokenUse("big", 1000, 200)], score=2 / 3)
    outcomes = [
        MemberOutcome("lead", "planner", True, True, 3.25, 4, 1, 5, 1000, 200, ("big", "small")),
        MemberOutcome("draft", "writer", False, True, 0.1 + 0.2, error_class="ValueError"),
        MemberOutcome("critic"),
    ]
    team.run(success=False, score=1 / 3, error_class="ValueError", members=outcomes)
    team.run(entry="task", success=False, timed_out=True, error_class="TimeoutError")


def runs_in_any_order(runtime: Runtime, other: Runtime) -> None:
    """`testing` has an open test, of whose runs some end in another order than they started, badly, or never."""
    team = Team(runtime, "testing")
    team.run_until("started")
    team.run()
    event = team.announced()
    child = os.fork()
    if child == 0:
        team.begin(event)
        os._exit(0)
    os.waitpid(child, 0)
    runtime.close()  # when the store is opened again, the run is found to be lost
    first, second, third = team.start(), team.start(), team.start()
    team.finish(third)
    team.finish(first)
    late = team.start()
    with contextlib.closing(sqlite3.connect(runtime.project / ".victor" / "autotune.db")) as lock:
        lock.execute("BEGIN IMMEDIATE")
        team.finish(second)  # waits in memory, since the store is locked
    team.finish(late, other)
    runtime.close()  # writes what waits
    team.run(cancelled=True, success=False, error_class="CancelledError")
    team.run(timed_out=True, success=False, score=0.5, error_class="TimeoutError")
    team.start()


def tasks(runtime: Runtime) -> None:
    """In the test of `tickets` a task keeps its arm, so that one assignment has several runs."""
    team = Team(runtime, "tickets")
    for number in (0, 1, 2, 3, 0, 1, 2, 3, 0, 5, 1, 5, 2, 1, 5, 6, 0):
        team.run(f"ticket-{number}")
    for begun in reversed([team.start("ticket-2"), team.start("ticket-7"), team.start("ticket-2")]):
        team.finish(begun)


def ends_of_tests(runtime: Runtime) -> None:
    """A test ends by its evidence, by the tuner, by a limit, by a person, or does not even start."""
    Team(runtime, "rejected", slowness=8.0).run_until("rejected")
    inconclusive = Team(runtime, "inconclusive")
    inconclusive.run()
    with PerformanceAutotuner(project=runtime.project) as autotuner:
        suggested = [change("formation_selection", metric="score", formation="parallel")]
        autotuner.apply_optimizations_sync("inconclusive", suggested)
    inconclusive.run_until("inconclusive")
    Team(runtime, "hopeless", slowness=8.0).run_until("inconclusive")
    costly = Team(runtime, "costly")
    costly.run_until("started")
    costly.run_until("rejected", tokens=[TokenUse("big", 100_000, 50_000)])
    aborted = Team(runtime, "aborted")
    aborted.run_until("started")
    aborted.run()
    late = aborted.start()
    aborted.roll_back("No time for a test.")
    aborted.finish(late)
    paused = Team(runtime, "paused")
    paused.run_until("started")
    paused.run()
    paused.pause(True)
    paused.run()
    Team(runtime, "refused").run_until("aborted")
    draft = Team(runtime, "draft")
    for _ in range(3):
        draft.run()


def ends_of_watches(runtime: Runtime) -> None:
    """A promoted plan is still watched, settled, taken back, or void since the team was defined anew."""
    names = ("watched", "settled", "rolled_back", "taken_back", "redefined")
    watched, settled, rolled_back, taken_back, redefined = teams = [Team(runtime, name) for name in names]
    watched.run_until("started")
    late = watched.start()
    for team in teams:
        team.run_until("promoted")
    watched.finish(late)
    watched.run("ticket-1")
    watched.pause(True)
    watched.run()
    watched.pause(False)
    watched.run("ticket-1", score=0.75, tokens=[TokenUse("big", 1200, 300)])
    settled.run_until("settled")
    rolled_back.slowness = 30.0
    rolled_back.run_until("rolled_back")
    taken_back.run()
    taken_back.roll_back("Answers got shorter.")
    taken_back.run()
    redefined.spec = evolve(redefined.spec, tool_budget=30)
    redefined.run()


def changes_by_hand(runtime: Runtime) -> None:
    """Three changes of `by_hand` were put in place and one taken back; one more is in a file, and one in a test."""
    team = Team(runtime, "by_hand", members=(*TWO, MemberSpec("c", "reviewer")))
    team.run()
    with PerformanceAutotuner(project=runtime.project) as autotuner:
        apply = partial(autotuner.apply_optimizations_sync, "by_hand")
        apply([change("parallelization", sub_teams=[["a", "b"], ["c"]])], enable_ab_testing=False)
        team.run()
        apply([change("tool_budget", tool_budget=12, member_budgets={"a": 4, "b": 6})], enable_ab_testing=False)
        apply([change("timeout_tuning", timeout_seconds=45.5)], enable_ab_testing=False)
        autotuner.rollback_optimization_sync("by_hand", reason="It needs its time.")
        # As `apply` with a file does, without the name of a folder of this machine.
        in_file = {
            OPTIMIZATION: change("team_sizing", members=["a", "b"]).to_dict(),
            VALIDATION: "skipped",
            ROLLBACK_CONFIG: {"members": ["a", "b", "c"]},
            FILE: {"path": "/project/flow.yaml", "backup": "/project/flow.yaml.bak", "sha256": "0" * 64},
        }
        manual = ManualChanges(runtime.recorder, runtime.hooks, CLOCK)
        manual.put_in_place(team.spec.key, EMPTY_PLAN, "Written into /project/flow.yaml.", evidence=in_file)
        apply([change("member_selection", metric="tool_calls", members=["c", "a"])])
    for _ in range(3):
        team.run()


def trials(runtime: Runtime) -> None:
    """Three changes of `trials` were tested at once: one failed, one proved nothing, one passed and is in place."""
    Team(runtime, "trials").run()
    noise = random.Random(2)

    def runner(config: Mapping[str, Any]) -> dict[str, Any]:
        factor = {"pipeline": 3.0, "parallel": 0.5}.get(config["formation"], 1.0)
        seconds = factor * noise.lognormvariate(0, 0.1)
        return {"success": True, "duration_seconds": seconds, "tool_calls": 5, "cost_usd": 0.01 * factor}

    with PerformanceAutotuner(project=runtime.project) as autotuner:
        for formation in ("pipeline", "consensus", "parallel"):
            suggested = [change("formation_selection", formation=formation)]
            autotuner.apply_optimizations_sync("trials", suggested, runner=runner)


def change(strategy: str, metric: str = "duration", **knobs: Any) -> OptimizationSuggestion:
    """Return a suggestion to change some knobs, which claims to improve a metric."""
    return OptimizationSuggestion(
        type=strategy,
        priority=OptimizationPriority.HIGH,
        description=f"Change {' and '.join(knobs)}.",
        current_config={"formation": "sequential", "tool_budget": 20},
        suggested_config=knobs,
        expected_improvement=25.0,
        confidence=0.8,
        risk_level=0.3,
        metadata={"metric": metric, "interval_percent": [10.0, 40.0]},
    )


# --- the files


def make_store(project: Path) -> None:
    """Let all teams run in a project."""
    (project / ".victor").mkdir(parents=True)
    (project / ".victor" / "autotune.yaml").write_text(STORE_SETTINGS)
    runtime, other = (Runtime(project, with_entry_points=False) for _ in range(2))
    for one in (runtime, other):
        one.hooks.register(Hooks(), "third_party")
    runs_in_any_order(runtime, other)
    for story in (run_of_every_kind, tasks, ends_of_tests, ends_of_watches, changes_by_hand, trials):
        story(runtime)
    for one in (runtime, other):
        one.close()


def make_exports(project: Path, out: Path) -> None:
    """Export the store and one team of it; that also in the form of version 1, which 0.1.0 reads but never wrote."""
    call(project, "export", "--output", str(out / "export.jsonl"))
    call(project, "export", "--team-id", "rolled_back", "--output", str(out / "export_team.jsonl"))
    header, *lines = (out / "export_team.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.startswith(('{"run"', '{"change"'))]
    (out / "export_version_1.jsonl").write_text(header.replace('"version":2', '"version":1') + "".join(kept))


def make_metrics(project: Path, out: Path) -> None:
    """Write runs in every form that is read."""
    with Store.open(default_url(project)) as store:
        runs = [*store.finished_runs("release — été"), *store.finished_runs("flow", "testing", limit=6)]
    made_up = RunFacts("m", "consensus", 4, True, 75.5, 25, 1.74e9, extra={"n": 3, "text": "3", "tags": ["a", None]})
    facts = [*map(RunFacts.from_run, runs), made_up, evolve(made_up, success=False, score=0.25, extra={})]
    for name in ("runs.json", "runs.jsonl", "runs.csv"):
        write_runs(out / name, facts)
    (out / "traces.json").write_text(json.dumps(traces(runs)) + "\n")


def traces(runs: Sequence[TeamRun]) -> dict[str, Any]:
    """Return the spans of some runs in OTLP's JSON encoding, as a collector writes them."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with providers.use(tracer_provider=provider):
        for run in runs:
            with team_run_span(run.spec, run_id=run.run_id, mode=run.mode, plan=run.plan_used) as span:
                for outcome in run.members:
                    with member_span(outcome.id, outcome.role, team=span) as inner:
                        inner.finish(outcome)
                span.finish(run)
    started = {run.run_id: str(round(run.started_at * 1e9)) for run in runs}
    spans = [
        {
            "name": span.name,
            "startTimeUnixNano": started[str((span.attributes or {})[conventions.RUN_ID])],
            "attributes": [{"key": key, "value": any_value(value)} for key, value in (span.attributes or {}).items()],
        }
        for span in exporter.get_finished_spans()
    ]
    return {"resourceSpans": [{"scopeSpans": [{"scope": {"name": conventions.SCOPE}, "spans": spans}]}]}


def any_value(value: object) -> dict[str, Any]:
    """Return an attribute as OTLP's JSON encoding has it: 64-bit integers are texts."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case _:
            assert isinstance(value, Sequence)
            return {"arrayValue": {"values": [any_value(item) for item in value]}}


def make_settings(out: Path) -> None:
    """Write settings with every key, a workflow with its own, and what `init` and `apply --config` make of that."""
    for folder, text in ((out, SETTINGS), (out / "begun", "")):
        (folder / ".victor").mkdir(parents=True, exist_ok=True)
        (folder / ".victor" / "autotune.yaml").write_text(text)
    (out / "review.yaml").write_text(WORKFLOW)
    begun = CliRunner().invoke(app, ["init", "--dry-run", "--project", str(out)])
    (out / "begun" / ".victor" / "autotune.yaml").write_text(begun.stdout)
    changed = out / "review_changed.yaml"
    changed.write_text(WORKFLOW)
    knobs = {"formation": "parallel", "timeout_seconds": 120, "tool_budget": 30, "member_budgets": {"tests": 9}}
    backup = read_team_config(changed, "review_team").write(knobs)
    assert backup is not None
    backup.unlink()


# --- what 0.1.0 says of them


def call(project: Path, *command: str) -> Any:
    """Return what a command answers with `--json`; each must end well."""
    said = CliRunner().invoke(app, [*command, "--json", "--project", str(project)], prog_name="victor autotune")
    if said.exit_code != 0:
        raise RuntimeError(f"{command}: exit code {said.exit_code}: {said.output}") from said.exception
    return json.loads(said.stdout)


def said_of_store(project: Path) -> dict[str, Any]:
    with Store.open(default_url(project)) as store:
        return {
            "counts": store.counts(),
            "teams": [state.to_dict() for state in store.teams()],
            "changes": [one.to_dict() for one in store.changes()],
            "runs": [record.to_dict() for record in store.runs()],
            "experiments": {
                one.id: {
                    "experiment": one.to_dict(),
                    "assignments": [assignment.to_dict() for assignment in store.assignments(one.id)],
                    "test": [observation.to_dict() for observation in store.observations(one.id, "test")],
                    "watch": [observation.to_dict() for observation in store.observations(one.id, "watch")],
                }
                for one in store.experiments()
            },
            "faults": [asdict(fault) for fault in store.faults()],
        }


def said_by_commands(project: Path) -> dict[str, Any]:
    teams = [(team["workflow"], team["team_id"]) for team in call(project, "status")["teams"]]
    return {
        f"{workflow}/{team}": {
            command: call(project, *command.split(), "--workflow", workflow, "--team", team) for command in COMMANDS
        }
        for workflow, team in teams
    }


def said_of_metrics(out: Path) -> dict[str, Any]:
    return {
        path.name: {
            "runs": [asdict(run) for run in read_runs(path)],
            "analyze": call(out, "analyze", "--metrics", str(path)),
        }
        for path in [*sorted(out.glob("runs.*")), out / "traces.json"]
    }


def said_of_imports(out: Path) -> dict[str, Any]:
    """Return what importing each archive into an empty store tells, and what doing so again."""
    said = {}
    for archive in sorted(out.glob("export*.jsonl")):
        with tempfile.TemporaryDirectory() as folder:
            twice = [call(Path(folder), "import", str(archive)) for _ in range(2)]
        said[archive.name] = [{**one, "file": archive.name} for one in twice]
    return said


def said_of_settings(folder: Path) -> dict[str, Any]:
    files = [folder / name for name in ("review.yaml", "review_changed.yaml")]
    own = {path.name: yaml.safe_load(path.read_text())["workflows"]["code_review"] for path in files}
    book, begun, empty = (
        SettingsBook.load(project, home=folder / "nowhere", environ={})
        for project in (folder, folder / "begun", folder / "nowhere")
    )
    review = ("code_review", "review_team")
    return {
        "of any team": explained(book, "any", "team"),
        "of a workflow": explained(book, "research", "team"),
        "of a team": explained(book, *review),
        "of a team as begun": explained(begun, *review),
        **{f"of {name}": explained(empty, *review, one["metadata"]["autotune"], name) for name, one in own.items()},
        **{f"config in {path.name}": read_team_config(path, "review_team").config for path in files},
    }


def explained(book: SettingsBook, *arguments: Any) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": asdict(value) if isinstance(value, Price) else value, "source": source}
        for key, value, source in book.explain(*arguments)
    ]


def as_lines(data: Mapping[str, Mapping[str, Any]]) -> str:
    """Return JSON with one line for each entry of each part."""
    parts = [
        f"{json.dumps(name)}: {{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(one)}" for key, one in part.items())
        for name, part in data.items()
    ]
    return "{\n" + "\n},\n".join(parts) + "\n}\n}\n"


def main(out: Path) -> None:
    """Write everything into a folder."""
    if version("victor-autotune-plugin") != VERSION:
        sys.exit(f"This needs victor-autotune-plugin {VERSION}.")
    logging.getLogger("victor_autotune_plugin").setLevel(logging.ERROR)  # the faults are meant
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, made_up_world(Path(temporary)):
        project = Path(temporary) / "project"
        make_store(project)
        for name in ("autotune.db", "autotune.yaml"):
            shutil.copy(project / ".victor" / name, out / name)
        make_exports(project, out)
        make_metrics(project, out)
        make_settings(out / "settings")
        said = {
            "store": said_of_store(project),
            "commands": said_by_commands(project),
            "metrics": said_of_metrics(out),
            "imports": said_of_imports(out),
            "settings": said_of_settings(out / "settings"),
        }
    (out / "expected.json").write_text(as_lines(said))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name the folder to write into.")
    main(Path(sys.argv[1]))
