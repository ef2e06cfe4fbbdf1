"""The built-in scorers that look at the text alone, and the making of all that the settings name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._model.scorer_settings import ScorerSettings
from .command_scorer import SKIPPED, CommandScorer
from .scorer import RunOutput, Scored, SettingsScorer

if TYPE_CHECKING:
    from .._settings.team_settings import QualitySettings

NOT_HERE: Final = "not available"
"""Why a scorer has no opinion that this Victor can't make."""

_LONGEST_ARGUMENT: Final = 100_000
# Linux takes 128 KiB in one.

_VALIDATE: Final = r"""
import json, re, sys
try:
    schema, sys.path[:] = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    from jsonschema.validators import validator_for
    from referencing import Registry
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    found = re.findall(r"^[ \t]*```([^`\n]*)\n(.*?)^[ \t]*```", text, re.DOTALL | re.MULTILINE)
    last = {language.strip().lower(): block for language, block in found}
    try:
        data = json.loads(last.get("json", last.get("", text)))
    except (ValueError, RecursionError):
        print(0.0)
        sys.exit()
    # an empty registry: a reference to elsewhere is an error, and never fetched
    print(float(validator_for(schema)(schema, registry=Registry()).is_valid(data)))
except Exception:
    sys.exit(77)
"""

Maker = Callable[[ScorerSettings], Any]
"""Makes the scorer that settings describe."""


def scorers_of(quality: QualitySettings, makers: Mapping[str, Maker] | None = None) -> list[Any]:
    """Return the scorers of a team's settings; those outside of the process are none of them.

    Args:
        quality: The settings.
        makers: What makes the scorers of a kind that needs Victor, by kind.
    """
    known = {**_MAKERS, **(makers or {})}
    return [known.get(one.kind, _Missing)(one) for one in quality.scorers if one.kind != "external"]


class _Missing(SettingsScorer):
    """Stands for a scorer that can't be made here."""

    def score(self, _output: RunOutput) -> Scored:
        return Scored(None, NOT_HERE)


class JsonSchemaScorer(SettingsScorer):
    """1 where the output is JSON that a schema accepts, else 0.

    Of a text with fenced blocks the last one of JSON counts; without such, the last one that names no language.
    It looks in a process of its own, as `_regex` does: a schema may have patterns.
    """

    def score(self, output: RunOutput) -> Scored:
        """Return whether the schema accepts what was delivered.

        Raises:
            OSError: The file of the schema can't be read.
            ValueError: It holds no JSON, or is larger than a command's argument may be.
            jsonschema.SchemaError: It holds no JSON Schema.
        """
        from jsonschema.validators import validator_for

        one = self.settings
        schema = one.value
        if isinstance(schema, str):
            schema = json.loads((output.project / schema).read_text(encoding="utf-8"))
        validator_for(schema).check_schema(schema)
        # Absolute, and not the folder that it works in: a file of the project's must not stand for a library.
        folders = [str(Path(folder).absolute()) for folder in sys.path if folder]
        words = (sys.executable, "-I", "-c", _VALIDATE, json.dumps(schema), json.dumps(folders))
        if len(words[-2]) > _LONGEST_ARGUMENT:
            raise ValueError(f"the schema has more than {_LONGEST_ARGUMENT} characters")
        return CommandScorer(one.name, words, one.weight, one.gates, one.timeout, "check").score(output)


class ContainsScorer(SettingsScorer):
    """The share of some texts that are in the output, as they are written."""

    def score(self, output: RunOutput) -> float:
        """Return the share."""
        wanted = self.settings.value
        wanted = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        return sum(text in output.text for text in wanted) / len(wanted)


class PythonScorer(SettingsScorer):
    """Asks a function of the user's, `package.module:function`; modules of the project's folder are found, too."""

    def score(self, output: RunOutput) -> Any:
        """Return what the function returns; a coroutine where it is an async function.

        Raises:
            ImportError: There is no such module.
            AttributeError: It has no such function.
        """
        module, _, name = self.settings.value.partition(":")
        found: Any = _imported(module, output.project)
        for part in name.split("."):
            found = getattr(found, part)
        return found(output)


def _imported(name: str, project: Path) -> Any:
    """Import a module; the project's folder is looked through last, and stays on the path as long as that takes."""
    folder = str(project)
    sys.path.append(folder)
    try:
        return import_module(name)  # which also waits for another thread that has only begun to import it
    finally:
        # The last of them: the path may have had it before.
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]


def _command(settings: ScorerSettings) -> CommandScorer:
    return CommandScorer(settings.name, tuple(settings.value), settings.weight, settings.gates, settings.timeout)


_SEARCH: Final = f"""
import json, re, sys
try:
    text = sys.stdin.buffer.read().decode()
    found = re.search(json.loads(sys.argv[1]), text, re.MULTILINE)
except BaseException:
    sys.exit({SKIPPED})
sys.exit(found is None)
"""


def _regex(settings: ScorerSettings) -> CommandScorer:
    """Return what searches a text for a pattern, `^` and `$` at every line: 1 where it is found, else 0.

    It does so in a process of its own: Python's search holds the interpreter lock, and with it every event loop, and
    one that backtracks may take for ever.
    """
    words = (sys.executable, "-I", "-c", _SEARCH, json.dumps(settings.value))
    return CommandScorer(settings.name, words, settings.weight, settings.gates, settings.timeout, "check")


_MAKERS: Final[Mapping[str, Maker]] = {
    "command": _command,
    "json_schema": JsonSchemaScorer,
    "regex": _regex,
    "contains": ContainsScorer,
    "python": PythonScorer,
}
