"""Teams whose best plan is known, for measuring what tuning brings them on real Victor.

A run's task is drawn anew: it slows all members alike (log sd .5), every call of the model has its own noise (log sd
.35), and a fifth of the runs fail as configured, because one member gets nowhere. A member that fails takes as long as
one that doesn't. Every answer names the task's number, so that a team that delivers something else shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from random import Random
from typing import Any, Final

from attrs import frozen

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan

from .distributions import Lognormal
from .script import Crowding, Rule, Script, ToolTurns
from .scripts import SATISFIED_ANSWER, STUCK_ANSWER

CALL_SD: Final = 0.35
TASK_SD: Final = 0.5
SUCCESS: Final = 0.8

_STUCK_CALLS: Final = 3
"""Calls after which Victor gives up on a member that gets nowhere."""


@frozen
class DrawnTask:
    """What one run is about.

    Attributes:
        number: Its number, which every answer names.
        factor: How many times as long as usual its calls take.
        luck: Uniform from 0 to 1; a run fails where it is low.
        seed: Of the calls' noise, and of who fails.
    """

    number: int
    factor: float
    luck: float
    seed: int

    @classmethod
    def drawn(cls, number: int, draw: Random) -> DrawnTask:
        """Return the next task."""
        return cls(number, exp(draw.gauss(0.0, TASK_SD)), draw.random(), draw.getrandbits(32))


@frozen
class Routine:
    """What members of one role do.

    Attributes:
        times: Median of a call, in ordinary calls.
        tools: Tool turns before the answer; each is a call of the model, too.
        finds: What it looks for in its material, for `{found}` in its answer and in arguments of tools.
        says: Its answer, in which `{task}` is the task's number.
    """

    times: float
    tools: tuple[ToolTurns, ...] = ()
    finds: str | None = None
    says: str = "Number {task} was looked at."

    @property
    def calls(self) -> int:
        """Calls of the model in a run."""
        return 1 + sum(group.turns for group in self.tools)


@frozen(kw_only=True)
class TrueTeam:
    """A team, and what is true of it.

    Attributes:
        name: What its work is like.
        truth: What that means, in a few words.
        formation: Formation as configured.
        routines: What its members do, by role; a member's id is its role.
        best: The best plan there is, by construction.
        fails: The role that fails; empty for any.
        harm: Further share of the runs that fail where the last member works beside another one.
        goes_round: Tool turns of the member `fails` where it fails; it answers only when its tool budget ends.
        crowding: How the provider slows down, or None.
        scored: Roles whose part the checks of a scorer ask for; empty for a team without a scorer.
        tool_budget: The step's.
    """

    name: str
    truth: str
    formation: str = "sequential"
    routines: Mapping[str, Routine]
    best: TeamPlan = EMPTY_PLAN
    fails: str = ""
    harm: float = 0.0
    goes_round: tuple[ToolTurns, ...] = ()
    crowding: Crowding | None = None
    scored: tuple[str, ...] = ()
    tool_budget: int | None = None

    @property
    def members(self) -> list[dict[str, Any]]:
        """Its members as a workflow file has them."""
        return [{"id": role, "role": role, "goal": "do your part"} for role in self.routines]

    @property
    def step(self) -> dict[str, Any]:
        """Further keys of the team step."""
        budget = {} if self.tool_budget is None else {"total_tool_budget": self.tool_budget}
        return {"timeout_seconds": 600.0, **budget}

    def script(self, call_seconds: float, task: DrawnTask) -> Script:
        """Return what the model does in a run.

        Args:
            call_seconds: Median of an ordinary call in an ordinary task, seconds.
            task: The run's task.
        """
        rules: list[Rule] = []
        unit = call_seconds * task.factor
        if task.luck < 1 - SUCCESS:
            role = self.fails or Random(task.seed).choice(list(self.routines))
            rules += self._lost(role, unit) if self.goes_round else self._stuck(role, unit)
        elif task.luck < 1 - SUCCESS + self.harm:
            rules += self._stuck(list(self.routines)[-1], unit, side_by_side=True)
        for role, routine in self.routines.items():
            text = f"{role}: {routine.says.replace('{task}', str(task.number))} {SATISFIED_ANSWER}"
            rules.append(
                Rule(
                    role,
                    role=role,
                    latency=Lognormal(routine.times * unit, CALL_SD),
                    crowding=self.crowding,
                    tools=[_about(group, task) for group in routine.tools],
                    finds=routine.finds,
                    answer=text,
                )
            )
        return Script(rules, seed=task.seed)

    def _stuck(self, role: str, unit: float, *, side_by_side: bool = False) -> list[Rule]:
        """Let a member get nowhere, in as much time as it otherwise takes."""
        routine = self.routines[role]
        latency = Lognormal(routine.times * routine.calls * unit / _STUCK_CALLS, CALL_SD)
        if not side_by_side:
            return [Rule("stuck", role=role, latency=latency, crowding=self.crowding, answer=STUCK_ANSWER)]
        # What disturbed it at first keeps it from getting anywhere later.
        return [
            Rule(
                f"disturbed {n}",
                role=role,
                turn=n,
                in_flight=2 if n == 1 else None,
                latency=latency,
                answer=STUCK_ANSWER,
            )
            for n in range(1, _STUCK_CALLS + 1)
        ]

    def _lost(self, role: str, unit: float) -> list[Rule]:
        """Let a member go round in circles until its tool budget ends; told so, it answers."""
        routine = self.routines[role]
        latency = Lognormal(routine.times * unit, CALL_SD)
        told = Rule("told", role=role, refused=1, latency=latency, answer=f"{role}: that is enough. {SATISFIED_ANSWER}")
        return [told, Rule("lost", role=role, latency=latency, tools=self.goes_round)]


def _about(group: ToolTurns, task: DrawnTask) -> ToolTurns:
    """Return tool turns with the task's number in their arguments."""
    filled = {
        key: value.replace("{task}", str(task.number)) if isinstance(value, str) else value
        for key, value in group.arguments.items()
    }
    return ToolTurns(group.turns, group.calls, group.tool, filled)


