"""`approve` and `reject`: for exactly the change that was shown, with who it was."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._api.autotuner import PerformanceAutotuner
from victor_autotune_plugin._cli import approval
from victor_autotune_plugin._model import process
from victor_autotune_plugin._model.plan import EMPTY_PLAN
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import SPEC, Simulation

from .conftest import Said
from .standing_teams import ID, PARALLEL, VERDICT, experiment, team_of, write

Call = Callable[..., Said]
ASKED = {
    "start": experiment("awaits_approval", verdict=None),
    "probation": experiment("testing", asks_for="probation"),
    "promotion": experiment("awaits_promotion", verdict={**VERDICT, "status": "passed", "interval": [-0.5, -0.2]}),
}


@pytest.fixture(params=list(ASKED))
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A project whose team asks a person; what it asks."""
    suggestion = {"expected_improvement": 31.0} if request.param == "start" else {}
    write(tmp_path, ASKED[request.param], action="awaits_approval", reason="Side by side.", evidence=suggestion)
    return str(request.param)


def status_of(folder: Path) -> str:
    with Store.open(default_url(folder)) as store:
        found = store.experiment(ID)
        assert found is not None
        return found.status


def words(text: str) -> str:
    return " ".join(text.split())


def test_without_a_terminal_the_command_with_the_id_is_told(call: Call, asked: str, tmp_path: Path) -> None:
    before = status_of(tmp_path)
    for answer in ("approve", "reject"):
        said = call(answer, "team")
        assert said.code == 2
        assert f"victor autotune {answer} team --id {ID}" in said.err
        assert ID in said.out
        assert "as configured → formation parallel" in words(said.out)
    assert status_of(tmp_path) == before


def test_what_is_decided_is_shown(call: Call, asked: str) -> None:
    said = words(call("approve").out)
    assert "it keeps the work, by the team's data flow" in said
    if asked == "start":
        assert "31 % better" in said
        return
    assert "duration −35 % (interval −50 %" in said
    assert "success share 100 % 97 % +3 points +10 points" in said
    assert "Missing runs 1 control, 2 treatment" in said
    assert "P95 of the duration" in said


AFTER = {
    ("approve", "start"): ("canary", "started"),
    ("approve", "probation"): ("probation", "probation"),
    ("approve", "promotion"): ("proven", "promoted"),
    ("reject", "start"): ("aborted", "rejected"),
    ("reject", "probation"): ("testing", "rejected"),
    ("reject", "promotion"): ("aborted", "rejected"),
}


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_the_answer_counts_and_the_history_names_who_gave_it(
    call: Call, asked: str, answer: str, tmp_path: Path
) -> None:
    said = call(answer, "team", "--id", ID, "--as", "Ada", *(["--reason", "too early"] if answer == "reject" else []))
    assert said.code == 0, said.err
    status, action = AFTER[answer, asked]
    assert status_of(tmp_path) == status
    last = call("history", "--json").data["changes"][0]
    assert (last["action"], last["actor"], last["by"], last["experiment_id"]) == (action, "person", "Ada", ID)
    assert answer == "approve" or last["reason"] == "too early"
    assert "by Ada" in words(call("history").out)
    again = call(answer, "team", "--id", ID)
    assert again.code == 2
    assert "awaits no person's answer" in again.err


def test_the_name_is_the_systems_user_by_default(
    call: Call, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.getpass, "getuser", lambda: "grace")
    said = call("approve", "--id", ID, "--json")
    assert said.err == ""
    assert (said.data["answer"], said.data["change"]["by"]) == ("approve", "grace")
    assert said.data["asked"]["awaits_person"]["asks"] == asked
    assert said.data["experiment"]["id"] == ID


