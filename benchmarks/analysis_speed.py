"""Analyses a metrics file of a million runs, against `json.load` and `statistics` on the same file in the same run.

The peer computes, for each team, what stands at the beginning of any analysis: mean, standard deviation and P95 of the
duration, success share and mean tool calls. The plugin reads the file into columns and runs all its detectors. Each
goes in a process of its own, in turn, so that the peak of its memory is its own.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from _report import parser, show

_PEER: Final = """
import json, statistics
from collections import defaultdict
with open(path, encoding="utf-8") as file:
    rows = json.load(file)
teams = defaultdict(list)
for row in rows:
    teams[row["team_id"]].append(row)
found = {}
for team, runs in teams.items():
    seconds = [run["duration_seconds"] for run in runs]
    found[team] = (
        statistics.mean(seconds),
        statistics.stdev(seconds),
        statistics.quantiles(seconds, n=20)[18],
        statistics.mean(run["success"] for run in runs),
        statistics.mean(run["total_tool_calls"] for run in runs),
    )
"""

_OURS: Final = """
from victor_autotune_plugin._analysis.bottlenecks import analyze_all
from victor_autotune_plugin._metricfiles import read_history
found = analyze_all(read_history(path).history)
"""

_MEASURE: Final = """
import resource, sys, time
path = sys.argv[1]
before = time.perf_counter()
{code}
seconds = time.perf_counter() - before
unit = 1 if sys.platform == "darwin" else 1024
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, len(found))
"""


def main() -> None:
    """Generate the file, measure both in turn, and print the table."""
    options = parser(__doc__ or "")
    options.add_argument("--runs", type=int, default=1_000_000)
    options.add_argument("--teams", type=int, default=50)
    options.add_argument("--repeat", type=int, default=3, help="how often each is measured; the fastest counts")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.json"
        _generate(path, chosen.runs, chosen.teams)
        measured: dict[str, list[tuple[float, float]]] = {"json.load + statistics": [], "this plugin": []}
        for _ in range(chosen.repeat):
            measured["json.load + statistics"].append(_measure(_PEER, path))
            measured["this plugin"].append(_measure(_OURS, path))
        size = path.stat().st_size / 1e6
    peer = min(seconds for seconds, _ in measured["json.load + statistics"])
    rows: list[dict[str, Any]] = [
        {
            "what": name,
            "seconds": round(min(seconds for seconds, _ in times), 2),
            "peak memory, MB": round(max(memory for _, memory in times)),
            "times as fast as json.load + statistics": round(peer / min(seconds for seconds, _ in times), 2),
        }
        for name, times in measured.items()
    ]
    note = f"{chosen.runs:,} runs of {chosen.teams} teams, {size:.0f} MB; wanted: ≥ 3 times as fast, ≤ 200 MB"
    show("Analysis of a metrics file", rows, chosen.json, note)


def _generate(path: Path, runs: int, teams: int) -> None:
    rng = random.Random(20260125)
    formations = ("sequential", "parallel", "pipeline", "consensus")
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number in range(runs):
            row = {
                "team_id": f"team_{rng.randrange(teams)}",
                "formation": formations[rng.randrange(4)],
                "member_count": rng.randint(2, 8),
                "success": rng.random() < 0.9,
                "duration_seconds": round(rng.lognormvariate(3.5, 0.6), 3),
                "total_tool_calls": rng.randint(2, 60),
                "timestamp": 1_700_000_000.0 + 30 * number,
            }
            file.write(("\n" if number == 0 else ",\n") + json.dumps(row))
        file.write("\n]\n")


def _measure(code: str, path: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE.format(code=code), str(path)], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds, memory, _ = done.stdout.split()
    return float(seconds), float(memory)


if __name__ == "__main__":
    main()
