"""How the evidence of a test came about: what its judge said after each few runs, by replaying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from .._model.policy import E_RULES
from .._tuning.judges import new_judge
from .run_series import short

if TYPE_CHECKING:
    from .._model.experiment import Experiment
    from .._model.run import Observation

MOST_LOOKS: Final = 60
"""At so many points of a test its judge is asked at most."""


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
    judge = new_judge(experiment)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("runs", "statistic", "boundary", "effect", "low", "high", "pairs")
    }
    every = max(1, -(-len(test) // MOST_LOOKS))
    rate = experiment.policy.alpha
    for number, one in enumerate(test, 1):
        judge.observe(one)
        if number % every and number != len(test) and not judge.is_final:
            continue
        said = judge.verdict().to_dict()
        low, high = said["interval"]
        values = (number, said["statistic"], said["boundary"], said["effect"], low, high, said.get("pairs"))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value if isinstance(value, int) else short(value))
        rate = said["error_rate"]
        if judge.is_final:
            break
    return {
        "experiment": experiment.id,
        "metric": experiment.policy.metric,
        "is_log": experiment.policy.rule in E_RULES,
        "error_rate": rate,
        **columns,
    }
