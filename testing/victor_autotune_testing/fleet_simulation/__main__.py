"""Lives through seeds from the command line."""

from __future__ import annotations

import argparse
import sys

from .fleet import simulate

AGAIN = "python -m victor_autotune_testing.fleet_simulation --seed {} --trace"
"""How to live through a seed again."""


def main(arguments: list[str] | None = None) -> int:
    """Run, and return 1 when something did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m victor_autotune_testing.fleet_simulation",
        description="Let simulated fleets live through the faults that seeds draw.",
        epilog="Example: python -m victor_autotune_testing.fleet_simulation --seed 4711 --trace",
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds (default: 1)")
    parser.add_argument("--trace", action="store_true", help="print every event")
    given = parser.parse_args(arguments)
    failed: list[int] = []
    for seed in range(given.seed, given.seed + given.seeds):
        outcome = simulate(seed, keep_trace=given.trace)
        sys.stdout.writelines(f"{line}\n" for line in outcome.trace)
        sys.stdout.write(f"seed {seed}: {outcome.violation or 'all holds'} (trace {outcome.mark:08x})\n")
        if outcome.violation is not None:
            failed.append(seed)
    if given.seeds > 1:
        for seed in failed:
            sys.stdout.write(f"again: {AGAIN.format(seed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
