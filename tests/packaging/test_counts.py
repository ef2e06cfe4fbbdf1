"""The product stays small enough to be read, and a name means one thing. `make counts` prints the figures."""

from __future__ import annotations

import ast

import pytest

from victor_autotune_testing import counts

ROOT = counts.ROOT

MOST_LINES, MOST_MODULES = 69_000, 352
"""Where the package stands; `make counts` tells how far that is from what it aims at."""


@pytest.fixture(scope="module")
def counted() -> counts.Counts:
    return counts.count()


def test_the_wheel_stays_small(counted: counts.Counts) -> None:
    assert counted.modules <= MOST_MODULES
    assert counted.lines <= MOST_LINES


def test_the_layers_are_few(counted: counts.Counts) -> None:
    assert counted.layers <= counts.BOUNDS["layers"]


def test_four_classes_describe_a_run(counted: counts.Counts) -> None:
    assert len(counted.run_classes) <= counts.BOUNDS["run_classes"], counted.run_classes


def test_no_two_modules_share_a_name(counted: counts.Counts) -> None:
    assert counted.same_modules == {}


def test_no_two_classes_share_a_name(counted: counts.Counts) -> None:
    assert counted.same_classes == {}


def test_no_test_imports_from_another_rooms_tests() -> None:
    borrowed = [
        f"{file}: {node.module}"
        for file in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests")
    ]
    assert borrowed == []


def test_no_test_measures_time() -> None:
    """A machine under load is slow at times; figures of time belong to the benchmarks."""
    clocks = {"perf_counter", "perf_counter_ns", "process_time", "thread_time"}
    measuring = [
        f"{file}:{node.lineno}"
        for file in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in clocks
    ]
    assert measuring == []
