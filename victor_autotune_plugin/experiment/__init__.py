"""Is a changed plan better: assignment, sequential test, and the watch after a promotion.

Pure: values in, values out. Nothing here reads a clock, a file or the environment, and nothing is random beyond the
seed of `assign`, so every decision can be replayed from the stored runs.

    judge = Judge(Policy())
    for run in runs:              # Observations, in the order in which they finished
        judge.observe(run)
    judge.verdict().status        # 'running', 'passed', 'failed' or 'inconclusive'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .._model.assignment import ASSIGNMENT_VERSION, assign
from .._model.policy import SENTINEL, SIGNED_RANK, Policy, Verdict, WatchPolicy, WatchVerdict
from .._model.run import Observation

if TYPE_CHECKING:
    from .design import chance_of_proof, improvement_for, log_spread, runs_for, sample_ratio_p_value
    from .earlier.reference_watch import ReferenceWatch
    from .earlier.sequential import SequentialJudge
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
    "judge_of",
    "log_spread",
    "runs_for",
    "sample_ratio_p_value",
    "summarise",
    "task_effects",
    "watch_of",
]

_PLACES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("chance_of_proof", "improvement_for", "log_spread", "runs_for", "sample_ratio_p_value"), "design"),
    "summarise": "fixed_sample",
    "Judge": "judge",
    "task_effects": "primary",
    "Watch": "watch",
}
"""Module of each name that is loaded on first use: a screen needs one of them or none."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def judge_of(
    policy: Policy, task_effects: Mapping[str, float] | None = None, before: tuple[int, int] = (0, 0)
) -> Judge | SequentialJudge:
    """Return the judge of a test by its policy's rule.

    Args:
        policy: The rules of the test.
        task_effects: As for `Judge`.
        before: As for `Judge`; the rules of 0.1 do without.
    """
    if policy.rule == SIGNED_RANK:
        from .judge import Judge

        return Judge(policy, task_effects=task_effects, before=before)
    from .earlier.sequential import SequentialJudge

    return SequentialJudge(policy, task_effects=task_effects)


def watch_of(
    policy: WatchPolicy, reference: Sequence[Observation], *, tested: bool | None = None
) -> Watch | ReferenceWatch:
    """Return the watch over a live plan by its policy's rule.

    Args:
        policy: The rules of the watch.
        reference: As for `Watch`.
        tested: As for `Watch`; the rule of 0.1 does without.
    """
    if policy.rule == SENTINEL:
        from .watch import Watch

        return Watch(policy, reference=reference, tested=tested)
    from .earlier.reference_watch import ReferenceWatch

    return ReferenceWatch(policy, reference=reference)
