"""Which scorers decide for a team, from its settings and from the scores of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from attrs import evolve

from victor_autotune_plugin._model.score import Gate, JudgedRun, Score
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._settings.team_settings import QualitySettings
from victor_autotune_plugin._tuning.gates import CHANGED, GatesInForce, gates_in_force, may_change, still_set
from victor_autotune_plugin.quality.rubric import judge_of
from victor_autotune_testing.stored import finished

TESTS = ScorerSettings("tests", "command", ("pytest",))
REVIEW = ScorerSettings("review", "external", True)
JUDGE = ScorerSettings("judge", "rubric", ("Is it short?",))
RUNS = 20


def settings(*scorers: ScorerSettings) -> Settings:
    return Settings(mode="auto", quality=QualitySettings(scorers))


def decided(
    *scorers: ScorerSettings,
    rows: Mapping[str, Iterable[int]] = {},
    before: tuple[Gate, ...] = (),
    runs: int = RUNS,
    labelled: int = 0,
    agrees: bool = True,
    **fields: object,
) -> GatesInForce:
    """Return the gates where `rows` tells which of the last runs (0 is the newest) each scorer has scored."""
    source = {"judge": "model", "package": "hook", "review": "person"}
    told: dict[str, object] = {"judge": "j1" if "judge" in rows else "", **fields}

    def scores(place: int) -> list[Score]:
        names = [name for name, places in rows.items() if place in places]
        return [
            evolve(Score(f"r{place}", name, 0.5, source.get(name, "command"), 1000.0 - place), **told)  # type: ignore[arg-type]
            for name in names
        ]

    def judged(name: str, judge: str) -> list[JudgedRun]:
        found = []
        for number in range(labelled if judge == "j1" else 0):
            label = (number % 5) / 4
            value = label if agrees else ((number * 7 + 3) % 5) / 4
            score = Score(f"l{number}", name, value, "model", 1.0, judge=judge)
            found.append(JudgedRun(f"l{number}", None, score, (Score(f"l{number}", "ann", label, "person", number),)))
        return found

    scored = [(finished(f"r{place}", number=runs - place, cancelled=False), scores(place)) for place in range(runs)]
    return gates_in_force(settings(*scorers), before, scored, judged)


def why(found: GatesInForce, name: str) -> str:
    return next(one.why for one in found.scorers if one.name == name)


@pytest.mark.parametrize(
    ("places", "decides"), [([], False), ([0, 4], False), ([0, 4, 9], True), ([10, 11, 12], False)]
)
def test_a_scorer_decides_once_it_scored_three_of_the_last_ten_runs(places: list[int], decides: bool) -> None:
    found = decided(TESTS, rows={"tests": places})
    assert found.gates == ((Gate("tests"),) if decides else ())


def test_one_that_never_answers_decides_nothing_and_the_reason_is_told() -> None:
    found = decided(TESTS, rows={"tests": range(10)}, value=None, why="timeout")
    assert found.gates == ()
    assert why(found, "tests") == "scored none of the last 10 runs (timeout); from 3 on it decides"


def test_one_that_decides_does_not_lose_that_by_missing_scores() -> None:
    gate = Gate("tests", 2.0)
    found = decided(evolve(TESTS, weight=2.0), before=(gate,))
    assert (found.gates, found.gone) == ((gate,), ())


def test_scores_that_come_late_from_outside_open_what_those_of_a_command_would_not() -> None:
    late = {"review": [60, 62, 65]}
    assert decided(REVIEW, rows=late, runs=80).gates == (Gate("review", is_external=True),)
    assert decided(REVIEW, rows={"review": [60]}, runs=80).gates == ()


def test_a_scorer_that_is_only_shown_decides_nothing() -> None:
    found = decided(evolve(TESTS, gates=False), rows={"tests": range(10)})
    assert (found.gates, why(found, "tests")) == ((), "gates: false")


@pytest.mark.parametrize(
    ("scorers", "reason"),
    [
        ((), "the settings name it no more"),
        ((evolve(TESTS, gates=False),), "the settings say gates: false"),
        ((ScorerSettings("tests", "external", True),), "the settings name another scorer so"),
        ((ScorerSettings("tests", "rubric", ("Is it short?",)),), "the settings name another scorer so"),
    ],
)
def test_a_gate_goes_where_the_settings_want_it_no_more(scorers: tuple[ScorerSettings, ...], reason: str) -> None:
    gate = Gate("tests")
    assert still_set(settings(*scorers), [gate]).gone == ((gate, reason),)
    assert decided(*scorers, before=(gate,)).gone == ((gate, reason),)


def test_a_scorer_that_does_something_else_under_its_name_is_another_one() -> None:
    (gate,) = decided(TESTS, rows={"tests": range(5)}).gates
    assert gate.definition
    assert decided(TESTS, before=(gate,)).gone == ()
    changed = evolve(TESTS, value=("pytest", "-x"))
    found = decided(changed, rows={"tests": range(5)}, before=(gate,))
    assert [reason for _, reason in found.gone] == ["the settings have it do something else"]
    assert [one.identity == gate.identity for one in found.gates] == [False]


def test_another_weight_makes_no_other_gate() -> None:
    now = still_set(settings(evolve(TESTS, weight=3.0)), [Gate("tests")])
    assert (now.gates, now.gone) == ((Gate("tests", 3.0),), ())


def test_a_judge_decides_with_trust_only() -> None:
    rows = {"judge": range(10)}
    assert decided(JUDGE, rows=rows, labelled=40).gates == (Gate("judge", judge="j1"),)
    few, other = decided(JUDGE, rows=rows, labelled=12), decided(JUDGE, rows=rows, labelled=40, agrees=False)
    assert (few.gates, why(few, "judge")) == ((), "not trusted yet: 12 of 20 labels")
    assert other.gates == ()
    assert why(other, "judge").startswith("not trusted: α ")


def test_a_trusted_judge_that_scores_nothing_any_more_does_not_begin_to_decide() -> None:
    found = decided(JUDGE, rows={"judge": [15]}, labelled=40)
    assert (found.gates, why(found, "judge")) == ((), "scored none of the last 10 runs; from 3 on it decides")


def test_a_judge_that_agrees_no_more_goes() -> None:
    gate = Gate("judge", judge="j1")
    found = decided(JUDGE, rows={"judge": range(10)}, before=(gate,), labelled=40, agrees=False)
    ((gone, reason),) = found.gone
    assert (found.gates, gone) == ((), gate)
    assert "not trusted any more: α " in reason


def test_a_judge_whose_scores_have_another_digest_is_another_judge() -> None:
    gate = Gate("judge", judge="j0")
    found = decided(JUDGE, rows={"judge": range(10)}, before=(gate,), labelled=12)
    assert (found.gates, found.gone) == ((), ((gate, CHANGED),))


def test_where_the_settings_name_the_model_a_changed_rubric_counts_at_once() -> None:
    named = evolve(JUDGE, provider="openai", model="small")
    gate = Gate("judge", judge=judge_of(named))
    assert still_set(settings(named), [gate]).gone == ()
    for changed in (evolve(named, value=("Is it long?",)), evolve(named, model="big"), evolve(named, samples=5)):
        assert still_set(settings(changed), [gate]).gone == ((gate, CHANGED),)
        assert decided(changed, rows={"judge": range(10)}, before=(gate,), labelled=40).gates == ()


def test_a_third_partys_scorer_decides_by_what_it_scored_with_its_own_weight() -> None:
    (gate,) = decided(rows={"package": range(4)}).gates
    assert gate == Gate("package", is_hook=True)
    assert decided(rows={"package": range(4)}, details={"weight": 2.0}).gates == (Gate("package", 2.0, is_hook=True),)
    shown = decided(rows={"package": range(4)}, details={"gates": False}, before=(gate,))
    assert (shown.gates, shown.gone) == ((), ((gate, "it says gates: false"),))


@pytest.mark.parametrize("rows", [{}, {"package": range(6)}])
def test_a_third_partys_scorer_that_is_gone_decides_no_more(rows: dict[str, Iterable[int]]) -> None:
    gate = Gate("package", is_hook=True)
    found = decided(rows=rows, before=(gate,), runs=60, value=None, why="not set")
    assert (found.gates, found.gone) == ((), ((gate, "it is not set any more"),))


def test_a_setting_of_its_name_wins_over_a_third_partys_scorer() -> None:
    found = decided(evolve(TESTS, name="package"), rows={"package": range(4)}, before=(Gate("package", is_hook=True),))
    assert found.gates == (Gate("package"),)


def test_a_persons_scores_that_no_setting_names_decide_nothing() -> None:
    assert decided(rows={"review": range(10)}).gates == ()


def test_scores_are_not_read_where_they_can_tell_of_no_other_gates() -> None:
    assert not may_change(settings(), ())
    assert not may_change(settings(TESTS, evolve(REVIEW, gates=False)), (Gate("tests"),))
    assert may_change(settings(TESTS), ())
    assert may_change(settings(JUDGE), (Gate("judge", judge="j1"),))
