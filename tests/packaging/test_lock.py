"""The lock file is complete, belongs to `pyproject.toml`, and names no registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements-dev.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", LOCK, re.MULTILINE)
}
WANTED = [
    *PROJECT["project"]["dependencies"],
    *(wanted for extra in PROJECT["project"]["optional-dependencies"].values() for wanted in extra),
    *PROJECT["dependency-groups"]["dev"],
    *PROJECT["build-system"]["requires"],
]


@pytest.mark.parametrize("wanted", WANTED)
def test_the_lock_pins_a_version_that_pyproject_allows(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), f"renew it: make lock ({wanted})"


def test_every_pin_has_a_hash() -> None:
    entries = re.split(r"\n(?=[a-zA-Z])", LOCK.split("\n", 2)[2])
    assert len(entries) == len(PINS)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_no_line_names_a_registry_or_a_path() -> None:
    bad = [line for line in LOCK.splitlines() if re.search(r"://|--(extra-)?index-url|--find-links|^-i |/", line)]
    assert bad == []
