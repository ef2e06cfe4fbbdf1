"""Each public module exports exactly the names that the docs list, and docs and examples use no others."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "victor_autotune_plugin"


def documented() -> dict[str, set[str]]:
    section = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split("## Public names")[1]
    rows = re.findall(rf"^\| `({PACKAGE}[.a-z]*)` \| (.*) \|$", section, re.MULTILINE)
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows}


def programs() -> list[tuple[str, str]]:
    found = [(path.name, path.read_text(encoding="utf-8")) for path in (ROOT / "examples").glob("*.py")]
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        blocks = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        found += [(path.name, block) for block in blocks]
    return found


@pytest.mark.parametrize(
    "room", ["", "hookspecs", "errors", "strategies", "experiment", "quality", "storage", "configfiles"]
)
def test_a_public_module_exports_what_the_docs_list(room: str) -> None:
    module = import_module(f"{PACKAGE}.{room}" if room else PACKAGE)
    assert set(module.__all__) == documented()[module.__name__]
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_docs_and_examples_import_public_names_only() -> None:
    public = documented()
    private = [
        f"{source}: from {node.module} import {alias.name}"
        for source, text in programs()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
        if alias.name not in public.get(node.module or "", ())
    ]
    assert private == []
