"""Which arm a run belongs to: the same answer on every machine, from nothing but the experiment's seed and a place.

It stands in the model, apart from the tests that the arms are for, since the first run of a process waits for it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final

ASSIGNMENT_VERSION: Final = "shake256-streams-2"
"""Name of the rule of `assign`. It changes whenever the same seed would give another sequence of arms."""

EARLIER_VERSION: Final = "sha256-blocks-1"
"""Name of the rule of 0.1, `assign_earlier`: one sequence an experiment."""

MAX_BLOCK: Final = 1000
"""Longest block. Weights that need a longer one are refused."""

FEW_TASKS: Final = 1 / 3
"""Tasks per expected run up to which a task is paired within itself."""

PAIR: Final = (("control", Fraction(1, 2)), ("treatment", Fraction(1, 2)))
"""The shares of two equal arms."""

TASK_STREAM: Final = "task:"
"""What the name of a task's own stream begins with."""

STAGE_SHARES: Final[Mapping[str, Mapping[str, float]]] = {
    "canary": {"control": 0.75, "treatment": 0.25},
    "probation": {"control": 0.3, "treatment": 0.7},
}
"""Shares of the stages of a test whose arms are unequal. A stream of such a stage is named `stage:name`."""

CLUSTER_STREAM: Final = "cluster:"
"""What the name of the stream of a sticky task begins with: all its runs have the arm of its index 0."""

REVERIFY: Final = "reverify-"
"""What the stage of a re-verification begins with; its number follows. Its arms are halves."""

_DRAW_BYTES: Final = 8
# A draw from at most 1000 places by the remainder of 64 bits is uniform but for 1 in 10^16.


def assign(seed: str, index: int, weights: Mapping[str, float] | None = None, *, stream: str = "") -> str:
    """Return the arm of the unit at place `index` of a stream of the experiment with this seed.

    Units come in blocks of the shortest length in which every arm gets its exact share: pairs for two equal arms,
    tens for a holdback of 10 %. One digest of seed, stream and block shuffles the block's arms, listed by name. So
    arms are balanced after every block of a stream, the order can't be foreseen (permuted-block randomisation, Zelen
    1974), and streams need to know nothing of each other.

    Args:
        seed: Any text, stored with the experiment.
        index: Place of the unit in its stream, from 0.
        weights: Share of each arm, adding up to 1; None for `control` and `treatment` at one half each.
        stream: Name of the stream.

    Raises:
        ValueError: For a negative index, or weights that are negative, don't add up to 1, or need a block of more
            than `MAX_BLOCK`.
    """
    if index < 0:
        raise ValueError(f"index must not be negative, but is {index}")
    slots = _slots_of(None if weights is None else tuple(weights.items()))
    block, place = divmod(index, len(slots))
    return _shuffled(slots, seed, stream, block)[place]


def block_length(weights: Mapping[str, float] | None = None) -> int:
    """Return the number of units in a block; `weights` as for `assign`."""
    return len(_slots_of(None if weights is None else tuple(weights.items())))


OF_TEST: Final = "of-test-"
"""What the name of the stream of a live plan's run begins with that was the control of a later test; the id of that
test and the name of its stream follow. Such a run is compared with nothing but the plan's own runs."""


def stream_of(stage: str, name: str) -> str:
    """Return the full name of a stream of a stage; of the main one, for which `stage` is empty, it is the name."""
    return f"{stage}:{name}" if stage else name


def shares_of_stream(stream: str, holdback: float | None = None) -> Mapping[str, float] | None:
    """Return the share of each arm in a stream, by its name; None for halves.

    Args:
        stream: Its full name.
        holdback: Control's share of the runs under a live plan; None for a stream of a test.
    """
    stage = stream.partition(":")[0]
    if holdback is None or stage.startswith(REVERIFY):
        return STAGE_SHARES.get(stage)
    return {"control": holdback, "treatment": 1 - holdback}


