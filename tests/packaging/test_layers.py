"""The import contracts cover every room, so that a new one can't slip past them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "victor_autotune_plugin"
(LAYERS,) = (
    contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if contract["type"] == "layers"
)


def test_every_room_has_its_place_among_the_layers() -> None:
    placed = set(re.findall(r"[\w.]+", " ".join(LAYERS)))
    rooms = {path.parent for path in (ROOT / PACKAGE).glob("*/__init__.py")}
    rooms |= {path for path in (ROOT / PACKAGE).glob("*.py") if path.name != "__init__.py"}
    assert {f"{PACKAGE}.{room.stem}" for room in rooms} - placed == set()
