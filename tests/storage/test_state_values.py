"""The values of `model.state`: to plain data and back, and the ways of an experiment."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from attrs import evolve

from victor_autotune_plugin._model.converter import from_plain
from victor_autotune_plugin._model.experiment import (
    ENDED,
    STATES,
    Assignment,
    Change,
    Experiment,
    ExperimentStatus,
    TeamState,
    may_follow,
)
from victor_autotune_testing.stored import SPEC, TUNED, change, experiment, finished, missing, observation

VALUES = [
    TeamState("w", "t"),
    TeamState("w", "t", 3, TUNED, SPEC.fingerprint(), SPEC, "e1", True, 2.5, "e0"),
    experiment(),
    experiment(status="superseded", decided_at=1.0, promoted_at=1.0, ended_at=2.0, verdict={"a": 1}, watch_verdict={}),
    experiment(status="canary", promotion="probation", asks_for="probation", rounds=2, proven_by="e", control_id="f"),
    change(),
    change(rollback_plan=None, id=7, evidence={"a": [1]}),
    Assignment("e1", "watch", "control", "0", 4),
    observation(order=9),
    observation(cost_usd=None),
    missing(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_plain_data_and_back_is_the_same(value: Any) -> None:
    assert from_plain(type(value), json.loads(json.dumps(value.to_dict()))) == value


@pytest.mark.parametrize("kind", [TeamState, Experiment, Change, Assignment], ids=lambda kind: kind.__name__)
def test_keys_of_a_newer_version_are_ignored(kind: Any) -> None:
    value = next(value for value in VALUES if isinstance(value, kind))
    assert from_plain(kind, {**value.to_dict(), "of_the_future": 1}) == value


def test_a_run_tells_what_it_was_or_while_it_has_not_finished_what_is_known_of_its_start() -> None:
    assert "duration_seconds" in finished().to_dict()
    started = evolve(finished(), status="lost").to_dict()
    assert "status" not in started
    assert list(started) == [
        *("run_id", "spec", "started_at", "entry", "parent_id", "task_key", "mode", "plan_asked", "experiment_id"),
        "arm",
    ]


def test_every_status_has_its_ways() -> None:
    statuses = set(get_args(ExperimentStatus))
    assert set(STATES) == statuses
    assert {following for state in STATES.values() for following in state.next} <= statuses
    assert {"failed", "inconclusive", "aborted", "superseded", "rolled_back"} == ENDED


def test_every_experiment_can_end_and_none_that_ended_goes_on() -> None:
    for status in STATES:
        reached, open_ = {status}, [status]
        while open_:
            new = STATES[open_.pop()].next - reached
            reached |= new
            open_ += new
        assert reached & ENDED
        if status in ENDED:
            assert reached == {status}


def test_only_a_plan_that_was_live_is_rolled_back() -> None:
    before = {status for status in STATES if may_follow(status, "rolled_back")}
    assert before == {status for status, state in STATES.items() if state.is_live} | {"rolled_back"}


@pytest.mark.parametrize("status", get_args(ExperimentStatus))
def test_an_experiment_waits_takes_runs_or_has_ended(status: Any) -> None:
    one = evolve(experiment(), status=status)
    assert [status in ("draft", "awaits_approval"), one.takes_runs, one.has_ended].count(True) == 1


def test_an_unknown_status_is_an_error() -> None:
    with pytest.raises(KeyError):
        may_follow("passed", "proven")
