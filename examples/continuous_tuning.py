"""Continuous tuning of several workflows: each gets its own mode, limits and A/B tests, while all of them are in use.

python examples/continuous_tuning.py --rounds 30
"""

from __future__ import annotations

import argparse
import asyncio

from _victor import Victor, play

from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.scripted import scripts

SETTINGS = """\
experiment: {min_history: 3}      # for all: runs recorded before the first test
tuner: {risk: medium}             # tests start sooner than with low, the default
workflows:
  code_review:
    mode: auto                    # tests, promotes and rolls back by itself
    dataflow: independent         # no member uses another's work; without this line, 10 runs find it out first
    limits: {protected_members: [security]}
  release_notes:
    mode: auto
    dataflow: independent
    limits: {formations: [sequential, parallel, pipeline]}
  research:
    mode: observe                 # recorded, never changed
"""
FILES = ("code_review.yaml", "release_notes.yaml", "research_team.yaml")


async def main(victor: Victor, rounds: int) -> None:
    """Run all workflows side by side, round by round, and print each change as it is made."""
    victor.configure(SETTINGS)
    seen = 0
    with Store.open(default_url(victor.project)) as store:
        for number in range(1, rounds + 1):
            await asyncio.gather(*(victor.run(file) for file in FILES))
            changes = sorted(store.changes(), key=lambda change: change.id or 0)
            for change in changes[seen:]:
                print(f"round {number}: {change.workflow}: {change.action}: {change.plan_after.describe()}")
                print(f"    {change.reason}")
            seen = len(changes)
        for state in store.teams():
            print(f"{state.workflow}/{state.team_id} now runs {state.plan.describe()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often to run each workflow")
    chosen = parser.parse_args().rounds
    play(lambda victor: main(victor, chosen), scripts.succeed_at_once(0.4))
