"""Which process this is, as every host that shares a store knows it."""

from __future__ import annotations

import os
import platform
import time
import uuid

from attrs import frozen


@frozen
class ProcessId:
    """A process that runs teams.

    Attributes:
        id: Unique id (UUID4 hex): host and pid come again after a reboot, and in every container.
        host: Name of its host, for people.
        pid: Its id on that host, for people.
        started_at: Unix time at which the plugin began to work in it, seconds.
    """

    id: str
    host: str
    pid: int
    started_at: float

    @classmethod
    def new(cls) -> ProcessId:
        """Return a new identity for this process; a forked child needs one of its own."""
        return cls(uuid.uuid4().hex, platform.node() or "localhost", os.getpid(), time.time())
