"""The sequential test of a changed plan against today's, analysed as it was randomised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from .._model.assignment import CLUSTER_STREAM, shares_of_stream
from .._model.policy import (
    LOSS,
    MORE_IS_BETTER,
    PASS_SHARE,
    SIGNED_RANK,
    GuardrailEvidence,
    InterimVerdict,
    Policy,
    Verdict,
)
from .._model.run import ARMS, CONTROL, TREATMENT, Observation
from .._model.text import TITLES, amount, interval, number, percent, points
from .boundaries import TABLE_STEP, boundary
from .canary import Canary
from .design import binomial_p_value
from .noninferiority import HARM_BUDGET, SHARES, NonInferiority
from .paired import SignedRankPrimary, primary_of
from .primary import Effect
from .probation import chance_better
from .prospects import detectable, is_futile, runs_needed
from .told import Crossing, told

MISMATCH_P: Final = 0.0005
"""Below this p-value of the runs per arm nothing is decided."""

SAFETY_Z: Final = 1.645
"""A test stops, undecided, when the success share fell by more than its margin with this standardised excess."""

PRECISE_EVERY: Final = 20
"""After every so many runs the whole interval is held against the improvement asked for: it costs more than the
evidence."""

HARM_HORIZON: Final = 0.5
"""A test is not given up while a harm is expected to be proven within this share of its information."""

ARRIVED_LIMIT: Final = 2
"""A test ends when this many times the runs that it may need have arrived, whatever they were."""

LEAST_TOLD: Final = 0.005
"""Improvement from which the least one that is left in the interval is told: what is not rounded to 0 %."""

EVEN: Final = {CONTROL: 0.5, TREATMENT: 0.5}

WRONG: Final = {
    "missing": "runs of the treatment went missing among its first",
    "bad": "runs of the treatment failed among its first",
}


@frozen
class ProofProgress:
    """How far the proof of an improvement is; each attribute is that of `Verdict`."""

    effect: float
    interval: tuple[float, float]
    statistic: float
    boundary: float
    pairs: float


class Judge:
    """Decides a test while its runs arrive; a look is taken after every one.

    The same observations in the same order give the same verdict, bit for bit, however often it was asked for. A
    test that has ended stays as it ended.

    Args:
        policy: The rules; the rule is `signed_rank`. See `judge_of` for others.
        task_effects: Log effect on the primary metric of each task key, from runs before the test (see
            `task_effects`). It is taken off the values, which shortens the test; a score is left as it is.
        before: How many of the team's runs before the test failed, timed out or went missing, and how many there were.
            It tells how soon a treatment that fails is ended.

    Raises:
        ValueError: For another rule.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        task_effects: Mapping[str, float] | None = None,
        before: tuple[int, int] = (0, 0),
    ) -> None:
        if policy.rule != SIGNED_RANK:
            raise ValueError(f"rule must be {SIGNED_RANK}, not {policy.rule!r}; judge_of() knows the earlier ones")
        self._policy = policy
        most = policy.max_runs_per_arm
        self._harm_runs = max(policy.min_runs_per_arm // 2, 4)
        first, first_harm = policy.min_runs_per_arm / most, self._harm_runs / most
        step = min(0.5 / most, TABLE_STEP)
        self._pass = boundary(policy.rule, policy.proof_alpha, first, step)
        self._fail = boundary("pocock", policy.alpha * (1 - PASS_SHARE) * HARM_BUDGET["primary"], first_harm, step)
        self._primary = primary_of(policy, task_effects or {})
        self._bet = self._primary.bet if isinstance(self._primary, SignedRankPrimary) else None
        self._guardrails = NonInferiority(policy, first_harm, step, task_effects or {})
        self._canary = Canary(before)
        self._crossing: Crossing | None = None
        self._harmed = False
        self._runs = dict.fromkeys(ARMS, 0)
        self._missing = dict.fromkeys(ARMS, 0)
        self._unscored = dict.fromkeys(ARMS, 0)
        self._ignored = {"repeated": 0, "duplicate": 0, "unmeasured": 0, "late": 0}
        self._places: set[tuple[str, int]] = set()
        self._counted: list[Observation] = []
        self._planned, self._arrived = 0.0, 0
        self._status, self._reason = "running", "No runs yet."
        self._verdict: Verdict | None = None

    def observe(self, observation: Observation) -> None:
        """Take one run into account, also one that went missing.

        A place that was seen, a run without a price in a test of cost, and a run after the end are counted and
        otherwise ignored.
        """
        self._verdict = None
        if self._status != "running":
            self._ignored["late"] += 1
            return
        self._arrived += 1
        place = observation.stream, observation.index
        if observation.stream.startswith(CLUSTER_STREAM):  # every process counts the runs of a cluster from 0
            place = observation.stream, self._arrived
        if place in self._places:
            self._ignored["duplicate"] += 1
        else:
            self._places.add(place)
            self._count_in(observation)
        if self._status == "running" and self._is_full():
            self._end()

    def _count_in(self, run: Observation) -> None:
        is_unscored = self._policy.scored and run.score is None and not run.missing
        self._unscored[run.arm] += is_unscored
        if run.missing:
            self._missing[run.arm] += 1
        elif self._primary.add(run):
            self._runs[run.arm] += 1
            self._counted.append(run)
        else:
            self._ignored["unmeasured"] += 1
            if not is_unscored:  # which counts as lost, as where another metric decides
                return
        self._planned += (shares_of_stream(run.stream) or EVEN)[TREATMENT]
        self._guardrails.add(run)
        if (wrong := self._canary.add(run)) is not None:
            self._stop_canary(wrong)
        else:
            self._look()

    def verdict(self) -> Verdict:
        """Return the verdict after the runs so far."""
        if self._verdict is None:
            self._verdict = self._describe()
        return self._verdict

    @property
    def progress(self) -> ProofProgress:
        """How far the proof is after the runs so far; a whole verdict takes several times as long."""
        effect, early = self._told(), min(self._runs.values()) < self._policy.min_runs_per_arm
        return ProofProgress(
            effect=effect.estimate,
            interval=(effect.low, effect.high),
            statistic=self._primary.z,
            boundary=math.inf if early else self._height(self._share, self._primary.z),
            pairs=self.pairs,
        )

    @property
    def interim(self) -> InterimVerdict:
        """What is asked after every run, each thing worked out when it is asked."""
        return self

    @property
    def status(self) -> str:
        """As in `Verdict`."""
        return self._status

    @property
    def stage(self) -> str:
        """As in `Verdict`."""
        return "canary" if self._canary.is_open else "testing"

    @property
    def pairs(self) -> float:
        """As in `Verdict`."""
        return self._primary.information

    @property
    def chance_better(self) -> float:
        """As in `Verdict`."""
        return chance_better(self._primary)

    @property
    def guardrails(self) -> tuple[GuardrailEvidence, ...]:
        """As in `Verdict`."""
        return self._guardrails.evidence(self._share if min(self._runs.values()) >= self._harm_runs else 0.0)

    @property
    def seen(self) -> int:
        """How many runs it has seen, each once."""
        return len(self._places)

    @property
    def is_final(self) -> bool:
        """Whether the test has ended; cheaper than asking the verdict."""
        return self._status != "running"

    @property
    def may_go_live(self) -> bool:
        """As in `Verdict`; cheaper than asking the verdict."""
        return self._status in ("running", "passed") and self._crossing is not None and self._not_yet() is None

    @property
    def counted(self) -> tuple[Observation, ...]:
        """The runs that count, in the order in which they were observed."""
        return tuple(self._counted)

    @property
    def _share(self) -> float:
        """Information gathered, as a share of the whole test's."""
        return self._primary.information / self._policy.max_runs_per_arm

    def _is_full(self) -> bool:
        most = self._policy.max_runs_per_arm
        counted = self._runs[CONTROL] + self._runs[TREATMENT] + self._ignored["unmeasured"]
        return min(self._runs.values()) >= most or counted >= 2 * most or self._arrived >= 2 * most * ARRIVED_LIMIT

    def _stop_canary(self, wrong: str) -> None:
        if wrong in WRONG:
            finished = self._canary.treatments
            self._close("failed", f"{self._canary.bad_treatments} {WRONG[wrong]} {finished}; the control's hardly do.")
        else:
            self._harmed = True
            looks = self._told().estimate
            self._close(
                "failed",
                f"The treatment's first runs are much slower: the {self._compared(looks)}, proven "
                f"by exact ranks after {self._count()}.",
            )

    def _look(self) -> None:
        """Decide, or say why not yet."""
        least, t, z = min(self._runs.values()), self._share, self._primary.z
        if least >= self._policy.min_runs_per_arm and self._crossing is None and z >= self._height(t, z):
            self._crossing = Crossing(t, self._primary.gain)
        if (harm := self._harm(t, z, least)) is not None:
            self._close("failed", harm)
        elif least < self._policy.min_runs_per_arm:
            self._reason = f"Too few runs to judge: {self._count()}."
        elif self._policy.futility and (reason := self._too_small(t)) is not None:
            self._close("inconclusive", reason)
        elif self._crossing is not None:
            self._try_to_pass()
        elif self._policy.futility and (reason := self._unsafe() or self._futile(t, z)) is not None:
            self._close("inconclusive", reason)
        else:
            self._reason = f"No proof yet after {self._count()}."

    def _height(self, t: float, z: float) -> float:
        """Return the evidence that proves an improvement: by the boundary, or by the bet on the forecast."""
        height = self._pass.at(t)
        return height if self._bet is None else min(height, self._bet.height(z))

    def _harm(self, t: float, z: float, least: int) -> str | None:
        if least >= self._harm_runs and -z >= self._fail.at(t):
            self._harmed = True
            return f"The {self._tell(self._told(ended=True))}, proven after {self._count()}."
        name = self._guardrails.harmed(t if least >= self._harm_runs else 0.0)
        if name is None:
            return None
        harmed = next(item for item in self._guardrails.evidence(t) if item.name == name)
        if name in SHARES:
            rise = f"fell from {number(harmed.control)} to {number(harmed.treatment)}"
        elif name == LOSS:
            rise = f"rose from {percent(harmed.control)} to {percent(harmed.treatment)}"
        else:
            rise = f"rose by {amount(harmed.change)}"
        return f"The {TITLES[name]} {rise}, proven after {self._count()}."

    def _not_yet(self) -> str | None:
        """Return why a proven improvement is not enough for the plan to go live, or None."""
        improvement, least = self._primary.improvement(), self._policy.minimum_improvement
        if not improvement >= least:
            return (
                f"An improvement is proven, but its estimate of {amount(improvement)} is below the required "
                f"{percent(least)}."
            )
        if (name := self._guardrails.sign_of_harm()) is not None:
            return f"An improvement is proven, but the {TITLES[name]} looks worse."
        if self._mismatch() < MISMATCH_P:
            return f"An improvement shows, but the runs per arm don't match the plan: {self._counts()}."
        return None

    def _try_to_pass(self) -> None:
        if (name := self._guardrails.unclear()) is not None and self._guardrails.sign_of_harm() is None:
            self._reason = f"An improvement is proven, but harm to the {TITLES[name]} is not ruled out yet."
        elif (reason := self._not_yet()) is not None:
            self._reason = reason
        else:
            self._status = "passed"
            effect = self._told()
            self._reason = f"The {self._tell(effect)}, proven after {self._count()}, and no guardrail is harmed."
            if abs(effect.estimate) < (detectable(self._primary, self._policy) or 0.0):
                self._reason += " It is likely less in truth: of gains so small only the luckiest tests pass."

    def _unsafe(self) -> str | None:
        drop, excess = self._guardrails.success_drop()
        if excess < SAFETY_Z:
            return None
        fell = points(drop).removeprefix("+")
        return f"Stopped for safety after {self._count()}: the success share fell by {fell}, probably too much."

    def _futile(self, t: float, z: float) -> str | None:
        """Return why the test will hardly pass any more, or None."""
        nears_proof = self._bet is not None and self._bet.is_near
        if nears_proof or self._nears_harm(t, z) or not is_futile(self._pass, t, z):
            return None
        looks = self._compared(self._primary.effect(math.inf, math.inf).estimate)
        return f"Ended early after {self._count()}: the {looks}, not proven, and a pass has become very unlikely."

    def _nears_harm(self, t: float, z: float) -> bool:
        """Return whether a harm is expected to be proven soon, which tells more than that a pass is unlikely."""
        return z < 0 and t * (self._fail.at(t) / z) ** 2 <= HARM_HORIZON

    def _too_small(self, t: float) -> str | None:
        """Return why no improvement that passes is left in the interval, which holds at all looks together, or None.

        A precise metric, such as a cost that is equal to the cent in all runs, shows that long before `_futile` does.
        """
        if len(self._counted) % PRECISE_EVERY or self._nears_harm(t, self._primary.z):
            return None
        effect = self._primary.effect(self._pass.at(t), self._fail.at(t))
        least = self._policy.minimum_improvement
        best = effect.high if self._policy.metric in MORE_IS_BETTER else -effect.low
        if not best < least:
            return None
        looks = self._compared(effect.estimate)
        return f"Ended early after {self._count()}: the {looks}; an improvement of {percent(least)} is ruled out."

    def _end(self) -> None:
        if not all(self._runs.values()):
            empty = next(arm for arm in ARMS if not self._runs[arm])
            self._close("inconclusive", f"Ended without a measured run in {empty}.")
        elif self._crossing is not None:
            self._close("inconclusive", f"Ended after {self._count()}. {self._reason}")
        else:
            self._close("inconclusive", f"Ended after {self._count()} without proof.")

    def _close(self, status: str, reason: str) -> None:
        if status == "failed" and self._mismatch() < MISMATCH_P:
            status, reason = "inconclusive", f"Stopped: the runs per arm don't match the plan: {self._counts()}."
        self._status, self._reason = status, reason

    def _mismatch(self) -> float:
        """Return the p-value of the runs per arm, missing ones included, under the shares that their streams have."""
        treated, control = self._assigned(TREATMENT), self._assigned(CONTROL)
        total = treated + control
        if not total or self._policy.sticky:  # clusters differ in size
            return 1.0
        return binomial_p_value(treated, total, self._planned / total)

    def _counts(self) -> str:
        return " and ".join(f"{self._assigned(arm)} {arm}" for arm in ARMS)

    def _assigned(self, arm: str) -> int:
        """Return the runs that an arm was given, those that count for nothing included."""
        bare = self._unscored[arm] if self._policy.metric == "score" else 0  # else they are among those that count
        return self._runs[arm] + self._missing[arm] + bare

    def _count(self) -> str:
        """Return the runs per arm: `23 + 24 runs`."""
        return f"{' + '.join(str(self._runs[arm]) for arm in ARMS)} runs"

    def _compared(self, change: float) -> str:
        """Return a change of the metric: `duration is 32 % lower`."""
        return f"{TITLES[self._policy.metric]} is {amount(change)} {'higher' if change > 0 else 'lower'}"

    def _tell(self, effect: Effect) -> str:
        """Return a change with its interval: `duration is 32 % lower (interval −45 % to −12 %)`."""
        text, least = self._compared(effect.estimate), max(-effect.high, effect.low)
        if self._status == "passed" and least >= LEAST_TOLD:
            return f"{text}, at least {amount(least)} (interval {interval(effect.low, effect.high)})"
        return f"{text} (interval {interval(effect.low, effect.high)})"

    def _told(self, *, ended: bool = False) -> Effect:
        """Return the effect as it is told: corrected once it is chosen for its height."""
        decided = -1 if self._harmed else 1 if self._crossing is not None else 0
        ended = ended or self._status != "running" or self._crossing is not None
        return told(self._primary, self._policy, ended=ended, decided=decided, crossing=self._crossing)

    def _runs_needed(self, t: float) -> int | None:
        needed = runs_needed(self._pass, self._policy, t, self._primary.z, self.is_final)
        by_bet = None if self._bet is None or self.is_final else self._bet.pairs_needed()
        if needed is None or by_bet is None:
            return needed
        return min(needed, max(by_bet, self._policy.min_runs_per_arm - min(self._runs.values()), 1))

    def _describe(self) -> Verdict:
        t, least = self._share, min(self._runs.values())
        early = least < self._policy.min_runs_per_arm
        seen = self.progress
        decided = self._crossing is not None or self._status == "failed"
        evidence = self.guardrails
        lost = self._missing
        reason = self._reason
        if any(lost.values()):
            reason += f" {lost[CONTROL]} + {lost[TREATMENT]} runs went missing."
        bare = self._unscored
        if any(bare.values()):
            reason += f" {bare[CONTROL]} + {bare[TREATMENT]} runs got no score."
        return Verdict(
            status=self._status,
            reason=reason,
            metric=self._policy.metric,
            runs=dict(self._runs),
            effect=seen.effect,
            interval=seen.interval,
            statistic=seen.statistic,
            boundary=seen.boundary,
            error_rate=self._policy.alpha,
            minimum_detectable_effect=None if early else detectable(self._primary, self._policy),
            runs_needed=None if decided else self._runs_needed(t),
            guardrails=evidence,
            sample_ratio_p_value=self._mismatch(),
            ignored=dict(self._ignored) | {"unpaired": self._primary.unpaired},
            missing=dict(lost),
            unscored=dict(bare),
            stage=self.stage,
            pairs=seen.pairs,
            chance_better=self.chance_better,
            may_go_live=self.may_go_live,
            open=tuple(one.name for one in evidence if one.status in ("open", "unclear")),
        )
