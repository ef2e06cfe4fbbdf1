"""The pages of the docs as tests read them: blocks of code, the files that these name, and commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
_BLOCK: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
_FILE: Final = re.compile(r"# (\S+\.(?:ya?ml|py|toml))\n")


@frozen
class PageBlock:
    """A block of code on a page.

    Attributes:
        page: Name of the page, such as `howto/fleet.md`.
        language: What stands behind the fence.
        text: The block, without its indent.
    """

    page: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that its first line names in a comment, or None."""
        found = _FILE.match(self.text)
        return found[1] if found else None

    def commands(self) -> list[str]:
        """Return the command lines in it, without the prompt."""
        return re.findall(r"^\$ (.*)$", self.text, re.MULTILINE)


def pages() -> list[str]:
    """Return the names of all pages."""
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks(page: str) -> Iterator[PageBlock]:
    """Yield the blocks of a page, in their order."""
    for found in _BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
        text = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        yield PageBlock(page, found["language"], text)
