"""Is a changed plan better: assignment, sequential test, and the watch after a promotion.

Pure: values in, values out. Nothing here reads a clock, a file or the environment, and nothing is random beyond the
seed of `assign`, so every decision can be replayed from the stored runs.

    judge = Judge(Policy())
    for run in runs:              # Observations, in the order in which they finished
        judge.observe(run)
    judge.verdict().status        # 'running', 'passed', 'failed' or 'inconclusive'
"""

from __future__ import annotations

from .._model.assignment import ASSIGNMENT_VERSION, assign
from .._model.policy import Policy, Verdict, WatchPolicy, WatchVerdict
from .._model.run import Observation
from .design import (
    chance_of_proof,
    improvement_for,
    log_spread,
    runs_for,
    sample_ratio_p_value,
)
from .fixed_sample import summarise
from .judge import Judge
from .primary import task_effects
from .watch import Watch

__all__ = [
    "ASSIGNMENT_VERSION",
    "Judge",
    "Observation",
    "Policy",
    "Verdict",
    "Watch",
    "WatchPolicy",
    "WatchVerdict",
    "assign",
    "chance_of_proof",
    "improvement_for",
    "log_spread",
    "runs_for",
    "sample_ratio_p_value",
    "summarise",
    "task_effects",
]
