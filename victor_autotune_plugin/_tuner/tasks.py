"""How slow single tasks are: random effects that are learnt beside the regression."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final

MOST_TASKS: Final = 256
"""Tasks that are remembered; the one that was seen longest ago makes room."""


class TaskEffects:
    """Log duration of single tasks, each a normal belief of its own.

    Args:
        sd: Standard deviation between tasks.
    """

    def __init__(self, sd: float) -> None:
        self._variance = sd**2
        self._beliefs: dict[str, tuple[float, float]] = {}

    @property
    def variance_of_new(self) -> float:
        """Variance of a task that was never seen, where tasks have keys; without keys the noise has it in it."""
        return self._variance if self._beliefs else 0.0

    def of(self, key: str | None) -> tuple[float, float]:
        """Return mean and variance of a task's effect; zeros without a key, when the noise has it in it."""
        if key is None:
            return 0.0, 0.0
        return self._beliefs.get(_short(key), (0.0, self._variance))

    def learn(self, key: str | None, residual: float, noise: float) -> None:
        """Take a run of a task into account.

        Args:
            key: The task, or None.
            residual: Log duration less what the plan explains.
            noise: Its variance besides the task's effect.
        """
        if key is None or not math.isfinite(residual):
            return
        name = _short(key)
        mean, variance = self._beliefs.pop(name, (0.0, self._variance))
        gain = variance / (variance + noise)
        self._beliefs[name] = mean + gain * (residual - mean), variance * (1 - gain)
        if len(self._beliefs) > MOST_TASKS:
            self._beliefs.pop(next(iter(self._beliefs)))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {key: [mean, variance] for key, (mean, variance) in self._beliefs.items()}

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_dict` wrote."""
        self._beliefs = {str(key): (float(mean), float(variance)) for key, (mean, variance) in data.items()}


def _short(key: str) -> str:
    """Return a short name of a key, which may be any text."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
