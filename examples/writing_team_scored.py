"""A writing team that a model judges by a rubric and people rate: the model decides only once it agrees with them.

    python examples/writing_team_scored.py

The judge is asked yes or no, several times for each run, behind the run. Its answers are shown and decide nothing,
until it agreed with 20 ratings. What leaves the machine for it is named by `doctor`.
"""

from __future__ import annotations

from _victor import Victor, play

from victor_autotune_plugin import PerformanceAutotuner
from victor_autotune_testing.scripted import Rule, Script, scripts

JUDGES = Rule("judges", prompt="numbered list of questions", answer="1: yes\n2: no", prompt_tokens=300)
WRITES = Rule("writes", answer=scripts.SATISFIED_ANSWER)

SETTINGS = """\
mode: auto
prices: {scripted: {input_per_million_usd: 0.15, output_per_million_usd: 0.60}}
quality:
  max_cost_usd_per_day: 0.50
  scorers:
    review: {external: true}        # a person's rating; `victor autotune rate` asks for it
    judge:
      rubric: ["Is every figure sourced?", "Is it under 300 words?"]
      provider: openai
      model: scripted
      samples: 2
"""


async def main(victor: Victor) -> None:
    """Run the team, rate its runs, and see how far the judge agrees."""
    victor.configure(SETTINGS)
    victor.command("trust", "--yes")
    await victor.run("writing_team.yaml", times=3)
    with PerformanceAutotuner(project=victor.project) as autotuner:
        for number, (run, scores) in enumerate(await victor.scores("writing", "writing_team", runs=3)):
            print(f"run {run.run_id[:8]}: " + ", ".join(f"{one.name} {one.value}" for one in scores))
            rated = autotuner.record_score(run.run_id, 0.4 + 0.1 * number, name="review")  # as `rate` does
            print(f"  rated {rated['value']:.1f}")
    victor.command("judge-check", "writing_team")


if __name__ == "__main__":
    play(main, Script([JUDGES, WRITES]))
