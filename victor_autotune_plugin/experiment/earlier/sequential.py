"""The sequential test by the rules of 0.1, for `replay`: independent samples, or an e-process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from ..._model.policy import E_RULES, FAIL_SHARES, PASS_SHARE, InterimVerdict, Policy, Verdict
from ..._model.run import ARMS, CONTROL, TREATMENT, Observation
from ..._model.text import TITLES, amount, interval, number, percent, points
from ..boundaries import NORMAL, TABLE_STEP, Boundary, boundary
from ..design import sample_ratio_p_value
from ..primary import Effect
from ..stopping import HOPE_Z, HOPELESS_Z
from ..twosample import information
from .eprocess import EBoundary, PairedPrimary
from .guardrails import Guardrails
from .rank_sum import Primary, RankPrimary, ScorePrimary

MISMATCH_P: Final = 0.0005
"""Below this p-value of the runs per arm nothing is decided."""

SAFETY_Z: Final = 1.645
"""A test stops, undecided, when the success share fell by more than its margin with this standardised excess."""

PRECISE_EVERY: Final = 20
"""After every so many runs the whole interval is held against the improvement asked for: it costs more than the
evidence."""

HARM_HORIZON: Final = 0.5
"""A test is not given up while a harm is expected to be proven within this share of its information."""

REPEATED_LIMIT: Final = 10
"""A test ends when it has seen this many times the runs it may need, because hardly any of them counts."""

POWER_Z: Final = NORMAL.inv_cdf(0.8)


class SequentialJudge:
    """Decides a test by one of `RULES` or `E_RULES`; used as `experiment.Judge` is.

    Args:
        policy: The rules.
        task_effects: Log effect on the primary metric of each task key, from runs before the test (see
            `task_effects`). It is taken off the values, which shortens the test; a score is left as it is.
    """

    def __init__(self, policy: Policy, *, task_effects: Mapping[str, float] | None = None) -> None:
        self._policy = policy
        most = policy.max_runs_per_arm
        self._harm_runs = max(policy.min_runs_per_arm // 2, 4)
        first, first_harm = policy.min_runs_per_arm / most, self._harm_runs / most
        fail_alpha = policy.alpha * (1 - PASS_SHARE) * FAIL_SHARES["primary"]
        step = min(0.5 / most, TABLE_STEP)
        effects = {} if policy.metric == "score" else dict(task_effects or {})
        self._primary: Primary
        self._pass: Boundary | EBoundary
        self._fail: Boundary | EBoundary
        if policy.rule in E_RULES:
            self._pass, self._fail = EBoundary(policy.alpha * PASS_SHARE, first), EBoundary(fail_alpha, first_harm)
            self._primary = PairedPrimary(policy.rule, policy.metric, effects)
        else:
            self._pass = boundary(policy.rule, policy.alpha * PASS_SHARE, first, step)
            self._fail = boundary("pocock", fail_alpha, first_harm, step)
            self._primary = ScorePrimary() if policy.metric == "score" else RankPrimary(policy.metric, effects)
        self._guardrails = Guardrails(policy, first_harm, step)
        self._runs = dict.fromkeys(ARMS, 0)
        self._ignored = {"repeated": 0, "duplicate": 0, "unmeasured": 0, "late": 0}
        self._places: set[tuple[str, int]] = set()
        self._keys: set[str] = set()
        self._counted: list[Observation] = []
        self._status, self._reason = "running", "No runs yet."
        self._verdict: Verdict | None = None

    def observe(self, observation: Observation) -> None:
        """Take one finished run into account.

        An index that was seen, a task key that was seen, a run without a price in a
        test of cost, and a run after the end are counted and otherwise ignored.
        """
        self._verdict = None
        if self._status != "running":
            self._ignored["late"] += 1
            return
        if (observation.stream, observation.index) in self._places:
            self._ignored["duplicate"] += 1
            return
        self._places.add((observation.stream, observation.index))
        if observation.task_key is not None and observation.task_key in self._keys:
            self._ignored["repeated"] += 1
        elif not self._primary.add(observation):
            self._ignored["unmeasured"] += 1
        else:
            if observation.task_key is not None:
                self._keys.add(observation.task_key)
            self._guardrails.add(observation)
            self._runs[observation.arm] += 1
            self._counted.append(observation)
            self._look()
        if self._status == "running" and self._is_full():
            self._end()

    def verdict(self) -> Verdict:
        """Return the verdict after the runs so far."""
        if self._verdict is None:
            self._verdict = self._describe()
        return self._verdict

    @property
    def interim(self) -> InterimVerdict:
        """As of `Judge`."""
        return self.verdict()

    @property
    def seen(self) -> int:
        """How many runs it has seen, each once."""
        return len(self._places)

    @property
    def is_final(self) -> bool:
        """Whether the test has ended; cheaper than asking the verdict."""
        return self._status != "running"

    @property
    def counted(self) -> tuple[Observation, ...]:
        """The runs that count, in the order in which they were observed."""
        return tuple(self._counted)

    @property
    def _share(self) -> float:
        """Information gathered, as a share of the whole test's."""
        return information(self._runs[CONTROL], self._runs[TREATMENT]) / self._policy.max_runs_per_arm

    def _is_full(self) -> bool:
        most = self._policy.max_runs_per_arm
        counted = self._runs[CONTROL] + self._runs[TREATMENT] + self._ignored["unmeasured"]
        return min(self._runs.values()) >= most or counted >= 2 * most or len(self._places) >= 2 * most * REPEATED_LIMIT

    def _look(self) -> None:
        """Decide, or say why not yet."""
        least = min(self._runs.values())
        if least < self._harm_runs:
            self._reason = f"Too few runs to judge: {self._count()}."
            return
        t, z = self._share, self._primary.z
        harm = self._harm(t, z)
        if harm is not None:
            self._close("failed", harm)
        elif least < self._policy.min_runs_per_arm:
            self._reason = f"Too few runs to judge: {self._count()}."
        elif self._policy.futility and (reason := self._too_small(t)) is not None:
            self._close("inconclusive", reason)
        elif z >= self._pass.at(t):
            self._try_to_pass(t)
        elif self._policy.futility and (reason := self._futile(t, self._primary.normal)) is not None:
            self._close("inconclusive", reason)
        else:
            self._reason = f"No proof yet after {self._count()}."

    def _harm(self, t: float, z: float) -> str | None:
        if -z >= self._fail.at(t):
            return f"The {self._tell(self._effect(t))}, proven after {self._count()}."
        name = self._guardrails.harmed(t)
        if name is None:
            return None
        harmed = next(item for item in self._guardrails.evidence(t) if item.name == name)
        if name in ("success", "score"):
            rise = f"fell from {number(harmed.control)} to {number(harmed.treatment)}"
        else:
            rise = f"rose by {amount(harmed.change)}"
        return f"The {TITLES[name]} {rise}, proven after {self._count()}."

    def _try_to_pass(self, t: float) -> None:
        improvement, least = self._primary.improvement(), self._policy.minimum_improvement
        if not improvement >= least:
            self._reason = (
                f"An improvement is proven, but its estimate of {amount(improvement)} is below the required "
                f"{percent(least)}."
            )
        elif (name := self._guardrails.unclear()) is not None:
            self._reason = f"An improvement is proven, but harm to the {TITLES[name]} is not ruled out yet."
        elif self._mismatch() < MISMATCH_P:
            self._reason = f"An improvement shows, but the runs per arm don't match the plan: {self._counts()}."
        else:
            self._status = "passed"
            self._reason = (
                f"The {self._tell(self._effect(t))}, proven after {self._count()}, and no guardrail is harmed."
            )

    def _futile(self, t: float, z: float) -> str | None:
        """Return why the test will hardly pass any more, or None (conditional power; Jennison and Turnbull 2000)."""
        drop, excess = self._guardrails.success_drop()
        if excess >= SAFETY_Z:
            fell = points(drop).removeprefix("+")
            return f"Stopped for safety after {self._count()}: the success share fell by {fell}, probably too much."
        if not 0 < t < 1 or self._nears_harm(t, z):
            return None
        hope = (z + HOPE_Z) / math.sqrt(t)
        needed = (self._pass.normal(1.0) - z * math.sqrt(t) - hope * (1 - t)) / math.sqrt(1 - t)
        if needed <= HOPELESS_Z:
            return None
        looks = _compared(self._policy.metric, self._primary.effect(math.inf, math.inf).estimate)
        return f"Ended early after {self._count()}: the {looks}, not proven, and a pass has become very unlikely."

    def _nears_harm(self, t: float, z: float) -> bool:
        """Return whether a harm is expected to be proven soon, which tells more than that a pass is unlikely."""
        return z < 0 and t * (self._fail.normal(t) / z) ** 2 <= HARM_HORIZON

    def _too_small(self, t: float) -> str | None:
        """Return why no improvement that passes is left in the interval, which holds at all looks together, or None.

        A precise metric, such as a cost that is equal to the cent in all runs, shows that long before `_futile` does.
        """
        if len(self._counted) % PRECISE_EVERY:
            return None
        effect, least = self._effect(t), self._policy.minimum_improvement
        best = effect.high if self._policy.metric == "score" else -effect.low
        if not best < least:
            return None
        looks = _compared(self._policy.metric, effect.estimate)
        return f"Ended early after {self._count()}: the {looks}; an improvement of {percent(least)} is ruled out."

    def _end(self) -> None:
        if not all(self._runs.values()):
            empty = next(arm for arm in ARMS if not self._runs[arm])
            self._close("inconclusive", f"Ended without a measured run in {empty}.")
        elif self._reason.startswith("An improvement"):
            self._close("inconclusive", f"Ended after {self._count()}. {self._reason}")
        else:
            self._close("inconclusive", f"Ended after {self._count()} without proof.")

    def _close(self, status: str, reason: str) -> None:
        if status == "failed" and self._mismatch() < MISMATCH_P:
            status, reason = "inconclusive", f"Stopped: the runs per arm don't match the plan: {self._counts()}."
        self._status, self._reason = status, reason

    def _mismatch(self) -> float:
        return sample_ratio_p_value(self._runs)

    def _counts(self) -> str:
        return " and ".join(f"{self._runs[arm]} {arm}" for arm in ARMS)

    def _count(self) -> str:
        """Return the runs per arm: `23 + 24 runs`."""
        return f"{' + '.join(str(self._runs[arm]) for arm in ARMS)} runs"

    def _tell(self, effect: Effect) -> str:
        """Return a change with its interval: `duration is 32 % lower (interval −45 % to −12 %)`."""
        told = _compared(self._policy.metric, effect.estimate)
        return f"{told} (interval {interval(effect.low, effect.high)})"

    def _effect(self, t: float) -> Effect:
        return self._primary.effect(self._pass.at(t), self._fail.at(t))

    def _describe(self) -> Verdict:
        t, z = self._share, self._primary.z
        early = min(self._runs.values()) < self._policy.min_runs_per_arm
        better = math.inf if early else self._pass.at(t)
        worse = math.inf if min(self._runs.values()) < self._harm_runs else self._fail.at(t)
        effect = self._primary.effect(better, worse)
        return Verdict(
            status=self._status,
            reason=self._reason,
            metric=self._policy.metric,
            runs=dict(self._runs),
            effect=effect.estimate,
            interval=(effect.low, effect.high),
            statistic=z,
            boundary=better,
            error_rate=self._policy.alpha,
            minimum_detectable_effect=self._detectable(effect, t, early),
            runs_needed=self._needed(t, self._primary.normal),
            guardrails=self._guardrails.evidence(t if worse < math.inf else 0.0),
            sample_ratio_p_value=self._mismatch(),
            ignored=dict(self._ignored),
        )

    def _detectable(self, effect: Effect, t: float, early: bool) -> float | None:
        """The width of the interval tells the standard error now, which falls with the root of the information."""
        width = self._pass.normal(t) + self._fail.normal(t)
        if early or not (math.isfinite(effect.low) and math.isfinite(effect.high)):
            return None
        drift = (self._pass.normal(1.0) + POWER_Z) * math.sqrt(min(t, 1.0)) / width
        if self._policy.metric == "score":
            return drift * (effect.high - effect.low)
        if effect.low <= -1:
            return None
        return -math.expm1(-drift * (math.log1p(effect.high) - math.log1p(effect.low)))

    def _needed(self, t: float, z: float) -> int | None:
        """Runs per arm until the expected statistic is at the boundary; beyond the test, with a power of 0.8."""
        if self._status in ("passed", "failed") or z < 0.25 or t <= 0:
            return None
        most, now = self._policy.max_runs_per_arm, t * self._policy.max_runs_per_arm
        if self._status == "running":
            for runs in range(max(math.ceil(now), self._policy.min_runs_per_arm), most + 1):
                if z * math.sqrt(runs / now) >= self._pass.normal(runs / most):
                    return max(math.ceil(runs - now), 1)
        return max(math.ceil(now * ((self._pass.normal(1.0) + POWER_Z) / z) ** 2 - now), 1)


def _compared(metric: str, change: float) -> str:
    """Return a change of a metric: `duration is 32 % lower`."""
    return f"{TITLES[metric]} is {amount(change)} {'higher' if change > 0 else 'lower'}"
