"""What all tests share: a home of their own, and real Victor on a scripted model."""

from __future__ import annotations

import pytest

pytest_plugins = ("victor_autotune_testing.realvictor",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what works with Victor in this process last: Victor 0.9.5 keeps 7 MB for every member that ever ran.

    A large process forks slowly.
    """
    items.sort(key=lambda item: "orchestrator" in getattr(item, "fixturenames", ()))
