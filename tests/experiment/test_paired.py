from __future__ import annotations

import itertools
import json
import math
import random

import numpy as np
import pytest
from attrs import evolve
from scipy import stats

from victor_autotune_plugin._model.assignment import assign, block_of, pairs_within_tasks, shares_of_stream
from victor_autotune_plugin._model.converter import from_plain
from victor_autotune_plugin.experiment import Judge, Observation, Policy, judge_of
from victor_autotune_plugin.experiment.blocks import BlockMeans, BlockRanks, normal_of_t
from victor_autotune_plugin.experiment.paired import uncorrected, walsh_quantiles

PAIRED = Policy()


def decide(runs, policy=PAIRED, **options):
    judge = judge_of(policy, **options)
    for run in runs:
        judge.observe(run)
    return judge.verdict()


def assigned(n, seconds, *, seed="s", stream="a", ratio=1.0, start=0, **fields):
    """Runs of one stream as `assign` splits them; `seconds(i)` is the duration of run `i` in the control."""
    runs = []
    for i in range(start, start + n):
        arm = assign(seed, i, shares_of_stream(stream), stream=stream)
        took = seconds(i) * (ratio if arm == "treatment" else 1.0)
        common = {"success": True, "score": 1.0, **fields}
        runs.append(Observation(index=i, stream=stream, arm=arm, duration_seconds=took, **common))
    return runs


def noisy(seed, sigma=0.7):
    rng = random.Random(seed)
    return lambda _: 20 * math.exp(rng.gauss(0, sigma))


@pytest.mark.parametrize("rule", ["signed_rank", "balanced"])
def test_what_is_asked_after_every_run_is_what_the_verdict_says(rule):
    judge = judge_of(Policy(rule=rule))
    for run in assigned(120, noisy(3), ratio=0.5):
        judge.observe(run)
        now, verdict = judge.interim, judge.verdict()
        assert (now.status, now.stage, now.pairs) == (verdict.status, verdict.stage, verdict.pairs)
        assert now.chance_better == pytest.approx(verdict.chance_better, nan_ok=True)
        assert (now.may_go_live, repr(now.guardrails)) == (verdict.may_go_live, repr(verdict.guardrails))
    assert verdict.status == "passed"


def test_the_progress_of_a_test_is_what_its_verdict_says_and_changes_nothing():
    asked, unasked = Judge(PAIRED), Judge(PAIRED)
    for run in assigned(120, noisy(3), ratio=0.5):
        asked.observe(run)
        unasked.observe(run)
        seen = asked.progress
    said = unasked.verdict()
    assert repr(asked.verdict()) == repr(said)
    assert (seen.effect, seen.interval) == (said.effect, said.interval)
    assert (seen.statistic, seen.boundary, seen.pairs) == (said.statistic, said.boundary, said.pairs)
    assert said.status == "passed"


@pytest.mark.parametrize("tied", [False, True])
def test_pairs_are_judged_by_wilcoxons_signed_ranks(tied):
    rng = np.random.default_rng(1)
    control, treatment = rng.normal(0, 1, 40), rng.normal(-0.5, 1, 40)
    if tied:
        control, treatment = control.round(), treatment.round()
    ranks = BlockRanks()
    for k, (c, t) in enumerate(zip(control, treatment, strict=True)):
        ranks.add(k, float(t), treatment=True)
        ranks.add(k, float(c), treatment=False)
    expected = stats.wilcoxon(control - treatment, zero_method="zsplit", correction=False, method="approx")
    if not tied:
        assert uncorrected(ranks.z, 40) == pytest.approx(abs(expected.zstatistic), abs=1e-9)
    assert ranks.z > 0
    assert ranks.information == 40


def test_the_corrected_statistic_of_few_pairs_has_nearly_the_exact_tail():
    for pairs, least in ((12, 2.5), (14, 3.0)):
        sums = np.zeros(1)
        for rank in range(1, pairs + 1):
            sums = np.concatenate((sums + rank, sums - rank))
        gaps = [float(k + 1) for k in range(pairs)]
        deviation = math.sqrt(pairs * (pairs + 1) * (2 * pairs + 1) / 6)
        limit = uncorrected(least, len(gaps)) * deviation
        exact = float((sums >= limit - 1e-9).mean())
        assert exact <= 1.1 * stats.norm.sf(least)
        assert exact >= 0.5 * stats.norm.sf(least)


def test_a_block_with_one_treatment_has_the_permutation_moments():
    values = [[1.0, 2.5, 2.7, 9.0], [0.3, 0.9, 4.0, 4.1]]
    found = []
    for first, second in itertools.product(range(4), repeat=2):
        ranks = BlockRanks()
        for block, treated in enumerate((first, second)):
            for place, value in enumerate(values[block]):
                ranks.add(block, value, treatment=place == treated, wide=True)
        found.append(ranks.z)
    assert abs(np.mean(found)) < 0.1
    assert 0.7 < np.var(found) < 1.2
    assert ranks.information == pytest.approx(3.0)


