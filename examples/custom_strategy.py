"""A strategy of your own: it suggests what it knows, and the A/B test decides whether it is right.

    python examples/custom_strategy.py

A team without one of its members may deliver less. So mode `auto` tests that only where a scorer tells what each run
was worth, and this module brings one.

In a package of yours, this module is named by an entry point; then `victor autotune doctor` lists it:

    [project.entry-points.victor_autotune]
    custom_strategy = "my_package.custom_strategy"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from _victor import Victor, install_hooks, play

from victor_autotune_plugin import (
    OptimizationPriority,
    OptimizationSuggestion,
    PerformanceInsight,
)
from victor_autotune_plugin.hookspecs import TeamRun, hookimpl
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.strategies import OptimizationStrategy


class WithoutTheLast(OptimizationStrategy):
    """Suggests to leave out the last member of a large team, which in our teams is the least needed one."""

    name = "without_the_last"

    def suggest(
        self,
        insights: Sequence[PerformanceInsight],  # noqa: ARG002 - this one needs no measurements
        current_config: Mapping[str, Any],
    ) -> list[OptimizationSuggestion]:
        """Suggest it for teams of more than three."""
        members = current_config["members"]
        if len(members) <= 3:
            return []
        return [
            OptimizationSuggestion(
                type=self.name,
                priority=OptimizationPriority.MEDIUM,
                description=f"Run the team without {members[-1]}.",
                current_config=dict(current_config),
                suggested_config={"members": members[:-1]},
                expected_improvement=100 / len(members),
                confidence=0.7,
                risk_level=0.3,
            )
        ]


@hookimpl
def add_strategies() -> list[OptimizationStrategy]:
    """Offer it; settings may then name it like a built-in one."""
    return [WithoutTheLast()]


@hookimpl
def score_team_run(run: TeamRun) -> float:
    """Score a run. In your project, ask what the team is for: do the tests pass now, was the review accepted?"""
    return 1.0 if run.success else 0.0


SETTINGS = """\
workflows:
  code_review:
    strategies: [without_the_last]
    experiment: {min_history: 3}
"""


async def main(victor: Victor) -> None:
    """Run until the strategy's suggestion is being tested."""
    victor.configure(SETTINGS)
    await victor.run("code_review.yaml", times=8)
    with Store.open(default_url(victor.project)) as store:
        for experiment in store.experiments("code_review"):
            print(f"{experiment.strategy}: {experiment.description} {experiment.status}")
        for run in store.finished_runs("code_review", "review_team", limit=6):
            print(f"  {run.arm or 'before'}: {len(run.members)} members, {run.duration_seconds:.2f} s")


if __name__ == "__main__":
    install_hooks(__file__)
    play(main)
