"""How far a team has come when a fleet begins: kept as images of the store, so that a seed comes to verdicts soon."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from .fleet import Fleet

MAKER_SEED: Final = 20_000_007
"""Seed of the fleet that the scenes are taken from: one host, and no fault."""

_MOST_RUNS: Final = 90


@frozen
class Scene:
    """A store at a moment.

    Attributes:
        name: What is about to happen.
        image: The database.
        now: The moment, Unix seconds.
        is_live: Whether a challenger is live, so that it may turn out worse.
        has_turned: Whether it is worse by now.
        decides_soon: Whether a test soon starts or ends well, which a person may be asked about.
    """

    name: str
    image: bytes | None
    now: float
    is_live: bool = False
    has_turned: bool = False
    decides_soon: bool = False


EMPTY: Final = Scene("no run yet", None, 1_800_000_000.0, decides_soon=True)


@cache
def scenes() -> tuple[Scene, ...]:
    """Return the scenes, made once a process, in a second or less."""
    from .fleet import Fleet

    fleet = Fleet.without_faults(MAKER_SEED, EMPTY)
    taken: list[tuple[bytes, float]] = []
    began: dict[str, int] = {}
    for number in range(_MOST_RUNS):
        taken.append((fleet.database.image(), fleet.agenda.now))
        _run_one(fleet)
        for action in fleet.invariants.changes:
            began.setdefault(action, number)
        if "promoted" in began and number > began["promoted"] + 3:
            fleet.has_turned = True
        if "rolled_back" in began:
            break
    fleet.close()
    places = (
        ("a test begins soon", began["started"] - 1, False, False, True),
        ("a test goes on", began["started"] + 5, False, False, False),
        ("a test is nearly likely", began["probation"] - 3, False, False, True),
        ("a plan is on probation", began["probation"] + 2, True, False, False),
        ("a test is nearly proven", began["promoted"] - 4, True, False, True),
        ("a plan was promoted", began["promoted"] + 3, True, False, False),
        ("an alarm is near", began["reverifying"] - 2, True, True, False),
        ("a rollback is near", began["rolled_back"] - 4, True, True, False),
    )
    return (EMPTY, *(Scene(name, *taken[at], *kind) for name, at, *kind in places))


def _run_one(fleet: Fleet) -> None:
    fleet.start_run(fleet.hosts[0])
    fleet.agenda.run_until(fleet.agenda.now + 6.0)
    fleet.raise_if_violated()
