"""Who decides how good a run was, when it waits for them, and how their scores reach the store."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._tuning.late_score import record_score
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_plugin.quality import RunOutput, Scored
from victor_autotune_plugin.storage.journal import EndEntry
from victor_autotune_plugin.storage.kept_outputs import KeptOutputs
from victor_autotune_testing.scored import (
    BY_TEXT,
    Adding,
    Scorer,
    by_text,
    deliver,
    have_gates,
    have_quality,
    stored_scores,
)
from victor_autotune_testing.simulated import SPEC, Simulation

TEAM_RUN = TeamRun("r1", SPEC, 1.0, 2.0, True, 1.0)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    made = Simulation(tmp_path, in_memory=True, mode="suggest", scored=False)
    made.run()
    yield made
    made.close()


@pytest.fixture
def tested(tmp_path: Path) -> Iterator[Simulation]:
    """A team whose test has begun, and rests on the gates `check` and `review`."""
    made = Simulation(tmp_path, in_memory=True, scored=False)
    have_quality(made.runtime, scorers={"check": BY_TEXT, "review": {"external": True}})
    made.run()
    have_gates(made, Gate("check"), Gate("review", is_external=True))
    made.run_until("started")
    yield made
    made.close()


def stored(team: Simulation, run: TeamRun) -> TeamRun:
    found = team.store.run(run.run_id)
    assert found is not None
    return found


def test_a_run_outside_a_test_is_scored_by_the_team_s_gates_and_waits_for_none(team: Simulation) -> None:
    team.runtime.hooks.register(Adding(Scorer("check", by_text), Scorer("other", lambda _: 0.1)), "their")
    have_gates(team, Gate("check", 2.0), Gate("review", is_external=True))
    run = deliver(team, "0.25")
    assert (stored(team, run).score, stored(team, run).number) == (None, 2)
    assert stored_scores(team, run) == [("check", 0.25, ""), ("other", 0.1, "")]
    review = Score(run.run_id, "review", 1.0, "person", run.ended_at)
    assert record_score(team.store, review, KeptOutputs(Path("none")), team.runtime.loop) == stored(team, run)
    assert stored(team, run).score == pytest.approx((2 * 0.25 + 1.0) / 3)


def test_a_run_of_a_test_waits_for_the_test_s_gates_and_is_judged_when_the_last_one_comes(tested: Simulation) -> None:
    (experiment,) = tested.experiments()
    have_gates(tested, *experiment.gates, Gate("new"))  # decides for the team from now on, and not for the test
    run = deliver(tested, "0.5")
    assert run.experiment_id == experiment.id
    assert (stored(tested, run).number, tested.store.observations(experiment.id, "test")) == (None, [])
    record_score(
        tested.store, Score(run.run_id, "review", 1.0, "person", 1.0), KeptOutputs(Path("none")), tested.runtime.loop
    )
    tested.stepped.work()
    (observed,) = tested.store.observations(experiment.id, "test")
    assert (observed.run_id, observed.score) == (run.run_id, 0.75)
    record_score(
        tested.store, Score(run.run_id, "review", 0.0, "person", 2.0), KeptOutputs(Path("none")), tested.runtime.loop
    )
    tested.stepped.work()
    assert tested.store.observations(experiment.id, "test") == [observed]
    (replayed,) = replay_all(tested.store, [experiment])
    assert replayed.same, replayed.differences


def test_a_score_that_comes_to_another_process_is_judged_by_the_one_that_looks(tested: Simulation) -> None:
    """Also one in which nothing has run for a while."""
    (experiment,) = tested.experiments()
    run = deliver(tested, "0.5")
    record_score(tested.store, Score(run.run_id, "review", 1.0, "person", 1.0), KeptOutputs(Path("none")))
    tested.stepped.work()
    assert stored(tested, run).number is None
    tested.stepped.clock.now += 3600.0
    tested.stepped.work()
    (observed,) = tested.store.observations(experiment.id, "test")
    assert observed.score == 0.75


def entries(team: Simulation) -> list[EndEntry]:
    kept: list[EndEntry] = []
    submit = team.runtime.loop.core.submit

    def keep(item: Any) -> None:
        if isinstance(item.entry, EndEntry):
            kept.append(item.entry)
        submit(item)

    team.runtime.loop.core.submit = keep  # type: ignore[method-assign]
    return kept


def test_how_long_a_run_of_a_test_waits_is_set(tested: Simulation) -> None:
    have_quality(tested.runtime, deadline=7.0)
    kept = entries(tested)
    deliver(tested)
    assert [(one.score_seconds, [gate.name for gate in one.gates]) for one in kept] == [(7.0, ["check", "review"])]


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_a_run_that_delivered_nothing_is_worth_nothing_and_no_scorer_is_asked(tested: Simulation, text: str) -> None:
    run = deliver(tested, text, success=False)
    (experiment,) = tested.experiments()
    (observed,) = tested.store.observations(experiment.id, "test")
    assert (observed.run_id, observed.score, stored_scores(tested, run)) == (run.run_id, 0.0, [])


def test_a_run_that_delivered_nothing_has_no_score_where_nothing_decides(team: Simulation) -> None:
    assert stored(team, deliver(team, "", success=False)).score is None


def test_a_cancelled_run_is_not_scored(tested: Simulation) -> None:
    kept = entries(tested)
    run = deliver(tested, "half", cancelled=True, success=False)
    assert (stored_scores(tested, run), kept[0].gates, kept[0].score_seconds, stored(tested, run).score) == (
        [],
        (),
        None,
        None,
    )


class Grader:
    def __init__(self, value: float) -> None:
        self.value = value

    @hookimpl
    def score_team_run(self, run: TeamRun) -> float:
        return self.value


def test_packages_that_score_runs_are_scorers_of_their_names(team: Simulation) -> None:
    for name, value in {"acme": 0.25, "other": 0.5}.items():
        team.runtime.hooks.register(Grader(value), name)
    have_gates(team, Gate("acme"), Gate("other"))
    run = team.run()  # they score the run itself, whatever was handed over of its output
    assert stored(team, run).score == 0.375
    with team.store.reading() as transaction:
        assert {one.name: one.source for one in transaction.scores_of(run.run_id)} == {"acme": "hook", "other": "hook"}


def test_of_two_scorers_of_one_name_the_settings_own_is_asked_and_that_is_said_once(
    team: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = team.runtime.hooks
    hooks.register(Grader(0.25), "acme-twice")
    hooks.register(Adding(Scorer("acme-twice", lambda _: 0.5), Scorer("review-own", lambda _: 0.5)), "their")
    have_quality(team.runtime, scorers={"review-own": {"external": True}})
    with caplog.at_level(logging.WARNING):
        runs = [deliver(team) for _ in range(2)]
    assert stored_scores(team, runs[1]) == [("acme-twice", 0.5, "")]
    said = [message for message in caplog.messages if "another scorer of the team has its name" in message]
    assert len(said) == 2


def test_an_output_that_was_not_handed_over_is_lost_for_the_scorers_that_need_it(team: Simulation) -> None:
    team.runtime.hooks.register(Adding(Scorer("check", by_text)), "their")
    run = team.run()
    assert stored_scores(team, run) == [("check", None, "output lost")]


def test_a_team_that_a_scorer_runs_is_not_scored(team: Simulation) -> None:
    inner: list[TeamRun] = []

    def by_a_team(_: RunOutput) -> float:
        if len(inner) < 3:
            loop, run = team.runtime.loop, evolve(TEAM_RUN, run_id=f"inner{len(inner)}")
            assert not loop.wants_outputs(SPEC, team.runtime.settings(SPEC))
            inner.append(run)
            loop.to_score(run, "verdict", {})
            loop.finished(run)
        return 1.0

    team.runtime.hooks.register(Adding(Scorer("judges", by_a_team)), "their")
    have_gates(team, Gate("judges"))
    run = deliver(team)
    assert [one.run_id for one in inner] == ["inner0"]
    assert (stored(team, run).score, stored(team, inner[0]).score) == (1.0, None)


def test_whatever_fails_in_scoring_a_run_is_recorded(team: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    team.runtime.hooks.register(Adding(Scorer("check")), "their")
    monkeypatch.setattr(team.runtime.loop.scoring, "ended", lambda run: 1 / 0)
    first = deliver(team)
    monkeypatch.undo()
    monkeypatch.setattr(team.runtime.loop.scoring, "submit", lambda run: 1 / 0)
    second = deliver(team)
    assert {first.run_id, second.run_id} <= {run.run_id for run in team.store.finished_runs()}
    assert {fault.where for fault in failsafe.seen()} == {"score of a run"}


def test_outputs_are_wanted_where_something_looks_at_them(team: Simulation) -> None:
    loop, settings = team.runtime.loop, team.runtime.settings(SPEC)
    assert not loop.wants_outputs(SPEC, settings)
    kept = evolve(settings, quality=evolve(settings.quality, keep_outputs=60.0))
    scored = evolve(settings, quality=evolve(settings.quality, scorers=(ScorerSettings("a", "contains", ("b",)),)))
    assert (loop.wants_outputs(SPEC, kept), loop.wants_outputs(SPEC, scored)) == (True, True)
    have_gates(team, Gate("review", is_external=True))  # a run that delivered nothing has its score by that
    team.start()
    assert loop.wants_outputs(SPEC, settings)
    team.runtime.hooks.register(Grader(1.0), "acme")
    assert loop.wants_outputs(evolve(SPEC, team_id="another"), settings)


def test_what_third_parties_say_of_their_scorers_is_kept_with_the_scores(team: Simulation) -> None:
    def declared(name: str, **attributes: Any) -> Scorer:
        return type("Declared", (Scorer,), attributes)(name, lambda _: 1.0, "person", "trust me")

    odd = {"weight": float("nan"), "gates": "no"}
    details = declared("details")
    object.__setattr__(details, "does", lambda output: Scored(1.0, details={"output": output.text}))
    scorers = [
        details,
        declared("plain"),
        declared("heavy", weight=2),
        declared("shown", gates=False),
        declared("odd", **odd),
    ]
    team.runtime.hooks.register(Adding(*scorers), "their")
    run = deliver(team)
    with team.store.reading() as transaction:
        found = {one.name: (one.source, one.judge, dict(one.details)) for one in transaction.scores_of(run.run_id)}
    assert found == {
        "details": ("hook", "", {}),
        "plain": ("hook", "", {}),
        "heavy": ("hook", "", {"weight": 2.0}),
        "shown": ("hook", "", {"gates": False}),
        "odd": ("hook", "", {}),
    }


# --- outputs that are kept


def test_outputs_are_kept_where_that_is_set_until_they_are_rated_or_expire(tmp_path: Path) -> None:
    team = Simulation(tmp_path, scored=False)
    kept = KeptOutputs.of(tmp_path)
    deliver(team, "never kept")
    assert not kept.folder.exists()
    have_quality(team.runtime, keep_outputs=3600.0)
    rated, expired = (deliver(team, f"work {number}") for number in range(2))
    deliver(team, "half", cancelled=True)
    deliver(team, "")
    assert (kept.read(rated.run_id, rated.ended_at), kept.count()) == ("work 0", 2)
    record_score(team.store, Score(rated.run_id, "tool", 1.0, "import", 1.0), kept)
    assert kept.count() == 2
    record_score(team.store, Score(rated.run_id, "review", 1.0, "person", 1.0), kept)
    assert (kept.count(), kept.read(expired.run_id, expired.ended_at)) == (1, "work 1")
    team.stepped.clock.now = expired.ended_at + 3601.0
    team.runtime.loop.files.step(float("inf"))
    assert kept.count() == 0
    team.close()
    searched = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"work 1" in content or b"never kept" in content for content in searched)


def test_a_score_of_a_run_that_nobody_knows_is_not_written(team: Simulation) -> None:
    assert record_score(team.store, Score("unknown", "review", 1.0, "person", 1.0), KeptOutputs(Path("none"))) is None
    with team.store.reading() as transaction:
        assert transaction.scores_of("unknown") == []