def test_a_user_without_a_name_can_decide(call: Call, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(process.getpass, "getuser", unknown)
    assert call("approve", "--id", ID, "--json").data["change"]["by"] == "unknown user"


def test_an_empty_name_is_refused(call: Call, asked: str, tmp_path: Path) -> None:
    before = status_of(tmp_path)
    assert call("approve", "--id", ID, "--as", " ").code == 2
    assert status_of(tmp_path) == before


@pytest.mark.parametrize("typed", ["y", "n", ""])
def test_on_a_terminal_a_person_is_asked(
    call: Call, asked: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "is_terminal", lambda stream: stream is sys.stdin)
    monkeypatch.setattr(approval.typer, "confirm", lambda text, **_: (text, typed) == ("Approve?", "y"))
    before = status_of(tmp_path)
    said = call("approve", "team")
    assert said.code == (0 if typed == "y" else 1)
    assert status_of(tmp_path) == (AFTER["approve", asked][0] if typed == "y" else before)


def test_json_without_an_id_asks_nothing(call: Call, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "is_terminal", lambda stream: stream is sys.stdin)
    said = call("approve", "team", "--json")
    assert said.code == 2
    assert f"--id {ID}" in said.data["error"]["hint"]


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_another_change_than_the_one_that_awaits_is_refused(
    call: Call, asked: str, answer: str, tmp_path: Path
) -> None:
    before = status_of(tmp_path)
    said = call(answer, "team", "--id", "000000000000")
    assert said.code == 2
    assert ID in said.err
    assert status_of(tmp_path) == before


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_a_team_that_changed_since_is_not_decided(call: Call, answer: str, tmp_path: Path) -> None:
    one = ASKED["promotion"]
    write(tmp_path, one, state=evolve(team_of(one), fingerprint="another"))
    said = call(answer, "team", "--id", ID)
    assert said.code == 2
    assert "since the team changed" in said.err
    assert call(answer, "team").code == 2
    assert status_of(tmp_path) == "awaits_promotion"


def test_nothing_awaits(call: Call, tmp_path: Path) -> None:
    assert call("approve").code == 2
    write(tmp_path, experiment("proven"))
    said = call("approve", "team")
    assert said.code == 2
    assert "nothing awaits a person" in said.err


def test_an_id_tells_teams_of_one_name_apart(call: Call, tmp_path: Path) -> None:
    write(tmp_path, ASKED["start"])
    other = evolve(ASKED["start"], id="aaaaaaaaaaaa", workflow="other")
    write(tmp_path, other, state=evolve(team_of(other), workflow="other"))
    assert "--workflow" in call("approve", "team").err
    said = call("approve", "team", "--id", "aaaaaaaaaaaa", "--json")
    assert said.data["change"]["workflow"] == "other"


def test_from_python(asked: str, tmp_path: Path) -> None:
    with PerformanceAutotuner(project=tmp_path) as autotuner:
        (standing,) = autotuner.standing("team")
        assert standing["awaits_person"]["asks"] == asked
        with pytest.raises(AutotuneError):
            autotuner.approve("team", experiment_id="000000000000", by="Ada")
        change = autotuner.approve("team", experiment_id=standing["experiment_id"], by="Ada")
        assert (change.action, change.by) == (AFTER["approve", asked][1], "Ada")
        with pytest.raises(AutotuneError, match="awaits a person"):
            autotuner.reject("team", by="Ada", reason="no")


def test_a_rejection_from_python(asked: str, tmp_path: Path) -> None:
    with PerformanceAutotuner(project=tmp_path) as autotuner:
        change = autotuner.reject("team", reason="not now")
    assert (change.action, change.reason) == ("rejected", "not now")
    assert change.by


def test_mode_approve_is_usable_by_commands_alone(
    call: Call, simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    """From the start of a test to the live plan, answered as the screens say."""
    team = simulate(mode="approve", promotion="proof")
    (tmp_path / ".victor").mkdir(exist_ok=True)
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: approve\n")
    for action, after in (("awaits_approval", "started"), ("awaits_promotion", "promoted")):
        team.run_until(action)
        (standing,) = call("status", "--json").data["teams"][0]["standing"]
        command: Any = standing["awaits_person"]["approve"]
        said = call(*command.removeprefix("victor autotune ").split(), "--as", "ada", "--json")
        assert said.data["change"]["action"] == after
    assert team.state().plan == PARALLEL
    assert team.experiments()[-1].control == EMPTY_PLAN
    assert team.state().key == SPEC.key


def test_the_commands_name_the_project_and_environment_that_were_looked_at(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "my shop"
    elsewhere.mkdir()
    write(elsewhere, ASKED["promotion"])
    options = ("--project", str(elsewhere), "--environment", "default")
    (standing,) = call("status", "--json", *options).data["teams"][0]["standing"]
    command = f"victor autotune approve team --id {ID} {shlex.join(options)}"
    assert standing["awaits_person"]["approve"] == command
    assert command in call("approve", "team", *options).err
    assert command in call("status", *options).out
    assert call(*shlex.split(command.removeprefix("victor autotune "))).code == 0
    assert status_of(elsewhere) == "proven"


def test_what_awaits_its_promotion_has_passed_in_the_history_of_optimizations(tmp_path: Path) -> None:
    write(tmp_path, ASKED["promotion"], action="awaits_promotion", reason="Proven.", improvement_percent=35.0)
    with PerformanceAutotuner(project=tmp_path) as autotuner:
        (one,) = autotuner.get_optimization_history("team")
        assert (one["validation_status"], one["success"], one["in_effect"]) == ("passed", False, False)
        autotuner.reject("team", by="Ada", reason="not now")
        (one,) = autotuner.get_optimization_history("team")
    assert (one["success"], one["in_effect"], one["reason"], one["actor"]) == (False, False, "not now", "person")
