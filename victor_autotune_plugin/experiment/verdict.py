"""What a test says, with its evidence."""

from __future__ import annotations

import math
from typing import Any

from attrs import asdict, frozen

from .guardrails import GuardrailEvidence


@frozen
class Verdict:
    """The state of a test after some runs. Changes are relative to the control: -0.2 is 20 % less.

    Attributes:
        status: `running`, `passed`, `failed` or `inconclusive`. Only `running` can still change.
        reason: Why, in one plain sentence.
        metric: Primary metric.
        runs: Runs that count, by arm.
        effect: Estimated change of the metric; NaN without data.
        interval: Ends of the interval of the effect. It holds the true change at all looks together with probability
            1 - `error_rate` at least, and excludes 0 exactly when the primary metric is decided.
        statistic: Standardised evidence, positive for an improvement.
        boundary: Height at which an improvement is proven; infinite before the least number of runs.
        error_rate: Probability, guaranteed, that a test of two equal plans passes or fails.
        minimum_detectable_effect: Improvement (above 0) that the whole test finds with probability 0.8, or None.
        runs_needed: Further runs per arm until a pass is expected if the estimate is true, which may be more than the
            test has; None when the estimate points elsewhere, or the test is decided.
        guardrails: Evidence of each guardrail.
        sample_ratio_p_value: p-value of the runs per arm under equal shares.
        ignored: Runs that don't count: `repeated` task keys, `duplicate` indices, `unmeasured` (no price), and
            `late`, after the end.
    """

    status: str
    reason: str
    metric: str
    runs: dict[str, int]
    effect: float
    interval: tuple[float, float]
    statistic: float
    boundary: float
    error_rate: float
    minimum_detectable_effect: float | None
    runs_needed: int | None
    guardrails: tuple[GuardrailEvidence, ...]
    sample_ratio_p_value: float
    ignored: dict[str, int]

    @property
    def is_final(self) -> bool:
        """Whether the test has ended."""
        return self.status != "running"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; numbers that are not finite are None."""
        data = asdict(self, recurse=False)
        data["guardrails"] = [evidence.to_dict() for evidence in self.guardrails]
        data["interval"] = [plain(end) for end in self.interval]
        data["runs"], data["ignored"] = dict(self.runs), dict(self.ignored)
        return {name: plain(value) for name, value in data.items()}


def plain(value: Any) -> Any:
    """Return the value, or None for a number that is not finite, which JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
