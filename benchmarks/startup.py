"""What the plugin adds to a start of Victor.

`victor --help` runs in turn in two throw-away homes: in one Victor finds the plugin, in the other it is missing from
Victor's list of plugins. Then the plugin's own import and registration are timed in a process in which Victor's command
line is loaded without it. Every process finds its modules compiled, as after an installation.

    python benchmarks/startup.py --pairs 15
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from _report import parser, show, with_compiled_modules

from victor_autotune_testing.sandbox import Sandbox

OWN = """
import json, sys, time
import victor.ui.cli
loaded = set(sys.modules)
assert "victor_autotune_plugin.plugin" not in loaded
begun = time.perf_counter()
from victor_autotune_plugin.plugin import plugin
class Context:
    def register_command(self, name, app): pass
imported = time.perf_counter()
plugin.register(Context())
registered = time.perf_counter()
plugin.register(Context())
again = time.perf_counter()
new = {name.partition(".")[0] for name in set(sys.modules) - loaded}
heavy = new & {"numpy", "scipy", "sqlalchemy", "alembic", "opentelemetry", "yaml", "pluggy"}
print(json.dumps([1000 * (registered - begun), 1000 * (again - registered), sorted(heavy)]))
"""
SAMPLES = 7

MOST_RATIO = 1.03
MOST_IMPORT_MS = 50.0


def sandbox(root: Path, name: str, *, with_plugin: bool) -> Sandbox:
    """Return a home in which Victor has made its list of plugins, and the plugin is on it or not."""
    made = Sandbox(root / name / "home", root / name / "project")
    for folder in (made.home, made.project):
        folder.mkdir(parents=True)
    start(made)
    listed = made.home / ".victor" / "cache" / "entrypoints.json"
    content = json.loads(listed.read_text(encoding="utf-8"))
    plugins = content["entries"]["victor.plugins"]
    if not any(entry["name"] == "autotune" for entry in plugins):
        raise SystemExit("Victor does not find the plugin: is it installed in this environment?")
    if not with_plugin:
        content["entries"]["victor.plugins"] = [entry for entry in plugins if entry["name"] != "autotune"]
        listed.write_text(json.dumps(content), encoding="utf-8")
    return made


def environment(where: Sandbox) -> dict[str, str]:
    """Return the environment of all processes in a home."""
    return with_compiled_modules(where.home.parent.parent / "compiled", where.environment())


def start(where: Sandbox) -> tuple[float, str]:
    """Run `victor --help`; return the seconds it took and what it printed."""
    begun = time.perf_counter()
    done = subprocess.run(
        where.command(["victor", "--help"]),
        env=environment(where),
        cwd=where.project,
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - begun, done.stdout


def own_times(where: Sandbox) -> tuple[float, float, list[str]]:
    """Return the median milliseconds of import and registration, of registering again, and what is heavy in it.

    Args:
        where: A home in which Victor does not find the plugin.
    """
    samples = []
    for _ in range(SAMPLES):
        done = subprocess.run(
            where.command(["python", "-c", OWN]),
            env=environment(where),
            cwd=where.project,
            capture_output=True,
            text=True,
            check=True,
        )
        samples.append(json.loads(done.stdout.splitlines()[-1]))
    return median(s[0] for s in samples), median(s[1] for s in samples), samples[0][2]


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--pairs", type=int, default=15)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        homes = {shown: sandbox(Path(name), str(shown), with_plugin=shown) for shown in (True, False)}
        for shown, home in homes.items():
            commands = {line.strip(" │").partition(" ")[0] for line in start(home)[1].splitlines()}
            if ("autotune" in commands) is not shown:
                raise SystemExit(f"the home that should {'' if shown else 'not '}show the plugin does the opposite")
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for number in range(options.pairs):
            for shown in (True, False) if number % 2 else (False, True):
                seconds[shown].append(start(homes[shown])[0])
        first, again, heavy = own_times(homes[False])
    ratio = median(seconds[True]) / median(seconds[False])
    ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
    row = {
        "pairs": options.pairs,
        "victor --help with s": round(median(seconds[True]), 3),
        "without s": round(median(seconds[False]), 3),
        "ratio of medians": round(ratio, 3),
        "median of ratios": round(median(ratios), 3),
        "import + register ms": round(first, 1),
        "register again ms": round(again, 3),
        "heavy imports": ", ".join(heavy) or "none",
        "reached": "yes" if ratio <= MOST_RATIO and first <= MOST_IMPORT_MS and not heavy else "no",
    }
    note = f"to reach: ratio of medians ≤ {MOST_RATIO:g}, own import ≤ {MOST_IMPORT_MS:g} ms, nothing heavy"
    show("Start of Victor", [row], options.json, note)


if __name__ == "__main__":
    main()
