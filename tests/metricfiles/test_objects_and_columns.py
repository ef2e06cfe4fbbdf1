"""JSON as programs write it, Victor's own metrics, columns that the user names, and runs that come again."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from victor_autotune_plugin import PerformanceAnalyzer
from victor_autotune_plugin._metricfiles import read_history, read_runs
from victor_autotune_plugin._metricfiles.column_names import rules_of
from victor_autotune_plugin.errors import MetricsError

ROWS: Final[list[dict[str, Any]]] = [
    {
        "team_id": "rev",
        "formation": "sequential",
        "member_count": 3,
        "success": number != 1,
        "duration_seconds": 10.5 + number,
        "total_tool_calls": 4,
        "timestamp": 1_753_000_000 + number,
    }
    for number in range(3)
]


def wrote(tmp_path: Path, data: object, name: str = "runs.json") -> Path:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def seconds(path: Path, **options: Any) -> list[float]:
    found = [run["duration_seconds"] for run in read_runs(path, **options)]
    assert len(read_history(path, **options).history) == len(found)
    return found


WITHOUT_TEAM: Final = [{key: row[key] for key in row if key not in ("team_id", "formation")} for row in ROWS]
OBJECTS: Final[dict[str, str]] = {
    "list": json.dumps(ROWS),
    "lines": "\n".join(map(json.dumps, ROWS)),
    "one after another, indented": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "runs": json.dumps({"runs": ROWS}),
    "runs, indented": json.dumps({"runs": ROWS}, indent=2),
    "beside other things": json.dumps(
        {"version": 1, "timestamp": "2026-01-01T00:00:00Z", "hosts": [{"name": "a"}], "data": ROWS}
    ),
    "inside of two objects": json.dumps({"status": "ok", "result": {"page": 1, "runs": ROWS}}),
    "of one team": json.dumps({"team_id": "rev", "formation": "sequential", "workflow": "w", "runs": WITHOUT_TEAM}),
    "by a name": json.dumps({f"run {number}": row for number, row in enumerate(ROWS)}),
    "a page a line": "\n".join(json.dumps({"runs": [row], "page": 1}) for row in ROWS),
    "in camel case": json.dumps(ROWS).replace("team_id", "teamId").replace("duration_seconds", "durationSeconds"),
}


@pytest.mark.parametrize("form", OBJECTS)
def test_every_object_with_runs_holds_them(tmp_path: Path, form: str) -> None:
    path = wrote(tmp_path, OBJECTS[form])
    assert seconds(path) == [10.5, 11.5, 12.5]
    assert {run["team_id"] for run in read_runs(path)} == {"rev"}


def test_a_bad_run_in_an_object_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    path = wrote(tmp_path, {"runs": [ROWS[0], {**ROWS[1], "success": "perhaps"}, ROWS[2]]})
    with pytest.raises(MetricsError, match=r"runs\[1\]\.success: 'perhaps'"):
        seconds(path)
    reader = read_runs(path, skip_bad=True)
    assert (len(list(reader)), reader.skipped) == (2, 1)


def test_a_run_with_lists_of_its_own_stays_one_run(tmp_path: Path) -> None:
    row = {**ROWS[0], "tools": [{"name": "grep", "success": True}], "members": [{"id": "a", "success": True}]}
    (run,) = read_runs(wrote(tmp_path, json.dumps(row)))
    assert run["tools"] == row["tools"]
    assert [member.id for member in run["members"]] == ["a"]


def victors(number: int, **changes: Any) -> dict[str, Any]:
    """Return a run as `to_dict` of Victor's `TeamExecutionMetrics` gives it."""
    begun = datetime(2026, 1, 31, 12, number, tzinfo=UTC)
    member = {"role": "assistant", "tools_used": ["grep"], "error_message": None, "start_time": None, "end_time": None}
    return {
        "team_id": "review_team",
        "formation": "parallel",
        "member_count": 2,
        "recursion_depth": 1,
        "success": number != 1,
        "duration_seconds": 15.0 + number,
        "member_metrics": {
            "scout": {"member_id": "scout", "success": True, "duration_seconds": 5.0, "tool_calls_used": 8, **member},
            "judge": {
                **member,
                "member_id": "judge",
                "success": False,
                "duration_seconds": 6.5,
                "tool_calls_used": 2,
                "error_message": "secret of the customer",
            },
        },
        "total_tool_calls": 10,
        "unique_tools_used": ["grep"],
        "start_time": begun.isoformat(),
        "end_time": (begun + timedelta(seconds=15)).isoformat(),
        "consensus_achieved": None,
        "consensus_rounds": None,
        **changes,
    }


