"""What `explain` and `suggest` tell of the tuner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_testing.simulated import SPEC, Simulation, no_difference

from .conftest import Said

LOW = {"tuner.risk": "low"}


def words(said: Said) -> str:
    assert said.code == 0, said.err
    return " ".join(said.out.split())


@pytest.fixture
def observed(simulate: Callable[..., Simulation]) -> Simulation:
    simulation = simulate(mode="observe")
    for _ in range(20):
        simulation.run()
    return simulation


@pytest.mark.parametrize("command", ["explain", "suggest"])
def test_the_proposal_is_shown_with_its_reasons(call: Callable[..., Said], observed: Simulation, command: str) -> None:
    said = words(call(command, "team", *(["--details"] if command == "explain" else [])))
    chosen = call(command, "team", "--json").data["tuner"]["proposal"]["chosen"]
    assert (chosen["describe"], chosen["runs_behind"], chosen["runs_of_live"]) == ("formation=parallel", 0, 20)
    low, high = (f"{100 * end:+.0f} %".replace("-", "−") for end in chosen["interval"])
    for part in (
        "What the tuner would test next",
        "Plan formation parallel",
        f"Improvement +{100 * chosen['improvement']:.0f} % expected, 90 % interval {low} to {high}",
        "% likely; harm ",
        "0 runs of it, 20 of the plan it replaces",
        "Prior said",
        f"{chosen['runs_needed']} runs in each arm",
        "Why not another plan",
        "Passes every gate but promises less.",
        "How much each knob matters, changed alone",
    ):
        assert part in said


def test_looking_at_the_proposal_writes_nothing(call: Callable[..., Said], observed: Simulation) -> None:
    before = (
        observed.store.team(*observed.spec.key),
        observed.experiments(),
        observed.changes(),
        observed.store.faults(),
    )
    call("explain", "--details", "--settings")
    call("suggest")
    after = observed.store.team(*observed.spec.key), observed.experiments(), observed.changes(), observed.store.faults()
    assert after == before


def test_why_nothing_is_proposed_is_told(call: Callable[..., Said], observed: Simulation, tmp_path: Path) -> None:
    (tmp_path / ".victor" / "autotune.yaml").write_text("strategies: [team_sizing]\n")
    for command, *options in (("explain", "--details"), ("suggest",)):
        assert "Nothing. The team's members and the limits allow no other plan." in words(call(command, *options))
        proposal = call(command, "--json").data["tuner"]["proposal"]
        assert (proposal["plan"], proposal["chosen"]) == (None, None)


def test_of_an_open_test_it_is_told_what_the_tuner_thinks(
    call: Callable[..., Said], simulate: Callable[..., Simulation]
) -> None:
    simulation = simulate(**LOW)
    simulation.run_until("started")
    for _ in range(8):
        simulation.run()
    said = words(call("explain", "--details", "--settings"))
    assert "What the tuner says of it" in said
    treatments = sum(run.arm == "treatment" for run in simulation.store.finished_runs(*SPEC.key))
    assert f"After {treatments} runs, " in said
    assert "What the tuner would test next" not in said
    told: dict[str, Any] = call("explain", "--json").data["tuner"]
    assert told["proposal"] is None
    assert told["outlook"]["stop"] is False
    assert told["outlook"]["outlook"]["runs_behind"] == treatments


def test_a_test_that_was_given_up_is_told_as_such(
    call: Callable[..., Said], simulate: Callable[..., Simulation]
) -> None:
    simulation = simulate(truth=no_difference, seed=4, **LOW)
    change = simulation.run_until("inconclusive")
    assert change.reason.startswith(("Stopped as hopeless. ", "Ended early after "))
    said = words(call("explain", "--details", "--settings"))
    assert change.reason in said
    assert "inconclusive" in said


def test_narrowed_suggestions_and_those_from_a_file_are_the_strategies_alone(
    call: Callable[..., Said], observed: Simulation, tmp_path: Path
) -> None:
    (tmp_path / "team.yaml").write_text("formation: sequential\nmember_count: 4\n")
    for options in (("--max-risk", "0.9"), ("--strategies", "tool_budget"), ("--config", "team.yaml")):
        assert call("suggest", "team", *options, "--json").data["tuner"] is None
        assert "tuner" not in call("suggest", "team", *options).out


def test_with_the_tuner_off_nothing_is_told_of_it(
    call: Callable[..., Said], observed: Simulation, tmp_path: Path
) -> None:
    (tmp_path / ".victor" / "autotune.yaml").write_text("tuner: {risk: off}\n")
    assert "tuner would" not in words(call("explain", "--details", "--settings"))
    told = call("suggest", "--json").data["tuner"]
    assert (told["proposal"], told["outlook"]) == (None, None)


def test_what_waits_is_told_with_the_reason(
    call: Callable[..., Said], observed: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("explain", "--json").data["suggestions"][0]["waits_because"] is None
    monkeypatch.setattr("victor_autotune_plugin._tuning.next_test.reason_to_wait", lambda *_: "something is missing")
    assert "(formation_selection). It waits: something is missing." in words(call("explain", "--details", "--settings"))
    assert call("explain", "--json").data["suggestions"][0]["waits_because"] == "something is missing"
