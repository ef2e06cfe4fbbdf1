"""Reading the history: every run, test and change of a project, for a notebook or a report of your own.

    python examples/read_history.py

`victor autotune history --json` gives the same on the command line.
"""

from __future__ import annotations

import json
from collections import defaultdict
from statistics import median
from time import gmtime, strftime

from _victor import Victor, play

from victor_autotune_plugin.storage import Store, default_url

SETTINGS = """\
experiment: {min_history: 2}
dataflow: independent             # the reviewers don't use each other's work; without this line, 10 runs find it out
tuner: {risk: medium}             # tests start sooner than with low, the default
"""


async def main(victor: Victor) -> None:
    """Make some history, and read it."""
    victor.configure(SETTINGS)
    await victor.run("code_review.yaml", times=12)
    # The store of a project that runs all the time can be read like this, too: readers take no lock.
    with Store.open(default_url(victor.project)) as store:
        for change in store.changes("code_review"):
            print(f"{strftime('%Y-%m-%d %H:%M', gmtime(change.at))} {change.action} by {change.actor}: {change.reason}")
        durations: dict[str, list[float]] = defaultdict(list)
        for run in store.finished_runs("code_review", "review_team", limit=1000):
            durations[run.plan_asked.describe()].append(run.duration_seconds)
        for plan, seconds in durations.items():
            print(f"{plan}: {len(seconds)} runs, median {median(seconds):.2f} s")
        for experiment in store.experiments("code_review"):
            print(json.dumps(experiment.to_dict(), indent=2))


if __name__ == "__main__":
    play(main)
