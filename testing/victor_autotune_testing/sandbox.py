"""Runs real Victor away from the user's own settings, without a network.

Victor keeps its settings, caches and databases in `~/.victor` and in `.victor` of the current folder, and believes
`HOME` only when the passwd database agrees (`victor/config/secure_paths.py`). A sandbox therefore moves `HOME`, lets
the passwd database of this process agree, and works in a project of its own.

`python -m victor_autotune_testing.sandbox PROGRAM ...` does it for a process of its own: lets the passwd database agree
with `HOME`, and then becomes the program. `sandbox_command` builds that command line.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.metadata
import json
import logging
import os
import pwd
import runpy
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from victor_autotune_plugin.errors import AutotuneError, HostError

NOTES: Final = "notes.md"
"""A file with notes in the sandbox's project, for scripted tool calls to read."""
_NOTES_LINES: Final = 1000
_USAGE: Final = "name a console script, or python with -c CODE, -m MODULE or a file"
_OFFLINE: Final = {
    # Without them, an installed sentence-transformers would download Victor's embedding model.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # A proxy must not stand between Victor and the loopback interface.
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
_MOVING: Final = (
    "VICTOR_",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    # Under a test runner, Victor writes into a folder that all users of the machine share.
    "PYTEST_CURRENT_TEST",
    "TEST_MODE",
)
_API_KEY: Final = "sandbox"
_QUIET: Final = ("victor", "sandhi_gateway", "alembic")


@frozen
class Sandbox:
    """Where Victor lives for a while.

    Attributes:
        home: Home folder that Victor sees.
        project: Folder to run in, with `notes.md` for scripted tool calls.
    """

    home: Path
    project: Path

    def use_model(self, base_url: str) -> None:
        """Let Victor's `openai` provider talk to a server; agents that exist already keep theirs.

        Args:
            base_url: Its URL with `/v1`, such as `ScriptedModel.base_url`.
        """
        settings = self.home / ".victor"
        settings.mkdir(mode=0o700, exist_ok=True)
        # JSON is YAML, and needs no library to be written safely.
        profile = {"providers": {"openai": {"base_url": base_url}}}
        (settings / "profiles.yaml").write_text(json.dumps(profile) + "\n", encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """Return the environment for `command`."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(_MOVING)}
        # In CI and under pytest the plugin would take its runs for those of tests, and keep them apart.
        environment = {"VICTOR_AUTOTUNE_ENVIRONMENT": "default"}
        return own | _OFFLINE | environment | {"HOME": str(self.home), "OPENAI_API_KEY": _API_KEY}

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return a command that runs a program inside this sandbox. See `sandbox_command`."""
        return sandbox_command(argv)


def sandbox_command(argv: Sequence[str]) -> list[str]:
    """Return a command that runs a program inside a sandbox, as a process of its own.

    It trusts the `HOME` that it is started with, so start it with `Sandbox.environment()`, in `Sandbox.project`.

    Args:
        argv: The program and its arguments: the name of an installed console script such as `victor` or
            `victor-autotune`, or `python` with `-c CODE`, `-m MODULE` or a file.
    """
    return [sys.executable, "-m", "victor_autotune_testing.sandbox", *argv]


@contextlib.contextmanager
def victor_sandbox(
    base_url: str | None = None, folder: str | Path | None = None, *, chdir: bool = True, quiet: bool = False
) -> Iterator[Sandbox]:
    """Let Victor live in a folder of its own while the block runs. Enter it before anything imports Victor.

    It changes this process: `HOME`, environment variables that move Victor's folders (restored at the end), what the
    passwd database says of this user, and the current folder. Victor remembers its folders when it is imported, so a
    process that imported Victor in one sandbox can't use it in another, and must not use it after the block.

    Args:
        base_url: URL of the model server for Victor's `openai` provider, or None to call `Sandbox.use_model` later.
        folder: Folder for home and project, kept afterwards; None for a temporary one.
        chdir: Make the project the current folder.
        quiet: Keep what Victor logs and prints off the terminal.

    Raises:
        HostError: Victor was imported before, with another home.
    """
    root = _make_root(folder)
    sandbox = Sandbox(root / "home", root / "project")
    try:
        _refuse_another_home(sandbox.home)
        _furnish(sandbox)
        if base_url is not None:
            sandbox.use_model(base_url)
        with contextlib.ExitStack() as undo:
            undo.enter_context(_environment(sandbox))
            undo.enter_context(trusted_home(sandbox.home))
            if chdir:
                undo.enter_context(contextlib.chdir(sandbox.project))
            if quiet:
                undo.enter_context(_quiet())
            yield sandbox
    finally:
        _forget_home()
        if folder is None:
            shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def trusted_home(home: Path) -> Iterator[None]:
    """Let the passwd database of this process name a folder as this user's home while the block runs."""
    original = pwd.getpwuid
    own = os.getuid()

    def getpwuid(uid: int, /) -> pwd.struct_passwd:
        try:
            entry: Sequence[Any] = original(uid)
        except KeyError:
            if uid != own:
                raise
            # A container may run under a number that its passwd does not know.
            entry = ("sandbox", "x", uid, os.getgid(), "", "", "/bin/sh")
        return pwd.struct_passwd((*entry[:5], str(home), *entry[6:])) if uid == own else pwd.struct_passwd(entry)

    pwd.getpwuid = getpwuid
    try:
        yield
    finally:
        pwd.getpwuid = original


def _make_root(folder: str | Path | None) -> Path:
    if folder is None:
        root = Path(tempfile.mkdtemp(prefix="victor-sandbox-")).resolve()
        # Victor may still write while the process ends.
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        return root
    root = Path(folder).resolve()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return root


def _furnish(sandbox: Sandbox) -> None:
    for one in (sandbox.home, sandbox.project):
        one.mkdir(mode=0o700, exist_ok=True)
    notes = sandbox.project / NOTES
    if not notes.exists():
        lines = (
            f"Note {n}: this line is here to be read by scripted tool calls.\n" for n in range(1, _NOTES_LINES + 1)
        )
        notes.write_text("".join(lines), encoding="utf-8")


_home_of_victor: Path | None = None


def _refuse_another_home(home: Path) -> None:
    """Remember the home that Victor is imported with.

    Raises:
        HostError: Victor was imported already, with another one.
    """
    global _home_of_victor
    if _victor_is_imported():
        if _home_of_victor != home:
            before = (
                "before it could be moved" if _home_of_victor is None else f"in the sandbox {_home_of_victor.parent}"
            )
            raise HostError(
                f"Victor was imported {before}, and remembers its folders",
                where=str(home.parent),
                hint="enter the sandbox before anything imports Victor, once in a process",
            )
    else:
        _home_of_victor = home


def _forget_home() -> None:
    """Forget the home of a sandbox that ends before Victor was imported."""
    global _home_of_victor
    if not _victor_is_imported():
        _home_of_victor = None


def _victor_is_imported() -> bool:
    return any(name.startswith("victor.") for name in sys.modules)


@contextlib.contextmanager
def _environment(sandbox: Sandbox) -> Iterator[None]:
    before: Mapping[str, str] = dict(os.environ)
    inside = sandbox.environment()
    for name in before.keys() - inside.keys():
        del os.environ[name]
    os.environ.update(inside)
    try:
        yield
    finally:
        for name in inside.keys() - before.keys():
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if inside.get(name) != value})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from rich.console import Console

    loggers = [logging.getLogger(name) for name in _QUIET]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    # Victor prints refused and failed tool calls unless a console owns the screen.
    live_console = importlib.import_module("victor.runtime.live_console")
    live_console.register_live_console(Console(quiet=True))
    try:
        yield
    finally:
        live_console.unregister_live_console()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _become(argv: Sequence[str]) -> None:
    """Run a program in this process.

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
    """Become a program, and end with a message and exit code 2 when there is no such program."""
    # Hardly an object of a process that starts is garbage, and looking for it was a seventh of the start of Victor.
    gc.set_threshold(50_000, 20, 100)
    try:
        _become(argv)
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
