"""What importing loads, seen from a process that has loaded nothing yet."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

HEAVY: Final = frozenset(
    ("numpy", "scipy", "sqlalchemy", "opentelemetry", "victor", "rich", "yaml", "attr", "pluggy", "wrapt")
)
"""Packages that Victor's start must not wait for."""


def loaded_by(code: str, *arguments: object, after: str = "") -> frozenset[str]:
    """Return the names of the modules that a program loads in a new process.

    Args:
        code: The program; it finds its arguments in `sys.argv[1:]` and prints nothing.
        *arguments: Its arguments.
        after: A program that runs before it; what that loads does not count.
    """
    program = f"import sys\n{after}\nbefore = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    argv = [sys.executable, "-c", program, *map(str, arguments)]
    return frozenset(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())


def packages(modules: frozenset[str]) -> frozenset[str]:
    """Return the top-level packages of modules."""
    return frozenset(name.partition(".")[0] for name in modules)
