"""The page itself: one document with its style and its script, which shows the data that it is given or asks for.

Text goes into it in two ways only: as JSON in which nothing can end a script element, and as a title that is escaped.
What it may load and run is bounded by its policy, whatever a name in the data tries.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from .._model.text import clean

STYLES: Final = ("uplot/uPlot.min.css", "page.css")
_OWN: Final = ("nodes", "parts", "overview", "charts", "story_chart", "drawings", "tables", "team", "run", "page")

SCRIPTS: Final = ("uplot/uPlot.iife.min.js", *(f"{name}.js" for name in _OWN))
"""They share one scope, and each may use what those before it define."""

MEDIA: Final = {"css": "text/css", "js": "text/javascript"}

LIVE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page from the server may do: load its own files, and ask its own server."""

_ESCAPE: Final = re.compile(r"\\[bfnrtu]")
"""What JSON writes for a character that steers a terminal or a page."""

_UNSAFE: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@cache
def asset(name: str) -> str:
    """Return the text of one of the page's files."""
    return files(__package__ or "").joinpath("static", name).read_text(encoding="utf-8")


def script_safe(data: Any) -> str:
    """Return plain data as JSON that may stand in a script element; texts lose characters that can't be seen."""
    text = plain_json(data)
    for char, escape in _UNSAFE.items():
        text = text.replace(char, escape)
    return text


def plain_json(data: Any) -> str:
    """Return plain data as JSON; texts lose characters that can't be seen, and what is not finite is null."""
    try:
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        if text.isprintable() and _ESCAPE.search(text) is None:
            return text
    except ValueError:
        pass  # a number is not finite
    return json.dumps(_cleaned(data), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _cleaned(data: Any) -> Any:
    if isinstance(data, str):
        return data if data.isascii() and data.isprintable() else clean(data)
    if isinstance(data, Mapping):
        return {_cleaned(str(name)): _cleaned(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_cleaned(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def live_page(title: str, config: Mapping[str, Any]) -> str:
    """Return the page of the server.

    Args:
        config: What the script is told: whether it may act, and with which token.
    """
    styles = "".join(f'<link rel="stylesheet" href="static/{name}">\n' for name in STYLES)
    scripts = "".join(f'<script src="static/{name}"></script>\n' for name in SCRIPTS)
    return _page(title, {**config, "live": True, "title": title}, "", styles, scripts)


def offline_page(title: str, data: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    """Return the page as one file that holds its data and loads nothing.

    Args:
        data: Of what the server would answer `overview` and `savings`.
        parts: The rest, `teams`, `evidence` and `runs`, each as `script_safe` makes it.
    """
    styles = [asset(name) for name in STYLES]
    scripts = [asset(name) for name in SCRIPTS]
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    return _page(
        title,
        {**data, "live": False, "title": title},
        meta,
        "".join(f"<style>{text}</style>\n" for text in styles),
        "".join(f"<script>{text}</script>\n" for text in scripts),
        parts,
    )


def _hashes(texts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _page(
    title: str,
    data: Mapping[str, Any],
    policy: str,
    styles: str,
    scripts: str,
    ready: Mapping[str, str] = MappingProxyType({}),
) -> str:
    more = [f',"{name}":{text}' for name, text in ready.items()]
    parts = {
        "policy": policy,
        "title": html.escape(clean(title)),
        "styles": styles,
        "data": "".join((script_safe(data)[:-1], *more, "}")),
        "scripts": scripts,
    }
    made, rest = [], asset("page.html")
    while rest:  # each part is put in once, so that nothing in a part is taken for a place of another
        before, brace, after = rest.partition("{")
        name, _, rest = after.partition("}")
        made += [before, parts[name] if brace else ""]
    return "".join(made)
