"""`prune`: what would go, what went, how much room that gives, and who must say so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from victor_autotune_plugin._cli import prune
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.errors import StoreBusyError, StoreFullError, StoreUnavailableError
from victor_autotune_plugin.storage import Store, default_url, pruning
from victor_autotune_plugin.storage.transaction import Transaction
from victor_autotune_testing.simulated import SPEC

from .conftest import Said

KEPT = 25


@pytest.fixture
def old(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project of which all runs but 25 are too old: they may be 400 days old, or so many are kept."""
    project("rolled_back")
    monkeypatch.setattr(pruning, "ALWAYS_KEPT", KEPT)
    with Store.open(default_url(tmp_path)) as store:
        store._connections.execute(text("UPDATE autotune_run SET started_at = started_at - 86400.0 * 500"))
    return tmp_path


def runs_of(folder: Path) -> int:
    with Store.open(default_url(folder)) as store:
        return store.counts()["runs"]


def test_a_dry_run_says_what_would_go_and_changes_nothing(call: Callable[..., Said], old: Path) -> None:
    before = runs_of(old)
    said = call("prune", "--dry-run")
    assert said.code == 0
    assert "Would go" in said.out
    assert "MB" in said.out
    found = call("prune", "--dry-run", "--json").data
    assert found["dry_run"] is True
    assert found["retention"] == {"runs": 20_000, "days": 400.0}
    assert found["room"] is None
    (team,) = found["teams"]
    assert team["removed"] + team["bared"] == before - KEPT
    assert team["bytes"] > 0
    assert runs_of(old) == before


def test_what_went_is_told_and_every_decision_replays(call: Callable[..., Said], old: Path) -> None:
    expected = call("prune", "--dry-run", "--json").data["teams"]
    said = call("prune", SPEC.team_id, "--json")
    assert said.code == 0
    found = said.data
    assert found["teams"] == expected
    assert found["problem"] == ""
    assert 0 < found["room"]["after"] < found["room"]["before"]
    assert runs_of(old) == KEPT
    with Store.open(default_url(old)) as store:
        assert all(one.same for one in replay_all(store, store.experiments()))
        assert sum(one.runs for one in store.day_totals()) == expected[0]["removed"] + expected[0]["bared"]
    assert call("replay").code == 0
    assert call("prune").out.startswith("Nothing is to go")
    stored = next(one["found"] for one in call("doctor", "--json").data["checks"] if one["name"] == "store")
    assert stored.endswith(f"{KEPT} runs, and the totals of {expected[0]['removed'] + expected[0]['bared']} older runs")


def test_runs_that_went_are_told_as_the_totals_of_their_days(call: Callable[..., Said], old: Path) -> None:
    with Store.open(default_url(old)) as store:
        gone = list(store.finished_runs())[KEPT:]
    assert "daily totals" not in call("history", SPEC.team_id).out
    assert call("history", SPEC.team_id, "--json").data["earlier_runs"] == []
    assert call("prune", SPEC.team_id, "--yes").code == 0
    times = [one.duration_seconds for one in gone if not one.cancelled]
    (told,) = call("history", SPEC.team_id, "--json").data["earlier_runs"]
    assert (told["team_id"], told["runs"]) == (SPEC.team_id, len(gone))
    assert told["median_seconds"] == pytest.approx(median(times), rel=0.1)
    assert told["mean_seconds"] == pytest.approx(fmean(times))
    said = " ".join(call("history", SPEC.team_id).out.split())
    assert f"{SPEC.team_id}: {len(gone)} earlier runs (" in said
    assert "are kept as daily totals: " in said
    assert "earlier_runs" not in call("history", "--json").data

    report = call("report", SPEC.team_id, "--json").data
    assert (report["runs_in_totals"], report["earlier_runs"]) == (len(gone), [told])
    assert f"{len(gone)} earlier runs (" in " ".join(call("report", SPEC.team_id).out.split())
    assert f"Of these teams {len(gone)} earlier runs are kept" in call("report").out
    assert f'"earlier":{{"runs":{len(gone)},' in (old / "autotune-report.html").read_text().replace('": ', '":')


