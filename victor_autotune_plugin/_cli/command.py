"""What every command does alike: help with examples, errors, quiet logs, exit codes.

| code | meaning |
|---|---|
| 0 | fine |
| 1 | found something bad: a run failed, a change could not be made, a version is worse, or `doctor` found a fault |
| 2 | wrong usage or input: option, settings, file, store, team |
| 130 | interrupted by Ctrl-C |
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import typer
from typer.core import TyperCommand, TyperOption

from ..errors import AutotuneError

if TYPE_CHECKING:
    from collections.abc import Mapping


ENVIRONMENT: Final = "victor_autotune_plugin.environment"
"""Key of a command's context that holds what `--environment` names."""


_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class ExitCode(IntEnum):
    """What a command ends with."""

    FINE = 0
    BAD = 1
    USAGE = 2
    INTERRUPTED = 130


class Command(TyperCommand):
    """A command whose errors are told in one way: as text on stderr, or with `--json` as an object on stdout.

    Its epilog holds examples, a line each, in which `{prog}` stands for the command as it was called; its last line
    says since when it is there.

    One about a project has an option for the environment, which `options.environment` gives.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make the command; the arguments are Typer's."""
        super().__init__(*args, **kwargs)
        if any(param.name == "project" for param in self.params):
            self.params.append(
                TyperOption(
                    param_decls=["--environment"],
                    metavar="NAME",
                    help="Environment of the runs.",
                    show_default="the settings'",
                    expose_value=False,
                    callback=_keep_environment,
                )
            )

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help, with examples that fit the program's name."""
        epilog = self.epilog
        if epilog is not None:
            *examples, since = epilog.splitlines()
            lines = ["Examples:" if len(examples) > 1 else "Example:", *examples, since]
            self.epilog = "\n\n".join(lines).replace("{prog}", ctx.command_path)
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = epilog

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; what is wrong is told as JSON if that was asked for, and without a box in a pipe.

        Raises:
            typer.Exit: They are wrong.
        """
        as_json = "--json" in args
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            from .console import is_terminal

            if not as_json and is_terminal(sys.stderr):
                raise
            from .rendering import write_error

            message = error.format_message()
            hint = f"See {ctx.command_path} --help"
            write_error(AutotuneError(message, where=_where(error), hint=hint), as_json=as_json)
            raise typer.Exit(ExitCode.USAGE) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            typer.Exit: With the command's exit code, if it isn't 0.
        """
        from . import console

        options: Mapping[str, Any] = ctx.params
        with console.prepared(verbose=bool(options.get("verbose"))):
            try:
                return super().invoke(ctx)
            except AutotuneError as error:
                from .options import placed
                from .rendering import write_error

                error.hint = placed(error.hint)
                write_error(error, as_json=bool(options.get("as_json")))
                raise typer.Exit(ExitCode.USAGE) from error
            except KeyboardInterrupt:
                raise typer.Exit(ExitCode.INTERRUPTED) from None
            except OSError as error:
                if error.errno not in _NO_ROOM or error.filename is not None:  # a closed pipe ends it without a word
                    raise
                _tell_no_room(error)
                raise typer.Exit(ExitCode.USAGE) from error


def _tell_no_room(error: OSError) -> None:
    """Say that what a command printed found no room; nothing more is written there, not even what is left of it."""
    from .rendering import write_error

    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:  # a stream in memory has no descriptor
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    told = AutotuneError(f"can't be written: {error.strerror}", where="standard output", hint="Make room there.")
    write_error(told, as_json=False)


def _keep_environment(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    ctx.meta[ENVIRONMENT] = value


def _where(error: click.UsageError) -> str | None:
    parameter = getattr(error, "param", None)
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name if isinstance(parameter, click.Parameter) else None
