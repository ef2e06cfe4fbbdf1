"""Compute the table of boundary scales that `victor_autotune_plugin.experiment.boundaries` reads.

    python benchmarks/make_boundaries.py [--processes 2] [--rule balanced]

It rewrites `victor_autotune_plugin/experiment/_boundary_table.py` (about ten minutes; with a rule, only its part). Run
it after changing a shape.
"""

from __future__ import annotations

import argparse
import math
import sys
import types
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

ROOM = Path(__file__).resolve().parents[1] / "victor_autotune_plugin" / "experiment"
sys.path.insert(0, str(ROOM.parents[1]))
if not (ROOM / "_boundary_table.py").exists():  # the module that reads the table also holds the shapes
    empty = types.ModuleType("victor_autotune_plugin.experiment._boundary_table")
    empty.NORMAL_SCORES, empty.STARTS, empty.SCALES = (), (), {}  # type: ignore[attr-defined]
    sys.modules[empty.__name__] = empty

from victor_autotune_plugin.experiment._boundary_table import SCALES  # noqa: E402
from victor_autotune_plugin.experiment.boundaries import SHAPES, shape  # noqa: E402

NORMAL_SCORES = tuple(round(1.0 + 0.25 * k, 2) for k in range(14))
STARTS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.0)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(224)


def looks(start: float, step: float = 1 / 400) -> NDArray[np.float64]:
    """Return the information shares of the looks: one after each run of 200 per arm, with the first at `start`.

    Before a share of 0.05 they grow by 5 %, as they do after the tenth run of an arm.
    """
    shares = [start]
    while shares[-1] < 1 - 1e-9:
        shares.append(min(1.0, shares[-1] + min(step, shares[-1] / 20)))
    return np.array(shares)


def crossing_probability(heights: NDArray[np.float64], t: NDArray[np.float64]) -> float:
    """Return the probability that a standard normal score process reaches `heights` at one of the shares `t`.

    The density of those that have not crossed is carried from look to look by Gauss-Legendre quadrature
    (Armitage, McPherson and Rowe 1969).
    """
    total = float(ndtr(-heights[0]))
    low, high = -7 * math.sqrt(t[0]), heights[0] * math.sqrt(t[0])
    points = low + (high - low) * (NODES + 1) / 2
    mass = norm.pdf(points / math.sqrt(t[0])) / math.sqrt(t[0]) * WEIGHTS * (high - low) / 2
    for k in range(1, len(t)):
        sd = math.sqrt(t[k] - t[k - 1])
        low, high = -7 * math.sqrt(t[k]), heights[k] * math.sqrt(t[k])
        total += float(mass @ ndtr((points - high) / sd))
        target = low + (high - low) * (NODES + 1) / 2
        kernel = np.exp(-0.5 * ((target[:, None] - points[None, :]) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))
        mass = (kernel @ mass) * WEIGHTS * (high - low) / 2
        points = target
    return total


def scale(rule: str, start: float, z: float) -> float:
    """Return the scale with which the boundary is crossed with probability `1 - Phi(z)`."""
    t = looks(start)
    heights = np.array([shape(rule, float(share)) for share in t])
    alpha = float(norm.sf(z))
    if start == 1.0:
        return z
    root = brentq(lambda c: math.log(crossing_probability(c * heights, t) / alpha), 0.5 * z, z + 1.6, xtol=2e-4)
    return float(root)


def row(job: tuple[str, float]) -> list[float]:
    """Return the scales of one rule and start, over `NORMAL_SCORES`."""
    rule, start = job
    return [round(scale(rule, start, z), 4) for z in NORMAL_SCORES]


def main() -> None:
    """Compute all rows and write the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rule", choices=SHAPES, help="only this rule; the others stay as they are")
    arguments = parser.parse_args()
    jobs = [(rule, start) for rule in SHAPES for start in STARTS if arguments.rule in (None, rule)]
    rows: dict[tuple[str, float], Sequence[float]] = {
        (rule, start): scales for rule, table in SCALES.items() for start, scales in zip(STARTS, table, strict=True)
    }
    with ProcessPoolExecutor(arguments.processes) as pool:
        rows.update(zip(jobs, pool.map(row, jobs), strict=True))
    lines = [
        '"""Scales of the boundaries, written by `benchmarks/make_boundaries.py`. Do not edit by hand."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        f"NORMAL_SCORES: Final = {NORMAL_SCORES!r}",
        '"""Columns: upper normal quantile of the one-sided alpha."""',
        "",
        f"STARTS: Final = {STARTS!r}",
        '"""Rows: information share of the first look."""',
        "",
        "SCALES: Final[dict[str, tuple[tuple[float, ...], ...]]] = {",
    ]
    for rule in SHAPES:
        lines.append(f'    "{rule}": (')
        for start in STARTS:
            values = ", ".join(f"{value:.4f}" for value in rows[rule, start])
            lines.append(f"        ({values}),")
        lines.append("    ),")
    lines += ["}", '"""Height of each rule at information share 1, by start and normal score."""', ""]
    (ROOM / "_boundary_table.py").write_text("\n".join(lines))
    print(f"wrote {len(jobs) * len(NORMAL_SCORES)} scales")


if __name__ == "__main__":
    main()
