"""What a simulated world says of itself is what its runs show."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin._dataflow.verdict import LEAST_TO_TEST, Knowledge, knowledge_of
from victor_autotune_plugin._model.data_flow import TeamFlow
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._tuner import plan_space
from victor_autotune_plugin._tuner.space import shape_of
from victor_autotune_testing.simulation import World
from victor_autotune_testing.simulation.draws import Draws
from victor_autotune_testing.simulation.make import HARMED
from victor_autotune_testing.simulation.world import SAME_WORK, Flow

pytestmark = pytest.mark.slow

PARALLEL = TeamPlan(formation="parallel")


def runs_of(world: World, plan: TeamPlan, count: int) -> list[TeamRun]:
    """Return runs on the same tasks and chances whatever the plan is."""
    rng = np.random.default_rng(world.seed)
    return [world.run(plan, rng) for _ in range(count)]


def chance_of(world: World, plan: TeamPlan, runs: int = 400) -> np.ndarray:
    draws = Draws.make(np.random.default_rng(world.seed), runs, len(world.spec.members))
    played = world.play(shape_of(world.spec, plan), world.quirk(plan), draws)
    chance: np.ndarray = np.where(played["timed_out"], np.nan, played["chance"])
    return chance


def layouts(world: World) -> list[TeamPlan]:
    """Return the plans that change the layout alone, to one in which members do the same work."""
    return [
        plan
        for plan in plan_space(world.spec).plans[1:]
        if plan.members is None and plan.tool_budget is None and plan.timeout_seconds is None
        if shape_of(world.spec, plan).formation in SAME_WORK
    ]


def unlimited(seed: int, flow: Flow = "independent") -> World:
    """Return a world of four or more members in sequence, without limits and slow runs, so that spans are whole."""
    world = next(w for w in (World.make(s, flow=flow) for s in range(seed, seed + 200)) if len(w.spec.members) >= 4)
    spec = evolve(world.spec, formation="sequential", tool_budget=None, timeout_seconds=None)
    return evolve(world, spec=spec, slow_share=0.0)


def waited(member: MemberOutcome) -> float:
    """Return the seconds in which a member waited for its model and its tools."""
    return (member.model_seconds or 0.0) + (member.tool_seconds or 0.0)


# --- data flow


def known_after(world: World, runs: int) -> Knowledge:
    flow = TeamFlow()
    for run in runs_of(world, EMPTY_PLAN, runs):
        flow = flow.after(run)
    return knowledge_of(flow, world.spec, Settings())


@pytest.mark.parametrize("seed", [2, 7])
def test_the_data_flow_of_a_world_is_what_its_runs_tell(seed) -> None:
    independent, unknown = (World.make(seed, flow=flow) for flow in ("independent", "unknown"))
    assert known_after(independent, LEAST_TO_TEST - 1).verdict == "unknown"
    assert known_after(independent, LEAST_TO_TEST).verdict == "independent"
    assert known_after(unknown, 3 * LEAST_TO_TEST).verdict == "unknown"


def test_over_an_independent_team_a_layout_keeps_the_work_and_over_an_unknown_one_it_need_not() -> None:
    moved = []
    for seed in range(24):
        known, unknown = (World.make(seed, flow=flow) for flow in ("independent", "unknown"))
        if known.harm or known.spec.formation not in SAME_WORK:
            continue
        for plan in layouts(known)[:4]:
            difference = chance_of(known, plan) - chance_of(known, EMPTY_PLAN)
            assert np.nanmax(np.abs(difference)) == pytest.approx(0, abs=1e-12)
            moved.append(abs(np.nanmean(chance_of(unknown, plan) - chance_of(unknown, EMPTY_PLAN))))
    assert len(moved) >= 20
    assert np.mean(moved) > 0.03


def test_a_few_independent_teams_lose_success_all_the_same() -> None:
    worlds = [World.make(seed, flow="independent") for seed in range(100)]
    harmed = [world for world in worlds if world.harm]
    assert 0 < len(harmed) < 3 * HARMED * len(worlds)
    for world in harmed:
        if world.spec.formation in SAME_WORK:
            lost = chance_of(world, EMPTY_PLAN) - chance_of(world, layouts(world)[0])
            assert 0 < np.nanmax(lost) <= world.harm + 1e-12  # less only where hardly any success was left to lose
            assert np.nanmean(lost) > 0.6 * world.harm


# --- scores


@pytest.mark.parametrize("checks", [1, 2, 5, 10])
def test_a_score_is_the_share_of_checks_that_passed_and_success_is_one_of_them(checks) -> None:
    world = World.make(3, checks=checks)
    for run in runs_of(world, EMPTY_PLAN, 200):
        assert run.score is not None
        passed = run.score * checks
        assert passed == pytest.approx(round(passed))
        assert (1 if run.success else 0) <= passed <= (checks if run.success else checks - 1)


@pytest.mark.parametrize("checks", [2, 5, 10])
def test_each_check_passes_with_the_runs_own_chance_of_success(checks) -> None:
    world = World.make(3, checks=checks)
    draws = Draws.make(np.random.default_rng(5), 20_000, len(world.spec.members))
    played = world.play(shape_of(world.spec, EMPTY_PLAN), 0.0, draws)
    chance, score = played["chance"], played["score"]
    assert score.mean() == pytest.approx(chance.mean(), abs=0.01)
    within = (chance * (1 - chance)).mean()
    assert (score - chance).var() == pytest.approx(within / checks, rel=0.05)


# --- spans


@pytest.mark.parametrize("seed", [11, 40, 77])
def test_in_sequence_spans_add_up_and_show_each_members_work_on_the_event_loop(seed) -> None:
    world = unlimited(seed)
    for run in runs_of(world, EMPTY_PLAN, 30):
        assert sum(m.duration_seconds for m in run.members) == pytest.approx(run.duration_seconds)
        held = [1 - waited(m) / m.duration_seconds for m in run.members]
        assert held == pytest.approx(list(world.overheads))


def test_side_by_side_waits_overlap_and_work_on_the_event_loop_does_not() -> None:
    longer = []
    for seed in range(0, 100, 5):
        for run in runs_of(unlimited(seed), PARALLEL, 10):
            held = [m.duration_seconds - waited(m) for m in run.members]
            longest, whole = (f(m.duration_seconds for m in run.members) for f in (max, sum))
            assert sum(held) < run.duration_seconds < whole
            assert run.duration_seconds > longest * (1 - 1e-9)
            longer.append(run.duration_seconds / longest - 1)
    assert np.mean(longer) > 0.03  # so the longest span alone, which a naive replay takes, is too short


# --- rate limits


def test_more_calls_in_flight_take_longer_as_the_worlds_rate_limit_says() -> None:
    slowed = 0
    for seed in (11, 40, 77):
        world = unlimited(seed)
        for plan in (PARALLEL, next(p for p in plan_space(world.spec).plans if p.sub_teams and p.members is None)):
            pairs = zip(runs_of(world, EMPTY_PLAN, 5), runs_of(world, plan, 5), strict=True)
            for alone, beside in pairs:
                by_id = {m.id: m for m in alone.members}
                flying = beside.members[0].in_flight
                assert flying == (len(plan.sub_teams) if plan.sub_teams else len(beside.members)) > 1
                wanted = 1 + world.contention * (flying - 1) ** world.crowding
                for member in beside.members:
                    before = by_id[member.id]
                    # Tools have no rate limit, so what they take differs by what slows all of the run alike.
                    alike = (member.tool_seconds or 0.0) / (before.tool_seconds or 1.0)
                    grown = (member.model_seconds or 0.0) / (before.model_seconds or 1.0) / alike
                    assert grown == pytest.approx(wanted)
                    slowed += grown > 1.02
    assert slowed


def test_no_power_of_the_calls_in_flight_says_what_a_rate_limit_does() -> None:
    """The tuner believes in a power, so the truth lies outside what it can express."""
    flying = np.arange(2.0, 9.0)
    off = []
    for seed in range(20):
        world = World.make(seed)
        slowed = np.log1p(world.contention * (flying - 1) ** world.crowding)
        power = (slowed @ np.log(flying)) / (np.log(flying) @ np.log(flying))
        off.append(np.max(np.abs(slowed - power * np.log(flying))) / slowed.max())
    assert np.min(off) > 0.1


# --- what can be asked of a world


@pytest.mark.parametrize("success", [0.5, 0.75, 1.0])
def test_a_world_made_with_a_success_share_has_it(success) -> None:
    for seed in (1, 4, 12):
        share = np.mean(np.nan_to_num(chance_of(World.make(seed, success=success), EMPTY_PLAN, 2000)))
        assert share == pytest.approx(success, abs=0.04)


@pytest.mark.parametrize("log_sd", [0.2, 0.5, 1.0])
def test_a_world_made_with_a_spread_has_about_it(log_sd) -> None:
    found = []
    for seed in range(8):
        world = evolve(World.make(seed, log_sd=log_sd), slow_share=0.0)
        draws = Draws.make(np.random.default_rng(seed), 1000, len(world.spec.members))
        found.append(np.log(world.play(shape_of(world.spec, EMPTY_PLAN), 0.0, draws)["seconds"]).std())
    assert np.mean(found) == pytest.approx(log_sd, abs=0.08)
