"""`app`, which Victor adds as `victor autotune`, and `main`, the console script `victor-autotune`.

Victor turns the whole tree of commands into click's at every start, so a command is loaded only when it, or the list
of all, is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    import click

_HELP = "Tune the agent teams in Victor workflows by A/B tests on their real runs."


class LazyGroup(TyperGroup):
    """A group whose commands are loaded on first use."""

    def __init__(self, **attrs: Any) -> None:
        import click.exceptions

        super().__init__(**attrs)
        # Where click tells the near name itself, Typer would tell it again.
        self.suggest_commands = not hasattr(click.exceptions, "NoSuchCommand")

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands, in the order of the help."""
        from .commands import COMMANDS

        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, or None when there is none of this name."""
        from .commands import COMMANDS

        # For an unknown name all are loaded: the near one is searched among them.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = COMMANDS[name].load(name)
        return self.commands.get(cmd_name)


# Completion is offered by `victor-autotune` alone: Victor's own command has none to add it to.
app = typer.Typer(name="autotune", help=_HELP, cls=LazyGroup, no_args_is_help=True)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"victor-autotune-plugin {version('victor-autotune-plugin')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Tune the agent teams in Victor workflows by A/B tests on their real runs."""


def main() -> None:
    """Run the console script `victor-autotune`."""
    import gc

    from .console import readable

    # A command is short, and most of what it makes lives to its end: to look for garbage takes a tenth of its time.
    gc.set_threshold(200_000, 50, 50)
    with readable():
        try:
            app(prog_name="victor-autotune")
        finally:
            gc.freeze()  # Python would look through everything once more before it exits, which takes another tenth
