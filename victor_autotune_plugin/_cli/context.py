"""The initial context of a workflow's runs, from options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import AutotuneError


def initial_context(file: Path | None, values: Sequence[str]) -> dict[str, Any]:
    """Read the initial context of a workflow's runs.

    Args:
        file: A JSON object, or None.
        values: `KEY=VALUE` texts that set one key each; the value is JSON, or else text.

    Raises:
        AutotuneError: If the file or a value can't be used.
    """
    context = {} if file is None else _context_file(file)
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise AutotuneError(f"{value!r} is not KEY=VALUE", where="--set", hint="Write it like: --set path=src")
        try:
            context[key.strip()] = json.loads(text)
        except ValueError:
            context[key.strip()] = text
    return context


def _context_file(file: Path) -> dict[str, Any]:
    hint = 'Write an object into it, such as {"path": "src"}.'
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AutotuneError(f"can't be read: {error.strerror}", where=f"--context {file}") from error
    except json.JSONDecodeError as error:
        raise AutotuneError(f"is not JSON: {error.msg}", where=f"{file}:{error.lineno}", hint=hint) from error
    except ValueError as error:
        raise AutotuneError("is not UTF-8 text", where=f"--context {file}", hint=hint) from error
    if not isinstance(data, dict):
        raise AutotuneError("is not a JSON object", where=f"{file}:1", hint=hint)
    return data
