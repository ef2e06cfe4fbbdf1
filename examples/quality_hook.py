"""A hook that scores quality: what a run was worth decides, not only how long it took.

    python examples/quality_hook.py

Without a hook, a run's score is the share of its members that succeeded, which is their own word. So mode `auto` tests
<<<<<<< HEAD
changes that may alter what a team delivers only where there is such a hook. In a package of yours, this module is
named by an entry point:
=======
changes that may alter what a team delivers only where there is such a hook.

In a package of yours, this module is named by an entry point:
>>>>>>> newdf

    [project.entry-points.victor_autotune]
    quality_hook = "my_package.quality_hook"
"""

from __future__ import annotations

from _victor import Victor, install_hooks, play

from victor_autotune_plugin.hookspecs import TeamRun, hookimpl
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.scripted import scripts

ENOUGH_CALLS = 8
"""Tool calls that a good review needs; more of them means that the reviewers went astray."""


@hookimpl
def score_team_run(run: TeamRun) -> float | None:
    """Score reviews: the share of members that succeeded, less for each tool call too many."""
    if run.spec.workflow != "code_review":
        return None  # leave other workflows to others
    too_many = max(0, run.tool_calls - ENOUGH_CALLS)
    return run.score * ENOUGH_CALLS / (ENOUGH_CALLS + too_many)


SETTINGS = """\
workflows:
  code_review:
    experiment: {metric: score}     # tests are decided on the score; duration, cost and success are guardrails
"""


async def main(victor: Victor) -> None:
    """Run the team, and print the scores that were recorded."""
    victor.configure(SETTINGS)
    await victor.run("code_review.yaml", times=3)
    with Store.open(default_url(victor.project)) as store:
        for run in store.finished_runs("code_review", "review_team", limit=3):
            print(f"{run.tool_calls} tool calls, {run.duration_seconds:.2f} s: score {run.score:.2f}")


if __name__ == "__main__":
    install_hooks(__file__)
    play(main, scripts.with_tools(turns=3))