def test_a_store_of_an_earlier_version_waits_for_a_persons_word(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(default_url(old)) as store:
        store._connections.execute(text("UPDATE autotune_store SET may_prune = false"))
    before = runs_of(old)
    refused = call("prune", "--json")
    assert refused.code == 2
    assert "--yes" in refused.data["error"]["hint"]
    asked = call("prune")
    assert asked.code == 2
    assert "a person must say" in asked.err
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    denied = call("prune")
    assert denied.code == 1
    assert "Nothing was changed." in denied.out
    assert runs_of(old) == before
    assert call("prune", "--yes").code == 0
    assert runs_of(old) == KEPT
    with Store.open(default_url(old)) as store:
        assert store.identity().may_prune


def test_without_a_store_nothing_is_made(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("prune")
    assert said.code == 0
    assert said.out.startswith("Nothing is to go")
    assert not (tmp_path / ".victor").exists()


def test_an_unknown_team_is_an_error(call: Callable[..., Said], old: Path) -> None:
    assert call("prune", "nobody").code == 2


def test_ctrl_c_leaves_all_counted_and_the_next_call_goes_on(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "_PIECE", 10)
    whole = prune._pieces

    def interrupted(*arguments: object) -> object:
        yield next(iter(whole(*arguments)))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    before = runs_of(old)
    with monkeypatch.context() as context:
        context.setattr(prune, "_pieces", interrupted)
        said = call("prune", "--json")
    assert said.code == 1
    assert said.data["problem"].startswith("Stopped")
    with Store.open(default_url(old)) as store:
        assert sum(one.runs for one in store.day_totals()) == before - runs_of(old) == 10
    assert call("prune").code == 0
    assert runs_of(old) == KEPT


def test_a_disk_that_gets_full_in_the_middle_hides_nothing_of_what_went(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "_PIECE", 10)
    whole = prune._pieces
    full = StoreUnavailableError("the disk is full", hint="Free space.")

    def filled(*arguments: object) -> object:
        yield next(iter(whole(*arguments)))  # type: ignore[arg-type]
        raise full

    forecast = call("prune", "--dry-run", "--json").data["teams"][0]
    before = runs_of(old)
    with monkeypatch.context() as context:
        context.setattr(prune, "_pieces", filled)
        said = call("prune", "--json")
    assert said.code == 1
    assert said.data["problem"] == "Stopped: the disk is full. What went is in the totals. Free space."
    (team,) = said.data["teams"]
    assert team["removed"] + team["bared"] == before - runs_of(old) == 10
    with Store.open(default_url(old)) as store:
        (first, *_) = store.day_totals()
    assert team["until"] == first.date
    assert team["until"] <= forecast["until"]
    assert team["bytes"] < forecast["bytes"]


def test_where_the_disk_has_little_room_runs_go_in_smaller_pieces(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, written_back = Transaction.prune, []

    def full(self: Transaction, *given: Any) -> Any:
        if given[-1] > 3:
            raise StoreFullError("the disk is full", hint="Free space.")
        return known(self, *given)

    before = runs_of(old)
    monkeypatch.setattr(Transaction, "prune", full)
    monkeypatch.setattr(Store, "write_back", lambda _: written_back.append(1))
    said = call("prune", "--json")
    assert said.code == 0
    assert runs_of(old) == KEPT
    assert len(written_back) > (before - KEPT) / 3  # after each piece, so that the log stays small


def test_room_is_given_back_where_there_is_room_for_that_and_later_if_not(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "_SPARE_BYTES", 0)
    with monkeypatch.context() as context:
        context.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
        said = call("prune", "--json")
    assert said.code == 1
    assert runs_of(old) == KEPT
    assert said.data["room"] is None
    assert said.data["problem"].startswith("No room was given back: that takes ")
    assert said.data["problem"].endswith(
        " MB of free disk for a moment, and 0.0 MB are free. New runs use it. "
        "Free more, then run victor autotune prune again."
    )
    said = call("prune", "--json")
    assert said.code == 0
    assert said.data["teams"] == []
    assert said.data["room"]["after"] < said.data["room"]["before"]


@pytest.mark.parametrize(("error", "code"), [(StoreUnavailableError("the disk is full"), 2), (KeyboardInterrupt(), 1)])
def test_where_nothing_went_no_team_is_listed(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*_: object) -> object:
        raise error

    before = runs_of(old)
    monkeypatch.setattr(prune, "_pieces", fail)
    said = call("prune", "--json")
    assert said.code == code
    assert said.data.get("teams", []) == []
    assert "Nothing is to go" not in call("prune").out
    assert runs_of(old) == before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreBusyError("locked"), "in use"),
        (StoreUnavailableError("the disk is full"), "disk is full"),
        (KeyboardInterrupt(), "Stopped before the room was given back"),
    ],
)
def test_where_no_room_can_be_given_back_it_says_so(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, told: str
) -> None:
    def fail(_: Store) -> None:
        raise error

    monkeypatch.setattr(Store, "compact", fail)
    said = call("prune")
    assert said.code == 1
    assert told in said.out.replace("\n", " ")
    assert runs_of(old) == KEPT


def test_doctor_tells_of_a_store_that_waits_for_a_persons_word(call: Callable[..., Said], old: Path) -> None:
    def told() -> list[str]:
        return [one["hint"] for one in call("doctor", "--json").data["checks"] if one["name"] == "old runs"]

    assert told() == []
    with Store.open(default_url(old)) as store:
        store._connections.execute(text("UPDATE autotune_store SET may_prune = false"))
    assert len(told()) == 1
    assert "victor autotune prune --dry-run" in told()[0]
    call("prune", "--yes")
    assert told() == []


@pytest.mark.parametrize("command", [("savings",), ("history",), ("replay",)])
def test_what_is_told_of_decisions_and_their_gains_stays(
    call: Callable[..., Said], old: Path, command: tuple[str, ...]
) -> None:
    before = call(*command, "--json").data
    assert call("prune").code == 0
    assert call(*command, "--json").data == before


@pytest.mark.parametrize("command", [("status",), ("explain",), ("analyze",), ("runs",), ("report",), ("export",)])
def test_every_command_that_looks_goes_on(call: Callable[..., Said], old: Path, command: tuple[str, ...]) -> None:
    assert call("prune").code == 0
    said = call(*command, "--json")
    assert said.code == 0, said.err
    assert said.data


def test_others_get_as_much_time_between_two_pieces(
    call: Callable[..., Said], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "_PIECE", 10)
    paused: list[float] = []
    monkeypatch.setattr(prune.time, "sleep", paused.append)
    assert call("prune").code == 0
    assert len(paused) >= 5
    assert all(0 < one <= prune._LONGEST_PAUSE_SECONDS for one in paused)
    assert runs_of(old) == KEPT


def test_of_many_teams_the_largest_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    teams = [prune.PrunedTeam("flow", f"team{number}", number, 0, number, "2026-11-02") for number in range(1, 104)]
    prune._table(teams, dry_run=True)
    shown = capsys.readouterr().out
    assert "team103" in shown
    assert "And 6 runs of 3 teams more." in shown
