"""`schema`: the JSON Schema of settings files, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of settings files, with the strategies that installed packages add.

    In VS Code and other editors that speak to yaml-language-server, this
    first line of a settings file makes them check and complete it:
    # yaml-language-server: $schema=autotune.schema.json
    """
    from .._settings import STRATEGIES
    from .._settings.editor import schema_text
    from .._tuning.hookmanager import HookManager

    hooks = HookManager()
    hooks.load_entry_points()
    offered = [strategy.name for answer in hooks.answers("add_strategies") for strategy in answer.value]
    text = schema_text(dict.fromkeys((*STRATEGIES, *offered)))
    if output is None:
        typer.echo(text, nl=False)
        return
    from .._values.files import write_atomically
    from ..errors import AutotuneError
    from . import rendering as show

    try:
        write_atomically(output, text.encode())
    except OSError as error:
        raise AutotuneError(f"can't be written: {error.strerror}", where=str(output)) from error
    if as_json:
        show.write_json({"written": str(output)})
    else:
        show.say(f"Wrote {output}.")
