"""The teams that tuning is measured on: who fails when, and what a changed layout makes of it."""

from __future__ import annotations

from random import Random

import pytest

from victor_autotune_testing.scripted.player import Player
from victor_autotune_testing.scripted.protocol import Conversation
from victor_autotune_testing.scripted.scripts import STUCK_ANSWER
from victor_autotune_testing.scripted.true_teams import SUCCESS, TRUE_TEAMS, DrawnTask, TrueTeam

FAILS, DISTURBED, FINE = 0.1, 0.3, 0.9
TEAMS = {team.name: team for team in TRUE_TEAMS}


def task(luck: float, number: int = 7) -> DrawnTask:
    return DrawnTask(number, 1.0, luck, 5)


def call(role: str, turn: int = 1, refused: int = 0) -> Conversation:
    return Conversation("scripted", role, "do the work", "", "", turn, 0, refused)


def first_answers(team: TrueTeam, luck: float, in_flight: int) -> list[str]:
    player = Player(team.script(1.0, task(luck)))
    return [player.play(call(role), in_flight).text for role in team.routines]


def test_a_fifth_of_the_tasks_fail_and_tasks_differ_by_their_length():
    draw = Random(1)
    tasks = [DrawnTask.drawn(number, draw) for number in range(4000)]

    assert sum(one.luck < 1 - SUCCESS for one in tasks) / len(tasks) == pytest.approx(0.2, abs=0.02)
    assert sum(one.factor < 1 for one in tasks) / len(tasks) == pytest.approx(0.5, abs=0.03)
    assert sum(one.factor < 1.65 for one in tasks) / len(tasks) == pytest.approx(0.84, abs=0.02)


@pytest.mark.parametrize("name", ["wide", "subtle harm", "decomposable", "flaky member", "already optimal"])
def test_one_member_gets_nowhere_in_a_run_that_fails(name):
    assert first_answers(TEAMS[name], FAILS, 1).count(STUCK_ANSWER) == 1
    assert STUCK_ANSWER not in first_answers(TEAMS[name], FINE, 4)


def test_side_by_side_harms_only_where_that_is_said():
    harmed = {name for name, team in TEAMS.items() if STUCK_ANSWER in first_answers(team, DISTURBED, 2)}

    assert harmed == {"subtle harm"}
    assert STUCK_ANSWER not in first_answers(TEAMS["subtle harm"], DISTURBED, 1)


def test_a_disturbed_member_gets_nowhere_later_either():
    team = TEAMS["subtle harm"]
    player = Player(team.script(1.0, task(DISTURBED)))

    assert [player.play(call("reviewer", turn), 2 if turn == 1 else 1).text for turn in (1, 2, 3)] == [STUCK_ANSWER] * 3


def test_a_hungry_member_goes_on_until_its_budget_ends():
    player = Player(TEAMS["tool-hungry"].script(1.0, task(FAILS)))

    assert all(player.play(call("researcher", turn), 1).tool_calls for turn in range(1, 11))
    assert "researcher:" in player.play(call("researcher", 3, refused=1), 1).text


def test_answers_name_the_task():
    assert all("number 7 " in text.lower() for text in first_answers(TEAMS["mild"], FINE, 1) if text)
