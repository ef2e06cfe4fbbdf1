"""The command line on real Victor.

Each command that runs Victor is started once or more as a process, as people start it. A process takes seconds to load
Victor, so what comes after a start is tested in this one, on the orchestrator that all tests share.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from victor_autotune_plugin._cli import comparison, runner
from victor_autotune_plugin._host.workflows import settle
from victor_autotune_plugin.storage import Store, default_url, pruning
from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.sandbox import Sandbox
from victor_autotune_testing.scripted import ScriptedModel, scripts

from .conftest import Said

pytestmark = pytest.mark.victor

Process = Callable[..., subprocess.CompletedProcess[str]]
MODEL = ("--provider", "openai", "--model", "scripted")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.yaml").write_text(
        workflow_yaml("researcher", "planner", formation="sequential", metadata={"autotune": {"mode": "auto"}})
    )
    return tmp_path


@pytest.fixture
def on_victor(orchestrator: Any, call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Call the command line in `tmp_path` with `--json`, and return the data; runs are on the shared orchestrator."""

    async def make_orchestrator(*_: object) -> Any:
        return orchestrator

    async def release(_: Any) -> None:
        await settle()

    for module in (runner, comparison):
        monkeypatch.setattr(module, "make_orchestrator", make_orchestrator)
    monkeypatch.setattr(runner, "release", release)

    def on_victor(*argv: str) -> Any:
        said = call(*argv, "--json")
        assert said.code == 0, said.err + said.out
        return said.data

    return on_victor


def test_victor_lists_the_plugin_and_has_the_command(victor_process: Process, sandbox: Sandbox) -> None:
    listed = victor_process("victor", "plugin", "list")
    assert listed.returncode == 0, listed.stderr
    assert "autotune" in listed.stdout
    assert "Traceback" not in listed.stdout + listed.stderr
    assert (sandbox.home / ".victor" / "cache" / "entrypoints.json").exists()
    helped = victor_process("victor", "autotune", "run", "--help")
    assert helped.returncode == 0, helped.stderr
    words = " ".join(helped.stdout.split())
    assert "autotune run [OPTIONS] WORKFLOW.yaml" in words
    assert "autotune run review.yaml --runs 20" in words