def block_of(stream: str, index: int) -> tuple[tuple[str, int], int]:
    """Return the block of a place in a stream of a test, and how many places it has.

    The runs of a block share a draw of `assign`, so they are what its arms may be compared within.
    """
    length = _length_of_stage(stream.partition(":")[0])
    return (stream, index // length), length


@lru_cache(maxsize=64)
def _length_of_stage(stage: str) -> int:
    return block_length(STAGE_SHARES.get(stage))


def pairs_within_tasks(tasks: int, expected_runs: int) -> bool:
    """Return whether runs of a task should be paired with each other.

    A pair of one task is free of what tasks differ in, but each task may leave a run without a partner. So it pays
    while a task comes several times in a test.

    Args:
        tasks: Distinct tasks that runs of the team had lately.
        expected_runs: Runs that the test is expected to take, both arms together.
    """
    return 0 < tasks <= expected_runs * FEW_TASKS


@lru_cache(maxsize=64)
def _slots_of(weights: tuple[tuple[str, float], ...] | None) -> tuple[str, ...]:
    """Return the arms of a block, known by the weights as they come: the hash of a fraction is slow."""
    return _slots(PAIR if weights is None else _exact(tuple(sorted(weights))))


@lru_cache(maxsize=1024)
def _shuffled(slots: tuple[str, ...], seed: str, stream: str, block: int) -> tuple[str, ...]:
    """Return a block's arms in their order (Durstenfeld 1964); a process asks for one after the other of a block."""
    text = f"{ASSIGNMENT_VERSION}\n{len(seed)}\n{seed}\n{len(stream)}\n{stream}\n{block}"
    digest = hashlib.shake_256(text.encode()).digest(_DRAW_BYTES * (len(slots) - 1))
    order = list(slots)
    for draw, last in enumerate(range(len(slots) - 1, 0, -1)):
        number = int.from_bytes(digest[_DRAW_BYTES * draw : _DRAW_BYTES * (draw + 1)], "big")
        chosen = number % (last + 1)
        order[last], order[chosen] = order[chosen], order[last]
    return tuple(order)


def assign_earlier(seed: str, index: int, weights: Mapping[str, float] | None = None) -> str:
    """Return the arm by the rule of 0.1, for the replay of its experiments; the arguments are those of `assign`.

    The slots of a block are ordered by the SHA-256 digest of version, seed, block and slot.
    """
    if index < 0:
        raise ValueError(f"index must not be negative, but is {index}")
    slots = _slots(PAIR if weights is None else exact_shares(weights))
    block, position = divmod(index, len(slots))
    prefix = f"{EARLIER_VERSION}\n{len(seed)}\n{seed}\n{block}\n"
    order = sorted(range(len(slots)), key=lambda slot: hashlib.sha256(f"{prefix}{slot}".encode()).digest())
    return slots[order[position]]


def exact_shares(weights: Mapping[str, float]) -> tuple[tuple[str, Fraction], ...]:
    """Return the share of each arm, by name; `weights` as for `assign`, and refused as there."""
    return _exact(tuple(sorted(weights.items())))


@lru_cache(maxsize=64)
def _exact(weights: tuple[tuple[str, float], ...]) -> tuple[tuple[str, Fraction], ...]:
    shares = []
    for arm, weight in weights:
        if not 0 <= weight <= 1:
            raise ValueError(f"weights: the share of {arm!r} must be a number from 0 to 1, not {weight!r}")
        share = Fraction(weight).limit_denominator(MAX_BLOCK)
        if abs(float(share) - weight) > 1e-9:
            raise ValueError(f"weights: {arm!r} = {weight!r} is no fraction with a denominator up to {MAX_BLOCK}")
        shares.append((arm, share))
    if sum(share for _, share in shares) != 1:
        raise ValueError(f"weights must add up to 1, not {math.fsum(weight for _, weight in weights)!r}")
    return tuple(shares)


@lru_cache(maxsize=64)
def _slots(shares: tuple[tuple[str, Fraction], ...]) -> tuple[str, ...]:
    length = math.lcm(*(share.denominator for _, share in shares))
    if length > MAX_BLOCK:
        raise ValueError(f"weights need blocks of {length} runs; at most {MAX_BLOCK} are possible")
    return tuple(arm for arm, share in shares for _ in range(int(share * length)))
