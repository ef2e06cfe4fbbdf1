"""What scripts mean: which rule answers, and what it draws."""

from __future__ import annotations

import json
import math
import statistics
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_testing.scripted import (
    ANSWER,
    Constant,
    Crowding,
    Failure,
    Lognormal,
    Rule,
    Script,
    Tailed,
    ToolTurns,
    Uniform,
    scripts,
)
from victor_autotune_testing.scripted.player import Player
from victor_autotune_testing.scripted.protocol import Conversation

CALL = Conversation(
    model="m",
    role="planner",
    goal="Review the code",
    prompt="You plan.",
    material="Review the code",
    turn=1,
    tool_results=0,
    tool_results_refused=0,
)


def answering_rule(script: Script, in_flight: int = 1, **changes: Any) -> str:
    return Player(script).play(evolve(CALL, **changes), in_flight).rule


@pytest.mark.parametrize(
    ("condition", "matches", "misses"),
    [
        ({"role": "Planner"}, {}, {"role": "reviewer"}),
        ({"goal": "review THE"}, {}, {"goal": "plan the release"}),
        ({"goal": "/^review.*code$/"}, {}, {"goal": "code review"}),
        ({"goal": "a.b"}, {"goal": "a.b"}, {"goal": "axb"}),
        ({"prompt": "you plan"}, {}, {"prompt": ""}),
        ({"model": "m"}, {}, {"model": "n"}),
        ({"turn": 2}, {"turn": 2}, {"turn": 1}),
        ({"in_flight": 3}, {"in_flight": 4}, {"in_flight": 2}),
        ({"refused": 1}, {"tool_results_refused": 2}, {"tool_results_refused": 0}),
    ],
)
def test_a_rule_answers_only_where_its_condition_holds(
    condition: dict[str, Any], matches: dict[str, Any], misses: dict[str, Any]
) -> None:
    script = Script([Rule("it", **condition)])
    assert answering_rule(script, **matches) == "it"
    assert answering_rule(script, **misses) == "default"


def test_the_first_rule_that_matches_answers() -> None:
    assert answering_rule(Script([Rule(role="reviewer"), Rule(goal="review"), Rule()])) == "rule 2"


def test_tool_turns_come_in_order_and_their_calls_are_counted_through() -> None:
    script = Script([Rule(tools=[ToolTurns(2, 2, "read", {"path": "f{n}", "at": ["{n}"]}), ToolTurns(1, 1, "ls")])])
    replies = [Player(script).play(evolve(CALL, turn=turn), 1) for turn in (1, 2, 3, 4)]
    assert [[(one.id, one.name) for one in reply.tool_calls] for reply in replies] == [
        [("call_0", "read"), ("call_1", "read")],
        [("call_2", "read"), ("call_3", "read")],
        [("call_4", "ls")],
        [],
    ]
    assert replies[1].tool_calls[1].arguments == '{"path": "f3", "at": [3]}'
    assert [reply.text for reply in replies] == ["", "", "", ANSWER]


@pytest.mark.parametrize(
    ("finds", "material", "answer"),
    [
        (r"/error (\d+)/", "error 7\nError 31", "It is 31."),
        ("/error \\d+/", "error 7", "It is error 7."),
        ("error", "all is well", "It is nothing."),
        (None, "error 7", "It is nothing."),
    ],
)
def test_answers_and_arguments_hold_what_was_found_last(finds: str | None, material: str, answer: str) -> None:
    tools = [ToolTurns(1, 1, "write", {"content": "{found}", "lines": ["{found} {n}"]})]
    player = Player(Script([Rule("finds", finds=finds, tools=tools, answer="It is {found}.")]))
    (call,) = player.play(evolve(CALL, material=material), 1).tool_calls
    found = answer.removeprefix("It is ").removesuffix(".")
    assert json.loads(call.arguments) == {"content": found, "lines": [f"{found} 0"]}
    assert player.play(evolve(CALL, material=material, turn=2), 1).text == answer


def draw_many(script: Script, roles: list[str], in_flight: int = 1) -> dict[str, list[float | None]]:
    player = Player(script)
    drawn: dict[str, list[float | None]] = {}
    for role in roles:
        drawn.setdefault(role, []).append(player.play(evolve(CALL, role=role), in_flight).seconds)
    return drawn