def test_victor_runs_a_team_workflow(victor_process: Process, folder: Path) -> None:
    done = victor_process("victor", "autotune", "run", "flow.yaml", "--runs", "2", *MODEL, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert (data["runs_done"], data["runs_failed"]) == (2, 0)
    assert [team["mode"] for run in data["runs"] for team in run["teams"]] == ["auto", "auto"]
    assert "run 2 of 2: ok" in done.stderr
    assert "embedding" not in done.stderr  # what Victor logs while a team runs
    status = victor_process("victor-autotune", "status", "--json", cwd=folder)
    assert status.returncode == 0, status.stderr
    team = json.loads(status.stdout)["teams"][0]
    assert (team["workflow"], team["team_id"], team["runs"], team["success_rate"]) == ("workflow", "team", 2, 1.0)
    doctor = victor_process("victor", "autotune", "doctor", "--json", cwd=folder)
    assert doctor.returncode == 0, doctor.stdout
    checks = {check["name"]: check["found"] for check in json.loads(doctor.stdout)["checks"]}
    assert checks["plugin"] == "loaded by Victor"


def test_a_model_that_is_down_is_named_with_the_next_step(victor_process: Process, folder: Path) -> None:
    nowhere = ("--base-url", "http://user:secret@127.0.0.1:9/v1?key=secret")
    done = victor_process("victor", "autotune", "run", "flow.yaml", *MODEL, *nowhere, cwd=folder)
    assert done.returncode == 1
    assert "run 1 failed: team team: MemberError: the model never answered" in done.stdout
    assert "Check that the model's server is up at http://127.0.0.1:9/v1, and the API key." in done.stdout
    assert "--verbose" in done.stdout
    assert "secret" not in done.stdout


SEVERAL = """\
workflows:
  broken: {nodes: [{id: b, type: team, formation: paralel, members: [{id: one}]}]}
  sound:
    nodes:
      - {id: prep, type: agent, role: executor, goal: "Prepare the review of ${REPO:-no-repo}", next: [team]}
      - id: team
        type: team
        name: Team for ${REPO:-no-repo}
        goal: Review the code of ${REPO:-no-repo}, $env.REPO
        timeout_seconds: ${TEAM_TIMEOUT:-50}
        output_key: result_${REPO:-no-repo}
        members:
          - {id: one, role: reviewer, goal: "Look at ${REPO:-no-repo}", tools: [read]}
          - {id: two, role: researcher, goal: Read it, tools: [read]}
"""


def test_variables_reach_the_model_and_a_sound_workflow_runs_beside_a_broken_one(
    victor_process: Process, tmp_path: Path
) -> None:
    (tmp_path / "several.yaml").write_text(SEVERAL)
    with ScriptedModel(keep_bodies=True) as model:
        options = (*MODEL, "--base-url", model.base_url, "--json")
        asked = ("victor-autotune", "run", "several.yaml", "--workflow", "sound", *options)
        done = victor_process(*asked, cwd=tmp_path, env={"REPO": "our-shop", "TEAM_TIMEOUT": "40"})
        prompts = [json.dumps(call.body) for call in model.calls]
    assert done.returncode == 0, done.stderr
    assert "several.yaml:2: team step 'b': unknown formation 'paralel'" in done.stderr
    assert "several.yaml:13, several.yaml:14: the key `tools` of a member has no effect" in done.stderr
    (team,) = json.loads(done.stdout)["runs"][0]["teams"]
    assert team["spec"]["timeout_seconds"] == 40
    assert "Prepare the review of our-shop" in prompts[0]
    assert sum("Review the code of our-shop, our-shop" in prompt for prompt in prompts) == 2
    assert not any("${REPO" in prompt or "no-repo" in prompt for prompt in prompts)


def test_a_failing_model_ends_with_code_1_and_without_victors_noise(
    victor_process: Process, scripted: ScriptedModel, folder: Path
) -> None:
    scripted.script = scripts.failing(400)
    done = victor_process("victor-autotune", "run", "flow.yaml", *MODEL, cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "run 1 failed: team team:" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 5, done.stderr


def test_ctrl_c_in_the_middle_of_a_run(sandbox: Sandbox, scripted: ScriptedModel, folder: Path) -> None:
    scripted.script = scripts.succeed_at_once(0.05)
    process = subprocess.Popen(
        sandbox.command(["victor-autotune", "run", "flow.yaml", "--runs", "500", *MODEL, "--json"]),
        env=sandbox.environment(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if line.startswith("run 2 of 500"):
                break
        scripted.script = scripts.succeed_at_once(30.0)
        deadline = time.monotonic() + 60
        while not scripted.in_flight:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    data = json.loads(out)
    assert data["interrupted"] is True
    assert data["runs_done"] >= 2
    assert data["runs_failed"] == 0
    with Store.open(default_url(folder)) as store:
        runs = list(store.runs())
        assert store.counts()["runs_running"] == 0
    assert sum(not run.cancelled for run in runs if run.status == "finished") == data["runs_done"]
    assert sum(run.cancelled for run in runs if run.status == "finished") == len(runs) - data["runs_done"]


def test_a_benchmark_on_real_victor_finds_the_faster_formation(
    victor_process: Process, scripted: ScriptedModel, tmp_path: Path
) -> None:
    scripted.script = scripts.succeed_at_once(0.15)
    members = ("researcher", "planner", "researcher", "planner")
    (tmp_path / "old.yaml").write_text(workflow_yaml(*members, formation="sequential"))
    (tmp_path / "new.yaml").write_text(workflow_yaml(*members, formation="parallel"))
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text("experiment: {success_margin: 0.5}\n")
    files = ("--before", "old.yaml", "--after", "new.yaml", "--runs", "10")
    done = victor_process("victor-autotune", "benchmark", *files, *MODEL, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["status"] == "passed", data["reason"]
    assert data["treatment"]["median_seconds"] < data["control"]["median_seconds"]
    assert data["failures"] == []
    assert done.stderr.count(": ok") + done.stderr.count(", ok") == len(data["observations"]) <= 20
    assert not (tmp_path / ".victor" / "autotune.db").exists()


def test_a_plan_is_applied_validated_and_taken_back_on_real_victor(
    victor_process: Process, on_victor: Callable[..., Any], scripted: ScriptedModel, tmp_path: Path
) -> None:
    scripted.script = scripts.succeed_at_once(0.15)
    members = ("researcher", "planner", "researcher", "planner")
    metadata = {"autotune": {"mode": "suggest", "experiment": {"success_margin": 0.5}}}
    (tmp_path / "flow.yaml").write_text(workflow_yaml(*members, formation="sequential", metadata=metadata))

    on_victor("run", "flow.yaml", "--runs", "6")
    applied = on_victor("apply", "team", "--auto", "--strategies", "formation_selection")
    assert [one["validation_status"] for one in applied["results"]] == ["skipped"]
    done = victor_process("victor-autotune", "validate", "flow.yaml", "--runs", "10", *MODEL, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    validated = json.loads(done.stdout)
    assert validated["plan"] == {"formation": "parallel"}
    assert validated["status"] == "passed", validated["reason"]
    on_victor("rollback", "team")
    ran = on_victor("run", "flow.yaml")
    assert ran["runs"][0]["teams"][0]["plan_used"]["formation"] == "sequential"


def test_a_log_of_runs_has_a_line_for_each_of_them_and_no_escapes(
    sandbox: Sandbox, scripted: ScriptedModel, folder: Path
) -> None:
    assert scripted
    done = subprocess.run(
        sandbox.command(["victor-autotune", "run", "flow.yaml", "--runs", "3", *MODEL]),
        env=sandbox.environment() | {"FORCE_COLOR": "1", "LANG": "C"},
        cwd=folder,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode("ascii").splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"run {number} of 3" for number in range(1, 4)]
    assert b"\x1b" not in done.stderr
    assert done.stdout.isascii()


def test_the_data_flow_of_real_runs_is_shown_and_off_in_the_workflows_file_holds(
    on_victor: Callable[..., Any], tmp_path: Path
) -> None:
    flows = {}
    for name, word in (("seen", "auto"), ("unseen", "off")):
        text = workflow_yaml(
            "researcher", "planner", name=name, formation="sequential", metadata={"autotune": {"dataflow": "WORD"}}
        )
        (tmp_path / f"{name}.yaml").write_text(text.replace('"WORD"', word))
        on_victor("run", f"{name}.yaml", "--runs", "2")
        said = on_victor("explain", "team", "--workflow", name, "--file", f"{name}.yaml")
        flows[name] = said["team"]["data_flow"]
    assert (flows["seen"]["declared"], flows["seen"]["verdict"]) == ("auto", "unknown")
    assert flows["seen"]["runs"] == {"configured": 2}
    assert flows["seen"]["missing"] == "8 more runs as configured."
    assert flows["seen"]["graph"] == "m0, m1: no use seen"
    assert (flows["unseen"]["declared"], flows["unseen"]["runs"], flows["unseen"]["edges"]) == ("off", {}, [])


def test_old_runs_go_and_the_next_ones_go_on(
    on_victor: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "ALWAYS_KEPT", 8)
    on_victor("run", "flow.yaml", "--runs", "16", *MODEL)
    with Store.open(default_url(folder)) as store:
        store._connections.execute(text("UPDATE autotune_run SET started_at = started_at - 86400.0 * 500"))
        before = store.counts()
    (team,) = on_victor("prune")["teams"]
    assert team["removed"] + team["bared"] == before["runs_finished"] - 8
    on_victor("run", "flow.yaml", "--runs", "4", *MODEL)
    with Store.open(default_url(folder)) as store:
        assert store.counts()["runs_finished"] == 12
        assert store.pruned_runs() == before["runs_finished"] - 8
        assert store.counts()["observations"] >= before["observations"]
    on_victor("replay")  # which fails where a decision does not replay
