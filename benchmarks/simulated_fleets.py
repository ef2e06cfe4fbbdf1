"""Lets many simulated fleets live through the faults that seeds draw: what happened, how often, and what did not hold.

python benchmarks/simulated_fleets.py --seeds 20000 --processes 2
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from victor_autotune_testing.fleet_simulation import simulate
from victor_autotune_testing.fleet_simulation.__main__ import AGAIN

PIECE = 100
"""Seeds that a process takes at a time."""


def _piece(first: int, number: int) -> tuple[Counter[str], list[tuple[int, str]]]:
    counts: Counter[str] = Counter()
    failed = []
    for seed in range(first, first + number):
        outcome = simulate(seed)
        counts += outcome.counts
        if outcome.violation is not None:
            failed.append((seed, outcome.violation))
    return counts, failed


def _pieces(first: int, seeds: int, processes: int) -> Iterator[tuple[Counter[str], list[tuple[int, str]]]]:
    starts = range(first, first + seeds, PIECE)
    sizes = [min(PIECE, first + seeds - start) for start in starts]
    if processes == 1:
        yield from map(_piece, starts, sizes)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_piece, starts, sizes)


def main() -> int:
    """Run, and return 1 when something did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python benchmarks/simulated_fleets.py --seeds 1000 --processes 1"
    )
    parser.add_argument("--seeds", type=int, default=20_000, help="how many seeds (default: 20000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--processes", type=int, default=2, help="how many processes (default: 2)")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    begun, done = time.perf_counter(), 0
    for more, bad in _pieces(given.first, given.seeds, given.processes):
        counts += more
        failed += bad
        for seed, violation in bad:
            print(f"\nseed {seed}: {violation}", file=sys.stderr, flush=True)
        done = min(given.seeds, done + PIECE)
        seconds = time.perf_counter() - begun
        print(f"\r{done} of {given.seeds} seeds, {done / seconds:.1f} a second", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    seconds = time.perf_counter() - begun
    print(f"{given.seeds} simulated fleets in {seconds:.0f} s, {given.seeds / seconds:.1f} a second")
    print(f"\n{'what happened':<40}{'times':>12}{'a fleet':>12}")
    for name, number in sorted(counts.items()):
        print(f"{name:<40}{number:>12}{number / given.seeds:>12.2f}")
    print(f"\n{len(failed)} seeds in which something did not hold")
    for seed, violation in failed:
        print(f"  {violation}\n    again: {AGAIN.format(seed)}")
    figures = {"seeds": given.seeds, "seconds": seconds, "counts": dict(counts), "failed": dict(failed)}
    print(json.dumps(figures, sort_keys=True))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
