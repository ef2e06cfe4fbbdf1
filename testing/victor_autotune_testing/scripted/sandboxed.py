"""`python -m victor_autotune_testing.scripted.sandboxed PROGRAM ...`: a program that believes `HOME`.

Victor looks for its settings where the passwd database says. This process lets the database agree with the environment
variable, and then becomes the program: a console script such as `victor`, or `python`. `sandbox_command` builds the
command line.
"""

from __future__ import annotations

import importlib.metadata
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from victor_autotune_plugin.errors import AutotuneError

from .sandbox import trusted_home

_USAGE = "name a console script, or python with -c CODE, -m MODULE or a file"


def run(argv: Sequence[str]) -> None:
    """Become a program.

    Args:
        argv: The program and its arguments.

    Raises:
        AutotuneError: There is no such program.
        SystemExit: The program ended with an exit code.
    """
    if not argv:
        raise AutotuneError("no program to run", hint=_USAGE)
    with trusted_home(Path(os.environ["HOME"])):
        if argv[0] == "python":
            _python(argv[1:])
        else:
            _console_script(argv)


def main(argv: Sequence[str]) -> None:
    """Become a program, and end with a message and exit code 2 when there is no such program.

    Args:
        argv: The program and its arguments.
    """
    try:
        run(argv)
    except AutotuneError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def _python(argv: Sequence[str]) -> None:
    match argv:
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            sys.path.insert(0, "")
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [file, *rest] if not file.startswith("-"):
            sys.argv = [file, *rest]
            sys.path.insert(0, str(Path(file).parent))
            runpy.run_path(file, run_name="__main__")
        case _:
            raise AutotuneError(f"python {' '.join(argv)} is not understood", hint=_USAGE)


def _console_script(argv: Sequence[str]) -> None:
    found = importlib.metadata.entry_points(group="console_scripts", name=argv[0])
    if not found:
        raise AutotuneError(f"no console script called {argv[0]!r} is installed", hint=_USAGE)
    sys.argv = list(argv)
    sys.exit(next(iter(found)).load()())


if __name__ == "__main__":
    main(sys.argv[1:])
