"""The examples in the documentation run, and say what they say they do."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "experiments.md"


def test_the_examples_run(capsys):
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "passed"
    assert "duration is" in said[1]
    fewer, more = int(said[-6]), int(said[-5])
    assert 10 <= fewer < more
    assert said[-2:] == ["reverifying", "The duration is worse than in the last runs."]


def test_the_engine_has_exactly_the_public_names_that_the_page_uses():
    from victor_autotune_plugin import experiment

    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in experiment.__all__ if not re.search(rf"\b{name}\b", page)] == []
