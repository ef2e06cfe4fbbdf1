"""Scores on real Victor: what a scorer keeps, what a judge at chance decides, and scores that come late.

A team of three writes one after the other. Leaving the reviewer out saves a third of the time. In one world that lowers
the share of ten checks that pass from .9 to .7, in the other it changes nothing. A `command` scorer tells, or a person
who is 50 runs late. A judge is asked beside labels that say what it says in 19 of 20 runs, or at chance.

    python benchmarks/quality_on_victor.py --runs 200

Settings are those shipped, but for `mode: auto`, the scorers, and one strategy, which suggests to leave the last member
out. Calls of the model take 40 ms, log sd .35.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from argparse import Namespace
from collections import deque
from random import Random
from typing import Any, Final

from _report import parser, show
from _victor import Victor, running, sandboxed, team_workflow

from victor_autotune_plugin import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.experiment import Experiment
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin._tuning.gates import scorers_now
from victor_autotune_plugin._tuning.late_score import record_score
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_plugin.storage.kept_outputs import KeptOutputs
from victor_autotune_plugin.strategies import OptimizationStrategy
from victor_autotune_testing.scripted import Lognormal, Rule, Script
from victor_autotune_testing.scripted.script import ANSWER

SETTINGS: Final = "mode: auto\ntuner: {risk: 'off'}\n"
SCORERS: Final = "VICTOR_AUTOTUNE_QUALITY__SCORERS"
STRATEGIES: Final = "VICTOR_AUTOTUNE_STRATEGIES"
LATE: Final = 50
CALL: Final = Lognormal(0.04, 0.35)
ROLES: Final = ("researcher", "writer", "reviewer")
MARK: Final = "REVIEWED"
JUDGE_PROMPT: Final = "numbered list of questions"

CHECKS: Final = f"""
import os, random, sys
share = 0.9 if "{MARK}" in sys.stdin.read() else {{without}}
draw = random.Random(os.environ["VICTOR_AUTOTUNE_RUN_ID"])
print(sum(draw.random() < share for _ in range(10)) / 10)
"""
LABELS: Final = """
import os, random, sys
good = "XYZZY" in sys.stdin.read()
agrees = random.Random(os.environ["VICTOR_AUTOTUNE_RUN_ID"]).random() < {agrees}
print(float(good if agrees else not good))
"""


class WithoutTheLast(OptimizationStrategy):
    """Suggests to leave out the last of three members."""

    name = "without_the_last"

    def suggest(self, insights: Any, current_config: Any) -> list[OptimizationSuggestion]:  # noqa: ARG002
        """Suggest it."""
        members = current_config["members"]
        if len(members) < 3:
            return []
        change = OptimizationSuggestion(
            type=self.name,
            priority=OptimizationPriority.HIGH,
            description=f"Run the team without {members[-1]}.",
            current_config=dict(current_config),
            suggested_config={"members": members[:-1]},
            expected_improvement=30.0,
            confidence=0.7,
            risk_level=0.3,
        )
        return [change]


class Strategies:
    """Brings the strategy."""

    @hookimpl
    def add_strategies(self) -> list[OptimizationStrategy]:
        """Return it."""
        return [WithoutTheLast()]


def scored_by(owner: Any, scorers: dict[str, Any]) -> None:
    """Have the runs that follow scored so."""
    os.environ[SCORERS] = json.dumps(scorers)
    owner._resolver = owner._load_settings()


async def ran(victor: Victor, owner: Any, workflow: Any) -> TeamRun:
    """Run a workflow, wait until its run is scored and judged, and return the run."""
    from victor_autotune_plugin import run_workflow

    await run_workflow(workflow, victor.orchestrator, {})
    await owner.settled(10.0)
    newest: TeamRun = next(iter(owner.store().runs(limit=1)))
    return newest


def command(code: str) -> dict[str, Any]:
    """Return a scorer that runs Python code."""
    return {"command": [sys.executable, "-c", code]}


class Person:
    """Scores the runs of a team some runs late.

    Args:
        owner: The plugin's runtime.
        without: Share of checks that pass without the reviewer.
    """

    def __init__(self, owner: Any, without: float) -> None:
        self._owner = owner
        self._without = without
        self._waiting: deque[Any] = deque()
        self._draw = Random(1)

    async def saw(self, run: Any) -> None:
        """Take a run, and score the one that is due."""
        self._waiting.append(run)
        if len(self._waiting) > LATE:
            due = self._waiting.popleft()
            share = 0.9 if len(due.members) == len(ROLES) else self._without
            value = sum(self._draw.random() < share for _ in range(10)) / 10
            given = Score(due.run_id, "review", value, "person", time.time())
            owner = self._owner
            nothing = KeptOutputs(owner.project / ".victor" / "autotune-outputs")
            await asyncio.to_thread(record_score, owner.store(), given, nothing, owner.loop)


async def tuned(victor: Victor, owner: Any, without: float, *, late: bool, most: int) -> dict[str, Any]:
    """Let the plugin tune the team until a test has ended, or so many runs.

    Args:
        victor: Runs it.
        owner: The plugin's runtime.
        without: Share of checks that pass without the reviewer.
        late: Whether a person scores the runs, `LATE` runs late; else a command does at once.
        most: Runs at most.
    """
    name = f"notes {without:g} {'late' if late else ''}".strip()
    scored_by(owner, {"review": {"external": True}} if late else {"checks": command(CHECKS.format(without=without))})
    review = Rule("reviews", role=ROLES[-1], answer=f"{ANSWER} {MARK}", latency=CALL)
    victor.play(Script([review, Rule("writes", latency=CALL)]))
    members = [{"id": role, "role": role, "goal": "work"} for role in ROLES]
    workflow = team_workflow(name, "review the change", "sequential", members, {"timeout_seconds": 60.0})
    person, number, tests = Person(owner, without), 0, list[Experiment]()
    while number < most and not any(one.decided_at or one.ended_at for one in tests):
        run = await ran(victor, owner, workflow)
        number += 1
        if late:
            await person.saw(run)
            await owner.settled(10.0)
        with owner.store().reading() as transaction:
            tests = transaction.experiments_of(name, "team")
            live = transaction.team(name, "team").plan
    return {
        "without": f".9 → {without:g}",
        "scored": f"{LATE} runs late" if late else "at once",
        "runs": number,
        **told(owner, tests[:1]),
        "live plan": live.describe(),
    }


def told(owner: Any, tests: list[Experiment]) -> dict[str, Any]:
    """Return what came of a test."""
    if not tests:
        return {"test": "none", "an arm": "-", "score": "-", "replays": "-"}
    (test,) = tests
    verdict = test.verdict or {}
    runs = verdict.get("runs", {"control": 0, "treatment": 0})
    score = next((one for one in verdict.get("guardrails", ()) if one["name"] == "score"), None)
    return {
        "test": test.status,
        "an arm": f"{runs['control']} + {runs['treatment']}",
        "score": "-" if score is None else f"{score['control']:.2f} → {score['treatment']:.2f}",
        "replays": "yes" if all(one.same for one in replay_all(owner.store(), tests)) else "no",
    }


async def judged(victor: Victor, owner: Any, agrees: float, runs: int) -> dict[str, Any]:
    """Let a judge score runs beside labels, and return whether it decides.

    Args:
        victor: Runs them.
        owner: The plugin's runtime.
        agrees: Share of the labels that are the judge's own answer.
        runs: Runs.
    """
    name = f"judged {agrees:g}"
    labels = command(LABELS.format(agrees=agrees)) | {"gates": False}
    scored_by(owner, {"labels": labels, "judge": {"rubric": ["Is the work good?"], "samples": 1}})
    victor.play(
        Script(
            [
                Rule("likes", prompt=JUDGE_PROMPT, goal="XYZZY", answer="1: yes"),
                Rule("dislikes", prompt=JUDGE_PROMPT, answer="1: no"),
                Rule("good", goal="good task", answer=f"{ANSWER} XYZZY"),
                Rule("bad", answer=ANSWER),
            ]
        )
    )
    members = [{"id": "writer", "role": "writer", "goal": "work"}]
    fields = {"timeout_seconds": 60.0}
    flows = [team_workflow(name, f"{kind} task", "sequential", members, fields) for kind in ("good", "bad")]
    draw, after = Random(2), 0
    for number in range(1, runs + 1):
        await ran(victor, owner, draw.choice(flows))
        with owner.store().reading() as transaction:
            state = transaction.team(name, "team")
        after = after or (number if state.gates else 0)
    settings = owner.settings(state.spec)
    judge = next(one for one in scorers_now(owner.store(), state, settings) if one.name == "judge")
    found = None if judge.trust is None else judge.trust.agreement.alpha
    return {
        "labels agree": f"{100 * agrees:.0f} %",
        "runs": runs,
        "alpha": "-" if found is None else f"{found:.2f}",
        "decides after": after or "never",
        "why": judge.why,
    }


async def measure(options: Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Play the scenes, and return the rows of both tables."""
    rows, judges = list[dict[str, Any]](), list[dict[str, Any]]()
    with sandboxed(SETTINGS) as victor:
        async with running(victor) as owner:
            owner.hooks.register(Strategies(), "strategies")
            os.environ[STRATEGIES] = WithoutTheLast.name
            for name in (name for name in ("work", "late") if options.only in (None, name)):
                late = name == "late"
                rows += [await tuned(victor, owner, share, late=late, most=options.runs) for share in (0.7, 0.9)]
            if options.only in (None, "judge"):
                judges = [await judged(victor, owner, agrees, min(options.runs, 60)) for agrees in (0.95, 0.5)]
    return rows, judges


def main() -> None:
    """Play the scenes and print their tables."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--runs", type=int, default=250, help="most runs of a team")
    arguments.add_argument("--only", choices=["work", "late", "judge"], help="one kind of scene")
    options = arguments.parse_args()
    rows, judges = asyncio.run(measure(options))
    if rows:
        show("A member left out: real Victor, shipped settings with mode auto", rows, options.json)
    if judges:
        show("A model as judge beside labels: real Victor", judges, None)


if __name__ == "__main__":
    main()
