"""What the page is told: rows of teams that are kept up to date, a team, its runs, a test's evidence, and a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.run import MemberOutcome
from victor_autotune_plugin._page import run_index
from victor_autotune_plugin._page.board import Board
from victor_autotune_plugin._page.run_series import RunFilter
from victor_autotune_plugin._page.run_view import run_view
from victor_autotune_plugin._tuning.judges import feed, new_judge
from victor_autotune_plugin._tuning.present_state import verdicts
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_plugin.experiment import tail
from victor_autotune_plugin.storage.run_listing import ListedRun
from victor_autotune_testing.page_scenes import ETL, REVIEW, TRIAGE, PageScene


def row_of(board: Board, key: tuple[str, str], since: int = 0) -> dict[str, Any]:
    (row,) = [one for one in board.overview(since)["teams"] if (one["workflow"], one["team"]) == key]
    return dict(row)


def test_a_row_tells_state_outcome_and_figures(board: Board) -> None:
    assert board.overview()["total"] == 3
    row = row_of(board, REVIEW.key)
    assert (row["state"]["title"], row["state"]["kind"], row["mode"]) == ("proven", "good", "auto")
    assert row["plan"] == "formation parallel"
    assert row["awaits"] == []
    (duration,) = [one for one in row["outcome"]["figures"] if one["name"] == "duration"]
    assert duration["change"] < -0.3
    runs = board.store.counts()["runs"] if board.store is not None else 0
    assert board.overview()["runs"] == runs
    assert 0 < row["median"] < row["p95"]
    assert 2 <= len(row["spark"]) <= 28


def test_what_awaits_a_person_stands_first_with_the_commands(board: Board) -> None:
    first = board.overview()["teams"][0]
    assert (first["workflow"], first["team"]) == TRIAGE.key
    (asked,) = first["awaits"]
    assert asked["question"] == "May this test start?"
    assert asked["approve"].startswith("victor autotune approve triage --id ")
    assert first["state"]["kind"] == "asks"


def test_an_observed_team_has_no_outcome(board: Board) -> None:
    row = row_of(board, ETL.key)
    assert (row["state"]["title"], row["outcome"], row["runs"]) == ("observed", None, 12)


def test_only_the_row_that_changed_is_told_again(board: Board, scene: Path) -> None:
    seen = board.overview()["version"]
    assert not board.refresh(60.0)
    assert board.overview(seen)["teams"] == []
    team = PageScene(scene, ETL, seed=10, mode="observe")
    team.run()
    team.close()
    assert board.refresh(60.0)
    assert row_of(board, ETL.key, seen)["runs"] == 13
    assert [one["team"] for one in board.overview(seen)["teams"]] == ["cleaners"]


def test_a_run_that_goes_on_ends_on_the_page_too(board: Board, scene: Path) -> None:
    team = PageScene(scene, ETL, seed=10, mode="observe")
    started = team.start()
    team.stepped.work()
    board.refresh(60.0)
    assert (row_of(board, ETL.key)["runs"], row_of(board, ETL.key)["running"]) == (13, 1)
    team.finish(*started)
    team.close()
    board.refresh(60.0)
    assert (row_of(board, ETL.key)["runs"], row_of(board, ETL.key)["running"]) == (13, 0)


def test_runs_that_are_written_late_are_read_too(board: Board, scene: Path) -> None:
    assert board.store is not None
    old = next(board.store.finished_runs(*ETL.key, limit=1))
    with board.store.transaction() as transaction:
        transaction.finish_run(evolve(old, run_id="late", started_at=old.started_at - 86_400 * 30))
    board.refresh(60.0)
    assert row_of(board, ETL.key)["runs"] == 13


@pytest.fixture
def short_board(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A board that keeps the last 10 runs of each team."""
    monkeypatch.setattr(run_index, "MOST_KEPT", 30)
    monkeypatch.setattr(run_index, "KEPT", 30)
    monkeypatch.setattr(run_index, "FEWEST_KEPT", 10)
    store = runtime.open_existing_store()
    assert store is not None
    with store:
        board = Board(runtime, store)
        board.refresh(60.0)
        yield board


def test_of_a_large_store_the_last_runs_of_each_team_are_kept_and_all_are_counted(
    board: Board, short_board: Board
) -> None:
    few, whole = short_board.overview(), board.overview()
    assert (few["kept"], whole["kept"]) == (10, None)
    assert few["runs"] == whole["runs"]
    for key in (REVIEW.key, ETL.key, TRIAGE.key):
        short, full = row_of(short_board, key), row_of(board, key)
        assert (short["runs"], short["last_at"], short["state"], short["outcome"]) == (
            full["runs"],
            full["last_at"],
            full["state"],
            full["outcome"],
        )
        assert (short["looked_at"], full["looked_at"]) == (10, full["runs"])
    drawn, all_drawn = short_board.team(*REVIEW.key)["runs"], board.team(*REVIEW.key)["runs"]
    assert drawn["points"]["id"] == all_drawn["points"]["id"][-10:]


