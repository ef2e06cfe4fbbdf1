from __future__ import annotations

import json
import math

import pytest

from victor_autotune_plugin._model.converter import from_plain
from victor_autotune_plugin._model.policy import ALL_RULES, METRICS, SIGNED_RANK
from victor_autotune_plugin.experiment import Observation, Policy, WatchPolicy

GOOD = {"index": 0, "arm": "control", "duration_seconds": 1.0, "success": True, "score": 1.0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("duration_seconds", value) for value in (math.nan, math.inf, -1.0, "1", None, True)),
        *(("score", value) for value in (math.nan, -0.1, 1.1, "1")),
        *(("cost_usd", value) for value in (math.nan, math.inf, -0.01, "1")),
        *(("success", value) for value in (1, 0.5, None, "yes")),
        *(("index", value) for value in (-1, 1.0, True, None)),
        *(("tool_calls", value) for value in (-1, 2.5, None)),
        *(("arm", value) for value in ("Control", "", None, "third")),
        ("timed_out", 1),
    ],
)
def test_an_impossible_value_is_refused_by_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        Observation(**{**GOOD, field: value})


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Policy, "alpha", 0.0),
        (Policy, "alpha", math.nan),
        (Policy, "alpha", 0.5),
        (Policy, "minimum_improvement", -0.1),
        (Policy, "min_runs_per_arm", 3),
        (Policy, "min_runs_per_arm", 10.0),
        (Policy, "max_runs_per_arm", 10**6),
        (Policy, "metric", "speed"),
        (Policy, "rule", "peek"),
        (Policy, "futility", 1),
        (WatchPolicy, "holdback", 0.6),
        (WatchPolicy, "max_runs", 0),
        (WatchPolicy, "alpha", "0.05"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_its_field(kind, field, value):
    with pytest.raises(ValueError, match=field):
        kind(**{field: value})


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"max_runs_per_arm \(8\) must not be below min_runs_per_arm \(10\)"):
        Policy(max_runs_per_arm=8)


@pytest.mark.parametrize("value", [Policy(alpha=0.01, metric="cost"), WatchPolicy(holdback=0.2, max_runs=50)])
def test_policies_survive_json(value):
    assert from_plain(type(value), json.loads(json.dumps(value.to_dict()))) == value
    assert from_plain(type(value), {"of_a_newer_version": 0.05}) == type(value)()


def test_observations_survive_json():
    run = Observation(**GOOD, cost_usd=0.25, task_key="t", timed_out=True)
    assert from_plain(Observation, json.loads(json.dumps(run.to_dict()))) == run


def test_the_settings_name_the_rules_and_metrics_that_there_are():
    from victor_autotune_plugin._settings.team_settings import METRICS as SETTINGS_METRICS
    from victor_autotune_plugin._settings.team_settings import RULES

    assert RULES == (SIGNED_RANK,)
    assert {*RULES} < {*ALL_RULES}  # the others are for replay
    assert set(SETTINGS_METRICS) == set(METRICS)
