"""Telemetry in every form that exporters give it is read alike, and what is delivered twice counts once.

`tests/data/otlp/collected.jsonl` was written by the SDK's own exporters: six runs of two members, metrics and logs.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from victor_autotune_plugin._metricfiles import read_history, read_runs
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._telemetry.spans import member_span, team_run_span
from victor_autotune_plugin.errors import MetricsError
from victor_autotune_testing import providers

COLLECTED: Final = (Path(__file__).parents[1] / "data" / "otlp" / "collected.jsonl").read_text()
LINES: Final[list[dict[str, Any]]] = [json.loads(line) for line in COLLECTED.splitlines()]
REQUESTS: Final = [line for line in LINES if "resourceSpans" in line]
RESOURCES: Final = [resource for request in REQUESTS for resource in request["resourceSpans"]]
SCOPES: Final = [scope for resource in RESOURCES for scope in resource["scopeSpans"]]
SPANS: Final = [span for scope in SCOPES for span in scope["spans"]]


def in_lines(values: list[Any]) -> str:
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values)


def pretty(values: list[Any]) -> str:
    return "\n".join(json.dumps(value, indent=2) for value in values) + "\n"


def snake(value: Any) -> Any:
    """Name everything as the protocol buffers do."""
    if isinstance(value, dict):
        return {re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).lower(): snake(held) for key, held in value.items()}
    return [snake(held) for held in value] if isinstance(value, list) else value


def with_numbers(value: Any) -> Any:
    """Write 64-bit integers as numbers, as some encoders do."""
    if isinstance(value, dict):
        return {key: int(held) if key == "intValue" else with_numbers(held) for key, held in value.items()}
    return [with_numbers(held) for held in value] if isinstance(value, list) else value


FORMS: Final[dict[str, str | bytes]] = {
    "lines of a collector, with metrics and logs": COLLECTED,
    "logs first": in_lines(sorted(LINES, key=lambda line: "resourceLogs" not in line)),
    "one request": json.dumps({"resourceSpans": RESOURCES}),
    "one request, indented": json.dumps({"resourceSpans": RESOURCES}, indent=4),
    "resource after spans": in_lines([{"resourceSpans": [dict(reversed(one.items())) for one in RESOURCES]}]),
    "list of requests": json.dumps(LINES),
    "list of requests, indented": json.dumps(LINES, indent=2),
    "requests one after another, indented": pretty(LINES),
    "requests one after another in a line": "".join(map(json.dumps, LINES)),
    "lines without wrapper": in_lines(RESOURCES),
    "list without wrapper": json.dumps(RESOURCES),
    "lines of scopes": in_lines(SCOPES),
    "lines of spans": in_lines(SPANS),
    "snake case": in_lines(snake(LINES)),
    "snake case, indented": json.dumps(snake({"resourceSpans": RESOURCES}), indent=1),
    "snake case without wrapper": in_lines(snake(RESOURCES)),
    "numbers as numbers": in_lines(with_numbers(REQUESTS)),
    "scopes by their old name": COLLECTED.replace('"scopeSpans"', '"instrumentationLibrarySpans"'),
    "packed": gzip.compress(COLLECTED.encode()),
    "byte order mark": b"\xef\xbb\xbf" + COLLECTED.encode(),
    "line ends of Windows": COLLECTED.replace("\n", "\r\n"),
    "UTF-16": COLLECTED.encode("utf-16"),
}


@pytest.fixture
def wrote(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def wrote(text: str | bytes, name: str = "traces") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return wrote


Wrote = Callable[..., Path]


def expected() -> list[tuple[Any, ...]]:
    return [
        (f"run-{number}", number != 3, 2.5 + number, [("scout", 1.25 + number), ("judge", 1.5)]) for number in range(6)
    ]


def told(path: Path) -> list[tuple[Any, ...]]:
    return sorted(
        (run["run_id"], run["success"], run["duration_seconds"], [(m.id, m.duration_seconds) for m in run["members"]])
        for run in read_runs(path)
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_request_holds_the_same_runs(wrote: Wrote, form: str) -> None:
    path = wrote(FORMS[form])
    assert told(path) == expected()
    history = read_history(path).history
    assert history.teams == {("review", "reviewers"): 6}
    assert all(run["timestamp"] > 1.7e9 for run in read_runs(path))
    assert {run["formation"] for run in read_runs(path)} == {"consensus"}
    assert {(run["tool_budget"], run["cost_usd"], run["member_success_share"]) for run in read_runs(path)} == {
        (9, 0.25, 0.5)
    }


def test_what_has_a_long_resource_is_told_by_its_keys(wrote: Wrote) -> None:
    long = {"key": "process.command_line", "value": {"stringValue": "x" * 200_000}}
    resources = [{**one, "resource": {"attributes": [long]}} for one in RESOURCES]
    assert told(wrote(in_lines([{"resource": one["resource"], **one} for one in resources]))) == expected()


@pytest.mark.parametrize("form", ["list of requests", "one request, indented", "requests one after another, indented"])
def test_what_is_delivered_twice_counts_once_and_is_counted(wrote: Wrote, form: str) -> None:
    text = str(FORMS[form])
    path = wrote(f"[{text[1:-1]},{text[1:-1]}]" if text.startswith("[") else text + text)
    assert told(path) == expected()
    runs = read_runs(path)
    assert len(list(runs)) == 6
    for reader in (runs, read_history(path)):
        assert (reader.repeated, reader.skipped) == (6, 0)


def test_a_batch_that_is_sent_again_before_the_run_is_whole_counts_once(wrote: Wrote) -> None:
    path = wrote(in_lines([one for request in REQUESTS for one in (request, request)]))
    assert told(path) == expected()


def test_a_member_that_works_again_counts_with_its_last_span_in_any_order(wrote: Wrote) -> None:
    def again(span: dict[str, Any], seconds: float) -> dict[str, Any]:
        attributes = [
            {**one, "value": {"doubleValue": seconds}} if one["key"] == "victor.autotune.duration" else one
            for one in span["attributes"]
        ]
        return {**span, "spanId": "00000000000000ff", "attributes": attributes}

    first = SPANS[0]
    assert first["name"] == "invoke_agent scout"
    for spans in ([first, again(first, 9.0), *SPANS[1:]], [again(first, 9.0), *SPANS]):
        found = {run["run_id"]: run for run in read_runs(wrote(in_lines(spans)))}
        assert len(found) == 6
        assert [(m.id, m.duration_seconds) for m in found["run-0"]["members"]] == [("scout", 9.0), ("judge", 1.5)]


def console(runs: int) -> str:
    """Return what the exporters of `docs/telemetry.md` print."""
    out = io.StringIO()
    spec = TeamSpec("review", "reviewers", "parallel", [MemberSpec("scout", "researcher")])
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
    meters = MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter(out=out))])
    with providers.use(tracer_provider=tracers):
        for number in range(runs):
            member = MemberOutcome("scout", "researcher", True, True, 1.0, models=["m-1"])
            used = TeamPlan(formation="parallel", members=["scout"])
            run = TeamRun(f"run-{number}", spec, 0.0, 2.0, True, 1.0, plan_used=used, members=[member])
            with team_run_span(spec, run_id=run.run_id, mode="auto", plan=run.plan_used) as span:
                with member_span("scout", "researcher", team=span) as inner:
                    inner.finish(member)
                span.finish(run)
            meters.get_meter("application").create_counter("requests").add(1)
            meters.force_flush()
    meters.shutdown()
    return out.getvalue()


def test_what_the_console_exporter_prints_holds_runs(wrote: Wrote) -> None:
    text = console(3)
    assert '"trace_id": "0x' in text
    assert '"resource_metrics"' in text
    # What else the program prints may stand before, between and after.
    noisy = "Loading [3 models] …\n" + text.replace("}\n{", "}\nrun 1 of 3: ok, {fast}\n[INFO] next\n{") + "\n3 runs.\n"
    for form in (text, noisy, gzip.compress(text.encode())):
        runs = list(read_runs(wrote(form)))
        assert [(run["run_id"], run["formation"], run["success"]) for run in runs] == [
            (f"run-{number}", "parallel", True) for number in range(3)
        ]
        assert all(run["timestamp"] > 1.7e9 and [m.id for m in run["members"]] == ["scout"] for run in runs)


def test_console_spans_in_one_line_each_hold_runs(wrote: Wrote) -> None:
    values, decode, text = [], json.JSONDecoder().raw_decode, console(3)
    while text := text.strip():
        value, end = decode(text)
        values.append(value)
        text = text[end:]
    assert len(list(read_runs(wrote(in_lines(values))))) == 3


def test_a_request_that_is_cut_off_is_named_by_its_line_and_the_others_are_read(wrote: Wrote) -> None:
    first, *others = pretty(REQUESTS).split("\n{\n")
    cut = "\n{\n".join([first, others[0][:500] + "\n", *others[1:]])
    line = first.count("\n") + 2
    with pytest.raises(MetricsError, match="is not JSON") as caught:
        list(read_runs(wrote(cut)))
    assert str(caught.value.where).endswith(f":{line}")
    reader = read_runs(wrote(cut), skip_bad=True)
    assert 0 < len(list(reader)) < 6
    assert reader.skipped == 1


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (gzip.compress(COLLECTED.encode())[:-30], "can't be unpacked"),
        (b"PK\x03\x04rest of a workbook", "is a workbook"),
        (b"PAR1rest", "is a Parquet file"),
        (b"\x28\xb5\x2f\xfdrest", "is compressed with zstd"),
        (b"SQLite format 3\x00", "is an SQLite database"),
    ],
)
def test_what_is_no_text_is_told_by_what_it_is(wrote: Wrote, begin: bytes, words: str) -> None:
    with pytest.raises(MetricsError, match=words) as caught:
        list(read_runs(wrote(begin)))
    assert caught.value.hint
