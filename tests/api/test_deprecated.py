"""What the documentation and examples of 0.1.0 import still works, with a warning where it moved."""

from __future__ import annotations

import subprocess
import sys

import pytest

STAYED = {
    "victor_autotune_plugin": [
        "OptimizationPriority", "OptimizationStrategy", "OptimizationSuggestion", "PerformanceAnalyzer",
        "PerformanceAutotuner",
    ],
    "victor_autotune_plugin.configfiles": ["read_team_config", "restore"],
    "victor_autotune_plugin.errors": ["AutotuneError"],
    "victor_autotune_plugin.experiment": [
        "Judge", "Observation", "Policy", "assign", "chance_of_proof", "improvement_for", "log_spread", "runs_for",
    ],
    "victor_autotune_plugin.hookspecs": ["hookimpl"],
    "victor_autotune_plugin.storage": ["Store", "default_url"],
    "victor_autotune_plugin.strategies": ["OptimizationStrategy"],
}  # fmt: skip
"""Names by module, as 0.1.0 imports them, that are still there."""

SCRIPTED = "victor_autotune_testing.scripted"
MOVED = [
    ("host", "seams", "victor_autotune_plugin._host.seams", None),
    ("host.workflows", "make_orchestrator", "victor_autotune_plugin", "make_orchestrator"),
    ("host.workflows", "read_workflows", "victor_autotune_plugin", "read_workflows"),
    ("host.workflows", "run_workflow", "victor_autotune_plugin", "run_workflow"),
    ("host.workflows", "settle", "victor_autotune_plugin", "settle"),
    ("model.optimization", "OptimizationPriority", "victor_autotune_plugin", "OptimizationPriority"),
    ("model.optimization", "OptimizationSuggestion", "victor_autotune_plugin", "OptimizationSuggestion"),
    ("model.optimization", "PerformanceInsight", "victor_autotune_plugin", "PerformanceInsight"),
    ("model.run", "TeamRun", "victor_autotune_plugin.hookspecs", "TeamRun"),
    ("model.state", "Change", "victor_autotune_plugin.hookspecs", "Change"),
    ("model.state", "Experiment", "victor_autotune_plugin.hookspecs", "Experiment"),
    ("runtime", "runtime", "victor_autotune_plugin._tuning.runtime", "runtime"),
    ("scripted", "Lognormal", SCRIPTED, "Lognormal"),
    ("scripted", "Script", SCRIPTED, "Script"),
    ("scripted", "ScriptedModel", SCRIPTED, "ScriptedModel"),
    ("scripted", "scripts", "victor_autotune_testing.scripted.scripts", None),
    ("scripted.sandbox", "victor_sandbox", "victor_autotune_testing.sandbox", "victor_sandbox"),
]


def program(*lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)


def test_what_stayed_is_imported_without_a_warning() -> None:
    lines = [f"from {module} import {', '.join(names)}" for module, names in STAYED.items()]
    done = program("import warnings; warnings.simplefilter('error')", *lines)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "name", "new_module", "new_name"), MOVED)
def test_what_moved_is_the_same_object_and_warns(module: str, name: str, new_module: str, new_name: str | None) -> None:
    same = f"importlib.import_module({new_module!r})" + (f".{new_name}" if new_name else "")
    done = program(
        "import importlib, warnings",
        "with warnings.catch_warnings(record=True) as caught:",
        "    warnings.simplefilter('always')",
        f"    from victor_autotune_plugin.{module} import {name}",
        f"said = [str(one.message) for one in caught if 'victor_autotune_plugin.{module}.{name} goes with 0.3' "
        "in str(one.message) and one.category is DeprecationWarning and one.filename == '<string>']",
        "assert said, [str(one.message) for one in caught]",
        f"assert {name} is {same}",
    )
    assert done.returncode == 0, done.stderr


def test_test_equipment_that_is_not_installed_says_where_it_went() -> None:
    done = program(
        "import sys",
        "sys.modules['victor_autotune_testing'] = None",
        "import victor_autotune_plugin",
        "try:",
        "    from victor_autotune_plugin.scripted import ScriptedModel",
        "except ImportError as error:",
        "    print(error)",
    )
    assert "moved to victor_autotune_testing.scripted" in done.stdout, done.stderr
    assert "testing/" in done.stdout


def test_a_module_that_never_was_is_still_not_found() -> None:
    done = program("import victor_autotune_plugin.nonsense")
    assert "No module named 'victor_autotune_plugin.nonsense'" in done.stderr