@pytest.mark.parametrize("form", ["list", "lines", "by team", "one"])
def test_victors_team_execution_metrics_are_runs(tmp_path: Path, form: str) -> None:
    rows = [victors(number) for number in range(1 if form == "one" else 3)]
    data: dict[str, object] = {
        "list": rows,
        "lines": "\n".join(map(json.dumps, rows)),
        "by team": {f"team {number}": row for number, row in enumerate(rows)},
        "one": json.dumps(rows[0], indent=2),
    }
    path = wrote(tmp_path, data[form])
    assert seconds(path) == [15.0 + number for number in range(len(rows))]
    first = next(iter(read_runs(path)))
    assert first["timestamp"] == 1769860800.0
    assert [(m.id, m.success, m.tool_calls, m.duration_seconds) for m in first["members"]] == [
        ("scout", True, 8, 5.0),
        ("judge", False, 2, 6.5),
    ]
    assert "secret" not in str(first)


def test_a_run_of_victors_that_had_not_ended_is_bad(tmp_path: Path) -> None:
    path = wrote(tmp_path, [victors(0), victors(1, end_time=None, duration_seconds=0.0)])
    with pytest.raises(MetricsError, match="end_time: the run had not ended"):
        seconds(path)
    assert len(list(read_runs(path, skip_bad=True))) == 1


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            {"timestamp": "2026-04-20T11:47:45", "components": {"planning_gate": {"enabled": True}}, "aggregates": {}},
            "Victor's report on its optimization components",
        ),
        ({"total_teams_executed": 3, "success_rate": 1.0, "total_tool_calls": 9}, "a summary of Victor's team metrics"),
    ],
)
def test_a_report_of_victors_without_runs_is_told_by_what_it_is(tmp_path: Path, report: object, words: str) -> None:
    for text in (json.dumps(report), json.dumps(report, indent=2)):
        with pytest.raises(MetricsError, match="holds no team runs") as caught:
            seconds(wrote(tmp_path, text, "optimization_metrics.json"))
        assert words in caught.value.message
        assert "TeamExecutionMetrics" in str(caught.value.hint)


OTHERS: Final = [
    {"name": "rev", "took": 1500 + number, "state": "OK" if number else "failed", "meta": {"team": {"size": 3}},
     "begun": "2026-01-31T12:00:00Z", "done": "2026-01-31T12:00:02.500Z", "calls": ["a", "b"], "key": 7}
    for number in range(3)
]  # fmt: skip
RULES: Final = {
    "team_id": "name",
    "formation": "=parallel",
    "member_count": "meta.team.size",
    "success": "state:ok|done",
    "duration_seconds": "took:ms",
    "total_tool_calls": "calls:count",
    "timestamp": "begun",
    "task_key": "state",
}


@pytest.mark.parametrize("form", ["list", "lines", "runs"])
def test_rules_name_columns_units_words_and_constants(tmp_path: Path, form: str) -> None:
    data: dict[str, object] = {"list": OTHERS, "lines": "\n".join(map(json.dumps, OTHERS)), "runs": {"runs": OTHERS}}
    path = wrote(tmp_path, data[form])
    assert seconds(path, columns=RULES) == [1.5, 1.501, 1.502]
    first, second, _ = read_runs(path, columns=RULES)
    assert (first["success"], second["success"]) == (False, True)
    assert (first["team_id"], first["formation"], first["member_count"]) == ("rev", "parallel", 3)
    assert (first["tool_calls"], first["task_key"], first["timestamp"]) == (2, "failed", 1769860800.0)
    assert first["key"] == 7
    (run, *_) = read_runs(path, columns={**RULES, "duration_seconds": "done - begun"})
    assert run["duration_seconds"] == 2.5


