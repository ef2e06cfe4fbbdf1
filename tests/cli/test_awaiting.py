"""What awaits a person: since when, and what it costs to wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin._cli.awaiting import waiting
from victor_autotune_plugin._model.policy import Policy
from victor_autotune_plugin._page.outcome import PlanOutcome, WasNow
from victor_autotune_testing.simulated import Simulation

from .conftest import Said
from .standing_teams import AT, ID, experiment, write
from .test_standing import stands

Call = Callable[..., Said]
STARTED = [AT - 10.0, AT + 20.0, AT + 30.0]
SLOWER = PlanOutcome(
    ID, "Side by side.", "testing", False, AT, "duration",
    figures=(
        WasNow("duration", 42.0, 20.0, -0.52, -0.6, -0.4, 1.0),
        WasNow("cost", 0.02, 0.03, 0.5, 0.1, 0.9, 0.01),
        WasNow("tokens", 900.0, 950.0, 0.05, -0.1, 0.2, 0.4),
    ),
)  # fmt: skip


def test_what_nobody_is_asked_for_does_not_wait() -> None:
    assert waiting(stands(experiment("testing")), STARTED, SLOWER) is None


@pytest.mark.parametrize(
    ("status", "changes", "outcome", "runs", "cost"),
    [
        ("awaits_approval", {}, None, 2, "No test meanwhile; what it would save is not known before one."),
        (
            "awaits_approval",
            {"policy": Policy(forecast=0.5)},
            None,
            2,
            "No test meanwhile: 39 % less duration is expected, not measured.",
        ),
        ("testing", {"asks_for": "probation"}, None, 2, "2 more runs in 10 would have the new plan."),
        (
            "testing",
            {"asks_for": "probation"},
            SLOWER,
            2,
            "2 more runs in 10 would have the new plan, each 22.0 s less and 0.0100 USD more.",
        ),
        ("awaits_promotion", {}, None, 2, "All runs have its plan already; none is compared until you answer."),
    ],
)  # fmt: skip
def test_it_says_what_waiting_costs(
    status: str, changes: dict[str, object], outcome: PlanOutcome | None, runs: int, cost: str
) -> None:
    found = waiting(stands(evolve(experiment(status), **changes)), STARTED, outcome)
    assert found is not None
    assert (found.since, found.runs, found.cost) == (AT, runs, cost)
    assert found.begun.startswith("Its test began " if "asks_for" in changes else "Since ")
    assert found.to_dict()["runs_since"] == runs


def test_a_person_reads_it_above_the_commands(call: Call, simulate: Callable[..., Simulation], tmp_path: Path) -> None:
    team = simulate(mode="approve", strategies=["formation_selection"])
    team.run_until("awaits_approval")
    for _ in range(4):
        team.run()
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: approve\n")
    for command in ("status", "explain", "history"):
        lines = call(command).out.splitlines()
        assert lines[0] == "team asks you: May this test start?"
        assert lines[2].strip().startswith("Since ")
        assert lines[2].endswith(", 4 runs ago.")
        assert "not known before one" in lines[3]
        assert lines[4].strip().startswith("victor autotune approve team --id ")
    asked = call("status", "--json").data["teams"][0]["standing"][0]["awaits_person"]
    assert (asked["runs_since"], asked["since"]) == (4, team.changes()[-1].at)


def test_a_live_plan_that_a_person_may_leave_costs_nothing(call: Call, tmp_path: Path) -> None:
    from victor_autotune_plugin._model.plan import TeamPlan

    write(tmp_path, experiment("proven", allowed_by=None, treatment=TeamPlan(formation="pipeline")))
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    assert "Waiting costs nothing: the plan stays live, and is verified." in call("status").out