def test_means_within_blocks_have_the_permutation_variance():
    control, treatment = [[1.0, 4.0, 2.0], [7.0]], [[3.0], [5.0, 9.0]]
    means = BlockMeans()
    for block in range(2):
        for value in control[block]:
            means.add(block, value, treatment=False)
        for value in treatment[block]:
            means.add(block, value, treatment=True)
    weights = [3 * 1 / 4, 1 * 2 / 3]
    total = weights[0] * (3 - 7 / 3) + weights[1] * (7 - 7)
    variance = 0.0
    for block, n in enumerate((1, 2)):
        pooled = control[block] + treatment[block]
        sums = [sum(pooled[i] for i in chosen) for chosen in itertools.combinations(range(len(pooled)), n)]
        variance += float(np.var(sums))
    assert means.difference == pytest.approx(total / sum(weights))
    raw = total / math.sqrt(variance)
    assert abs(means.z - raw) < 0.25
    assert means.information == pytest.approx(2 * sum(weights))


@pytest.mark.parametrize("policy", [PAIRED, evolve(PAIRED, metric="score")], ids=["duration", "score"])
def test_students_t_as_a_normal_score(policy):
    for t, degrees in ((1.0, 9), (2.5, 20), (4.0, 12)):
        assert stats.norm.sf(normal_of_t(t, degrees)) == pytest.approx(stats.t.sf(t, degrees), rel=0.06)


