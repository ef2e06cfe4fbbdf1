"""Guardrails as statements: the treatment is worse by less than the margin, valid at all looks together.

Each statement has a boundary of its own (`boundaries.GUARDRAIL`), so a treatment that lies exactly at a margin is ever
called safe in that respect with the probability of `PROOF_LEVELS` at most. What was proven stays proven unless the
estimate goes beyond its margin. Proof of *harm*, which ends a test, has the error budget of `HARM_BUDGET`. A run that
went missing counts in the guardrail `loss`, and in no other: what it would have been is not known.

The statistics follow the randomisation, as that of the primary metric does (`blocks`). Success is judged by the score
test with the variance of the restricted likelihood, of pairs (Tango, *Equivalence test and confidence interval for the
difference in proportions for the paired-sample design*, 1998), or within blocks of unequal shares (Farrington and
Manning, *Test statistics and sample size formulae for comparative binomial trials with null hypothesis of non-zero risk
difference*, 1990). A graded score, cost and tool calls are judged by the variance that the blocks show; a ratio of
means as the difference from the margin's multiple (Fieller 1954).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from attrs import define, field

from .._model.assignment import block_of
from .._model.policy import ALL_GUARDRAILS, LOSS, PASS_SHARE, GuardrailEvidence, Policy
from .._model.run import TREATMENT, Observation
from .blocks import SCORE_PRIOR, Block, BlockMeans
from .boundaries import GUARDRAIL, Boundary, boundary
from .clusters import ClusterMeans, cluster_of
from .twosample import Tail

SHARES: Final = ("success", "score", "member_success")
"""Guardrails whose values are between 0 and 1, more being better."""

PROOF_LEVELS: Final = {
    "success": 0.085,
    "score": 0.07,
    "member_success": 0.07,
    "p95": 0.10,
    "cost": 0.08,
    "tool_calls": 0.09,
}
"""Probability, at most, that a treatment exactly at the margin of a guardrail is ever called safe. The lower ones make
up for variances that few runs show too small."""

HARM_BUDGET: Final = {
    "primary": 0.25,
    "success": 0.20,
    "score": 0.10,
    "member_success": 0.10,
    "loss": 0.15,
    "p95": 0.10,
    "mean": 0.05,
    "cost": 0.10,
    "tool_calls": 0.05,
}
"""How the budget of failing without a harm is shared. It adds up to 1: a run has a score, or its
members' success stands for it."""

PROVEN: Final = frozenset({"success", "score", "member_success", "cost", "tool_calls"})
"""Guardrails without whose proof nothing passes."""

KNOWN_WHERE_SCORED: Final = frozenset({"success"})
"""Not among them where runs are scored: success only tells that they ran, and one that delivered nothing scores 0."""

KNOWN_WHERE_NO_CALLS_COME: Final = frozenset({"cost", "tool_calls"})
"""Not among them where the treatment is known to make no more calls: the prices of tasks differ so much that proving
a margin would take hundreds of runs, and tell what is known."""

SIGN_OF_HARM: Final = 1.28
"""Evidence of harm from which shares hold back what their proof is not asked for."""

LOSS_MARGIN: Final = 0.05
"""Rise of the share of missing runs that is tolerated."""

UNCLEAR_Z: Final = 0.7
"""Evidence of harm above which a guardrail beyond its margin is unclear. One single extreme value, whatever its size,
gives nearly 1; as many of them in both arms give nearly 0."""

UNCLEAR_EXCESS: Final = 0.10
"""Rise of a mean above its margin that is unclear without evidence: few extreme runs make it, and no z-score. Runs that
timed out are left out of it: they are as many in both arms or the success share and the P95 tell."""

TAIL: Final = 0.05
"""Share of runs that are slower than the P95."""


