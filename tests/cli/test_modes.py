"""The mode that is set beside that of the last run: why they differ, and which the next run has."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.simulated import Simulation

from .conftest import Said

Call = Callable[..., Said]


@pytest.fixture
def ran(simulate: Callable[..., Simulation], tmp_path: Path) -> Path:
    """A project whose last run, of yesterday, had the mode observe."""
    simulate(mode="observe").run()
    return tmp_path


def modes(call: Call) -> dict[str, str | None]:
    found: dict[str, str | None] = call("status", "--json").data["teams"][0]["modes"]
    return found


def settings(folder: Path, text: str, age: float = 0.0) -> None:
    file = folder / ".victor" / "autotune.yaml"
    file.write_text(text)
    os.utime(file, (time.time() - age, time.time() - age))


def test_where_they_are_equal_nothing_is_said(call: Call, ran: Path) -> None:
    assert modes(call) == {"configured": "observe", "source": "default", "last": "observe", "next": "observe",
                           "because": None}  # fmt: skip
    assert "last run had" not in call("status").out
    assert "Mode       observe\n" in call("explain").out


def test_a_file_that_was_written_since_counts_from_the_next_run_on(call: Call, ran: Path) -> None:
    settings(ran, "mode: auto\n")
    found = modes(call)
    assert (found["configured"], found["last"], found["next"]) == ("auto", "observe", "auto")
    assert str(found["because"]).startswith(".victor/autotune.yaml was written after that run, of ")
    assert call("status", "--json").data["teams"][0]["mode"] == "auto"
    said = " ".join(call("status").out.split())
    assert "ran observe" in said
    assert "mode auto is set (.victor/autotune.yaml:1), the last run had observe:" in said
    assert "In mode observe nothing is tested" not in call("explain").out


def test_of_an_older_file_it_is_not_known_why(call: Call, ran: Path) -> None:
    settings(ran, "mode: auto\n", age=7 * 86_400)
    found = modes(call)
    assert (found["configured"], found["next"]) == ("auto", "observe")
    assert "which are not seen from here" in str(found["because"])
    assert "In mode observe nothing is tested. Mode auto is set" in " ".join(call("explain").out.split())


def test_a_variable_counts_for_this_command_alone(call: Call, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_AUTOTUNE_MODE", "auto")
    found = modes(call)
    assert (found["source"], found["next"]) == ("env VICTOR_AUTOTUNE_MODE", "observe")
    assert "this command alone" in str(found["because"])


def test_a_workflow_that_sets_its_own_is_found(call: Call, ran: Path) -> None:
    settings(ran, "mode: auto\n", age=7 * 86_400)
    own = workflow_yaml("researcher", name="flow", metadata={"autotune": {"mode": "observe"}})
    (ran / "flow.yaml").write_text(own)
    found = modes(call)
    assert (found["configured"], found["because"]) == ("observe", None)
    assert str(found["source"]).startswith("flow.yaml:")
    (ran / "other.yaml").write_text(own.replace("observe", "suggest"))
    assert modes(call)["configured"] == "auto"  # two workflows of one name: which one ran is not known
    (ran / "other.yaml").write_text(own.replace("name: flow", "name: wrong").replace("observe", "obsrve"))
    (ran / "flow.yaml").write_text(own.replace("observe", "obsrve"))
    assert modes(call)["configured"] == "auto"
    (ran / "flow.yaml").write_text("workflows: [")
    (ran / "other.yaml").unlink()
    assert modes(call)["configured"] == "auto"
