"""Runs on real Victor, scored behind them by what works through Victor; none of what they wrote stays anywhere."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typer.testing import CliRunner

from victor_autotune_plugin._cli.app import app
from victor_autotune_plugin._model.price import Price
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin.quality.rubric import judge_of
from victor_autotune_testing import providers
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, scripts

from .conftest import Plugin

SECRET = "the launch code is 7741"
CHECK = "Does it keep the vow of Ishtar?"
JUDGE: dict[str, object] = {"judge": {"rubric": [CHECK], "samples": 2}}
LINT: dict[str, object] = {"lint": {"victor_verifier": "lint"}}
WRITES = Rule("writes", role="planner", answer=f"{scripts.SATISFIED_ANSWER} {SECRET}")
DIGESTS = ("md5", "sha1", "sha256", "blake2b")
JUDGES = Rule("judges", prompt="numbered list of questions", answer="1: yes", prompt_tokens=100, completion_tokens=10)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("plugin_settings", [{"quality.scorers": JUDGE}], ids=["judge"])
async def test_a_judge_scores_a_run_by_the_runs_own_model_and_nothing_of_what_was_written_stays(
    plugin: Plugin,
    orchestrator: Any,
    scripted: ScriptedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(plugin.runtime.resolver, "price_for", lambda use, at, kept=None: Price(2.0, 10.0))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scripted.script = Script([JUDGES, WRITES])
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with providers.use(tracer_provider=provider), caplog.at_level(logging.DEBUG, "victor_autotune_plugin"):
        await run_workflow(orchestrator, make_workflow(make_step("planner", name="team"), name="flow"))
        (run,) = plugin.stored
    (score,) = plugin.runtime.store().scores_of(run.run_id)
    assert (score.name, score.value, score.source, score.why) == ("judge", 1.0, "model", "")
    assert score.cost_usd == pytest.approx(2 * (100 * 2e-6 + 10 * 1e-5))
    assert score.judge == judge_of(ScorerSettings("judge", "rubric", (CHECK,), samples=2), "openai", "scripted")
    assert score.details["answers"] == [[[1, True]], [[1, True]]]
    assert (run.llm_calls, len(scripted.calls)) == (1, 3)
    log = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("victor_autotune"))
    spans = "\n".join(span.to_json() for span in exporter.get_finished_spans())
    for command in (["export", "--output", "history.jsonl"], ["report", "--output", "report.html"]):
        to = [*command[:-1], str(tmp_path / command[-1]), "--project", str(plugin.runtime.project)]
        done = await asyncio.to_thread(CliRunner().invoke, app, to, prog_name="victor-autotune")
        assert done.exit_code == 0, done.output
    files = contents(tmp_path)
    assert {".db", ".jsonl", ".html"} <= {Path(name).suffix for name in files}
    answer = WRITES.answer.encode()
    digests = [hashlib.new(name, text).hexdigest() for name in DIGESTS for text in (answer, SECRET.encode())]
    for text in (SECRET, CHECK, "numbered list of questions", *digests):
        assert text not in log + spans
        assert not [name for name, content in files.items() if text.encode() in content]


@pytest.mark.parametrize("plugin_settings", [{"quality.scorers": LINT}], ids=["lint"])
async def test_victors_linter_scores_what_a_run_left_in_its_project(
    plugin: Plugin, orchestrator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "ruff"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\ntest -e dirty.py && echo dirty.py:1:1: F401 && exit 1\nexit 0\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/bin:/usr/bin")
    (tmp_path / "dirty.py").touch()  # the plugin's project is where the run works
    reader = InMemoryMetricReader()
    with providers.use(meter_provider=MeterProvider([reader])):
        await run_workflow(orchestrator, make_workflow(make_step("planner", name="team"), name="flow"))
        (run,) = plugin.stored
    (score,) = plugin.runtime.store().scores_of(run.run_id)
    assert (score.value, score.source, score.why) == (0.0, "command", "")
    data: Any = reader.get_metrics_data()
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    (point,) = found["victor.autotune.run.score"].data.data_points
    assert (point.count, point.sum, point.attributes["victor.autotune.scorer"]) == (1, 0.0, "lint")
