"""`doctor` tells the truth, and how to fix what is wrong."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._cli import checks
from victor_autotune_plugin._host import seams
from victor_autotune_plugin._model.run import TokenUse
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.hook_calls import HookStatus
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.simulated import Simulation

from .conftest import Said

DIES_IN_A_RUN = """
import os, sys, time
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._model.run import PlannedRun, RunStart
from victor_autotune_plugin.storage import Store

with Store.open(sys.argv[1]).transaction() as transaction:
    start = RunStart("gone", TeamSpec("flow", "team", "parallel", [MemberSpec("a")]), time.time())
    transaction.start_run(start, PlannedRun())
os._exit(1)
"""


def found(said: Said) -> dict[str, Mapping[str, Any]]:
    return {check["name"]: check for check in said.data["checks"]}


def test_a_sound_project(call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path) -> None:
    project("testing")
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    said = call("doctor")
    assert said.code == 0, said.out
    assert "Everything is as it should be." in said.out
    said = call("doctor", "--json")
    assert said.data["healthy"] is True
    checks = found(said)
    assert all(check["status"] == "ok" for check in checks.values()), checks
    assert importlib.metadata.version("victor-ai") in checks["Victor"]["found"]
    assert checks["interception"]["found"].startswith(f"all {len(seams.health())} seams")
    assert str(tmp_path / ".victor" / "autotune.yaml") in checks["settings"]["found"]
    assert "writable" in checks["store"]["found"]
    assert "1 team," in checks["store"]["found"]
    assert checks["hook packages"]["found"] == "none installed"
    assert {"traces", "metrics"} <= set(checks)


def test_an_empty_project_is_sound_and_stays_empty(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("doctor", "--json")
    assert said.code == 0
    assert "the first run creates it" in found(said)["store"]["found"]
    assert not (tmp_path / ".victor").exists()


def test_a_broken_seam(call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    required = seams.SEAMS[0]
    gone = evolve(required, path="UnifiedTeamCoordinator.execute_everything")
    monkeypatch.setattr(seams, "SEAMS", (gone, *seams.SEAMS[1:]))
    said = call("doctor", "--json")
    assert said.code == 1
    broken = found(said)["seam UnifiedTeamCoordinator.execute_everything"]
    assert broken["status"] == "bad"
    assert "this Victor has no UnifiedTeamCoordinator.execute_everything" in broken["found"]
    assert "no run is intercepted" in broken["found"]
    assert "pip install" in broken["hint"]


def test_wrong_settings(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: atuo\n")
    said = call("doctor", "--json")
    assert said.code == 1
    checks = found(said)
    assert checks["settings"]["status"] == "bad"
    assert checks["settings"]["found"].startswith(".victor/autotune.yaml:1: mode: 'atuo'")
    assert "`auto`" in checks["settings"]["hint"]
    assert checks["store"]["status"] == "warn"
    assert checks["interception"]["status"] == "ok"
    assert "1 check of" in call("doctor").out


def test_settings_that_have_no_effect_any_more_are_listed(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("experiment:\n  rule: pocock\nwatch: {max_runs: 40}\n")
    workflow = workflow_yaml("reviewer", "tester", metadata={"autotune": {"watch": {"alpha": 0.1}}})
    (tmp_path / "flow.yaml").write_text(workflow)
    said = call("doctor", "--json")
    assert said.code == 0
    listed = [one for one in said.data["checks"] if one["name"] == "setting of 0.1"]
    assert [(one["status"], one["found"].partition(" is ")[0]) for one in listed] == [
        ("warn", ".victor/autotune.yaml:2: experiment.rule: 'pocock'"),
        ("warn", ".victor/autotune.yaml:3: watch.max_runs: 40"),
        ("warn", "flow.yaml:8: watch.alpha: 0.1"),
    ]
    assert {one["hint"] for one in listed} == {"Leave the key out."}


def test_a_store_that_cannot_be_reached_hides_its_password(
    call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_AUTOTUNE_DATABASE_URL", "postgresql+psycopg://me:secret@127.0.0.1:1/runs")
    for said in (call("doctor"), call("doctor", "--json")):
        assert said.code == 1
        assert "secret" not in said.out
    store = found(said)["store"]
    assert store["status"] == "bad"
    assert "me:***@127.0.0.1:1/runs" in store["found"]
    assert store["hint"].startswith("Start the server")


def test_a_store_that_is_no_database(call: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.db").write_text("this is text " * 1000)
    said = call("doctor", "--json")
    assert said.code == 1
    assert "not a whole database" in found(said)["store"]["found"]
    assert "mv " in found(said)["store"]["hint"]


def test_lost_runs_and_remembered_faults(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulate(mode="observe").run()
    now = time.time()
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        transaction.record_fault("statistics", ValueError("not kept"), now - 60)
        transaction.record_fault("old thing", "KeyError: x", now - 3 * 24 * 3600)
    subprocess.run([sys.executable, "-c", DIES_IN_A_RUN, default_url(tmp_path)], check=False)
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        assert transaction.mark_lost(0.0) == ("gone",)
    said = call("doctor", "--json")
    assert said.code == 1
    checks = found(said)
    assert checks["lost runs"]["status"] == "warn"
    assert checks["fault in statistics"]["status"] == "bad"
    assert "ValueError (1 time" in checks["fault in statistics"]["found"]
    assert checks["fault in statistics"]["hint"]
    assert checks["fault in old thing"]["status"] == "warn"


def test_hook_packages(call: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good_hooks.py").write_text(
        "from victor_autotune_plugin.hookspecs import hookimpl\n@hookimpl\ndef score_team_run(run):\n    return None\n"
    )
    (tmp_path / "bad_hooks.py").write_text(
        "from victor_autotune_plugin.hookspecs import hookimpl\n@hookimpl\ndef scroe_team_run(run):\n    return None\n"
    )
    package = tmp_path / "my_hooks-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: my-hooks\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[victor_autotune]\ngood = good_hooks\nbad = bad_hooks\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = call("doctor", "--json")
    assert said.code == 1
    checks = found(said)
    assert (checks["hooks good"]["status"], checks["hooks good"]["found"]) == ("ok", "my-hooks")
    assert checks["hooks bad"]["status"] == "bad"
    assert "scroe_team_run" in checks["hooks bad"]["found"]
    assert "pip uninstall my-hooks" in checks["hooks bad"]["hint"]


def test_a_check_that_fails_itself_is_told_and_the_others_go_on(
    call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(checks, "_telemetry", broken)
    said = call("doctor", "--json")
    assert said.code == 1
    assert found(said)["telemetry"]["found"] == "could not be looked at: RuntimeError: out of luck"
    assert found(said)["Victor"]["status"] == "ok"


def test_a_telemetry_provider_is_named(call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    assert found(call("doctor", "--json"))["traces"]["found"] == "opentelemetry.sdk.trace.TracerProvider"


def test_a_hook_that_is_off_is_shown_with_its_times() -> None:
    status = HookStatus("theirs", "plan_team_run", "off", 9, 2, 0.05, 0.25, 240.0, 0.0)
    check = checks.hook_check(status)
    assert (check.name, check.status) == ("hook plan_team_run of 'theirs'", "warn")
    assert check.found == "off: 9 calls, 2 late, last 0.05 s, longest 0.25 s; off for 4 min 00 s more"
    ready = checks.hook_check(HookStatus("theirs", "score_team_run", "ready", 1, 0, 0.01, 0.01, 0.0, 0.0))
    assert (ready.status, ready.hint) == ("ok", None)


def test_hooks_that_were_called_in_this_process_are_shown(
    call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scoring:
        @hookimpl
        def score_team_run(self) -> float:
            return 0.5

    owner = Runtime.__new__(Runtime)
    owner.hooks = HookManager()
    owner.hooks.register(Scoring(), "theirs")
    owner.hooks.ask("score_team_run", 20.0)
    monkeypatch.setattr(runtime, "_runtime", owner)
    assert found(call("doctor", "--json"))["hook score_team_run of 'theirs'"]["status"] == "ok"


def test_where_prices_come_from_and_the_models_without_one(call: Callable[..., Said], tmp_path: Path) -> None:
    team = Simulation(tmp_path, mode="observe")
    for use in (
        TokenUse("gpt-4o", 10, provider="openai"),
        TokenUse("ours", 10, provider="ollama"),
        TokenUse("silent", provider="azure", unreported_calls=1),
    ):
        team.tokens = (use,)
        team.run()
    team.close()
    said = call("doctor", "--json")
    checks = found(said)
    assert [check for check in checks.values() if check["status"] == "bad"] == []
    assert f"genai-prices {importlib.metadata.version('genai-prices')} (newest of 20" in checks["prices"]["found"]
    assert "it has no price" in checks["cost of ours"]["found"]
    assert "azure does not report its tokens" in checks["cost of silent"]["found"]
    assert {check["status"] for name, check in checks.items() if name.startswith("cost of")} == {"warn"}
    assert "cost of gpt-4o" not in checks
    prices = call("status", "--json").data["prices"]
    assert prices["public"].startswith("genai-prices ")
    assert (prices["listed"], prices["as_of"][:2]) == (0, "20")
    (tmp_path / ".victor" / "autotune.yaml").write_text(
        "public_prices: false\nprices: {ours: {input_per_million_usd: 0, output_per_million_usd: 0}}\n"
    )
    checks = found(call("doctor", "--json"))
    assert checks["prices"]["found"] == "1 in the settings; public ones are off"
    assert "cost of ours" not in checks
    assert call("status", "--json").data["prices"] == {"listed": 1, "public": None, "as_of": None}


def test_runs_that_ended_with_their_process_and_were_not_recorded_are_told_apart(
    call: Callable[..., Said], simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    team = simulate(mode="observe")
    team.run()
    team.start()  # what it was is never written
    team.runtime.loop.run_until_idle()
    with Store.open(default_url(tmp_path)) as store:
        with store.transaction() as transaction:
            transaction.end_process(team.runtime.loop.process.id)
            assert len(transaction.mark_lost()) == 1
        assert store.unrecorded_runs() == 1
    checks = found(call("doctor", "--json"))
    assert "lost runs" not in checks
    assert checks["unrecorded runs"]["status"] == "warn"
    assert "settle()" in checks["unrecorded runs"]["hint"]