def test_rules_hold_for_tables_too(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["name", "took", "state", "meta", "begun"])
        writer.writerow(["007", "1500,5", "OK", '{"team": {"size": 3}}', "2026-01-31T12:00:00Z"])
    (run,) = read_runs(path, columns={**RULES, "total_tool_calls": "=2"})
    assert (run["team_id"], run["duration_seconds"], run["member_count"], run["success"]) == ("007", 1.5005, 3, True)
    path.write_text(path.read_text().replace("meta;", "meta.team.size;").replace('"{""team"": {""size"": 3}}"', "3"))
    (run,) = read_runs(path, columns={**RULES, "total_tool_calls": "=2"})
    assert run["member_count"] == 3
    path.write_text(path.read_text().replace("name;", "meta.name;"))
    (run,) = read_runs(path, columns={**RULES, "total_tool_calls": "=2", "team_id": "meta.name"})
    assert run["team_id"] == "007"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("duration=latency", "'duration' is not a field of a run"),
        ("duration_seconds=latency:parsec", "'parsec' is not a unit"),
        ("team_id=", "team_id has no column"),
        ("member_count==many", "member_count: 'many' is not a number"),
        ("formation==paralel", "Did you mean `parallel`"),
        ("missing.yaml", "can't be read"),
    ],
)
def test_a_rule_that_is_wrong_is_named(entry: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MetricsError) as caught:
        rules_of([entry])
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_file_of_rules_is_yaml_or_json_and_errors_name_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("# of our tool\nteam_id: name\nduration_seconds: took:ms\nformation: =parallel\n")
    assert rules_of([str(path), "success=state:ok"]) == {
        "team_id": "name",
        "duration_seconds": "took:ms",
        "formation": "=parallel",
        "success": "state:ok",
    }
    path.write_text(json.dumps({"team_id": "name"}))
    assert rules_of([str(path)]) == {"team_id": "name"}
    for text, words in (
        ("team_id: name\nteam: x\n", "map.yaml:2: 'team' is not a field"),
        ("team_id: [name]\n", "map.yaml:1: team_id: a list is not a column"),
        ("- team_id\n", "is not a mapping of fields to columns"),
        ("team_id: name\nteam_id: other\n", "map.yaml:2"),
    ):
        path.write_text(text)
        with pytest.raises(MetricsError) as caught:
            rules_of([str(path)])
        assert words in str(caught.value)
    with pytest.raises(MetricsError, match="team_id is given twice"):
        rules_of(["team_id=a", "team_id=b"])


def with_ids(*ids: str | None) -> list[Mapping[str, Any]]:
    return [
        {**ROWS[0], "run_id": name, "duration_seconds": float(place)} if name is not None else ROWS[0]
        for place, name in enumerate(ids)
    ]


def test_a_run_id_counts_once_in_every_form(tmp_path: Path) -> None:
    rows = with_ids("a", "b", "a", "a", "c")
    table = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
    members = [{"id": "m"}]
    for number, text in enumerate(
        (
            json.dumps(rows),
            "\n".join(map(json.dumps, rows)),
            json.dumps({"runs": rows}, indent=1),
            table,
            table.replace(",", ";"),
            json.dumps([{**row, "members": members} for row in rows]),
            json.dumps([{**row, "members": members} if place == 2 else row for place, row in enumerate(rows)]),
            json.dumps(rows).replace("run_id", "runId"),
        )
    ):
        path = wrote(tmp_path, text, f"runs-{number}")
        runs = read_runs(path)
        assert [run["duration_seconds"] for run in runs] == [0.0, 1.0, 4.0]
        filled = read_history(path)
        assert sorted(filled.history.table(("", "rev")).duration.tolist()) == [0.0, 1.0, 4.0]
        assert (runs.repeated, filled.repeated) == (2, 2)


def test_teams_and_runs_without_an_id_are_told_apart(tmp_path: Path) -> None:
    rows = [*with_ids("1", None, None, "1"), {**ROWS[0], "run_id": "1", "team_id": "other"}]
    reader = read_history(wrote(tmp_path, rows))
    assert (len(reader.history), reader.repeated) == (4, 1)


def test_a_run_that_comes_in_two_files_counts_once(tmp_path: Path) -> None:
    analyzer = PerformanceAnalyzer()
    assert analyzer.load_metrics_from_file(wrote(tmp_path, with_ids("a", "b"), "one.json")) == 2
    assert analyzer.load_metrics_from_file(wrote(tmp_path, with_ids("b", "c", "c"), "two.json")) == 1
    assert (analyzer.repeated, analyzer.skipped) == (2, 0)


def test_the_analyzer_takes_rules(tmp_path: Path) -> None:
    analyzer = PerformanceAnalyzer()
    assert analyzer.load_metrics_from_file(wrote(tmp_path, OTHERS), columns=RULES) == 3
    assert analyzer.teams == {("", "rev"): 3}
