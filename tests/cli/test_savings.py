"""`savings`: what is told, and that nothing is told where nothing was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin import PerformanceAutotuner
from victor_autotune_plugin._model.policy import WatchPolicy
from victor_autotune_plugin._page.blockwise import Spread
from victor_autotune_plugin._page.figure_words import (
    amounts,
    basis_text,
    change_text,
    figure_text,
    outcome_lines,
    saved_amount,
    sure_text,
    was_now,
)
from victor_autotune_plugin._page.ledger import Saved
from victor_autotune_plugin._page.outcome import PlanOutcome, WasNow
from victor_autotune_testing.simulated import Simulation

from .conftest import Said
from .standing_teams import experiment, write

Call = Callable[..., Said]


def saver(simulate: Callable[..., Simulation], runs: int) -> Simulation:
    team = simulate(strategies=["formation_selection"], **{"watch.holdback": 0.1})
    team.run_until("promoted")
    for _ in range(runs):
        team.run()
    return team


def test_what_was_saved_is_told_by_team_and_in_all(call: Call, simulate: Callable[..., Simulation]) -> None:
    assert "No plan was promoted yet" in call("savings").out
    saver(simulate, 60)
    data = call("savings", "--json").data
    (team,) = data["teams"]
    seconds = team["saved"]["seconds"]
    assert seconds["low"] < seconds["value"] < seconds["high"]
    assert (seconds["value"], team["saved"]["usd"]) == (data["saved"]["seconds"]["value"], None)
    said = call("savings").out
    assert said.startswith("Saved in 1 team: ")
    assert "Tokens saved" not in said  # there was no difference
    assert "beside" in call("savings", "team").out
    assert max(map(len, said.splitlines())) <= 80
    assert call("savings", "nobody").code == 2


def test_without_runs_of_the_plan_before_no_number_is_told(call: Call, tmp_path: Path) -> None:
    write(tmp_path, experiment("proven", watch_policy=WatchPolicy(holdback=0.0)))
    said = call("savings").out
    assert said.startswith("Nothing measured yet in 1 team.")
    assert "not measured since 2026-" in " ".join(said.split())
    assert call("savings", "--json").data["teams"][0]["not_measured_since"] == pytest.approx(1_790_000_060)


def test_python_gets_the_same(call: Call, simulate: Callable[..., Simulation], tmp_path: Path) -> None:
    with PerformanceAutotuner(project=tmp_path) as autotuner:
        assert autotuner.savings() == {"saved": dict.fromkeys(["seconds", "usd", "tokens", "score"]), "weeks": [],
                                       "teams": []}  # fmt: skip
        assert autotuner.outcome("team") is None
        saver(simulate, 60)
        assert autotuner.savings("team") == call("savings", "--json").data
        outcome = autotuner.outcome("team")
    assert outcome is not None
    assert outcome["basis"] == "since_promotion"


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (
            WasNow("duration", 42.0, 19.2, -0.54, -0.61, -0.46, 1.0),
            "time 42.0 s → 19.2 s (46 % to 61 % less, >99 % sure)",
        ),
        (
            WasNow("duration", 42.0, 43.0, 0.02, -0.03, 0.08, 0.4),
            "time 42.0 s → 43.0 s (−3 % to +8 %, no clear change)",
        ),
        (
            WasNow("duration", 4.0, 5.0, 0.25, 0.1, 0.4, 0.02),
            "time 4.00 s → 5.00 s (10 % to 40 % more, worse: 98 % sure)",
        ),
        (
            WasNow("cost", 0.0123, 0.01, -0.2, -0.3, -0.1, 0.96),
            "cost 0.0123 → 0.0100 USD (10 % to 30 % less, 96 % sure)",
        ),
        (
            WasNow("cost", 0.02, 0.01, -0.5, -1.0, -0.1, 0.98),
            "cost 0.0200 → 0.0100 USD (at least 10 % less, 98 % sure)",
        ),
        (
            WasNow("duration", 37.9, 13.6, -0.6, -1.0, None, 0.9),
            "time 37.9 s → 13.6 s (too few runs to tell how much)",
        ),
        (
            WasNow("tokens", 12300.0, 9000.4),
            "tokens 12,300 → 9,000 (too few runs to tell how much)",
        ),
        (
            WasNow("score", 0.8, 0.83, 0.03, -0.01, 0.07, 0.9),
            "score 0.80 → 0.83 (−1 to +7 points, no clear change)",
        ),
        (
            WasNow("score", 1.0, 1.0, 0.0, 0.0, 0.0, 0.5),
            "score 1.00 → 1.00 (no change)",
        ),
    ],
)
def test_figures_are_told_in_words_of_a_person(figure: WasNow, said: str) -> None:
    assert figure_text(figure) == said
    assert was_now(figure) in said
    assert change_text(figure) in said
    assert (sure_text(figure) or "") in said


def test_what_is_unclear_takes_one_line_and_the_runs_are_named() -> None:
    figures = (
        WasNow("duration", 36.0, 36.1, 0.0, -0.1, 0.1, 0.5),
        WasNow("cost", 0.02, 0.01, -0.5, -0.6, -0.4, 1.0),
        WasNow("tokens", 900.0, 910.0, 0.01, -0.02, 0.03, 0.4),
        WasNow("score", 0.9, 0.9, 0.0, 0.0, 0.0, 0.5),
        WasNow("success", 1.0, 0.97, -0.03, -0.1, 0.05, 0.3),
    )
    seen = {"control": 33, "treatment": 58}
    outcome = PlanOutcome("id", "", "proven", True, 0.0, "success", "test", seen, 0.0, 1_793_534_400.0, None, figures)
    assert outcome_lines(outcome) == [
        "success 100 % → 97 % (−10 to +5 points, no clear change)",
        "cost 0.0200 → 0.0100 USD (40 % to 60 % less, >99 % sure)",
        "no clear change: time −10 % to +10 %, tokens −2 % to +3 %",
        "no change: score 0.90",
        "from the test of 2026-11-01, 33 + 58 runs",
    ]
    assert basis_text(evolve(outcome, status="testing")) == "from its test so far, 33 + 58 runs"
    assert basis_text(evolve(outcome, basis="since_promotion")) == "from 33 + 58 runs since it went live"
    early = PlanOutcome("id", "", "canary", False, 0.0, "duration")
    assert basis_text(early) == "not measured yet: its test has too few runs"


def test_the_headline_claims_only_what_is_clear(call: Call, simulate: Callable[..., Simulation]) -> None:
    saver(simulate, 60)
    (team,) = call("savings", "--json").data["teams"]
    ends = {kind: (one["low"], one["high"]) for kind, one in team["saved"].items() if one is not None}
    said = call("savings").out.splitlines()[0]
    assert ends["seconds"][0] > 0
    assert " of time" not in said
    assert saved_amount(Saved.of("usd", Spread(-0.5, 0.0001, 9), 10), lost=True) == "0.5000 USD"
    assert saved_amount(Saved.of("score", Spread(0.5, 0.0, 9), 10)) == "5 points of score a run"


def test_a_loss_has_the_one_minus_sign() -> None:
    lost = Saved.of("seconds", Spread(-300.0, 100.0, 9), 10)
    assert amounts(lost) == ("−5 min 00 s", "−5 min 23 s", "−4 min 37 s")
    assert amounts(Saved.of("tokens", Spread(-1234.0, 0.0, 9), 10)) == ("−1,234", "−1,234", "−1,234")
    assert amounts(Saved.of("score", Spread(0.5, 0.0, 9), 10))[0] == "+5 points"
