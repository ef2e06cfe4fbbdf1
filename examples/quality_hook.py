"""A package that scores quality: what a run was worth decides, not only how long it took.

    python examples/quality_hook.py

A run's share of members that succeeded is their own word. So mode `auto` tests changes that may alter what a team
delivers only where a scorer tells. In a package of yours, this module is named by an entry point:

    [project.entry-points.victor_autotune]
    quality_hook = "my_package.quality_hook"
"""

from __future__ import annotations

from _victor import Victor, install_hooks, play

from victor_autotune_plugin.hookspecs import TeamSpec, hookimpl
from victor_autotune_plugin.quality import RunOutput
from victor_autotune_testing.scripted import scripts

ENOUGH_CALLS = 8
"""Tool calls that a good review needs; more of them means that the reviewers went astray."""


class FewCalls:
    """Scores a run by its tool calls, and by whether it delivered anything."""

    name = "few_calls"
    weight = 1.0

    def score(self, output: RunOutput) -> float | None:
        """Return 0 for nothing delivered, and less than 1 for each tool call too many."""
        too_many = max(0, output.run.tool_calls - ENOUGH_CALLS)
        return ENOUGH_CALLS / (ENOUGH_CALLS + too_many) if output.text.strip() else 0.0


@hookimpl
def add_scorers(spec: TeamSpec) -> list[FewCalls]:
    """Score reviews; other workflows are left to others."""
    return [FewCalls()] if spec.workflow == "code_review" else []


async def main(victor: Victor) -> None:
    """Run the team, and print the scores that were recorded."""
    await victor.run("code_review.yaml", times=3)
    for run, scores in await victor.scores("code_review", "review_team", runs=3):
        said = ", ".join(f"{one.name} {one.value:.2f}" for one in scores if one.value is not None)
        print(f"{run.tool_calls} tool calls, {run.duration_seconds:.2f} s: {said}")


if __name__ == "__main__":
    install_hooks(__file__)
    play(main, scripts.with_tools(turns=3))
