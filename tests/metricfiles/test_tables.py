"""Tables as spreadsheet programs, databases and data frames write them are read alike."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._metricfiles import read_history, read_runs
from victor_autotune_plugin._metricfiles.csv_tables import plain_number
from victor_autotune_plugin._values.nodes import WrongValueError
from victor_autotune_plugin.errors import MetricsError

FIELDS: Final = ("team_id", "workflow", "formation", "member_count", "success", "duration_seconds", "total_tool_calls",
                 "timestamp", "cost_usd", "note")  # fmt: skip
SECONDS: Final = (51.0, 56.16, 1234.5, 0.25)
ROWS: Final[list[list[Any]]] = [
    ["rev", "wf", "sequential", 5, n != 1, seconds, 1000 + n, 1_753_000_000 + n, 0.5, f'a "b"\n;,{n}']
    for n, seconds in enumerate(SECONDS)
]


def table(**options: Any) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, **options)
    writer.writerow(FIELDS)
    writer.writerows(ROWS)
    return out.getvalue()


def with_comma(text: str, *, grouped: bool = False) -> str:
    """Write the numbers as a program does whose decimal sign is a comma."""
    for seconds in SECONDS:
        text = text.replace(str(seconds), f"{seconds:,}".translate(str.maketrans(",.", ".," if grouped else " ,")))
    return text.replace(";0.5;", ";0,5;").replace("\t0.5\t", "\t0,5\t").replace("1 234", "1234")


class Excel(csv.excel):
    """Excel where the comma is the decimal sign."""

    delimiter = ";"


FORMS: Final[dict[str, str | bytes]] = {
    "comma": table(),
    "line ends of Unix": table(lineterminator="\n"),
    "all quoted, as LibreOffice can": table(quoting=csv.QUOTE_ALL),
    "text quoted": table(quoting=csv.QUOTE_NONNUMERIC),
    "semicolon": table(dialect=Excel),
    "semicolon and decimal comma": with_comma(table(dialect=Excel)),
    "semicolon, decimal comma, groups": with_comma(table(dialect=Excel), grouped=True),
    "semicolon, decimal comma, groups by space": with_comma(table(dialect=Excel)).replace("1234,5", "1 234,5"),
    "groups by a narrow space": table().replace("1234.5", "1\u202f234.5"),
    "groups by an apostrophe": table().replace("1234.5", "1'234.5"),
    "groups, quoted": table().replace("1234.5", '"1,234.5"').replace(",1001,", ',"1,001",'),
    "tab": table(dialect=csv.excel_tab),
    "tab and decimal comma": with_comma(table(dialect=csv.excel_tab)),
    "bar": table(delimiter="|"),
    "sep line": "sep=,\r\n" + table(),
    "sep line of another delimiter": "sep=;\r\n" + table(dialect=Excel),
    "sep line of a rare delimiter": "sep=^\n" + table(delimiter="^"),
    "quoted sep line": '"sep=;"\r\n' + with_comma(table(dialect=Excel)),
    "byte order mark": b"\xef\xbb\xbf" + table().encode(),
    "Unicode text of Excel": table(dialect=csv.excel_tab).encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + table().encode("utf-16-be"),
    "packed": gzip.compress(table().encode()),
    "flags of a spreadsheet": table().replace("True", "TRUE").replace("False", "FALSE"),
    "flags in German": with_comma(table(dialect=Excel)).replace("True", "WAHR").replace("False", "FALSCH"),
    "flags in French": with_comma(table(dialect=Excel)).replace("True", "VRAI").replace("False", "FAUX"),
    "flags of a database": table().replace("True", "t").replace("False", "f"),
    "flags as numbers": table().replace("True", "1").replace("False", "0"),
    "empty rows and columns": table(lineterminator=",,\r\n") + ",,,,,,,,,,,\r\n\r\n",
    "names for people": table().replace("team_id", "Team ID").replace("total_tool_calls", "Total tool calls"),
    "names of a program": table().replace("team_id", "teamId").replace("duration_seconds", "durationSeconds"),
    "formations of an enumeration": table().replace("sequential", "TeamFormation.SEQUENTIAL"),
}


def wrote(tmp_path: Path, text: str | bytes, name: str = "runs.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", ["runs.csv", "runs.tsv", "runs.txt", "runs"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_holds_the_same_runs(tmp_path: Path, form: str, name: str) -> None:
    path = wrote(tmp_path, FORMS[form], name)
    runs = list(read_runs(path))
    assert [run["duration_seconds"] for run in runs] == list(SECONDS)
    assert [run["tool_calls"] for run in runs] == [1000, 1001, 1002, 1003]
    assert [run["success"] for run in runs] == [True, False, True, True]
    assert {(run["team_id"], run["workflow"], run["formation"], run["cost_usd"]) for run in runs} == {
        ("rev", "wf", "sequential", 0.5)
    }
    assert [run["note"] for run in runs] == [row[-1] for row in ROWS]
    assert read_history(path).history.table(("wf", "rev")).duration.tolist() == list(SECONDS)


def short(duration: str, value: str, *, when: str = "timestamp", at: str = "1753000000", delimiter: str = ",") -> str:
    header = ["team_id", "formation", "member_count", "success", duration, "tool_calls", when]
    return "\n".join(delimiter.join(cells) for cells in (header, ["rev", "parallel", "3", "true", value, "4", at]))


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("duration_ms", "56160", 56.16),
        ("latency_ms", "56160", 56.16),
        ("Latency (ms)", "1500.5", 1.5005),
        ("durationMs", "250", 0.25),
        ("elapsed_us", "1500000", 1.5),
        ("duration_ns", "2500000000", 2.5),
        ("latency_seconds", "2.5", 2.5),
        ("duration_s", "2.5", 2.5),
        ("duration [sec]", "2.5", 2.5),
        ("duration_minutes", "1.5", 90.0),
    ],
)
def test_a_duration_has_the_unit_that_its_name_says(tmp_path: Path, name: str, value: str, seconds: float) -> None:
    (run,) = read_runs(wrote(tmp_path, short(name, value)))
    assert run["duration_seconds"] == seconds


@pytest.mark.parametrize(
    ("name", "at", "seconds"),
    [
        ("timestamp", "2026-01-31T12:00:00Z", 1769860800.0),
        ("timestamp", "2026-01-31 12:00:00", 1769860800.0),
        ("timestamp", "2026-01-31 13:00:00+01", 1769860800.0),
        ("timestamp", "2026-01-31T13:00:00.000000000+01:00", 1769860800.0),
        ("timestamp", "2026-01-31 12:00:00 UTC", 1769860800.0),
        ("timestamp", "31.01.2026 12:00", 1769860800.0),
        ("start_time", "2026-01-31T12:00:00Z", 1769860800.0),
        ("Started At", "2026-01-31T12:00:00Z", 1769860800.0),
        ("timestamp_ms", "1769860800500", 1769860800.5),
        ("start_time_unix_nano", "1769860800000000000", 1769860800.0),
    ],
)
def test_a_time_may_have_a_zone_and_a_unit(tmp_path: Path, name: str, at: str, seconds: float) -> None:
    (run,) = read_runs(wrote(tmp_path, short("duration_seconds", "1", when=name, at=at)))
    assert run["timestamp"] == seconds


@pytest.mark.parametrize(
    ("cell", "decimal", "number"),
    [
        ("51,0", None, "51.0"),
        ("0,512", None, "0.512"),
        ("1234,567", None, "1234.567"),
        ("1,234.5", None, "1234.5"),
        ("1.234,5", None, "1234.5"),
        ("1,234,567", None, "1234567"),
        ("1.234.567", None, "1234567"),
        ("1,234", ".", "1234"),
        ("1,234", ",", "1.234"),
        ("1.234", ",", "1234"),
        ("1.234", ".", "1.234"),
        ("1.234", None, "1.234"),
        ("-5,5", None, "-5.5"),
        ("1 234 567,5", None, "1234567.5"),
        ("1’234", None, "1234"),
        ("2026-01-31T12:00:00,5", ",", "2026-01-31T12:00:00,5"),
        ("fast", ",", "fast"),
    ],
)
def test_a_number_is_read_where_it_can_mean_but_one(cell: str, decimal: str | None, number: str) -> None:
    assert plain_number(cell, decimal) == number


def test_a_number_that_may_be_two_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(WrongValueError, match=r"'1,234' may be 1\.234 or 1234"):
        plain_number("1,234", None)
    path = wrote(tmp_path, short("duration_seconds", '"12,345"'))
    with pytest.raises(MetricsError, match=r"duration_seconds: '12,345' may be 12\.345 or 12345") as caught:
        list(read_runs(path))
    assert caught.value.where == f"{path}:2"
    # A semicolon stands between cells where the comma is the decimal sign; elsewhere the other numbers tell.
    (run,) = read_runs(wrote(tmp_path, short("duration_seconds", "12,345", delimiter=";")))
    assert run["duration_seconds"] == 12.345
    row = "rev,parallel,3,true,7.5,4,1753000000"
    first, _ = read_runs(wrote(tmp_path, f"{short('duration_seconds', chr(34) + '12,345' + chr(34))}\n{row}"))
    assert first["duration_seconds"] == 12345.0


@given(st.floats(0, 1e6).map(lambda value: round(value, 2)), st.sampled_from([",", "."]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_number_survives_either_way_of_writing_it(value: float, decimal: str) -> None:
    grouped = f"{value:,.2f}"
    if decimal == ",":
        grouped = grouped.translate(str.maketrans(",.", ".,"))
    assert float(plain_number(grouped, decimal)) == value


def test_an_error_says_which_columns_were_found(tmp_path: Path) -> None:
    path = wrote(tmp_path, "name;latency;calls\nrev;12,5;3\n")
    with pytest.raises(MetricsError, match="team_id: is missing; the columns are name, latency, calls") as caught:
        list(read_runs(path))
    assert "--map team_id=COLUMN" in str(caught.value.hint)
    with pytest.raises(MetricsError, match="duration_seconds: is missing") as caught:
        list(read_runs(wrote(tmp_path, short("latency", "12"))))
    assert "--map duration_seconds=latency:ms" in str(caught.value.hint)


def test_cells_that_a_program_leaves_out_at_the_end_of_a_row_are_empty(tmp_path: Path) -> None:
    text = short("duration_seconds", "1").replace("timestamp", "timestamp,score,note") + "\n"
    for ending in ("", ",0.5", ",0.5,x", ",,", ",0.5,x,,"):
        (run,) = read_runs(wrote(tmp_path, text.replace("1753000000", f"1753000000{ending}")))
        assert run.get("score") == (0.5 if "0.5" in ending else None)
    with pytest.raises(MetricsError, match="has 10 cells, and the header has 9"):
        list(read_runs(wrote(tmp_path, text.replace("1753000000", "1753000000,,,x"))))


def test_what_stands_for_nothing_in_a_column_of_numbers_is_absent(tmp_path: Path) -> None:
    text = short("duration_seconds", "1").replace("timestamp", "timestamp,score")
    for nothing in ("NULL", "N/A", "NaN", "-", "\\N"):
        (run,) = read_runs(wrote(tmp_path, text.replace("1753000000", f"1753000000,{nothing}")))
        assert "score" not in run
