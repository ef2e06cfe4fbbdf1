"""Where a team stands: every screen says the state, what it means, since when, what comes next, and what asks you."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import ENDED, STATES, Experiment
from victor_autotune_plugin._model.observation import Observation
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.policy import Policy, WatchPolicy
from victor_autotune_plugin._tuning.standing import Standing, null_passes, open_ones, standing
from victor_autotune_testing.simulated import SPEC, Simulation

from .conftest import Said
from .standing_teams import AT, ID, PARALLEL, VERDICT, WATCHING, experiment, team_of, write

Call = Callable[..., Said]
RUN = Observation(0, "control", success=True, duration_seconds=9.0, score=1.0)
OPEN = [name for name in STATES if name not in ENDED and name != "draft"]  # which no store holds


def stands(one: Experiment, verdict: Any = VERDICT, watch: Any = WATCHING, **how: Any) -> Standing:
    return standing(one, team_of(one), (verdict, watch), **how)


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("state", OPEN)
def test_every_screen_tells_the_state_by_the_one_table(call: Call, tmp_path: Path, state: str) -> None:
    write(tmp_path, experiment(state))
    title = {"probation": "on probation", "reverifying": "being verified again"}.get(state, state.replace("_", " "))
    assert all(part in words(call("status", "--all").out) for part in title.split())
    assert title in words(call("history").out)
    explained = words(call("explain", "--details", "--settings").out)
    assert f"State {title} since " in explained
    assert f": {STATES[state].meaning} " in explained
    (told,) = call("status", "--all", "--json").data["teams"][0]["standing"]
    assert (told["state"], told["meaning"], told["experiment_id"]) == (state, STATES[state].meaning, ID)
    assert told["next"]
    assert all(words(sentence) in explained for sentence in told["next"])
    call("report", "--output", "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert title in page
    assert all(sentence in page for sentence in told["next"])


@pytest.mark.parametrize(("state", "others"), [("probation", "proven"), ("proven", "on probation")])
def test_probation_and_proof_are_never_said_the_one_for_the_other(
    call: Call, tmp_path: Path, state: str, others: str
) -> None:
    write(tmp_path, experiment(state), action="probation" if state == "probation" else "promoted", reason="Better.")
    for command in ("status", "history"):
        assert others not in words(call(command).out).replace("Not proven yet", "")
    told = call("status", "--json").data["teams"][0]["standing"][0]
    assert told["state"] == state


def test_a_plan_that_no_test_proved_is_not_called_proven(call: Call, tmp_path: Path) -> None:
    by_hand = experiment("proven", verdict=None, allowed_by="person", reference=(RUN,))
    write(tmp_path, by_hand)
    assert "live, not tested" in words(call("status").out)
    assert "no test proved it" in words(call("explain", "--details", "--settings").out)
    assert stands(evolve(by_hand, proven_by="aaaaaaaaaaaa")).title == "proven"


@pytest.mark.parametrize("state", ["awaits_approval", "awaits_promotion", "testing"])
def test_what_awaits_a_person_stands_first_on_every_screen(call: Call, tmp_path: Path, state: str) -> None:
    write(tmp_path, experiment(state, asks_for="probation" if state == "testing" else None))
    answer = f"victor autotune approve team --id {ID}"
    for command in ("status", "explain", "history"):
        first, *rest = call(command).out.splitlines()
        assert first.startswith("team asks you: May this ")
        assert answer in [line.strip() for line in rest[:4]]
    checks = call("doctor", "--json").data["checks"]
    (check,) = [one for one in checks if one["name"] == "awaits you: team"]
    assert (check["status"], answer in check["hint"]) == ("warn", True)
    call("report", "--output", "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert answer in page  # tests in a browser look at where it stands
    asked = call("status", "--json").data["teams"][0]["standing"][0]["awaits_person"]
    assert (asked["approve"], asked["reject"]) == (answer, answer.replace("approve", "reject"))


def test_a_test_over_a_live_plan_and_the_plan_both_stand(call: Call, tmp_path: Path) -> None:
    live = experiment("proven", id="aaaaaaaaaaaa")
    test = experiment("testing", control=PARALLEL, treatment=TeamPlan("parallel", tool_budget=9), created_at=AT + 99)
    state = evolve(team_of(live), experiment_id=test.id)
    write(tmp_path, live, test, state=state)
    told = call("status", "--json").data["teams"][0]["standing"]
    assert [(one["experiment_id"], one["state"]) for one in told] == [(ID, "testing"), ("aaaaaaaaaaaa", "proven")]
    said = words(call("status").out)
    assert said.index("testing 12 + 14") < said.index("proven 2 + 53")


@pytest.mark.parametrize(
    ("state", "verdict", "runs", "sentence"),
    [
        ("canary", {"runs": {"control": 5, "treatment": 1}}, 8, "after 2 more runs of the changed plan"),
        (
            "canary",
            {"runs": {"control": 9, "treatment": 5}},
            36,
            "look slow, or were bad. Every other run tests it after at",
        ),
        ("canary", {"runs": {"control": 0, "treatment": 0}}, 12, "after 3 more runs of the changed plan"),
        ("testing", {}, 18, "proven after about 9 more runs in each arm"),
        ("testing", {"runs_needed": None}, 374, "Without a proof its test ends after at most 374 more runs"),
        ("testing", {"runs_needed": 400}, 374, "proven after about 400 more runs in each arm"),
        ("testing", {"runs": {"control": 8, "treatment": 7}}, 18, "from 10 runs in each arm on"),
        ("testing", {}, 18, "from 6 pairs of runs on, when it is at least 90 % likely to be better: 10.5 now, 93 %"),
        ("probation", {}, 18, "Not proven yet: success share and P95 of the duration."),
        ("probation", {"runs_needed": None}, 374, "the plan before is live again, after at most 374 more runs"),
    ],
)
def test_it_says_in_how_many_runs_a_test_goes_on(state: str, verdict: Any, runs: int, sentence: str) -> None:
    found = stands(experiment(state), {**VERDICT, **verdict})
    assert found.runs == runs
    assert sentence in " ".join(found.next)


def test_a_proof_is_asked_for_where_probation_is_none() -> None:
    for one in (
        experiment("testing", promotion="proof"),
        experiment("testing", allowed_by="score"),
        experiment("testing", treatment=TeamPlan(tool_budget=9)),
    ):
        assert "probation" not in " ".join(stands(one).next)


def test_it_says_in_how_many_runs_a_verification_ends() -> None:
    again = stands(experiment("reverifying"), watch={**WATCHING, "pairs": 11.0, "alarm": "The duration is worse."})
    assert (again.runs, again.at_most) == (38, True)
    assert again.next[0] == "The duration is worse."
    assert "after at most 19 more pairs" in again.next[1]
    assert WatchPolicy().max_pairs == 30


@pytest.mark.parametrize(("p95", "shown"), [("open", "P95 open, ≤ 319 runs"), ("proven", None), ("no data", None)])
def test_an_open_p95_is_told_until_it_is_proven(p95: str, shown: str | None) -> None:
    found = stands(experiment("proven"), watch={**WATCHING, "p95": p95})
    assert (found.p95, found.runs) == (shown, None if shown is None else 400 - 26 - 55)
    assert ("p95" in found.open) is (shown is not None)


def test_after_a_long_test_the_p95_has_a_hundred_runs_more() -> None:
    verdict = {**VERDICT, "runs": {"control": 190, "treatment": 195}}
    assert stands(experiment("proven"), verdict, {**WATCHING, "runs": {"control": 1, "treatment": 30}}).runs == 69


@pytest.mark.parametrize(("holdback", "said"), [(0.02, "2 % of the runs stay"), (0.0, "No run stays")])
def test_the_holdback_of_a_live_plan_is_told(holdback: float, said: str) -> None:
    assert said in " ".join(stands(experiment("proven", watch_policy=WatchPolicy(holdback=holdback))).next)


def test_a_plan_that_nothing_verifies_says_so() -> None:
    assert stands(experiment("proven"), is_watched=False).next == (
        "Nothing verifies it: the setting watch.enabled is false.",
    )


def test_where_nothing_goes_on_no_runs_are_promised(call: Call, tmp_path: Path) -> None:
    write(tmp_path, experiment("testing"))
    call("pause", "team")
    (told,) = call("status", "--json").data["teams"][0]["standing"]
    assert told["next"] == ["The tuning is paused: it goes on after `victor autotune resume team`."]
    assert told["runs_to_next"] is None
    call("resume", "team")
    call("pause", "--all")
    (told,) = call("status", "--json").data["teams"][0]["standing"]
    assert "resume --all" in told["next"][0]
    call("resume", "--all")
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: suggest\n")
    (told,) = call("status", "--json").data["teams"][0]["standing"]
    assert told["next"] == ["In mode suggest it waits; it goes on in auto or approve."]


def test_what_no_longer_fits_the_team_asks_nothing() -> None:
    one = experiment("awaits_approval")
    found = standing(one, evolve(team_of(one), fingerprint="another"), (None, None))
    assert found.decision is None
    assert found.next == ("It does not fit the team any more, and ends after a next run.",)


def test_what_is_chosen_is_asked_for_next() -> None:
    assert stands(experiment("draft")).next == ("A person is asked for it after a next run.",)


def test_the_order_is_questions_tests_live_plans() -> None:
    live, asked = experiment("proven", id="a"), experiment("awaits_approval", id="b", control=PARALLEL)
    test = experiment("testing", id="c")
    state = evolve(team_of(live), experiment_id="c")
    gone = experiment("failed", id="d")
    assert [one.id for one in open_ones(state, [live, test, asked, gone])] == ["b", "c", "a"]


def test_a_live_plan_of_0_1_that_changes_the_work_asks_a_person(call: Call, tmp_path: Path) -> None:
    earlier = experiment("proven", allowed_by=None, treatment=TeamPlan(formation="pipeline"))
    write(tmp_path, earlier)
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    said = words(call("explain", "--details", "--settings").out)
    assert "May this plan of 0.1 stay live? By what is known of the data flow, it may change the work." in said
    assert "It was promoted by 0.1, which did not look at the data flow: it may change" in said
    assert "victor autotune rollback team" in said
    (check,) = [one for one in call("doctor", "--json").data["checks"] if one["name"] == "awaits you: team"]
    assert check["hint"] == "Leave it, or roll it back: victor autotune rollback team"
    assert call("approve", "team").code == 2
    told = call("status", "--json").data["teams"][0]["standing"][0]
    assert told["state"] == "proven"
    assert told["awaits_person"]["approve"] is None


@pytest.mark.parametrize("allowed_by", ["data_flow", "score", "person"])
def test_a_live_plan_that_something_allowed_asks_nothing(call: Call, tmp_path: Path, allowed_by: str) -> None:
    write(tmp_path, experiment("proven", allowed_by=allowed_by, treatment=TeamPlan(formation="pipeline")))
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    assert "asks you" not in call("explain", "--details", "--settings").out
    assert "asks you" not in call("status").out


def test_explain_counts_the_tests_and_what_chance_makes_of_them(call: Call, tmp_path: Path) -> None:
    many = [experiment("failed", id=f"{number:012x}", ended_at=AT) for number in range(10)]
    waiting = experiment("awaits_approval", id="ffffffffffff")
    write(tmp_path, *many, waiting, experiment("testing", policy=Policy(alpha=0.1)))
    data = call("explain", "--json").data
    assert data["tests"] == {"number": 11, "null_passes": pytest.approx(10 * 0.045 + 0.09)}
    said = words(call("explain", "--details", "--settings").out)
    assert "11; had no change made a difference, 0.54 of them would have passed by now" in said


def test_what_a_person_applied_is_no_test() -> None:
    by_hand = experiment("proven", verdict=None, reference=(RUN,))
    assert null_passes([by_hand, experiment("draft"), experiment("awaits_approval")]) == (0, 0)
    assert null_passes([experiment("probation", verdict=None)])[0] == 1


def test_explain_tells_what_went_missing_and_what_is_unpaired(call: Call, tmp_path: Path) -> None:
    write(tmp_path, experiment("testing"))
    said = words(call("explain", "--details", "--settings").out)
    assert "Missing runs 1 control, 2 treatment" in said
    assert "not counted: 3 unpaired" in said


def test_screens_of_every_state_fit_80_columns_without_colour(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for number, state in enumerate(OPEN):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, experiment(state), action="started", reason="Side by side.")
        for command in (("status",), ("history",), ("explain", "team")):
            said = call(*command, "--project", str(folder)).out
            assert "\x1b" not in said
            sentences = [line for line in said.splitlines() if not line.startswith(("team", "Numbers", "  victor"))]
            assert max(map(len, sentences)) <= 80


def test_the_states_that_a_loop_goes_through_are_told(
    call: Call, simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    team = simulate(scored=False)
    (tmp_path / ".victor").mkdir(exist_ok=True)
    (tmp_path / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    seen = []
    for action in ("started", "probation", "promoted"):
        team.run_until(action)
        (told,) = call("status", "--json").data["teams"][0]["standing"]
        seen.append(told["state"])
        assert told["since"] == next(one.at for one in reversed(team.changes()) if one.action == action)
    assert seen == ["canary", "probation", "proven"]
    assert team.state().plan == PARALLEL
    assert team.experiments()[-1].control == EMPTY_PLAN
    assert SPEC.key == team.state().key


def test_the_docs_show_the_table_of_states() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, state in STATES.items():
        after = ", ".join(f"`{one}`" for one in STATES if one in state.next) or "–"
        assert f"| `{name}` | {state.meaning} | {after} |\n" in page


def test_explain_says_when_what_was_refused_may_be_tested_and_counts_it_as_no_test(
    call: Call, simulate: Callable[..., Simulation]
) -> None:
    team = simulate(mode="approve")
    asked = team.run_until("awaits_approval").experiment_id
    assert asked is not None
    assert call("reject", "--id", asked, "--reason", "too early").code == 0
    said = call("explain", "--json").data
    assert said["tests"]["number"] == 0
    assert "The change of the aborted test may be tested again after 50 more runs." in said["outlook"]


def test_explain_says_that_a_limit_of_the_week_holds_tests_back(
    call: Call, simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    limit = "limits: {max_bad_runs_per_week: 1}\nmode: auto\n"
    (tmp_path / ".victor").mkdir(mode=0o700)
    (tmp_path / ".victor" / "autotune.yaml").write_text(limit)
    team = simulate(truth=lambda plan, members: sum(members) * (1 if plan.is_empty else 9))
    team.run_until("aborted", 100)
    said = call("explain", "--json").data
    assert said["tests"]["number"] == 1
    (told,) = [one for one in said["outlook"] if "max_bad_runs_per_week is 1" in one]
    assert told.startswith("Nothing is tested until fewer of these runs lie within the last 7 days.")


def test_explain_names_the_proof_of_a_plan_that_was_on_probation(
    call: Call, simulate: Callable[..., Simulation]
) -> None:
    team = simulate(scored=False, promotion="proof")
    assert "success share" in team.run_until("probation").reason
    assert call("explain", "--json").data["plan_from"]["action"] == "probation"
    team.run_until("promoted")
    assert call("explain", "--json").data["plan_from"]["action"] == "promoted"


def test_a_plan_on_probation_is_listed_as_such_and_can_be_rolled_back(
    call: Call, simulate: Callable[..., Simulation]
) -> None:
    team = simulate(scored=False)
    team.run_until("probation")
    assert "on probation" in words(call("rollback", "--list").out)
    assert "better so far" in words(call("history").out)
    assert call("rollback", "team").code == 0
    assert team.state().plan == EMPTY_PLAN
    assert "last: rolled back" in words(call("status").out)


def test_a_store_of_0_1_is_migrated_by_the_command_that_the_screens_tell(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    (folder / ".victor").mkdir(parents=True)
    shutil.copy(Path(__file__).parents[1] / "data" / "v0_1_0" / "autotune.db", folder / ".victor")
    (folder / ".victor" / "autotune.yaml").write_text("workflows: {flow: {mode: suggest}}")
    command = f"victor autotune init --project {shlex.quote(str(folder))} --database"
    for screen in ("status", "history", "explain", "replay"):
        said = call(screen, "--project", str(folder))
        assert said.code == 2
        assert f"Migrate it: {command}" in said.err
        assert call(screen, "--project", str(folder), "--json").data["error"]["hint"] in said.err
    checks = {check["name"]: check for check in call("doctor", "--project", str(folder), "--json").data["checks"]}
    assert command in checks["store"]["hint"]
    assert "unknown name" not in checks  # whether runs of it were recorded can't be known
    assert call(*shlex.split(command)[2:]).code == 0
    assert call("status", "--project", str(folder)).code == 0


def test_a_project_of_0_1_is_told_what_became_of_it(call: Call, tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / "v0_1_0"
    (tmp_path / ".victor").mkdir()
    for name in ("autotune.db", "autotune.yaml"):
        shutil.copy(data / name, tmp_path / ".victor" / name)
    assert call("init", "--database").code == 0
    teams = {team["team_id"]: team for team in call("status", "--all", "--json").data["teams"]}
    for name in ("watched", "settled"):  # live in 0.1, which did not look at the data flow
        (told,) = teams[name]["standing"]
        assert (told["state"], told["awaits_person"]["asks"]) == ("proven", "keep")
        assert "superseded" not in words(call("status", name).out)
    (told,) = teams["draft"]["standing"]
    assert (told["state"], told["awaits_person"]["asks"]) == ("awaits_approval", "start")
    assert teams["testing"]["standing"] == []
    assert "The plugin was upgraded" in words(call("explain", "testing", "--details", "--settings").out)
    for command in (("status", "--all"), ("doctor",)):
        said = [line for line in call(*command).out.splitlines() if " asks you: " not in line]
        assert max(map(len, said)) <= 80


def test_a_short_explanation_makes_no_statistics(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, experiment("testing"))
    asked: list[str] = []
    monkeypatch.setattr("victor_autotune_plugin._cli.explain.statistics", lambda _, one: asked.append(one.id) or [])
    assert call("explain").code == 0
    assert asked == []
    call("explain", "--details")
    call("explain", "--json")
    assert asked == [ID, ID]
