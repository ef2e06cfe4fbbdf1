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
DOCS_LOCK = (ROOT / "requirements-docs.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", lock, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


PINS = pins(LOCK)
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


@pytest.mark.parametrize("wanted", PROJECT["dependency-groups"]["docs"])
def test_the_lock_of_the_docs_pins_a_version_that_pyproject_allows(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(pins(DOCS_LOCK)[canonicalize_name(requirement.name)]), f"make lock ({wanted})"


@pytest.mark.parametrize("lock", [LOCK, DOCS_LOCK], ids=["dev", "docs"])
def test_every_pin_has_a_hash(lock: str) -> None:
    entries = re.split(r"\n(?=[a-zA-Z])", re.sub(r"\A(#.*\n)+", "", lock))
    assert len(entries) == len(pins(lock))
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("lock", [LOCK, DOCS_LOCK], ids=["dev", "docs"])
def test_no_line_names_a_registry_or_a_path(lock: str) -> None:
    bad = [line for line in lock.splitlines() if re.search(r"://|--(extra-)?index-url|--find-links|^-i |/", line)]
    assert bad == []
