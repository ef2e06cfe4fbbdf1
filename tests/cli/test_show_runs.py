"""`runs`: the last ones, and one with its members."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from victor_autotune_testing.simulated import Simulation

from .conftest import Said

Call = Callable[..., Said]


def test_runs_are_listed_and_one_is_shown_with_its_members(call: Call, simulate: Callable[..., Simulation]) -> None:
    assert "No runs yet." in call("runs").out
    team = simulate()
    run = team.run(cost_usd=0.0123, trace_id="7" * 32)
    assert call("runs", "--json").data == call("history", "--runs", "--json").data
    assert run.run_id[:8] in call("runs", "--team-id", "team").out
    for named in (run.run_id, run.run_id[:6], "7" * 32):
        said = call("runs", "show", named).out
        for part in ("team (flow)", "0.0123 USD", "8 model calls, 4 tool calls", "3,600 in, 800 out"):
            assert part in said
        assert [line.split()[0] for line in said.splitlines() if "2 calls" in line] == ["a", "b", "c", "d"]
    assert max(map(len, said.splitlines())) <= 80
    shown = call("runs", "show", run.run_id, "--json").data["run"]
    assert (shown["run_id"], shown["status"], len(shown["members"])) == (run.run_id, "finished", 4)
    assert [one["name"] for one in shown["scores"]] == ["simulated"]


def test_members_that_failed_or_did_not_finish_are_told_apart(call: Call, simulate: Callable[..., Simulation]) -> None:
    team = simulate(scored=False)
    event, planned = team.start()
    first, second, *others = team.finish(event, planned, success=False).members
    event, planned = team.start()
    failed = evolve(first, success=False, error_class="ProviderError", tool_calls_refused=3)
    stopped = evolve(second, success=False, finished=False)
    run = team.finish(event, planned, success=False, members=[failed, stopped, *others])
    said = call("runs", "show", run.run_id).out
    for part in ("ProviderError", "3 refused"):
        assert part in " ".join(said.split())


def test_a_run_that_has_not_ended_shows_what_is_known(call: Call, simulate: Callable[..., Simulation]) -> None:
    team = simulate()
    event, _ = team.start()
    team.runtime.loop.run_until_idle()
    said = call("runs", "show", event.run_id).out
    assert "Outcome  running" in said
    assert "Took" not in said


@pytest.mark.parametrize("words", [["show"], ["list"], ["show", "a", "b"], ["show", "zzzzzz"]])
def test_what_names_no_run_is_an_error_with_a_hint(call: Call, words: list[str]) -> None:
    said = call("runs", *words)
    assert said.code == 2
    assert "runs" in said.err.splitlines()[1]
