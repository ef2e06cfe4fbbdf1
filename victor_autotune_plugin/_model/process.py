"""Which process this is, as every host that shares a store knows it."""

from __future__ import annotations

import getpass
import os
import platform
import time
from random import Random, SystemRandom

from attrs import frozen

from ..errors import AutotuneError


@frozen
class ProcessId:
    """A process that runs teams.

    Attributes:
        id: Unique id (32 hexadecimal digits): host and pid come again after a reboot, and in every container.
        host: Name of its host, for people.
        pid: Its id on that host, for people.
        started_at: Unix time at which the plugin began to work in it, seconds.
    """

    id: str
    host: str
    pid: int
    started_at: float

    @classmethod
    def new(cls, random: Random | None = None, started_at: float | None = None) -> ProcessId:
        """Return a new identity for this process; a forked child needs one of its own.

        Args:
            random: What its id is drawn from; None for the system's randomness.
            started_at: When it began, Unix seconds; None for the time of the call.
        """
        number = (random or SystemRandom()).getrandbits(128)
        begun = time.time() if started_at is None else started_at
        return cls(f"{number:032x}", platform.node() or "localhost", os.getpid(), begun)


def person_name(name: str | None) -> str:
    """Return the name under which the history keeps a person.

    Args:
        name: What the person gave; None for the user that the process runs as.

    Raises:
        AutotuneError: The given name is empty.
    """
    if name is not None:
        if not name.strip():
            raise AutotuneError("the name of who decides is empty", hint="Write a name, or leave it out.")
        return name.strip()
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no user of this number, as in some containers
        return "unknown user"
