"""Modules that 0.1.0's documentation imports and that moved since: they work until 0.3, with a DeprecationWarning.

A finder at the end of `sys.meta_path` serves them, so they cost nothing until one is imported, and a real module of
the same name always comes first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

PACKAGE: Final = "victor_autotune_plugin"

MOVED: Final = {
    "host": "victor_autotune_plugin._host",
    "host.seams": "victor_autotune_plugin._host.seams",
    "host.workflows": "victor_autotune_plugin._host.workflows",
    "model": "victor_autotune_plugin._model",
    "model.optimization": "victor_autotune_plugin._model.optimization",
    "model.run": "victor_autotune_plugin._model.run",
    "model.state": "victor_autotune_plugin._model.experiment",
    "runtime": "victor_autotune_plugin._tuning.runtime",
    "scripted": "victor_autotune_testing.scripted",
    "scripted.scripts": "victor_autotune_testing.scripted.scripts",
    "scripted.sandbox": "victor_autotune_testing.sandbox",
    "simulation": "victor_autotune_testing.simulation",
    "tuner": "victor_autotune_plugin._tuner",
}
"""Where each module of 0.1.0 lives now."""


class MovedModule(ModuleType):
    """Stands at a module's old place and fetches each name from its new one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        old = self.__name__.removeprefix(f"{PACKAGE}.")
        submodule = MOVED.get(f"{old}.{name}")
        value = _load(old, submodule) if submodule else getattr(_load(old, MOVED[old]), name)

        import warnings

        warnings.warn(
            f"{self.__name__}.{name} goes with 0.3: {_advice(name, MOVED[old])}", DeprecationWarning, stacklevel=2
        )
        return value


class MovedFinder:
    """Finds modules at their old places. Python asks it last."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Return the spec of a module that moved, and None for any other name."""
        if fullname.removeprefix(f"{PACKAGE}.") not in MOVED or not fullname.startswith(f"{PACKAGE}."):
            return None
        return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]  # its two methods suffice

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the module that stands at the old place."""
        return MovedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Check that the new place can be imported."""
        old = module.__name__.removeprefix(f"{PACKAGE}.")
        _load(old, MOVED[old])


def _load(old: str, new: str) -> ModuleType:
    try:
        return import_module(new)
    except ModuleNotFoundError as missing:
        if not (missing.name or "").startswith("victor_autotune_testing"):
            raise
        raise ImportError(
            f"{PACKAGE}.{old} moved to {new}, which is not installed with the plugin: it comes with the source, "
            "in the folder testing/",
            name=f"{PACKAGE}.{old}",
        ) from None


def _advice(name: str, new: str) -> str:
    for public in (PACKAGE, f"{PACKAGE}.hookspecs"):
        if name in import_module(public).__all__:
            return f"import it from {public}"
    if new.startswith("victor_autotune_testing"):
        return f"import it from {new}, which comes with the source"
    if name == "seams":
        return f"call install, uninstall and health of {PACKAGE}"
    return f"it is private now, in {new}"


def install_finder() -> None:
    """Let Python find the modules that moved."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
