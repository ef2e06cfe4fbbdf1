"""Scores of runs: what they make of a run, when a judge sees it, and what is read of them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin.errors import StoreError
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import (
    SPEC,
    experiment,
    finished,
    missing,
    observation,
    pass_time,
    planned,
    score,
    start,
)

KEY = SPEC.key
TESTS, REVIEW = Gate("tests", 3.0), Gate("review", 1.0, is_external=True)
RUBRIC = Gate("rubric", judge="d1")
HOOK = Gate("acme", is_hook=True)
OTHER = ProcessId("other", "another-host", 7, 1.0)
DAY = 86_400.0


def in_test(run_id: str = "r1", index: int = 0, **changes: Any) -> TeamRun:
    of = {"phase": "test", "stream": "0", "index": index, "cancelled": False}
    return finished(run_id, **{**of, **changes})


def outside(run_id: str = "r1", **changes: Any) -> TeamRun:
    return finished(run_id, **{"experiment_id": None, "arm": None, "cancelled": False, **changes})


def end(store: Store, run: TeamRun, *gates: Gate, seconds: float | None = DAY, process: str | None = None) -> bool:
    with store.transaction() as transaction:
        return transaction.finish_run(run, process, None, gates, seconds)


def record(store: Store, *scores: Score) -> bool:
    with store.transaction() as transaction:
        return [transaction.record_score(one) for one in scores][-1]


def number(store: Store) -> int:
    with store.transaction() as transaction:
        return transaction.number_runs(*KEY, 100)


def score_of(store: Store, run_id: str = "r1") -> float | None:
    found = store.run(run_id)
    assert found is not None
    return found.score


def test_a_score_comes_back_whole(store: Store) -> None:
    given = [score(name="a"), score(name="b", value=None, why="timeout", cost_usd=None, details={}, judge="d")]
    end(store, outside())
    assert record(store, *given[::-1]) is True
    assert store.scores_of("r1") == given
    with store.reading() as transaction:
        assert transaction.scores_of("r1") == given
        assert transaction.scores_of("r2") == []


@pytest.mark.parametrize(
    "changes",
    [
        *({"value": 1.5}, {"value": -0.1}, {"value": math.nan}, {"value": True}, {"value": "the secret output"}),
        *({"source": "guess"}, {"name": ""}, {"name": None}, {"why": None}, {"at": math.nan}, {"seconds": -1.0}),
        *({"cost_usd": -1.0}, {"cost_usd": math.inf}, {"details": {"output": object()}}, {"details": ["secret"]}),
    ],
)
def test_an_impossible_score_is_refused_without_a_word_of_what_may_be_an_output(
    store: Store, changes: dict[str, Any]
) -> None:
    with pytest.raises(StoreError, match=f"can't be stored: impossible {next(iter(changes))}") as caught:
        record(store, score(**changes))
    assert "secret" not in repr([caught.value, caught.value.__cause__])
    assert store.scores_of("r1") == []


def test_runs_and_observations_come_back_with_their_scores(store: Store) -> None:
    run = outside(score=0.1 + 0.2, trace_id="4bf92f3577b34da6a3ce929d0e0e4736")
    end(store, run)
    assert store.run("r1") == run
    given = [observation("a", score=0.1 + 0.2), observation("b", index=1, member_success_share=None)]
    with store.transaction() as transaction:
        for one in given:
            transaction.add_observation("e1", "test", one)
    assert [evolve(one, order=0) for one in store.observations("e1", "test")] == given


def test_a_run_in_a_test_is_taken_when_all_of_its_gates_have_answered(store: Store) -> None:
    end(store, in_test(), TESTS, REVIEW)
    assert number(store) == 0
    record(store, score(value=0.5))
    assert (number(store), score_of(store)) == (0, None)
    record(store, score(name="shown", value=0.0))
    assert number(store) == 0
    record(store, score(name="review", value=1.0))
    assert number(store) == 1
    (seen,) = store.observations("e1", "test")
    assert seen.score == score_of(store) == (3 * 0.5 + 1.0) / 4
    assert seen.member_success_share == 2 / 3


def test_no_opinion_completes_a_run_and_leaves_it_without_a_score(store: Store) -> None:
    end(store, in_test(), TESTS, REVIEW)
    record(store, score(value=0.5), score(name="review", value=None, why="no opinion"))
    assert number(store) == 1
    assert [one.score for one in store.observations("e1", "test")] == [None]


def test_what_another_judge_of_the_gate_s_name_says_is_no_opinion(store: Store) -> None:
    end(store, in_test(), RUBRIC)
    record(store, score(name="rubric", source="model", judge="d2"))
    assert (score_of(store), number(store)) == (None, 1)
    end(store, in_test("r2", 1), RUBRIC)
    record(store, score("r2", name="rubric", source="model", judge="d1", value=0.5))
    assert score_of(store, "r2") == 0.5


def test_a_run_whose_deadline_passed_is_taken_as_it_is_and_a_later_score_changes_nothing_of_it(store: Store) -> None:
    end(store, in_test(), TESTS, REVIEW, seconds=100.0)
    record(store, score(value=0.5))
    pass_time(store, 99.0)
    assert number(store) == 0
    pass_time(store, 2.0)
    assert number(store) == 1
    before = store.observations("e1", "test")
    assert record(store, score(name="review", value=1.0)) is True
    assert store.observations("e1", "test") == before
    assert (before[0].score, score_of(store)) == (None, None)
    assert [one.name for one in store.scores_of("r1")] == ["review", "tests"]
    assert number(store) == 0


def test_a_score_that_comes_after_the_deadline_and_before_the_judge_counts(store: Store) -> None:
    end(store, in_test(), TESTS, seconds=100.0)
    pass_time(store, 101.0)
    record(store, score(value=0.5))
    assert number(store) == 1
    assert [one.score for one in store.observations("e1", "test")] == [0.5]


def test_scores_may_come_before_their_run(store: Store) -> None:
    assert record(store, score(value=0.5)) is False
    with store.transaction() as transaction:
        transaction.start_run(start(), planned(assignment=Assignment("e1", "test", "treatment", "0", 0)))
        assert transaction.record_score(score(name="review", value=0.7)) is True
    end(store, in_test(), TESTS, REVIEW)
    assert number(store) == 1
    assert [one.score for one in store.observations("e1", "test")] == [pytest.approx(0.55)]


def test_an_end_that_is_told_twice_changes_nothing(store: Store) -> None:
    """As when its commit came late, and a journal holds it too."""
    assert end(store, in_test(), TESTS) is True
    record(store, score(value=0.5))
    assert end(store, in_test(), TESTS) is False
    assert number(store) == 1
    assert end(store, in_test(), TESTS) is False
    assert number(store) == 0
    assert [one.score for one in store.observations("e1", "test")] == [0.5]


def test_the_last_of_several_ratings_counts_in_whatever_order_they_are_told(store: Store) -> None:
    end(store, in_test(), TESTS, REVIEW)
    rated = score(name="review", value=0.2, at=10.0)
    record(store, rated, evolve(rated, value=0.9, at=20.0), rated)
    assert [one.value for one in store.scores_of("r1")] == [0.9]
    record(store, evolve(rated, value=0.3, at=20.0))
    assert [one.value for one in store.scores_of("r1")] == [0.3]


def test_an_opinion_takes_the_place_of_none_whatever_their_times(store: Store) -> None:
    end(store, in_test(), TESTS)
    record(store, score(value=None, why="output lost", at=20.0), score(value=0.4, at=10.0))
    assert score_of(store) == 0.4


def test_of_a_run_in_no_test_the_score_comes_later_also_to_those_who_had_read_the_run(store: Store) -> None:
    def newest() -> float | None:
        with store.reading() as transaction:
            return transaction.runs_of(*KEY, 10)[0].score

    end(store, outside(), TESTS, seconds=None)
    assert (number(store), newest()) == (1, None)
    for value in (0.5, 0.25, 1.0):
        record(store, score(value=value))
        assert newest() == score_of(store) == value


def test_a_run_without_gates_gets_no_score_whatever_is_recorded(store: Store) -> None:
    end(store, in_test(), seconds=DAY)
    record(store, score())
    assert number(store) == 1
    assert score_of(store) is None


def test_a_run_that_delivered_nothing_keeps_its_score_and_is_not_awaited(store: Store) -> None:
    end(store, in_test(score=0.0), TESTS, REVIEW)
    record(store, score(name="review", value=1.0))
    assert (number(store), score_of(store)) == (1, 0.0)


def test_a_run_that_was_cancelled_is_not_awaited(store: Store) -> None:
    end(store, in_test(cancelled=True), TESTS)
    assert number(store) == 1
    assert store.observations("e1", "test") == [missing(how="cancelled", stream="0", order=1)]


@pytest.mark.parametrize("is_numbered", [False, True])
def test_a_run_that_ends_late_is_missing_at_once_and_gets_its_score_all_the_same(
    store: Store, is_numbered: bool
) -> None:
    with store.transaction() as transaction:
        assigned = Assignment("e1", "test", "treatment", "0", 0)
        transaction.start_run(start(), planned(assignment=assigned), OTHER.id)
        assert transaction.mark_lost() == ("r1",)
    if is_numbered:
        assert number(store) == 1
    end(store, in_test(), TESTS, process=OTHER.id)
    assert number(store) == (not is_numbered)
    record(store, score(value=0.5))
    assert store.observations("e1", "test") == [missing(stream="0", order=1)]
    found = store.run("r1")
    assert found is not None
    assert (found.status, found.score) == ("late", 0.5)


def test_of_scores_that_come_at_once_the_last_completes_the_run(store: Store, url: str) -> None:
    gates = [Gate(f"g{index}") for index in range(6)]
    for index in range(5):
        end(store, in_test(f"r{index}", index), *gates)

    def give(name: str) -> None:
        with Store.open(url, busy_timeout_seconds=30.0) as own:
            for index in range(5):
                record(own, score(f"r{index}", name, 0.5))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(give, [gate.name for gate in gates]))
    assert number(store) == 5
    assert {one.score for one in store.observations("e1", "test")} == {0.5}


# --- processes that died


def silent(store: Store, *gates: Gate, run_id: str = "r1") -> None:
    """Let a run end in a process that then falls silent."""
    with store.transaction() as transaction:
        transaction.beat(OTHER)
    end(store, in_test(run_id), *gates, process=OTHER.id)
    pass_time(store, 61.0)


def released(store: Store) -> tuple[str, ...]:
    with store.transaction() as transaction:
        return transaction.release_scores(60.0)


def test_a_run_waits_for_no_scorer_whose_process_died(store: Store) -> None:
    silent(store, TESTS, RUBRIC, HOOK)
    record(store, score(value=0.5))
    assert released(store) == ("r1",)
    hook, rubric, tests = store.scores_of("r1")
    assert (hook.name, hook.value, hook.why, hook.source) == ("acme", None, "output lost", "hook")
    assert (rubric.value, rubric.why, rubric.judge, rubric.source) == (None, "output lost", "d1", "model")
    assert tests.value == 0.5
    assert number(store) == 1
    assert [one.score for one in store.observations("e1", "test")] == [None]
    assert released(store) == ()


def test_it_goes_on_waiting_for_those_outside(store: Store) -> None:
    silent(store, TESTS, REVIEW)
    assert released(store) == ("r1",)
    assert released(store) == ()
    assert number(store) == 0
    record(store, score(name="review", value=1.0))
    assert number(store) == 1


def test_a_score_from_the_journal_of_the_dead_still_counts_until_the_run_is_taken(store: Store) -> None:
    silent(store, TESTS)
    released(store)
    record(store, score(value=0.5))
    assert number(store) == 1
    assert [one.score for one in store.observations("e1", "test")] == [0.5]


def test_what_lives_has_ended_waits_for_nothing_or_is_taken_is_left_alone(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.beat(OTHER)
    end(store, in_test("alive"), TESTS, process=OTHER.id)
    assert released(store) == ()
    pass_time(store, 61.0)
    end(store, in_test("bare", 1), process=OTHER.id)
    end(store, outside("outside"), TESTS, seconds=None, process=OTHER.id)
    end(store, in_test("taken", 2), TESTS, process=OTHER.id, seconds=-1.0)
    assert number(store) == 3
    assert released(store) == ("alive",)


# --- what is read


def test_the_last_runs_of_a_team_come_with_their_scores(store: Store) -> None:
    for index in range(4):
        end(store, outside(f"r{index}", started_at=float(index)))
        record(store, score(f"r{index}", "b"), score(f"r{index}", "a"))
    end(store, outside("bare", started_at=9.0))
    end(store, outside("elsewhere", spec=evolve(SPEC, team_id="other")))
    with store.transaction() as transaction:
        transaction.start_run(start("running", started_at=10.0), planned())
    found = store.team_scores(*KEY, 3)
    assert [(run.run_id, [one.name for one in scores]) for run, scores in found] == [
        ("bare", []),
        ("r3", ["a", "b"]),
        ("r2", ["a", "b"]),
    ]
    with store.reading() as transaction:
        assert transaction.team_scores(*KEY, 3) == found
    assert len(store.team_scores(*KEY, 100)) == 5
    assert store.team_scores("no", "team", 3) == []


def test_scores_up_to_a_run_are_those_of_the_runs_up_to_it(store: Store) -> None:
    for index in range(4):
        end(store, outside(f"r{index}", started_at=float(index)))
        record(store, score(f"r{index}", "a"))
        number(store)
    end(store, outside("unnumbered", started_at=9.0))
    with store.reading() as transaction:
        assert list(transaction.scores_of_runs(*KEY, 2, 3)) == ["r1", "r2"]
        assert list(transaction.scores_of_runs(*KEY, 9)) == ["r0", "r1", "r2", "r3"]


def test_what_a_judge_gave_is_read_beside_the_labels_of_the_same_runs(store: Store) -> None:
    def judged(run_id: str, at: float, judge: str = "d1", name: str = "rubric", value: float | None = 0.5) -> None:
        record(store, score(run_id, name, value, source="model", judge=judge, at=at))

    for index, run_id in enumerate(("b", "a", "c", "d")):
        end(store, in_test(run_id, index, arm="control") if run_id == "a" else outside(run_id))
    end(store, outside("elsewhere", spec=evolve(SPEC, team_id="other")))
    judged("b", 3.0)
    judged("a", 1.0, value=None)
    judged("c", 2.0, judge="d2")
    judged("d", 2.0, name="another")
    judged("elsewhere", 2.0)
    labels = [
        score("b", "review", 1.0, source="person"),
        score("b", "tests", 0.0),
        score("b", "checked", 0.0, source="check"),
        score("a", "tests", None),
    ]
    record(store, *labels)
    first, second = store.judged_runs(*KEY, "rubric", "d1")
    assert (first.run_id, first.arm, first.score.value, first.labels) == ("a", "control", None, ())
    assert (second.run_id, second.arm, second.score.judge, second.labels) == ("b", None, "d1", tuple(labels[:2]))
    assert store.judged_runs(*KEY, "rubric", "d1", limit=1) == [second]
    with store.reading() as transaction:
        assert transaction.judged_runs(*KEY, "rubric", "d1") == [first, second]


def test_scores_cost_what_they_cost_since_a_time(store: Store) -> None:
    end(store, outside("a"))
    end(store, outside("b"))
    assert store.scorer_cost_since(0.0) == 0.0
    given = [score("a", "x", cost_usd=0.5, at=10.0), score("a", "y", cost_usd=None, at=20.0)]
    record(store, *given, score("b", "x", cost_usd=0.25, at=30.0))
    assert [store.scorer_cost_since(at) for at in (10.0, 10.5, 30.0, 31.0)] == [0.75, 0.25, 0.25, 0.0]


def test_runs_that_no_person_rated_are_given_newest_first(store: Store) -> None:
    other = evolve(SPEC, team_id="other")
    for index, run_id in enumerate(("oldest", "scored", "rated", "skipped", "elsewhere")):
        spec = other if run_id == "elsewhere" else SPEC
        end(store, outside(run_id, started_at=float(index), spec=spec))
    with store.transaction() as transaction:
        transaction.start_run(start("running"), planned())
    record(store, score("scored"), score("rated", source="person"), score("skipped", value=None, source="person"))

    def found(limit: int, *of: str) -> list[str]:
        return [one.run_id for one in store.unrated_runs(limit, *of)]

    assert found(10) == ["elsewhere", "scored", "oldest"]
    assert found(2) == ["elsewhere", "scored"]
    assert found(10, SPEC.workflow, "other") == ["elsewhere"]
    assert found(1, SPEC.workflow, SPEC.team_id) == ["scored"]


ID, NEAR = "0123456789abcdef0123456789abcdef", "0123456fffffffffffffffffffffffff"
TRACE = "fedcba98765432100123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        *(ID, ID.upper(), f" {ID}\n", "01234567-89ab-cdef-0123-456789abcdef", ID[:8], "01234567-89AB"),
        *(TRACE, TRACE.upper(), "fedcba98-7654-3210-0123-456789abcdef"),
    ],
)
def test_a_person_finds_a_run_by_its_id_the_beginning_of_it_or_its_trace(store: Store, text: str) -> None:
    end(store, outside(ID, trace_id=TRACE))
    end(store, outside(NEAR, trace_id="00" * 16))
    found = store.find_run(text)
    assert found is not None
    assert (found.run_id, found.trace_id) == (ID, TRACE)


@pytest.mark.parametrize("text", ["", "  ", "-", ID[:5], "0123457", "%", "______", f"{ID}0", TRACE[:8], "x" * 5000])
def test_what_names_no_run_finds_none(store: Store, text: str) -> None:
    end(store, outside(ID, trace_id=TRACE))
    assert store.find_run(text) is None


def test_ids_of_other_tools_are_found_as_they_are_written(store: Store) -> None:
    for run_id in ("Job-17/A", "job17/a", "Job-1"):
        end(store, outside(run_id))
    assert [getattr(store.find_run(one), "run_id", None) for one in ("Job-17/A", "job17/a", "Job-1", "Job-17")] == [
        *("Job-17/A", "job17/a", "Job-1", "Job-17/A")
    ]


@pytest.mark.parametrize("text", [ID[:7], TRACE])
def test_what_may_mean_several_runs_is_an_error_that_names_them(store: Store, text: str) -> None:
    for run_id in (ID, NEAR):
        end(store, outside(run_id, trace_id=TRACE))
    with pytest.raises(StoreError, match=f"{ID}, {NEAR}") as caught:
        store.find_run(text)
    assert caught.value.hint


def test_what_is_read_is_of_the_environment_or_without_one_of_all(store: Store) -> None:
    there = store.of("staging")
    for environment in ("default", "staging"):
        run_id = f"{environment}-run"
        end(store, outside(run_id, environment=environment, trace_id=environment))
        record(store, score(run_id, "rubric", judge="d", source="model", cost_usd=1.0))
    assert [len(one.unrated_runs(9)) for one in (there, store)] == [1, 2]
    assert [one.scorer_cost_since(0.0) for one in (there, store)] == [1.0, 2.0]
    assert [len(one.team_scores(*KEY, 9)) for one in (there, store)] == [1, 2]
    assert [len(one.judged_runs(*KEY, "rubric", "d")) for one in (there, store)] == [1, 2]
    assert there.find_run("default-run") is None
    assert there.find_run("default") is None
    assert store.find_run("staging-run") == there.find_run("staging")


def test_who_only_looks_reads_all_of_it(store: Store, url: str) -> None:
    end(store, outside(ID))
    record(store, score(ID, "rubric", judge="d", source="model", at=10.0))
    with Store.open(url, look_only=True) as seen:
        assert [one.name for one in seen.scores_of(ID)] == [one.name for one in seen.scores()] == ["rubric"]
        assert [run.run_id for run, _ in seen.team_scores(*KEY, 5)] == [run.run_id for run in seen.unrated_runs(5)]
        assert [one.run_id for one in seen.judged_runs(*KEY, "rubric", "d")] == [ID]
        assert seen.scorer_cost_since(0.0) == 0.25
        assert seen.find_run(ID[:6]) == seen.run(ID)


def test_gates_of_teams_and_experiments_come_back_and_those_of_an_experiment_stay(store: Store) -> None:
    gated = experiment(gates=(TESTS, REVIEW))
    with store.transaction() as transaction:
        state = transaction.save_team(evolve(transaction.team(*KEY), gates=(RUBRIC, TESTS)))
        transaction.save_experiment(gated)
        with pytest.raises(StoreError, match="gates"):
            transaction.save_experiment(evolve(gated, gates=(TESTS,)))
        transaction.save_experiment(evolve(gated, decided_order=7))
    assert [one.gates for one in store.teams()] == [state.gates] == [(RUBRIC, TESTS)]
    found = store.experiment("e1")
    assert found == evolve(gated, decided_order=7)
