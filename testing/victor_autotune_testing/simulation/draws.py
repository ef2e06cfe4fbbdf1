"""The chances of simulated runs, drawn before the plan is looked at, so that plans can be compared on the same ones."""

from __future__ import annotations

from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_CHECKS: Final = 10
"""Checks of the most thorough verifier."""


@frozen
class Draws:
    """Chances of some runs of a team of n members.

    Attributes:
        task: Standard normal difficulty, shape (runs,).
        pace: Standard normal noise of each member's time, shape (runs, n).
        calls: Standard normal noise of each member's wish for calls, shape (runs, n).
        fault: Uniform, shape (runs, n); a member is faulty where it is below its probability.
        slow: Uniform, shape (runs,); a run is slow where it is below the share of slow runs.
        slow_size: Uniform, shape (runs,).
        outcome: Uniform in the open interval, shape (runs,).
        checks: Uniform, shape (runs, `MOST_CHECKS` - 1); what a verifier finds besides success.
    """

    task: Floats
    pace: Floats
    calls: Floats
    fault: Floats
    slow: Floats
    slow_size: Floats
    outcome: Floats
    checks: Floats

    @classmethod
    def make(cls, rng: np.random.Generator, runs: int, members: int) -> Draws:
        """Draw the chances of `runs` runs of a team with that many `members`."""
        normal = rng.standard_normal((runs, 1 + 2 * members))
        uniform = rng.random((runs, 3 + members))
        return cls(
            task=normal[:, 0],
            pace=normal[:, 1 : 1 + members],
            calls=normal[:, 1 + members :],
            fault=uniform[:, 3:],
            slow=uniform[:, 0],
            slow_size=uniform[:, 1],
            outcome=np.clip(uniform[:, 2], 1e-12, 1 - 1e-12),
            checks=rng.random((runs, MOST_CHECKS - 1)),
        )
