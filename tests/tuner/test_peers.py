"""The peers of the benchmark run on the same teams, so that a comparison with them means something."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from victor_autotune_plugin._tuner import plan_space
from victor_autotune_testing.simulation import World

PEERS = Path(__file__).parents[2] / "benchmarks" / "_tuner_peers.py"


@pytest.fixture(scope="module")
def peers():
    loaded = importlib.util.spec_from_file_location("_tuner_peers", PEERS)
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    sys.modules["_tuner_peers"] = module
    loaded.loader.exec_module(module)
    yield module
    del sys.modules["_tuner_peers"]


@pytest.mark.parametrize("name", ["random_search", "top_two", "one_rule"])
def test_a_peer_makes_every_run_with_a_plan_that_can_run_and_replays(peers, name) -> None:
    world = World.make(4)
    plans = plan_space(world.spec).plans
    traces = [getattr(peers, name)(world, plans, 60, 9) for _ in range(2)]
    assert traces[0] == traces[1]
    assert len(traces[0].ran) == len(traces[0].live) == 60
    assert set(traces[0].ran) | set(traces[0].live) <= set(plans)
    assert len(set(traces[0].ran)) > 1
