"""What a test that goes on may still find: the least effect, the runs until a pass, and whether there is any hope."""

from __future__ import annotations

import math

from .._model.policy import Policy
from .boundaries import NORMAL, Boundary
from .paired import BlockedPrimary, PairedMeanPrimary
from .stopping import HOPE_Z, HOPELESS_Z, Design, drift_for
from .told import gain_unit

POWER = 0.8
"""Probability with which an effect is said to be found."""


def detectable(primary: BlockedPrimary, policy: Policy) -> float | None:
    """Return the relative improvement that the whole test finds with `POWER`, from the spread that its runs show.

    None where they don't show one.
    """
    drift = drift_for(Design.of(policy), POWER)
    if isinstance(primary, PairedMeanPrimary):
        base, _, error, _ = primary.moments
        unit = error * math.sqrt(primary.information / policy.max_runs_per_arm)
        rise = drift * unit / base if base > 0 else math.inf
        return rise if math.isfinite(rise) else None
    unit = gain_unit(primary, policy)
    return -math.expm1(-drift * unit) if 0 <= unit < 1 else None


def runs_needed(boundary: Boundary, policy: Policy, t: float, z: float, ended: bool) -> int | None:
    """Return the further runs per arm until the expected evidence is at the boundary; None where it points elsewhere.

    Args:
        boundary: What evidence has to cross.
        policy: Rules of the test.
        t: Information share so far.
        z: Evidence so far.
        ended: Whether the test has ended; then, and beyond its length, it is the runs that a longer one needs for
            `POWER`.
    """
    if z < 0.25 or t <= 0:
        return None
    most, now = policy.max_runs_per_arm, t * policy.max_runs_per_arm
    if not ended:
        for runs in range(max(math.ceil(now), policy.min_runs_per_arm), most + 1):
            if z * math.sqrt(runs / now) >= boundary.at(runs / most):
                return max(math.ceil(runs - now), 1)
    return max(math.ceil(now * ((boundary.at(1.0) + NORMAL.inv_cdf(POWER)) / z) ** 2 - now), 1)


def is_futile(boundary: Boundary, t: float, z: float) -> bool:
    """Return whether a test will hardly pass any more (conditional power; Jennison and Turnbull 2000, chapter 10).

    Args:
        boundary: What evidence has to cross.
        t: Information share so far.
        z: Evidence so far.
    """
    if not 0 < t < 1:
        return False
    hope = (z + HOPE_Z) / math.sqrt(t)
    needed = (boundary.at(1.0) - z * math.sqrt(t) - hope * (1 - t)) / math.sqrt(1 - t)
    return needed > HOPELESS_Z
