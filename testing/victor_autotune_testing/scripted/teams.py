"""Teams whose best plan is known, because what their members take is a property of the script.

`FAULTY_TEAMS` have one fault each, of the kind that a strategy mends; the faults are as large as they are in practice,
not as large as they could be: SPEC's ranges are what a strategy is expected to bring. For tests and benchmarks on real
Victor; `true_teams` holds those that the tuner is measured on.
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


@frozen(kw_only=True)
class ScriptedTeam:
    """A team and the model behind it.

    Attributes:
        formation: Formation as configured.
        members: Members as a workflow file has them.
        script: The model's script, given the seconds that an ordinary call takes.
        goals: Goals of consecutive runs, in turn.
        step: Further keys of the team step; `timeout_calls` is a timeout in ordinary calls.
    """

    formation: str = "sequential"
    members: tuple[Mapping[str, Any], ...]
    script: Callable[[float], Script]
    goals: tuple[str, ...] = (GOAL,)
    step: Mapping[str, Any] = field(factory=dict)

    def step_fields(self, call_seconds: float) -> dict[str, Any]:
        """Return the further keys of the step, when an ordinary call takes so many seconds."""
        fields = {"timeout_seconds": 60.0, **self.step}
        if "timeout_calls" in fields:
            fields["timeout_seconds"] = fields.pop("timeout_calls") * call_seconds
        return fields


@frozen(kw_only=True)
class FaultyTeam(ScriptedTeam):
    """A team with something wrong.

    Attributes:
        strategy: Name of the strategy that should suggest the change.
        fault: What is wrong, in a few words.
        metric: What gets better: `duration`, `cost`, or `IN_TIME`.
        expected: What such a change usually brings, percent (percentage points for `IN_TIME`): from, to.
        baselines: What the analysis compares with, in ordinary calls for figures in seconds.
    """

    strategy: str
    fault: str
    metric: str = "duration"
    expected: tuple[float, float]
    baselines: Mapping[str, float] = field(factory=dict)

    def baseline_metrics(self, call_seconds: float) -> dict[str, float]:
        """Return what the analysis compares with, when an ordinary call takes so many seconds."""
        return {
            name: value * call_seconds if name.endswith("seconds") else value for name, value in self.baselines.items()
        }


def _about(value: float) -> Distribution:
    """Return the latency of a call that takes about so many seconds."""
    return Lognormal(value, 0.12)


def _by_calls(calls: Mapping[str, float]) -> Callable[[float], Script]:
    """Return a script under which roles take so many ordinary calls' time each."""

    def script(call_seconds: float) -> Script:
        rules = [
            Rule(role, role=role, latency=_about(times * call_seconds), answer=SATISFIED_ANSWER)
            for role, times in calls.items()
        ]
        return Script(rules, seed=11)

    return script


def _looping(call_seconds: float) -> Script:
    """Hard tasks send the researcher round in circles until Victor stops it; told to stop, it answers."""
    call = _about(0.1 * call_seconds)
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
            Rule("others", latency=_about(call_seconds), answer=SATISFIED_ANSWER),
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
                latency=_about(0.2 * call_seconds),
                prompt_tokens=Constant(40),
                completion_tokens=Constant(10),
                answer=STUCK_ANSWER,
            ),
            Rule("others", latency=_about(call_seconds), answer=SATISFIED_ANSWER),
        ],
        seed=11,
    )


def _members_of(**roles: str) -> tuple[dict[str, Any], ...]:
    """Return members as a workflow file has them, by id and role."""
    return tuple({"id": name, "role": role} for name, role in roles.items())


_FOUR: Final = _members_of(planner="planner", researcher="researcher", executor="executor", reviewer="reviewer")

FAULTY_TEAMS: Final = (
    FaultyTeam(
        strategy="formation_selection",
        fault="independent members wait for one another",
        expected=(20, 50),
        members=_members_of(planner="planner", researcher="researcher", reviewer="reviewer"),
        script=_by_calls({"planner": 0.5, "researcher": 1.2, "reviewer": 0.4}),
    ),
    FaultyTeam(
        strategy="team_sizing",
        fault="eight members, of whom the last five look again at the same",
        expected=(10, 20),
        members=_members_of(
            planner="planner",
            researcher="researcher",
            executor="executor",
            **{f"reviewer_{n}": "reviewer" for n in range(1, 6)},
        ),
        script=_by_calls({"planner": 1.0, "researcher": 1.0, "executor": 1.0, "reviewer": 0.1}),
    ),
    FaultyTeam(
        strategy="tool_budget",
        fault="hard tasks send a member round in circles",
        metric="cost",
        expected=(5, 15),
        members=_members_of(planner="planner", researcher="researcher"),
        script=_looping,
        goals=(GOAL, GOAL, GOAL, GOAL, HARD_GOAL),
        step={"total_tool_budget": 46},
    ),
    FaultyTeam(
        strategy="timeout_tuning",
        fault="one task in twelve hangs until the step's own timeout",
        metric=IN_TIME,
        expected=(5, 10),
        members=_members_of(planner="planner", reviewer="reviewer"),
        script=_hanging,
        goals=(*[GOAL] * 4, HARD_GOAL, *[GOAL] * 7),
        step={"timeout_calls": 12.0},
        baselines={"p95_duration_seconds": 3.0},
    ),
    FaultyTeam(
        strategy="member_selection",
        fault="one member never gets anywhere",
        expected=(10, 30),
        members=_FOUR,
        script=_useless,
    ),
    FaultyTeam(
        strategy="parallelization",
        fault="two pairs that have nothing to do with each other work one after another",
        expected=(30, 50),
        members=_members_of(
            frontend_coder="executor",
            frontend_reviewer="reviewer",
            backend_coder="executor",
            backend_reviewer="reviewer",
        ),
        script=_by_calls({"executor": 1.0, "reviewer": 0.7}),
    ),
)
"""One team for each built-in strategy, in the order of SPEC's table."""