@define
class ShareDrop:
    """Evidence that the treatment's success share fell by less than a margin, growing.

    Attributes:
        pairs: Number of pairs.
        gained: Pairs in which only the treatment succeeded.
        lost: Pairs in which only the control did.
    """

    pairs: int = 0
    gained: int = 0
    lost: int = 0
    _waiting: dict[Block, tuple[bool, bool]] = field(factory=dict)
    _wide: dict[int, list[int]] = field(factory=dict)

    def add(self, block: Block, length: int, success: bool, *, treatment: bool) -> None:
        """Add a run of a block with so many places."""
        if length > 2:
            counts = self._wide.setdefault(length, [0, 0, 0, 0])
            counts[2 * treatment] += 1
            counts[2 * treatment + 1] += success
            return
        other = self._waiting.pop(block, None)
        if other is None:
            self._waiting[block] = success, treatment
        elif other[1] != treatment:
            with_treatment, with_control = (success, other[0]) if treatment else (other[0], success)
            self.pairs += 1
            self.gained += with_treatment > with_control
            self.lost += with_treatment < with_control

    def z(self, margin: float) -> float:
        """Return the evidence that the drop is below `margin`, standard normal at the margin."""
        if margin >= 1:
            return math.inf
        parts = []
        if self.pairs:
            excess = (self.gained - self.lost) / self.pairs + margin
            parts.append((excess, paired_variance(self.gained, self.lost, self.pairs, -margin)))
        for m, control, n, treatment in self._wide.values():
            if m and n:
                excess = treatment / n - control / m + margin
                parts.append((excess, share_variance(treatment, n, control, m, -margin)))
        weight = math.fsum(1 / variance for _, variance in parts if variance > 0)
        return (
            math.fsum(excess / variance for excess, variance in parts if variance > 0) / math.sqrt(weight)
            if weight
            else 0.0
        )


def paired_variance(gained: int, lost: int, pairs: int, difference: float) -> float:
    """Return the variance of the difference of two paired shares where it truly is `difference` (Tango 1998).

    Args:
        gained: Pairs in which only the first succeeded.
        lost: Pairs in which only the second did.
        pairs: All pairs.
        difference: True difference of the shares, in (-1, 1).
    """
    a = 2.0 * pairs
    b = -gained - lost + (2 * pairs - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    second_only = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return (2 * second_only + difference * (1 - difference)) / pairs


def share_variance(first: int, n: int, second: int, m: int, difference: float) -> float:
    """Return the variance of the difference of two independent shares where it truly is `difference`.

    It is that of the shares that are likeliest under the restriction, in closed form (Farrington and Manning 1990).

    Args:
        first: Successes of the first sample.
        n: Its size.
        second: Successes of the second sample.
        m: Its size.
        difference: True difference, first minus second, in (-1, 1).
    """
    p, q, theta = first / n, second / m, m / n
    a = 1 + theta
    b = -(1 + theta + p + theta * q + difference * (theta + 2))
    c = difference * difference + difference * (2 * p + theta + 1) + p + theta * q
    d = -p * difference * (1 + difference)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a * a) + d / (2 * a)
    u = math.copysign(math.sqrt(max((b / (3 * a)) ** 2 - c / (3 * a), 0.0)), v)
    angle = (math.pi + math.acos(min(max(v / u**3, -1.0), 1.0))) / 3 if u else 0.0
    likeliest = min(max(2 * u * math.cos(angle) - b / (3 * a), 0.0), 1.0)
    other = min(max(likeliest - difference, 0.0), 1.0)
    return likeliest * (1 - likeliest) / n + other * (1 - other) / m


