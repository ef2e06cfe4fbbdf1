"""How large the product is, and how much a newcomer meets at once: `python -m victor_autotune_testing.counts`.

Counts what the wheel ships, as `pyproject.toml` names it: modules and lines, classes that describe a run, layers, and
names that two modules or two classes share. Through how many files a run passes is traced by `way_of_a_run`.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parents[2]

_RUN_FIELDS: Final = (
    {"run_id", "spec"},  # what starts
    {"plan", "assignment"},  # the plan it got
    {"duration_seconds", "success"},  # what it was
    {"start", "run"},  # how it stands in the store
)
"""A class with all fields of one of these describes a run."""
_MEMBER_FIELDS: Final = {"role", "llm_calls"}
"""A class with one of these describes a member."""


@frozen
class Counts:
    """What was counted.

    Attributes:
        modules: Modules that the wheel ships.
        lines: Their lines.
        run_classes: Classes that describe a run, as `module.Class`.
        layers: Layers of the import contract.
        same_modules: Files by the module name that they share.
        same_classes: Files by the class name that they share.
    """

    modules: int
    lines: int
    run_classes: tuple[str, ...]
    layers: int
    same_modules: Mapping[str, tuple[str, ...]]
    same_classes: Mapping[str, tuple[str, ...]]


BOUNDS: Final = {"modules": 170, "lines": 27_500, "run_classes": 4, "layers": 9}


def shipped(root: Path = ROOT) -> Iterator[Path]:
    """Yield the modules that the wheel of a source tree ships."""
    for package in _config(root)["hatch"]["build"]["targets"]["wheel"]["packages"]:
        yield from sorted((root / package).rglob("*.py"))


def count(root: Path = ROOT) -> Counts:
    """Count a source tree."""
    modules: dict[str, list[str]] = defaultdict(list)
    classes: dict[str, list[str]] = defaultdict(list)
    run_classes: list[str] = []
    number = lines = 0
    for path in shipped(root):
        text = path.read_text(encoding="utf-8")
        number, lines = number + 1, lines + text.count("\n")
        file = path.relative_to(root).as_posix()
        if path.stem != "__init__":
            modules[path.stem].append(file)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(file)
                if _describes_a_run(node):
                    run_classes.append(f"{'.'.join(path.relative_to(root).with_suffix('').parts[1:])}.{node.name}")
    return Counts(
        number,
        lines,
        tuple(run_classes),
        _layers(root),
        {name: tuple(files) for name, files in sorted(modules.items()) if len(files) > 1},
        {name: tuple(files) for name, files in sorted(classes.items()) if len(files) > 1},
    )


def _describes_a_run(node: ast.ClassDef) -> bool:
    if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
        return False
    fields = {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    return any(some <= fields for some in _RUN_FIELDS) and not fields & _MEMBER_FIELDS


def _layers(root: Path) -> int:
    contracts = _config(root)["importlinter"]["contracts"]
    return max(len(contract["layers"]) for contract in contracts if contract["type"] == "layers")


def _config(root: Path) -> Any:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def main() -> int:
    """Print the counts beside their bounds, and return 1 if one is too large."""
    counts = count()
    rows = {
        "modules in the wheel": (counts.modules, BOUNDS["modules"]),
        "lines in them": (counts.lines, BOUNDS["lines"]),
        "classes for a run": (len(counts.run_classes), BOUNDS["run_classes"]),
        "layers": (counts.layers, BOUNDS["layers"]),
        "module names used twice": (len(counts.same_modules), 0),
        "class names used twice": (len(counts.same_classes), 0),
    }
    for name, (found, most) in rows.items():
        sys.stdout.write(f"{name:<24} {found:>7,}   at most {most:,}\n")
    sys.stdout.write(f"classes for a run: {', '.join(counts.run_classes)}\n")
    for name, files in (*counts.same_modules.items(), *counts.same_classes.items()):
        sys.stdout.write(f"{name} is in {', '.join(files)}\n")
    return int(any(found > most for found, most in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
