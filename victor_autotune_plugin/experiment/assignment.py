"""Which arm a run belongs to: permuted blocks from a seed, the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final

ASSIGNMENT_VERSION: Final = "sha256-blocks-1"
"""Name of the rule below. It changes whenever the same seed would give another sequence of arms."""

MAX_BLOCK: Final = 1000
"""Longest block. Weights that need a longer one are refused."""

_PAIR: Final = (("control", Fraction(1, 2)), ("treatment", Fraction(1, 2)))


def assign(seed: str, index: int, weights: Mapping[str, float] | None = None) -> str:
    """Return the arm of the unit with number `index` in the experiment with this seed.

    Units come in blocks of the shortest length in which every arm gets its exact share: pairs for two equal arms,
    tens for a holdback of 10 %. Within a block the slots, listed by arm name, are ordered by the SHA-256 digest of
    version, seed, block and slot. So arms are balanced after every block, and the order can't be foreseen
    (permuted-block randomisation, Zelen 1974).

    Args:
        seed: Any text, stored with the experiment.
        index: Number of the unit, from 0. A unit is a task key, or a run without one.
        weights: Share of each arm, adding up to 1; None for `control` and `treatment` at one half each.

    Raises:
        ValueError: For a negative index, or weights that are negative, don't add up to 1, or need a block of more
            than `MAX_BLOCK`.
    """
    if index < 0:
        raise ValueError(f"index must not be negative, but is {index}")
    slots = _slots(_PAIR if weights is None else _shares(weights))
    block, position = divmod(index, len(slots))
    prefix = f"{ASSIGNMENT_VERSION}\n{len(seed)}\n{seed}\n{block}\n"
    order = sorted(range(len(slots)), key=lambda slot: hashlib.sha256(f"{prefix}{slot}".encode()).digest())
    return slots[order[position]]


def _shares(weights: Mapping[str, float]) -> tuple[tuple[str, Fraction], ...]:
    shares = []
    for arm, weight in sorted(weights.items()):
        if not 0 <= weight <= 1:
            raise ValueError(f"weights: the share of {arm!r} must be a number from 0 to 1, not {weight!r}")
        share = Fraction(weight).limit_denominator(MAX_BLOCK)
        if abs(float(share) - weight) > 1e-9:
            raise ValueError(f"weights: {arm!r} = {weight!r} is no fraction with a denominator up to {MAX_BLOCK}")
        shares.append((arm, share))
    if sum(share for _, share in shares) != 1:
        raise ValueError(f"weights must add up to 1, not {math.fsum(weights.values())!r}")
    return tuple(shares)


@lru_cache(maxsize=64)
def _slots(shares: tuple[tuple[str, Fraction], ...]) -> tuple[str, ...]:
    length = math.lcm(*(share.denominator for _, share in shares))
    if length > MAX_BLOCK:
        raise ValueError(f"weights need blocks of {length} runs; at most {MAX_BLOCK} are possible")
    return tuple(arm for arm, share in shares for _ in range(int(share * length)))


def sample_ratio_p_value(counts: Mapping[str, int], weights: Mapping[str, float] | None = None) -> float:
    """Return the p-value of the observed counts per arm under the planned shares.

    Exact and binomial for two arms, Pearson's chi-square for more. With permuted blocks the counts differ less than
    under independent draws, so a small value means lost runs or a wrong assignment, never chance.

    Args:
        counts: Runs per arm. An arm that is missing counts as 0.
        weights: As for `assign`.

    Raises:
        ValueError: For weights that `assign` would refuse, or a count of an arm that has no weight.
    """
    shares = {arm: float(share) for arm, share in (_PAIR if weights is None else _shares(weights)) if share}
    unknown = [arm for arm, count in counts.items() if count and arm not in shares]
    if unknown:
        raise ValueError(f"counts: arm {unknown[0]!r} has no weight")
    total = sum(counts.values())
    if total == 0 or len(shares) < 2:
        return 1.0
    if len(shares) == 2:
        arm, share = next(iter(shares.items()))
        return _binomial_p_value(counts.get(arm, 0), total, share)
    statistic = sum((counts.get(arm, 0) - total * share) ** 2 / (total * share) for arm, share in shares.items())
    return _chi_square_tail(statistic, len(shares) - 1)


def _binomial_p_value(k: int, n: int, p: float) -> float:
    """Two-sided, by the sum of all outcomes that are no more likely than the observed one."""

    def log_mass(i: int) -> float:
        choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        return choose + i * math.log(p) + (n - i) * math.log1p(-p)

    limit = log_mass(k) + 1e-9
    return min(1.0, math.fsum(math.exp(m) for m in map(log_mass, range(n + 1)) if m <= limit))


def _chi_square_tail(x: float, df: int) -> float:
    """Upper tail by the recursion over degrees of freedom (Abramowitz and Stegun 26.4.4 and 26.4.5)."""
    if x <= 0:
        return 1.0
    tail = math.erfc(math.sqrt(x / 2)) if df % 2 else math.exp(-x / 2)
    for k in range(3 if df % 2 else 4, df + 1, 2):
        tail += math.exp((k / 2 - 1) * math.log(x / 2) - x / 2 - math.lgamma(k / 2))
    return min(1.0, tail)
