"""`python -m victor_autotune_testing.scripted`: serves a script until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import importlib.resources
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence

from victor_autotune_plugin.errors import AutotuneError

from .reading import load_script
from .script import Script
from .server import MODEL, Call, ScriptedModel, max_in_flight

_HELP = """\
To let Victor use it, put this into ~/.victor/profiles.yaml, and choose the provider openai and any model:
  providers:
    openai:
      base_url: {base_url}
Ctrl-C ends it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a script until Ctrl-C or SIGTERM.

    Args:
        argv: Command line without the program, or None for the process's own.

    Returns:
        Exit code: 0, or 2 for a wrong script or port.
    """
    parser = argparse.ArgumentParser(
        prog="python -m victor_autotune_testing.scripted",
        description="A model that follows a script, behind OpenAI's chat-completions API on loopback.",
        epilog="example: python -m victor_autotune_testing.scripted --script script.yaml --port 8123",
    )
    parser.add_argument("--script", metavar="FILE", help="YAML or JSON; without one every call succeeds at once")
    parser.add_argument("--port", type=int, default=0, help="port on loopback (default: a free one)")
    parser.add_argument("--example", action="store_true", help="print a script with every key, and end")
    options = parser.parse_args(argv)
    if options.example:
        sys.stdout.write(example())
        return 0
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in signals]
    try:
        script = load_script(options.script) if options.script else Script()
        with ScriptedModel(script, port=options.port) as model:
            with contextlib.suppress(KeyboardInterrupt):
                _greet(model)
                threading.Event().wait()
            for number in signals:
                signal.signal(number, signal.SIG_IGN)
            sys.stdout.write(_summary(model.calls))
    except AutotuneError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    return 0


def example() -> str:
    """Return a commented script with every key."""
    return importlib.resources.files(__package__).joinpath("example.yaml").read_text(encoding="utf-8")


def _greet(model: ScriptedModel) -> None:
    sys.stdout.write(
        f"The scripted model {MODEL!r} listens on {model.base_url}\n{_HELP.format(base_url=model.base_url)}"
    )
    sys.stdout.flush()


def _summary(calls: Sequence[Call]) -> str:
    of_rule = Counter(call.rule for call in calls)
    lines = [f"\n{len(calls)} calls, at most {max_in_flight(calls)} at once\n"]
    lines += [f"  {count:6} {rule}\n" for rule, count in of_rule.most_common()]
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
