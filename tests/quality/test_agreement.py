"""Krippendorff's alpha, trust in a judge, and its bias."""

from __future__ import annotations

import random

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin.quality.agreement import LabelledRun, agreement, alpha, bias, trust

MISSING = None


def labelled(number, judge, *, label=None, seed=1, **fields):
    """Return runs whose labels are checks of five, scored by `judge(rng, label)`."""
    rng = random.Random(seed)
    found = []
    for index in range(number):
        told = rng.randint(0, 5) / 5 if label is None else label
        found.append(LabelledRun(f"r{index}", judge(rng, told), told, at=float(index), **fields))
    return found


def good(rng, label):
    return min(max(label + rng.choice((0, 0, 0.2, -0.2)), 0.0), 1.0)


def at_chance(rng, label):
    return rng.randint(0, 5) / 5


def test_alpha_is_that_of_the_example_of_four_observers_in_krippendorffs_computing_alpha_2011():
    told = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
        [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
    ]
    assert alpha(zip(*told, strict=True)) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_that_of_the_published_example_of_three_observers():
    told = [
        [MISSING] * 5 + [3, 4, 1, 2, 1, 1, 3, 3, MISSING, 3],
        [1, MISSING, 2, 1, 3, 3, 4, 3] + [MISSING] * 7,
        [MISSING, MISSING, 2, 1, 3, 4, 4, MISSING, 2, 1, 1, 3, 3, MISSING, 4],
    ]
    assert alpha(zip(*told, strict=True)) == pytest.approx(0.811, abs=5e-4)


@pytest.mark.parametrize("pairs", [[], [(0.5, None)], [(1.0, 1.0)] * 30])
def test_where_nothing_varies_alpha_has_no_value(pairs):
    assert alpha(pairs) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=40), st.randoms())
def test_alpha_is_at_most_1_and_the_order_of_the_runs_is_nothing_to_it(pairs, rng):
    found = alpha(pairs)
    if found is None:
        return
    assert found <= 1
    shuffled = rng.sample(pairs, len(pairs))
    assert alpha(shuffled) == pytest.approx(found, abs=1e-9)


def test_the_lower_bound_is_below_alpha_and_the_same_every_time():
    runs = labelled(40, good)
    found = agreement(runs)
    assert found.low < found.alpha
    assert agreement(list(runs)) == found


def test_a_judge_that_agrees_is_trusted_from_20_labels_on():
    runs = labelled(40, good)
    assert not trust(runs[:19]).is_trusted
    assert trust(runs[:19]).why == "not trusted yet: 19 of 20 labels"
    assert trust(runs[:20]).is_trusted


def test_a_judge_that_agrees_at_chance_is_never_trusted_along_200_labels():
    for seed in range(6):
        runs = labelled(200, at_chance, seed=seed)
        assert not any(trust(runs[:number]).is_trusted for number in range(1, 201, 3))


def test_a_judge_that_is_always_sure_of_the_opposite_is_not_trusted():
    found = trust(labelled(40, lambda rng, label: 1 - label))
    assert not found.is_trusted
    assert found.agreement.alpha < 0


def test_few_labels_whose_agreement_hangs_on_one_run_earn_no_trust():
    runs = labelled(20, lambda rng, label: 0.8 + 0.05 * rng.random(), label=0.8)
    runs[7] = evolve(runs[7], judged=0.0, label=0.0)
    found = trust(runs)
    assert found.agreement.alpha > 0.7
    assert not found.is_trusted
    assert "lower bound" in found.why


def test_trust_ends_with_the_last_30_labels_and_not_before_they_fall_below_6():
    runs = labelled(100, good)
    worse = [evolve(run, run_id=f"w{run.run_id}", at=run.at + 1000) for run in labelled(30, at_chance, seed=3)]
    assert trust(runs, before=True).is_trusted
    lost = trust([*runs, *worse], before=True)
    assert not lost.is_trusted
    assert "not trusted any more" in lost.why
    assert lost.agreement.alpha > lost.recent.alpha


