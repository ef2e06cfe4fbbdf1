"""What all tests share: a home of their own, real Victor on a scripted model, marks, and their order."""

from __future__ import annotations

import gc
import os

import hypothesis
import pytest

from victor_autotune_plugin import failsafe

pytest_plugins = ("victor_autotune_testing.realvictor",)

# A machine under load is slow at times; what is slow by itself shows in the benchmarks.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

# Under pytest runs belong to the environment `test`; most tests are about a project where nothing says so.
os.environ["VICTOR_AUTOTUNE_ENVIRONMENT"] = "default"

# Victor leaves millions of objects behind, and each collection of the oldest goes through them: an eighth of the time.
gc.set_threshold(50_000, 20, 100)

_IN_THIS_PROCESS = "orchestrator"
_RUNS_VICTOR = frozenset((_IN_THIS_PROCESS, "victor_process"))


@pytest.fixture(autouse=True)
def forget_faults() -> None:
    """Let no test see what went wrong in the one before."""
    failsafe.forget()


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs Victor by its fixtures, and run what works with it in this process last.

    Victor 0.9.5 keeps 7 MB for every member that ever ran, and a large process forks slowly.
    """
    for item in items:
        if _RUNS_VICTOR.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("victor")
    items.sort(key=lambda item: _IN_THIS_PROCESS in getattr(item, "fixturenames", ()))
