"""Simulated fleets: the real loop on several hosts, one database, and every fault that a seed draws, on one thread.

`python -m victor_autotune_testing.fleet_simulation --seed 4711 --trace` lives through a seed again.
"""

from .fleet import Fleet, Outcome, simulate
from .invariants import Violation

__all__ = ["Fleet", "Outcome", "Violation", "simulate"]
