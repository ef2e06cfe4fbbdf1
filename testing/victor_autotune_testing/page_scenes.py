"""Projects for the page: teams in the states that people meet, with members, costs, scores and a trace each.

`python -m victor_autotune_testing.page_scenes DIR` fills a folder.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from victor_autotune_plugin._model.data_flow import Edge, RunFlow
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun, TokenUse
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart

from .simulated import Simulation

DAYS = 13
"""Over so many days the runs are spread."""


def spec(workflow: str, team: str, formation: str, *members: tuple[str, str]) -> TeamSpec:
    """Return a team of members, each an id and a role."""
    return TeamSpec(workflow, team, formation, [MemberSpec(name, role) for name, role in members], tool_budget=40)


class PageScene(Simulation):
    """A team whose members wait for a model, use tools, and cost money.

    Args:
        folder: The project.
        team: The team.
        member_seconds: Median seconds of a member.
        flow: The data flow of every run; None where nobody uses another's work.
        failing: Share of runs that fail.
        side_by_side: How much slower members are when they work at the same time.
        seed: Seed of what is made up.
        now: The runs begin `DAYS` before; Unix time, None for the present.
        settings: Settings by dotted key.
    """

    def __init__(
        self,
        folder: Path,
        team: TeamSpec,
        *,
        member_seconds: float = 9.0,
        flow: RunFlow | None = None,
        failing: float = 0.03,
        side_by_side: float = 1.1,
        seed: int = 1,
        now: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(folder, seed=seed, scored=False, **settings)
        self.spec = team
        self.flow = RunFlow() if flow is None else flow
        self.member_seconds, self.failing, self.side_by_side = member_seconds, failing, side_by_side
        self.stepped.clock.now = (time.time() if now is None else now) - 86_400 * DAYS
        self.random = random.Random(seed)

    def finish(self, event: RunStart, planned: PlannedRun, **changes: Any) -> TeamRun:
        """Finish a run, and let some time pass before the next one."""
        rng, plan = self.random, planned.plan
        formation = plan.formation or self.spec.formation
        names = plan.members or self.spec.member_ids
        groups: Sequence[Sequence[str]] = plan.sub_teams or (
            [names] if formation in ("sequential", "pipeline") else [[n] for n in names]
        )
        slower = self.side_by_side if len(groups) > 1 else 1.0
        members, begins = {}, 0.0
        for group in groups:
            begins = rng.uniform(0.05, 0.2)
            for name in group:
                seconds = self.member_seconds * rng.lognormvariate(0, 0.3) * slower
                members[name] = self._member(name, begins, seconds)
                begins += seconds + rng.uniform(0.02, 0.1)
        duration = max((one.begun_after or 0.0) + one.duration_seconds for one in members.values()) + 0.3
        good = rng.random() >= self.failing
        tokens = TokenUse(
            "gpt-4o-mini",
            sum(one.input_tokens for one in members.values()),
            sum(one.output_tokens for one in members.values()),
            provider="openai",
        )
        made = {
            "duration_seconds": duration,
            "success": good,
            "member_success_share": 1.0 if good else 0.75,
            "members": tuple(members[name] for name in names),
            "tokens": (tokens,),
            "trace_id": uuid.UUID(int=rng.getrandbits(128)).hex,
            "plan_used": TeamPlan(formation=formation, members=names, sub_teams=plan.sub_teams)
            if plan.sub_teams is None
            else TeamPlan(members=names, sub_teams=plan.sub_teams),
        }
        run = super().finish(event, planned, **{**made, **changes})
        self.stepped.clock.now += rng.expovariate(1 / 3_000)
        return run

    def _member(self, name: str, begin: float, seconds: float) -> MemberOutcome:
        rng = self.random
        tools = rng.uniform(0.05, 0.3) * seconds
        role = next((one.role for one in self.spec.members if one.id == name), "")
        return MemberOutcome(
            name, role, True, True, seconds, rng.randint(1, 5), 0, rng.randint(2, 5), rng.randint(2_000, 5_000),
            rng.randint(200, 900), ("gpt-4o-mini",), None, 0.93 * seconds - tools, tools, 1.0, begin,
        )  # fmt: skip

    def until(self, *actions: str, most: int = 260) -> bool:
        """Run until a change of one of these kinds is the latest; return whether one came."""
        seen = len(self.store.changes(*self.spec.key))
        for _ in range(most):
            self.run()
            if any(one.action in actions for one in self.store.changes(*self.spec.key)[seen:]):
                return True
        return False

    def times(self, runs: int) -> None:
        """Run so many times."""
        for _ in range(runs):
            self.run()


REVIEW = spec(
    "pull-request-review", "reviewers", "sequential",
    ("style", "reviewer"), ("security", "security reviewer"), ("tests", "tester"), ("architecture", "architect"),
)  # fmt: skip
RESEARCH = spec(
    "market-research", "researchers", "sequential",
    ("competitors", "researcher"), ("customers", "researcher"), ("prices", "analyst"),
)  # fmt: skip
ETL = spec("nightly-etl", "cleaners", "pipeline", ("extract", "executor"), ("clean", "executor"), ("report", "writer"))
TRIAGE = spec(
    "support-triage", "triage", "sequential", ("classify", "planner"), ("answer", "writer"), ("check", "reviewer")
)
DOCS = spec(
    "release-notes", "writers", "sequential", ("changes", "researcher"), ("audience", "researcher"), ("words", "writer")
)


SETTINGS = """\
mode: auto
workflows:
  support-triage: {mode: approve}
  nightly-etl: {mode: observe}
