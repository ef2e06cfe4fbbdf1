"""What reading a metrics file gives, and what it says about a bad one."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._analysis.run_history import RunHistory, row_of
from victor_autotune_plugin._analysis.run_table import RUN_COLUMNS
from victor_autotune_plugin._metricfiles import read_history, read_runs, row_scanning, run_reader
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin.errors import MetricsError

ROW: dict[str, Any] = {
    "team_id": "review",
    "formation": "sequential",
    "member_count": 3,
    "success": True,
    "duration_seconds": 12.5,
    "total_tool_calls": 7,
    "timestamp": 1_760_000_000.0,
}
HOSTILE = ["../../etc/passwd", "a\x00b\x1b[31m", "<script>alert(1)</script>", "[bold red]x[/]", "=1+1", "ü\u202egnirts"]


def wrote(tmp_path: Path, text: str, name: str = "metrics.json") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def as_list(tmp_path: Path, *rows: object) -> Path:
    return wrote(tmp_path, json.dumps(rows, indent=1))


def columns(history: RunHistory) -> dict[str, list[Any]]:
    return {
        f"{key}.{name}": [None if isinstance(x, float) and math.isnan(x) else x for x in column.tolist()]
        for key in history.teams
        for name, column in history.columns(key, RUN_COLUMNS).items()
    }


def test_the_four_forms_hold_the_same_runs(tmp_path: Path) -> None:
    rows = [{**ROW, "duration_seconds": float(n)} for n in range(3)]
    header = ",".join(ROW)
    lines = [",".join("true" if value is True else str(value) for value in row.values()) for row in rows]
    files = [
        as_list(tmp_path, *rows),
        wrote(tmp_path, "\n\n".join(json.dumps(row) for row in rows), "runs.jsonl"),
        wrote(tmp_path, "\ufeff" + "\r\n".join([header, *lines]), "runs.csv"),
    ]
    assert [list(read_runs(path)) for path in files] == [list(read_runs(files[0]))] * 3
    assert [run["duration_seconds"] for run in read_runs(files[0])] == [0.0, 1.0, 2.0]


def test_a_date_is_a_timestamp_and_unknown_fields_are_kept(tmp_path: Path) -> None:
    path = as_list(tmp_path, {**ROW, "timestamp": "2026-01-31T12:00:00Z", "branch": {"name": "main"}})
    (run,) = read_runs(path)
    assert run["timestamp"] == 1769860800.0
    assert {**ROW, **run} == {
        **ROW,
        "timestamp": 1769860800.0,
        "tool_calls": ROW["total_tool_calls"],
        "branch": {"name": "main"},
    }


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("duration_seconds", None, "is missing"),
        ("team_id", None, "is missing"),
        ("success", "maybe", "'maybe'"),
        ("duration_seconds", "fast", "'fast'"),
        ("duration_seconds", -1, "-1"),
        ("duration_seconds", 1e300, "1e+300"),
        ("member_count", 2.5, "2.5"),
        ("total_tool_calls", 10**400, "a huge number"),
        ("timestamp", 1_760_000_000_000.0, "Unix seconds"),
        ("timestamp", "yesterday", "Unix seconds"),
        ("formation", "paralel", "Did you mean `parallel`"),
        ("formation", "", "Known here: sequential, parallel"),
        ("team_id", "  ", "not empty"),
        ("score", 1.5, "of at least 0 and at most 1"),
        ("success", 1, "true or false"),
    ],
)
def test_a_wrong_field_is_named_with_file_line_and_mend(tmp_path: Path, field: str, value: object, words: str) -> None:
    bad = {**ROW, field: value}
    path = wrote(tmp_path, "[\n" + ",\n".join(json.dumps(row) for row in (ROW, ROW, bad, ROW)) + "\n]")
    for read in (lambda: list(read_runs(path)), lambda: read_history(path)):
        with pytest.raises(MetricsError) as caught:
            read()
        assert caught.value.where == f"{path}:4"
        assert caught.value.message.startswith(f"{field}: ")
        assert words in str(caught.value)
        assert caught.value.hint


def test_nan_is_no_duration(tmp_path: Path) -> None:
    path = wrote(tmp_path, f"[{json.dumps({**ROW, 'duration_seconds': math.nan})}]")
    with pytest.raises(MetricsError, match="duration_seconds: nan is not a finite number"):
        read_history(path)
    with pytest.raises(MetricsError, match="duration_seconds: nan is not a finite number"):
        list(read_runs(path))


def test_bad_rows_are_skipped_and_counted_on_request(tmp_path: Path) -> None:
    path = wrote(
        tmp_path, "\n".join([json.dumps(ROW), "{broken", json.dumps({**ROW, "success": None}), "[1]"]), "x.jsonl"
    )
    reader = read_runs(path, skip_bad=True)
    assert len(list(reader)) == 1
    assert reader.skipped == 3
    assert [problem.where for problem in reader.problems] == [f"{path}:{line}" for line in (2, 3, 4)]
    read = read_history(path, skip_bad=True)
    assert (len(read.history), read.skipped) == (1, 3)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[\n{"a": 1},\n{"a": ', 3, "may be cut off"),
        ('[\n{"a": 1}\n{"a": 1}]', 2, "a comma is missing"),
        ('[\n{"a": 1},\n]', 3, "a value is missing"),
        ("[\n", 2, "a value is missing"),
        ('[\n]\n{"a": 1}', 3, "after the end of the list"),
    ],
)
def test_a_list_that_is_no_json_says_from_which_line_on(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = wrote(tmp_path, text.replace('{"a": 1}', json.dumps(ROW)))
    for skip_bad in (False, True):
        with pytest.raises(MetricsError) as caught:
            list(read_runs(path, skip_bad=skip_bad))
        assert caught.value.where == f"{path}:{line}"
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "begins with 'hello'"),
        ("\x00\x01", "is not a metrics file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(MetricsError, match=words):
        list(read_runs(wrote(tmp_path, text)))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match="can't be read"):
        list(read_runs(tmp_path / "missing.json"))
    with pytest.raises(MetricsError, match="is a folder"):
        read_history(tmp_path)
    (tmp_path / "latin.json").write_bytes(b"[\xff\xfe]")
    with pytest.raises(MetricsError, match="is not UTF-8"):
        list(read_runs(tmp_path / "latin.json"))


@pytest.mark.parametrize("text", ["", "[]", " [ ] ", "\n"])
def test_no_runs_are_no_error(tmp_path: Path, text: str) -> None:
    path = wrote(tmp_path, text)
    assert list(read_runs(path)) == []
    assert len(read_history(path).history) == 0


def test_hostile_names_are_kept_and_shown_harmlessly(tmp_path: Path) -> None:
    path = as_list(tmp_path, *({**ROW, "team_id": name} for name in HOSTILE))
    assert [run["team_id"] for run in read_runs(path)] == HOSTILE
    assert [key[1] for key in read_history(path).history.teams] == HOSTILE
    with pytest.raises(MetricsError) as caught:
        list(read_runs(as_list(tmp_path, {**ROW, "formation": "paralel\x1b[2J"})))
    assert "\x1b" not in str(caught.value)


def test_csv_with_a_short_row_a_double_column_or_an_open_quote(tmp_path: Path) -> None:
    header = ",".join(ROW)
    short = wrote(tmp_path, f"{header}\nreview,sequential\n", "a.csv")
    with pytest.raises(MetricsError, match="has 2 cells, and the header has 7") as caught:
        list(read_runs(short))
    assert caught.value.where == f"{short}:2"
    with pytest.raises(MetricsError, match="'team_id' is there twice"):
        list(read_runs(wrote(tmp_path, f"{header},team_id\n", "b.csv")))
    with pytest.raises(MetricsError, match="is not a CSV"):
        list(read_runs(wrote(tmp_path, f'{header}\n"review', "c.csv")))


def test_members_of_a_row_are_checked(tmp_path: Path) -> None:
    members = [{"id": "a", "success": True, "duration_seconds": 3}, {"id": "b", "duration_seconds": -2}]
    with pytest.raises(MetricsError, match=r"members\[1\].duration_seconds: -2 is out of range"):
        list(read_runs(as_list(tmp_path, {**ROW, "members": members})))
    with pytest.raises(MetricsError, match="names a member twice"):
        list(read_runs(as_list(tmp_path, {**ROW, "members": [{"id": "a"}, {"id": "a"}]})))


def test_runs_that_the_plugin_recorded_are_read_and_checked_too(tmp_path: Path) -> None:
    spec = TeamSpec("flow", "review", "sequential", [MemberSpec("a"), MemberSpec("b")])
    outcomes = [MemberOutcome("a", success=True, finished=True, duration_seconds=2.0)]
    recorded = TeamRun("1", spec, 1.7e9, 2.5, True, 1.0, members=outcomes, plan_used=TeamPlan(members=["a"]))
    (facts,) = read_runs(as_list(tmp_path, recorded.to_dict()))
    assert facts == row_of(recorded)
    (loaded,) = read_history(as_list(tmp_path, recorded.to_dict())).history.table(spec.key).members
    assert loaded.duration.tolist() == [2.0]
    with pytest.raises(MetricsError, match=r"duration_seconds: -2\.0 is out of range"):
        list(read_runs(as_list(tmp_path, {**recorded.to_dict(), "duration_seconds": -2})))
    with pytest.raises(MetricsError, match="spec: the run is not as the plugin writes one"):
        list(read_runs(as_list(tmp_path, {**recorded.to_dict(), "spec": 3})))


def test_the_score_of_a_run_that_0_1_recorded_was_its_members_share(tmp_path: Path) -> None:
    spec = TeamSpec("flow", "team", "parallel", [MemberSpec("a")])
    row = TeamRun("1", spec, 1.7e9, 2.5, True, 0.75).to_dict()
    row["score"] = row.pop("member_success_share")
    (run,) = read_runs(as_list(tmp_path, row))
    assert (run.get("score"), run["member_success_share"]) == (None, 0.75)
    (run,) = read_runs(as_list(tmp_path, {**ROW, "score": 0.75}))  # another tool's own score
    assert (run["score"], run.get("member_success_share")) == (0.75, None)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "team_id": st.sampled_from(["a", "b", "}, {", '"},\n{"']),
                "formation": st.sampled_from(["sequential", "parallel", "PARALLEL"]),
                "member_count": st.integers(0, 9),
                "success": st.booleans(),
                "duration_seconds": st.floats(0, 1e6) | st.integers(0, 100),
                "total_tool_calls": st.integers(0, 50) | st.just(4.0),
                "timestamp": st.floats(0, 2e9),
            },
            optional={
                "task_key": st.sampled_from(["x", "y"]),
                "cost_usd": st.floats(0, 9),
                "score": st.floats(0, 1),
                "note": st.text(max_size=5),
                "nested": st.just([{"a": 1}, {"b": 2}]),
                "members": st.just([{"id": "m", "success": True, "duration_seconds": 1.0}]),
            },
        ),
        max_size=12,
    ),
    indent=st.sampled_from([None, 1]),
    chunk=st.integers(20, 4000),
)
def test_the_fast_way_reads_what_the_slow_way_reads(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], indent: int | None, chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("both")
    path = wrote(folder, json.dumps(rows, indent=indent))
    lines = wrote(folder, "".join(json.dumps(row) + "\n" for row in rows), "x.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_scanning, "_CHUNK", chunk)
        slow = list(read_runs(path))
        fast = read_history(path).history
    assert [run["duration_seconds"] for run in slow] == [row["duration_seconds"] for row in rows]
    assert columns(fast) == columns(RunHistory(slow))
    assert columns(read_history(lines).history) == columns(fast)


def test_plain_rows_go_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**ROW, "duration_seconds": n, "task_key": str(n), "cost_usd": 0.5, "note": "x"} for n in range(500)]
    monkeypatch.setattr(run_reader, "run_of_row", lambda row: pytest.fail("a row went the slow way"))
    for path in (as_list(tmp_path, *rows), wrote(tmp_path, "\n".join(map(json.dumps, rows)), "x.jsonl")):
        assert len(read_history(path).history) == 500


further = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.just([1, {"a": "b"}])
rows_of_files = st.fixed_dictionaries(
    {
        "team_id": st.text(min_size=1, max_size=8).filter(str.strip) | st.sampled_from(HOSTILE),
        "formation": st.sampled_from(["sequential", "consensus", "sub_teams"]),
        "member_count": st.integers(0, 9),
        "success": st.booleans(),
        "duration_seconds": st.floats(0, 1e9),
        "total_tool_calls": st.integers(0, 10**12),
        "timestamp": st.floats(0, 2e11),
    },
    optional={
        "workflow": st.sampled_from(["flow", "1"]),
        "score": st.floats(0, 1),
        "cost_usd": st.floats(0, 1e9),
        "input_tokens": st.integers(0, 10**9),
        "timed_out": st.booleans(),
        "error_class": st.just("ValueError"),
        "task_key": st.just("17"),
        "timeout_seconds": st.floats(0.1, 1e6),
        "note": further.filter(lambda value: value is not None),
        "weight": st.integers(),
    },
)


def test_a_key_that_comes_later_is_not_overlooked(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{**ROW, "a\u2028": 1} for _ in range(9)] + [{**ROW, "score": 0.25, "workflow": "w"}]
    for path in (as_list(tmp_path, *rows), wrote(tmp_path, "\n".join(map(json.dumps, rows)), "x.jsonl")):
        history = read_history(path).history
        assert history.teams == {("", "review"): 9, ("w", "review"): 1}
        assert history.columns(("w", "review"), ["score"])["score"].tolist() == [0.25]


def cell(row: dict[str, Any], key: str) -> object:
    """What stands in a CSV: other fields than the known ones are JSON."""
    return json.dumps(row[key]) if key in ("note", "weight") and key in row else row.get(key, "")


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_every_field_of_a_row_is_read_as_it_was_and_unknown_ones_are_kept(
    tmp_path_factory: pytest.TempPathFactory, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("written") / f"runs.{suffix}"

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(rows=st.lists(rows_of_files, max_size=4))
    def check(rows: list[dict[str, Any]]) -> None:
        if suffix == "csv":
            columns = list(dict.fromkeys([*ROW, *(key for row in rows for key in row)]))
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                for row in rows:
                    writer.writerow([cell(row, key) for key in columns])
        else:
            path.write_text(json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows)))
        read = list(read_runs(path))
        assert len(read) == len(rows)
        for run, row in zip(read, rows, strict=True):
            known = {"total_tool_calls": "tool_calls"}
            assert run == {known.get(key, key): value for key, value in row.items()}

    check()


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_bad_row_after_blocks_that_were_taken_whole_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    monkeypatch.setattr(row_scanning, "_CHUNK", 1000)
    rows = [{**ROW, "duration_seconds": float(n), "note": "é"} for n in range(50)]
    path = tmp_path / "metrics.json"

    def write(*, ending: str = "") -> None:
        body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        path.write_text(f"{mark}[\n{body}\n]{ending}", encoding="utf-8")

    write()
    assert read_history(path).history.table(("", ROW["team_id"])).duration.tolist() == [float(n) for n in range(50)]
    write(ending="\n!")
    with pytest.raises(MetricsError, match=r":53: there is '!' after the end"):
        read_history(path)
    rows[40]["success"] = "perhaps"
    write()
    with pytest.raises(MetricsError, match=r":42: success"):
        read_history(path)
    skipping = read_history(path, skip_bad=True)
    assert (len(skipping.history), skipping.skipped) == (49, 1)
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9"))
    with pytest.raises(MetricsError, match="is not UTF-8"):
        read_history(path)
