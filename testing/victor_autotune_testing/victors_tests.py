"""Victor's own tests with the plugin on: `make victor-tests VICTOR_SOURCE=DIR`.

Runs Victor's suites of what the plugin touches three times, in a copy, in a home that is thrown away: without the
plugin, in observe, in auto. What differs from the run without it is run again, since some of Victor's tests depend on
chance, and named if it differs again. Victor's tests are never part of this repository; they come from a checkout, or
from the source distribution of the installed version where that holds them.

As a pytest plugin (`-p victor_autotune_testing.victors_tests`), it switches the plugin on or off in the process that
runs the tests.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from victor_autotune_testing.sandbox import victor_sandbox

MODES: Final = ("without", "observe", "auto")
LEAST: Final = 1700
"""Tests that have to run in each mode."""
SUITES: Final = (
    "agent/subagents",
    "agent/test_subagents.py",
    "agent/test_tool_pipeline.py",
    "coordination",
    "framework/multi_agent",
    "framework/test_*team*.py",
    "framework/test_graph*.py",
    "framework/test_workflow*.py",
    "framework/workflows",
    "providers/test_anthropic*.py",
    "providers/test_base*.py",
    "providers/test_capability_contract.py",
    "providers/test_httpx*.py",
    "providers/test_ollama_provider*.py",
    "providers/test_openai*.py",
    "providers/test_provider*.py",
    "providers/test_usage*.py",
    "subagents",
    "teams",
    "tools/test_tool_pipeline_parallel.py",
    "workflows/compiler_protocols",
    "workflows/handlers",
    "workflows/test_c*.py",
    "workflows/test_e*.py",
    "workflows/test_graph*.py",
    "workflows/test_unified*.py",
    "workflows/test_workflow*.py",
    "workflows/test_yaml*.py",
)
"""Teams, coordination, workflow nodes, executors, compiler, tool pipeline, sub-agents, providers; in `tests/unit`."""
TEAMS_AT_WORK: Final = "integration/multi_agent/test_team_execution.py"
"""Whole teams in every formation; in a pipeline, each stage has to get the output of the one before."""

_MODE: Final = "VICTORS_TESTS_MODE"
_REPORT: Final = "VICTORS_TESTS_REPORT"
_INI: Final = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -q --tb=no --disable-warnings --continue-on-collection-errors
    -p no:cacheprovider -p victor_autotune_testing.victors_tests
"""
_SECONDS: Final = 1800
Outcomes = Mapping[str, str]
"""`passed`, `failed`, `error` or `skipped` by test."""


# --- in the process that runs Victor's tests


def pytest_configure() -> None:
    """Switch the plugin on or off for good, whatever Victor loads."""
    import victor_autotune_plugin

    if os.environ[_MODE] == "without":
        victor_autotune_plugin.uninstall()
    else:
        victor_autotune_plugin.install()


def pytest_runtest_setup() -> None:
    """Keep what is there out of the collection that Victor's suites ask for after each test: most of their time."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Write down what the plugin did."""
    from victor_autotune_plugin import failsafe
    from victor_autotune_plugin._tuning import runtime

    owner = runtime.made()
    runs = 0
    if owner is not None:
        owner.settle(30)
        runs = sum(1 for _ in owner.store().runs())
    faults = [f"{fault.where}: {fault.error} (×{fault.count})" for fault in failsafe.seen()]
    Path(os.environ[_REPORT]).write_text(json.dumps({"runs": runs, "faults": faults}), encoding="utf-8")


# --- in the process that compares


def run(tests: Path, mode: str, chosen: Sequence[str]) -> tuple[Outcomes, Mapping[str, Any]]:
    """Run tests in a mode.

    Args:
        tests: Folder that holds Victor's `tests`.
        mode: One of `MODES`.
        chosen: Paths of files and folders, and ids of tests, in it.

    Returns:
        The outcomes, and how many team runs the plugin recorded and which of its own faults it saw.
    """
    with (
        tempfile.TemporaryDirectory(prefix="victors-tests-") as folder,
        victor_sandbox(folder=folder, chdir=False) as box,
    ):
        xml, report = Path(folder) / "outcomes.xml", Path(folder) / "report.json"
        setting = {} if mode == "without" else {"VICTOR_AUTOTUNE_MODE": mode}
        command = box.command(["python", "-m", "pytest", "-n", "0", f"--junitxml={xml}", *chosen])
        environment = box.environment() | setting | {_MODE: mode, _REPORT: str(report), "PYTHONPATH": str(tests)}
        with contextlib.suppress(subprocess.TimeoutExpired), (Path(folder) / "said").open("w") as said_by_pytest:
            subprocess.run(
                command, cwd=tests, env=environment, stdout=said_by_pytest, stderr=said_by_pytest, timeout=_SECONDS
            )
        died = {"runs": 0, "faults": ["the process died or took too long"]}
        said = json.loads(report.read_text(encoding="utf-8")) if report.exists() else died
        return (_outcomes(xml) if xml.exists() else {}), said


