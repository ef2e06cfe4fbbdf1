"""Observe only: a research team runs as always, and afterwards you know what it did.

    python examples/observe_only.py

Mode `observe` is the default, so there is nothing to configure.
"""

from __future__ import annotations

from _victor import Victor, play

from victor_autotune_plugin.storage import Store, default_url


async def main(victor: Victor) -> None:
    """Run the team three times, and print what was recorded."""
    await victor.run("research_team.yaml", times=3)
    with Store.open(default_url(victor.project)) as store:
        runs = list(store.finished_runs("research", "researchers", limit=3))
    for run in runs:
        calls = sum(member.llm_calls for member in run.members)
        print(
            f"{run.plan_used.formation} of {len(run.members)}: {run.duration_seconds:.2f} s, success {run.success}, "
            f"{calls} model calls, {run.tool_calls} tool calls, changed: {run.plan_asked.describe()}"
        )
    slowest = max(runs[0].members, key=lambda member: member.duration_seconds)
    print(f"Slowest member of the last run: {slowest.id}, {slowest.duration_seconds:.2f} s")


if __name__ == "__main__":
    play(main)
