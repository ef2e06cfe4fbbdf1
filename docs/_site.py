"""What the docs site needs beyond the pages in `docs`: three files of the repository as pages, and links out of it."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
}
"""Files of the repository that are pages, too, and their names as such."""

_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_VERSION = re.compile(r"\.\. (?:version)?(added|changed|deprecated):: ([\d.]+)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere in the repository."""
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Let links to files that are no pages lead to the repository."""
    here = next((source for source, name in PAGES.items() if name == page.file.src_uri), f"docs/{page.file.src_uri}")

    def target(link: re.Match[str]) -> str:
        path, anchor = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1])), link[2] or ""
        if path.startswith("docs/") and path.endswith(".md"):
            name = path.removeprefix("docs/")
        elif path in PAGES:
            name = PAGES[path]
        elif (ROOT / path).exists():
            return f"]({config['extra']['source']}/blob/main/{path}{anchor})"
        else:
            return link[0]  # the strict build tells of it
        return f"]({posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return _LINK.sub(target, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Write since when a name is there as a sentence."""
    return _VERSION.sub(lambda found: f"<em>{found[1].capitalize()} in {found[2]}.</em>", html)