def _outcomes(xml: Path) -> Outcomes:
    found: dict[str, str] = {}
    for case in ET.parse(xml).iter("testcase"):
        told = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        found[name] = "failed" if told == "failure" else told
    return found


def differing(base: Outcomes, other: Outcomes) -> tuple[str, ...]:
    """Return the tests whose outcome is another one, or that ran in one mode alone."""
    return tuple(sorted(name for name in base.keys() | other.keys() if base.get(name) != other.get(name)))


def compare(tests: Path, suites: Sequence[str]) -> int:
    """Run the suites in each mode and print what was found; return the exit code."""
    by_mode: dict[str, Outcomes] = {}
    good = True
    for mode in MODES:
        by_mode[mode], said = run(tests, mode, suites)
        ran = [told for told in by_mode[mode].values() if told != "skipped"]
        good = good and len(ran) >= LEAST and not said["faults"]
        counts = ", ".join(f"{ran.count(told)} {told}" for told in ("passed", "failed", "error") if told in ran)
        _say(f"{mode:8} {len(ran)} ran ({counts}), {said['runs']} team runs recorded")
        for fault in said["faults"]:
            _say(f"         fault of the plugin: {fault}")
        if len(ran) < LEAST:
            _say(f"         fewer than {LEAST}")
    for mode in MODES[1:]:
        suspects = differing(by_mode["without"], by_mode[mode])
        files = sorted({path for name in suspects if (path := _file_of(tests, name)) is not None})
        still: set[str] = set(suspects)
        if files:
            again = [run(tests, one, files)[0] for one in ("without", mode)]
            still &= set(differing(again[0], again[1]))
        good = good and not still
        _say(f"{mode:8} {len(still)} differ")
        for name in sorted(still):
            _say(f"         {name}: {by_mode['without'].get(name)} without, {by_mode[mode].get(name)} with")
    return 0 if good else 1


def _file_of(tests: Path, name: str) -> str | None:
    """Return the file of a test from the dotted name that pytest writes, which may end with classes."""
    parts = name.partition("::")[0].split(".")
    paths = (tests.joinpath(*parts[:length]).with_suffix(".py") for length in range(len(parts), 0, -1))
    return next((str(path.relative_to(tests)) for path in paths if path.is_file()), None)


def copy_of_tests(source: Path, into: Path) -> list[str]:
    """Copy the tests of a checkout, and return the suites in it; those that it does not have are named."""
    shutil.copytree(source / "tests", into / "tests")
    (into / "pytest.ini").write_text(_INI, encoding="utf-8")
    suites: list[str] = []
    for pattern in (*(f"unit/{suite}" for suite in SUITES), TEAMS_AT_WORK):
        found = sorted(str(path.relative_to(into)) for path in into.glob(f"tests/{pattern}"))
        if not found:
            _say(f"skipped  tests/{pattern}: not in {source}")
        suites += found
    return suites


def source_distribution(into: Path) -> Path:
    """Download the source distribution of the installed Victor and return its folder."""
    wanted = f"victor-ai=={version('victor-ai')}"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary=:all:",
        f"--dest={into}",
        wanted,
    ]
    # Its exit code says whether the metadata could be built, which is not needed.
    subprocess.run(pip, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for archive in into.glob("*.tar.gz"):
        with tarfile.open(archive) as opened:
            opened.extractall(into, filter="data")
    return next((path for path in into.iterdir() if path.is_dir()), into)


def main(arguments: Iterable[str]) -> int:
    """Compare, with the checkout that is named, or with the source distribution."""
    named = next(iter(arguments), "")
    with tempfile.TemporaryDirectory(prefix="victors-tests-") as folder:
        downloaded, copied = Path(folder) / "sdist", Path(folder) / "copy"
        downloaded.mkdir()
        copied.mkdir()
        source = Path(named).resolve() if named else source_distribution(downloaded)
        if not (source / "tests" / "unit").is_dir():
            where = named or f"the source distribution of victor-ai {version('victor-ai')}"
            _say(
                f"skipped  all suites: {where} has no tests/unit; name a checkout: make victor-tests VICTOR_SOURCE=DIR"
            )
            return 1
        return compare(copied, copy_of_tests(source, copied))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
