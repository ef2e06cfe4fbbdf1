"""Teams whose best plan is known, to see whether tuning finds it; for benchmarks on real Victor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from victor_autotune_plugin._model.plan import TeamPlan

from .script import Rule, Script
from .scripts import SATISFIED_ANSWER, STUCK_ANSWER
from .teams import GOAL, HARD_GOAL, about, by_calls, looping, members_of


@frozen
class TrueTeam:
    """A team, the model behind it, and plans among which the best one is.

    Attributes:
        name: What its work is like.
        truth: What that means, in a few words.
        formation: Formation as configured.
        members: Members as a workflow file has them.
        script: The model's script, given the seconds that an ordinary call takes.
        candidates: Plans among which the best one is.
        goals: Goals of consecutive runs, in turn.
        step: Further keys of the team step.
    """

    name: str
    truth: str
    formation: str
    members: tuple[Mapping[str, Any], ...]
    script: Callable[[float], Script]
    candidates: tuple[TeamPlan, ...]
    goals: tuple[str, ...] = (GOAL,)
    step: Mapping[str, Any] = field(factory=dict)


def _dependent(call_seconds: float) -> Script:
    """A member that works while another one does gets nowhere: it misses what the other one has not yet written."""
    return Script(
        [
            Rule("missing something", in_flight=2, latency=about(call_seconds), answer=STUCK_ANSWER),
            Rule("in order", latency=about(call_seconds), answer=SATISFIED_ANSWER),
        ],
        seed=11,
    )


def _flaky(call_seconds: float) -> Script:
    """The reviewer takes three calls to get nowhere."""
    return Script(
        [
            Rule("flaky", role="reviewer", latency=about(call_seconds), answer=STUCK_ANSWER),
            Rule("others", latency=about(1.2 * call_seconds), answer=SATISFIED_ANSWER),
        ],
        seed=11,
    )


def _hungry(call_seconds: float) -> Script:
    """As `looping`, where the calls between the tools are what takes time."""
    return looping(4 * call_seconds)


_ONE_EACH: Final = {"planner": 1.0, "researcher": 1.0, "executor": 1.0, "reviewer": 1.0}
_FOUR: Final = members_of(planner="planner", researcher="researcher", executor="executor", reviewer="reviewer")
_THREE: Final = _FOUR[:3]
_IDS: Final = tuple(str(member["id"]) for member in _FOUR)

TRUE_TEAMS: Final = (
    TrueTeam(
        "decomposable",
        "nobody needs another's work, and all wait for one another",
        "sequential",
        _FOUR,
        by_calls(_ONE_EACH),
        (TeamPlan("parallel"), TeamPlan("pipeline"), TeamPlan(sub_teams=[_IDS[:2], _IDS[2:]])),
    ),
    TrueTeam(
        "sequential",
        "who works beside another gets nowhere",
        "sequential",
        _FOUR,
        _dependent,
        (TeamPlan("parallel"), TeamPlan("pipeline"), TeamPlan(sub_teams=[_IDS[:2], _IDS[2:]])),
    ),
    TrueTeam(
        "flaky member",
        "one member takes longest and never gets anywhere",
        "parallel",
        _FOUR,
        _flaky,
        (TeamPlan("sequential"), TeamPlan(members=_IDS[:3]), TeamPlan("sequential", _IDS[:3])),
    ),
    TrueTeam(
        "tool-hungry",
        "every other task sends a member round in circles",
        "parallel",
        members_of(planner="planner", researcher="researcher"),
        _hungry,
        (TeamPlan("sequential"), TeamPlan(tool_budget=25), TeamPlan(tool_budget=30)),
        goals=(GOAL, HARD_GOAL),
        step={"total_tool_budget": 46},
    ),
    TrueTeam(
        "already optimal",
        "all work at once and are needed",
        "parallel",
        _THREE,
        by_calls(_ONE_EACH),
        (TeamPlan("sequential"), TeamPlan("consensus"), TeamPlan(sub_teams=[_IDS[:2], _IDS[2:3]])),
    ),
)
"""Workflows with different truths; a good tuner speeds up those that have room, and leaves the others alone."""