@given(order=st.permutations(["planner"] * 4 + ["reviewer"] * 4), seed=st.integers(0, 2**32))
def test_what_a_role_draws_does_not_depend_on_who_calls_in_between(order: list[str], seed: int) -> None:
    script = Script([Rule(latency=Lognormal(1, 1))], seed=seed)
    assert draw_many(script, order) == draw_many(script, sorted(order))


def test_another_seed_draws_other_numbers_and_a_new_script_starts_anew() -> None:
    script = Script([Rule(latency=Uniform(0, 1))], seed=1)
    first, again = draw_many(script, ["planner"] * 3), draw_many(script, ["planner"] * 3)
    assert first == again
    assert len(set(first["planner"])) == 3
    assert draw_many(evolve(script, seed=2), ["planner"] * 3) != first


def test_failures_happen_on_the_calls_they_name() -> None:
    player = Player(Script([Rule(failures=[Failure(503, calls=[2]), Failure(hang=True, calls=[3])])]))
    replies = [player.play(CALL, 1) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 503, 500, 200]
    assert [reply.seconds for reply in replies] == [0, 0, None, 0]


def test_failures_happen_as_often_as_they_say() -> None:
    player = Player(Script([Rule(failures=[Failure(500, 0.2), Failure(429, 0.5)])], seed=3))
    statuses = [player.play(CALL, 1).status for _ in range(3000)]
    # Four standard errors, for 0.2 and 0.8 * 0.5.
    assert abs(statuses.count(500) / 3000 - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 3000)
    assert abs(statuses.count(429) / 3000 - 0.4) < 4 * math.sqrt(0.4 * 0.6 / 3000)


def test_crowding_slows_down_from_the_first_call_that_is_not_free() -> None:
    script = scripts.crowded(scripts.succeed_at_once(0.1), free=2, slowdown=0.5)
    seconds = [Player(script).play(CALL, in_flight).seconds for in_flight in (1, 2, 3, 4)]
    assert seconds == pytest.approx([0.1, 0.1, 0.15, 0.2])


def test_the_drawn_numbers_have_the_distribution_they_are_said_to_have() -> None:
    random = Random(5)
    lognormal = [Lognormal(0.2, 0.5).draw(random) for _ in range(4000)]
    logs = [math.log(one / 0.2) for one in lognormal]
    assert abs(statistics.fmean(logs)) < 4 * 0.5 / math.sqrt(4000)
    assert abs(statistics.stdev(logs) - 0.5) < 4 * 0.5 / math.sqrt(2 * 4000)
    uniform = [Uniform(1, 3).draw(random) for _ in range(4000)]
    assert 1 <= min(uniform) < 1.01
    assert 2.99 < max(uniform) <= 3
    tailed = [Tailed(Constant(1), 0.1, 10).draw(random) for _ in range(4000)]
    assert set(tailed) == {1, 10}
    assert abs(tailed.count(10) / 4000 - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 4000)


@given(
    st.one_of(
        st.builds(Constant, st.floats(0, 100)),
        st.builds(Lognormal, st.floats(0, 100), st.floats(0, 3)),
        st.builds(lambda low, more: Uniform(low, low + more), st.floats(0, 100), st.floats(0, 100)),
    ),
    st.floats(0, 1),
    st.integers(),
)
def test_no_distribution_gives_a_negative_number(body: Any, probability: float, seed: int) -> None:
    assert Tailed(body, probability, 3).draw(Random(seed)) >= 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-1),
        lambda: Constant(math.nan),
        lambda: Constant(True),
        lambda: Uniform(2, 1),
        lambda: Lognormal(math.inf, 1),
        lambda: Tailed(Constant(1), 1.5, 2),
        lambda: Rule(latency="fast"),  # type: ignore[arg-type]
        lambda: Rule(goal="/(/"),
        lambda: Rule(turn=0),
        lambda: ToolTurns(turns=0),
        lambda: Failure(200),
        lambda: Failure(calls=[0]),
        lambda: Crowding(free=-1),
        lambda: Script([Rule("a"), Rule("a")]),
    ],
)
def test_impossible_values_are_refused_at_once(make: Any) -> None:
    with pytest.raises(ValueError, match=r"must|regular expression|distribution|unique"):
        make()


def test_a_rules_own_numbers_are_reported_as_whole_tokens() -> None:
    script = Script([Rule(prompt_tokens=Uniform(100, 200), completion_tokens=12.4)])
    reply = Player(script).play(CALL, 1)
    assert isinstance(reply.prompt_tokens, int)
    assert 100 <= reply.prompt_tokens <= 200
    assert reply.completion_tokens == 12
