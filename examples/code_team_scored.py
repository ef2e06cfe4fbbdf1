"""A code team whose work is scored by its tests, behind each run.

    python examples/code_team_scored.py

The command gets what the team delivered on standard input, and prints a number from 0 to 1. Since it acts, a person
trusts the project's settings first. Here one of the four tests fails.
"""

from __future__ import annotations

import sys

from _victor import HERE, Victor, play

from victor_autotune_testing.scripted import Rule, Script, scripts

CODE = '''
```python
def slug(text):
    """Return a text as a part of an address."""
    return "-".join(text.lower().split())
```
'''
WRITES = Script([Rule("writes", answer=f"{scripts.SATISFIED_ANSWER}\n{CODE}")])

SETTINGS = f"""\
mode: auto                  # with a scorer, also changes of the work itself may be tested
quality:
  scorers:
    tests: {{command: ["{sys.executable}", "{HERE / "code_team_check.py"}"], timeout: 30}}
"""


async def main(victor: Victor) -> None:
    """Run the team, print the scores, and show who decides from now on."""
    victor.configure(SETTINGS)
    victor.command("trust", "--yes")
    await victor.run("code_team.yaml", times=6)
    for run, scores in await victor.scores("code", "code_team", runs=6):
        said = ", ".join(f"{one.name} {one.value}" for one in scores)
        print(f"run {run.run_id[:8]}: {said}; {run.member_success_share:.0%} of its members say that they succeeded")
    victor.command("status")


if __name__ == "__main__":
    play(main, WRITES)
