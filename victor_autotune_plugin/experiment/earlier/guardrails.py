"""What must not get worse while the primary metric improves.

A guardrail is *harmed* when it got worse by more than its margin and the evidence crosses its boundary; all of them
together with the primary metric's harm share one error budget. It is *unclear* when harm is not proven and not
ruled out either: a test passes only when no guardrail is. That costs a test some runs and never its error rate.
"""

from __future__ import annotations

import math

from ..._model.policy import FAIL_SHARES, GUARDRAILS, PASS_SHARE, GuardrailEvidence, Policy
from ..._model.run import TREATMENT, Observation
from ..boundaries import NORMAL, Boundary, boundary
from ..noninferiority import UNCLEAR_EXCESS, UNCLEAR_Z, relative_rise
from ..twosample import SumStatistic, Tail


class Guardrails:
    """The guardrails of one test, brought up to date run by run.

    Args:
        policy: Margins and error budget.
        start: Information share of the first look at a harm.
        step: Smallest distance of two looks, as an information share.
    """

    def __init__(self, policy: Policy, start: float, step: float) -> None:
        self._success = SumStatistic()
        self._score = SumStatistic()
        self._tail = Tail()
        self._sums = {"mean": SumStatistic(), "cost": SumStatistic(), "tool_calls": SumStatistic()}
        self._in_time = {name: SumStatistic() for name in self._sums}
        self._margins = {
            "success": policy.success_margin,
            "score": policy.success_margin,
            "p95": policy.p95_margin,
            "mean": 0.0 if policy.metric == "duration" else policy.mean_margin,
            "cost": policy.cost_margin,
            "tool_calls": policy.tool_calls_margin,
        }
        self._proof_z = NORMAL.inv_cdf(policy.success_confidence)
        budget = policy.alpha * (1 - PASS_SHARE)
        self._boundaries: dict[str, Boundary] = {
            name: boundary("pocock", budget * FAIL_SHARES[name], start, step) for name in GUARDRAILS
        }

    def add(self, run: Observation) -> None:
        """Add one run."""
        treatment = run.arm == TREATMENT
        self._success.add(float(run.success), treatment=treatment)
        self._score.add(run.outcome, treatment=treatment)
        self._tail.add(math.inf if run.timed_out else run.duration_seconds, treatment=treatment)
        for sums in (self._sums,) if run.timed_out else (self._sums, self._in_time):
            sums["mean"].add(run.duration_seconds, treatment=treatment)
            sums["tool_calls"].add(run.tool_calls, treatment=treatment)
            if run.cost_usd is not None:
                sums["cost"].add(run.cost_usd, treatment=treatment)

    def harmed(self, t: float) -> str | None:
        """Return the first guardrail that is harmed at information share `t`, or None."""
        for name in GUARDRAILS:
            if self._change(name) > self._margins[name] and self._z(name) >= self._boundaries[name].at(t):
                return name
        return None

    def unclear(self) -> str | None:
        """Return the first guardrail that is unclear, or None."""
        return next((name for name in GUARDRAILS if self._is_unclear(name)), None)

    def success_drop(self) -> tuple[float, float]:
        """Return the drop of the success share, and its standardised excess over the margin."""
        difference, error = _smoothed(self._success)
        return -difference, (-difference - self._margins["success"]) / error if error else 0.0

    def evidence(self, t: float) -> tuple[GuardrailEvidence, ...]:
        """Return what is known of each guardrail at information share `t`."""
        return tuple(self._evidence(name, t) for name in GUARDRAILS)

    def _evidence(self, name: str, t: float) -> GuardrailEvidence:
        change, z, limit = self._change(name), self._z(name), self._boundaries[name].at(t)
        control, treatment = self._values(name)
        if math.isnan(change):
            status = "no data"
        elif change > self._margins[name] and z >= limit:
            status = "harmed"
        else:
            status = "unclear" if self._is_unclear(name) else "ok"
        return GuardrailEvidence(name, control, treatment, change, self._margins[name], z, limit, status)

    def _statistic(self, name: str) -> SumStatistic:
        if name == "success":
            return self._success
        return self._score if name == "score" else self._sums[name]

    def _values(self, name: str) -> tuple[float, float]:
        if name == "p95":
            return self._tail.percentiles()
        sums = self._statistic(name)
        return sums.mean_control, sums.mean_treatment

    def _z(self, name: str) -> float:
        if name == "p95":
            return self._tail.z()
        z = self._statistic(name).z
        return -z if name in ("success", "score") else z

    def _change(self, name: str) -> float:
        control, treatment = self._values(name)
        return control - treatment if name in ("success", "score") else relative_rise(control, treatment)

    def _is_unclear(self, name: str) -> bool:
        change = self._change(name)
        if math.isnan(change):
            return False
        if name in ("success", "score"):
            difference, error = _smoothed(self._statistic(name))
            return difference + self._margins[name] < self._proof_z * error
        if change > self._margins[name] and self._z(name) > UNCLEAR_Z:
            return True
        in_time = self._in_time.get(name)
        rise = math.nan if in_time is None else relative_rise(in_time.mean_control, in_time.mean_treatment)
        return rise > self._margins[name] + UNCLEAR_EXCESS


def _smoothed(sums: SumStatistic) -> tuple[float, float]:
    """Return the difference of two means in [0, 1] and its standard error, with a 0 and a 1 added to each sample.

    Agresti and Caffo (2000) showed that these pseudo-observations make the interval of two shares hold its level at
    small samples, also when all runs succeed.
    """
    m, n = sums.n_control + 2, sums.n_treatment + 2
    p, q = (sums.sum_control + 1) / m, (sums.sum_treatment + 1) / n
    return q - p, math.sqrt(p * (1 - p) / m + q * (1 - q) / n)
