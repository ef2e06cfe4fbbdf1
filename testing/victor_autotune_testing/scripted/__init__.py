"""A model that follows a script instead of thinking, for the demo, examples, tests and your own trials.

`ScriptedModel` serves OpenAI's chat-completions API on loopback, so that real Victor teams run against it without a
cloud, with latencies, token counts, tool calls and failures of your choice. `scripts` has ready scripts, and
`python -m victor_autotune_testing.scripted` serves a script from a file.
"""

from __future__ import annotations

from .distributions import Constant, Distribution, Lognormal, Tailed, Uniform
from .reading import load_script, read_script
from .script import ANSWER, NOTES, Crowding, Failure, Rule, Script, ScriptError, ToolTurns
from .server import GONE, MODEL, Call, ScriptedModel, max_in_flight, overlaps

__all__ = [
    "ANSWER",
    "GONE",
    "MODEL",
    "NOTES",
    "Call",
    "Constant",
    "Crowding",
    "Distribution",
    "Failure",
    "Lognormal",
    "Rule",
    "Script",
    "ScriptError",
    "ScriptedModel",
    "Tailed",
    "ToolTurns",
    "Uniform",
    "load_script",
    "max_in_flight",
    "overlaps",
    "read_script",
]
