"""The prose linter finds what its rules name, and the project keeps to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from victor_autotune_testing.prose import ROOT, Rule, check_files, check_text, main, read_rules

RULES, FILES = read_rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.bad)
def test_each_rule_finds_its_bad_example_and_not_the_good_one(rule: Rule) -> None:
    assert check_text(rule.bad, [rule], "it")
    assert check_text(rule.good, RULES, "it") == []


def test_a_finding_names_file_line_text_and_what_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\nThe plan is put\nin place.\n")
    assert main([str(page)]) == 1
    assert capsys.readouterr().out.startswith(f"{page}:3: 'put in place': applied (")


def test_code_in_markdown_is_not_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text\n\n```\nput in place\n```\n\nThe key `put in place`.\n\nDone anew.\n")
    assert [finding.where for finding in check_files([page], RULES)] == [f"{page}:9"]


def test_strings_of_a_module_are_read_and_comments_are_not(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Done anew."""\n\n# done anew\nname = 3\nsaid = f"{name} done anew"\n')
    assert [finding.where for finding in check_files([module], RULES)] == [f"{module}:1", f"{module}:5"]


def test_the_project_keeps_to_its_rules() -> None:
    paths = [path for pattern in FILES["read"] for path in ROOT.glob(pattern) if path.name not in FILES["skip"]]
    assert len(paths) > 100
    assert [str(finding) for finding in check_files(paths, RULES)] == []