def _wrote(path: str, content: str) -> ToolTurns:
    return ToolTurns(1, 1, "write", {"path": path, "content": content, "force": True})


def _read(path: str) -> ToolTurns:
    return ToolTurns(1, 1, "read", {"path": path})


_ONE: Final = (ToolTurns(),)
_ROLES: Final = ("researcher", "planner", "executor", "reviewer")
_ALIKE: Final = {role: Routine(1.0) for role in _ROLES}

TRUE_TEAMS: Final = (
    TrueTeam(
        name="wide",
        truth="nobody needs another's work, and all wait for one another",
        routines={
            "researcher": Routine(1.0, _ONE),
            "planner": Routine(0.7),
            "executor": Routine(1.4, _ONE),
            "reviewer": Routine(0.8),
        },
        best=TeamPlan("parallel"),
    ),
    TrueTeam(
        name="mild",
        truth="one member takes most of the time, and two wait for it",
        routines={"researcher": Routine(1.2, _ONE), "planner": Routine(0.5), "reviewer": Routine(0.5)},
        best=TeamPlan("parallel"),
    ),
    TrueTeam(
        name="subtle harm",
        truth="who works beside others fails in a fifth more of the runs, though nobody reads anybody",
        routines=_ALIKE,
        harm=0.2,
    ),
    TrueTeam(
        name="decomposable",
        truth="two pairs that need nothing of each other, at a provider that serves two calls at a time well",
        routines=_ALIKE,
        crowding=Crowding(free=2, slowdown=0.5),
        best=TeamPlan(sub_teams=[_ROLES[:2], _ROLES[2:]]),
    ),
    TrueTeam(
        name="tool-hungry",
        truth="a fifth of the tasks send a member round in circles, until it fails",
        formation="parallel",
        routines={"planner": Routine(1.5), "researcher": Routine(1.5, (ToolTurns(1, 24),))},
        fails="researcher",
        goes_round=(ToolTurns(2, 15), ToolTurns(10, 2)),
        scored=("planner", "researcher"),
        tool_budget=46,
        best=TeamPlan(tool_budget=30),
    ),
    TrueTeam(
        name="flaky member",
        truth="one member takes longest, is the one that fails, and adds nothing to what is checked",
        formation="parallel",
        routines={**{role: Routine(2.0) for role in _ROLES}, "reviewer": Routine(2.6, _ONE)},
        fails="reviewer",
        scored=_ROLES[:3],
        best=TeamPlan(members=_ROLES[:3]),
    ),
    TrueTeam(
        name="pipeline",
        truth="two members read the file that the first one writes",
        formation="pipeline",
        routines={
            "executor": Routine(1.0, (_wrote("price.csv", "price {task}\n"),), says="Number {task} has a price."),
            "researcher": Routine(1.0, (_read("price.csv"),), r"/price (\d+)/", "Number {found} is a usual price."),
            "reviewer": Routine(1.0, (_read("price.csv"),), r"/price (\d+)/", "Number {found} is the right price."),
        },
    ),
    TrueTeam(
        name="already optimal",
        truth="all work at once and are needed",
        formation="parallel",
        routines={role: Routine(2.5) for role in _ROLES[:3]},
    ),
)
"""Teams of different truths; a good tuner speeds up those that have room, and leaves the others alone."""
