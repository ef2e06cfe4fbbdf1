"""Ready scripts. What real Victor 0.9.5 makes of them was found by running it, and tests hold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve

from .distributions import Distribution
from .script import ANSWER, Crowding, Failure, Rule, Script, ToolTurns

SATISFIED_ANSWER = f"{ANSWER}\n\nVERDICT: SATISFIED"
"""Ends a reflection after its first round, when the critic says it. After `ANSWER` it goes on for three rounds."""

STUCK_ANSWER = "done: the analysis is complete."
"""Too short for Victor to accept without a tool call before it."""


def succeed_at_once(latency: float | Distribution = 0.0, *, seed: int = 0) -> Script:
    """Return a script under which each member succeeds in exactly one call, without tools.

    A reflection ends after one round: two calls.

    Args:
        latency: Seconds for the call.
        seed: Seed of everything random.
    """
    return Script([Rule("answer", latency=latency, answer=SATISFIED_ANSWER)], seed=seed)


def meeting(calls: int, *, roles: Iterable[str] = ()) -> Script:
    """Return a script under which members that work at the same time are in flight at the same time.

    A call is answered when so many are in flight, or after 20 s. Members succeed in one call.

    Args:
        calls: Number of calls that meet.
        roles: Roles that wait for one another; the others answer at once. Empty for all.
    """
    meets = [Rule(role, role=role, latency=20.0, together=calls, answer=SATISFIED_ANSWER) for role in roles]
    others = Rule("others", answer=SATISFIED_ANSWER)
    return Script([*meets, others if meets else evolve(others, latency=20.0, together=calls)])


def with_tools(turns: int, calls: int = 1, *, latency: float | Distribution = 0.0, seed: int = 0) -> Script:
    """Return a script under which each member reads `notes.md` for some turns, and then succeeds.

    A member makes `turns + 1` calls of the model, and `turns * calls` tool calls that Victor really runs. More than ten
    turns fail: Victor ends a member's loop after ten.

    Args:
        turns: Turns with tool calls, 1 to 10.
        calls: Tool calls in each of them; Victor runs 50 a member.
        latency: Seconds for each call of the model.
        seed: Seed of everything random.
    """
    rule = Rule("tools", latency=latency, tools=[ToolTurns(turns, calls)], answer=SATISFIED_ANSWER)
    return Script([rule], seed=seed)


def by_role(latencies: Mapping[str, float | Distribution], *, seed: int = 0) -> Script:
    """Return a script under which each member succeeds in one call that takes as long as its role says.

    Args:
        latencies: Seconds by role, such as `{"planner": 0.2, "researcher": Lognormal(0.5, 0.4)}`. Other roles answer
            at once.
        seed: Seed of everything random.
    """
    rules = [Rule(role, role=role, latency=one, answer=SATISFIED_ANSWER) for role, one in latencies.items()]
    return Script([*rules, Rule("others", answer=SATISFIED_ANSWER)], seed=seed)


def crowded(script: Script, *, free: int = 1, slowdown: float = 1.0) -> Script:
    """Return a script whose provider slows down with the calls in flight, so that parallel members harm each other.

    Args:
        script: What it does otherwise.
        free: Calls in flight that cost nothing.
        slowdown: Added share of the latency for each further call in flight.
    """
    crowding = Crowding(free, slowdown)
    return Script([evolve(rule, crowding=crowding) for rule in script.rules], seed=script.seed)


def failing(status: int = 400, role: str | None = None, *, probability: float = 1.0, seed: int = 0) -> Script:
    """Return a script under which calls fail.

    A member fails after four requests. Victor's transport sends each of them once, or four times within 1.4 s when the
    status is 429 or at least 500; Victor waits in between, so such a member takes 6 s, and half a minute with 429.
    After five failed requests in a row, of all members together, the transport refuses requests for 30 s.

    Args:
        status: HTTP status, 400 to 599.
        role: The role whose calls fail, or None for all. Others succeed in one call.
        probability: Share of these calls that fail.
        seed: Seed of everything random.
    """
    rule = Rule("failing", role=role, answer=SATISFIED_ANSWER, failures=[Failure(status, probability)])
    return Script([rule, Rule("others", answer=SATISFIED_ANSWER)], seed=seed)


def hanging(role: str | None = None, *, seed: int = 0) -> Script:
    """Return a script under which calls never get an answer; Victor itself gives up after minutes.

    Args:
        role: The role whose calls hang, or None for all. Others succeed in one call.
        seed: Seed of everything random.
    """
    rule = Rule("hanging", role=role, failures=[Failure(hang=True)])
    return Script([rule, Rule("others", answer=SATISFIED_ANSWER)], seed=seed)


def stuck(role: str | None = None, *, seed: int = 0) -> Script:
    """Return a script under which members fail after three calls, because Victor accepts no answer as final.

    Args:
        role: The role that fails, or None for all. Others succeed in one call.
        seed: Seed of everything random.
    """
    rule = Rule("stuck", role=role, answer=STUCK_ANSWER)
    return Script([rule, Rule("others", answer=SATISFIED_ANSWER)], seed=seed)
