"""The built-in scorers, as a team's settings name them, on outputs of runs."""

from __future__ import annotations

import json
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from victor_autotune_plugin._model.plan import TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._settings.team_settings import QualitySettings
from victor_autotune_plugin.quality import RunOutput, Scored, run_scorer, scorers_of

SPEC = TeamSpec("wf", "team", "sequential", ())
RUN = TeamRun("run-1", SPEC, 0.0, 1.0, success=True, member_success_share=1.0, task_key="t7")


@pytest.fixture
def score(tmp_path):
    """Score a text by one scorer of the settings."""

    def scored(kind, value, text="", **others):
        scorer, *_ = scorers_of(QualitySettings((ScorerSettings("it", kind, value, **others),)))
        return run_scorer(scorer, RunOutput(RUN, text, {}, tmp_path))

    return scored


def python(code):
    return (sys.executable, "-c", textwrap.dedent(code))


# --- commands


@pytest.mark.parametrize(("code", "value"), [(0, 1.0), (1, 0.0), (3, 0.0), (77, None)])
def test_an_exit_code_is_a_score_and_77_no_opinion(score, code, value):
    found = score("command", python(f"import sys; sys.exit({code})"), "text")
    assert (found.value, found.why) == (value, "no opinion" if value is None else "")
    assert (found.run_id, found.name, found.source) == ("run-1", "it", "command")


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        ("0.25", 0.25),
        ("checked 12\\n\\n 1 \\n", 1.0),
        ("0", 0.0),
        ("all fine", 1.0),
        ("score 0.3", 1.0),
        ("7", None),
        ("-0.1", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_a_number_alone_in_the_last_line_is_the_score(score, printed, value):
    found = score("command", python(f"print('{printed}')"))
    assert (found.value, found.why) == (value, "not a score" if value is None else "")


def test_a_number_of_a_command_that_fails_is_no_score(score):
    assert score("command", python("import sys; print(0.9); sys.exit(1)")).value == 0.0


def test_a_command_gets_the_output_on_its_standard_input(score):
    found = score("command", python("import sys; print(len(sys.stdin.read()) / 10)"), "sieben")
    assert found.value == 0.6


def test_a_command_learns_of_the_run_and_works_in_the_project(score, tmp_path):
    (tmp_path / "here").write_text("")
    code = """
    import os
    e = os.environ
    names = [e["VICTOR_AUTOTUNE_" + name] for name in ("RUN_ID", "WORKFLOW", "TEAM_ID", "TASK_KEY")]
    assert names == ["run-1", "wf", "team", "t7"], names
    assert os.path.exists("here")
    """
    assert score("command", python(code)).value == 1.0


def test_a_command_that_reads_nothing_of_a_long_output_is_no_error(score):
    assert score("command", python("pass"), "x" * 3_000_000).value == 1.0


def test_a_command_that_prints_a_lot_is_read_to_the_end(score):
    assert score("command", python("print('x' * 3_000_000); print(0.5)")).value == 0.5


def test_a_command_that_takes_too_long_is_killed_with_what_it_started(score, tmp_path):
    code = f"""
    import os, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
    time.sleep(600)
    """
    found = score("command", python(code), timeout=2.0)
    assert (found.value, found.why) == (None, "timeout")
    for pid in (tmp_path / "pids").read_text().split():
        for _ in range(250):  # a signal takes a moment
            if is_gone(int(pid)):
                break
            time.sleep(0.02)
        assert is_gone(int(pid))


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_command_that_ends_and_leaves_a_child_behind_is_not_waited_for(score):
    code = """
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(0.5)
    """
    assert score("command", python(code), timeout=30.0).value == 0.5


def test_a_command_that_is_not_there_has_no_opinion(score):
    found = score("command", ("no-such-command-here",))
    assert (found.value, found.why) == (None, "failed: FileNotFoundError")


def test_what_a_command_prints_is_nowhere_in_its_score(score):
    found = score("command", python("import sys; t = sys.stdin.read(); print(t); sys.stderr.write(t)"), "secret words")
    assert "secret" not in repr(found)


# --- text


SCHEMA = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"title": "a"}', 1.0),
        ('{"title": 3}', 0.0),
        ("{}", 0.0),
        ("no JSON", 0.0),
        ('Here it is:\n```json\n{"title": "a"}\n```\nDone.', 1.0),
        ('First\n```json\n{"title": "a"}\n```\nthen\n```json\n{"title": 1}\n```', 0.0),
        ('First\n```python\nx = 1\n```\nthen\n```json\n{"title": "a"}\n```', 1.0),
        ('```json\n{"title": "a"}\n```\nTo check it:\n```\nmake check\n```', 1.0),
        ('```\n{"title": "a"}\n```', 1.0),
        ('```json\r\n{"title": "a"}\r\n```\r\n', 1.0),
        ('- it:\n  ```json\n  {"title": "a"}\n  ```\n', 1.0),
    ],
)
def test_a_schema_accepts_an_output_or_not(score, tmp_path, text, value):
    assert score("json_schema", SCHEMA, text).value == value
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    assert score("json_schema", "schema.json", text).value == value


def test_a_schema_that_refers_to_elsewhere_fetches_nothing(score):
    found = score("json_schema", {"$ref": "http://127.0.0.1:9/schema.json"}, "{}")
    assert (found.value, found.why) == (None, "no opinion")


def test_a_schema_whose_pattern_backtracks_holds_up_nothing_but_its_own_process(score):
    schema = {"type": "string", "pattern": "^(a+)+$"}
    assert score("json_schema", schema, json.dumps("a" * 40 + "b"), timeout=1.0).why == "timeout"


