"""How others decide, implemented for comparison: each looks at the raw durations of the same runs, after every run.

* `naive`: Welch's t-test at 5 %, again after every run.
* `fixed`: the frequentist engine of GrowthBook looked at once, when all runs are there: the relative difference of the
  means with the delta method's standard error, and a t-test at 5 %.
* `fixed, peeked`: the same, looked at after every run.
* `sequential`: GrowthBook's sequential option: the asymptotic confidence sequence of Waudby-Smith and others (2021) on
  the relative difference, tuned for 5,000 units as GrowthBook's default is.
* `mSPRT`: the mixture sequential probability ratio test of Johari, Pekelis and Walsh (2015) on the difference of the
  means, with the variances plugged in and a normal mixture whose standard deviation is 30 % of the control's mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from victor_autotune_plugin.experiment import Observation

PEERS: Final = ("naive", "fixed", "fixed, peeked", "sequential", "mSPRT")
ALPHA: Final = 0.05
TUNED_FOR: Final = 5000
MIXTURE: Final = 0.30

Floats = NDArray[np.float64]


def decide(runs: Sequence[Observation], least: int) -> dict[str, float]:
    """Return for each peer the runs per arm at which it first sees a difference; infinite when it never does.

    Args:
        runs: All runs of a test, in order.
        least: Runs in each arm before the first look.
    """
    x = np.array([run.duration_seconds for run in runs])
    treated = np.array([run.arm == "treatment" for run in runs])
    (n0, mean0, var0), (n1, mean1, var1) = (_moments(x, mask) for mask in (~treated, treated))
    look = (n0 >= least) & (n1 >= least)
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = var0 / n0 + var1 / n1
        degrees = squared**2 / ((var0 / n0) ** 2 / np.maximum(n0 - 1, 1) + (var1 / n1) ** 2 / np.maximum(n1 - 1, 1))
        critical = _t_quantile(degrees)
        lift = mean1 / mean0 - 1
        error = np.sqrt(var1 / (n1 * mean0**2) + mean1**2 * var0 / (n0 * mean0**4))
        total = (n0 + n1).astype(float)
        rho = math.sqrt((-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / TUNED_FOR)
        scaled = total * rho * rho
        width = np.sqrt(2 * (scaled + 1) / scaled * np.log(np.sqrt(scaled + 1) / ALPHA))
        tau = (MIXTURE * mean0) ** 2
        log_ratio = 0.5 * np.log(squared / (squared + tau)) + (mean1 - mean0) ** 2 * tau / (
            2 * squared * (squared + tau)
        )
        seen = {
            "naive": np.abs(mean1 - mean0) > critical * np.sqrt(squared),
            "fixed, peeked": np.abs(lift) > critical * error,
            "sequential": np.abs(lift) > width * error,
            "mSPRT": log_ratio >= -math.log(ALPHA),
        }
    runs_per_arm = np.maximum(n0, n1)
    found = {name: _first(hits & look, runs_per_arm) for name, hits in seen.items()}
    found["fixed"] = float(runs_per_arm[-1]) if bool(seen["fixed, peeked"][-1]) else math.inf
    return found


def _moments(x: Floats, mask: NDArray[np.bool_]) -> tuple[Any, Floats, Floats]:
    """Return count, mean and variance of the masked values up to each run."""
    n = np.cumsum(mask)
    counted = np.maximum(n, 1)
    mean = np.cumsum(x * mask) / counted
    variance = (np.cumsum(x * x * mask) - n * mean**2) / np.maximum(n - 1, 1)
    return counted, mean, np.maximum(variance, 1e-100)


def _t_quantile(degrees: Floats) -> Floats:
    """Return the 0.975 quantile of t by its Cornish-Fisher expansion, right to 0.005 from nine degrees on."""
    return 1.959964 + 2.372 / degrees + 2.82 / degrees**2


def _first(hits: NDArray[np.bool_], runs_per_arm: Any) -> float:
    return float(runs_per_arm[int(hits.argmax())]) if bool(hits.any()) else math.inf
