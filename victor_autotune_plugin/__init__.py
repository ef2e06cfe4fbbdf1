"""Tunes the agent teams inside Victor workflows by A/B tests on their real runs."""

from __future__ import annotations

__all__ = ["__version__", "install", "uninstall"]


def install() -> None:
    """Intercept Victor's team runs in this process.

    Victor does it by itself when it loads its plugins; call this where a program uses Victor's coordinators without
    an agent of Victor's. Installing twice is the same as once.
    """
    from .host import seams

    seams.install()


def uninstall() -> None:
    """Take the interception out again until `install` is called, and write and close what is open."""
    from . import runtime
    from .host import seams

    seams.uninstall()
    before = runtime.use(None)
    if before is not None:
        before.close()


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("victor-autotune-plugin")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