class NonInferiority:
    """The guardrails of a test by the rule `signed_rank`, brought up to date run by run.

    Args:
        policy: Margins and error budget.
        start: Information share of the first look at a harm.
        step: Smallest distance of two looks, as an information share.
        task_effects: Log effect of each task key on the primary metric. Where that is the duration, the mean duration
            is compared without them: else one slow task decides it.
    """

    def __init__(
        self, policy: Policy, start: float, step: float, task_effects: Mapping[str, float] | None = None
    ) -> None:
        self._task_effects = (task_effects or {}) if policy.metric == "duration" else {}
        self._most, self._first_runs, self._sticky = policy.max_runs_per_arm, policy.min_runs_per_arm, policy.sticky
        means = ClusterMeans if policy.sticky else BlockMeans
        self._scored = policy.scored
        self._proven_by = PROVEN - (KNOWN_WHERE_SCORED if policy.scored else frozenset())
        if policy.adds_no_calls:
            self._proven_by -= KNOWN_WHERE_NO_CALLS_COME
        self._drops = {name: ShareDrop() for name in SHARES}
        self._graded = {"success": False, "score": False, "member_success": False}
        self._tail = Tail()
        self._means = {name: means() for name in ALL_GUARDRAILS if name != "p95"}
        self._in_time = means()
        self._margins = {
            "success": policy.success_margin,
            "score": policy.success_margin,
            "member_success": policy.success_margin,
            LOSS: LOSS_MARGIN,
            "p95": policy.p95_margin,
            "mean": 0.0 if policy.metric == "duration" else policy.mean_margin,
            "cost": policy.cost_margin,
            "tool_calls": policy.tool_calls_margin,
        }
        first = policy.min_runs_per_arm / policy.max_runs_per_arm
        self._proof = {name: boundary(GUARDRAIL, level, first, step) for name, level in PROOF_LEVELS.items()}
        self._proven: set[str] = set()
        budget = policy.alpha * (1 - PASS_SHARE)
        self._boundaries: dict[str, Boundary] = {
            name: boundary("pocock", budget * HARM_BUDGET[name], start, step) for name in ALL_GUARDRAILS
        }

    def add(self, run: Observation) -> None:
        """Add one run, also one that went missing."""
        treatment = run.arm == TREATMENT
        block, length = block_of(run.stream, run.index)
        place = cluster_of(run) if self._sticky else block
        is_unscored = self._scored and run.score is None
        self._means[LOSS].add(place, float(run.missing != "" or is_unscored), treatment=treatment)
        if run.missing:
            return
        shares = {"success": float(run.success)}
        if run.score is not None:
            shares["score"] = run.score
        elif not self._scored:
            shares["member_success"] = run.outcome
        for name, value in shares.items():
            self._graded[name] = self._graded[name] or 0 < value < 1
            if not self._sticky:
                self._drops[name].add(block, length, value > 0.5, treatment=treatment)
        self._tail.add(math.inf if run.timed_out else run.duration_seconds, treatment=treatment)
        # shares with the sign turned, so that more is worse in all of them
        seconds = run.duration_seconds * math.exp(-self._task_effects.get(run.task_key or "", 0.0))
        values = {
            **{name: -value for name, value in shares.items()},
            "mean": seconds,
            "tool_calls": float(run.tool_calls),
        }
        if run.cost_usd is not None:
            values["cost"] = run.cost_usd
        told = [name for name, value in values.items() if self._means[name].add(place, value, treatment=treatment)]
        if not run.timed_out:
            self._in_time.add(place, seconds, treatment=treatment)
        for name in told:
            if name in self._proven_by and name not in self._proven and self._proof_z(name) >= self._limit(name):
                self._proven.add(name)

    def harmed(self, t: float) -> str | None:
        """Return the first guardrail that is harmed at information share `t`, or None."""
        for name in ALL_GUARDRAILS:
            if self._z(name) >= self._harm_limit(name, t) and self._change(name) > self._margins[name]:
                return name
        return None

    def unclear(self) -> str | None:
        """Return the first guardrail that holds a pass back, or None."""
        return next((name for name in ALL_GUARDRAILS if self._holds_back(name)), None)

    def sign_of_harm(self) -> str | None:
        """Return the first guardrail that looks worse and is not proven, or None."""
        return next((name for name in ALL_GUARDRAILS if self._looks_worse(name)), None)

    def success_drop(self) -> tuple[float, float]:
        """Return the drop of the success share, and its standardised excess over the margin."""
        enough = self._means["success"].information >= self._first_runs
        return self._change("success"), -self._proof_z("success") if enough else -math.inf

    def evidence(self, t: float) -> tuple[GuardrailEvidence, ...]:
        """Return what is known of each guardrail at information share `t`; of the score only where runs have one."""
        has_score = self._scored or not math.isnan(self._change("score"))
        idle = "member_success" if has_score else "score"
        return tuple(self._evidence(name, t) for name in ALL_GUARDRAILS if name != idle)

    def _evidence(self, name: str, t: float) -> GuardrailEvidence:
        change, z, limit = self._change(name), self._z(name), self._harm_limit(name, t)
        control, treatment = self._values(name)
        if math.isnan(change):
            status = "no data"
        elif change > self._margins[name] and z >= limit:
            status = "harmed"
        elif self._holds_back(name):
            status = "unclear"
        elif name == "p95" and self._proof_z(name) < self._proof[name].at(t):
            status = "open"
        else:
            status = "ok"
        return GuardrailEvidence(name, control, treatment, change, self._margins[name], z, limit, status)

    def _harm_limit(self, name: str, t: float) -> float:
        """Return the height of a harm's proof; that of a loss over all runs, missing ones included."""
        return self._boundaries[name].at(self._share(name) if name == LOSS else t)

    def _share(self, name: str) -> float:
        return self._means[name].information / self._most

    def _limit(self, name: str) -> float:
        """Return the height of a guardrail's proof; a share that is never between 0 and 1 is one of successes."""
        level = "success" if self._is_coin(name) else name
        return self._proof[level].at(self._share(name))

    def _is_coin(self, name: str) -> bool:
        """Whether a guardrail is a share whose every value was 0 or 1 so far."""
        return name in SHARES and not self._graded[name]

    def _values(self, name: str) -> tuple[float, float]:
        if name == "p95":
            return self._tail.percentiles()
        control, treatment = self._means[name].means
        return (-control, -treatment) if name in SHARES else (control, treatment)

    def _z(self, name: str) -> float:
        """Return the evidence of any harm."""
        if name == "p95":
            return (
                0.0 if self._sticky else self._tail.z()
            )  # runs of a sticky task are alike, so their tail tells little
        return self._means[name].z

    def _change(self, name: str) -> float:
        control, treatment = self._values(name)
        if name == LOSS:
            return treatment - control
        return control - treatment if name in SHARES else relative_rise(control, treatment)

    def _proof_z(self, name: str) -> float:
        """Return the evidence that a change is below its margin."""
        margin = self._margins[name]
        if self._is_coin(name) and not self._sticky:
            return self._drops[name].z(margin)
        if name in SHARES:
            return self._means[name].below(1.0, margin, prior=SCORE_PRIOR)
        if name == "p95":
            return self._tail_z(margin)
        if self._means[name].means == (0.0, 0.0):
            return math.inf  # no tool was called, or the model is free
        return self._means[name].below(1 + margin, 0.0)

    def _tail_z(self, margin: float) -> float:
        """Return the evidence that less than `TAIL` of treatment's runs are beyond the margin over control's P95."""
        before, _ = self._tail.percentiles()
        m, n = len(self._tail.control), len(self._tail.treatment)
        if not m or not n or math.isinf(before):
            return 0.0
        above = (n - bisect_right(self._tail.treatment, before * (1 + margin))) / n
        return (TAIL - above) / math.sqrt(TAIL * (1 - TAIL) * (1 / m + 1 / n))

    def _holds_back(self, name: str) -> bool:
        """Whether nothing may pass because of a guardrail."""
        if name not in self._proven_by:
            return self._looks_worse(name)
        if math.isnan(self._change(name)):
            return name == "score" and self._scored  # what was to be scored and never was is not known
        return not self._is_proven(name)

    def _is_proven(self, name: str) -> bool:
        """Whether a change is proven to be within its margin; in a scored test the score stands for success, too."""
        by = "score" if name == "success" and self._scored else name
        return by in self._proven and self._change(name) <= self._margins[name]

    def _looks_worse(self, name: str) -> bool:
        change, z = self._change(name), self._z(name)
        if math.isnan(change) or self._is_proven(name):
            return False  # some harm, within what the margin allows, is no news
        if name in (*SHARES, LOSS):
            return z >= SIGN_OF_HARM and (name != LOSS or change > LOSS_MARGIN)
        if change > self._margins[name] and z > UNCLEAR_Z:
            return True
        return name == "mean" and relative_rise(*self._in_time.means) > self._margins[name] + UNCLEAR_EXCESS


def relative_rise(control: float, treatment: float) -> float:
    """Return the relative rise; NaN where one is NaN."""
    if control == treatment:
        return 0.0
    if math.isnan(control) or math.isnan(treatment):
        return math.nan
    return treatment / control - 1 if control > 0 else math.inf
