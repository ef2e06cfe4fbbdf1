"""How the evidence of a test came about: what its judge said after each few runs, by replaying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .._model.policy import E_RULES, plain
from .._tuning.judges import new_judge
from .run_series import short

if TYPE_CHECKING:
    from .._model.experiment import Experiment
    from .._model.policy import Verdict
    from .._model.run import Observation
    from ..experiment.judge import ProofProgress

MOST_LOOKS: Final = 60
"""At so many points of a test its judge is asked at most."""

_FIGURES: Final = ("statistic", "boundary", "effect", "low", "high", "pairs")


def evidence_path(experiment: Experiment, test: Sequence[Observation]) -> dict[str, Any]:
    """Return a test's evidence over its runs, towards its boundary.

    Args:
        experiment: The experiment.
        test: The observations of its test, in order.

    Returns:
        `runs` that had finished, and for each the `statistic`, the `boundary` at which an improvement is proven (None
        while there are too few runs), the `effect` with its `low` and `high` end, all as in `Verdict`; `is_log` where
        both are logarithms of an e-value; and the `error_rate`.
    """
    from ..experiment import Judge

    judge = new_judge(experiment)
    columns: dict[str, list[Any]] = {name: [] for name in ("runs", *_FIGURES)}
    every = max(1, -(-len(test) // MOST_LOOKS))
    rate = experiment.policy.alpha
    for number, one in enumerate(test, 1):
        judge.observe(one)
        if number % every and number != len(test) and not judge.is_final:
            continue
        if isinstance(judge, Judge):
            said: ProofProgress | Verdict = judge.progress
        else:
            said = judge.verdict()
            rate = said.error_rate
        columns["runs"].append(number)
        values = (said.statistic, said.boundary, said.effect, *said.interval, said.pairs)
        for name, value in zip(_FIGURES, values, strict=True):
            columns[name].append(value if isinstance(value, int) else short(plain(value)))
        if judge.is_final:
            break
    return {
        "experiment": experiment.id,
        "metric": experiment.policy.metric,
        "is_log": experiment.policy.rule in E_RULES,
        "error_rate": rate,
        **columns,
    }
