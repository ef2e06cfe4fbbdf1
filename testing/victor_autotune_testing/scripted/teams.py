"""Teams with one fault each, of the kind that a strategy mends; for tests and benchmarks on real Victor.

What a member takes is a property of the script, so the gain that a change can bring is known beforehand. The faults are
as large as they are in practice, not as large as they could be: SPEC's ranges are what a strategy is expected to bring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from .distributions import Constant, Distribution, Lognormal
from .script import Failure, Rule, Script, ToolTurns
from .scripts import SATISFIED_ANSWER, STUCK_ANSWER

GOAL: Final = "review the change"
HARD_GOAL: Final = "review the large change"

IN_TIME: Final = "in time"
"""The share of runs that ended within the changed plan's deadline, one way or the other."""


@frozen
class FaultyTeam:
    """A team, the model behind it, and what is wrong with them.

    Attributes:
        strategy: Name of the strategy that should hint it.
        fault: What is wrong, in a few words.
        metric: What gets better: `duration`, `cost`, or `IN_TIME`.
        expected: What such a change usually brings, percent (percentage points for `IN_TIME`): from, to.
        formation: Formation as configured.
        members: Members as a workflow file has them.
        script: The model's script, given the seconds that an ordinary call takes.
        goals: Goals of consecutive runs, in turn.
        step: Further keys of the team step.
        baselines: What the analysis compares with, in ordinary calls for figures in seconds.
    """

    strategy: str
    fault: str
    metric: str
    expected: tuple[float, float]
    formation: str
    members: tuple[Mapping[str, Any], ...]
    script: Callable[[float], Script]
    goals: tuple[str, ...] = (GOAL,)
    step: Mapping[str, Any] = field(factory=dict)
    baselines: Mapping[str, float] = field(factory=dict)

    def step_fields(self, call_seconds: float) -> dict[str, Any]:
        """Return the further keys of the step; a timeout is given in ordinary calls.

        Args:
            call_seconds: What an ordinary call takes.
        """
        fields = {"timeout_seconds": 60.0, **self.step}
        if "timeout_calls" in fields:
            fields["timeout_seconds"] = fields.pop("timeout_calls") * call_seconds
        return fields

    def baseline_metrics(self, call_seconds: float) -> dict[str, float]:
        """Return what the analysis compares with.

        Args:
            call_seconds: What an ordinary call takes.
        """
        return {
            name: value * call_seconds if name.endswith("seconds") else value for name, value in self.baselines.items()
        }


def about(value: float) -> Distribution:
    """Return the latency of a call that takes about so many seconds."""
    return Lognormal(value, 0.12)


def by_calls(calls: Mapping[str, float]) -> Callable[[float], Script]:
    """Return a script under which roles take so many ordinary calls' time each."""

    def script(call_seconds: float) -> Script:
        rules = [
            Rule(role, role=role, latency=about(times * call_seconds), answer=SATISFIED_ANSWER)
            for role, times in calls.items()
        ]
        return Script(rules, seed=11)

    return script


def looping(call_seconds: float) -> Script:
    """Hard tasks send the researcher round in circles until Victor stops it; told to stop, it answers."""
    call = about(0.1 * call_seconds)
    return Script(
        [
            Rule("told", role="researcher", refused=1, latency=call, answer=SATISFIED_ANSWER),
            Rule("lost", role="researcher", goal=HARD_GOAL, latency=call, tools=[ToolTurns(12, 5)]),
            Rule("researcher", role="researcher", latency=call, tools=[ToolTurns(5, 5)], answer=SATISFIED_ANSWER),
            Rule("others", latency=call, answer=SATISFIED_ANSWER),
        ],
        seed=11,
    )


def _hanging(call_seconds: float) -> Script:
    """On hard tasks the reviewer's answer never comes."""
    return Script(
        [
            Rule("hanging", role="reviewer", goal=HARD_GOAL, failures=[Failure(hang=True)]),
            Rule("others", latency=about(call_seconds), answer=SATISFIED_ANSWER),
        ],
        seed=11,
    )


def _useless(call_seconds: float) -> Script:
    """The reviewer never gets anywhere, in three calls."""
    return Script(
        [
            Rule(
                "useless",
                role="reviewer",
                latency=about(0.2 * call_seconds),
                prompt_tokens=Constant(40),
                completion_tokens=Constant(10),
                answer=STUCK_ANSWER,
            ),
            Rule("others", latency=about(call_seconds), answer=SATISFIED_ANSWER),
        ],
        seed=11,
    )


def members_of(**roles: str) -> tuple[dict[str, Any], ...]:
    """Return members as a workflow file has them, by id and role."""
    return tuple({"id": name, "role": role} for name, role in roles.items())


FAULTY_TEAMS: Final = (
    FaultyTeam(
        "formation_selection",
        "independent members wait for one another",
        "duration",
        (20, 50),
        "sequential",
        members_of(planner="planner", researcher="researcher", reviewer="reviewer"),
        by_calls({"planner": 0.5, "researcher": 1.2, "reviewer": 0.4}),
    ),
    FaultyTeam(
        "team_sizing",
        "eight members, of whom the last five look again at the same",
        "duration",
        (10, 20),
        "sequential",
        members_of(
            planner="planner",
            researcher="researcher",
            executor="executor",
            **{f"reviewer_{n}": "reviewer" for n in range(1, 6)},
        ),
        by_calls({"planner": 1.0, "researcher": 1.0, "executor": 1.0, "reviewer": 0.1}),
    ),
    FaultyTeam(
        "tool_budget",
        "hard tasks send a member round in circles",
        "cost",
        (5, 15),
        "sequential",
        members_of(planner="planner", researcher="researcher"),
        looping,
        goals=(GOAL, GOAL, GOAL, GOAL, HARD_GOAL),
        step={"total_tool_budget": 46},
    ),
    FaultyTeam(
        "timeout_tuning",
        "one task in twelve hangs until the step's own timeout",
        IN_TIME,
        (5, 10),
        "sequential",
        members_of(planner="planner", reviewer="reviewer"),
        _hanging,
        goals=(*[GOAL] * 4, HARD_GOAL, *[GOAL] * 7),
        step={"timeout_calls": 12.0},
        baselines={"p95_duration_seconds": 3.0},
    ),
    FaultyTeam(
        "member_selection",
        "one member never gets anywhere",
        "duration",
        (10, 30),
        "sequential",
        members_of(planner="planner", researcher="researcher", executor="executor", reviewer="reviewer"),
        _useless,
    ),
    FaultyTeam(
        "parallelization",
        "two pairs that have nothing to do with each other work one after another",
        "duration",
        (30, 50),
        "sequential",
        members_of(
            frontend_coder="executor",
            frontend_reviewer="reviewer",
            backend_coder="executor",
            backend_reviewer="reviewer",
        ),
        by_calls({"executor": 1.0, "reviewer": 0.7}),
    ),
)
"""One team for each built-in strategy, in the order of SPEC's table."""
