"""What the screens say of scores: who decides, who does not and why, and what `doctor` tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_plugin._cli.quality_facts import QualityFacts
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._tuning.gates import ScorerStatus
from victor_autotune_plugin.quality.rubric import judge_of
from victor_autotune_plugin.storage.kept_outputs import KeptOutputs

from .conftest import Said
from .scored_runs import ended, run_id, write_runs

Call = Callable[..., Said]
JUDGE = judge_of(ScorerSettings("judge", "rubric", ("Is it short?",), provider="acme", model="big"))
SETTINGS = """\
quality:
  keep_outputs: 24h
  max_cost_usd_per_day: 0.5
  scorers:
    review: {external: true, weight: 2}
    judge: {rubric: ["Is it short?"], provider: acme, model: big}
    shown: {contains: Summary, gates: false}
"""


@pytest.fixture(autouse=True)
def runs(call: Call, tmp_path: Path) -> None:
    gates = [Gate("review", 2.0, is_external=True)]
    now = time.time()
    scores = [Score(run_id(n), "review", 0.8, "person", now) for n in range(1, 7)]
    scores += [Score(run_id(n), "judge", 0.5, "model", now, JUDGE, 0.125) for n in range(1, 6)]
    scores += [Score(run_id(6), "judge", None, "model", now, JUDGE, why="no price")]
    write_runs(tmp_path, [ended(n, plan_asked=TeamPlan()) for n in range(1, 7)], scores, gates)
    (tmp_path / ".victor" / "autotune.yaml").write_text(SETTINGS)
    assert call("trust", "--yes").code == 0  # a model as judge acts


def test_status_tells_who_decides_and_why_others_do_not(call: Call) -> None:
    said = " ".join(call("status").out.split())
    assert "team: scored by review; mean 0.80; judge does not decide (not trusted yet: 5 of 20 labels)" in said
    assert "shown does not decide (gates: false)" in said
    assert "scoring cost 0.6250 USD in 7 days" in said
    data = call("status", "--json").data
    assert data["scoring_cost_usd_last_7_days"] == pytest.approx(0.625)
    (team,) = data["teams"]
    assert {one["name"]: one["decides"] for one in team["scorers"]} == {"review": True, "judge": False, "shown": False}
    assert team["mean_score"] == {"before": None, "now": pytest.approx(0.8)}
    assert (team["scored_runs"], team["member_success_share"]) == (6, 1.0)


def test_a_scorer_that_decides_since_the_last_run_counts_from_the_next_one_on() -> None:
    facts = QualityFacts((ScorerStatus("review", "decides", Gate("review")),))
    assert facts.summary() == "scored by review; from the next run on"


@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_explain_cuts_nothing_of_where_a_setting_comes_from(
    call: Call, monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    lines = call("explain", "--details", "--settings").out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip().startswith("quality.keep_outputs"))
    column = lines[start].index(".vic")
    told = [
        lines[start][column:],
        *(line[column:] for line in lines[start + 1 : start + 4] if not line[:column].strip()),
    ]
    assert "".join(part.strip() for part in told).startswith(".victor/autotune.yaml:2")
    assert max(map(len, lines)) <= int(width)
    monkeypatch.setenv("COLUMNS", "300")
    assert (
        "judge: {rubric: [Is it short?], provider: acme, model: big}" in call("explain", "--details", "--settings").out
    )


def test_explain_has_a_part_on_quality(call: Call) -> None:
    said = " ".join(call("explain", "--details", "--settings").out.split())
    for part in ("Quality review decides, weight 2", "judge does not decide", "Mean score 0.80 (6 scored runs)"):
        assert part in said


def test_doctor_tells_what_leaves_the_machine_what_is_kept_and_what_it_costs(call: Call, tmp_path: Path) -> None:
    KeptOutputs.of(tmp_path).keep(run_id(1), "The work.", time.time() + 60)
    checks = {one["name"]: one for one in call("doctor", "--json").data["checks"]}
    sent = "outputs of team (flow) are sent to big of acme (judge) to be judged"
    assert checks["leaves this machine"]["found"] == sent
    assert "1 output in" in checks["kept outputs"]["found"]
    assert "autotune-outputs" in checks["kept outputs"]["found"]
    assert checks["scoring cost"]["status"] == "warn"
    assert "cap" in checks["scoring cost"]["found"]
    assert "of 20 labels" in checks["scorer judge of team"]["found"]
    assert "rate" in checks["scorer judge of team"]["hint"]
    assert "prices" in checks["price of judge judge"]["hint"]
    assert "The work." not in call("doctor").out


def test_doctor_says_how_a_person_gives_scores(call: Call, tmp_path: Path) -> None:
    (tmp_path / ".victor" / "autotune.yaml").write_text("quality: {scorers: {people: {external: true}}}")
    checks = {one["name"]: one for one in call("doctor", "--json").data["checks"]}
    assert "autotune rate" in checks["scorer people of team"]["hint"]


def test_without_scorers_doctor_has_nothing_to_say_of_them(call: Call, tmp_path: Path) -> None:
    (tmp_path / ".victor" / "autotune.yaml").unlink()
    names = {one["name"] for one in call("doctor", "--json").data["checks"]}
    assert not names & {"leaves this machine", "kept outputs", "scoring"}


def test_the_report_and_the_list_of_runs_tell_scores(call: Call, tmp_path: Path) -> None:
    assert call("report").code == 0
    page = (tmp_path / "autotune-report.html").read_text()
    assert "Scored by review; mean 0.80" in page
    assert "100 % of the members say that they succeeded." in page
    listed = call("history", "--runs").out
    assert run_id(6)[:8] in listed
    assert "score 0.80" in listed
    assert "score 0.80" in call("analyze").out
