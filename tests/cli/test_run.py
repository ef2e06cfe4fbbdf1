"""`run` without Victor: what becomes of many runs, of failures, and of Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._cli import runner
from victor_autotune_plugin._cli.progress import RunsScreen
from victor_autotune_plugin._model.experiment import Change
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._tuning import runtime as process
from victor_autotune_plugin.errors import HostError
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.fake_victor import InThisProcess, Victor, Work, a_team_run, result
from victor_autotune_testing.simulated import SPEC

from .conftest import Said


def test_runs_are_counted_and_recorded(call: Callable[..., Said], victor: Victor, tmp_path: Path) -> None:
    before = process.use(None)
    said = call("run", "flow.yaml", "--runs", "4", "--mode", "observe", "--provider", "openai", "--model", "m")
    assert said.code == 0, said.err
    words = " ".join(said.out.split())
    assert "workflow: 4 runs in" in words
    assert "0 failed." in words
    for part in ("team", "4", "100 %", "as configured", "observed"):
        assert part in words
    assert said.err.count("run ") == 4
    assert "run 4 of 4: ok" in said.err
    assert victor.asked == ("openai", "m", None)
    assert victor.closed
    with Store.open(default_url(tmp_path)) as store:
        assert store.counts()["runs_finished"] == 4
    assert process.use(before) is None


def test_json_is_one_object_on_stdout(call: Callable[..., Said], victor: Victor) -> None:
    async def noisy(number: int, context: Mapping[str, Any]) -> Any:
        print("a tool of the team prints this")  # noqa: T201
        return await a_team_run(number, context)

    victor.work = noisy
    said = call("run", "flow.yaml", "-n", "2", "--mode", "auto", "--json")
    assert said.code == 0
    data = said.data
    assert (data["workflow"], data["runs_wanted"], data["runs_done"], data["runs_failed"]) == ("workflow", 2, 2, 0)
    assert data["interrupted"] is False
    assert [run["success"] for run in data["runs"]] == [True, True]
    assert data["runs"][0]["teams"][0]["team_id"] == "team"
    assert (data["teams"][0]["team_id"], data["teams"][0]["runs"]) == ("team", 2)
    assert said.err.count("a tool of the team prints this") == 2


def test_a_test_and_its_promotion_are_told(call: Callable[..., Said], victor: Victor) -> None:
    made: list[InThisProcess] = []

    async def run(number: int, context: Mapping[str, Any]) -> Any:
        if not made:
            made.append(InThisProcess())
        made[0].run()
        return result()

    victor.work = run
    said = call("run", "flow.yaml", "--runs", "160", "--mode", "auto")
    assert said.code == 0
    assert "team: started. Run the team in formation parallel" in said.err
    assert "team: promoted. The duration is" in said.err
    assert "team control: as configured" in said.err
    assert "team treatment: formation parallel" in said.err
    words = " ".join(said.out.split())
    assert "formation parallel" in words
    assert "proven" in words


async def _raises(number: int, context: Mapping[str, Any]) -> Any:
    raise RuntimeError("the graph\nis broken")


async def _reports(number: int, context: Mapping[str, Any]) -> Any:
    return result(False, error="no such node")


async def _step_failed(number: int, context: Mapping[str, Any]) -> Any:
    return result(True, first=True, second=False)


async def _team_failed(number: int, context: Mapping[str, Any]) -> Any:
    InThisProcess().run(success=False, error_class="MemberError")
    return result(True, team=True)


async def _team_timed_out(number: int, context: Mapping[str, Any]) -> Any:
    InThisProcess().run(success=False, timed_out=True)
    return result(True)


async def _cancels_itself(number: int, context: Mapping[str, Any]) -> Any:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (_raises, "RuntimeError: the graph"),
        (_reports, "no such node"),
        (_step_failed, "step second: Victor gives no reason"),
        (_team_failed, "team team: MemberError"),
        (_team_timed_out, "team team: timed out"),
        (_cancels_itself, "CancelledError"),
    ],
)
def test_a_failed_run_does_not_stop_the_others(
    call: Callable[..., Said], victor: Victor, work: Work, told: str
) -> None:
    async def second_fails(number: int, context: Mapping[str, Any]) -> Any:
        return await (work if number == 2 else a_team_run)(number, context)

    victor.work = second_fails
    said = call("run", "flow.yaml", "--runs", "3", "--mode", "observe")
    assert said.code == 1
    assert f"run 2 failed: {told}\n" in said.out
    assert "workflow: 3 runs in" in said.out
    assert "1 failed." in said.out
    assert f"run 2 of 3: failed: {told}" in said.err
    assert "run 3 of 3: ok" in said.err


def test_each_run_starts_from_the_same_context(call: Callable[..., Said], victor: Victor, tmp_path: Path) -> None:
    async def spoils(number: int, context: Mapping[str, Any]) -> Any:
        context["files"].append("spoilt")
        return await a_team_run(number, context)

    victor.work = spoils
    (tmp_path / "context.json").write_text(json.dumps({"files": ["a"], "path": "lib", "deep": {"x": 1}}))
    said = call(
        "run", "flow.yaml", "--runs", "2", "--context", "context.json",
        "--set", "path=src", "--set", "depth=3", "--set", "text=a=b", "--set", 'on={"y": true}',
    )  # fmt: skip
    assert said.code == 0
    first, second = victor.contexts
    assert first == {
        "files": ["a", "spoilt"], "path": "src", "deep": {"x": 1}, "depth": 3, "text": "a=b", "on": {"y": True},
    }  # fmt: skip
    assert second["files"] == ["a", "spoilt"]


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (50, 6)])
def test_so_many_runs_at_a_time_as_wanted(
    call: Callable[..., Said], victor: Victor, concurrency: int, most: int
) -> None:
    running: list[int] = []
    seen: list[int] = []

    async def run(number: int, context: Mapping[str, Any]) -> Any:
        running.append(number)
        await asyncio.sleep(0.01)
        seen.append(len(running))
        running.remove(number)
        InThisProcess().run()
        return result()

    victor.work = run
    said = call("run", "flow.yaml", "--runs", "6", "--concurrency", str(concurrency), "--json")
    assert said.code == 0
    assert max(seen) == most
    assert sorted(run["number"] for run in said.data["runs"]) == [1, 2, 3, 4, 5, 6]
    assert [len(run["teams"]) for run in said.data["runs"]] == [1] * 6


async def _waits(number: int, context: Mapping[str, Any]) -> Any:
    if number == 3:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    return await a_team_run(number, context)


async def _swallows(number: int, context: Mapping[str, Any]) -> Any:
    try:
        return await _waits(number, context)
    except asyncio.CancelledError:
        return await a_team_run(number, context)


@pytest.mark.parametrize("work", [_waits, _swallows])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_ctrl_c_stops_and_says_what_was_done(
    call: Callable[..., Said], victor: Victor, tmp_path: Path, work: Work, concurrency: int
) -> None:
    victor.work = work
    said = call("run", "flow.yaml", "--runs", "9", "--concurrency", str(concurrency), "--json")
    assert said.code == 130
    data = said.data
    assert data["interrupted"] is True
    assert data["runs_wanted"] == 9
    assert 2 <= data["runs_done"] < 9
    assert len(victor.contexts) < 9
    assert victor.closed
    with Store.open(default_url(tmp_path)) as store:
        recorded = {run.run_id for run in store.finished_runs()}
    assert {team["run_id"] for run in data["runs"] for team in run["teams"]} <= recorded


def test_ctrl_c_is_told_in_words(call: Callable[..., Said], victor: Victor) -> None:
    victor.work = _waits
    said = call("run", "flow.yaml", "--runs", "9")
    assert said.code == 130
    assert "workflow: 2 runs in" in said.out
    assert "Interrupted: 7 not done." in said.out


def test_an_agent_that_victor_cannot_create(
    call: Callable[..., Said], victor: Victor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*asked: object) -> Any:
        raise HostError("Victor could not create an agent", hint="check --model")

    monkeypatch.setattr(runner, "make_orchestrator", fails)
    said = call("run", "flow.yaml", "--json")
    assert said.code == 2
    assert said.data["error"] == {
        "message": "Victor could not create an agent", "where": None, "hint": "check --model", "mend": "check --model",
    }  # fmt: skip


def test_runs_in_which_no_team_is_seen_are_told(call: Callable[..., Said], victor: Victor) -> None:
    async def sees_none(number: int, context: Mapping[str, Any]) -> Any:
        return result()

    victor.work = sees_none
    said = call("run", "flow.yaml")
    assert said.code == 0
    assert "note: no team run was seen; see victor autotune doctor" in said.err


def test_what_was_run_is_told_even_if_the_store_is_gone_meanwhile(
    call: Callable[..., Said], victor: Victor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def last(number: int, context: Mapping[str, Any]) -> Any:
        done = await a_team_run(number, context)
        monkeypatch.setenv("VICTOR_AUTOTUNE_DATABASE_URL", f"sqlite:///{tmp_path}")
        return done

    victor.work = last
    said = call("run", "flow.yaml", "--json")
    assert said.code == 0
    assert (said.data["runs_done"], said.data["teams"]) == (1, [])
    assert said.err.count("note: ") == 1
    assert "is a folder" in said.err


def test_mode_off_creates_no_store(call: Callable[..., Said], victor: Victor, tmp_path: Path) -> None:
    async def run(number: int, context: Mapping[str, Any]) -> Any:
        return result()

    victor.work = run
    said = call("run", "flow.yaml", "--mode", "off")
    assert said.code == 0
    assert "note" not in said.err
    assert not (tmp_path / ".victor").exists()


def test_the_project_may_be_elsewhere(call: Callable[..., Said], victor: Victor, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert call("run", "flow.yaml", "--project", "elsewhere").code == 0
    assert (tmp_path / "elsewhere" / ".victor" / "autotune.db").exists()
    assert not (tmp_path / ".victor").exists()
    assert "workflow" in call("status", "--project", "elsewhere").out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_how_far_it_is_the_plan_and_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    event = RunStart("r1", SPEC, 0.0)
    with RunsScreen("flow\x1b[2J", 3, bar=True) as screen:
        assert screen.drawn
        screen.ready()
        screen.started(event, PlannedRun(TeamPlan(formation="parallel"), "auto"))
        screen.ended(1, 1.5, "broken")
        screen.judged("No proof yet after 7 + 8 runs.")
        screen.changed(Change(None, 0.0, "flow", "team", "promoted", "auto", "It is faster."))
    shown = terminal.getvalue()
    for part in (
        "flow\\x1b[2J",
        "1/3",
        "1 failed",
        "team: formation parallel (auto)",
        "No proof yet after 7 + 8 runs.",
    ):
        assert part in shown
    assert "team: promoted. It is faster." in shown
    assert "run 1 of 3" not in shown


@pytest.mark.parametrize("stream", [io.StringIO, _Terminal])
def test_no_bar_where_none_is_wanted_or_possible(monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    err = stream()
    monkeypatch.setattr(sys, "stderr", err)
    with RunsScreen("flow", 3, bar=stream is not _Terminal) as screen:
        assert not screen.drawn
        screen.ended(1, 1.5, None, plans=", team control: as configured")
    assert "run 1 of 3: ok, 1.50 s, team control: as configured" in err.getvalue()
