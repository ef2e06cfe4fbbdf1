"""The one way between values and plain data."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin._model.converter import PlainDataError, check, from_plain, to_plain
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.policy import Policy
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun, TokenUse
from victor_autotune_testing.stored import change, experiment, finished

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
COUNTS = st.integers(0, 2**31 - 1)
SECONDS = st.floats(0, 1e9)
PLANS = st.builds(
    TeamPlan,
    formation=st.none() | st.just("parallel"),
    members=st.none() | st.lists(NAMES, min_size=1, max_size=3),
    tool_budget=st.none() | COUNTS,
    member_budgets=st.none() | st.dictionaries(NAMES, COUNTS, max_size=3),
    timeout_seconds=st.none() | SECONDS,
)
RUNS = st.builds(
    TeamRun,
    run_id=NAMES,
    spec=st.builds(
        TeamSpec,
        workflow=NAMES,
        team_id=NAMES,
        formation=st.just("pipeline"),
        members=st.lists(st.builds(MemberSpec, id=NAMES, tool_budget=st.none() | COUNTS), max_size=3),
    ),
    started_at=SECONDS,
    duration_seconds=SECONDS,
    success=st.booleans(),
    member_success_share=st.floats(0, 1),
    score=st.none() | st.floats(0, 1),
    plan_asked=PLANS,
    plan_used=PLANS,
    arm=st.none() | st.sampled_from(["control", "treatment"]),
    index=st.none() | COUNTS,
    cost_usd=st.none() | SECONDS,
    members=st.lists(
        st.builds(
            MemberOutcome,
            id=NAMES,
            models=st.lists(NAMES, max_size=2),
            model_seconds=st.none() | SECONDS,
            tool_seconds=st.none() | SECONDS,
            in_flight=st.floats(1, 64),
        ),
        max_size=3,
    ),
    tokens=st.lists(st.builds(TokenUse, model=NAMES, input_tokens=COUNTS), max_size=2),
)


@given(RUNS)
def test_a_run_comes_back_equal_bit_for_bit(run: TeamRun) -> None:
    data = json.loads(json.dumps(to_plain(run)))
    check(TeamRun, data)
    back = from_plain(TeamRun, data)
    assert back == run
    assert (hash(back.plan_used), back.plan_used.id) == (hash(run.plan_used), run.plan_used.id)
    assert back.spec.fingerprint() == run.spec.fingerprint()


def test_whole_seconds_have_the_same_digest_as_when_they_come_back() -> None:
    spec = TeamSpec("w", "t", "sequential", (), timeout_seconds=301)
    back = from_plain(TeamSpec, json.loads(json.dumps(to_plain(spec))))
    # Fingerprints are remembered by equality, and so differ between processes if equal specs have other digests.
    assert json.dumps(to_plain(back)) == json.dumps(to_plain(spec))


def test_a_plan_holds_only_the_knobs_that_are_set() -> None:
    plan = TeamPlan(member_budgets={"b": 2, "a": 1}, sub_teams=[["a"], ["b"]])
    assert to_plain(plan) == {"member_budgets": {"a": 1, "b": 2}, "sub_teams": [["a"], ["b"]]}
    assert to_plain(change(rollback_plan=plan))["rollback_plan"] == to_plain(plan)
    assert plan.id == "4468ae5ebd403408"  # as 0.1.0 had it
    assert TeamPlan().id == "44136fa355b3678a"


def test_numbers_of_numpy_become_plain() -> None:
    plain = to_plain({"mean": np.float64(0.5), "runs": np.int64(3), "ends": np.array([1.0, 2.0]), "known": np.True_})
    assert plain == {"mean": 0.5, "runs": 3, "ends": [1.0, 2.0], "known": True}
    assert {type(value) for value in plain.values()} == {float, int, list, bool}


def test_what_is_not_plain_is_refused() -> None:
    with pytest.raises(TypeError, match="object is not plain data"):
        to_plain([object()])


def test_an_unknown_key_is_ignored_and_a_missing_one_gets_its_default() -> None:
    assert from_plain(Policy, {"alpha": 0.01, "of_the_future": 1}) == Policy(alpha=0.01)
    assert from_plain(TokenUse, {"model": "m"}) == TokenUse("m")


def damaged(path: str, value: Any) -> dict[str, Any]:
    data: Any = json.loads(json.dumps(to_plain(finished())))
    whole, (*way, last) = data, [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in way:
        data = data[step]
    if value is KeyError:
        del data[last]
    else:
        data[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("success", KeyError, "success", "is missing"),
        ("success", 1, "success", "must be true or false, not 1"),
        ("members/1/duration_seconds", -1, "members[1].duration_seconds", "must be at least 0, not -1"),
        ("members/1/duration_seconds", "x", "members[1].duration_seconds", "must be a finite number, not 'x'"),
        ("members/0/models", "gpt", "members[0].models", "must be a list, not 'gpt'"),
        ("members/0/models", [1], "members[0].models[0]", "must be text, not 1"),
        ("score", 1.5, "score", "must be from 0 to 1, not 1.5"),
        ("cost_usd", math.nan, "cost_usd", "must be a finite number, not nan"),
        ("cost_usd", 10**400, "cost_usd", "must be a finite number, not a huge number"),
        ("index", 1.5, "index", "must be a whole number from 0 to 2147483647, not 1.5"),
        ("arm", "middle", "arm", "must be one of control, treatment, not 'middle'"),
        ("phase", "later", "phase", "must be one of test, watch, not 'later'"),
        ("spec", [], "spec", "must be an object, not []"),
        ("plan_used/member_budgets", {"a": -1}, "plan_used.member_budgets.a", "must be a whole number"),
        ("plan_used/members", [], "plan_used.members", "must not be empty"),
        ("run_id", "", "run_id", "must not be empty"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(path: str, value: Any, field: str, message: str) -> None:
    with pytest.raises(PlainDataError) as caught:
        check(TeamRun, damaged(path, value), "")
    assert caught.value.field == field
    assert caught.value.message.startswith(message)


def test_a_type_that_is_wrong_is_named_without_asking_for_a_check() -> None:
    with pytest.raises(PlainDataError, match=r"run\.members\[1\]\.tool_calls: must be a whole number"):
        from_plain(TeamRun, damaged("members/1/tool_calls", "many"), "run")


def test_a_value_that_its_class_refuses_is_named() -> None:
    data = to_plain(experiment()) | {"policy": {"alpha": 7}}
    with pytest.raises(PlainDataError, match=r"policy: alpha must be a number from 0\.005 to 0\.15, not 7"):
        check(type(experiment()), data)
    with pytest.raises(PlainDataError, match="alpha must be a number"):
        from_plain(type(experiment()), data)


def test_only_what_has_changed_differs() -> None:
    one = finished()
    assert to_plain(evolve(one, score=0.25)) == to_plain(one) | {"score": 0.25}