def test_between_6_and_7_a_judge_stays_what_it_was():
    rng = random.Random(2)
    runs = [
        LabelledRun(f"r{index}", min(max(label + rng.gauss(0, 0.28), 0), 1), label, at=index)
        for index in range(300)
        for label in [rng.randint(0, 5) / 5]
    ]
    between = next(part for start in range(270) if 0.6 < (agreement(part := runs[start : start + 30]).alpha or 0) < 0.7)
    assert trust(between, before=True).is_trusted
    assert not trust(between).is_trusted


def test_labels_that_do_not_vary_earn_nothing_end_nothing_and_are_named():
    same = labelled(40, lambda rng, label: 1.0, label=1.0)
    assert not trust(same).is_trusted
    assert "do not vary" in trust(same).why
    assert trust(same, before=True).is_trusted
    assert "do not vary" in trust(same, before=True).why


def test_a_judge_whose_labels_are_long_ago_stays_trusted() -> None:
    found = trust(labelled(3, at_chance), before=True)
    assert (found.is_trusted, found.why) == (True, "trusted: 3 labels of its last runs tell nothing else")


def judged(value=0.8, **details):
    return Score("r1", "judge", value, "model", 5.0, judge="j1", details=details)


def test_several_labels_of_a_run_count_as_their_mean():
    people = [Score("r1", "ann", 1.0, "person", 7.0), Score("r1", "tests", 0.5, "command", 6.0)]
    run = LabelledRun.of("r1", "treatment", judged(length=12, answers=[[["a?", True]]]), people)
    assert (run.label, run.at, run.length, run.arm) == (0.75, 7.0, 12, "treatment")
    assert run.answers == ((("a?", True),),)


def test_without_an_opinion_on_both_sides_a_run_is_not_labelled():
    assert LabelledRun.of("r1", None, judged(None), [Score("r1", "ann", 1.0, "person", 7.0)]) is None
    assert LabelledRun.of("r1", None, judged(), [Score("r1", "ann", None, "person", 7.0)]) is None


def test_a_judge_that_likes_long_texts_is_found_and_one_that_does_not_is_not():
    rng = random.Random(1)
    lengths = [rng.randint(100, 10_000) for _ in range(60)]
    liking = [
        evolve(run, length=length, judged=min(run.label + length / 20_000, 1.0))
        for run, length in zip(labelled(60, good), lengths, strict=True)
    ]
    fair = [evolve(run, length=length) for run, length in zip(labelled(60, good), lengths, strict=True)]
    found = bias(liking)
    assert found.length_correlation > 0.5
    assert found.length_is_clear
    assert not bias(fair).length_is_clear


def test_a_check_that_is_asked_first_and_gets_yes_for_it_is_found():
    rng = random.Random(4)

    def sample():
        checks = rng.sample(["a?", "b?", "c?"], 3)
        return tuple((check, place == 0 or rng.random() < 0.4) for place, check in enumerate(checks))

    runs = [evolve(run, answers=(sample(), sample())) for run in labelled(60, good)]
    first, *others = bias(runs).positions
    assert (first.position, first.answers, first.yes, first.is_clear) == (1, 120, 1.0, True)
    assert first.expected < 0.8
    assert all(one.yes < one.expected for one in others)


def test_a_check_that_is_easy_is_not_taken_for_a_place_that_is_liked():
    rng = random.Random(4)
    runs = [evolve(run, answers=((("easy?", True), ("hard?", rng.random() < 0.2)),)) for run in labelled(60, good)]
    assert not any(one.is_clear for one in bias(runs).positions)


def test_agreement_is_told_by_arm():
    runs = labelled(30, good, arm="control") + labelled(30, at_chance, arm="treatment", seed=2) + labelled(5, good)
    found = bias(runs).arms
    assert list(found) == ["control", "treatment", "none"]
    assert found["control"].alpha > 0.7 > found["treatment"].alpha
    assert found["none"].runs == 5


def test_what_is_told_is_plain_data():
    import json

    runs = labelled(30, good, arm="control", length=100, answers=((("a?", True),),))
    assert json.loads(json.dumps([bias(runs).to_dict(), trust(runs).to_dict()]))[1]["is_trusted"] is True