def test_a_schema_that_nothing_can_try_is_no_opinion(score, monkeypatch):
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if "site-packages" not in folder])
    assert score("json_schema", SCHEMA, '{"title": "a"}').why == "no opinion"


def test_a_file_that_holds_no_schema_is_no_opinion(score, tmp_path):
    (tmp_path / "schema.json").write_text('{"type": "nonsense"}')
    assert score("json_schema", "schema.json", "{}").why == "failed: SchemaError"


def test_a_schema_file_that_is_missing_is_no_opinion(score):
    assert score("json_schema", "none.json", "{}").why == "failed: FileNotFoundError"


@pytest.mark.parametrize(("pattern", "value"), [(r"\[\d+\]", 1.0), (r"^Second", 1.0), (r"^third", 0.0)])
def test_a_pattern_is_searched_line_by_line(score, pattern, value):
    assert score("regex", pattern, "First [1]\nSecond\nThird").value == value


def test_a_pattern_that_backtracks_for_ever_holds_up_no_other_thread_and_is_ended(score):
    steps: list[None] = []
    ended = threading.Event()

    def other() -> None:
        while not ended.wait(0.001):
            steps.append(None)

    thread = threading.Thread(target=other)
    thread.start()
    found = score("regex", "(a|aa)+$", "a" * 60 + "b", timeout=0.5)
    ended.set()
    thread.join()
    assert (found.value, found.why, found.source) == (None, "timeout", "check")
    assert steps


def test_texts_that_must_be_there_score_by_their_share(score):
    text = "# Summary\nAll is well.\n# Risks\n"
    assert score("contains", ("Summary", "Risks"), text).value == 1.0
    assert score("contains", ("Summary", "Costs"), text).value == 0.5
    assert score("contains", "summary", text).value == 0.0


# --- functions


@pytest.fixture
def scoring(tmp_path):
    """A module of the project."""
    (tmp_path / "own_scoring.py").write_text(
        textwrap.dedent(
            """
            import asyncio

            def length(output):
                return len(output.text) / 10

            async def later(output):
                await asyncio.sleep(0)
                return 0.25

            async def hangs(output):
                await asyncio.sleep(600)

            def wrong(output):
                return "good"

            def beyond(output):
                return 7

            def unsure(output):
                return None

            def good(output):
                return True

            def quotes(output):
                raise ValueError(output.text)

            class Nested:
                @staticmethod
                def score(output):
                    return 0.75
            """
        )
    )
    yield "own_scoring"
    sys.modules.pop("own_scoring", None)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("length", 0.4, ""),
        ("later", 0.25, ""),
        ("good", 1.0, ""),
        ("Nested.score", 0.75, ""),
        ("unsure", None, "no opinion"),
        ("wrong", None, "not a score"),
        ("beyond", None, "not a score"),
        ("quotes", None, "failed: ValueError"),
        ("missing", None, "failed: AttributeError"),
    ],
)
def test_a_function_of_the_projects_scores_a_run(score, scoring, name, value, why):
    found = score("python", f"{scoring}:{name}", "text")
    assert (found.value, found.why) == (value, why)
    assert "text" not in repr(found)


def test_importing_a_function_leaves_the_path_as_it_was(score, scoring, tmp_path, monkeypatch):
    for before in ([*sys.path], [str(tmp_path), *sys.path]):
        monkeypatch.setattr(sys, "path", [*before])
        sys.modules.pop(scoring, None)
        assert score("python", f"{scoring}:good").value == 1.0
        assert sys.path == before


def test_a_coroutine_ends_at_its_time_limit(score, scoring):
    assert score("python", f"{scoring}:hangs", timeout=0.05).why == "timeout"


def test_a_module_that_is_missing_is_no_opinion(score):
    assert score("python", "no_such_module:score").why == "failed: ModuleNotFoundError"


def test_what_is_outside_of_the_process_is_no_scorer_of_it():
    settings = QualitySettings((ScorerSettings("review", "external", value=True),))
    assert scorers_of(settings) == []


def test_a_kind_that_this_victor_lacks_has_no_opinion(score):
    assert score("rubric", ("Is it good?",)).why == "not available"


class Minimal:
    name = "minimal"

    def __init__(self, value):
        self.value = value

    def score(self, output):
        return self.value


def test_a_third_partys_scorer_needs_no_more_than_a_name_and_a_score():
    found = run_scorer(Minimal(0.5), RunOutput(RUN, "text"))
    assert (found.name, found.value, found.source, found.judge) == ("minimal", 0.5, "hook", "")


def test_a_scorer_may_tell_more_than_a_number():
    found = run_scorer(Minimal(Scored(0.5, cost_usd=0.01, details={"length": 4}, judge="j")), RunOutput(RUN, "text"))
    assert (found.value, found.cost_usd, found.details, found.judge) == (0.5, 0.01, {"length": 4}, "j")
    wrong = run_scorer(Minimal(Scored(1.5, cost_usd=0.01)), RunOutput(RUN, "text"))
    assert (wrong.value, wrong.why, wrong.cost_usd) == (None, "not a score", 0.01)


def test_a_flag_is_a_number_and_the_words_of_a_third_party_are_not_kept():
    assert repr(run_scorer(Minimal(Scored(True)), RunOutput(RUN, "text")).value) == "1.0"
    assert run_scorer(Minimal(Scored(None, "secret text")), RunOutput(RUN, "text")).why == "no opinion"
