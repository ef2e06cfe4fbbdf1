"""`propose` and `replay FILE`: a proven plan as a change that another person reviews, applies and checks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.merged_definition import takes_over
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._page.change_request import _shown, patch_of
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import SPEC, Simulation

from .conftest import Said

Call = Callable[..., Said]
FLOW = """\
# Reviewed by hand.
workflows:
  flow:
    description: Four in a row.
    nodes:
      - id: team
        type: team
        goal: Look at it.
        team_formation: sequential  # one after the other
        members:
          - {id: a, role: researcher}
          - {id: b, role: researcher}
          - {id: c, role: researcher}
          - {id: d, role: researcher}
"""


@pytest.fixture
def proven(project: Callable[[str], None], tmp_path: Path) -> Path:
    """A project in Git whose team has a proven plan, and its workflow file."""
    project("proven")
    file = tmp_path / "flows" / "my flow.yaml"
    file.parent.mkdir()
    file.write_text(FLOW)
    git(tmp_path, "init", "--quiet")
    return file


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def propose(call: Call, file: Path, *more: str) -> Said:
    return call("propose", "team", "--file", str(file), "--output", "out", *more)


def test_git_takes_the_patch_and_the_file_then_says_the_plan(call: Call, proven: Path, tmp_path: Path) -> None:
    said = propose(call, proven)
    assert said.code == 0, said.err
    assert proven.read_text() == FLOW
    git(tmp_path, "apply", "out/plan.patch")
    with Store.open(default_url(tmp_path)) as store:
        (state,) = store.teams()
    assert state.plan == TeamPlan(formation="parallel")
    assert read_team_config(proven, "team", "flow").config["formation"] == "parallel"
    assert "# one after the other" in proven.read_text()
    git(tmp_path, "apply", "-R", "out/plan.patch")
    assert proven.read_text() == FLOW


@pytest.mark.parametrize(
    ("plan", "written"),
    [
        (TeamPlan(formation="parallel"), "team_formation: parallel"),
        (TeamPlan(members="dcba"), "members:\n          - {id: d"),
        (TeamPlan(members="ab"), "start_from:\n"),
        (TeamPlan(tool_budget=9), "total_tool_budget: 9"),
        (TeamPlan(member_budgets={"a": 3}), "start_from:\n"),
        (TeamPlan(timeout_seconds=60), "start_from:\n"),
        (TeamPlan(sub_teams=["ab", "cd"]), "start_from:\n"),
        (TeamPlan(formation="reflection"), "start_from:\n"),
    ],
    ids=lambda one: one.describe() if isinstance(one, TeamPlan) else "",
)
def test_every_knob_is_recognised_once_it_is_merged(
    call: Call, proven: Path, tmp_path: Path, plan: TeamPlan, written: str
) -> None:
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        state = transaction.team("flow", "team")
        assert state.spec is not None
        filled = evolve(  # as Victor fills in what the file leaves out
            state.spec,
            members=[evolve(one, tool_budget=15) for one in state.spec.members],
            tool_budget=100,
            max_iterations=50,
        )
        before = evolve(state, plan=plan, spec=filled, fingerprint=filled.fingerprint())
        transaction.save_team(before)
    said = propose(call, proven)
    assert said.code == 0, said.err
    git(tmp_path, "apply", "out/plan.patch")
    assert written in proven.read_text()
    file = read_team_config(proven, "team", "flow")
    assert file.settings.plan is None
    assert file.spec is not None
    declared = evolve(file.spec, start_from=file.settings.start_from)
    assert takes_over(SPEC, plan, declared)
    assert "says so already" in propose(call, proven).err


def test_a_file_that_fixes_the_plan_is_not_proposed_for(call: Call, proven: Path) -> None:
    proven.write_text(
        FLOW.replace(
            "    nodes:", "    metadata:\n      autotune:\n        plan:\n          tool_budget: 9\n    nodes:"
        )
    )
    said = propose(call, proven)
    assert said.code == 2
    assert "the file fixes this team's plan" in said.err


def test_the_text_tells_what_a_reviewer_asks(call: Call, proven: Path, tmp_path: Path) -> None:
    data = propose(call, proven, "--json").data
    text = (tmp_path / "out" / "PROPOSAL.md").read_text()
    with Store.open(default_url(tmp_path)) as store:
        (proof,) = [one for one in store.experiments() if one.id == data["experiment_id"]]
    told = call("status", "team", "--json").data["teams"][0]["outcome"]
    assert data["outcome"] == told
    figures = {one["name"]: one for one in told["figures"]}
    assert figures["duration"]["was"] > figures["duration"]["now"] > 0
    assert "cost" not in figures
    assert "| cost | not known | not known | not known | not known |" in text
    assert told["runs"] == (proof.verdict or {})["runs"]
    runs = f"{told['runs']['control']} + {told['runs']['treatment']} runs"
    assert re.search(rf"From the test of \d{{4}}-\d\d-\d\d, {re.escape(runs)}: ", text)
    for part in (
        "# Team team: formation parallel",
        f"| time | {figures['duration']['was']:.2f} s | {figures['duration']['now']:.2f} s |",
        "## How sure",
        str((proof.verdict or {})["reason"]),
        "## Data flow",
        "the proof holds",
        "victor autotune rollback team --workflow flow",
        "git apply -R",
    ):
        assert part in text
    for name in ("plan.patch", "PROPOSAL.md", "evidence.jsonl"):
        assert (tmp_path / "out" / name).stat().st_mode & 0o077 == 0


def test_the_evidence_is_decided_again_without_the_store(
    call: Call, proven: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert propose(call, proven).code == 0
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(tmp_path / "out" / "evidence.jsonl", elsewhere)
    monkeypatch.chdir(elsewhere)
    said = call("replay", "evidence.jsonl", "--json")
    assert said.code == 0, said.err
    (one,) = said.data["replays"]
    assert one["same"]
    assert one["observations"] > 20
    assert [path.name for path in elsewhere.iterdir()] == ["evidence.jsonl"]
    assert "same" in call("replay", "evidence.jsonl").out


def test_the_evidence_holds_what_the_watch_says_of_all_that_ran_since(call: Call, proven: Path, tmp_path: Path) -> None:
    team = Simulation(tmp_path)
    try:
        for _ in range(60):
            team.run()
    finally:
        team.close()
    assert propose(call, proven).code == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "evidence.jsonl").read_text().splitlines()]
    record = next(line["experiment"] for line in lines if "experiment" in line)
    assert record["watch_verdict"]["status"] == "watching"
    assert [one["phase"] for one in record["observations"]].count("watch") >= 60
    assert call("replay", str(tmp_path / "out" / "evidence.jsonl")).code == 0
    record["observations"][-1]["duration_seconds"] *= 50
    (tmp_path / "changed.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    said = call("replay", str(tmp_path / "changed.jsonl"), "--json")
    assert said.code == 1
    assert list(said.data["replays"][0]["differences"]) == ["watch verdict"]


def test_changed_evidence_is_found_out(call: Call, proven: Path, tmp_path: Path) -> None:
    assert propose(call, proven).code == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "evidence.jsonl").read_text().splitlines()]
    record = next(line["experiment"] for line in lines if "experiment" in line)

    def replayed() -> Said:
        (tmp_path / "changed.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return call("replay", "changed.jsonl")

    verdict = record["verdict"]
    record["verdict"] = {**verdict, "effect": -0.99}
    assert replayed().code == 1
    record["verdict"] = verdict
    assert replayed().code == 0
    record["observations"][3]["duration_seconds"] *= 50
    assert replayed().code == 1


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (FLOW.replace("sequential", "consensus"), "declares team 'team' otherwise"),
        (FLOW.replace("          - {id: d, role: researcher}\n", ""), "declares team 'team' otherwise"),
        ("formation: sequential\nmember_count: 4\n", "is the configuration of one team"),
    ],
)
def test_another_team_than_the_proven_one_is_refused(call: Call, proven: Path, file: str, said: str) -> None:
    proven.write_text(file)
    answer = propose(call, proven)
    assert answer.code == 2
    assert said in answer.err.replace("\n  ", " ")


def test_what_no_test_has_proven_is_not_proposed(call: Call, project: Callable[[str], None], tmp_path: Path) -> None:
    project("testing")
    (tmp_path / "flow.yaml").write_text(FLOW)
    said = propose(call, tmp_path / "flow.yaml")
    assert said.code == 2
    assert "no test has proven a live plan" in said.err


def test_a_file_that_is_no_evidence_is_told(call: Call, tmp_path: Path) -> None:
    said = call("replay", "gone.jsonl")
    assert said.code == 2
    assert "can't be read" in said.err
    (tmp_path / "other.jsonl").write_text("{}\n")
    said = call("replay", "other.jsonl")
    assert said.code == 2
    assert "is not an autotune archive" in said.err


def test_no_name_is_markup_in_the_text() -> None:
    assert _shown("a|b`<img>") == "a\\|b\\`\\<img\\>"


@pytest.mark.parametrize(
    "name", ["plain.yaml", "with space.yaml", 'quote".yaml', "tab\t.yaml", "äöü.yaml", "back\\slash.yaml"]
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1\nb: 2\n", "a: 1\nb: 3\n"),
        ("a: 1\r\nb: 2\r\n", "a: 1\r\nb: 3\r\n"),
        ("a: 1\nb: 2", "a: 1\nb: 3"),
        ("a: 1", "a: 1\nb: 3\n"),
        ("a: 'x\x0by'\nb: 2\n", "a: 'x\x0by'\nb: 3\n"),
    ],
)
def test_git_takes_any_name_and_any_end_of_line(tmp_path: Path, name: str, before: str, after: str) -> None:
    git(tmp_path, "init", "--quiet")
    file = tmp_path / "folder" / name
    file.parent.mkdir()
    file.write_bytes(before.encode())
    (tmp_path / "made.patch").write_bytes(patch_of(file, before, after).encode())
    git(tmp_path, "-c", "core.autocrlf=false", "apply", "made.patch")
    assert file.read_bytes() == after.encode()


def test_outside_of_git_the_patch_is_for_the_files_own_folder(tmp_path: Path) -> None:
    made: Any = patch_of(tmp_path / "flow.yaml", "a\n", "b\n")
    assert made.startswith("diff --git a/flow.yaml b/flow.yaml\n--- a/flow.yaml\n+++ b/flow.yaml\n")
