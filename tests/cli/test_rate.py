"""`rate`: a person says how good the last runs were, without being told what was tested on them."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from attrs import evolve

from victor_autotune_plugin._cli import rate as rating
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_plugin._settings.team_settings import QualitySettings, Settings
from victor_autotune_plugin.storage.kept_outputs import KeptOutputs

from .conftest import Said
from .scored_runs import AT, ended, run_id, scores_in, trace_id, write_runs

Call = Callable[..., Said]
Answers = Callable[..., None]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path) -> None:
    tested = ended(
        2,
        experiment_id="e1",
        arm="treatment",
        index=1,
        plan_asked=TeamPlan(formation="parallel"),
        duration_seconds=77.7,
    )
    rated = Score(run_id(3), "rating", 1.0, "person", AT)
    write_runs(tmp_path, [ended(1), tested, ended(3), ended(4, cancelled=True)], [rated])


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Let a person give answers at a terminal; an exception is one, too."""

    def give(*said: str | type[BaseException]) -> None:
        rest = iter(said)

        def prompt(*_: object, **__: object) -> str:
            answer = next(rest)
            if not isinstance(answer, str):
                raise answer
            return answer

        monkeypatch.setattr(click, "prompt", prompt)
        monkeypatch.setattr(rating, "is_terminal", lambda stream: True)

    return give


def have(monkeypatch: pytest.MonkeyPatch, quality: QualitySettings) -> None:
    """Set how the runs are shown, and what is scored."""
    before = SettingsResolver.for_team

    def for_team(self: SettingsResolver, *args: object, **options: object) -> Settings:
        return evolve(before(self, *args, **options), quality=quality)  # type: ignore[arg-type]

    monkeypatch.setattr(SettingsResolver, "for_team", for_team)


def test_a_person_sees_which_run_it_was_and_nothing_of_what_was_tested(call: Call, answers: Answers) -> None:
    answers("y", "0,25")
    said = call("rate")
    assert said.code == 0, said.err
    assert said.err.index(run_id(2)) < said.err.index(run_id(1))  # the newest comes first
    assert trace_id(2) in said.err
    assert "task task-2" in said.err
    for hidden in ("treatment", "control", "parallel", "e1", "77", "auto", run_id(3), run_id(4)):
        assert hidden not in said.err.replace(run_id(2), "").replace(trace_id(2), "").replace(trace_id(1), "")
    assert "2 runs rated." in said.out


def test_answers_are_kept_at_once_and_rated_runs_do_not_come_again(
    call: Call, answers: Answers, tmp_path: Path
) -> None:
    answers("maybe", "2", "y", click.Abort)
    said = call("rate", "--json")
    assert said.code == 130
    assert [(one["run_id"], one["value"]) for one in said.data["rated"]] == [(run_id(2), 1.0)]
    assert said.data["left"] == 1
    assert scores_in(tmp_path, 2)["rating"].source == "person"
    answers("s")
    assert call("rate", "--json").data == {"rated": [], "skipped": 1, "left": 0}
    answers("q")
    assert call("rate", "--last", "1", "--json").data == {"rated": [], "skipped": 0, "left": 1}
    answers("n")
    call("rate", "--name", "taste", "--team-id", "team")
    assert scores_in(tmp_path, 1)["taste"].value == 0.0
    assert "No run is left to rate." in call("rate").out


def test_a_rating_is_called_as_the_only_external_scorer(
    call: Call, answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    review, taste = (ScorerSettings(name, "external", True) for name in ("review", "taste"))
    have(monkeypatch, QualitySettings((review,)))
    answers("1", "q")
    call("rate")
    have(monkeypatch, QualitySettings((review, taste)))
    answers("1")
    call("rate")
    assert [*scores_in(tmp_path, 2), *scores_in(tmp_path, 1)] == ["review", "rating"]


def test_a_kept_output_is_shown_and_goes_when_it_is_rated(call: Call, answers: Answers, tmp_path: Path) -> None:
    kept = KeptOutputs.of(tmp_path)
    kept.keep(run_id(1), "The work\nin two lines.\x1b[2J", time.time() + 3600)
    kept.keep(run_id(2), "Another work.", time.time() + 3600)
    answers("s", "y")
    said = call("rate")
    assert "The work\nin two lines." in said.err
    assert "\x1b[2J" not in said.err
    assert kept.read(run_id(1), time.time()) is None
    assert kept.read(run_id(2), time.time()) == "Another work."


def test_the_viewer_gets_the_id_as_its_last_argument(
    call: Call, answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    viewer = tmp_path / "viewer"
    viewer.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/seen\n')
    viewer.chmod(viewer.stat().st_mode | stat.S_IXUSR)
    have(monkeypatch, QualitySettings(show=(str(viewer), "two words")))
    answers("y", "y")
    call("rate")
    assert (tmp_path / "seen").read_text().splitlines() == [f"two words {run_id(2)}", f"two words {run_id(1)}"]


def test_a_viewer_that_cannot_be_started_is_told_and_the_rating_goes_on(
    call: Call, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, QualitySettings(show=("no-such-viewer-here",)))
    answers("y", "y")
    said = call("rate")
    assert "no-such-viewer-here" in said.err
    assert "2 runs rated." in said.out


def test_ctrl_c_in_the_viewer_ends_the_viewer_alone(tmp_path: Path) -> None:
    viewer = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('survived')"]
    with rating._left_to_the_viewer():
        os.kill(os.getpid(), signal.SIGINT)  # a terminal sends it to both
        ended_by = subprocess.run(viewer, check=False, capture_output=True)
    assert b"survived" not in ended_by.stdout
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_without_a_terminal_the_other_command_is_named(call: Call) -> None:
    said = call("rate")
    assert said.code == 2
    assert "victor autotune score RUN --value" in said.err


def test_at_a_real_terminal_each_answer_is_kept_before_the_next_question(tmp_path: Path) -> None:
    code = "import sys; from victor_autotune_plugin._cli.app import main; sys.argv[1:] = ['rate']; main()"
    command = [sys.executable, "-c", code]
    here, there = pty.openpty()
    with (
        subprocess.Popen(command, cwd=tmp_path, stdin=there, stdout=there, stderr=there, start_new_session=True) as ran,
        contextlib.ExitStack() as at_end,
    ):
        at_end.callback(ran.kill)  # else a test that fails would wait for an answer that nobody gives
        os.close(there)
        said = b""
        for number, answer in ((2, b"y\n"), (1, b"\x03")):
            while f"run {run_id(number)}".encode() not in said or not said.rstrip().endswith(b"q(uit):"):
                assert select.select([here], [], [], 60)[0], said
                said += os.read(here, 4096)
            if number == 1:
                assert scores_in(tmp_path, 2)["rating"].value == 1.0
                ran.send_signal(signal.SIGINT)
            else:
                os.write(here, answer)
        while select.select([here], [], [], 60)[0]:
            try:
                if not os.read(here, 4096):
                    break
            except OSError:
                break
        assert ran.wait(60) == 130
    os.close(here)
