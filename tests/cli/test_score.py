"""`score`: what a run was worth, said later, by a person or another tool's export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from victor_autotune_plugin._api.autotuner import PerformanceAutotuner
from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.storage.kept_outputs import KeptOutputs

from .conftest import Said
from .scored_runs import AT, ended, run_id, scores_in, trace_id, write_runs

Call = Callable[..., Said]
JUDGE = Gate("judge", judge="d1")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path) -> None:
    write_runs(tmp_path, [ended(1), ended(2)], gates=[Gate("review", is_external=True), JUDGE])


def lines(folder: Path, *rows: dict[str, Any] | str) -> str:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "scores.jsonl").write_text(text + "\n")
    return "scores.jsonl"


@pytest.mark.parametrize("text", [run_id(1), run_id(1)[:6], trace_id(1), str(UUID(run_id(1))).upper()])
def test_a_run_is_named_by_id_prefix_or_trace_and_what_was_found_is_told(call: Call, tmp_path: Path, text: str) -> None:
    said = call("score", text, "--value", ".8")
    assert said.code == 0, said.err
    assert run_id(1) in said.out
    assert "team team of workflow flow" in said.out
    assert "review 0.8" in said.out
    assert "waits for judge" in said.out
    assert scores_in(tmp_path, 1)["review"].value == 0.8
    assert scores_in(tmp_path, 1)["review"].source == "person"
    assert "was 0.8" in call("score", text, "--value", "1").out
    assert scores_in(tmp_path, 1)["review"].value == 1.0


def test_no_opinion_and_another_name(call: Call, tmp_path: Path) -> None:
    data = call("score", run_id(1), "--no-opinion", "--name", "taste", "--json").data
    assert (data["run_id"], data["name"], data["value"], data["team_id"]) == (run_id(1), "taste", None, "team")
    assert scores_in(tmp_path, 1)["taste"].value is None


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["--value", "1.01"], "--value"),
        (["--value", "nan"], "--value"),
        (["--value", "-.1"], "--value"),
        (["--value", "good"], "--value"),
        ([], "--value"),
        (["--value", "1", "--no-opinion"], "--value"),
        (["--value", "1", "--name", " "], "--name"),
        (["--value", "1", "--name", "judge"], "judge"),
        (["--value", "6", "--scale", "1:5"], "--value"),
        (["--value", "3", "--scale", "1-5"], "--scale"),
        (["--value", "3", "--scale", "2:2"], "--scale"),
        (["--file", "x.jsonl"], "RUN"),
    ],
)
def test_what_is_wrong_is_an_error_and_writes_nothing(
    call: Call, tmp_path: Path, options: list[str], where: str
) -> None:
    said = call("score", run_id(1), *options)
    assert said.code == 2
    assert where in said.err
    assert scores_in(tmp_path, 1) == {}


def test_an_unknown_run_and_an_ambiguous_one_are_errors(call: Call, tmp_path: Path) -> None:
    said = call("score", "abcdef99", "--value", "1")
    assert said.code == 2
    assert "abcdef99" in said.err
    assert "at least 6 characters" in said.err
    assert "history --runs" in said.err
    write_prefix = [ended(0x1234560), ended(0x1234561)]
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        for run in write_prefix:
            transaction.finish_run(run)
    said = call("score", "123456", "--value", "1")
    assert said.code == 2
    assert write_prefix[0].run_id in said.err
    assert write_prefix[1].run_id in said.err


def test_a_scale_says_what_the_number_means(call: Call, tmp_path: Path) -> None:
    assert call("score", run_id(1), "--value", "4", "--scale", "1:5").code == 0
    assert scores_in(tmp_path, 1)["review"].value == 0.75


def test_a_dry_run_writes_nothing(call: Call, tmp_path: Path) -> None:
    assert "Nothing was written" in call("score", run_id(1), "--value", "1", "--dry-run").out
    file = lines(tmp_path, {"run_id": run_id(1), "name": "taste", "value": 1})
    assert call("score", "--file", file, "--dry-run", "--json").data["scores"] == 1
    assert scores_in(tmp_path, 1) == {}


def test_a_rated_output_is_removed(call: Call, tmp_path: Path) -> None:
    kept = KeptOutputs.of(tmp_path)
    kept.keep(run_id(1), "The work.", AT * 2)
    assert call("score", run_id(1), "--value", "1").code == 0
    assert kept.count() == 0


def test_a_file_in_the_own_form(call: Call, tmp_path: Path) -> None:
    file = lines(
        tmp_path,
        {"run_id": run_id(1), "name": "review", "value": 0.4, "source": "person", "at": "2026-11-01T10:00:00Z"},
        {"trace_id": trace_id(2), "name": "tool", "value": True},
        "",
        {"run_id": run_id(2), "value": None},
        {"run_id": "0123456789", "name": "review", "value": 1},
    )
    said = call("score", "--file", file)
    assert said.code == 0, said.err
    assert "Kept 3 scores, 1 of them by people; left out: 1 of runs that this store does not know." in said.out
    review = scores_in(tmp_path, 1)["review"]
    assert (review.value, review.source, review.at) == (0.4, "person", 1_793_527_200.0)
    found = scores_in(tmp_path, 2)
    assert (found["tool"].value, found["tool"].source) == (1.0, "import")
    assert found["review"].value is None


LANGFUSE: dict[str, Any] = {
    "id": "s1", "projectId": "p1", "environment": "default", "traceId": trace_id(1), "sessionId": None,
    "observationId": None, "name": "helpfulness", "value": 0.7, "source": "ANNOTATION", "dataType": "NUMERIC",
    "comment": "fine", "timestamp": "2026-11-01T10:00:00.000Z", "createdAt": "2026-11-01T10:00:01.000Z",
    "updatedAt": "2026-11-01T10:00:01.000Z", "authorUserId": "u1", "configId": None, "queueId": None,
}  # fmt: skip


def test_scores_of_langfuse(call: Call, tmp_path: Path) -> None:
    file = lines(
        tmp_path,
        LANGFUSE,
        {**LANGFUSE, "name": "works", "value": 1, "dataType": "BOOLEAN", "stringValue": "True", "source": "API"},
        {**LANGFUSE, "name": "judge-of-theirs", "value": 0.2, "source": "EVAL"},
        {**LANGFUSE, "observationId": "o1", "name": "one call"},
        {**LANGFUSE, "traceId": "0" * 32},
    )
    data = call("score", "--file", file, "--json").data
    assert (data["scores"], data["people"], data["unknown_runs"], data["parts"]) == (3, 1, 1, 1)
    found = scores_in(tmp_path, 1)
    assert {name: (one.value, one.source) for name, one in found.items()} == {
        "helpfulness": (0.7, "person"),
        "works": (1.0, "import"),
        "judge-of-theirs": (0.2, "import"),
    }
    assert found["works"].at == 1_793_527_200.0


LANGSMITH: dict[str, Any] = {
    "id": str(UUID(int=5)), "created_at": "2026-11-01T10:00:00+00:00", "modified_at": "2026-11-01T10:00:00+00:00",
    "session_id": str(UUID(int=6)), "run_id": str(UUID(int=7)), "trace_id": str(UUID(trace_id(2))),
    "key": "correctness", "score": 0.9, "value": None, "comment": "fine", "correction": None,
    "feedback_source": {"type": "app", "metadata": None},
}  # fmt: skip


def test_feedback_of_langsmith(call: Call, tmp_path: Path) -> None:
    without_trace = {key: value for key, value in LANGSMITH.items() if key != "trace_id"}
    file = lines(
        tmp_path,
        LANGSMITH,
        {**LANGSMITH, "key": "auto", "score": True, "feedback_source": {"type": "model"}},
        {**without_trace, "key": "by run", "run_id": str(UUID(trace_id(2)))},
        without_trace,
    )
    data = call("score", "--file", file, "--json").data
    assert (data["scores"], data["people"], data["unknown_runs"]) == (3, 2, 1)
    found = scores_in(tmp_path, 2)
    assert {name: (one.value, one.source) for name, one in found.items()} == {
        "correctness": (0.9, "person"),
        "auto": (1.0, "import"),
        "by run": (0.9, "person"),
    }


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"run_id": run_id(1), "name": "a", "value": 4}, "value: 4 is not from 0 to 1"),
        ({"run_id": run_id(1), "name": "a", "value": "0.5"}, "value"),
        ({"run_id": run_id(1), "name": "a", "vaule": 1}, "Rename `vaule` to `value`"),
        ({"name": "a", "value": 1}, "run_id: missing"),
        ({"run_id": run_id(1), "name": "judge", "value": 1}, "'judge' is a model as judge"),
        ({"run_id": run_id(1), "name": "", "value": 1}, "name"),
        ({"run_id": run_id(1), "name": "a", "value": 1, "source": "command"}, "source"),
        ({"run_id": run_id(1), "name": "a", "value": 1, "at": "yesterday"}, "at"),
        ({**LANGFUSE, "dataType": "CATEGORICAL", "stringValue": "good"}, "dataType"),
        ({**LANGFUSE, "value": 5}, "--scale"),
        ({**LANGSMITH, "score": None, "value": "good"}, "--skip-bad"),
        ({**LANGSMITH, "score": -1}, "score: -1"),
        ("{", "not JSON"),
        ("[1]", "jq -c"),
        ("7", "not a JSON object"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_told_with_file_line_and_field_or_left_out(
    call: Call, tmp_path: Path, row: dict[str, Any] | str, told: str
) -> None:
    good = {"run_id": run_id(2), "name": "review", "value": 1}
    file = lines(tmp_path, good, row)
    said = call("score", "--file", file)
    assert said.code == 2
    assert "scores.jsonl:2" in said.err
    assert told in said.err.replace("\n", " ")
    assert scores_in(tmp_path, 2) == {}
    data = call("score", "--file", file, "--skip-bad", "--json").data
    assert (data["scores"], data["skipped"]) == (1, 1)
    assert data["errors"][0]["where"] == "scores.jsonl:2"
    assert scores_in(tmp_path, 2)["review"].value == 1.0


def test_a_scale_maps_the_numbers_of_a_file(call: Call, tmp_path: Path) -> None:
    file = lines(tmp_path, {**LANGFUSE, "value": 2}, {**LANGFUSE, "name": "b", "value": 1, "dataType": "BOOLEAN"})
    assert call("score", "--file", file, "--scale", "1:5").code == 0
    assert {name: one.value for name, one in scores_in(tmp_path, 1).items()} == {"helpfulness": 0.25, "b": 1.0}


def test_what_is_no_file_is_an_error(call: Call) -> None:
    assert "x.jsonl" in call("score", "--file", "x.jsonl").err
    assert call("score", "--file", ".").code == 2
    assert "RUN" in call("score").err


def test_scores_complete_the_run(call: Call, tmp_path: Path) -> None:
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        transaction.record_score(Score(run_id(1), "judge", 0.6, "model", AT, judge="d1"))
    said = call("score", run_id(1), "--value", ".8")
    assert "The run's score is 0.70." in said.out


def test_a_program_records_a_score(tmp_path: Path) -> None:
    with PerformanceAutotuner(project=tmp_path) as autotuner:
        told = autotuner.record_score(trace_id(1), 0.5)
        assert (told["run_id"], told["name"], told["value"], told["source"]) == (run_id(1), "review", 0.5, "person")
        assert told["waits_for"] == ["judge"]
        assert autotuner.record_score(run_id(1), None, name="ci", source="command")["value"] is None
        wrong: list[tuple[Any, Any, dict[str, Any]]] = [
            (run_id(1), 2, {}), (run_id(1), "1", {}), (run_id(1), float("nan"), {}), ("nothing", 1, {}), ("", 1, {}),
            (run_id(1), 1, {"name": ""}), (run_id(1), 1, {"source": "model"}), (run_id(1), 1, {"name": "judge"}),
        ]  # fmt: skip
        for run, value, options in wrong:
            with pytest.raises(AutotuneError):
                autotuner.record_score(run, value, **options)
    assert {name: one.value for name, one in scores_in(tmp_path, 1).items()} == {"review": 0.5, "ci": None}


ODD_NAMES = ["a\nb", "\x1b[31mred", "nul\0", "half \ud800", "x" * 201, "  "]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_that_a_store_may_refuse_is_an_error_before_anything_is_kept(
    call: Call, tmp_path: Path, name: str
) -> None:
    said = call("score", run_id(1), "--value", "1", "--name", name)
    assert (said.code, "--name" in said.err) == (2, True)
    good = {"run_id": run_id(1), "name": "review", "value": 1}
    said = call("score", "--file", lines(tmp_path, good, {**good, "name": name}))
    assert (said.code, "scores.jsonl:2" in said.err) == (2, True)
    assert scores_in(tmp_path, 1) == {}


@pytest.mark.parametrize("text", ["\ud800" * 8, "nul\0nul"])
def test_what_no_store_can_look_for_names_no_run(call: Call, tmp_path: Path, text: str) -> None:
    said = call("score", text, "--value", "1")
    assert (said.code, "was recorded" in said.err) == (2, True)
    row = {"run_id": text, "name": "review", "value": 1}
    assert call("score", "--file", lines(tmp_path, row), "--json").data["unknown_runs"] == 1


def test_a_score_of_the_future_is_replaced_by_the_next_one(call: Call, tmp_path: Path) -> None:
    row = {"run_id": run_id(1), "name": "review", "value": 0, "at": "2199-01-01T00:00:00Z"}
    assert call("score", "--file", lines(tmp_path, row)).code == 0
    assert call("score", run_id(1), "--value", "1").code == 0
    assert scores_in(tmp_path, 1)["review"].value == 1.0


def test_the_hint_for_a_time_names_nothing_that_score_does_not_know(call: Call, tmp_path: Path) -> None:
    row = {"run_id": run_id(1), "name": "review", "value": 0, "at": 1e15}
    said = call("score", "--file", lines(tmp_path, row))
    assert (said.code, "Unix seconds" in said.err, "--map" in said.err) == (2, True, False)
