"""What the regressions see of a plan."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from .._model.plan import TeamSpec
from . import prior_data
from .history import Forecast
from .normal import Floats
from .table import CHECKING, KINDS, SIDE_BY_SIDE, Ints, PlanTable

Rows: TypeAlias = Ints | slice

DURATION_NAMES: Final = list(prior_data.DURATION)
"""Names of the coefficients of durations, costs and tool calls, in order."""

OUTCOME_NAMES: Final = list(prior_data.OUTCOME)
"""Names of the coefficients of outcomes, in order."""

DURATION_WORKLOAD: Final = DURATION_NAMES.index("workload")
"""Place of the run's own workload, which no plan has."""

OUTCOME_WORKLOAD: Final = OUTCOME_NAMES.index("workload")
"""The same for outcomes."""

_ORDER = np.array([KINDS.index(name) for name in prior_data.TOPOLOGY])
_IS_SIDE = np.array([kind in SIDE_BY_SIDE for kind in KINDS])
_IS_CHECKING = np.array([kind in CHECKING for kind in KINDS])


def features_of(table: PlanTable, forecast: Forecast, rows: Rows) -> tuple[Floats, Floats]:
    """Return the features of plans for durations and for outcomes, workload 0.

    Args:
        table: The plans.
        forecast: What their members make of them.
        rows: Rows of the table.

    Returns:
        Shapes (p, number of `DURATION_NAMES`) and (p, number of `OUTCOME_NAMES`).
    """
    layout = table.layout[rows]
    kind, size = table.kind[layout], table.size[layout]
    is_kind = (kind[:, None] == _ORDER).astype(np.float64)
    log_size, linear = np.log(size / 3)[:, None], (size / 3 - 1)[:, None]
    zero, one = np.zeros((len(layout), 1)), np.ones((len(layout), 1))
    mechanism = forecast.log_seconds[rows][:, None]
    cut, hurried = forecast.cut[rows][:, None], forecast.hurried[rows][:, None]
    duration = np.hstack([one, is_kind, is_kind * log_size, is_kind * linear, mechanism, cut, hurried, zero])
    several = size > 1
    side = (_IS_SIDE[kind] & several)[:, None].astype(np.float64)
    checking = (_IS_CHECKING[kind] & several)[:, None].astype(np.float64)
    left_out, late = forecast.left_out[rows][:, None], forecast.late[rows][:, None]
    spec = table.spec
    chosen = 0.5 if spec.formation in SIDE_BY_SIDE else -0.5
    divides = side * alike_roles(spec), side * chosen
    outcome = np.hstack([one, side, *divides, checking, is_kind, log_size, left_out, left_out**2, -cut, late, zero])
    return duration, outcome


def alike_roles(spec: TeamSpec) -> float:
    """Return how alike the members' roles are, from -0.5 (all differ) to 0.5 (all the same), less for a small team.

    The share of members with the commonest role, by Laplace's rule of succession: two of one role tell little.
    """
    roles = [member.role for member in spec.members]
    return max(roles.count(role) for role in roles) / (len(roles) + 1) - 0.5 if len(roles) > 1 else 0.0
