"""Where in Victor a team run happens: in which workflow, as which step, under which timeout.

The coordinator, where every run passes, knows none of this; the layers above it do. Each of them leaves what it
knows in a `ContextVar` on the way down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from attrs import evolve, frozen


@frozen
class Place:
    """What the layers above the coordinator said.

    Attributes:
        workflow: Name of the workflow, or None outside one.
        metadata: The workflow's own `metadata.autotune`, or None.
        team_id: Id of the team step, graph node or configured team, or None.
        step_timeout: The team step's own timeout in seconds, or None.
        lifted: Whether that timeout was taken off the step, so that it has to be enforced by the plugin.
    """

    workflow: str | None = None
    metadata: Mapping[str, Any] | None = None
    team_id: str | None = None
    step_timeout: float | None = None
    lifted: bool = False


_place: ContextVar[Place] = ContextVar("victor_autotune_place", default=Place())  # noqa: B039 - frozen


def here() -> Place:
    """Return the current place."""
    return _place.get()


@contextmanager
def inside(**known: Any) -> Iterator[Place]:
    """Add what a layer knows to the current place, for a block.

    Args:
        **known: Attributes of `Place`.

    Yields:
        The new place.
    """
    place = evolve(_place.get(), **known)
    token = _place.set(place)
    try:
        yield place
    finally:
        _place.reset(token)


def inside_run() -> Any:
    """Enter a team run: what named it must not name the runs inside it."""
    return inside(team_id=None, step_timeout=None, lifted=False)
