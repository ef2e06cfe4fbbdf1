"""What the runs of a test lead to: another stage, probation, a promotion, or its end.

The A/B engine alone decides what is proven. The tuner, which knows more than the runs of one test, says how likely a
layout is better that keeps the work, and lets a hopeless test give way to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from .._model.experiment import Experiment, TestEnd
from .._model.text import TITLES, likely, listed
from .exposure import exceeded
from .flow_guard import must_wait
from .going_live import KEPT_CHANCE, PROBATION_CHANCE, PROBATION_PAIRS, kept_by
from .judges import Judges
from .next_test import Challengers, RunContext
from .threads import breathing
from .transitions import Why, improvement_of
from .worse_work import WORK, sign_of_worse_work

if TYPE_CHECKING:
    from .._model.policy import InterimVerdict, Verdict
    from .._tuner import TestOutlook
    from ..experiment import Judge

OUTLOOK_EVERY: Final = 5
"""After how many runs of an experiment the tuner is asked for its outlook."""

REPLAYED_CHANCE: Final = 0.95
"""Probability, by all that is known of the team, member spans included, that a plan is better from which it may go on
probation, where the pairs do not speak against it."""

STAYS_LIVE: Final = ((40, 0.35), (0, 0.2))
"""Pairs of a test, and the probability by them that its plan is better below which a probation ends, whatever was
expected: what is no faster than before after so many is not worth being live."""

LIKE_BEFORE: Final = 1.0
"""Evidence of worse work from which a plan does not go on probation; from `LIKELY_HARM` on its probation ends."""


class Verdicts:
    """Judges the test of a team."""

    def __init__(self, judges: Judges, challengers: Challengers) -> None:
        self._judges = judges
        self._challengers = challengers

    def conclude(self, context: RunContext, test: Experiment) -> None:
        """Draw the conclusions from a run for a test that goes on, or waits for its promotion."""
        if test.status == "awaits_promotion":
            if over := over_cost_cap(context, test):
                context.steps.end_test(test, "aborted", Why(*over))
            else:
                self._promote(context, test, test.verdict or {})
            return
        too_dear, too_bad = over_cost_cap(context, test), exceeded(context, test)
        if over := too_dear or too_bad:  # a week's limit proves nothing of the plan, which may be tested again
            failed = too_dear is not None and test.status != "probation"
            context.steps.end_test(test, "failed" if failed else test.broken_off, Why(*over))
            return
        judge = self._judges.judge(context.record, test)
        now = judge.interim
        if now.status in ("failed", "inconclusive"):
            verdict = _told(judge)
            evidence = verdict.to_dict()
            decided = evolve(test, verdict=evidence, decided_at=context.now)
            ended: TestEnd = "failed" if now.status == "failed" else "inconclusive"
            context.steps.end_test(decided, ended, Why(verdict.reason, evidence))
            return
        passed = now.status == "passed"
        asked_for = test.allowed_by == "person"  # and is to be answered
        may_give_way = not (passed or asked_for) and test.status == "testing" and judge.seen % OUTLOOK_EVERY == 0
        outlook = self._outlook(context, test) if may_give_way else None
        if not passed and test.status == "probation" and (harm := sign_of_worse_work(now.guardrails)) is not None:
            context.steps.end_test(test, test.broken_off, Why(harm, _told(judge).to_dict()))
        elif outlook is not None and outlook.stop:
            context.steps.end_test(
                evolve(test, decided_at=context.now),
                "inconclusive",
                Why(f"Stopped as hopeless. {outlook.reason}", outlook.to_dict()),
            )
        elif not passed and test.status == "probation" and now.chance_better < _least_to_stay(now.pairs):
            why = f"Only {likely(now.chance_better)} likely to be better after {now.pairs:.0f} pairs of runs."
            evidence = _told(judge).to_dict()
            decided = evolve(test, verdict=evidence, decided_at=context.now)
            context.steps.end_test(decided, "inconclusive", Why(why, evidence))
        elif passed and not must_wait(context, test):
            self._promote(context, test, _told(judge).to_dict())
        elif not passed and (reason := self._why_on_probation(context, test, judge)) is not None:
            self._put_on_probation(context, test, _told(judge), reason)
        else:
            self._move_on(context, test, now)

    @staticmethod
    def _move_on(context: RunContext, test: Experiment, now: InterimVerdict) -> None:
        goes_on = test.status == "canary" and now.stage != "canary"
        if goes_on or test.asks_for is not None:  # it is no longer as likely to be better as when it was asked for
            context.steps.go_on(evolve(test, asks_for=None), "testing" if goes_on else test.status)

    def _outlook(self, context: RunContext, test: Experiment) -> TestOutlook | None:
        """Return what the tuner says of a test after a run of it, which costs milliseconds; None where it is off."""
        if context.run.experiment_id != test.id:
            return None
        with breathing():
            return self._challengers.outlook(context.team, test)

    def _why_on_probation(self, context: RunContext, test: Experiment, judge: Judge) -> str | None:
        """Return why a layout may go live while its test goes on, in words, or None when it may not.

        Where the data flow says that the work stays the same, what is left to prove is how fast it is, and that the
        runs succeed as before. Where it can't tell, a trusted score has to make it likely. What members do is changed
        by a proof alone.
        """
        if test.status not in ("canary", "testing") or must_wait(context, test):
            return None
        keeps, now = test.allowed_by == "data_flow", judge.interim
        if keeps and now.may_go_live:  # who rejected a probation is asked again for the promotion alone
            if not context.approval.given and test.promotion != "probation":
                return None
            verdict = _told(judge)
            rest = listed([TITLES[name] for name in verdict.open])
            return f"{verdict.reason} It is live while the rest is proven: {rest}."
        if kept_by(test) is None:
            return None
        # The cheap things first: this is asked after every run.
        if now.pairs < PROBATION_PAIRS or not (chance := now.chance_better) >= 0.5:
            return None
        guardrails = now.guardrails
        if any(one.status == "harmed" for one in guardrails):
            return None
        if any(one.name in WORK and one.treatment == 0 for one in guardrails):  # such as where no model answers
            return None
        if sign_of_worse_work(guardrails, LIKE_BEFORE) is not None:
            return None
        pairs = f"{now.pairs:.0f} pairs of runs"
        if keeps and chance >= PROBATION_CHANCE:
            return f"{likely(chance)} likely to be better after {pairs}."
        if (told := self._outlook(context, test)) is None:
            return None
        better, kept = told.outlook.p_gain, told.outlook.p_success_kept
        if keeps and better >= REPLAYED_CHANCE:
            return f"{likely(better)} likely to be better by its {pairs} and what members took in all runs."
        if not keeps and better >= PROBATION_CHANCE and kept >= KEPT_CHANCE:
            return f"{likely(better)} likely to be better, and {likely(kept)} to keep the score, after {pairs}."
        return None

    @staticmethod
    def _put_on_probation(context: RunContext, test: Experiment, verdict: Verdict, reason: str) -> None:
        approval = context.approval
        if not approval.given:
            if approval.by is None:
                approval.asked = test, "probation"
                if test.asks_for is None:
                    context.changes.save_experiment(evolve(test, asks_for="probation"))
                    context.changes.save_team(context.state)
            elif test.asks_for is not None or test.promotion == "probation":
                context.changes.save_experiment(evolve(test, asks_for=None, promotion="proof"))
            return
        gain = improvement_of(test, verdict.effect)
        context.steps.put_on_probation(test, Why(reason, verdict.to_dict(), by=approval.by), gain)

    def _promote(self, context: RunContext, test: Experiment, verdict: Mapping[str, Any]) -> None:
        """Promote the plan of a test that passed; ask first where a person has to approve."""
        steps, approval = context.steps, context.approval
        decided = test
        if not test.decided_at:
            order = context.run.number  # the watch sees the runs of the test that come later, as with late scores
            decided = evolve(test, verdict=verdict, decided_at=context.now, decided_order=order)
        effect = verdict.get("effect")
        gain = None if effect is None else improvement_of(test, effect)
        why = Why(str(verdict.get("reason", "")), verdict)
        if approval.given or test.status == "probation":  # who let it go on probation let it stay once it is proven
            steps.promote(decided, why, gain)
        elif approval.by is not None:
            refused = Why(f"The hook of {approval.by!r} did not approve the promotion.", actor="person", by=approval.by)
            steps.end_test(decided, "aborted", refused, "rejected")
        else:
            approval.asked = decided, "promote"
            if test.status != "awaits_promotion":
                steps.await_promotion(decided, why, gain)


def _told(judge: Judge) -> Verdict:
    with breathing():
        return judge.verdict()


def over_cost_cap(context: RunContext, experiment: Experiment) -> tuple[str, Mapping[str, Any]] | None:
    """Return why a plan must go that crossed the cost cap; one run is enough, since the cap is a hard limit."""
    run, cap = context.run, context.settings.limits.max_cost_usd_per_run
    over = cap is not None and run.cost_usd is not None and run.cost_usd > cap
    if experiment.status == "awaits_promotion":  # all runs have its plan, and none has an arm
        mine = run.plan_asked == experiment.treatment
    else:
        mine = run.experiment_id == experiment.id and run.arm == "treatment"
    if not over or not mine:
        return None
    reason = f"A run of the changed plan cost {run.cost_usd:.4f} USD, more than limits.max_cost_usd_per_run, {cap:g}."
    return reason, {"cost_usd": run.cost_usd}


def _least_to_stay(pairs: float) -> float:
    return next(chance for least, chance in STAYS_LIVE if pairs >= least)
