"""Runs as frames and Parquet files: every column has the run's value and its type, with either library."""

from __future__ import annotations

import importlib.util
import io
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from attrs import evolve
from pyarrow import parquet

from victor_autotune_plugin._model.plan import EMPTY_PLAN
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_plugin.storage import Store, run_frames
from victor_autotune_testing.stored import finished, planned, start

ROOT = Path(__file__).resolve().parents[2]
PLAIN = evolve(
    finished("plain", started_at=1_700_000_100.0, timed_out=False, cancelled=False, score=0.5),
    plan_asked=EMPTY_PLAN,
    plan_used=EMPTY_PLAN,
    experiment_id=None,
    arm=None,
    phase=None,
    index=None,
    cost_usd=None,
    error_class=None,
    task_key=None,
    parent_id=None,
    members=(),
    tokens=(),
)
FULL = finished("full", phase="test", index=4, stream="0", trace_id="0af7651916cd43dd8448eb211c80319c")


def rows_of_pandas(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row in rows:
        row["started_at"] = row["started_at"] and row["started_at"].to_pydatetime()
    return rows


def as_pandas(runs: Any) -> list[dict[str, Any]]:
    frame = run_frames.frame(runs, "pandas")
    assert isinstance(frame, pd.DataFrame)
    return rows_of_pandas(frame)


def as_polars(runs: Any) -> list[dict[str, Any]]:
    frame = run_frames.frame(runs, "polars")
    assert isinstance(frame, pl.DataFrame)
    return frame.to_dicts()


def as_parquet(runs: Any) -> list[dict[str, Any]]:
    file = io.BytesIO()
    run_frames.write_parquet(runs, file)
    return parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()


def as_parquet_of_polars(runs: Any) -> list[dict[str, Any]]:
    file = io.BytesIO()
    run_frames._polars_frame(runs).write_parquet(file)
    return parquet.read_table(io.BytesIO(file.getvalue())).to_pylist()


every_form = pytest.mark.parametrize("rows", [as_pandas, as_polars, as_parquet, as_parquet_of_polars])


@every_form
def test_a_row_holds_what_the_run_was(rows: Callable[..., list[dict[str, Any]]]) -> None:
    (row,) = rows([FULL])
    assert [*row] == [*run_frames.RUN_COLUMNS]
    assert row["started_at"] == datetime.fromtimestamp(FULL.started_at, UTC)
    assert (row["run_id"], row["workflow"], row["team_id"]) == ("full", *FULL.spec.key)
    assert (row["duration_seconds"], row["cost_usd"]) == (FULL.duration_seconds, FULL.cost_usd)
    assert (row["success"], row["timed_out"]) == (True, True)
    assert (row["arm"], row["phase"], row["experiment_id"]) == ("treatment", "test", "e1")
    assert (row["members"], row["member_count"]) == ("critic,lead", 2)
    assert (row["tool_calls"], row["input_tokens"], row["output_tokens"]) == (4, 1000, 200)
    assert row["models"] == "acme/big,acme/small"
    assert row["plan"] == FULL.plan_asked.describe()
    assert row["timeout_seconds"] == 90.5


@every_form
def test_what_a_run_does_not_have_is_missing_and_not_zero(rows: Callable[..., list[dict[str, Any]]]) -> None:
    (row,) = rows([PLAIN])
    names = ("cost_usd", "arm", "experiment_id", "error_class", "task_key", "formation", "tool_budget", "trace_id")
    assert {name: row[name] for name in names} == dict.fromkeys(names)
    assert (row["plan"], row["score"], row["member_count"]) == ("as configured", 0.5, 0)


@every_form
def test_a_time_beyond_the_calendar_is_missing(rows: Callable[..., list[dict[str, Any]]]) -> None:
    assert rows([evolve(PLAIN, started_at=1e18)])[0]["started_at"] is None


@every_form
def test_many_runs_come_in_their_order(
    rows: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_frames, "_CHUNK", 3)
    runs = [evolve((PLAIN, FULL)[number % 2], run_id=f"r{number}") for number in range(7)]
    assert [row["run_id"] for row in rows(runs)] == [run.run_id for run in runs]


def test_no_runs_make_a_frame_with_typed_columns() -> None:
    with_runs, without = (run_frames.frame(runs, "pandas") for runs in ([FULL], []))
    assert [*without.dtypes] == [*with_runs.dtypes]
    assert without.empty
    assert run_frames.frame([], "polars").schema == run_frames.frame([FULL], "polars").schema
    file = io.BytesIO()
    assert run_frames.write_parquet([], file) == 0
    assert parquet.read_schema(io.BytesIO(file.getvalue())).names == [*run_frames.RUN_COLUMNS]


def test_every_column_is_documented() -> None:
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert [name for name in run_frames.RUN_COLUMNS if f"`{name}`" not in page] == []


def record(store: Store, *runs: Any) -> None:
    with store.transaction() as transaction:
        for run in runs:
            transaction.start_run(start(run.run_id, started_at=run.started_at), planned())
            transaction.finish_run(run)


def test_a_store_gives_its_finished_runs_oldest_first(store: Store) -> None:
    record(store, PLAIN, FULL, evolve(PLAIN, run_id="last", started_at=1_700_000_200.0))
    frame = store.runs_frame(library="pandas")
    assert isinstance(frame, pd.DataFrame)
    assert [*frame["run_id"]] == ["full", "plain", "last"]
    assert [*store.runs_frame(limit=2, library="polars")["run_id"]] == ["plain", "last"]
    assert len(store.runs_frame("another workflow")) == 0
    assert math.isnan(frame["cost_usd"].iloc[-1])


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let libraries look as if they were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(run_frames, "find_spec", lambda name: None if name in names else find(name))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("there", ["pandas", "polars"])
def test_the_frame_is_of_the_library_that_is_there(monkeypatch: pytest.MonkeyPatch, there: str) -> None:
    hide(monkeypatch, *{"pandas", "polars"} - {there})
    assert type(run_frames.frame([FULL])).__module__.startswith(there)


def test_of_both_the_imported_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas")
    assert isinstance(run_frames.frame([FULL]), pl.DataFrame)


def test_without_either_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "pandas", "polars", "pyarrow")
    for needed, call in {
        "a frame needs pandas or polars": lambda: run_frames.frame([FULL]),
        "polars is not installed": lambda: run_frames.frame([FULL], "polars"),
        "Parquet needs pyarrow or polars": lambda: run_frames.write_parquet([FULL], io.BytesIO()),
    }.items():
        with pytest.raises(AutotuneError, match=needed) as caught:
            call()
        assert "pip install" in str(caught.value)


def test_parquet_is_written_with_polars_where_pyarrow_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "pyarrow")
    file = io.BytesIO()
    assert run_frames.write_parquet([FULL, PLAIN], file) == 2
    assert pl.read_parquet(io.BytesIO(file.getvalue()))["run_id"].to_list() == ["full", "plain"]


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(ValueError, match="pandas, polars"):
        run_frames.frame([FULL], "numpy")  # type: ignore[arg-type]