def test_a_run_without_a_partner_is_left_out_and_counted():
    runs = assigned(60, noisy(3), ratio=0.7)
    whole = decide(runs)
    lost = decide([run for run in runs if run.index not in (4, 11, 40)])
    assert whole.ignored["unpaired"] == 0
    assert lost.ignored["unpaired"] == 3
    without = decide([run for run in runs if run.index // 2 not in (2, 5, 20)])
    assert lost.statistic == without.statistic


def test_what_neighbours_have_in_common_does_not_count():
    wave = [20 * math.exp(2 * math.sin(i // 2 / 9)) for i in range(400)]
    rng = random.Random(4)
    runs = assigned(400, lambda i: wave[i] * math.exp(rng.gauss(0, 0.3)), ratio=0.8)
    assert decide(runs).status == "passed"
    assert decide(runs, Policy(rule="balanced")).status != "passed"
    assert decide(runs).runs["treatment"] < 60


def test_tasks_that_alternate_do_not_look_like_a_gain():
    rates = {}
    for rule in ("signed_rank", "balanced"):
        policy = Policy(rule=rule, futility=False, max_runs_per_arm=60)
        found = 0
        for seed in range(60):
            rng = random.Random(seed)
            runs = assigned(120, lambda i, r=rng: 20 * 8 ** (i % 2) * math.exp(r.gauss(0, 0.2)), seed=str(seed))
            found += decide(runs, policy).status in ("passed", "failed")
        rates[rule] = found
    assert rates["signed_rank"] <= 8
    assert rates["balanced"] > rates["signed_rank"]


@pytest.mark.parametrize("within", [True, False])
def test_a_test_of_recurring_tasks_ends_with_a_proof(within):
    rng, places, judge = random.Random(5), {}, Judge(PAIRED)
    for _ in range(400):
        task = rng.randrange(12)
        stream = f"task:{task}" if within else "a"
        index = places.get(stream, 0)
        places[stream] = index + 1
        arm = assign("s", index, stream=stream)
        took = 20 * math.exp(task / 4 + rng.gauss(0, 0.3)) * (0.7 if arm == "treatment" else 1)
        judge.observe(Observation(index, arm, took, success=True, score=1.0, task_key=f"t{task}", stream=stream))
    verdict = judge.verdict()
    assert verdict.ignored["repeated"] == 0
    assert verdict.status == ("passed" if within else verdict.status)
    assert judge.is_final
    if within:
        assert verdict.runs["treatment"] <= 60


def test_a_waiting_run_of_a_known_task_counts_for_half():
    ranks = BlockRanks()
    for k in range(4):
        ranks.add(("t", k), 2.0, treatment=True, task="t")
        ranks.add(("t", k), 3.0, treatment=False, task="t")
    ranks.add(("u", 0), 1.5, treatment=True, task="u")
    assert ranks.information == 4
    before = ranks.z
    ranks.add(("t", 9), 1.5, treatment=True, task="t")
    assert 4.4 < ranks.information < 4.5
    assert ranks.z > before
    assert ranks.unpaired == 2


def test_levels_of_tasks_are_taken_off_a_pair_of_two_tasks():
    plain, known = BlockRanks(), BlockRanks()
    rng = random.Random(3)
    for k in range(60):
        for treatment in (True, False):
            task = rng.randrange(6)
            value = 3.0 * task + rng.gauss(0, 0.5) - (0.5 if treatment else 0.0)
            plain.add(k, value, treatment=treatment)
            known.add(k, value, treatment=treatment, task=f"t{task}")
    assert known.z > 3
    assert known.z > plain.z + 1
    assert known.information == plain.information


def test_few_tasks_are_paired_within_themselves():
    assert pairs_within_tasks(12, 120)
    assert pairs_within_tasks(40, 120)
    assert not pairs_within_tasks(41, 120)
    assert not pairs_within_tasks(0, 120)


def test_the_stages_of_a_test_have_blocks_of_their_shares():
    assert block_of("a", 7) == (("a", 3), 2)
    assert block_of("canary:a", 7) == (("canary:a", 1), 4)
    assert block_of("probation:a", 19) == (("probation:a", 1), 10)
    assert block_of("task:canary", 3) == (("task:canary", 1), 2)


def test_canary_halves_and_probation_are_one_test():
    seconds = noisy(6, 0.4)
    runs = assigned(12, seconds, stream="canary:a", ratio=0.6) + assigned(20, seconds, ratio=0.6)
    runs += assigned(200, seconds, stream="probation:a", ratio=0.6)
    verdict = decide(runs, PAIRED)
    assert verdict.may_go_live
    assert verdict.sample_ratio_p_value > 0.01
    assert verdict.runs["treatment"] > verdict.runs["control"] - 7
    assert decide(assigned(400, noisy(7), stream="probation:a")).status == "inconclusive"
    runs = assigned(400, seconds, ratio=0.6)
    lost = [run for run in runs if run.arm == "control" or run.index % 7 < 3]
    assert "match the plan" in decide(lost, PAIRED).reason


def test_deadlines_that_strike_both_arms_do_not_hide_a_gain():
    def struck(run):
        late = random.Random(run.index * 7 + 1).random() < 0.1
        return evolve(run, timed_out=late, duration_seconds=run.duration_seconds * (10 if late else 1))

    passed = sum(
        decide([struck(run) for run in assigned(400, noisy(s), seed=str(s), ratio=0.65)]).status == "passed"
        for s in range(10)
    )
    assert passed >= 9


def test_a_treatment_that_times_out_is_slower_however_early_it_ended():
    runs = [evolve(run, timed_out=run.arm == "treatment", duration_seconds=2.0) for run in assigned(200, noisy(8))]
    verdict = decide(runs)
    assert verdict.status == "failed"
    assert verdict.effect == math.inf


@pytest.mark.parametrize("metric", ["duration", "cost", "tool_calls", "score"])
def test_each_metric_can_pass_and_fail(metric):
    rng = random.Random(9)

    def told(run, better):
        good = (run.arm == "treatment") == better
        return evolve(
            run,
            duration_seconds=20 * math.exp(rng.gauss(0, 0.3)) * (0.5 if good and metric == "duration" else 1),
            cost_usd=math.exp(rng.gauss(0, 0.3)) * (0.5 if good and metric == "cost" else 1),
            tool_calls=rng.randint(8, 20) // (3 if good and metric == "tool_calls" else 1),
            score=min(1.0, rng.uniform(0.3, 0.7) * (1.6 if good and metric == "score" else 1)),
        )

    for better, status in ((True, "passed"), (False, "failed")):
        runs = [told(run, better) for run in assigned(400, lambda _: 1.0)]
        verdict = decide(runs, evolve(PAIRED, metric=metric))
        assert (verdict.status, verdict.metric) == (status, metric)
        json.dumps(verdict.to_dict(), allow_nan=False)


@pytest.mark.parametrize("ratio", [1.0, 0.6, 2.0])
def test_a_verdict_replays_bit_for_bit(ratio):
    runs = assigned(12, noisy(10), stream="canary:a", ratio=ratio) + assigned(388, noisy(11), ratio=ratio)
    asked, silent = Judge(PAIRED), Judge(PAIRED)
    for run in runs:
        asked.observe(run)
        asked.verdict()
        silent.observe(run)
    assert asked.verdict().to_dict() == silent.verdict().to_dict()
    replayed = decide([from_plain(Observation, json.loads(json.dumps(run.to_dict()))) for run in runs])
    assert json.dumps(replayed.to_dict()) == json.dumps(silent.verdict().to_dict())


def test_walsh_quantiles_invert_the_signed_rank_test():
    rng = np.random.default_rng(12)
    gaps = rng.normal(0.5, 1, 25).tolist()
    middle, low, high = walsh_quantiles(gaps, 1.96, 1.96)
    averages = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(gaps, 2)]
    assert middle == pytest.approx(np.median(averages))

    def z(shift):
        moved = np.array(gaps) - shift
        return float((np.sign(moved) * stats.rankdata(np.abs(moved))).sum() / math.sqrt(25 * 26 * 51 / 6))

    assert z(low - 1e-9) >= 1.96 >= z(low + 1e-9)
    assert z(high + 1e-9) <= -1.96 <= z(high - 1e-9)
    assert walsh_quantiles(gaps, math.inf, 9.0)[1:] == (-math.inf, math.inf)


def test_ten_equal_scores_leave_an_interval_with_a_width():
    runs = assigned(20, lambda _: 5.0, score=0.8)
    low, high = decide(runs, evolve(PAIRED, metric="score")).interval
    assert low < 0 < high
    assert high - low > 0.2