def test_of_a_large_store_whose_teams_are_shown_whole_nothing_is_said_to_be_left_out(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "MOST_KEPT", 30)
    store = runtime.open_existing_store()
    assert store is not None
    with store:
        board = Board(runtime, store)
        board.refresh(60.0)
        assert all(row["looked_at"] == row["runs"] for row in board.overview()["teams"])
        assert board.overview()["kept"] is None


def test_runs_that_come_to_a_large_store_are_counted_early_and_late_ones(
    short_board: Board, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = row_of(short_board, ETL.key)["runs"]
    team = PageScene(scene, ETL, seed=10, mode="observe")
    team.times(25)
    team.close()
    short_board.refresh(60.0)
    row = row_of(short_board, ETL.key)
    assert row["runs"] == before + 25
    assert 10 <= row["looked_at"] <= 20
    assert short_board.store is not None
    old = next(short_board.store.finished_runs(*ETL.key, limit=1))
    with short_board.store.transaction() as transaction:
        transaction.finish_run(evolve(old, run_id="late", started_at=old.started_at - 86_400 * 30))
    monkeypatch.setattr(run_index, "_WHOLE_SECONDS", 0.0)
    short_board.refresh(60.0)
    assert row_of(short_board, ETL.key)["runs"] == before + 26


def test_a_board_of_one_team_reads_the_runs_of_that_team(runtime: Runtime) -> None:
    store = runtime.open_existing_store()
    assert store is not None
    with store:
        board = Board(runtime, store, wanted=lambda key: key == ETL.key)
        board.refresh(60.0)
        assert [one["team"] for one in board.overview()["teams"]] == [ETL.team_id]
        assert board.overview()["runs"] == 12
        assert board.savings()["teams"] == []


def test_what_a_list_tells_of_a_long_watch_is_what_its_replay_tells(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = board.store
    assert store is not None
    (live,) = [one for one in store.experiments(*REVIEW.key) if one.is_verified]
    runs = store.observations(live.id, "test")
    assert live.decided_order == feed(new_judge(live), runs)  # so that the watch need not ask the judge
    _, watch = verdicts(store, live)
    assert watch is not None
    assert verdicts(store, live, detail="list")[1] == watch  # its P95 may be open
    for detail in ("line", "p95"):
        assert verdicts(store, live, detail=detail)[1] == {name: watch[name] for name in ("status", "runs", "p95")}
    monkeypatch.setattr(tail, "DEADLINE", 1)
    for detail in ("list", "line"):
        assert verdicts(store, live, detail=detail)[1] == {"status": "watching", "runs": watch["runs"]}
    assert verdicts(store, live, detail="p95")[1] == {"status": "watching"}


def test_a_pause_reaches_every_row(board: Board, runtime: Runtime) -> None:
    runtime.manual.pause_all(True)
    board.refresh(60.0)
    assert board.overview()["paused"]
    assert all(row["paused"] for row in board.overview()["teams"])


def test_a_team_tells_its_story(board: Board) -> None:
    team = board.team(*REVIEW.key)
    assert board.store is not None
    (experiment,) = team["experiments"]
    assert experiment["knobs"] == [{"knob": "formation", "before": "sequential", "after": "parallel"}]
    assert team["changes"][0]["action"] == "promoted"
    assert team["definition"]["formation"] == "sequential"
    assert [one["id"] for one in team["definition"]["members"]] == list(REVIEW.member_ids)
    points = team["runs"]["points"]
    assert points["at"] == sorted(points["at"])
    roles = set(points["role"])
    assert roles == {0, 1, 2, 3}
    names = {one["name"] for one in experiment["verdict"]["guardrails"]}
    assert {"success", "p95", "cost"} <= names
    assert all({"title", "unit", "margin", "change", "status"} <= set(one) for one in experiment["watch"]["guardrails"])
    plans = {one["plan"]: one for one in team["plans"]}
    assert set(plans) == {"as configured", "formation parallel"}
    assert sum(one["runs"] for one in plans.values()) == team["runs"]["total"]
    assert plans["formation parallel"]["median"] < plans["as configured"]["median"]


def test_a_team_tells_who_uses_whose_work(board: Board) -> None:
    flow = board.team(*ETL.key)["flow"]
    assert sorted((one["source"], one["target"], one["sure"]) for one in flow["edges"]) == [
        ("clean", "report", True),
        ("extract", "clean", True),
    ]
    assert flow["graph"] == "extract → clean → report"
    assert flow["verdict"] == "dependent"


def test_runs_are_filtered_by_time_plan_and_role(board: Board) -> None:
    whole = board.runs(*REVIEW.key, RunFilter())["points"]
    middle = whole["at"][len(whole["at"]) // 2]
    later = board.runs(*REVIEW.key, RunFilter(since=middle - 0.01))
    assert later["points"]["at"] == [at for at in whole["at"] if at >= middle]
    before = board.runs(*REVIEW.key, RunFilter(role="before"))["points"]
    assert set(before["role"]) == {1}
    planned = board.runs(*REVIEW.key, RunFilter(plan="formation parallel"))
    assert planned["plans"] == ["formation parallel"]


def test_many_runs_are_drawn_in_groups(board: Board) -> None:
    runs = board.team(*REVIEW.key, most=50, with_bins=20)["runs"]
    assert "points" not in runs
    bins = runs["bins"]
    assert len(bins["at"]) == 20
    assert sum(sum(one["runs"]) for one in bins["roles"].values()) == runs["total"]
    for one in bins["roles"].values():
        for low, middle, high in zip(one["low"], one["median"], one["high"], strict=True):
            assert (low is None) == (middle is None)
            assert low is None or low <= middle <= high


def test_the_evidence_ends_where_the_verdict_is(board: Board) -> None:
    assert board.store is not None
    (experiment,) = board.store.experiments(*REVIEW.key)
    assert experiment.verdict is not None
    path = board.evidence(experiment.id)
    assert path["statistic"][-1] == pytest.approx(experiment.verdict["statistic"], rel=1e-3)
    assert path["boundary"][-1] == pytest.approx(experiment.verdict["boundary"], rel=1e-3)
    assert path["boundary"][0] is None
    assert path["statistic"][-1] > path["boundary"][-1]
    assert path["runs"] == sorted(path["runs"])
    assert len(path["runs"]) <= 61
    assert board.evidence(experiment.id) is path


def test_a_run_is_found_by_its_id_and_its_trace(board: Board) -> None:
    assert board.store is not None
    run = next(board.store.finished_runs(*REVIEW.key, limit=1))
    shown = board.run(run.run_id)
    assert (shown["id"], shown["trace_id"], shown["measured"]) == (run.run_id, run.trace_id, True)
    assert board.run(run.trace_id)["id"] == board.run(run.run_id[:8])["id"] == run.run_id
    assert [one["begin"] for one in shown["members"]] == pytest.approx(
        [one.begun_after for one in run.members], rel=1e-3
    )


@pytest.mark.parametrize(
    ("formation", "begins"), [("sequential", [0.0, 2.0, 5.0]), ("parallel", [0.0] * 3), ("pipeline", [0.0, 2.0, 5.0])]
)
def test_where_begins_were_not_measured_they_follow_from_the_formation(
    board: Board, formation: str, begins: list[float]
) -> None:
    assert board.store is not None
    run = next(board.store.finished_runs(*ETL.key, limit=1))
    members = [MemberOutcome(name, duration_seconds=took) for name, took in zip("abc", (2.0, 3.0, 4.0), strict=True)]
    shown = run_view(evolve(run, members=members, plan_used=evolve(run.plan_used, formation=formation)))
    assert not shown["measured"]
    assert [one["begin"] for one in shown["members"]] == begins


@pytest.mark.parametrize("text", ["nothing", "", "\x00"])
def test_what_is_not_there_is_said(board: Board, text: str) -> None:
    for ask in (lambda: board.run(text), lambda: board.evidence(text), lambda: board.team("flow", text)):
        with pytest.raises(AutotuneError, match="was recorded"):
            ask()


def test_what_is_known_is_told_while_the_runs_are_read(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    store = runtime.open_existing_store()
    assert store is not None
    with store:
        board, told = Board(runtime, store), []
        board.check()
        assert board.overview()["loading"] == [0, 0]
        read = store.listed_runs

        def slowly(*since: float) -> Iterator[ListedRun]:
            for number, one in enumerate(read(*since)):
                if number % 50 == 0:
                    told.append(board.overview())
                yield one

        monkeypatch.setattr(store, "listed_runs", slowly)
        board.refresh(60.0)
        assert [one["loading"][0] for one in told] == [50 * step for step in range(len(told))]
        assert {one["loading"][1] for one in told} == {store.pulse().runs}
        assert all(one["teams"] == [] and not one["whole"] for one in told)
        assert board.overview()["loading"] is None
        assert board.overview()["whole"]


def test_a_store_that_comes_later_is_found(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path)
    try:
        board = Board(runtime, runtime.open_existing_store())
        assert not board.refresh()
        assert (board.overview()["teams"], board.savings()["teams"]) == ([], [])
        team = PageScene(tmp_path, ETL, mode="observe")
        team.run()
        team.close()
        assert board.refresh(60.0)
        assert [one["team"] for one in board.overview()["teams"]] == ["cleaners"]
    finally:
        if board.store is not None:
            board.store.close()
        runtime.close()