"""


def fill(folder: Path, now: float | None = None) -> None:
    """Fill a project with five teams: proven, in a test, awaiting a person, observed, and one whose plan went back.

    Args:
        folder: The project.
        now: As for `PageScene`.
    """
    (folder / ".victor").mkdir(exist_ok=True)
    (folder / ".victor" / "autotune.yaml").write_text(SETTINGS, encoding="utf-8")
    tuned: dict[str, Any] = {"strategies": ["formation_selection"], "now": now}
    proven = PageScene(folder, REVIEW, seed=3, **tuned)
    proven.until("promoted")
    proven.times(60)
    proven.run(cancelled=True, success=False)
    proven.times(120)
    proven.close()
    slow = PageScene(folder, DOCS, seed=11, member_seconds=6.0, **tuned)
    slow.until("promoted")
    slow.side_by_side = 9.0
    slow.until("rolled_back", most=220)
    slow.times(120)
    slow.close()
    tested = PageScene(folder, RESEARCH, seed=5, member_seconds=14.0, **tuned)
    tested.stepped.clock.now += 86_400 * (DAYS - 1)
    tested.until("started")
    tested.times(16)
    tested.close()
    asks = PageScene(folder, TRIAGE, seed=7, member_seconds=4.0, mode="approve", **tuned)
    asks.stepped.clock.now += 86_400 * (DAYS - 1)
    asks.until("awaits_approval", most=60)
    asks.times(10)
    asks.close()
    used = RunFlow(
        (
            Edge("extract", "clean", "context"),
            Edge("clean", "report", "context"),
            Edge("extract", "report", "files", False),
        )
    )
    watched = PageScene(folder, ETL, seed=9, member_seconds=20.0, mode="observe", flow=used, now=now)
    watched.stepped.clock.now += 86_400 * (DAYS - 3)
    watched.times(45)
    watched.close()


def with_team(team: TeamSpec, number: int) -> TeamSpec:
    """Return one of many teams that are alike."""
    return evolve(team, workflow=f"workflow-{number % 40}", team_id=f"team-{number:04}")


def many(folder: Path, teams: int, runs: int, seed: int = 1) -> None:
    """Fill a project with many teams of made-up runs, written in one go; nothing is tested.

    Args:
        folder: The project.
        seed: Seed of the durations.
        teams: Number of teams.
        runs: Number of runs of all of them together.
    """
    from victor_autotune_plugin.storage import Store, default_url

    rng = random.Random(seed)
    (folder / ".victor").mkdir(exist_ok=True)
    at = time.time() - 86_400 * 30
    with Store.open(default_url(folder)) as store:
        specs = [with_team(REVIEW, number) for number in range(teams)]
        for begin in range(0, runs, 2_000):
            with store.transaction() as transaction:
                for number in range(begin, min(begin + 2_000, runs)):
                    team = specs[number % teams]
                    seconds = 20 * rng.lognormvariate(0, 0.4)
                    each = seconds / 4
                    members = tuple(
                        MemberOutcome(one.id, one.role, True, True, each, 2, 0, 3, 3_000, 500, ("gpt-4o-mini",),
                                      None, 0.8 * each, 0.1 * each, 1.0, place * each)
                        for place, one in enumerate(team.members)
                    )  # fmt: skip
                    transaction.finish_run(
                        TeamRun(
                            f"{rng.getrandbits(128):032x}",
                            team,
                            at + 2_592_000 * number / runs,
                            seconds,
                            rng.random() > 0.03,
                            1.0,
                            plan_used=TeamPlan(formation="sequential"),
                            members=members,
                            cost_usd=0.002 * seconds / 20,
                            flow=RunFlow(),
                        )
                    )


if __name__ == "__main__":
    fill(Path(sys.argv[1]))
