"""The prose linter: finds wording that the project does not use, in docs and in the texts that users read.

Run it with `python -m victor_autotune_testing.prose [FILE …]`; without files it reads what `docs/prose.toml` names.
The rules are there, too: a pattern, what to say instead, and why. Markdown is read without its code; of Python files
it reads docstrings, log and error messages and all other strings that look like sentences.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "docs" / "prose.toml"


@frozen
class Rule:
    """One wording to avoid.

    Attributes:
        pattern: What it looks like.
        say: What to write instead.
        why: Why.
        bad: A text that breaks the rule.
        good: The same, said well.
    """

    pattern: re.Pattern[str]
    say: str
    why: str
    bad: str
    good: str


@frozen
class Finding:
    """A text that breaks a rule."""

    where: str
    text: str
    rule: Rule

    def __str__(self) -> str:
        return f"{self.where}: {self.text!r}: {self.rule.say} ({self.rule.why})"


def read_rules(path: Path = RULES) -> tuple[list[Rule], dict[str, Any]]:
    """Return the rules of a rule file, and what it says is to be read."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    rules = [Rule(**{**rule, "pattern": re.compile(rule["pattern"])}) for rule in data["rule"]]
    return rules, data["files"]


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a Markdown or Python file, each with the number of its first line."""
    source = path.read_text(encoding="utf-8")
    yield from _strings(ast.parse(source)) if path.suffix == ".py" else [(1, _without_code(source))]


def _without_code(source: str) -> str:
    """Blank code in Markdown and keep every line at its number."""
    source = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), source, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "`…`", source)


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    inside = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            text = "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            text = node.value
        else:
            continue
        if " " in text:
            yield node.lineno, re.sub(r"`[^`\n]*`", "`…`", text)


def check_text(text: str, rules: Sequence[Rule], name: str, line: int = 1) -> list[Finding]:
    """Return what a text says that the rules do not want; lines may break anywhere in it."""
    found = []
    for rule in rules:
        for match in rule.pattern.finditer(text):
            at = line + text.count("\n", 0, match.start())
            found.append((at, Finding(f"{name}:{at}", " ".join(match[0].split()), rule)))
    return [finding for _, finding in sorted(found, key=lambda one: one[0])]


def check_files(paths: Sequence[Path], rules: Sequence[Rule], root: Path = ROOT) -> list[Finding]:
    """Return what files say that the rules do not want."""
    found = []
    for path in paths:
        name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        for line, text in texts_of(path):
            found += check_text(text, rules, name, line)
    return found


def main(arguments: Sequence[str]) -> int:
    """Print what is found; return 1 if there is anything."""
    rules, files = read_rules()
    paths = [Path(one).resolve() for one in arguments] or [
        path for pattern in files["read"] for path in sorted(ROOT.glob(pattern)) if path.name not in files["skip"]
    ]
    found = check_files(paths, rules)
    for finding in found:
        sys.stdout.write(f"{finding}\n")
    if not found:
        sys.stdout.write(f"{len(paths)} files read in plain English.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
