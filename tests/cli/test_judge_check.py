"""`judge-check`: whether a model as judge agrees with people, and where it is biased."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin.storage import Store, default_url

from .conftest import Said
from .scored_runs import AT, ended, run_id, write_runs

Call = Callable[..., Said]


def judged(number: int, value: float | None, *, judge: str = "d1", cost: float | None = 0.01) -> Score:
    details = {
        "length": 100 * number,
        "answers": [[[1, True], [2, bool(number % 2)]], [[2, bool(number % 2)], [1, True]]],
    }
    return Score(run_id(number), "judge", value, "model", AT + number, judge, cost, 1.0, "", details)


def label(number: int, value: float) -> Score:
    return Score(run_id(number), "review", value, "person", AT + 1000 + number)


def write(folder: Path, runs: int, *, agrees: bool, gates: tuple[Gate, ...] = (), cost: float | None = 0.01) -> None:
    drawn = random.Random(1)
    scores = []
    for number in range(1, runs + 1):
        truth = drawn.random()
        said = min(1.0, max(0.0, truth + drawn.uniform(-0.05, 0.05))) if agrees else drawn.random()
        scores += [judged(number, said, cost=cost), label(number, truth)]
    arms = ("control", "treatment")
    made = [ended(n, arm=arms[n % 2], experiment_id="e1", index=n) for n in range(1, runs + 1)]
    write_runs(folder, made, scores, gates)


def test_a_judge_that_agrees_is_trusted(call: Call, tmp_path: Path) -> None:
    write(tmp_path, 30, agrees=True, gates=(Gate("judge", judge="d1"),))
    said = call("judge-check")
    assert said.code == 0, said.err
    for part in (
        "judge of team team (flow)",
        "Decides",
        "yes",
        "α 1.00, at least",
        "30 labels",
        "Arm control",
        "Length",
        "Place",
    ):
        assert part in said.out
    found = call("judge-check", "team", "--json").data["judges"][0]
    assert found["trust"]["is_trusted"]
    assert found["trust"]["agreement"]["alpha"] > 0.9
    assert found["trust"]["agreement"]["low"] > 0.5
    assert (found["name"], found["judge"], found["decides"], found["asked"]) == ("judge", "d1", True, 30)
    assert found["cost_usd"] == pytest.approx(0.3)
    assert set(found["bias"]["arms"]) == {"control", "treatment"}
    assert [place["position"] for place in found["bias"]["positions"]] == [1, 2]
    assert found["bias"]["length_correlation"] is not None


def test_a_judge_that_does_not_agree_is_shown_with_why_and_is_no_error(call: Call, tmp_path: Path) -> None:
    write(tmp_path, 40, agrees=False, cost=None)
    said = call("judge-check", "--name", "judge")
    assert said.code == 0
    assert "no: it is not trusted" in said.out
    assert "below 0.7" in said.out
    found = call("judge-check", "--json").data["judges"][0]
    assert (found["decides"], found["trust"]["is_trusted"], found["cost_usd"]) == (False, False, None)


def test_too_few_labels_are_told(call: Call, tmp_path: Path) -> None:
    write(tmp_path, 12, agrees=True)
    assert "12 of 20 labels" in call("judge-check").out


def test_scores_of_an_earlier_rubric_or_model_do_not_count(call: Call, tmp_path: Path) -> None:
    write(tmp_path, 30, agrees=True, gates=(Gate("judge", judge="d1"),))
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        transaction.finish_run(ended(31))
        transaction.record_score(judged(31, 1.0, judge="d2"))
    found = call("judge-check", "--json").data["judges"][0]
    assert (found["judge"], found["decides"], found["asked"]) == ("d2", False, 1)
    assert found["trust"]["why"] == "not trusted yet: 0 of 20 labels"


def test_without_a_judge_it_is_said_how_one_is_set(call: Call, tmp_path: Path) -> None:
    write_runs(tmp_path, [ended(1)])
    assert "quality.scorers" in call("judge-check").out
    said = call("judge-check", "--name", "judeg")
    assert said.code == 2
    assert "--name" in said.err
    assert call("judge-check", "nobody").code == 2
