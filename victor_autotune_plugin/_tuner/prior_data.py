"""The prior that ships with the package: what is known of agent teams before the first run, each with its source.

Log durations are relative to what the members' own times predict. A formation's numbers are those of a team of three.
"""

from __future__ import annotations

import math
from typing import Final

OVERHEAD: Final = {"independent": 0.58, "decentralised": 2.63, "centralised": 2.85}
"""Additional turns over one agent (arXiv 2512.08296), taken as those of a team of three."""

TOPOLOGY: Final = {
    "sequential": "independent",
    "pipeline": "independent",
    "parallel": "independent",
    "sub_teams": "independent",
    "reflection": "decentralised",
    "consensus": "decentralised",
    "hierarchical": "centralised",
}
"""Which of the topologies of arXiv 2512.08296 a formation of Victor's is nearest to."""

KIM = "arXiv 2512.08296: overhead by topology; turns grow as 2.72 (n + 0.5)^1.72"
WEAK = "weakly informative: the regression's scale, no finding"


def multiple(topology: str, size: float) -> float:
    """Return the turns of one member of a team, relative to those of an agent alone.

    The overhead of all members grows with size as the turns do, and the members share it.

    Args:
        topology: A key of `OVERHEAD`.
        size: Members of the team.
    """
    growth: float = ((size + 0.5) ** 1.72 - 1.5**1.72) / (3.5**1.72 - 1.5**1.72)
    return 1 + OVERHEAD[topology] * growth / size


def _level(kind: str) -> float:
    return math.log(multiple(TOPOLOGY[kind], 3) / multiple("independent", 3))


def _slope(kind: str) -> float:
    topology = TOPOLOGY[kind]
    return math.log(multiple(topology, 6) / multiple(topology, 3)) / math.log(2)


DURATION: Final[dict[str, tuple[float, float, str]]] = {
    "intercept": (3.0, 3.0, WEAK + "; e^3 is 20 s"),
    **{kind: (_level(kind), 0.18 if topology == "independent" else 0.45, KIM) for kind, topology in TOPOLOGY.items()},
    **{f"{kind} log size": (_slope(kind), 0.15, KIM) for kind in TOPOLOGY},
    **{f"{kind} size": (0.0, 0.1, WEAK) for kind in TOPOLOGY},
    "mechanism": (0.0, 0.15, "VICTOR.md: members' own times don't depend on the formation"),
    "budget": (0.5, 0.4, "share of the time that goes with tool calls; " + WEAK),
    "timeout": (1.0, 0.3, "a deadline ends a run, by definition"),
    "workload": (0.5, 0.5, "tau-bench airline: hard tasks use more calls and take longer"),
}
"""`name: (mean, standard deviation, source)` of the coefficients of the log duration."""

_GAIN, _LOSS = math.log(1.81), (math.log(1 - 0.39) + math.log(1 - 0.70)) / 2

OUTCOME: Final[dict[str, tuple[float, float, str]]] = {
    "intercept": (1.5, 1.5, WEAK + "; 1.5 is a success share of .82"),
    "side by side": (
        (_GAIN + _LOSS) / 2,
        (_GAIN - _LOSS) / math.sqrt(12),
        "arXiv 2512.08296: +81 % on decomposable, -39 to -70 % on sequential tasks; uniform between",
    ),
    "alike": (
        (_GAIN - _LOSS) * 0.75,
        0.7,
        "members of one role divide a task, those of several hand it on: half of the range of arXiv 2512.08296 over "
        "the two thirds that the feature spans, since roles tell only something of it",
    ),
    "chosen": (
        (_GAIN - _LOSS) / 4,
        0.4,
        "who configured the team knows its task: a quarter of the range of arXiv 2512.08296",
    ),
    "checking": (0.27 / 2, 0.2, "MAST: 24 % of failures are failures of verification; half of that"),
    **dict.fromkeys(TOPOLOGY, (0.0, 0.2, WEAK)),
    "log size": (0.0, 0.3, WEAK),
    "left out": (-2.5, 1.0, "members add to the result in proportion to what they do; " + WEAK),
    "left out squared": (0.0, 1.0, WEAK),
    "budget": (-1.5, 1.0, "arXiv 2511.17006: a tool budget alone hits a ceiling"),
    "late": (-4.0, 1.0, "a run that its deadline ends fails, nearly by definition"),
    "workload": (-0.8, 0.5, "tau-bench airline: success falls from .56 to .19 as tool calls grow"),
}
"""The same of the log odds of the outcome."""

LAYOUT_SD: Final = 0.10
"""Standard deviation of the log duration that is the own of one formation of the same members; of cost and tool calls,
too."""

LAYOUT_ODDS_SD: Final = 0.20
"""Standard deviation of the log odds that are the own of one formation of the same members."""

PLAN_SD: Final = 0.05
"""Standard deviation of the log duration that is a single plan's own, besides its layout and what its limits cut."""

PLAN_ODDS_SD: Final = 0.03
"""The same of the log odds."""

NOISE_SD: Final = 0.6
"""Standard deviation of the log duration between runs of one plan: the middle of 0.3 to 1.0 in public runs."""

TASK_SD: Final = 0.5
"""Standard deviation of tasks' log durations: task identity explains 40 to 64 % of the variance in public runs."""
