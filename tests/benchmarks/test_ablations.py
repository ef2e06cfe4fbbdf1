"""Every part that an ablation leaves out is still there to be left out, and is back afterwards."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from victor_autotune_testing.simulation import World
from victor_autotune_testing.simulation.played import play

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def ablations():
    loaded = importlib.util.spec_from_file_location("_ablations", BENCHMARKS / "_ablations.py")
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    return module


def test_a_part_is_left_out_and_comes_back(ablations) -> None:
    for part, replaced in ablations.PARTS.items():
        before = [getattr(owner, name) for owner, name, _ in replaced]
        with ablations.without(part):
            assert [getattr(owner, name) for owner, name, _ in replaced] == [value for *_, value in replaced]
        assert [getattr(owner, name) for owner, name, _ in replaced] == before


@pytest.mark.slow
@pytest.mark.parametrize("part", ["shipped prior", "replay of spans", "plans' own effects", "bet", "probation"])
def test_a_team_is_tuned_otherwise_without_a_part(ablations, part) -> None:
    world = World.make(103, flow="independent", checks=5)
    whole = play(world, 40, seed=1)
    with ablations.without(part):
        assert play(world, 40, seed=1) != whole


@pytest.mark.slow
def test_the_ablations_are_played_by_their_names() -> None:
    """Each team is played in a process of its own, which finds what to play by its name alone."""
    code = "import tuner_simulation; print(list(tuner_simulation.all_rows()))"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, check=True, capture_output=True, text=True
    ).stdout
    assert "'independent, without bet'" in said
    assert "'contrary, without tuner'" in said
